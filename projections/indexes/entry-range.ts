// What is asked of an order of rows, as bytes: whatever the conditions are (a prefix, bounds of keys, equal fields and a range of the
// next), they are a range of entries, and a page goes on behind the entry with which the one before ended.
import { createHash } from 'node:crypto'
import { type AnyRow, fail, KeyCodec } from '../../core/index.ts'
import type { IndexField, IndexShape } from './index-shape.ts'
import { ABSENT, namesOf, PRESENT } from './row-index.ts'
import { KEY_ORDER } from './view-indexes.ts'

export interface EntryRange {
  /** Number of a declared index, or KEY_ORDER. */
  readonly index: number
  /** Inclusive; undefined: from the beginning. */
  readonly from: Uint8Array | undefined
  /** Exclusive; undefined: to the end. */
  readonly to: Uint8Array | undefined
  readonly descending: boolean
}

/** What rows of a view are asked for. Fields and keys are of their types. */
export interface RangeQuery {
  /** Of a text key its first characters, of a key of several fields an object of its leading ones. Without `from` and `to`. */
  readonly prefix?: unknown
  /** Keys, inclusive. */
  readonly from?: unknown
  readonly to?: unknown
  /** Field → a value, null, or bounds `{ gte, gt, lte, lt }`. Without bounds of keys. */
  readonly where?: Readonly<Record<string, unknown>>
  readonly order?: 'asc' | 'desc'
  /** That of the page before. */
  readonly cursor?: string
}

/** A view as far as its orders are concerned. */
export interface OrderedView {
  readonly name: string
  readonly key: KeyCodec
  readonly indexes: readonly IndexShape[]
}

export interface PlannedRange {
  readonly range: EntryRange
  /** The cursor of a page that ends with this entry. */
  cursorAfter(entry: Uint8Array): string
}

type Bounds = Pick<EntryRange, 'from' | 'to'>

/** @throws NO_INDEX, CURSOR_INVALID, REQUEST_INVALID, KEY_INVALID where a value is not of its type */
export function planRange(view: OrderedView, query: RangeQuery): PlannedRange {
  const { where, order = 'asc', cursor } = query
  const keyed = query.prefix !== undefined || query.from !== undefined || query.to !== undefined
  if (keyed && where !== undefined)
    throw fail('REQUEST_INVALID', 'bounds of keys and conditions on fields exclude each other', {
      hint: 'give prefix, from and to, or where',
    })
  const index = where === undefined ? KEY_ORDER : indexFor(view, where)
  const bounds = where === undefined ? keyBounds(view.key, query) : fieldBounds(view.indexes[index]!, where)
  const descending = order === 'desc'
  const identity = identityOf(view, index, bounds, descending)
  const cursorAfter = (entry: Uint8Array) => Buffer.concat([identity, entry]).toString('base64url')
  const range = { index, ...bounds, descending }
  return { range: cursor === undefined ? range : after(range, entryOf(cursor, identity, bounds)), cursorAfter }
}

/** Rows whose fields have equal values. */
export interface EqualRows {
  /** Number of the declared index that has them side by side. */
  readonly index: number
  /** Of how many of its fields these are. */
  readonly fields: number
  /** What their entries begin with. */
  readonly bytes: Uint8Array
}

/** @throws NO_INDEX; REQUEST_INVALID where bounds are given; KEY_INVALID where a value is not of its type */
export function planEqual(view: OrderedView, where: Readonly<Record<string, unknown>>): EqualRows {
  const bounded = Object.keys(where).find(field => isRange(where[field]))
  if (bounded !== undefined)
    throw fail('REQUEST_INVALID', `bounds of ${bounded} are not for this call`, { hint: 'give equal values' })
  const index = indexFor(view, where)
  return { index, fields: Object.keys(where).length, bytes: fieldBounds(view.indexes[index]!, where).from! }
}

