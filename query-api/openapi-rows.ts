// Ranges of rows in the OpenAPI document: of each view its own, with a parameter for each condition that its indexes serve.
import { wireSchema } from '../core/index.ts'
import { type IndexField, type LiveView, WHERE_BOUNDS } from '../projections/index.ts'
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
    anyPrefix,
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
          'A page, at one cut. As application/x-ndjson: a line `{"key","value"}` for each row, all at one cut, and a last one `{"end":true,"rows","position",…}`',
        headers: TYPES_HEADER,
        content: { 'application/json': { schema: page }, 'application/x-ndjson': { schema: { type: 'string' } } },
      },
      ...problems(400, 404, 410, 503, 504),
    },
  }
}

export const anyPrefix = parameter('prefix', 'First characters of a text key, or leading fields of a composite one', {
  type: 'string',
})

function keyParameters(view: LiveView): Json[] {
  const { key } = view
  const [first] = key.columns
  const bounds =
    key.single && first
      ? [
          parameter('from', 'The first key, inclusive', wireSchema(first.type)),
          parameter('to', 'The last key, inclusive', wireSchema(first.type)),
        ]
      : [
          leadingFields(view, 'from', 'The first key, inclusive: '),
          leadingFields(view, 'to', 'The last key, inclusive: '),
        ]
  return [...prefixParameters(view), ...bounds]
}

/** None where keys have no prefix. */
export function prefixParameters(view: LiveView): readonly Json[] {
  const { key } = view
  const [first] = key.columns
  if (!key.single || first === undefined) return [leadingFields(view, 'prefix', 'Leading ones of ')]
  const isText = first.type.kind === 'string' || first.type.kind === 'enum'
  return isText ? [parameter('prefix', 'First characters of the key', { type: 'string' })] : []
}

function leadingFields({ key }: LiveView, name: string, description: string): Json {
  const columns = key.columns.map(each => each.name)
  return parameter(name, `${description}${columns.join(', ')}; comma-separated`, { type: 'string' })
}

const indexedFields = ({ indexes }: LiveView): readonly IndexField[] => [
  ...new Map(indexes.flatMap(index => index.fields.map(field => [field.name, field] as const))).values(),
]

const equal = ({ name, type }: IndexField): Json =>
  parameter(`where.${name}`, `Rows with this ${name}`, wireSchema(type))

/** Conditions that are equal values. */
export const equalParameters = (view: LiveView): readonly Json[] =>
  indexedFields(view).flatMap(field => {
    const isNull = parameter(`where.${field.name}.null`, `Rows whose ${field.name} is null`, {
      type: 'boolean',
      const: true,
    })
    return field.nullable ? [equal(field), isNull] : [equal(field)]
  })

const BOUND_WORDS = { gte: 'at least', gt: 'above', lte: 'at most', lt: 'below' } as const

const whereParameters = (view: LiveView): readonly Json[] =>
  indexedFields(view).flatMap(field => {
    const { name, type, nullable } = field
    const isNull = nullable
      ? parameter(`where.${name}.null`, `Rows whose ${name} is null, or is not`, { type: 'boolean' })
      : parameter(`where.${name}.null`, `false: all rows, in the order of ${name}`, { type: 'boolean', const: false })
    return [
      equal(field),
      ...WHERE_BOUNDS.map(bound =>
        parameter(`where.${name}.${bound}`, `Rows whose ${name} is ${BOUND_WORDS[bound]} this`, wireSchema(type)),
      ),
      isNull,
    ]
  })
