// Replay without a database: views rebuilt from a sealed log, folded by handlers and by declared aggregates, for few and many
// keys, numbers and UUIDs; and eight views at once. Their content is compared with the same fold over a plain Map.
import { join } from 'node:path'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, openEmbeddedLog, topic } from '../core/index.ts'
import {
  application,
  count,
  countBy,
  type LocalEngine,
  max,
  openEngine,
  partsOf,
  projection,
  sum,
  type View,
} from '../projections/index.ts'
import { type BenchResult, type Goal, interleave, median, type Side } from './harness.ts'
import { BATCH, inFolder, STATUSES, scaled } from './log-data.ts'

const EVENTS = scaled(2_000_000, BATCH)
const ROUNDS = 5
const SEGMENT_BYTES = 16 * 2 ** 20
const KEYS = [64, 65_536, 500_000, 1_000_000]
const CONTRACTS = 4

type Figures = Record<string, number | string>
type Id = number | string

interface Order extends Record<string, unknown> {
  order_id: number
  customer_id: Id
  status: (typeof STATUSES)[number]
  amount_cents: number
  updated_at: number
}

const Status = z.enum(STATUSES)
const fields = <K extends z.ZodType>(key: K) => ({
  order_id: z.int(),
  customer_id: key,
  status: Status,
  amount_cents: z.int(),
  updated_at: z.int(),
})
const stateOf = <L extends z.ZodType>(last: L) =>
  z.object({ count: z.int(), cents: z.int(), by: z.record(Status, z.int32()), last })

/** The views by handlers and by aggregates, over keys of numbers or of texts. */
const kinds = {
  int: viewsOf(z.int()),
  uuid: viewsOf(z.string()),
} as const

function viewsOf<K extends z.ZodInt | z.ZodString>(key: K) {
  const orders = topic('orders', { key: 'order_id', value: z.object(fields(key)) })
  const handler = projection('per_customer', { key, state: stateOf(z.int()) } as never).on(
    orders,
    'customer_id' as never,
    ((state: z.output<ReturnType<typeof stateOf<z.ZodInt>>>, order: Order) => {
      state.count++
      state.cents += order.amount_cents
      state.by[order.status]++
      if (order.updated_at > state.last) state.last = order.updated_at
    }) as never,
  )
  const declared = projection('per_customer', { key, state: stateOf(z.int().nullable()) } as never).on(
    orders,
    'customer_id' as never,
    { count: count(), cents: sum('amount_cents'), by: countBy('status'), last: max('updated_at') } as never,
  )
  return { orders, handler: handler as unknown as View, declared: declared as unknown as View }
}

