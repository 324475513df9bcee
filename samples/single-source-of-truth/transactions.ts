// The kinds of transaction that the workload runs. Each changes several rows, most with one statement per table, so that
// the databases and not this process do the work.

import type pg from 'pg'
import type { LiveKeys } from './live-keys.ts'
import { ORDER_STATUSES, textArray } from './schema.ts'

/** What kind of change a statement makes; the number of rows comes from the database's answer. */
export type ChangeKind = 'inserts' | 'updates' | 'deletes' | 'keyChanges'

/** Keys travel as text: an invoice's id may lie beyond 2^53. */
export type Keys = LiveKeys<string>

/** One transaction under way: counts its changes, and settles whose keys are whose when it ends. */
export class Transaction {
  readonly random: () => number
  readonly changes: Record<ChangeKind, number> = { inserts: 0, updates: 0, deletes: 0, keyChanges: 0 }
  readonly tables = new Set<string>()
  readonly #client: pg.ClientBase
  readonly #onCommit: (() => void)[] = []
  readonly #onRollback: (() => void)[] = []

  constructor(client: pg.ClientBase, random: () => number) {
    this.#client = client
    this.random = random
  }

  get changeCount(): number {
    const { inserts, updates, deletes, keyChanges } = this.changes
    return inserts + updates + deletes + keyChanges
  }

  /** Existing keys, which still exist afterwards. */
  take(keys: Keys, count: number): string[] {
    const taken = keys.take(count, this.random)
    const giveBack = () => keys.give(taken)
    this.#onCommit.push(giveBack)
    this.#onRollback.push(giveBack)
    return taken
  }

  /** Existing keys, which are gone afterwards. */
  takeAway(keys: Keys, count: number): string[] {
    const taken = keys.take(count, this.random)
    this.#onCommit.push(() => keys.free(taken))
    this.#onRollback.push(() => keys.give(taken))
    return taken
  }

  /** New keys, which exist afterwards. */
  create(keys: Keys, count: number): string[] {
    const created = keys.fresh(count, this.random)
    this.#onCommit.push(() => keys.give(created))
    this.#onRollback.push(() => keys.free(created))
    return created
  }

  /** Runs a statement whose parameters are arrays of keys (`$1`, `$2`); its rows count as changes of `kind`. */
  async change(kind: ChangeKind, table: string, sql: string, ...keys: readonly string[][]): Promise<void> {
    const values = keys.map(list => `{${list.join(',')}}`)
    // Named, so that the server plans each statement once per connection.
    const { rowCount } = await this.#client.query({ name: nameOf(sql), text: sql, values })
    const rows = rowCount ?? 0
    this.changes[kind] += rows
    if (rows > 0) this.tables.add(table)
  }

