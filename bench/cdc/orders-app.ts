// What is captured: one table, its rows checked against their contract; served as a view where somebody reads it.
import { z } from 'zod'
import { mariadb, postgres } from '../../cdc/index.ts'
import { env } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { STATUSES } from '../log-data.ts'

const url = env('MAINSTEM_BENCH_URL')
const contract = {
  key: 'order_id',
  row: z.object({
    order_id: z.int(),
    customer_id: z.int32(),
    status: z.enum(STATUSES),
    amount_cents: z.int32(),
    note: z.string(),
    updated_at: z.date(),
  }),
} as const
export const SOURCE = 'shop'
const orders = postgres(SOURCE, { url }).table('shop.orders', contract)
const mariadbOrders = mariadb(SOURCE, { url }).table('orders', contract)

/** The table as it is. */
const current = projection('orders', {
  key: z.int(),
  state: z.object({ note: z.string().nullable(), amount_cents: z.int() }),
}).on(orders, 'order_id', {
  add: (row, order) => {
    row.note = order.note
    row.amount_cents += order.amount_cents
  },
  remove: (row, order) => {
    row.note = null
    row.amount_cents -= order.amount_cents
  },
})

export type TechnologyName = 'postgres' | 'mariadb'

export const TOPICS: Readonly<Record<TechnologyName, string>> = { postgres: orders.name, mariadb: mariadbOrders.name }
/** Captures the table, and does nothing else. */
export const CAPTURES = {
  postgres: application('bench', { views: [], tables: [orders] }),
  mariadb: application('bench', { views: [], tables: [mariadbOrders] }),
} as const
export const served = application('bench', { views: [current] })
