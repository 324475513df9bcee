// Records folded in runs against the same records folded one after the other, and declared aggregates against the same fold
// written as handlers: random transactions of events and of rows that come, change and go, hot and sealed.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  compileContract,
  type EmbeddedLog,
  type LogTopic,
  openEmbeddedLog,
  type RecordCursor,
  topic,
} from '../../core/index.ts'
import {
  application,
  type Context,
  count,
  countBy,
  last,
  max,
  min,
  openEngine,
  partsOf,
  projection,
  sum,
  sumBy,
  type View,
} from '../../projections/index.ts'
import type { ProjectionDefinition } from '../../projections/projection.ts'
import { StateMemory } from '../../projections/state/memory.ts'
import { FoldedView } from '../../projections/view.ts'
import { Random } from '../support/random.ts'
import { tableSource } from '../support/table-source.ts'

const Status = z.enum(['placed', 'paid', 'lost'])
/** In another order than the column's. */
const Shown = z.enum(['lost', 'other', 'placed', 'paid'])
const columns = {
  id: z.int(),
  customer: z.int().nullable(),
  shop: z.int(),
  name: z.string(),
  cents: z.int().nullable(),
  weight: z.number(),
  status: Status.nullable(),
  at: z.date(),
  seen: z.date().nullable(),
}
type Row = z.output<z.ZodObject<typeof columns>>

const clicks = topic('clicks', { key: 'id', time: 'at', value: z.object(columns) })
const visits = topic('visits', { key: 'id', value: z.object(columns) })
const orders = tableSource().table('orders', { key: 'id', row: z.object(columns) })

const state = z.object({
  rows: z.int32(),
  cents: z.int(),
  weight: z.number(),
  byStatus: z.record(Shown, z.int32()),
  centsBy: z.record(Shown, z.int()),
  first: z.date().nullable(),
  most: z.int().nullable(),
  newest: z.int().nullable(),
})
type State = z.output<typeof state>
const spec = { key: z.int(), state }
const kept = {
  rows: count(),
  cents: sum('cents'),
  weight: sum('weight'),
  byStatus: countBy('status'),
  centsBy: sumBy('status', 'cents'),
} as const
const chosen = { first: min('seen'), most: max('cents') } as const

const add = (s: State, r: Row): void => {
  s.rows++
  if (r.cents !== null) s.cents += r.cents
  s.weight += r.weight
  if (r.status !== null) s.byStatus[r.status]++
  if (r.status !== null && r.cents !== null) s.centsBy[r.status] += r.cents
  if (r.seen !== null && (s.first === null || r.seen < s.first)) s.first = r.seen
  if (r.cents !== null && (s.most === null || r.cents > s.most)) s.most = r.cents
  if (r.cents !== null) s.newest = r.cents
}
const sums = z.object({
  rows: z.int32(),
  cents: z.int(),
  weight: z.number(),
  byStatus: z.record(Shown, z.int32()),
  centsBy: z.record(Shown, z.int()),
})
type Sums = z.output<typeof sums>
const turn = (sign: 1 | -1) => (s: Sums, r: Row) => {
  s.rows += sign
  if (r.cents !== null) s.cents += sign * r.cents
  s.weight += sign * r.weight
  if (r.status !== null) s.byStatus[r.status] += sign
  if (r.status !== null && r.cents !== null) s.centsBy[r.status] += sign * r.cents
}

/** Pairs of views that are to be equal. */
const ofEvents = projection('events_declared', spec).on(clicks, 'shop', { ...kept, ...chosen, newest: last('cents') })
const ofEventsByHand = projection('events_by_hand', spec).on(clicks, 'shop', add)
const ofRows = projection('rows_declared', { key: z.int(), state: sums }).on(orders, 'customer', kept)
const ofRowsByHand = projection('rows_by_hand', { key: z.int(), state: sums }).on(orders, 'customer', {
  add: turn(1),
  remove: turn(-1),
})

const trace = z.object({ last: z.string().default(''), hash: z.int(), draws: z.number() })
/** What depends on the order of records, and on all that handlers are given beside them. */
const follow = (s: z.output<typeof trace>, r: Row, ctx: Context): void => {
  s.hash = (s.hash * 31 + r.id + Number(ctx.position)) % 1_000_003
  s.last = `${r.name} ${ctx.timeMs % 100_000} ${String(ctx.key)}`
  if (r.id % 5 === 0) s.draws = ctx.random() + ctx.random()
  if (r.id % 17 === 0) ctx.delete()
}
const byName = projection('by_name', { key: z.string(), state: trace }).on(clicks, 'name', follow)
const both = projection('both', { key: z.int(), state: trace })
  .on(clicks, 'customer', follow)
  .on(visits, 'shop', follow)
