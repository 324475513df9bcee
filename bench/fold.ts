// Replay without a database: views rebuilt from a sealed log, folded by handlers and by declared aggregates, for few and many
// keys, numbers and UUIDs. Their content is compared with the same fold over a plain Map.
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
import { type BenchResult, interleave, type Side } from './harness.ts'
import { appendEvents, BATCH, inFolder, STATUSES, scaled } from './log-data.ts'

const EVENTS = scaled(2_000_000, BATCH)
const ROUNDS = 5
const SEGMENT_BYTES = 16 * 2 ** 20
const KEYS = [64, 65_536, 500_000, 1_000_000]

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
    return { goals: [], figures }
  })

const openLog = (path: string): Promise<EmbeddedLog> => openEmbeddedLog({ path, segmentBytesMax: SEGMENT_BYTES })

async function measureKeys(path: string, kind: 'int' | 'uuid', keys: number, figures: Figures): Promise<void> {
  const ids = Array.from({ length: keys }, (_, n) => (kind === 'int' ? n : uuidOf(n)))
  const { orders, handler, declared } = kinds[kind]
  const log = await openLog(path)
  try {
    await append(log, orders.name, fields(kind === 'int' ? z.int() : z.string()), ids)
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

/** Appends all orders and seals them. */
async function append(log: EmbeddedLog, name: string, shape: z.ZodRawShape, ids: readonly Id[]): Promise<void> {
  const orders = await log.topic(compileContract(name, 'topic', z.object(shape), 'order_id'))
  await appendEvents(log, EVENTS, (batch, n) => batch.event(orders, orderOf(n, ids)))
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
