// Orders by customer: count, sum, count per status, last time; for 100,000 customers with numbers, for a million with UUIDs, and
// in two stages: customers by what they have spent, and how many of them are in each band.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, count, countBy, max, projection, sum } from '../../projections/index.ts'
import { CUSTOMERS, orderSource, STATUSES } from '../log-data.ts'
import ordersApp, { fields, orders, totals } from './orders-app.ts'
import { type ComparedRow, type ComparedView, type Id, numbersOf, type Work } from './work.ts'

const uuidOrders = topic('orders', { key: 'order_id', value: z.object({ ...fields, customer_id: z.string() }) })

/** Of a customer: count, cents, count per status, last time. */
const FIELDS = 3 + STATUSES.length
const LAST = FIELDS - 1

/** Folded into one array of numbers: a customer has FIELDS of them. */
function fold(events: number, customers: number): Float64Array {
  const source = orderSource(customers)
  const folded = new Float64Array(customers * FIELDS)
  for (let n = 0; n < events; n++) {
    const order = source()
    const at = order.customer_id * FIELDS
    folded[at]!++
    folded[at + 1]! += order.amount_cents
    folded[at + 2 + STATUSES.indexOf(order.status)]!++
    folded[at + LAST] = Math.max(folded[at + LAST]!, order.updated_at)
  }
  return folded
}

function* expected(events: number, customers: number, idOf: (n: number) => Id): Iterable<ComparedRow> {
  const folded = fold(events, customers)
  for (let n = 0; n < customers; n++) {
    const row = folded.subarray(n * FIELDS, (n + 1) * FIELDS)
    if (row[0] !== 0) yield [idOf(n), ...row]
  }
}

interface CustomerRow {
  readonly count: number
  readonly cents: number
  readonly by: Readonly<Record<string, number>>
  readonly last: number
}

const customersView = (keys: number, keyOf: (n: number) => Id): ComparedView => ({
  name: 'customers',
  keys,
  keyOf,
  numbers(row) {
    const { count, cents, by, last } = row as unknown as CustomerRow
    return [count, cents, ...STATUSES.map(status => by[status] ?? 0), last]
  },
})

const declared = { count: count(), cents: sum('amount_cents'), by: countBy('status'), last: max('updated_at') } as const
const lastOrNull = z.object({ ...totals, last: z.int().nullable() })
const ordersByAggregates = projection('customers', { key: z.int(), state: lastOrNull }).on(
  orders,
  'customer_id',
  declared,
)

const number = (n: number): number => n

/** The orders of the peers' usual work, for so many customers. */
const ordersOf = (customers: number): Work => ({
  topics: [orders],
  apps: {
    handler: ordersApp,
    aggregates: application('replay', { views: [ordersByAggregates] }),
  },
  source: () => orderSource(customers),
  expected: events => expected(events, customers, number),
  views: [customersView(customers, number)],
})

export const ordersWork: Work = ordersOf(CUSTOMERS)

export const MANY_CUSTOMERS = 1_000_000
export const manyOrdersWork: Work = ordersOf(MANY_CUSTOMERS)

const hex = (n: number): string => (Math.imul(n, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0')
/** The n-th customer's UUID: 32 of its bits differ for each n below 2^32. */
export const uuidOf = (n: number): string =>
  `${hex(n)}-${hex(n + 1).slice(4)}-4000-8000-${hex(n + 2)}${hex(n + 3).slice(4)}`

const uuidByHandler = projection('customers', { key: z.string(), state: z.object({ ...totals, last: z.int() }) }).on(
  uuidOrders,
  'customer_id',
  (customer, order) => {
    customer.count++
    customer.cents += order.amount_cents
    customer.by[order.status]++
    if (order.updated_at > customer.last) customer.last = order.updated_at
  },
)
const uuidByAggregates = projection('customers', { key: z.string(), state: lastOrNull }).on(
  uuidOrders,
  'customer_id',
  declared,
)

export const uuidWork: Work = {
  topics: [uuidOrders],
  apps: {
    handler: application('replay', { views: [uuidByHandler] }),
    aggregates: application('replay', { views: [uuidByAggregates] }),
  },
  source() {
    const source = orderSource(MANY_CUSTOMERS)
    return () => {
      const order = source()
      return { ...order, customer_id: uuidOf(order.customer_id) }
    }
  },
  expected: events => expected(events, MANY_CUSTOMERS, uuidOf),
  views: [customersView(MANY_CUSTOMERS, uuidOf)],
}

/** A customer's band follows from what it has spent; orders are of half of it on average, so each second one moves its customer. */
const BAND_CENTS = 100_000
const BANDS = 1_000
const bandOf = (cents: number): number => Math.floor(cents / BAND_CENTS) % BANDS

const spending = projection('customers', {
  key: z.int(),
  state: z.object({ count: z.int(), cents: z.int(), band: z.int32() }),
}).on(orders, 'customer_id', (customer, order) => {
  customer.count++
  customer.cents += order.amount_cents
  customer.band = Math.floor(customer.cents / BAND_CENTS) % BANDS
})
const bandState = z.object({ customers: z.int(), cents: z.int() })
const bands = projection('bands', { key: z.int32(), state: bandState }).on(spending, 'band', {
  add(band, customer) {
    band.customers++
    band.cents += customer.cents
  },
  remove(band, customer) {
    band.customers--
    band.cents -= customer.cents
  },
})
const declaredBands = projection('bands', { key: z.int32(), state: bandState }).on(spending, 'band', {
  customers: count(),
  cents: sum('cents'),
})

export const stagesWork: Work = {
  topics: [orders],
  apps: {
    handler: application('replay', { views: [spending, bands] }),
    aggregates: application('replay', { views: [spending, declaredBands] }),
  },
  source: () => orderSource(),
  *expected(events) {
    const folded = fold(events, CUSTOMERS)
    const byBand = new Float64Array(2 * BANDS)
    for (let n = 0; n < CUSTOMERS; n++) {
      const [customerCount = 0, cents = 0] = folded.subarray(n * FIELDS)
      if (customerCount === 0) continue
      const band = bandOf(cents)
      yield [n, customerCount, cents, band]
      byBand[2 * band]!++
      byBand[2 * band + 1]! += cents
    }
    for (let band = 0; band < BANDS; band++)
      if (byBand[2 * band] !== 0) yield [band, byBand[2 * band]!, byBand[2 * band + 1]!]
  },
  views: [
    { name: 'customers', keys: CUSTOMERS, keyOf: number, numbers: numbersOf('count', 'cents', 'band') },
    { name: 'bands', keys: BANDS, keyOf: number, numbers: numbersOf('customers', 'cents') },
  ],
}