const many = projection('many', { key: z.int(), state: trace }).on(
  visits,
  row => (row.customer === null ? null : [row.customer, row.customer + 1]),
  follow,
)
const byPair = projection('by_pair', { key: z.object({ a: z.int(), b: z.string() }), state: trace }).on(
  clicks,
  { a: 'shop', b: 'name' },
  follow,
)
const names = projection('names', { key: z.int(), state: z.object({ names: z.int32() }) }).on(
  byName,
  row => row.hash % 7,
  {
    add: s => {
      s.names++
    },
    remove: s => {
      s.names--
    },
  },
)
const views = [ofEvents, ofEventsByHand, ofRows, ofRowsByHand, byName, both, many, byPair, names] as const

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-run-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const randomRow = (random: Random, id: number): Row => ({
  id,
  customer: random.next() < 0.1 ? null : random.int(20) * (random.next() < 0.1 ? 2 ** 33 : 1),
  shop: random.int(40) - 20,
  name: random.pick(['', 'a', 'bc', 'üß', 'a'.repeat(40)]) + random.int(9),
  cents: random.next() < 0.2 ? null : random.int(1000) - 300,
  weight: random.int(100) / 4,
  status: random.next() < 0.2 ? null : random.pick(Status.options),
  at: new Date(1_700_000_000_000 + random.int(1e6)),
  seen: random.next() < 0.2 ? null : new Date(random.int(1e6)),
})

/** Transactions of runs that are short, and of some longer than a run may be. */
async function write(log: EmbeddedLog, random: Random): Promise<void> {
  const contract = (input: { name: string }, role: 'topic' | 'table') =>
    log.topic(compileContract(input.name, role, z.object(columns), 'id'))
  const [click, visit, order] = [
    await contract(clicks, 'topic'),
    await contract(visits, 'topic'),
    await contract(orders, 'table'),
  ]
  const rows = new Map<number, Row>()
  let id = 0
  for (let transaction = 0; transaction < 25; transaction++) {
    const batch = log.batch()
    for (let run = random.int(8); run >= 0; run--) {
      const length = random.next() < 0.1 ? 250 + random.int(300) : 1 + random.int(5)
      const into = random.pick<LogTopic>([click, visit, order, order])
      for (let n = 0; n < length; n++) {
        const row = randomRow(random, ++id)
        const known = [...rows.keys()]
        if (into !== order) batch.event(into, row)
        else if (known.length === 0 || random.next() < 0.6) {
          batch.insert(order, row)
          rows.set(row.id, row)
        } else {
          const before = rows.get(random.pick(known))!
          rows.delete(before.id)
          if (random.next() < 0.5) batch.delete(order, before)
          else {
            const after = { ...row, id: before.id }
            batch.update(order, before, after)
            rows.set(after.id, after)
          }
        }
      }
    }
    await batch.commit()
  }
}

/** Folds the log one record after the other. */
async function oneByOne(log: EmbeddedLog): Promise<{ folded: FoldedView[]; keys: Map<string, Map<string, unknown>> }> {
  const info = { position: 0, timeMs: 0 }
  const memory = new StateMemory()
  const folded = views.map(view => new FoldedView(view as unknown as ProjectionDefinition, info, memory))
  const [name, reader] = [folded[4]!, folded.at(-1)!]
  name.consumers.push(...reader.routes)
  const keys = new Map(views.map(view => [view.name as string, new Map<string, unknown>()]))
  for (let n = 0; n < 7; n++) keys.get('names')?.set(String(n), n)
  const step = (cursor: RecordCursor, timeMs: number): void => {
    const [before, after] = [cursor.before(), cursor.after()]
    info.position = cursor.position
    info.timeMs = cursor.topic.name === clicks.name ? (after!['at'] as Date).getTime() : timeMs
    for (const view of folded)
      for (const route of view.routes)
        if (route.input === cursor.topic.name) {
          view.fold(route, before, after, cursor.topic.contract.key)
          for (const key of after ? [route.keysOf(after, cursor.topic.contract.key)].flat() : [])
            if (key !== null) keys.get(view.name)?.set(JSON.stringify(key), key)
        }
  }
  const log_ = log.read(0)
  for (let position = 0; position < log.end; ) {
    for (const block of (await log_.next()) ?? []) {
      const cursor = block.records()
      while (cursor.next()) step(cursor, block.appendTimeMs)
      if (block.last) for (const view of folded) view.endTransaction(block.end)
      position = block.end
    }
  }
  log_.close()
  return { folded, keys }
}

