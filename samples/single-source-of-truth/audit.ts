// Is every row of every view right? Recomputes all views with SQL in the databases themselves, sharing nothing with the
// application but the definition of what the views mean; reads every row through HTTP as any client would; compares field
// by field. Exact: whole numbers as such, int8 keys as text, dates as text, null only equal to null.

import type pg from 'pg'

/** Field → value; a field of a nested object goes by its path, `orders.paid`. */
export type Row = Readonly<Record<string, unknown>>
/** Key as text → row. */
export type Rows = ReadonlyMap<string, Row>

export interface Difference {
  readonly view: string
  readonly key: string
  /** `(row)` where one side has no such row, `(rows)` where the numbers of rows differ. */
  readonly field: string
  readonly expected: unknown
  readonly found: unknown
}

export interface Comparison {
  readonly rowsCompared: number
  readonly differences: number
  /** The first of them. */
  readonly listed: readonly Difference[]
  /** `view.field` → how many. */
  readonly byField: ReadonlyMap<string, number>
}

/** What the application answered for a view. */
export interface Answers {
  /** The rows that were asked for and exist. */
  readonly rows: Rows
  /** How many rows the view says it has. */
  readonly count: number
}

/** Differences listed; all are counted. */
const LISTED_MAX = 10
/** Keys of one lookup: what the API takes at most. */
const LOOKUP_KEYS_MAX = 1000

export const VIEWS = ['accounts', 'bills', 'products'] as const
export type ViewName = (typeof VIEWS)[number]

// The rows of `bills`: one for each invoice id that an invoice or a payment has.
const BILLS = `
  select coalesce(i.id, p.invoice_id)::text as key, i.customer_id, i.due::text as due,
    ((coalesce(i.amount, 0) - coalesce(p.paid, 0)) * 100)::bigint::text as open_cents
  from invoices i
  full join (select invoice_id, sum(amount) as paid from payments group by invoice_id) p on p.invoice_id = i.id`

// What shop knows of `accounts`: a row for each id that a customer has or an order names.
const ACCOUNTS_OF_SHOP = `
  select coalesce(c.id, o.customer_id)::text as key, c.name, c.city,
    to_char(c.since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as since,
    coalesce(o.placed, 0) as placed, coalesce(o.paid, 0) as paid,
    coalesce(o.shipped, 0) as shipped, coalesce(o.cancelled, 0) as cancelled
  from customers c
  full join (
    select customer_id,
      count(*) filter (where status = 'placed')::int as placed, count(*) filter (where status = 'paid')::int as paid,
      count(*) filter (where status = 'shipped')::int as shipped, count(*) filter (where status = 'cancelled')::int as cancelled
    from orders group by customer_id
  ) o on o.customer_id = c.id`

// What billing knows of `accounts`: a row for each id that an invoice names. A payment without an invoice names nobody.
const ACCOUNTS_OF_BILLING = `
  select i.customer_id::text as key, (sum(i.amount - coalesce(p.paid, 0)) * 100)::bigint::text as open_cents
  from invoices i
  left join (select invoice_id, sum(amount) as paid from payments group by invoice_id) p on p.invoice_id = i.id
  group by i.customer_id`

const PRODUCTS = `
  select sku as key, count(*)::int as lines, (sum(price) * 100)::bigint::text as sold_cents
  from order_lines group by sku`

interface BillRow {
  key: string
  customer_id: number | null
  due: string | null
  open_cents: string
}

interface AccountRow extends Record<'placed' | 'paid' | 'shipped' | 'cancelled', number> {
  key: string
  name: string | null
  city: string | null
  since: string | null
}

/** Every view, recomputed in the databases. Nothing may write to them meanwhile. */
export async function recomputeViews(shop: pg.Pool, billing: pg.Pool): Promise<Map<ViewName, Rows>> {
  const [bills, accountsOfShop, accountsOfBilling, products] = await Promise.all([
    billing.query<BillRow>(BILLS),
    shop.query<AccountRow>(ACCOUNTS_OF_SHOP),
    billing.query<{ key: string; open_cents: string }>(ACCOUNTS_OF_BILLING),
    shop.query<{ key: string; lines: number; sold_cents: string }>(PRODUCTS),
  ])
  return new Map([
    ['accounts', joinAccounts(accountsOfShop.rows, accountsOfBilling.rows)],
    [
      'bills',
      rowsByKey(bills.rows, row => ({ customer_id: row.customer_id, due: row.due, open_cents: cents(row.open_cents) })),
    ],
    ['products', rowsByKey(products.rows, row => ({ lines: row.lines, sold_cents: cents(row.sold_cents) }))],
  ])
}

function joinAccounts(ofShop: readonly AccountRow[], ofBilling: readonly { key: string; open_cents: string }[]): Rows {
  const openCents = new Map(ofBilling.map(row => [row.key, cents(row.open_cents)]))
  const account = (key: string, row?: AccountRow): Row => ({
    name: row?.name ?? null,
    city: row?.city ?? null,
    since: row?.since ?? null,
    'orders.placed': row?.placed ?? 0,
    'orders.paid': row?.paid ?? 0,
    'orders.shipped': row?.shipped ?? 0,
    'orders.cancelled': row?.cancelled ?? 0,
    open_cents: openCents.get(key) ?? 0,
  })
  const rows = new Map(ofShop.map(row => [row.key, account(row.key, row)]))
  for (const key of openCents.keys()) if (!rows.has(key)) rows.set(key, account(key))
  return rows
}

function rowsByKey<T extends { key: string }>(rows: readonly T[], rowOf: (row: T) => Row): Rows {
  return new Map(rows.map(row => [row.key, rowOf(row)]))
}

