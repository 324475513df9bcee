// What the types promise, checked by tsc: each `@ts-expect-error` is a mistake that must not compile. The functions are
// never called; the test only says that this file was compiled with the others.
import {
  application,
  count,
  countBy,
  type Draft,
  last,
  max,
  minorUnits,
  projection,
  type Row,
  sum,
  sumBy,
  topic,
  type Wire,
} from 'mainstem'
import { postgres } from 'mainstem/postgres'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'

const shop = postgres('shop', { url: 'postgres://localhost/shop' })
const Status = z.enum(['placed', 'paid'])
const customers = shop.table('customers', {
  key: 'id',
  row: z.object({ id: z.int(), name: z.string(), city: z.string().nullable(), since: z.date() }),
})
const orders = shop.table('orders', {
  key: 'id',
  row: z.object({ id: z.int(), customer_id: z.int(), status: Status }),
})
const lines = shop.table('order_lines', {
  key: ['order_id', 'line_no'],
  row: z.object({ order_id: z.int(), line_no: z.int32(), sku: z.string(), price: minorUnits(2) }),
})
const invoices = shop.table('billing.invoices', {
  key: 'id',
  row: z.object({ id: z.bigint(), customer_id: z.int(), due: z.iso.date(), amount: minorUnits(2) }),
})
const clicks = topic('clicks', { key: 'page', value: z.object({ page: z.string(), ms: z.int32() }) })
const spec = {
  key: z.int(),
  state: z.object({ n: z.int32(), tags: z.array(z.string()), seen: z.map(z.string(), z.int()) }),
}
const bills = projection('bills', {
  key: z.bigint(),
  state: z.object({ customer_id: z.int().nullable(), open_cents: z.int() }),
}).on(invoices, 'id', {
  add: (bill, invoice) => {
    expectTypeOf(invoice).toEqualTypeOf<Readonly<{ id: bigint; customer_id: number; due: string; amount: number }>>()
    bill.open_cents += invoice.amount
  },
  remove: (bill, invoice) => {
    bill.open_cents -= invoice.amount
  },
})

const counting = {
  add: (s: { n: number }) => {
    s.n++
  },
  remove: (s: { n: number }) => {
    s.n--
  },
}

function wrongUses() {
  // @ts-expect-error name is a string column, the key is a number
  projection('x', spec).on(customers, 'name', counting)
  // @ts-expect-error a bigint column is not a number key
  projection('x', spec).on(invoices, 'id', counting)
  // @ts-expect-error remove is missing
  projection('x', spec).on(orders, 'customer_id', { add: counting.add })
  // @ts-expect-error a handler is synchronous
  projection('x', spec).on(orders, 'customer_id', { add: async s => void s.n++, remove: counting.remove })
  projection('x', spec).on(orders, 'customer_id', {
    add: (_s, order) => {
      // @ts-expect-error rows are read-only
      order.customer_id = 1
    },
    remove: counting.remove,
  })
  projection('x', spec).on(orders, 'customer_id', {
    // @ts-expect-error arrays are values: assign a new one
    add: (s, order) => void s.tags.push(order.status),
    remove: counting.remove,
  })
  // @ts-expect-error no such state field
  projection('x', spec).on(orders, 'customer_id', { add: s => void s.nn++, remove: counting.remove })
  // @ts-expect-error name and at have no initial value
  projection('x', { key: z.int(), state: z.object({ n: z.int32(), name: z.string(), at: z.date() }) })
  // @ts-expect-error an event stream takes one function
  projection('y', { key: z.string(), state: spec.state }).on(clicks, 'page', counting)
  projection('cs', { key: z.object({ city: z.string(), status: Status }), state: spec.state })
    // @ts-expect-error customer_id is not a city
    .on(orders, { city: 'customer_id', status: 'status' }, counting)
  // @ts-expect-error key column must exist
  topic('t', { key: 'nope', value: z.object({ id: z.string() }) })
  // @ts-expect-error key column must exist in the row
  shop.table('t', { key: ['id', 'nope'], row: z.object({ id: z.int() }) })
  // @ts-expect-error the event time is a field of the record
  topic('t', { key: 'id', time: 'at', value: z.object({ id: z.string() }) })
  // @ts-expect-error a source is not a view
  application('x', { views: [orders] })
}

const oldClick = z.object({ page: z.string(), seconds: z.number(), at: z.date() })
const olderClick = z.object({ page: z.string(), minutes: z.number() })

function wrongUpcasts() {
  // @ts-expect-error ms is missing
  clicks.upcast(1, oldClick, old => ({ page: old.page }))
  // @ts-expect-error ms is a number
  clicks.upcast(1, oldClick, old => ({ page: old.page, ms: String(old.seconds) }))
  // @ts-expect-error the old version has no such field
  clicks.upcast(1, oldClick, old => ({ page: old.page, ms: old.hours }))
  // @ts-expect-error an upcast is synchronous
  clicks.upcast(1, oldClick, async old => ({ page: old.page, ms: old.seconds }))
  // @ts-expect-error no such field to rename
  clicks.upcast(1, oldClick, { renamed: { hours: 'ms' } })
  // @ts-expect-error a date is no number
  clicks.upcast(1, oldClick, { renamed: { at: 'ms' } })
  // @ts-expect-error the added value is not of its field
  clicks.upcast(1, oldClick, { added: { ms: 'none' } })
  clicks
    .upcast(2, oldClick, { renamed: { seconds: 'ms' } })
    // @ts-expect-error version 1 becomes version 2, not the newest
    .upcast(1, olderClick, old => ({ page: old.page, ms: old.minutes }))
  // @ts-expect-error the row is the table's
  orders.upcast(1, z.object({ id: z.int() }), old => ({ id: old.id, customer_id: 1, status: 'lost' }))
}

