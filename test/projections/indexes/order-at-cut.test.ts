// All rows of a range at one cut, while what they are changes: equal to a sort of the rows there were at that cut, over any number of shards.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, type EmbeddedLog, topic } from '../../../core/index.ts'
import {
  application,
  type Engine,
  planRange,
  projection,
  type RangeQuery,
  type RangeRows,
  realScheduler,
  type ViewRow,
} from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { Engines } from '../engines.ts'

const value = z.object({
  id: z.int(),
  name: z.string().nullable(),
  cents: z.int(),
  text: z.string(),
  leaves: z.boolean(),
})
const events = topic('events', { key: 'id', value })
const accounts = projection('accounts', {
  key: z.int(),
  state: z.object({ name: z.string().nullable(), cents: z.int(), text: z.string().default('') }),
})
  .on(events, 'id', (row, { name, cents, text, leaves }, ctx) => {
    Object.assign(row, { name, cents, text })
    if (leaves) ctx.delete()
  })
  .index('name', 'cents')
  .index('cents')
const app = application('cuts', { views: [accounts] })
const IDS = 4_000

interface Row extends AnyRow {
  readonly name: string | null
  readonly cents: number
}
type Rows = ReadonlyMap<number, Row>

let engines: Engines
let log: EmbeddedLog
let rows: Map<number, Row>

beforeEach(async () => {
  engines = await Engines.over()
  log = engines.log
  await log.topic(compileContract('events', 'topic', value, 'id'))
  rows = new Map()
})

afterEach(() => engines.end())

/** @param shards 0: one, in this thread; then each look at the clock ends a turn */
async function open(shards: number): Promise<Engine> {
  let ms = 0
  const scheduler = { ...realScheduler, nowMs: () => (shards === 0 ? ++ms : performance.now()) }
  const engine = await engines.open(app, shards, { scheduler })
  await engine.waitFor(log.end, AbortSignal.timeout(30_000))
  return engine
}

const anyEvent = (random: Random, id = random.int(IDS)): z.output<typeof value> => ({
  id,
  name: random.pick(['ada', 'bob', 'bobby', null]),
  cents: random.int(500),
  text: '',
  leaves: random.int(4) === 0,
})

/** Appends one transaction. */
async function append(changes: readonly z.output<typeof value>[]): Promise<void> {
  const batch = log.batch()
  for (const change of changes) {
    batch.event(log.findTopic('events')!, change)
    const { id, leaves, ...row } = change
    if (leaves) rows.delete(id)
    else rows.set(id, row)
  }
  await batch.commit()
}

const fill = (random: Random) =>
  append(Array.from({ length: IDS }, (_, id) => ({ ...anyEvent(random, id), leaves: false })))

const rangeOf = (engine: Engine, query: RangeQuery): Promise<RangeRows> => {
  const { range } = planRange(engine.views.get('accounts')!, query)
  return engine.past.rangeRows('accounts', range, undefined)
}

interface Asked {
  readonly query: RangeQuery
  readonly has: (key: number, row: Row) => boolean
  /** What rows are sorted by before their keys. */
  readonly by: (row: Row) => readonly (number | string | null)[]
}

const ASKED: readonly Asked[] = [
  { query: {}, has: () => true, by: () => [] },
  { query: { from: 100, to: 3_000, order: 'desc' }, has: key => key >= 100 && key <= 3_000, by: () => [] },
  { query: { where: { name: 'bob' } }, has: (_, { name }) => name === 'bob', by: ({ cents }) => [cents] },
  {
    query: { where: { name: null }, order: 'desc' },
    has: (_, { name }) => name === null,
    by: ({ cents }) => [cents],
  },
  {
    query: { where: { cents: { gte: 50, lt: 400 } } },
    has: (_, { cents }) => cents >= 50 && cents < 400,
    by: ({ cents }) => [cents],
  },
]

function expected(there: Rows, { query, has, by }: Asked): readonly ViewRow[] {
  const sign = query.order === 'desc' ? -1 : 1
  const order = (a: readonly unknown[], b: readonly unknown[]): number => {
    const n = a.findIndex((each, at) => each !== b[at])
    return n < 0 ? 0 : (a[n] as number) < (b[n] as number) ? -1 : 1
  }
  return [...there]
    .filter(([key, row]) => has(key, row))
    .map(([key, row]) => ({ key, value: row }))
    .sort((a, b) => sign * order([...by(a.value), a.key], [...by(b.value), b.key]))
}

