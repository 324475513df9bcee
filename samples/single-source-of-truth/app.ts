// One picture of two databases: `shop` knows customers and orders, `billing` what they owe.
import { application, env, minorUnits, projection } from 'mainstem'
import { postgres } from 'mainstem/postgres'
import { z } from 'zod'

export const shop = postgres('shop', { url: env('SHOP_URL') })
export const billing = postgres('billing', { url: env('BILLING_URL') })

const Status = z.enum(['placed', 'paid', 'shipped', 'cancelled'])

export const customers = shop.table('customers', {
  key: 'id',
  row: z.object({ id: z.int(), name: z.string(), city: z.string().nullable(), since: z.date() }),
})
export const orders = shop.table('orders', {
  key: 'id',
  row: z.object({ id: z.int(), customer_id: z.int(), status: Status }),
})
export const orderLines = shop.table('order_lines', {
  key: ['order_id', 'line_no'],
  row: z.object({ order_id: z.int(), line_no: z.int32(), sku: z.string(), price: minorUnits(2) }),
})
export const invoices = billing.table('invoices', {
  key: 'id',
  row: z.object({ id: z.bigint(), customer_id: z.int(), due: z.iso.date(), amount: minorUnits(2) }),
})
export const payments = billing.table('payments', {
  key: 'id',
  row: z.object({ id: z.guid(), invoice_id: z.bigint(), amount: minorUnits(2) }),
})

/** One row per invoice: what is still open of it. */
export const bills = projection('bills', {
  key: z.bigint(),
  state: z.object({ customer_id: z.int().nullable(), due: z.iso.date().nullable(), open_cents: z.int() }),
})
  .on(invoices, 'id', {
    add: (bill, invoice) => {
      bill.customer_id = invoice.customer_id
      bill.due = invoice.due
      bill.open_cents += invoice.amount
    },
    remove: (bill, invoice) => {
      bill.customer_id = bill.due = null
      bill.open_cents -= invoice.amount
    },
  })
  .on(payments, 'invoice_id', {
    add: (bill, payment) => {
      bill.open_cents -= payment.amount
    },
    remove: (bill, payment) => {
      bill.open_cents += payment.amount
    },
  })

/** One row per customer, out of both databases. A view is a table too: `bills` is folded like one. */
export const accounts = projection('accounts', {
  key: z.int(),
  state: z.object({
    name: z.string().nullable(),
    city: z.string().nullable(),
    since: z.date().nullable(),
    orders: z.record(Status, z.int32()),
    open_cents: z.int(),
  }),
})
  .on(customers, 'id', {
    add: (account, customer) => {
      account.name = customer.name
      account.city = customer.city
      account.since = customer.since
    },
    remove: account => {
      account.name = account.city = account.since = null
    },
  })
  .on(orders, 'customer_id', {
    add: (account, order) => {
      account.orders[order.status]++
    },
    remove: (account, order) => {
      account.orders[order.status]--
    },
  })
  .on(bills, 'customer_id', {
    add: (account, bill) => {
      account.open_cents += bill.open_cents
    },
    remove: (account, bill) => {
      account.open_cents -= bill.open_cents
    },
  })
  // Who owes most in a city, and who comes to live there: `range accounts --where city=Bern`, `watch accounts --where city=Bern`.
  .index('city', 'open_cents')

/** One row per article. */
export const products = projection('products', {
  key: z.string(),
  state: z.object({ lines: z.int32(), sold_cents: z.int() }),
}).on(orderLines, 'sku', {
  add: (product, line) => {
    product.lines++
    product.sold_cents += line.price
  },
  remove: (product, line) => {
    product.lines--
    product.sold_cents -= line.price
  },
})

export default application('single-source-of-truth', { views: [bills, accounts, products] })
