// Following a log of real files from a real thread.
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel, Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, openEmbeddedLog, portChannel } from '../../../../core/index.ts'
import type { Asked, Told } from '../../../support/following-worker.ts'
import { batchesOf } from '../../../support/log-seen.ts'

const rows = compileContract('rows', 'table', z.object({ key: z.int(), text: z.string(), at: z.date() }), 'key')
const events = compileContract('events', 'topic', z.object({ key: z.int(), cents: z.bigint() }), 'key')
const WORKER = new URL('../../../support/following-worker.ts', import.meta.url)

/** A thread that follows, asked one thing at a time. */
class Follower {
  readonly #worker: Worker

  constructor(log: EmbeddedLog) {
    const { port1, port2 } = new MessageChannel()
    log.follow(portChannel(port1))
    this.#worker = new Worker(WORKER, { workerData: { port: port2 }, transferList: [port2], execArgv: [] })
  }

  async ask(asked: Asked): Promise<Told> {
    this.#worker.postMessage(asked)
    const [told] = (await once(this.#worker, 'message')) as [Told]
    return told
  }

  async kill(): Promise<void> {
    await this.#worker.terminate()
  }
}

describe('a log that is followed by another thread', () => {
  let path: string
  let log: EmbeddedLog
  const followers: Follower[] = []
  beforeEach(async () => {
    path = mkdtempSync(join(tmpdir(), 'mainstem-follow-'))
    log = await openEmbeddedLog({ path, segmentBytesMax: 20_000 })
    await log.topic(rows)
    await log.topic(events)
  })
  afterEach(async () => {
    await Promise.all(followers.splice(0).map(follower => follower.kill()))
    await log.close()
    rmSync(path, { recursive: true })
  })

  function follow(): Follower {
    const follower = new Follower(log)
    followers.push(follower)
    return follower
  }

  async function append(batches: number): Promise<void> {
    for (let n = 0; n < batches; n++) {
      const batch = log.batch()
      for (let key = 0; key < 5; key++) {
        batch.insert(log.findTopic('rows')!, { key, text: `${n} `.repeat(20), at: new Date(n) })
        batch.event(log.findTopic('events')!, { key, cents: BigInt(n) ** 20n })
      }
      await batch.commit({ source: 'shop', position: String(n) })
    }
  }

  const files = () => readdirSync(path).filter(name => /\.(segment|sealed)$/.test(name))
  const oldFilesGone = () =>
    vi.waitFor(() => expect(files()).toHaveLength(log.status().segments), { timeout: 10_000, interval: 20 })

  it('shows there what its own readers see, as it is appended to and sealed', async () => {
    await append(40)
    const [first, second] = [follow(), follow()]
    await first.ask({ ask: 'open', after: 0 })
    const read = first.ask({ ask: 'read', to: 1_000 })
    await second.ask({ ask: 'open', after: 333 })
    const late = second.ask({ ask: 'read', to: 1_000 })
    await append(60)
    await log.sealed()
    expect((await read).batches).toEqual(await batchesOf(log))
    expect((await late).batches).toEqual(await batchesOf(log, 333))
    expect((await read).end).toBe(1_000)
    await oldFilesGone()
  })

  it('keeps the files of a base that is cleaned while a reader is in the midst of it, and no longer', async () => {
    await append(60)
    await log.sealed()
    const before = await batchesOf(log)
    const follower = follow()
    const { generation } = await follower.ask({ ask: 'open', after: 0 })
    expect(generation).toBe(0)
    await log.clean({ trim: { events: 400 }, compact: { rows: 400 } })
    await append(10)
    expect(files().length).toBeGreaterThan(log.status().segments)
    const all = await follower.ask({ ask: 'read', to: 700 })
    expect(all.batches).toEqual([...before, ...(await batchesOf(log, 600))])
    await oldFilesGone()
    const anew = await follower.ask({ ask: 'open', after: 0 })
    expect(anew.generation).toBe(1)
    expect((await follower.ask({ ask: 'read', to: 700 })).batches).toEqual(await batchesOf(log))
  })

  it('lets the files go of one that closes, and of one whose thread ends', async () => {
    await append(60)
    const [closing, dying] = [follow(), follow()]
    for (const follower of [closing, dying]) await follower.ask({ ask: 'open', after: 0 })
    await log.sealed()
    await log.clean({ trim: { events: 400 } })
    expect(files().length).toBeGreaterThan(log.status().segments)
    await closing.ask({ ask: 'close' })
    expect(files().length).toBeGreaterThan(log.status().segments)
    await dying.kill()
    await oldFilesGone()
  })

  it('ends readers there when it closes, and opens again whatever they held', async () => {
    await append(60)
    const follower = follow()
    await follower.ask({ ask: 'open', after: 0 })
    await log.clean({ trim: { events: 400 } })
    const ended = follower.ask({ ask: 'end' })
    const seen = await batchesOf(log)
    await log.close()
    await ended
    log = await openEmbeddedLog({ path, segmentBytesMax: 20_000 })
    await oldFilesGone()
    expect(await batchesOf(log)).toEqual(seen)
  })
})