const hex = (n: number): string => (Math.imul(n, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0')
const uuidOf = (n: number): string => `${hex(n)}-${hex(n + 1).slice(4)}-4000-8000-${hex(n + 2)}0000`

/** Deterministic: the n-th order. */
const orderOf = (n: number, ids: readonly Id[]): Order => ({
  order_id: n,
  customer_id: ids[(Math.imul(n, 0x9e3779b1) >>> 5) % ids.length]!,
  status: STATUSES[n % 4] ?? 'placed',
  amount_cents: n % 100_000,
  updated_at: 1_700_000_000_000 + n,
})

export const run = (): Promise<BenchResult> =>
  inFolder(async folder => {
    const figures: Figures = { events: EVENTS, rounds: ROUNDS }
    for (const kind of ['int', 'uuid'] as const)
      for (const keys of KEYS) await measureKeys(join(folder, `${kind}-${keys}`), kind, keys, figures)
    const goal = await measureMany(join(folder, 'many'), figures)
    return { goals: [goal], figures }
  })

const openLog = (path: string): Promise<EmbeddedLog> => openEmbeddedLog({ path, segmentBytesMax: SEGMENT_BYTES })

async function measureKeys(path: string, kind: 'int' | 'uuid', keys: number, figures: Figures): Promise<void> {
  const ids = Array.from({ length: keys }, (_, n) => (kind === 'int' ? n : uuidOf(n)))
  const { orders, handler, declared } = kinds[kind]
  const log = await openLog(path)
  try {
    await append(log, [[orders.name, fields(kind === 'int' ? z.int() : z.string())]], ids)
    const measured = await interleave(
      [
        rebuildSide('handler', log, [handler], path, engine => textOf(ids, id => rowOf(engine, handler, id))),
        rebuildSide('declared', log, [declared], path, engine => textOf(ids, id => rowOf(engine, declared, id))),
        { name: 'map', units: EVENTS, run: () => foldIntoMap(ids) },
      ],
      ROUNDS,
    )
    if (!measured.equal) throw new Error(`${kind} keys, ${keys} of them: the results differ`)
    for (const [side, perCpuSecond] of Object.entries(measured.perCpuSecond))
      figures[`${keys} ${kind} keys, ${side}: M events per CPU second`] = perCpuSecond / 1e6
  } finally {
    await log.close()
  }
}

const rowOf = (engine: LocalEngine, { name }: View, id: Id): unknown => engine.views.get(name)?.get(id)

/** What a thousand of the keys hold. */
const textOf = (ids: readonly Id[], row: (id: Id) => unknown): string =>
  JSON.stringify(ids.slice(0, 1_000).map(id => row(id) ?? null))

/** Rebuilds views from the log; the checkpoint at the end is not measured. */
function rebuildSide(
  name: string,
  log: EmbeddedLog,
  views: readonly View[],
  path: string,
  read: (engine: LocalEngine) => string,
): Side {
  let engine: LocalEngine | undefined
  let round = 0
  return {
    name,
    units: EVENTS,
    async run() {
      const parts = partsOf(application('bench', { views }))
      const folder = `${path}-${name}-${round++}`
      engine = await openEngine({ log, parts, path: folder, fingerprint: 'bench', checkpointIntervalMs: 3_600_000 })
      await engine.waitFor(log.end, AbortSignal.timeout(600_000))
      return read(engine)
    },
    async after() {
      await engine?.stop()
    },
  }
}

/** Appends all orders, to the topics in turn, and seals them. */
async function append(
  log: EmbeddedLog,
  topics: readonly (readonly [string, z.ZodRawShape])[],
  ids: readonly Id[],
): Promise<void> {
  const stored = await Promise.all(
    topics.map(([name, shape]) => log.topic(compileContract(name, 'topic', z.object(shape), 'order_id'))),
  )
  const commits: Promise<unknown>[] = []
  for (let n = 0; n < EVENTS; n += BATCH) {
    const batch = log.batch()
    for (let each = n; each < n + BATCH; each++) batch.event(stored[each % stored.length]!, orderOf(each, ids))
    commits.push(batch.commit())
    if (commits.length % 16 === 0) await commits.at(-16)
  }
  await Promise.all(commits)
  await log.sealed()
}

const newRow = () => ({ count: 0, cents: 0, by: { placed: 0, paid: 0, shipped: 0, cancelled: 0 }, last: 0 })

function foldIntoMap(ids: readonly Id[]): string {
  const rows = new Map<Id, ReturnType<typeof newRow>>()
  for (let n = 0; n < EVENTS; n++) {
    const order = orderOf(n, ids)
    const row = rows.get(order.customer_id) ?? newRow()
    if (row.count === 0) rows.set(order.customer_id, row)
    row.count++
    row.cents += order.amount_cents
    row.by[order.status]++
    if (order.updated_at > row.last) row.last = order.updated_at
  }
  return textOf(ids, id => rows.get(id))
}

interface Tally {
  count: number
  cents: number
}

/** Shared by all views: it meets the states and the records of all of them. */
function tally(state: Tally, order: { amount_cents: number }): void {
  state.count++
  state.cents += order.amount_cents
}

/** Each contract and each state has a shape of its own. */
function eightViews() {
  const topics = Array.from({ length: CONTRACTS }, (_, n) => {
    const extra = Object.fromEntries(Array.from({ length: n }, (__, each) => [`extra${each}`, z.int().nullish()]))
    const shape = { ...fields(z.int()), ...extra }
    return { shape, topic: topic(`orders${n}`, { key: 'order_id', value: z.object(shape) }) }
  })
  const views = Array.from({ length: 2 * CONTRACTS }, (_, n) => {
    const more = Object.fromEntries(Array.from({ length: n }, (__, each) => [`more${each}`, z.int()]))
    const state = z.object({ ...more, count: z.int(), cents: z.int(), last: z.int() })
    return projection(`view${n}`, { key: z.int(), state } as never).on(
      topics[n % CONTRACTS]!.topic,
      'customer_id' as never,
      ((row: Tally & { last: number }, order: Order) => {
        tally(row, order)
        row.last = order.updated_at
      }) as never,
    ) as unknown as View
  })
  return { topics, views }
}

/** Eight views in one scan, against the sum of eight scans of one. */
async function measureMany(path: string, figures: Figures): Promise<Goal> {
  const ids = Array.from({ length: 65_536 }, (_, n) => n)
  const { topics, views } = eightViews()
  const log = await openLog(path)
  const texts = new Map<string, Set<string>>()
  const read = (engine: LocalEngine) => {
    for (const view of engine.views.values()) {
      const text = textOf(ids, id => view.get(id))
      texts.set(view.name, (texts.get(view.name) ?? new Set()).add(text))
    }
    return ''
  }
  try {
    await append(
      log,
      topics.map(each => [each.topic.name, each.shape]),
      ids,
    )
    const { perCpuSecond } = await interleave(
      [
        ...views.map((view, n) => rebuildSide(`alone${n}`, log, [view], path, read)),
        rebuildSide('together', log, views, path, read),
      ],
      ROUNDS,
    )
    const alone = views.map((_, n) => EVENTS / perCpuSecond[`alone${n}`]!)
    const together = EVENTS / perCpuSecond['together']!
    const value = together / alone.reduce((total, each) => total + each, 0)
    figures['8 views over 4 contracts: M records of the log per CPU second'] = EVENTS / together / 1e6
    figures['8 views over 4 contracts: M handler calls per CPU second'] = (2 * EVENTS) / together / 1e6
    figures['a view alone, every fourth record its own: M records of the log per CPU second'] =
      EVENTS / median(alone) / 1e6
    const equal = [...texts.values()].every(each => each.size === 1)
    return { name: '8 views, slowdown against each alone', value, goal: 2, unit: '× of the sum', equal }
  } finally {
    await log.close()
  }
}
