// OpenAPI 3.1 of one application: the fixed calls, and for each view and topic its own paths with its own types, so that
// a generated client knows rows and records by name. Schemas come from the contracts, through the same `wireSchema` that
// describes views.
import { describeRecord, type LogTopic, wireSchema } from '../core/index.ts'
import type { LiveView } from '../projections/index.ts'
import type { CommandCalls } from './command-calls.ts'
import { KEYS_MAX, LOG_PAGE_DEFAULT, LOG_PAGE_MAX } from './limits.ts'
import { ACTION_SCHEMAS, actionPaths } from './openapi-actions.ts'
import { auditPaths } from './openapi-audit.ts'
import { COMMAND_SCHEMAS, commandPaths, commandSchemas } from './openapi-commands.ts'
import { deadLetterPaths } from './openapi-dead-letters.ts'
import { headers, parameters } from './openapi-parameters.ts'
import {
  body,
  type Json,
  json,
  KEY_TEXT,
  type Operation,
  type Paths,
  path,
  problems,
  ref,
  TYPES_HEADER,
  titled,
  WHEN,
  whole,
} from './openapi-parts.ts'
import { anyPastPaths, pastPathsOf } from './openapi-past.ts'
import { problemResponses, problemSchema } from './openapi-problems.ts'
import { anyRowsPaths, rowsPathsOf } from './openapi-rows.ts'
import { savepointPaths } from './openapi-savepoints.ts'
import { SCHEMAS } from './openapi-schemas.ts'
import { snapshotPaths } from './openapi-snapshots.ts'
import { anySubscribePath, subscribePathOf } from './openapi-subscribe.ts'
import { tablePaths } from './openapi-tables.ts'
import { keyType } from './reads.ts'
import type { ServerOptions } from './server-options.ts'

export function createOpenApi(
  { application, reads, topics, version }: Omit<ServerOptions, 'host' | 'port'>,
  calls: CommandCalls,
): Json {
  const views = [...reads.engine.views.values()]
  return {
    openapi: '3.1.0',
    info: {
      title: application,
      version: version ?? '0',
      description: `Live views of the application ${application}. Every answer says at which position of the log it holds, how old it may be, and whether it is final.`,
    },
    tags: [
      { name: 'views' },
      { name: 'topics' },
      { name: 'commands' },
      { name: 'log' },
      { name: 'sources' },
      { name: 'operations' },
    ],
    paths: withUniqueIds({
      ...viewPaths(),
      ...anyRowsPaths(),
      ...anyPastPaths(),
      ...anySubscribePath(),
      ...deadLetterPaths(),
      ...Object.assign({}, ...views.map(viewPathsOf)),
      ...Object.assign({}, ...views.map(rowsPathsOf)),
      ...Object.assign({}, ...views.map(view => pastPathsOf(view, keyParameter(view, wireSchema(keyType(view)))))),
      ...Object.assign({}, ...views.map(view => subscribePathOf(view, wireSchema(keyType(view))))),
      ...Object.assign({}, ...[...topics.values()].map(topicPathOf)),
      ...commandPaths(calls),
      ...topicPaths(),
      ...sourcePaths(),
      ...operationPaths(),
      ...tablePaths(),
      ...auditPaths(),
      ...savepointPaths(),
      ...snapshotPaths(),
      ...actionPaths(),
    }),
    components: {
      schemas: {
        ...SCHEMAS,
        ...ACTION_SCHEMAS,
        ...COMMAND_SCHEMAS,
        Problem: problemSchema(),
        ...Object.assign({}, ...[...topics.values()].map(recordSchemas)),
        ...commandSchemas(calls),
      },
      parameters: parameters(),
      headers: headers(),
      responses: problemResponses(),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key or a JWT, where the server asks for one' },
      },
    },
    security: [{}, { bearer: [] }],
  }
}