/** What is left of a range behind one of its entries. */
function after(range: EntryRange, entry: Buffer): EntryRange {
  return range.descending ? { ...range, to: entry } : { ...range, from: behind(entry) }
}

/** The first bytes behind these, in the order of bytes. */
export const behind = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, Buffer.from([0])])

/** The first bytes behind all that begin with these; undefined where there are none. */
function behindAll(bytes: Uint8Array): Buffer | undefined {
  let length = bytes.length
  while (length > 0 && bytes[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const next = Buffer.from(bytes.subarray(0, length))
  next[length - 1]!++
  return next
}

const startingWith = (bytes: Uint8Array): Bounds => ({ from: bytes, to: behindAll(bytes) })

function keyBounds(key: KeyCodec, { prefix, from, to }: RangeQuery): Bounds {
  if (prefix === undefined) {
    return {
      from: from === undefined ? undefined : key.encode(from),
      to: to === undefined ? undefined : behind(key.encode(to)),
    }
  }
  if (from !== undefined || to !== undefined)
    throw fail('REQUEST_INVALID', 'prefix and from or to exclude each other', { hint: 'give one of them' })
  return startingWith(key.single ? textPrefix(key, prefix) : leadingFields(key, prefix))
}

function textPrefix(key: KeyCodec, prefix: unknown): Uint8Array {
  const { kind } = key.columns[0]!.type
  if (typeof prefix !== 'string' || (kind !== 'string' && kind !== 'enum'))
    throw fail('REQUEST_INVALID', 'only a key that is a text, or has several fields, has a prefix', {
      hint: 'give from and to',
    })
  // A text ends with two bytes that are zero.
  return key.encode(prefix).subarray(0, -2)
}

function leadingFields(key: KeyCodec, prefix: unknown): Uint8Array {
  const given = typeof prefix === 'object' && prefix !== null ? (prefix as AnyRow) : {}
  const columns = key.columns.filter(({ name }) => given[name] !== undefined)
  const leading = key.columns.slice(0, columns.length)
  if (
    columns.length === 0 ||
    columns.some((column, n) => column !== leading[n]) ||
    columns.length < Object.keys(given).length
  )
    throw fail('REQUEST_INVALID', 'a prefix of a key has its leading fields', {
      detail: `they are ${key.columns.map(({ name }) => name).join(', ')}, in this order`,
    })
  return new KeyCodec(leading, false, 'prefix').encode(given)
}

interface RangeOfField {
  readonly gte?: unknown
  readonly gt?: unknown
  readonly lte?: unknown
  readonly lt?: unknown
}

export const WHERE_BOUNDS = ['gte', 'gt', 'lte', 'lt'] as const

const isRange = (condition: unknown): condition is RangeOfField =>
  typeof condition === 'object' && condition !== null && !(condition instanceof Date)

/** The first declared index that serves the conditions. @throws NO_INDEX */
function indexFor({ name, indexes }: OrderedView, where: Readonly<Record<string, unknown>>): number {
  const fields = Object.keys(where)
  const ranges = fields.filter(field => isRange(where[field]))
  const serves = ({ fields: own }: IndexShape) =>
    fields.length <= own.length &&
    own.slice(0, fields.length).every(field => fields.includes(field.name)) &&
    (ranges.length === 0 || (ranges.length === 1 && own[fields.length - 1]!.name === ranges[0]))
  const found = fields.length === 0 ? -1 : indexes.findIndex(serves)
  if (found >= 0) return found
  const known = indexes.map(namesOf)
  throw fail('NO_INDEX', `no index of '${name}' serves conditions on ${fields.join(' and ') || 'nothing'}`, {
    detail: known.length > 0 ? `it has ${known.join(', ')}` : 'it has none',
    hint: "equal values of an index's first fields, and a range of the next one, are served; declare what is missing: .index('field')",
    data: { indexes: indexes.map(index => index.fields.map(each => each.name)) },
  })
}

function fieldBounds({ fields }: IndexShape, where: Readonly<Record<string, unknown>>): Bounds {
  const asked = fields.slice(0, Object.keys(where).length)
  const last = asked.at(-1)!
  const condition = where[last.name]
  const equal = isRange(condition) ? asked.slice(0, -1) : asked
  const prefix = Buffer.concat(equal.map(field => valueBytes(field, where[field.name])))
  return isRange(condition) ? boundsOf(prefix, last, condition) : startingWith(prefix)
}

/** Null is in no range. */
function boundsOf(prefix: Buffer, field: IndexField, range: RangeOfField): Bounds {
  const other = Object.keys(range).find(bound => !WHERE_BOUNDS.some(each => each === bound))
  if (other !== undefined)
    throw fail('REQUEST_INVALID', `'${other}' is no bound of ${field.name}`, {
      hint: `it is ${WHERE_BOUNDS.join(', ')}`,
    })
  const at = (value: unknown) => Buffer.concat([prefix, boundBytes(field, value)])
  const present = startingWith(field.nullable ? Buffer.concat([prefix, Buffer.from([PRESENT])]) : prefix)
  const { gte, gt, lte, lt } = range
  const low = [present.from, gte !== undefined ? at(gte) : undefined, gt !== undefined ? behindAll(at(gt)) : undefined]
  const high = [present.to, lte !== undefined ? behindAll(at(lte)) : undefined, lt !== undefined ? at(lt) : undefined]
  return { from: extreme(low, 1), to: extreme(high, -1) }
}

/** The greatest (1) or least (−1) of bytes. */
const extreme = (all: readonly (Uint8Array | undefined)[], sign: 1 | -1): Uint8Array | undefined =>
  all
    .flatMap(each => each ?? [])
    .reduce<Uint8Array | undefined>((most, each) => {
      return most === undefined || Buffer.compare(each, most) * sign > 0 ? each : most
    }, undefined)

function boundBytes(field: IndexField, value: unknown): Uint8Array {
  if (value === null) throw fail('REQUEST_INVALID', `null is no bound of ${field.name}`, { hint: 'it is in no range' })
  return valueBytes(field, value)
}

/** A field's bytes in an entry. */
function valueBytes({ name, type, nullable }: IndexField, value: unknown): Uint8Array {
  if (value === null && nullable) return Buffer.from([ABSENT])
  const bytes = new KeyCodec([{ name, type }], true, name).encode(value)
  return nullable ? Buffer.concat([Buffer.from([PRESENT]), bytes]) : bytes
}

const FORM = 1
const DIGEST_BYTES = 8

/** With what a cursor begins: it is good for this range in this order only. */
function identityOf(
  { name, key, indexes }: OrderedView,
  index: number,
  { from, to }: Bounds,
  descending: boolean,
): Buffer {
  const hex = (bytes: Uint8Array | undefined) => (bytes === undefined ? null : Buffer.from(bytes).toString('hex'))
  const fields = index === KEY_ORDER ? null : indexes[index]!.fields
  const text = JSON.stringify([name, key.columns, fields, hex(from), hex(to), descending])
  return Buffer.concat([Buffer.from([FORM]), createHash('sha256').update(text).digest().subarray(0, DIGEST_BYTES)])
}

/** @throws CURSOR_INVALID */
function entryOf(cursor: string, identity: Buffer, { from, to }: Bounds): Buffer {
  const bytes = Buffer.from(cursor, 'base64url')
  const entry = bytes.subarray(identity.length)
  const own = bytes.length > identity.length && bytes.subarray(0, identity.length).equals(identity)
  const within = (from === undefined || entry.compare(from) >= 0) && (to === undefined || entry.compare(to) < 0)
  if (own && within && bytes.toString('base64url') === cursor) return entry
  throw fail('CURSOR_INVALID', 'the cursor is not of this view, range and order', {
    detail: `received ${JSON.stringify(cursor.slice(0, 100))}`,
  })
}