  committed(): void {
    for (const settle of this.#onCommit) settle()
  }

  rolledBack(): void {
    for (const settle of this.#onRollback) settle()
  }
}

const names = new Map<string, string>()

function nameOf(sql: string): string {
  let name = names.get(sql)
  if (name === undefined) {
    name = `workload_${names.size + 1}`
    names.set(sql, name)
  }
  return name
}

/** One kind of transaction. `weight` is how often it is chosen, among those of its database. */
export interface Recipe<K> {
  readonly weight: number
  run(transaction: Transaction, keys: K, rows: number): Promise<void>
}

export interface ShopKeys {
  readonly customers: Keys
  readonly orders: Keys
}

export interface BillingKeys {
  readonly invoices: Keys
}

/** SQL for values: chosen by the server, row by row. */
export interface RandomValues {
  /** The number of customers that orders and invoices refer to. */
  readonly customers: number
  readonly skus: number
}

const status = `(${textArray(ORDER_STATUSES)}::order_status[])[1 + floor(random() * ${ORDER_STATUSES.length})::int]`
const city = `(array['Bern', 'Zürich', '東京', 'São Paulo', 'Αθήνα', null])[1 + floor(random() * 6)::int]`
const amount = '(1 + floor(random() * 500000))::numeric * 0.01'
const dueDate = "date '2026-01-01' + floor(random() * 365)::int"
const someId = (limit: number) => `1 + floor(random() * ${limit})::int`
const someSku = (skus: number) => `'sku-' || floor(random() * ${skus})::int`
const fewer = (rows: number) => Math.ceil(rows / 4)
const half = (rows: number) => Math.ceil(rows / 2)

/** A transaction of one statement. `choose` gives its keys. */
function statement<K>(
  weight: number,
  kind: ChangeKind,
  table: string,
  sql: string,
  choose: (transaction: Transaction, keys: K, rows: number) => readonly string[][],
): Recipe<K> {
  return { weight, run: (tx, keys, rows) => tx.change(kind, table, sql, ...choose(tx, keys, rows)) }
}

/** As many existing keys as new ones, for an update of the primary key. */
function rename(tx: Transaction, keys: Keys, rows: number): [before: string[], after: string[]] {
  const before = tx.takeAway(keys, fewer(rows))
  return [before, tx.create(keys, before.length)]
}

export function shopRecipes(values: RandomValues): Recipe<ShopKeys>[] {
  return [...customerRecipes(), ...orderRecipes(values), ...orderLineRecipes(values)]
}

export function billingRecipes(values: RandomValues): Recipe<BillingKeys>[] {
  return [...invoiceRecipes(values), ...paymentRecipes()]
}

function customerRecipes(): Recipe<ShopKeys>[] {
  const inserted = `insert into customers select id, 'Ñew customer ' || id, ${city},
    date_trunc('milliseconds', clock_timestamp()) from unnest($1::int[]) id`
  const moved = `update customers set city = ${city} where id = any($1::int[])`
  const renamed =
    'update customers set id = after from unnest($1::int[], $2::int[]) pair(before, after) where id = before'
  const deleted = 'delete from customers where id = any($1::int[])'
  return [
    statement(2, 'inserts', 'customers', inserted, (tx, keys, rows) => [tx.create(keys.customers, fewer(rows))]),
    statement(4, 'updates', 'customers', moved, (tx, keys, rows) => [tx.take(keys.customers, rows)]),
    statement(1, 'keyChanges', 'customers', renamed, (tx, keys, rows) => rename(tx, keys.customers, rows)),
    statement(1, 'deletes', 'customers', deleted, (tx, keys, rows) => [tx.takeAway(keys.customers, fewer(rows))]),
  ]
}

function orderRecipes({ customers, skus }: RandomValues): Recipe<ShopKeys>[] {
  const placed = `insert into orders select id, ${someId(customers)}, 'placed' from unnest($1::int[]) id`
  const linesPlaced = `insert into order_lines select id, line_no, ${someSku(skus)}, ${amount}
    from unnest($1::int[]) id, generate_series(1, 1 + id % 3) line_no`
  const pairs = 'from unnest($1::int[], $2::int[]) pair(before, after)'
  const renamed = `update orders set id = after ${pairs} where id = before`
  const linesRenamed = `update order_lines set order_id = after ${pairs} where order_id = before`
  const advanced = `update orders set status = ${status} where id = any($1::int[])`
  const handedOver = `update orders set customer_id = ${someId(customers)} where id = any($1::int[])`
  return [
    statement(8, 'updates', 'orders', advanced, (tx, keys, rows) => [tx.take(keys.orders, rows)]),
    statement(2, 'keyChanges', 'orders', handedOver, (tx, keys, rows) => [tx.take(keys.orders, rows)]),
    {
      weight: 4,
      run: async (tx, keys, rows) => {
        const orders = tx.create(keys.orders, Math.ceil(rows / 3))
        await tx.change('inserts', 'orders', placed, orders)
        await tx.change('inserts', 'order_lines', linesPlaced, orders)
      },
    },
    {
      weight: 2,
      run: async (tx, keys, rows) => {
        const [before, after] = rename(tx, keys.orders, rows)
        await tx.change('keyChanges', 'orders', renamed, before, after)
        await tx.change('keyChanges', 'order_lines', linesRenamed, before, after)
      },
    },
    {
      weight: 3,
      run: async (tx, keys, rows) => {
        const orders = tx.takeAway(keys.orders, half(rows))
        await tx.change('deletes', 'order_lines', 'delete from order_lines where order_id = any($1::int[])', orders)
        await tx.change('deletes', 'orders', 'delete from orders where id = any($1::int[])', orders)
      },
    },
  ]
}

function orderLineRecipes({ skus }: RandomValues): Recipe<ShopKeys>[] {
  const repriced = `update order_lines set price = ${amount} where order_id = any($1::int[])`
  const exchanged = `update order_lines set sku = ${someSku(skus)} where order_id = any($1::int[])`
  // All lines of an order move by the same amount, larger than any order has lines: no two collide on the way.
  const renumbered = 'update order_lines set line_no = line_no + 100 where order_id = any($1::int[])'
  return [
    statement(4, 'updates', 'order_lines', repriced, (tx, keys, rows) => [tx.take(keys.orders, rows)]),
    statement(1, 'keyChanges', 'order_lines', exchanged, (tx, keys, rows) => [tx.take(keys.orders, rows)]),
    statement(1, 'keyChanges', 'order_lines', renumbered, (tx, keys, rows) => [tx.take(keys.orders, fewer(rows))]),
  ]
}

const PAID = `insert into payments select gen_random_uuid(), id, ${amount} from unnest($1::bigint[]) id`
const PAYMENTS_MOVED = `update payments set invoice_id = after
  from unnest($1::bigint[], $2::bigint[]) pair(before, after) where invoice_id = before`
const PAYMENTS_DELETED = 'delete from payments where invoice_id = any($1::bigint[])'

function invoiceRecipes({ customers }: RandomValues): Recipe<BillingKeys>[] {
  const issued = `insert into invoices select id, ${someId(customers)}, ${dueDate}, ${amount} from unnest($1::bigint[]) id`
  const amended = `update invoices set due = ${dueDate}, amount = ${amount} where id = any($1::bigint[])`
  const handedOver = `update invoices set customer_id = ${someId(customers)} where id = any($1::bigint[])`
  const renamed =
    'update invoices set id = after from unnest($1::bigint[], $2::bigint[]) pair(before, after) where id = before'
  return [
    statement(6, 'updates', 'invoices', amended, (tx, keys, rows) => [tx.take(keys.invoices, rows)]),
    statement(2, 'keyChanges', 'invoices', handedOver, (tx, keys, rows) => [tx.take(keys.invoices, rows)]),
    {
      weight: 4,
      run: async (tx, keys, rows) => {
        const invoices = tx.create(keys.invoices, half(rows))
        await tx.change('inserts', 'invoices', issued, invoices)
        await tx.change('inserts', 'payments', PAID, invoices)
      },
    },
    {
      weight: 2,
      run: async (tx, keys, rows) => {
        const [before, after] = rename(tx, keys.invoices, rows)
        await tx.change('keyChanges', 'invoices', renamed, before, after)
        await tx.change('keyChanges', 'payments', PAYMENTS_MOVED, before, after)
      },
    },
    {
      // Every other time the payments stay behind: a bill of payments only.
      weight: 3,
      run: async (tx, keys, rows) => {
        const invoices = tx.takeAway(keys.invoices, half(rows))
        if (tx.random() < 0.5) await tx.change('deletes', 'payments', PAYMENTS_DELETED, invoices)
        await tx.change('deletes', 'invoices', 'delete from invoices where id = any($1::bigint[])', invoices)
      },
    },
  ]
}

function paymentRecipes(): Recipe<BillingKeys>[] {
  const repriced = `update payments set amount = ${amount} where invoice_id = any($1::bigint[])`
  const renamed = 'update payments set id = gen_random_uuid() where invoice_id = any($1::bigint[])'
  /** Payments booked on the wrong invoice move to the next one of the list. */
  const nextInvoices = (tx: Transaction, keys: BillingKeys, rows: number) => {
    const from = tx.take(keys.invoices, Math.max(rows, 2))
    return [from, [...from.slice(1), ...from.slice(0, 1)]]
  }
  return [
    statement(2, 'inserts', 'payments', PAID, (tx, keys, rows) => [tx.take(keys.invoices, fewer(rows))]),
    statement(3, 'updates', 'payments', repriced, (tx, keys, rows) => [tx.take(keys.invoices, rows)]),
    statement(2, 'keyChanges', 'payments', PAYMENTS_MOVED, nextInvoices),
    statement(1, 'keyChanges', 'payments', renamed, (tx, keys, rows) => [tx.take(keys.invoices, rows)]),
    statement(1, 'deletes', 'payments', PAYMENTS_DELETED, (tx, keys, rows) => [tx.take(keys.invoices, fewer(rows))]),
  ]
}
