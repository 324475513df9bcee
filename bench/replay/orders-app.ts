// The application of the orders, folded by handler: in a file of its own, as a shard's thread loads it.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { STATUSES } from '../log-data.ts'

const Status = z.enum(STATUSES)
export const fields = { order_id: z.int(), status: Status, amount_cents: z.int(), updated_at: z.int() }
/** Of the state, without the last time. */
export const totals = { count: z.int(), cents: z.int(), by: z.record(Status, z.int32()) }

export const orders = topic('orders', { key: 'order_id', value: z.object({ ...fields, customer_id: z.int() }) })

const ordersByHandler = projection('customers', { key: z.int(), state: z.object({ ...totals, last: z.int() }) }).on(
  orders,
  'customer_id',
  (customer, order) => {
    customer.count++
    customer.cents += order.amount_cents
    customer.by[order.status]++
    if (order.updated_at > customer.last) customer.last = order.updated_at
  },
)

export default application('replay', { views: [ordersByHandler] })
