// Ranges of rows in the OpenAPI document: of each view its own, with a parameter for each condition that its indexes serve.
import { wireSchema } from '../core/index.ts'
import type { LiveView } from '../projections/index.ts'
import { RANGE_PAGE_DEFAULT, RANGE_PAGE_MAX } from './limits.ts'
import {
  type Json,
  type Operation,
  type Paths,
  path,
  problems,
  TYPES_HEADER,
  titled,
  WHEN,
  whole,
} from './openapi-parts.ts'
import { SCHEMAS } from './openapi-schemas.ts'
import { WHERE_BOUNDS } from './range-query.ts'
import { keyType } from './reads.ts'

const parameter = (name: string, description: string, schema: Json): Json => ({
  name,
  in: 'query',
  description,
  schema,
})

const PAGING = [
  parameter('order', 'Of keys, or of the fields of the index that serves the conditions and then of keys', {
    type: 'string',
    enum: ['asc', 'desc'],
    default: 'asc',
  }),
  whole('limit', 'Rows of a page; of lines in all, default all there are', {
    minimum: 1,
    maximum: RANGE_PAGE_MAX,
    default: RANGE_PAGE_DEFAULT,
  }),
  parameter('cursor', 'Of the page before, with the same parameters otherwise', { type: 'string', minLength: 1 }),
]

export function anyRowsPaths(): Paths {
  const text = { type: 'string' }
  const parameters = [
    path('view', 'Name of the view'),
    parameter('prefix', 'First characters of a text key, or leading fields of a composite one', text),
    parameter('from', 'The first key, inclusive; written as in a path', text),
    parameter('to', 'The last key, inclusive', text),
  ]
  return { '/v1/views/{view}/rows': { get: operation('AnyRows', 'any view', parameters, {}, { type: 'object' }) } }
}

export function rowsPathsOf(view: LiveView): Paths {
  const { name, value } = view
  const parameters = [...keyParameters(view), ...whereParameters(view)]
  const rows = operation(titled(name), name, parameters, wireSchema(keyType(view)), wireSchema(value))
  return { [`/v1/views/${name}/rows`]: { get: rows } }
}

function operation(id: string, view: string, parameters: readonly Json[], key: Json, value: Json): Operation {
  const freshness = SCHEMAS.Freshness
  const row = { type: 'object', properties: { key, value }, required: ['key', 'value'] }
  const page = {
    type: 'object',
    properties: {
      rows: { type: 'array', items: row },
      cursor: {
        type: ['string', 'null'],
        description: 'Where the next page begins; null where there are no more rows',
      },
      ...freshness.properties,
    },
    required: ['rows', 'cursor', ...freshness.required],
  }
  return {
    operationId: `range${id}`,
    summary: `Rows of ${view} in order: a range of keys, or what a declared index serves`,
    tags: ['views'],
    parameters: [...parameters, ...PAGING, ...WHEN],
    responses: {
      200: {
        description:
          'A page, at one cut. As application/x-ndjson: a line `{"key","value"}` for each row, and a last one `{"end":true,"rows","position",…}`; pages of the present are at cuts of their own, from that of `from` on',
        headers: TYPES_HEADER,
        content: { 'application/json': { schema: page }, 'application/x-ndjson': { schema: { type: 'string' } } },
      },
      ...problems(400, 404, 410, 503, 504),
    },
  }
}

function keyParameters({ key }: LiveView): Json[] {
  const [first] = key.columns
  if (key.single && first) {
    const schema = wireSchema(first.type)
    const bounds = [
      parameter('from', 'The first key, inclusive', schema),
      parameter('to', 'The last key, inclusive', schema),
    ]
    const isText = first.type.kind === 'string' || first.type.kind === 'enum'
    return isText ? [parameter('prefix', 'First characters of the key', { type: 'string' }), ...bounds] : bounds
  }
  const columns = key.columns.map(({ name }) => name).join(', ')
  const count = key.columns.length
  const list = (name: string, description: string, minItems: number): Json => ({
    ...parameter(name, description, { type: 'array', items: { type: 'string' }, minItems, maxItems: count }),
    style: 'form',
    explode: false,
  })
  return [
    list('prefix', `Leading ones of ${columns}`, 1),
    list('from', `The first key, inclusive: ${columns}`, count),
    list('to', `The last key, inclusive: ${columns}`, count),
  ]
}

function whereParameters({ indexes }: LiveView): Json[] {
  const fields = new Map(indexes.flatMap(index => index.fields.map(field => [field.name, field])))
  return [...fields.values()].flatMap(({ name, type, nullable }) => {
    const schema = wireSchema(type)
    const words = { gte: 'at least', gt: 'above', lte: 'at most', lt: 'below' }
    const isNull = nullable
      ? parameter(`where.${name}.null`, `Rows whose ${name} is null, or is not`, { type: 'boolean' })
      : parameter(`where.${name}.null`, `false: all rows, in the order of ${name}`, { type: 'boolean', const: false })
    return [
      parameter(`where.${name}`, `Rows with this ${name}`, schema),
      ...WHERE_BOUNDS.map(bound =>
        parameter(`where.${name}.${bound}`, `Rows whose ${name} is ${words[bound]} this`, schema),
      ),
      isNull,
    ]
  })
}