/** Names that differ only in their punctuation give the same operation id: later ones get a number. */
function withUniqueIds(paths: Paths): Paths {
  const taken = new Set<string>()
  const unique = (id: string, n = 1): string => {
    const candidate = n === 1 ? id : `${id}${n}`
    if (taken.has(candidate)) return unique(id, n + 1)
    taken.add(candidate)
    return candidate
  }
  const renamed = (item: Paths[string]) =>
    Object.entries(item).map(([method, each]) => [method, { ...each, operationId: unique(each.operationId) }])
  return Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, Object.fromEntries(renamed(item))]))
}

function viewPaths(): Paths {
  const view = path('view', 'Name of the view')
  const operation = (operationId: string, summary: string, rest: Json): Operation => ({
    operationId,
    summary,
    tags: ['views'],
    ...rest,
  })
  return {
    '/v1/views': {
      get: operation('listViews', 'All views, their position, age and status', {
        responses: { 200: json(ref('Views'), 'The views'), ...problems(400) },
      }),
    },
    '/v1/views/{view}': {
      get: operation('getView', 'One view, with the schemas of its key and value', {
        parameters: [view],
        responses: { 200: json(ref('ViewDetail'), 'The view'), ...problems(400, 404) },
      }),
    },
    '/v1/views/{view}/rows/{key}': {
      get: operation('getAnyRow', 'One row of any view', {
        parameters: [
          view,
          path('key', 'The key: columns in order, comma-separated, each percent-encoded'),
          ...WHEN,
          IF_NONE_MATCH,
        ],
        responses: rowResponses(ref('AnyRow')),
      }),
    },
    '/v1/views/{view}/lookup': {
      post: operation('lookupAnyRows', 'Several rows of any view, at one cut', {
        parameters: [view, ...WHEN],
        requestBody: body(keysSchema({})),
        responses: {
          200: json(ref('AnyRows'), 'A value or null for each key, in order', TYPES_HEADER),
          ...problems(400, 404, 410, 413, 503, 504),
        },
      }),
    },
    '/v1/read': {
      post: operation('readViews', 'Rows of several views, at one cut', {
        parameters: WHEN,
        requestBody: body(ref('Reads')),
        responses: {
          200: json(ref('ReadAnswer'), 'A value or null for each read, in order', TYPES_HEADER),
          ...problems(400, 404, 410, 413, 503, 504),
        },
      }),
    },
  }
}

const IF_NONE_MATCH = { $ref: '#/components/parameters/if-none-match' }

const rowResponses = (row: Json): Json => ({
  200: json(row, 'The row', { ...TYPES_HEADER, etag: { $ref: '#/components/headers/etag' } }),
  304: {
    description: 'Its value is still that of `If-None-Match`; headers say at which position, and how old that is',
    headers: {
      etag: { $ref: '#/components/headers/etag' },
      'mainstem-position': { description: 'The cut', schema: { type: 'string' } },
      'mainstem-age-ms': {
        description: '`ageMs`; not there where it is null',
        schema: { type: 'integer', minimum: 0 },
      },
      'mainstem-final': { description: '`final`', schema: { type: 'boolean' } },
    },
  },
  ...problems(400, 404, 410, 503, 504),
})

const keysSchema = (key: Json): Json => ({
  type: 'object',
  properties: { keys: { type: 'array', items: key, maxItems: KEYS_MAX } },
  required: ['keys'],
  additionalProperties: false,
})

function viewPathsOf(view: LiveView): Paths {
  const key = wireSchema(keyType(view))
  const value = wireSchema(view.value)
  const freshness = SCHEMAS['Freshness']
  const row = {
    type: 'object',
    properties: { key, value, ...freshness.properties },
    required: ['key', 'value', ...freshness.required],
  }
  const entry = {
    type: 'object',
    properties: { key, value: { anyOf: [value, { type: 'null' }] } },
    required: ['key', 'value'],
  }
  const rows = {
    type: 'object',
    properties: { values: { type: 'array', items: entry }, ...freshness.properties },
    required: ['values', ...freshness.required],
  }
  return {
    [`/v1/views/${view.name}/rows/{key}`]: {
      get: {
        operationId: `get${titled(view.name)}`,
        summary: `One row of ${view.name}`,
        tags: ['views'],
        parameters: [keyParameter(view, key), ...WHEN, IF_NONE_MATCH],
        responses: rowResponses(row),
      },
    },
    [`/v1/views/${view.name}/lookup`]: {
      post: {
        operationId: `lookup${titled(view.name)}`,
        summary: `Several rows of ${view.name}, at one cut`,
        tags: ['views'],
        parameters: WHEN,
        requestBody: body(keysSchema(key)),
        responses: {
          200: json(rows, 'A value or null for each key, in order', TYPES_HEADER),
          ...problems(400, 404, 410, 413, 503, 504),
        },
      },
    },
  }
}

