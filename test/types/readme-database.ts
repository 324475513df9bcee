// The README's second example, compiled: test/readme.test.ts compares.
import { env, minorUnits, projection } from 'mainstem'
import { postgres } from 'mainstem/postgres'
import { z } from 'zod'

export const shop = postgres('shop', { url: env('SHOP_URL') })
export const orders = shop.table('orders', {
  key: 'id',
  row: z.object({ id: z.int(), customer_id: z.int(), status: z.enum(['placed', 'paid']), total: minorUnits(2) }),
})

export const customers = projection('customers', {
  key: z.int(),
  state: z.object({ orders: z.int32(), cents: z.int() }),
}).on(orders, 'customer_id', {
  add: (customer, order) => {
    customer.orders++
    customer.cents += order.total
  },
  remove: (customer, order) => {
    customer.orders--
    customer.cents -= order.total
  },
})
