// The two databases of the sample: `shop` and `billing`. Rows are made inside the databases, the same ones for the same
// seed. There are no foreign keys: half of what refers to each other lives in another database anyway, and so the
// workload can leave orders behind whose customer is gone, as real systems do.

import type pg from 'pg'

export interface SampleSizes {
  readonly customers: number
  readonly orders: number
  readonly skus: number
  readonly invoices: number
  readonly payments: number
  /** Rows are a function of it and of their number. */
  readonly seed: number
}

/** As the demo runs: about 1.5 million rows, one order line per order on average (0 to 2). */
export const defaultSizes: SampleSizes = {
  customers: 100_000,
  orders: 500_000,
  skus: 5000,
  invoices: 310_000,
  payments: 100_000,
  seed: 1,
}

export const ORDER_STATUSES = ['placed', 'paid', 'shipped', 'cancelled'] as const

/** Anything that runs SQL. */
export type Database = pg.Pool | pg.ClientBase

// Names that a byte-counting, quote-forgetting or ASCII-only program gets wrong.
const FIRST_NAMES = [
  'Ada',
  'Zoë',
  'Łukasz',
  'Søren',
  'Noor',
  'Ελένη',
  'Юлия',
  '小明',
  'Aïcha',
  'José',
  'Thảo',
  '🦊 Fox',
]
const LAST_NAMES = [
  'Lovelace',
  "O'Brien",
  'Åström',
  'Müller-Ç',
  '李',
  'de "la" Cruz',
  'Ngũgĩ',
  'back\\slash',
  'Иванова',
]
const CITIES = ['Bern', 'Zürich', 'København', 'São Paulo', '東京', 'Kyiv', 'Nairobi', 'Québec']

/** Every how many invoices the id lies beyond 2^53, where a float would round it. */
export const LARGE_ID_EVERY = 1000
/** 2^53 + 1: the first whole number that a float cannot hold. */
export const LARGE_ID_BASE = 9_007_199_254_740_993n

/** SQL for an array literal of texts. */
export function textArray(values: readonly string[]): string {
  return `array[${values.map(value => `'${value.replaceAll("'", "''")}'`).join(',')}]`
}

/** SQL for a pseudo-random whole number in [0, limit): a function of the seed, the column and the row's number. */
function pick(row: string, seed: number, column: number, limit: number): string {
  return `((hashint8extended(${row}, ${seed * 1000 + column}) & 2147483647) % ${limit})`
}

const choose = (values: readonly string[], index: string) => `(${textArray(values)})[1 + ${index}]`

/** Creates and fills the tables of `shop`, in one transaction. */
export async function createShop(shop: Database, sizes: SampleSizes = defaultSizes): Promise<void> {
  const { customers, orders, skus, seed } = sizes
  const random = (row: string, column: number, limit: number) => pick(row, seed, column, limit)
  await shop.query(`
    set local synchronous_commit = off;
    create type order_status as enum (${ORDER_STATUSES.map(status => `'${status}'`).join(', ')});
    create table customers (id int, name text not null, city text, since timestamptz not null);
    create table orders (id int, customer_id int not null, status order_status not null);
    create table order_lines (order_id int, line_no int, sku text not null, price numeric(12,2) not null);

    insert into customers
    select i,
      ${choose(FIRST_NAMES, random('i', 1, FIRST_NAMES.length))} || ' ' ||
      ${choose(LAST_NAMES, random('i', 2, LAST_NAMES.length))},
      case when ${random('i', 3, 10)} > 0 then ${choose(CITIES, random('i', 4, CITIES.length))} end,
      timestamptz '2015-01-01 00:00:00+00' + ${random('i', 5, 2_000_000_000)} * interval '1 ms' * 100
    from generate_series(1, ${customers}) i;

    insert into orders
    select i, 1 + ${random('i', 6, Math.max(customers, 1))},
      (${textArray(ORDER_STATUSES)}::order_status[])[1 + ${random('i', 7, ORDER_STATUSES.length)}]
    from generate_series(1, ${orders}) i;

    insert into order_lines
    select i, line.no, 'sku-' || ${random('i * 2 + line.no', 8, skus)},
      (1 + ${random('i * 2 + line.no', 9, 99_999)}) * 0.01
    from generate_series(1, ${orders}) i, (values (1), (2)) line(no)
    where ${random('i', 10, 3)} >= line.no;

    alter table customers add primary key (id);
    alter table orders add primary key (id);
    alter table order_lines add primary key (order_id, line_no)`)
}

/** Creates and fills the tables of `billing`, in one transaction. */
export async function createBilling(billing: Database, sizes: SampleSizes = defaultSizes): Promise<void> {
  const { customers, invoices, payments, seed } = sizes
  const random = (row: string, column: number, limit: number) => pick(row, seed, column, limit)
  const invoiceId = (number: string) =>
    `case when ${number} % ${LARGE_ID_EVERY} = 0 then ${LARGE_ID_BASE} + ${number} else ${number} end`
  await billing.query(`
    set local synchronous_commit = off;
    create table invoices (id bigint, customer_id int not null, due date not null, amount numeric(12,2) not null);
    create table payments (id uuid, invoice_id bigint not null, amount numeric(12,2) not null);

    insert into invoices
    select ${invoiceId('i')}, 1 + ${random('i', 11, Math.max(customers, 1))}, date '2025-01-01' + ${random('i', 12, 730)}::int,
      (1 + ${random('i', 13, 500_000)}) * 0.01
    from generate_series(1::bigint, ${invoices}) i;

    -- md5 with the version and variant digits of a random uuid
    insert into payments
    select overlay(overlay(md5('${seed}/' || p) placing '4' from 13) placing '8' from 17)::uuid, ${invoiceId('i')}, (1 + ${random('p', 15, 200_000)}) * 0.01
    from generate_series(1, ${payments}) p, lateral (select 1 + ${random('p', 14, Math.max(invoices, 1))} as i) invoice;

    alter table invoices add primary key (id);
    alter table payments add primary key (id);
    create index payments_invoice_id on payments (invoice_id)`)
}