describe('all rows of a range at one cut', () => {
  it.each([0, 1, 3])('are those there were, in order, whatever changes meanwhile: %i shards', async shards => {
    const random = new Random(shards + 1)
    await fill(random)
    const engine = await open(shards)
    for (const asked of [...ASKED, ...ASKED]) {
      const at = new Map([[log.end, new Map(rows)]])
      const change = async (count: number) => {
        await append(Array.from({ length: count }, () => anyEvent(random)))
        at.set(log.end, new Map(rows))
      }
      // It may begin amidst a transaction, and amidst a checkpoint.
      const changing = [change(1_500), change(10)]
      const writing = engine.checkpoint()
      const read = await rangeOf(engine, asked.query)
      await Promise.all(changing)
      const got: ViewRow[] = []
      let changes = 0
      for await (const batch of read) {
        got.push(...batch)
        await change(random.int(10) === 0 ? 1_500 : 1 + random.int(200))
        changes++
        if (random.next() < 0.5) await engine.waitFor(log.end, AbortSignal.timeout(30_000))
        if (random.next() < 0.2) await engine.checkpoint()
      }
      expect(changes).toBeGreaterThan(2)
      expect(got, `${JSON.stringify(asked.query)} at ${read.position}`).toEqual(expected(at.get(read.position)!, asked))
      await writing
      await engine.waitFor(log.end, AbortSignal.timeout(30_000))
    }
  })

  it.each([0, 2])(
    'are several at a time, each of its own cut, and cost nothing when they are over: %i shards',
    async shards => {
      const random = new Random(9)
      await fill(random)
      const engine = await open(shards)
      const reads: {
        at: Rows
        position: number
        rows: AsyncIterator<readonly ViewRow[]>
        asked: Asked
        got: ViewRow[]
      }[] = []
      for (const asked of ASKED) {
        await append(Array.from({ length: 50 }, () => anyEvent(random)))
        await engine.waitFor(log.end, AbortSignal.timeout(30_000))
        const read = await rangeOf(engine, asked.query)
        expect(read.position).toBe(log.end)
        reads.push({ at: new Map(rows), position: read.position, rows: read[Symbol.asyncIterator](), asked, got: [] })
      }
      for (let left = [...reads]; left.length > 0; ) {
        const one = random.pick(left)
        const { value, done } = await one.rows.next()
        if (done) left = left.filter(each => each !== one)
        else one.got.push(...value)
        await append(Array.from({ length: 30 }, () => anyEvent(random)))
      }
      for (const { at, asked, got } of reads) expect(got).toEqual(expected(at, asked))
      // So many may be begun one after the other as are let go.
      for (let n = 0; n < 20; n++) {
        const read = await rangeOf(engine, {})
        if (n % 2 === 0) for await (const _ of read) break
        else read.close()
      }
      await append([anyEvent(random)])
      await engine.waitFor(log.end, AbortSignal.timeout(30_000))
    },
  )

  it('that are read more slowly than too much changes end with the reason', async () => {
    const random = new Random(3)
    // More than 64 MiB of rows would have to be held.
    const text = 'x'.repeat(40_000)
    const all = async () => {
      for (let id = 0; id < 2_000; id += 500)
        await append(Array.from({ length: 500 }, (_, n) => ({ ...anyEvent(random, id + n), leaves: false, text })))
      await engine.waitFor(log.end, AbortSignal.timeout(60_000))
    }
    const engine = await open(0)
    await all()
    const read = await rangeOf(engine, {})
    expect(read.position).toBe(log.end)
    await all()
    const taken = async () => {
      for await (const _ of read);
    }
    await expect(taken()).rejects.toMatchObject({ code: 'OVERLOADED' })
    const again = await rangeOf(engine, { to: 10 })
    for await (const batch of again) expect(batch).toHaveLength(11)
  })

  it('of a view that stops end with that', async () => {
    const random = new Random(4)
    await fill(random)
    const engine = await open(2)
    const read = await rangeOf(engine, {})
    await engine.stop()
    const all = async () => {
      for await (const _ of read);
    }
    await expect(all()).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
  })
})
