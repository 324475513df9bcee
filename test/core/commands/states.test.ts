// On which state a command is decided: never another than that of the stream's newest event, wherever it is had from.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  Commands,
  compileContract,
  type DeciderDefinition,
  decider,
  type EmbeddedLog,
  fail,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { DeciderStates } from '../../../projections/index.ts'

const seen: (readonly [number, readonly string[]])[] = []
const counters = decider('counters', {
  key: z.string(),
  state: z.object({ n: z.int(), ids: z.array(z.string()), marks: z.map(z.string(), z.bigint()) }),
  events: { Added: z.object({ id: z.string() }) },
  commands: { add: z.object({ id: z.string() }) },
})
  .evolve({
    Added: (counter, event) => {
      counter.n++
      counter.ids = [...counter.ids, event.id]
      counter.marks.set(event.id, BigInt(counter.n))
    },
  })
  .decide({
    add: (counter, { id }) => {
      seen.push([counter.n, counter.ids])
      return { type: 'Added', id }
    },
  }) as unknown as DeciderDefinition

/** The live view, as far as a test says it is. */
interface Live {
  position: number
  row: AnyRow | undefined
  stopped: boolean
  continued: readonly object[]
  reads: number
}

let folder: string
let log: EmbeddedLog
let live: Live
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mainstem-states-'))
  log = await openEmbeddedLog({ path: folder })
  live = { position: 0, row: undefined, stopped: false, continued: [], reads: 0 }
  seen.length = 0
})
afterEach(async () => {
  await log.close()
  await rm(folder, { recursive: true })
})

/** As a process that has just started: nothing is kept. */
async function open(): Promise<Commands> {
  const { name, value, key } = counters.topic
  const topic = await log.topic(compileContract(name, 'topic', value, key))
  const view = { status: () => ({ continued: live.continued }) }
  const engine = {
    views: new Map([['counters', view]]),
    read: () => {
      live.reads++
      if (live.stopped) throw fail('VIEW_STOPPED', 'it has stopped')
      return { position: live.position, rows: [live.row], final: true }
    },
  }
  return new Commands({
    log,
    deciders: [{ definition: counters, topic, fold: new DeciderStates(counters, engine as never) }],
  })
}

const add = async (commands: Commands, id: string, key = 'a') =>
  commands.send({ decider: 'counters', key, type: 'add', command: { id } })

describe('the state of a stream', () => {
  it('is the folded events of what was decided before, without asking for the view or the log', async () => {
    const commands = await open()
    for (const id of ['x', 'y', 'z']) await add(commands, id)
    expect(seen).toEqual([
      [0, []],
      [1, ['x']],
      [2, ['x', 'y']],
    ])
    expect(live.reads).toBe(0)
  })

  it('is the row of the live view where that has come to the newest event', async () => {
    await add(await open(), 'x')
    live.position = log.end
    live.row = { n: 1, ids: ['as the view says'], marks: new Map() }
    expect(await add(await open(), 'y')).toMatchObject({ version: 2 })
    expect(seen.at(-1)).toEqual([1, ['as the view says']])
  })

  it('is folded from the log where the view is behind, has stopped, or was made by other code', async () => {
    const first = await open()
    for (let n = 0; n < 300; n++) await add(first, String(n))
    const ids = Array.from({ length: 300 }, (_, n) => String(n))
    live.row = { n: 1, ids: ['stale'], marks: new Map() }
    live.position = log.end - 1
    expect(await add(await open(), '300')).toMatchObject({ version: 301 })
    expect(seen.at(-1)).toEqual([300, ids])
    Object.assign(live, { position: log.end, stopped: true })
    expect(await add(await open(), '301')).toMatchObject({ version: 302 })
    expect(seen.at(-1)?.[0]).toBe(301)
    Object.assign(live, { position: log.end, stopped: false, continued: [{}] })
    expect(await add(await open(), '302')).toMatchObject({ version: 303 })
    expect(seen.at(-1)?.[0]).toBe(302)
    expect(live.reads).toBe(2)
  })

  it('is not guessed where events of it were removed and the view does not have them', async () => {
    await log.close()
    log = await openEmbeddedLog({ path: folder, segmentBytesMax: 4_096 })
    const first = await open()
    for (let n = 0; n < 200; n++) await add(first, `id ${n}`)
    await log.clean({ trim: { counters: 20 }, to: Number.POSITIVE_INFINITY })
    expect(log.base.topics.get('counters')?.trimmedTo).toBe(20)
    const { end } = log
    await expect(add(await open(), 'next')).rejects.toMatchObject({ code: 'VIEW_REBUILDING', retriable: true })
    expect(log.end).toBe(end)
    Object.assign(live, { position: end, row: { n: 200, ids: [], marks: new Map() } })
    expect(await add(await open(), 'next')).toMatchObject({ version: 201 })
  })

  it('is that before a command whose events the log did not take', async () => {
    await log.close()
    log = await openEmbeddedLog({ path: folder, bytesMax: 12 * 2 ** 20, freeBytesMin: 0 })
    const commands = await open()
    await add(commands, 'x')
    await expect(add(commands, 'y'.repeat(13_000_000))).rejects.toMatchObject({ code: 'LOG_FULL' })
    // What comes before the refusal has been heard of is refused with it.
    await vi.waitFor(async () => expect(await add(commands, 'z')).toMatchObject({ version: 2 }))
    expect(new Set(seen.slice(1).map(each => JSON.stringify(each)))).toEqual(new Set(['[1,["x"]]']))
  })

  it('is of its own stream', async () => {
    const commands = await open()
    await Promise.all(['a', 'b', 'c'].flatMap(key => ['x', 'y'].map(id => add(commands, `${key}${id}`, key))))
    const again = await open()
    expect(await add(again, 'z', 'b')).toMatchObject({ version: 3, events: [{ key: 'b', id: 'z' }] })
    expect(seen.at(-1)).toEqual([2, ['bx', 'by']])
    expect(await add(again, 'z', 'd')).toMatchObject({ version: 1 })
  })
})