/** A composite key is a text, since few generators write lists into paths: they encode its commas, which the server understands. */
function keyParameter(view: LiveView, key: Json): Json {
  const columns = view.key.columns.map(column => `${column.name} (${column.type.kind})`).join(', ')
  if (view.key.single) return { name: 'key', in: 'path', required: true, description: columns, schema: key }
  return {
    name: 'key',
    in: 'path',
    required: true,
    description: `In this order, comma-separated: ${columns}. One with a comma of its own is found by lookup, or percent-encoded before it is put here`,
    schema: KEY_TEXT,
  }
}

function appendOperation(
  operationId: string,
  summary: string,
  record: Json,
  parameters: readonly Json[],
): Paths[string] {
  return {
    post: {
      operationId,
      summary,
      tags: ['topics'],
      parameters: [...parameters, { $ref: '#/components/parameters/idempotency-key' }],
      requestBody: body({ anyOf: [record, { type: 'array', items: record, minItems: 1 }] }),
      responses: {
        200: json(ref('Appended'), 'All records are durable'),
        ...problems(400, 403, 404, 405, 413, 422, 503, 507),
      },
    },
  }
}

const topicPathOf = (topic: LogTopic): Paths => ({
  [`/v1/topics/${topic.name}`]: appendOperation(
    `append${titled(topic.name)}`,
    `Append one record to ${topic.name}, or several as one unit`,
    recordSchema(topic),
    [],
  ),
})

const inputOf = ({ contract, name }: LogTopic) => describeRecord(contract.schema, 'input', name)

/** A component's name may have letters, digits, `.`, `-` and `_` only: other characters stand as their code. */
const componentOf = (topic: LogTopic, variant: string): string =>
  `${topic.name}.${variant.replace(/[^A-Za-z0-9-]/g, char => `_${char.codePointAt(0)?.toString(16)}_`)}`

/** What a topic takes. A discriminator needs its variants by reference. */
function recordSchema(topic: LogTopic): Json {
  const type = inputOf(topic)
  if (type.kind === 'object') return ref(componentOf(topic, 'record'))
  const refs = type.variants.map(({ name }) => [name, ref(componentOf(topic, name))] as const)
  const mapping = Object.fromEntries(refs.map(([name, { $ref }]) => [name, $ref]))
  return { oneOf: refs.map(([, each]) => each), discriminator: { propertyName: type.discriminator, mapping } }
}

/** A component for what a topic takes; of one whose contract is a union for each variant. */
function recordSchemas(topic: LogTopic): Json {
  const type = inputOf(topic)
  if (type.kind === 'object') return { [componentOf(topic, 'record')]: wireSchema(type) }
  return Object.fromEntries(
    type.variants.map(({ name, type: variant }) => [componentOf(topic, name), wireSchema(variant)]),
  )
}

