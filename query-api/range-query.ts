// A range of rows as a query string has it: bounds of keys written as in a path, conditions on fields as `where.open_cents.gte=100`.
import { fail, isMainstemError, KeyCodec, type ValueType } from '../core/index.ts'
import type { LiveView, RangeQuery } from '../projections/index.ts'
import { RANGE_PAGE_DEFAULT, RANGE_PAGE_MAX } from './limits.ts'
import { integer, type Query, text } from './parameters.ts'
import { parseKey } from './routes-reads.ts'

export const WHERE_BOUNDS = ['gte', 'gt', 'lte', 'lt'] as const

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
  const { prefix, from, to, order, limit, cursor, ...others } = query
  const named = Object.keys(others).filter(name => name.startsWith('where.'))
  const rest = Object.fromEntries(Object.entries(others).filter(([name]) => !named.includes(name)))
  const where = named.length > 0 ? whereOf(view, named, query) : undefined
  const range: RangeQuery = {
    ...(prefix === undefined ? {} : { prefix: prefixOf(view.key, raw(url, 'prefix')) }),
    ...(from === undefined ? {} : { from: parseKey(view.key, raw(url, 'from')) }),
    ...(to === undefined ? {} : { to: parseKey(view.key, raw(url, 'to')) }),
    ...(where === undefined ? {} : { where }),
    ...(order === undefined ? {} : { order: orderOf(query) }),
    ...(cursor === undefined ? {} : { cursor: text(query, 'cursor') ?? '' }),
  }
  const bounds = { min: 1, max: RANGE_PAGE_MAX, fallback: RANGE_PAGE_DEFAULT }
  return { query: range, limit: limit === undefined ? undefined : integer(query, 'limit', bounds), rest }
}

/** @throws REQUEST_INVALID */
function orderOf(query: Query): 'asc' | 'desc' {
  const order = query['order']
  if (order === 'asc' || order === 'desc') return order
  throw invalid('order', order, 'it is asc or desc')
}

const invalid = (name: string, received: unknown, hint: string) =>
  fail('REQUEST_INVALID', `'${name}' is not valid`, {
    detail: `received ${JSON.stringify(received).slice(0, 100)}`,
    hint,
  })

/** A parameter as it was sent. @throws REQUEST_INVALID where it is there several times */
function raw(url: string, name: string): string {
  const given = url
    .slice(url.indexOf('?') + 1)
    .split('&')
    .filter(part => part === name || part.startsWith(`${name}=`))
  const [first] = given
  // It may be that its name is percent-encoded; nobody does that.
  if (given.length !== 1 || first === undefined) throw invalid(name, given, 'give it once')
  return first.slice(name.length + 1).replaceAll('+', '%20')
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
    if (typeof given !== 'string') throw invalid(name, given, 'give it once')
    const known = where[field.name]
    if (bound === 'null' && given !== 'true' && given !== 'false') throw invalid(name, given, 'it is true or false')
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
