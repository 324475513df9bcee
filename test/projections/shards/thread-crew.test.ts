// Shards in real threads over a real log: the rows of one shard; and whatever goes wrong there is a typed error here.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import { contractsOf } from '../../../projections/application.ts'
import {
  type Application,
  type Engine,
  openEngine,
  openShardedEngine,
  partsOf,
  startThreadCrew,
} from '../../../projections/index.ts'
import { HealthMonitor } from '../../../query-api/health.ts'
import { nativeModule } from '../../support/native-module.ts'
import { Random } from '../../support/random.ts'

const { default: app, moves } = nativeModule<typeof import('../../support/shards-app.ts')>('./shards-app.ts')

const CUSTOMERS = 40
const DAYS = ['monday', 'tuesday', 'wednesday']

let folder = ''
let log: EmbeddedLog
const engines: Engine[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-threads-'))
  log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: 16 * 1024 })
  for (const contract of contractsOf(partsOf(app))) await log.topic(contract)
})

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop()
  await log.close()
  await rm(folder, { recursive: true, force: true })
})

const options = (name: string) => ({ log, parts: partsOf(app), path: join(folder, name), fingerprint: 'f' })
const crewOf = (count: number, application: Application = app) =>
  startThreadCrew({ count, log, path: join(folder, `threads${count}`), application, closeMsMax: 500 })

async function open(count: number): Promise<Engine> {
  const engine = await openShardedEngine(options(`threads${count}`), await crewOf(count))
  engines.push(engine)
  return engine
}

async function append(random: Random, transactions: number, size: number): Promise<void> {
  for (let n = 0; n < transactions; n++) {
    const batch = log.batch()
    for (let id = 0; id < size; id++) {
      const customer = () => `customer ${random.int(CUSTOMERS)}`
      const row = { id, from: customer(), to: customer(), cents: random.int(1_000), on: random.pick(DAYS) }
      batch.event(log.findTopic('moves')!, row)
    }
    await batch.commit()
  }
}

/** Appends one move that tells a handler what to do; it stands in the log when this resolves. */
async function misbehave(on: string): Promise<void> {
  const batch = log.batch()
  batch.event(log.findTopic(moves.name)!, { id: 0, from: 'a', to: 'b', cents: 1, on })
  await batch.commit()
}

const level = (engine: Engine) => engine.waitFor(log.end, AbortSignal.timeout(15_000))

async function rowsOf(engine: Engine) {
  await level(engine)
  const requests = [
    ...Array.from({ length: CUSTOMERS }, (_, n) => ({ view: 'accounts', key: `customer ${n}` })),
    ...DAYS.map(key => ({ view: 'days', key })),
  ]
  const { position, rows } = await engine.read(requests)
  return { position, rows: rows.map(row => row && { ...row }) }
}

// Threads load an application each: seconds, where many tests run at once.
describe('shards in threads', { timeout: 60_000 }, () => {
  it('have the rows of one shard, while the log is appended to, sealed and cleaned', async () => {
    const random = new Random(1)
    await append(random, 20, 10)
    const one = await openEngine(options('one'))
    engines.push(one)
    const several = [await open(3)]
    for (const [transactions, size] of [
      [30, 5],
      [1, 2_000],
      [10, 20],
    ] as const) {
      await append(random, transactions, size)
      const expected = await rowsOf(one)
      expect(expected.position).toBe(log.end)
      expect(expected.rows.filter(row => row !== undefined).length).toBeGreaterThan(CUSTOMERS)
      for (const engine of several) expect(await rowsOf(engine)).toEqual(expected)
      await log.sealed()
    }
    await log.clean({ trim: { moves: 100 }, force: true })
    await append(random, 5, 5)
    const expected = await rowsOf(one)
    for (const engine of several) expect(await rowsOf(engine)).toEqual(expected)
  })

  it('never answer torn, nor go back: what moves between accounts sums to nothing at every cut', async () => {
    const random = new Random(3)
    const engine = await open(3)
    const accounts = Array.from({ length: CUSTOMERS }, (_, n) => ({ view: 'accounts', key: `customer ${n}` }))
    const appending = (async () => {
      for (let n = 0; n < 6; n++) {
        await append(random, 10, 4)
        // Of several blocks: it is folded over many slices.
        await append(random, 1, 40_000)
      }
    })()
    let appended = false
    void appending.then(() => (appended = true))
    const positions = [0]
    while (!appended || positions.at(-1)! < log.end) {
      const [all, one] = await Promise.all([engine.read(accounts), engine.read([random.pick(accounts)])])
      expect(all.rows.reduce((sum, row) => sum + ((row?.['cents'] as number | undefined) ?? 0), 0)).toBe(0)
      expect(one.position).toBe(all.position)
      expect(all.position).toBeGreaterThanOrEqual(positions.at(-1)!)
      positions.push(all.position)
    }
    await appending
    expect(new Set(positions).size).toBeGreaterThan(10)
  })

  it('stop a view in all shards where its handler throws in one, and no other view', async () => {
    const engine = await open(2)
    await misbehave('throw')
    await append(new Random(2), 3, 3)
    await level(engine)
    expect(engine.views.get('oddities')?.status()).toMatchObject({
      status: 'stopped',
      error: { code: 'HANDLER_FAILED', detail: expect.stringContaining('refused') },
    })
    await expect(engine.read([{ view: 'accounts', key: 'a' }])).resolves.toMatchObject({ position: log.end })
    await expect(engine.read([{ view: 'oddities', key: 'b' }])).rejects.toMatchObject({ code: 'VIEW_STOPPED' })
  })

  it('of which one ends fail every view, and say which and why', async () => {
    const engine = await open(2)
    const waiting = engine.waitFor(2, AbortSignal.timeout(15_000)).catch((error: unknown) => error)
    await misbehave('exit')
    await expect
      .poll(() => engine.views.get('accounts')?.status(), { timeout: 15_000 })
      .toMatchObject({
        status: 'stopped',
        error: { code: 'SHARD_FAILED', message: expect.stringMatching(/^shard \d has ended/), detail: 'code 5' },
      })
    await expect(engine.read([{ view: 'days', key: 'monday' }])).rejects.toMatchObject({ code: 'VIEW_STOPPED' })
    // Whoever looks after the process is told to start it again.
    const health = new HealthMonitor({ engine, log, sources: new Map() })
    expect(health.stuck()).toMatchObject([{ part: 'shards', code: 'SHARD_FAILED' }])
    await engine.stop()
    engines.length = 0
    expect(await Promise.race([waiting, 'still waiting'])).toBeDefined()
  })

  it('are ended though a handler never returns', async () => {
    const engine = await open(2)
    await misbehave('spin')
    await engine.stop()
    engines.length = 0
  })

  it('do not start where the file gives another application than the one that is run', async () => {
    const refused = (detail: unknown) => ({ code: 'APPLICATION_INVALID', detail })
    const renamed = { ...app, name: 'other' }
    await expect(crewOf(2, renamed)).rejects.toMatchObject(refused(expect.stringContaining("application 'other'")))
    const less = { ...app, views: app.views.slice(0, 1) }
    await expect(crewOf(2, less)).rejects.toMatchObject(refused(expect.stringContaining('not what the process runs')))
    const elsewhere = { ...app, file: join(folder, 'none.ts') }
    await expect(crewOf(2, elsewhere)).rejects.toMatchObject(refused(expect.stringContaining('none.ts')))
    await expect(crewOf(2, { ...app, file: undefined })).rejects.toMatchObject(refused(expect.anything()))
  })
})