function topicPaths(): Paths {
  const topic = path('topic', 'Name of the topic')
  return {
    '/v1/topics/{topic}': appendOperation(
      'appendToTopic',
      'Append one record to a topic of the application, or several as one unit',
      { type: 'object' },
      [topic],
    ),
    '/v1/log': {
      get: {
        operationId: 'getLog',
        summary: 'The log: its state, its size and its topics',
        tags: ['log'],
        responses: { 200: json(ref('Log'), 'The log'), ...problems(400) },
      },
    },
    '/v1/log/clean': {
      post: {
        operationId: 'cleanLog',
        summary:
          'Remove history: trim events, compact tables to the newest row of each key; or, with dryRun, say what that would remove',
        tags: ['log'],
        requestBody: body(ref('CleanRequest')),
        responses: {
          200: json(ref('CleanReport'), 'What was removed, or would be (then bytes are about), and what held it back'),
          ...problems(400, 403, 404, 413, 503, 507),
        },
      },
    },
    '/v1/log/{topic}': {
      get: {
        operationId: 'readLog',
        summary: 'Records of a topic in the order of the log',
        tags: ['log'],
        parameters: [
          path('topic', 'Name of a topic; of a table it is <source>.<table>'),
          whole('from', 'First position to look at; go on with `next` of the answer', {
            minimum: 0,
            maximum: Number.MAX_SAFE_INTEGER,
            default: 1,
          }),
          whole('limit', 'Most records to give', { minimum: 1, maximum: LOG_PAGE_MAX, default: LOG_PAGE_DEFAULT }),
        ],
        responses: {
          200: json(ref('LogPage'), 'A page; it may be empty and still not be the last one'),
          ...problems(400, 404, 503),
        },
      },
    },
  }
}

function sourcePaths(): Paths {
  const source = path('source', 'Name of the source')
  const operation = (operationId: string, summary: string, rest: Json): Operation => ({
    operationId,
    summary,
    tags: ['sources'],
    ...rest,
  })
  return {
    '/v1/sources': {
      get: operation('listSources', 'All sources and how far they are', {
        responses: { 200: json(ref('Sources'), 'The sources'), ...problems(400) },
      }),
    },
    '/v1/sources/{source}': {
      get: operation('getSource', 'One source', {
        parameters: [source],
        responses: { 200: json(ref('Source'), 'The source'), ...problems(400, 404) },
      }),
      delete: operation('dropSource', 'Stop a source and remove what it keeps on its server (slot, publication)', {
        parameters: [source],
        responses: { 200: json(ref('DropReport'), 'What was removed'), ...problems(400, 403, 404, 503) },
      }),
    },
    '/v1/sources/{source}/parked': {
      get: operation('listParked', 'Rows that their contracts refused', {
        parameters: [
          source,
          whole('limit', 'Most rows to give', { minimum: 1, maximum: LOG_PAGE_MAX, default: LOG_PAGE_DEFAULT }),
        ],
        responses: { 200: json(ref('Parked'), 'The rows'), ...problems(400, 404) },
      }),
    },
    '/v1/sources/{source}/parked/retry': {
      post: operation('retryParked', 'Read parked rows again: what their contracts take now becomes a record', {
        parameters: [source],
        requestBody: body(ref('ParkedRetry')),
        responses: {
          200: json(ref('ParkedRetried'), 'What came of it; a read with the token sees it'),
          ...problems(400, 403, 404, 413, 503, 507),
        },
      }),
    },
  }
}

function operationPaths(): Paths {
  const get = (operationId: string, summary: string, responses: Json) => ({
    get: { operationId, summary, tags: ['operations'], responses },
  })
  return {
    '/v1/verify': {
      ...get('getVerify', 'The verification that runs, or the last one', {
        200: json(ref('Verify'), 'How far it is, or what it found'),
        ...problems(400),
      }),
      post: {
        operationId: 'startVerify',
        summary: 'Fold the log anew beside the live views, up to a cut, and compare; GET tells how it goes',
        tags: ['operations'],
        requestBody: body(ref('VerifyRequest')),
        responses: { 200: json(ref('Verify'), 'It runs'), ...problems(400, 403, 404, 413, 503) },
      },
    },
    '/health/live': get('live', 'Whether each part advances or says what it waits for', {
      200: json(ref('Health'), 'Alive'),
      ...problems(503),
    }),
    '/health/ready': get('ready', 'Whether every view is live and every source streams', {
      200: json(ref('Health'), 'Ready'),
      ...problems(503),
    }),
    '/metrics': get('metrics', 'Gauges of sources, log and views, in the text format of Prometheus', {
      200: { description: 'Metrics', content: { 'text/plain': { schema: { type: 'string' } } } },
      ...problems(400),
    }),
    '/openapi.json': get('openapi', 'This description', {
      200: json({ type: 'object' }, 'OpenAPI 3.1'),
      ...problems(),
    }),
  }
}
