// The lineage of rows and the export of views in the OpenAPI document.
import { wireSchema } from '../core/index.ts'
import type { LiveView } from '../projections/index.ts'
import { EXPORT_FORMATS } from './export.ts'
import { LINEAGE_DEFAULT, LINEAGE_MAX } from './limits.ts'
import {
  AT,
  body,
  type Json,
  json,
  type Operation,
  type Paths,
  path,
  problems,
  ref,
  TYPES_HEADER,
  titled,
  whole,
} from './openapi-parts.ts'
import { SCHEMAS } from './openapi-schemas.ts'

export function anyPastPaths(): Paths {
  const view = path('view', 'Name of the view')
  const key = path('key', 'The key: columns in order, comma-separated, each percent-encoded')
  const any = { type: 'object', additionalProperties: true }
  return {
    '/v1/views/{view}/rows/{key}/lineage': { get: lineage('AnyRow', 'any view', [view, key], {}, any, ['string']) },
    '/v1/views/{view}/export': { get: exported('AnyView', 'any view', [view]) },
    '/v1/views/{view}/replay': {
      get: {
        operationId: 'getReplay',
        summary: 'The replay of a view that runs, or its last one',
        tags: ['operations'],
        parameters: [view],
        responses: { 200: json(ref('Replay'), 'How far it is, or what came of it'), ...problems(400, 404) },
      },
      post: {
        operationId: 'startReplay',
        summary:
          'Fold the log anew, from its beginning or from kept rows, beside the live view, compare at a cut, and exchange rows that differ; GET tells how it goes',
        tags: ['operations'],
        parameters: [view],
        requestBody: body(ref('ReplayRequest')),
        responses: { 200: json(ref('Replay'), 'It runs'), ...problems(400, 403, 404, 409, 413, 503) },
      },
    },
  }
}

const RECORD_TYPES: Json = {
  type: 'object',
  additionalProperties: { type: 'object' },
  description:
    'By topic: path of a field → date-time, int64, base64 or map, for those whose type JSON cannot tell; of a topic of several variants `{by, variants}`: the field that tells them apart, and the paths of each. Only of topics that need it',
}

/** @param key parameter of the row's key */
export function pastPathsOf(view: LiveView, key: Json): Paths {
  const { name } = view
  const keySchema = wireSchema(
    view.key.single ? view.key.columns[0]!.type : { kind: 'object', fields: view.key.columns },
  )
  const fields = view.value.fields.map(field => field.name)
  const value = wireSchema(view.value)
  return {
    [`/v1/views/${name}/rows/{key}/lineage`]: { get: lineage(titled(name), name, [key], keySchema, value, fields) },
    [`/v1/views/${name}/export`]: { get: exported(titled(name), name, []) },
  }
}

function lineage(
  id: string,
  view: string,
  parameters: readonly Json[],
  key: Json,
  value: Json,
  fields: readonly string[],
): Operation {
  const row = { anyOf: [value, { type: 'null' }] }
  const { record } = SCHEMAS.LineageStep.properties
  const steps = {
    type: 'array',
    description: 'Newest first',
    items: {
      ...SCHEMAS.LineageStep,
      properties: { ...SCHEMAS.LineageStep.properties, record, before: row, after: row },
    },
  }
  const next = {
    type: ['string', 'null'],
    description: '`before` of the next page; null where there are no older steps',
  }
  const freshness = SCHEMAS.Freshness
  const answer = {
    type: 'object',
    properties: { key, steps, next, ...freshness.properties, recordTypes: RECORD_TYPES },
    required: ['key', 'steps', 'next', ...freshness.required],
  }
  const field = id === 'AnyRow' ? { type: 'string', minLength: 1 } : { type: 'string', enum: fields }
  return {
    operationId: `lineageOf${id}`,
    summary: `The records that made a row of ${view}, through other views too, and what each did to it`,
    tags: ['views'],
    parameters: [
      ...parameters,
      { name: 'field', in: 'query', description: 'Only records that changed this field', schema: field },
      whole('limit', 'Most steps to give', { minimum: 1, maximum: LINEAGE_MAX, default: LINEAGE_DEFAULT }),
      whole('before', 'Only records before this position: `next` of the page before', {
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
      }),
      AT,
    ],
    responses: {
      200: json(
        answer,
        'A page. What reaches the row through another view does so at the end of its transaction, at the last of its records',
        TYPES_HEADER,
      ),
      ...problems(400, 404, 410, 503),
    },
  }
}

function exported(id: string, view: string, parameters: readonly Json[]): Operation {
  const header = (description: string, schema: Json) => ({ description, schema })
  return {
    operationId: `export${id}`,
    summary: `All rows of ${view} at one cut, in no order`,
    tags: ['views'],
    parameters: [
      ...parameters,
      { name: 'format', in: 'query', schema: { type: 'string', enum: EXPORT_FORMATS, default: 'ndjson' } },
      AT,
    ],
    responses: {
      200: {
        description:
          'ndjson: a line `{"key","value"}` for each row, and a last one `{"position","rows","final"}`. csv: RFC 4180 with a head; `key` (`key.<column>` of a composite one), then the fields; what is nested as JSON, null empty, an empty text as "".',
        headers: {
          ...TYPES_HEADER,
          'mainstem-position': header('The cut', { type: 'string' }),
          'mainstem-rows': header('How many rows there are: fewer have been cut short', {
            type: 'integer',
            minimum: 0,
          }),
          'mainstem-final': header('False while a snapshot is not complete', { type: 'boolean' }),
        },
        content: {
          'application/x-ndjson': { schema: { type: 'string' } },
          'text/csv': { schema: { type: 'string' } },
        },
      },
      ...problems(400, 404, 410, 503),
    },
  }
}