/** A whole number of cents, which the views keep as a number too. */
function cents(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new Error(`${text} cents are more than a number holds exactly`)
  return value
}

/** Reads the rows with these keys through HTTP, and how many the view has in all. @throws on any answer but 200 */
export async function readView(url: string, view: ViewName, keys: Iterable<string>): Promise<Answers> {
  const rows = new Map<string, Row>()
  const asked = [...keys]
  for (let start = 0; start < asked.length; start += LOOKUP_KEYS_MAX) {
    const batch = asked.slice(start, start + LOOKUP_KEYS_MAX)
    const answer = await fetchJson<LookupAnswer>(`${url}/v1/views/${view}/lookup`, {
      // accounts is keyed by an int4, which is a number in JSON; int8 is a string.
      keys: view === 'accounts' ? batch.map(Number) : batch,
    })
    if (!answer.final) throw new Error(`view ${view} says that it is not final`)
    batch.forEach((key, n) => {
      const found = answer.values[n]
      if (String(found?.key) !== key)
        throw new Error(`lookup in ${view} answered ${found?.key} where ${key} was asked for`)
      if (found?.value) rows.set(key, flatten(found.value))
    })
  }
  const { views } = await fetchJson<{ views: { name: string; rows: number }[] }>(`${url}/v1/views`)
  const count = views.find(each => each.name === view)?.rows
  if (count === undefined) throw new Error(`/v1/views does not list ${view}`)
  return { rows, count }
}

interface LookupAnswer {
  readonly values: readonly { readonly key: unknown; readonly value: Row | null }[]
  readonly final: boolean
}

/** GET, or POST where there is a body. @throws on any answer but 200 */
export async function fetchJson<T>(url: string, body?: unknown): Promise<T> {
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(url, body === undefined ? {} : post)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${text.slice(0, 500)}`)
  return JSON.parse(text)
}

function flatten(value: Row, path = ''): Record<string, unknown> {
  const flat: Record<string, unknown> = {}
  for (const [field, inner] of Object.entries(value)) {
    if (isObject(inner)) Object.assign(flat, flatten(inner, `${path}${field}.`))
    else flat[path + field] = inner
  }
  return flat
}

const isObject = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Compares all views. An expected row that is missing, a wrong field and rows too many are each a difference. */
export function compareViews(
  expected: ReadonlyMap<string, Rows>,
  found: ReadonlyMap<string, Answers>,
  listedMax = LISTED_MAX,
): Comparison {
  const listed: Difference[] = []
  const byField = new Map<string, number>()
  let differences = 0
  let rowsCompared = 0
  const differ = (difference: Difference) => {
    differences++
    const place = `${difference.view}.${difference.field}`
    byField.set(place, (byField.get(place) ?? 0) + 1)
    if (listed.length < listedMax) listed.push(difference)
  }
  for (const [view, rows] of expected) {
    const answers = found.get(view) ?? { rows: new Map<string, Row>(), count: 0 }
    for (const [key, row] of rows) {
      rowsCompared++
      compareRow({ view, key }, row, answers.rows.get(key), differ)
    }
    // Only expected rows were asked for. Where the view has more than these, some must not be there.
    const surplus = answers.count - answers.rows.size
    if (surplus !== 0) differ({ view, key: '', field: '(rows)', expected: rows.size, found: answers.count })
  }
  return { rowsCompared, differences, listed, byField }
}

function compareRow(
  place: { readonly view: string; readonly key: string },
  expected: Row,
  found: Row | undefined,
  differ: (difference: Difference) => void,
): void {
  if (found === undefined) {
    differ({ ...place, field: '(row)', expected, found: undefined })
    return
  }
  for (const field in expected) {
    if (found[field] !== expected[field]) differ({ ...place, field, expected: expected[field], found: found[field] })
  }
  for (const field in found) {
    if (!(field in expected)) differ({ ...place, field, expected: undefined, found: found[field] })
  }
}

export interface Corruption {
  readonly view: string
  readonly key: string
  readonly field: string
}

/** A copy of the answers in which one number of one row is wrong by one; undefined where there is no row. */
export function corruptCopy(
  found: ReadonlyMap<string, Answers>,
): { readonly copy: Map<string, Answers>; readonly corruption: Corruption } | undefined {
  for (const [view, { rows, count }] of found) {
    const keys = [...rows.keys()]
    const key = keys[Math.floor(Math.random() * keys.length)]
    const row = key === undefined ? undefined : rows.get(key)
    const field = Object.keys(row ?? {}).findLast(name => typeof row?.[name] === 'number')
    if (key === undefined || row === undefined || field === undefined) continue
    const corrupted = new Map(rows).set(key, { ...row, [field]: Number(row[field]) + 1 })
    return { copy: new Map(found).set(view, { rows: corrupted, count }), corruption: { view, key, field } }
  }
  return undefined
}

/** Whether the same comparison, given a copy with one row wrong on purpose, finds that row and nothing else that is new. */
export function findsCorruption(expected: ReadonlyMap<string, Rows>, found: ReadonlyMap<string, Answers>): boolean {
  const corrupted = corruptCopy(found)
  if (corrupted === undefined) return false
  const { view, key, field } = corrupted.corruption
  const all = Number.POSITIVE_INFINITY
  const known = new Set(compareViews(expected, found, all).listed.map(placeOf))
  const fresh = compareViews(expected, corrupted.copy, all)
    .listed.map(placeOf)
    .filter(place => !known.has(place))
  return fresh.length === 1 && fresh[0] === placeOf({ view, key, field })
}

const placeOf = ({ view, key, field }: Corruption): string => JSON.stringify([view, key, field])
