// A range of rows as a query string has it: bounds of keys written as in a path, conditions on fields as `where.open_cents.gte=100`.
import { fail, isMainstemError, KeyCodec, type ValueType } from '../core/index.ts'
import { type LiveView, type RangeQuery, WHERE_BOUNDS } from '../projections/index.ts'
import { RANGE_PAGE_DEFAULT, RANGE_PAGE_MAX } from './limits.ts'
import { integer, notValid, type Query, rawTexts, text } from './parameters.ts'
import { parseKey } from './routes-reads.ts'

/** Parameters of a range, as a hint has them. */
export const RANGE_NAMES: readonly string[] = ['prefix', 'from', 'to', 'where.FIELD', 'order', 'limit', 'cursor']

export interface RangeParameters {
  readonly query: RangeQuery
  /** Undefined where the query does not say. */
  readonly limit: number | undefined
  /** The parameters that are not of the range. */
  readonly rest: Query
}

/** @param url as it was sent: what is percent-encoded in a key is told from what separates its parts @throws REQUEST_INVALID, KEY_MALFORMED */
export function rangeOf(view: LiveView, query: Query, url: string): RangeParameters {
  const { selecting, rest: others } = selectingOf(view, query, url)
  const { from, to, order, limit, cursor, ...rest } = others
  const range: RangeQuery = {
    ...selecting,
    ...(from === undefined ? {} : { from: parseKey(view.key, once(url, 'from')) }),
    ...(to === undefined ? {} : { to: parseKey(view.key, once(url, 'to')) }),
    ...(order === undefined ? {} : { order: orderOf(query) }),
    ...(cursor === undefined ? {} : { cursor: text(query, 'cursor') ?? '' }),
  }
  const bounds = { min: 1, max: RANGE_PAGE_MAX, fallback: RANGE_PAGE_DEFAULT }
  return { query: range, limit: limit === undefined ? undefined : integer(query, 'limit', bounds), rest }
}

/** A prefix of keys and conditions on fields, of those that are there. @param url as above @throws REQUEST_INVALID, KEY_MALFORMED */
export function selectingOf(
  view: LiveView,
  query: Query,
  url: string,
): { readonly selecting: Pick<RangeQuery, 'prefix' | 'where'>; readonly rest: Query } {
  const { prefix, ...others } = query
  const named = Object.keys(others).filter(name => name.startsWith('where.'))
  const selecting = {
    ...(prefix === undefined ? {} : { prefix: prefixOf(view.key, once(url, 'prefix')) }),
    ...(named.length > 0 ? { where: whereOf(view, named, query) } : {}),
  }
  return { selecting, rest: Object.fromEntries(Object.entries(others).filter(([name]) => !named.includes(name))) }
}

/** @throws REQUEST_INVALID */
function orderOf(query: Query): 'asc' | 'desc' {
  const order = query['order']
  if (order === 'asc' || order === 'desc') return order
  throw notValid('order', order, 'it is asc or desc')
}

/** A parameter as it was sent. @throws REQUEST_INVALID where it is there several times */
function once(url: string, name: string): string {
  const [first, ...more] = rawTexts(url, name)
  if (first === undefined || more.length > 0) throw notValid(name, [first, ...more], 'give it once')
  return first
}

/** The first characters of a text; of a key of several fields the leading ones, which may end with a comma. */
function prefixOf(key: KeyCodec, text: string): unknown {
  if (key.single) {
    try {
      return decodeURIComponent(text)
    } catch (error) {
      throw fail('KEY_MALFORMED', `'${text.slice(0, 100)}' is not percent-encoded text`, { cause: error })
    }
  }
  const separated = text.includes(',') ? text : text.replace(/%2C/gi, ',')
  // With a comma at its end, one part that has a comma itself is told from two.
  const parts = separated.endsWith(',') ? separated.slice(0, -1) : separated
  const leading = key.columns.slice(0, parts.split(',').length)
  return new KeyCodec(leading, false, 'prefix').parse(parts)
}

/** @throws REQUEST_INVALID, KEY_MALFORMED */
function whereOf(view: LiveView, names: readonly string[], query: Query): Readonly<Record<string, unknown>> {
  const fields = [...(view.key.single ? [] : view.key.columns), ...view.value.fields]
  const where: Record<string, unknown> = {}
  for (const name of names) {
    const field = fields.findLast(each => name === `where.${each.name}` || name.startsWith(`where.${each.name}.`))
    const bound = field && name.slice('where.'.length + field.name.length + 1)
    if (field === undefined || (bound !== '' && bound !== 'null' && !WHERE_BOUNDS.some(each => each === bound)))
      throw fail('REQUEST_INVALID', `unknown parameter '${name.slice(0, 100)}'`, {
        hint: `where.FIELD=, where.FIELD.null=true or false, or where.FIELD.${WHERE_BOUNDS.join('|')}=, of ${fields.map(each => each.name).join(', ')}`,
      })
    const given = query[name]
    if (typeof given !== 'string') throw notValid(name, given, 'give it once')
    const known = where[field.name]
    if (bound === 'null' && given !== 'true' && given !== 'false') throw notValid(name, given, 'it is true or false')
    if (bound === '' || (bound === 'null' && given === 'true')) {
      if (field.name in where) throw bothWays(field.name)
      where[field.name] = bound === 'null' ? null : scalarOf(field.name, field.type, given)
    } else {
      if (field.name in where && !(known instanceof Bounds)) throw bothWays(field.name)
      const bounds = (known as Bounds | undefined) ?? new Bounds()
      // Null is in no range, not even in one without bounds.
      if (bound !== 'null') bounds[bound as (typeof WHERE_BOUNDS)[number]] = scalarOf(field.name, field.type, given)
      where[field.name] = bounds
    }
  }
  return where
}

/** Of one field. */
class Bounds {
  declare gte?: unknown
  declare gt?: unknown
  declare lte?: unknown
  declare lt?: unknown
}

const bothWays = (field: string) =>
  fail('REQUEST_INVALID', `conditions on ${field} exclude each other`, {
    hint: 'give a value, or bounds, or null=true',
  })

/** A scalar as it stands in a query; what is none is in no index, which is said elsewhere. */
function scalarOf(name: string, given: ValueType, text: string): unknown {
  const type = given.kind === 'nullable' ? given.inner : given
  switch (type.kind) {
    case 'bytes':
    case 'json':
    case 'nullable':
    case 'array':
    case 'object':
    case 'record':
    case 'map':
      return text
    default:
      try {
        return new KeyCodec([{ name, type }], true, name).parse(encodeURIComponent(text))
      } catch (error) {
        if (!isMainstemError(error)) throw error
        throw fail('REQUEST_INVALID', `'where.${name}' is not valid: ${error.message}`, { cause: error })
      }
  }
}