function rightUpcasts() {
  const read = clicks
    .upcast(2, oldClick, old => {
      expectTypeOf(old).toEqualTypeOf<{ page: string; seconds: number; at: Date }>()
      return { page: old.page, ms: old.seconds * 1000 }
    })
    .upcast(1, olderClick, old => ({ page: old.page, seconds: old.minutes * 60, at: new Date(0) }))
  expectTypeOf(read['~input']).toEqualTypeOf(clicks['~input'])
  projection('y', { key: z.string(), state: spec.state }).on(read, 'page', (s, click) => {
    s.n += click.ms
  })
  const table = orders.upcast(1, z.object({ id: z.int(), customer: z.int(), status: Status }), {
    renamed: { customer: 'customer_id' },
  })
  projection('x', spec).on(table, 'customer_id', counting)
  projection('x', spec).on(
    table.changes,
    change => change.after?.customer_id ?? null,
    s => void s.n++,
  )
  application('x', { views: [], tables: [table], topics: [read] })
}

const sums = {
  key: z.int(),
  state: z.object({
    n: z.int32(),
    open: z.bigint(),
    by: z.record(Status, z.int32()),
    latest: z.date().nullable(),
    due: z.string().nullable(),
  }),
}

function aggregates() {
  projection('x', sums).on(orders, 'customer_id', { n: count(), by: countBy('status') })
  projection('x', sums).on(orders, 'customer_id', { n: sum('id'), by: sumBy('status', 'id') })
  projection('x', sums).on(customers, 'id', { n: count(), latest: max('since') })
  projection('x', sums).on(invoices, 'customer_id', { open: sum('id'), due: max('due') })
  projection('x', { key: z.string(), state: sums.state }).on(clicks, 'page', { n: sum('ms'), due: last('page') })
  // @ts-expect-error name is no number
  projection('x', sums).on(customers, 'id', { n: sum('name') })
  // @ts-expect-error there is no such column
  projection('x', sums).on(customers, 'id', { n: sum('nope') })
  // @ts-expect-error there is no such field
  projection('x', sums).on(customers, 'id', { nope: count() })
  // @ts-expect-error a number has no place for a bigint
  projection('x', sums).on(invoices, 'customer_id', { n: sum('id') })
  // @ts-expect-error n is never null: what would the greatest of none be
  projection('x', sums).on(orders, 'customer_id', { n: max('id') })
  // @ts-expect-error a text is no date
  projection('x', sums).on(customers, 'id', { latest: max('name') })
  // @ts-expect-error the record has no places for names
  projection('x', sums).on(customers, 'id', { by: countBy('name') })
}

function rightUses() {
  projection('x', spec).on(orders, 'customer_id', {
    add: (s, order) => {
      s.tags = [...s.tags, order.status]
      s.seen.set(order.status, (s.seen.get(order.status) ?? 0) + 1)
    },
    remove: counting.remove,
  })
  // A function may route to no key, and a view is a table.
  projection('x', spec).on(bills, bill => bill.customer_id, counting)
  projection('x', spec).on(
    orders.changes,
    change => (change.after ?? change.before)?.customer_id ?? null,
    (s, change) => {
      expectTypeOf(change.op).toEqualTypeOf<'insert' | 'update' | 'delete'>()
      s.n++
    },
  )
  projection('l', { key: z.object({ order: z.int(), no: z.int32() }), state: spec.state }).on(
    lines,
    { order: 'order_id', no: 'line_no' },
    counting,
  )
}

const former = z.object({ n: z.int32(), name: z.string() })
const kept = { key: z.int(), state: z.object({ count: z.int(), name: z.string().nullable() }) }

function migrations() {
  projection('x', kept).migrate(former, old => {
    expectTypeOf(old).toEqualTypeOf<{ n: number; name: string }>()
    return { count: old.n, name: null }
  })
  projection('x', kept)
    .migrate(former, old => ({ count: old.n, name: old.name }))
    .on(orders, 'customer_id', {
      add: s => void s.count++,
      remove: s => void s.count--,
    })
  // @ts-expect-error the new state has a name
  projection('x', kept).migrate(former, old => ({ count: old.n }))
  // @ts-expect-error a count is a number
  projection('x', kept).migrate(former, old => ({ count: old.name, name: null }))
  // @ts-expect-error the former state had no total
  projection('x', kept).migrate(former, old => ({ count: old.total, name: null }))
  // @ts-expect-error a promise is no row
  projection('x', kept).migrate(former, async old => ({ count: old.n, name: null }))
}

describe('the types of the public API', () => {
  it('compile with this file, mistakes included as errors that tsc expects', () => {
    expect([wrongUpcasts, rightUpcasts]).toHaveLength(2)
    expectTypeOf<Wire<{ id: bigint; at: Date | null }>>().toEqualTypeOf<{ id: string; at: string | null }>()
    expectTypeOf<Row<{ tags: string[] }>>().toEqualTypeOf<{ readonly tags: readonly string[] }>()
    expectTypeOf<Draft<{ n: number }>>().toEqualTypeOf<{ n: number }>()
    expect([wrongUses, rightUses, aggregates, migrations].every(uses => typeof uses === 'function')).toBe(true)
  })
})
