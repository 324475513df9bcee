// What an index costs a view and what it does not: it is built in the background, from the rows of a checkpoint too, comes and goes with
// the code without anything stored being touched, and where it cannot be had the view goes on.
import { afterEach, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, topic } from '../../../core/index.ts'
import {
  application,
  type Engine,
  type EngineOptions,
  partsOf,
  planRange,
  projection,
  type RangeQuery,
  shapeOf,
} from '../../../projections/index.ts'
import { Engines } from '../engines.ts'

const value = z.object({ id: z.int(), name: z.string(), cents: z.int() })
const events = topic('events', { key: 'id', value })
const plain = projection('accounts', {
  key: z.int(),
  state: z.object({ name: z.string().default(''), cents: z.int() }),
}).on(events, 'id', (row, event) => {
  row.name = event.name
  row.cents = event.cents
})
const without = application('kept', { views: [plain] })
const indexed = application('kept', { views: [plain.index('cents').index('name')] })

let engines: Engines
let log: EmbeddedLog

beforeEach(async () => {
  engines = await Engines.over()
  log = engines.log
  await log.topic(compileContract('events', 'topic', value, 'id'))
})

afterEach(() => engines.end())

/** @param shards 0: one, in this thread */
async function open(app: typeof without, shards = 0, more: Partial<EngineOptions> = {}): Promise<Engine> {
  const engine = await engines.open(app, shards, { checkpointIntervalMs: 3_600_000, ...more })
  await engine.waitFor(log.end, AbortSignal.timeout(20_000))
  return engine
}

async function append(rows: readonly z.output<typeof value>[]): Promise<void> {
  const batch = log.batch()
  for (const row of rows) batch.event(log.findTopic('events')!, row)
  await batch.commit()
}

const some = (count: number) =>
  Array.from({ length: count }, (_, id) => ({ id, name: `n${id % 100}`, cents: (id * 7_919) % 10_007 }))

async function range(engine: Engine, query: RangeQuery, timeoutMs = 10_000) {
  const { range } = planRange(engine.views.get('accounts')!, query)
  return (await engine.range({ view: 'accounts', range, most: 5, timeoutMs })).rows.map(({ key }) => key)
}

const states = (engine: Engine) =>
  engine.views
    .get('accounts')!
    .status()
    .indexes.map(({ state }) => state)

it.each([0, 2])('is built in the background, and says how far it is meanwhile (%i shards)', async shards => {
  await append(some(9_000))
  const first = await open(indexed, shards)
  await first.checkpoint()
  await engines.stop()
  const engine = await open(indexed, shards)
  expect(states(engine)).toEqual(['building', 'building'])
  await expect(range(engine, { where: { name: 'n1' } }, 0)).rejects.toMatchObject({
    code: 'INDEX_BUILDING',
    message: "index name of 'accounts' is being built",
    data: { progress: { done: expect.any(Number), total: expect.any(Number) } },
  })
  // Rows by key do not wait for it; who can wait for the index gets it.
  expect((await engine.read([{ view: 'accounts', key: 7 }])).rows[0]).toMatchObject({ name: 'n7' })
  expect(await range(engine, { where: { name: 'n1' } })).toEqual([1, 101, 201, 301, 401])
  expect(await range(engine, {})).toEqual([0, 1, 2, 3, 4])
  await expect.poll(() => states(engine)).toEqual(['ready', 'ready'])
  const [index] = engine.views.get('accounts')!.status().indexes
  expect(index).toMatchObject({ fields: ['cents'], progress: null, error: null })
  expect(index!.bytes).toBeGreaterThan(9_000 * 12)
})

it('comes and goes with the code, over rows that are kept', async () => {
  await append(some(3_000))
  expect(shapeOf(partsOf(without))).toBe(shapeOf(partsOf(indexed)))
  const rows = 'accounts'
  let engine = await open(without)
  await expect(range(engine, {})).resolves.toEqual([0, 1, 2, 3, 4])
  expect(() => planRange(engine.views.get(rows)!, { where: { cents: 1 } })).toThrow("no index of 'accounts' serves")
  for (const [app, fingerprint] of [
    [indexed, 'with'],
    [without, 'without'],
    [indexed, 'again'],
  ] as const) {
    await engines.stop()
    engine = await open(app, 0, { fingerprint, continueFrom: [rows] })
    expect(engine.views.get(rows)!.status().plan).toMatchObject({ plan: 'continue', records: 0 })
  }
  expect(await range(engine, { where: { cents: { gte: 0 } } })).toEqual(
    some(3_000)
      .sort((a, b) => a.cents - b.cents)
      .slice(0, 5)
      .map(({ id }) => id),
  )
})

it.each([0, 2])('that cannot be had is told, and the view goes on without it (%i shards)', async shards => {
  await append(some(10))
  const engine = await open(indexed, shards)
  expect(await range(engine, { where: { name: 'n1' } })).toEqual([1])
  await append([{ id: 3, name: 'x'.repeat(2_001), cents: 1 }])
  await engine.waitFor(log.end, AbortSignal.timeout(5_000))
  await expect(range(engine, { where: { name: 'n1' } })).rejects.toMatchObject({
    code: 'STATE_INVALID',
    message: "values of 'accounts' are too long for its index name",
  })
  expect(await range(engine, { where: { cents: { lte: 1 } } })).toEqual([0, 3])
  expect(await range(engine, { order: 'desc' })).toEqual([9, 8, 7, 6, 5])
  await append([{ id: 11, name: 'short', cents: 2 }])
  await engine.waitFor(log.end, AbortSignal.timeout(5_000))
  expect(states(engine)).toEqual(['ready', 'failed'])
  expect(engine.views.get('accounts')!.status().indexes[1]!.error).toMatchObject({ code: 'STATE_INVALID' })
})

it('keeps a place that is taken by another key apart from what stood there', async () => {
  const engine = await open(indexed)
  expect(await range(engine, {})).toEqual([])
  for (let n = 0; n < 40; n++) {
    await append([{ id: n % 7, name: `n${n % 3}`, cents: n }])
    await engine.waitFor(log.end, AbortSignal.timeout(5_000))
    if (n % 5 === 0) await engine.checkpoint()
    if (n > 7) expect(await range(engine, { where: { cents: { gte: n } } })).toEqual([n % 7])
  }
})