describe('records folded in runs', () => {
  it.each([
    [1, false],
    [2, false],
    [3, true],
    [4, true],
  ])(
    'give what they give one after the other, and aggregates what handlers give (seed %i, sealed: %s)',
    async (seed, seal) => {
      const log = await openEmbeddedLog({ path: join(folder, 'log'), seal, segmentBytesMax: 32 * 1024 })
      await write(log, new Random(seed))
      if (seal) await log.sealed()
      const { folded: expected, keys } = await oneByOne(log)
      const parts = partsOf(application('test', { views: views as unknown as readonly View[] }))
      const engine = await openEngine({ log, parts, path: join(folder, 'views'), fingerprint: 'f' })
      await engine.waitFor(log.end, AbortSignal.timeout(60_000))
      let compared = 0
      for (const view of expected) {
        const live = engine.views.get(view.name)!
        expect(live.status().error).toBeNull()
        expect(live.status().rows, view.name).toBe(view.size)
        for (const key of keys.get(view.name)?.values() ?? []) {
          expect(live.get(key), `${view.name} ${JSON.stringify(key)}`).toEqual(view.get(key))
          if (view.get(key)) compared++
        }
      }
      for (const [declared, byHand] of [
        [ofEvents, ofEventsByHand],
        [ofRows, ofRowsByHand],
      ] as const) {
        const view = expected.find(each => each.name === declared.name)!
        for (const key of keys.get(view.name)?.values() ?? []) {
          const rows = [declared, byHand].map(each => engine.views.get(each.name)?.get(key))
          expect(rows[0]).toEqual(rows[1])
        }
      }
      expect(compared).toBe(expected.reduce((total, view) => total + view.size, 0))
      await engine.stop()
      await log.close()
    },
  )
})

describe('a run', () => {
  const rowAt = (id: number): Row => ({ ...randomRow(new Random(id), id), shop: id % 3, cents: 1 })

  /** Folds 600 events of one transaction; gives the views' errors, and what they were stopped by. */
  async function errorOf(view: View): Promise<{ readonly code: string; readonly detail?: string } | null | undefined> {
    const log = await openEmbeddedLog({ path: join(folder, 'log'), seal: false })
    const stored = await log.topic(compileContract('clicks', 'topic', z.object(columns), 'id'))
    const batch = log.batch()
    for (let id = 1; id <= 600; id++)
      batch.event(stored, id === 450 ? { ...rowAt(id), name: 'x'.repeat(9_000) } : rowAt(id))
    await batch.commit()
    const parts = partsOf(application('test', { views: [view, ofEvents as unknown as View] }))
    const engine = await openEngine({ log, parts, path: join(folder, 'views'), fingerprint: 'f' })
    await engine.waitFor(log.end, AbortSignal.timeout(60_000))
    expect(engine.views.get(ofEvents.name)?.status().rows).toBe(3)
    const { error } = engine.views.get(view.name)!.status()
    await engine.stop()
    await log.close()
    return error
  }
  const one = { key: z.int(), state: z.object({ n: z.int32() }) }

  it('names the handler, the position and the key of the record that failed', async () => {
    const failing = projection('failing', one).on(clicks, 'shop', (s, row) => {
      s.n = row.id === 400 ? 0.5 : 1
    })
    const error = await errorOf(failing as unknown as View)
    expect(error).toMatchObject({ code: 'STATE_INVALID' })
    expect(error?.detail).toMatch(/failing\.on\(clicks\), position 400, key 1: n: expected an int32/)
  })

  it('names them for what aggregates cannot hold, too', async () => {
    const large = projection('large', one).on(clicks, 'shop', { n: sum('weight') })
    const error = await errorOf(large as unknown as View)
    expect(error?.detail).toMatch(/large\.on\(clicks\), position \d+, key \d: n: expected an int32, received \d+\.\d+/)
  })

  it('folds the records before one whose key is refused: an earlier failure is the one that counts', async () => {
    const byLongName = (fails: number) =>
      projection('by_long_name', { key: z.string(), state: z.object({ n: z.int32() }) }).on(
        clicks,
        'name',
        (s, row) => {
          if (row.id === fails) throw new Error('out of order')
          s.n++
        },
      ) as unknown as View
    expect(await errorOf(byLongName(-1))).toMatchObject({
      code: 'KEY_INVALID',
      detail: expect.stringContaining('position 450'),
    })
    await rm(folder, { recursive: true })
    expect(await errorOf(byLongName(449))).toMatchObject({
      code: 'HANDLER_FAILED',
      detail: expect.stringContaining('position 449'),
    })
  })

  it('takes its records and rows back at its end', async () => {
    const seen: Row[] = []
    const keeping = projection('keeping', one).on(clicks, 'shop', (_, row) => void seen.push(row))
    expect(await errorOf(keeping as unknown as View)).toBeNull()
    expect(() => seen[0]?.id).toThrow(expect.objectContaining({ code: 'CURSOR_EXPIRED' }))
  })

  it('refuses promises', async () => {
    const late = projection('late', one).on(clicks, 'shop', (() => Promise.resolve()) as never)
    expect(await errorOf(late as unknown as View)).toMatchObject({ code: 'HANDLER_ASYNC' })
  })
})
