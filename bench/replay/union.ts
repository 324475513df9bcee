// Four types of events of one topic, folded by customer; each type has fields of its own.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { CUSTOMERS, type Order, orderSource } from '../log-data.ts'
import { numbersOf, type Work } from './work.ts'

const common = { order_id: z.int(), customer_id: z.int(), updated_at: z.int() }

const events = topic('events', {
  key: 'order_id',
  value: z.discriminatedUnion('type', [
    z.object({ type: z.literal('Placed'), ...common, items: z.int32(), amount_cents: z.int() }),
    z.object({ type: z.literal('Paid'), ...common, amount_cents: z.int() }),
    z.object({ type: z.literal('Shipped'), ...common, weight_grams: z.int32() }),
    z.object({ type: z.literal('Cancelled'), ...common, refund_cents: z.int() }),
  ]),
})

const NAMES = [
  ...['placed', 'items', 'placed_cents', 'paid', 'paid_cents'],
  ...['shipped', 'grams', 'cancelled', 'refund_cents', 'last'],
] as const

const customers = projection('customers', {
  key: z.int(),
  state: z.object({
    placed: z.int32(),
    items: z.int(),
    placed_cents: z.int(),
    paid: z.int32(),
    paid_cents: z.int(),
    shipped: z.int32(),
    grams: z.int(),
    cancelled: z.int32(),
    refund_cents: z.int(),
    last: z.int(),
  }),
}).on(events, 'customer_id', {
  Placed(customer, event) {
    customer.placed++
    customer.items += event.items
    customer.placed_cents += event.amount_cents
    customer.last = event.updated_at
  },
  Paid(customer, event) {
    customer.paid++
    customer.paid_cents += event.amount_cents
    customer.last = event.updated_at
  },
  Shipped(customer, event) {
    customer.shipped++
    customer.grams += event.weight_grams
    customer.last = event.updated_at
  },
  Cancelled(customer, event) {
    customer.cancelled++
    customer.refund_cents += event.refund_cents
    customer.last = event.updated_at
  },
})

const itemsOf = ({ amount_cents }: Order): number => 1 + (amount_cents % 9)

function eventOf(order: Order): Record<string, unknown> {
  const { order_id, customer_id, amount_cents, updated_at } = order
  switch (order.status) {
    case 'placed':
      return { type: 'Placed', order_id, customer_id, updated_at, items: itemsOf(order), amount_cents }
    case 'paid':
      return { type: 'Paid', order_id, customer_id, updated_at, amount_cents }
    case 'shipped':
      return { type: 'Shipped', order_id, customer_id, updated_at, weight_grams: amount_cents }
    case 'cancelled':
      return { type: 'Cancelled', order_id, customer_id, updated_at, refund_cents: amount_cents }
  }
}

/** Adds an order's numbers to its customer's, which begin at `at`. */
function addTo(folded: Float64Array, at: number, order: Order): void {
  switch (order.status) {
    case 'placed':
      folded[at]!++
      folded[at + 1]! += itemsOf(order)
      folded[at + 2]! += order.amount_cents
      break
    case 'paid':
      folded[at + 3]!++
      folded[at + 4]! += order.amount_cents
      break
    case 'shipped':
      folded[at + 5]!++
      folded[at + 6]! += order.amount_cents
      break
    case 'cancelled':
      folded[at + 7]!++
      folded[at + 8]! += order.amount_cents
  }
  folded[at + 9] = order.updated_at
}

export const unionWork: Work = {
  topics: [events],
  apps: { handler: application('replay', { views: [customers] }) },
  source() {
    const source = orderSource()
    return () => eventOf(source())
  },
  *expected(count) {
    const source = orderSource()
    const folded = new Float64Array(CUSTOMERS * NAMES.length)
    for (let n = 0; n < count; n++) {
      const order = source()
      addTo(folded, order.customer_id * NAMES.length, order)
    }
    for (let id = 0; id < CUSTOMERS; id++) {
      const row = folded.subarray(id * NAMES.length, (id + 1) * NAMES.length)
      if (row.at(-1) !== 0) yield [id, ...row]
    }
  },
  views: [{ name: 'customers', keys: CUSTOMERS, keyOf: n => n, numbers: numbersOf(...NAMES) }],
}
