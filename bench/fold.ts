// The log and the shard without a database: validated appends in batches, and a rebuild of one view from the log, folded
// by a handler and by declared aggregates; the view's content is compared with the same fold over a plain Map.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { compileContract, type Log, openEmbeddedLog, topic } from '../core/index.ts'
import {
  application,
  count,
  countBy,
  max,
  openEngine,
  partsOf,
  projection,
  sum,
  type View,
} from '../projections/index.ts'
import { type BenchResult, interleave, median, ROUNDS } from './harness.ts'

const EVENTS = 1_000_000
const BATCH = 1_000
const CUSTOMERS = 0x10000
const STATUSES = ['placed', 'paid', 'shipped', 'cancelled'] as const

const orders = topic('orders', {
  key: 'order_id',
  value: z.object({
    order_id: z.int(),
    customer_id: z.int(),
    status: z.enum(STATUSES),
    amount_cents: z.int(),
    updated_at: z.int(),
  }),
})

const perCustomer = projection('per_customer', {
  key: z.int(),
  state: z.object({ count: z.int(), cents: z.int(), by: z.record(z.enum(STATUSES), z.int32()), last: z.int() }),
}).on(orders, 'customer_id', (state, order) => {
  state.count++
  state.cents += order.amount_cents
  state.by[order.status]++
  if (order.updated_at > state.last) state.last = order.updated_at
})

/** The same, declared. */
const declared = projection('per_customer', {
  key: z.int(),
  state: z.object({
    count: z.int(),
    cents: z.int(),
    by: z.record(z.enum(STATUSES), z.int32()),
    last: z.int().nullable(),
  }),
}).on(orders, 'customer_id', {
  count: count(),
  cents: sum('amount_cents'),
  by: countBy('status'),
  last: max('updated_at'),
})

/** Deterministic: the n-th order. */
const orderOf = (n: number) => ({
  order_id: n,
  customer_id: (Math.imul(n, 0x9e3779b1) >>> 8) % CUSTOMERS,
  status: STATUSES[n % 4] ?? 'placed',
  amount_cents: n % 100_000,
  updated_at: 1_700_000_000_000 + n,
})

export async function run(): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'mainstem-bench-'))
  const log = await openEmbeddedLog({ path: join(folder, 'log') })
  try {
    const appends = await appendAll(log)
    let round = 0
    const measured = await interleave([
      { name: 'rebuild', units: EVENTS, run: () => rebuild(log, perCustomer, join(folder, `views-${round++}`)) },
      { name: 'declared', units: EVENTS, run: () => rebuild(log, declared, join(folder, `views-${round++}`)) },
      { name: 'map', units: EVENTS, run: foldIntoMap },
    ])
    return {
      goals: [],
      figures: {
        events: EVENTS,
        customers: CUSTOMERS,
        rounds: ROUNDS,
        'append events/s (validated objects, batches of 1,000)': appends,
        'rebuild events/s': measured.perSecond['rebuild'] ?? 0,
        'rebuild events/s per core': measured.perCpuSecond['rebuild'] ?? 0,
        'rebuild of declared aggregates events/s': measured.perSecond['declared'] ?? 0,
        'rebuild of declared aggregates events/s per core': measured.perCpuSecond['declared'] ?? 0,
        'results equal': String(measured.equal),
      },
    }
  } finally {
    await log.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function appendAll(log: Log): Promise<number> {
  const contract = compileContract('orders', 'topic', orders.value, orders.key)
  const stored = await log.topic(contract)
  const rates: number[] = []
  for (let part = 0; part < 5; part++) {
    const from = (part * EVENTS) / 5
    const startedMs = performance.now()
    const commits: Promise<unknown>[] = []
    for (let n = from; n < from + EVENTS / 5; n += BATCH) {
      const batch = log.batch()
      for (let each = n; each < n + BATCH; each++) batch.event(stored, contract.parse(orderOf(each)))
      commits.push(batch.commit())
      if (commits.length % 16 === 0) await commits.at(-16)
    }
    await Promise.all(commits)
    rates.push(EVENTS / 5 / ((performance.now() - startedMs) / 1000))
  }
  return median(rates)
}

async function rebuild(log: Log, view: View, path: string): Promise<string> {
  const parts = partsOf(application('bench', { views: [view] }))
  const engine = await openEngine({ log, parts, path, fingerprint: 'bench', checkpointIntervalMs: 3_600_000 })
  await engine.waitFor(log.end, AbortSignal.timeout(600_000))
  const live = engine.views.get(view.name)
  const text = JSON.stringify([1, 777, 65_000].map(key => live?.get(key)))
  await engine.stop()
  return text
}

const newRow = () => ({ count: 0, cents: 0, by: { placed: 0, paid: 0, shipped: 0, cancelled: 0 }, last: 0 })

function foldIntoMap(): string {
  const rows = new Map<number, ReturnType<typeof newRow>>()
  for (let n = 0; n < EVENTS; n++) {
    const order = orderOf(n)
    const row = rows.get(order.customer_id) ?? newRow()
    if (row.count === 0) rows.set(order.customer_id, row)
    row.count++
    row.cents += order.amount_cents
    row.by[order.status]++
    if (order.updated_at > row.last) row.last = order.updated_at
  }
  return JSON.stringify([1, 777, 65_000].map(key => rows.get(key)))
}
