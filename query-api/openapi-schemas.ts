// The fixed schemas of the OpenAPI document: answers whose form does not depend on the application.
import { KEYS_MAX } from './limits.ts'
import { type Json, ref } from './openapi-parts.ts'
import { entry, SOURCE_SCHEMAS } from './openapi-source-schemas.ts'
import { array, count, error, flag, freshness, lenient, nullable, object, position, text } from './schema-parts.ts'

const SOURCE_POSITIONS: Json = {
  type: 'object',
  additionalProperties: text,
  description:
    'Source → its own position (an LSN, a GTID): all of it up to there, and nothing more, is in the cut; a source of which nothing was read yet is missing',
}

const answer = {
  ...freshness,
  sources: {
    ...SOURCE_POSITIONS,
    description: `${SOURCE_POSITIONS['description']}. Only where \`sources=true\` asks for it`,
  },
}

const progress = object({
  done: count,
  total: count,
  recordsPerSecond: { type: 'number' },
  secondsLeft: { ...nullable({ type: 'number' }), description: 'null while the rate is not known' },
})

const hash: Json = { type: 'string', pattern: '^[0-9a-f]{16}$', description: 'Of all rows, in no order' }

const view = {
  name: text,
  status: { type: 'string', enum: ['live', 'snapshotting', 'catching-up', 'rebuilding', 'stopped'] },
  waitingFor: nullable(text),
  key: array(object({ name: text, type: text })),
  rows: { ...nullable(count), description: 'null for clients from whom a policy hides rows' },
  stateBytes: {
    ...nullable(count),
    description: 'Bytes of memory of its rows and their index; strings and nested values by estimate',
  },
  ...freshness,
  fingerprint: text,
  inputs: array(text),
  sources: array(text),
  indexes: array(
    object({
      fields: array(text),
      state: { type: 'string', enum: ['building', 'ready', 'failed'] },
      progress: nullable(object({ done: count, total: count })),
      bytes: count,
      error,
    }),
  ),
  progress: nullable(progress),
  plan: object({
    plan: {
      type: 'string',
      enum: ['unchanged', 'new', 'rebuild', 'continue', 'savepoint'],
      description: 'What the start did with its checkpoint',
    },
    from: position,
    records: count,
    estimatedSeconds: { type: 'number', minimum: 0 },
    why: { ...nullable(text), description: 'What changed since the checkpoint' },
  }),
  continued: {
    ...array(
      object({ position, fingerprint: text, migrated: flag, savepoint: text, replayedFrom: position }, [
        'migrated',
        'savepoint',
        'replayedFrom',
      ]),
    ),
    description:
      'Where a checkpoint was kept under changed code or a savepoint was put in its place or a replay exchanged rows, oldest first, and whose code had made it',
  },
  checkpoint: {
    ...nullable(object({ position, rows: count, hash })),
    description: 'What the newest checkpoint holds',
  },
  deadLetters: {
    ...nullable(object({ count, total: count })),
    description: "With onError: 'skip': calls that wait to be made again, and all that were ever skipped",
  },
  error,
}

const deadLetter = object({
  position,
  topic: text,
  op: { type: 'string', enum: ['event', 'insert', 'update', 'delete'] },
  step: { type: 'string', enum: ['add', 'remove'] },
  key: nullable(text),
  error: lenient,
  appendTime: { type: 'string', format: 'date-time' },
  redriven: count,
})

const savepoint = {
  name: text,
  position,
  madeAt: { type: 'string', format: 'date-time' },
  path: text,
  bytes: count,
  views: {
    type: 'object',
    additionalProperties: object({ position, rows: count, hash, fingerprint: text }),
  },
}

const mark = object({
  source: text,
  position: text,
  transaction: nullable(text),
  commitTime: { type: ['string', 'null'], format: 'date-time' },
  snapshot: flag,
  sequence: {
    type: ['integer', 'null'],
    description: 'Place in its transaction, from 1; null of a snapshot, and where history was removed',
  },
})

const record = object(
  {
    position,
    topic: text,
    op: { type: 'string', enum: ['event', 'insert', 'update', 'delete', 'parked'] },
    key: {},
    value: { description: 'The event' },
    before: { description: 'The row before; null for an insert' },
    after: { description: 'The row after; null for a delete' },
    parked: lenient,
    appendTime: { type: 'string', format: 'date-time' },
    source: nullable(mark),
    emittedBy: nullable(text),
  },
  ['key', 'value', 'before', 'after', 'parked'],
)

const step = object({
  position,
  topic: text,
  op: { type: 'string', enum: ['event', 'insert', 'update', 'delete'] },
  record: {
    ...object({ key: {}, value: {}, before: {}, after: {} }, ['value', 'before', 'after']),
    description: "The record: an event's `value`, or `before` and `after` of a table's row",
  },
  appendTime: { type: 'string', format: 'date-time' },
  source: nullable(mark),
  before: { ...nullable(lenient), description: 'The row of the view before the record; null where there was none' },
  after: { ...nullable(lenient), description: 'The row of the view after the record' },
})

/** Up to where; null for as far as possible. */
const horizon: Json = { anyOf: [position, { type: 'integer', minimum: 0 }, { type: 'null' }] }
/** By topic. */
const horizons: Json = { type: 'object', additionalProperties: horizon }

const logTopic = object({
  name: text,
  kind: { type: 'string', enum: ['topic', 'table'] },
  key: array(text),
  version: count,
})

const comparedRow = nullable(object({ value: lenient, support: count }))

const verified = object({
  view: text,
  equal: { type: ['boolean', 'null'], description: 'null where it could not be verified: `error` says why' },
  rows: count,
  hash: { ...nullable(text), description: 'Of the live rows, whatever their order: 16 hex digits' },
  refoldedHash: nullable(text),
  differences: { ...count, description: 'Keys whose rows differ' },
  deadLetterDifferences: { ...count, description: 'Dead letters that differ, or that only one side has' },
  first: {
    ...nullable(object({ key: {}, live: comparedRow, refolded: comparedRow, lastRecord: nullable(position) })),
    description:
      'The smallest key that differs. `support` counts the rows or events that a row is made of; `lastRecord` is the last record of the log that went to the key, null where several inputs or another view make it',
  },
  error,
})

const read: Json = { ...object({ view: text, key: {} }), additionalProperties: false }

export const SCHEMAS = {
  ...SOURCE_SCHEMAS,
  Freshness: object(answer, ['sources']),
  AnyRow: object({ key: {}, value: lenient, ...answer }, ['sources']),
  AnyRows: object({ values: array(entry), ...answer }, ['sources']),
  Reads: { ...object({ reads: { type: 'array', items: read, maxItems: KEYS_MAX } }), additionalProperties: false },
  ReadAnswer: object({ values: array(object({ view: text, key: {}, value: {} })), ...answer }, ['sources']),
  LineageStep: step,
  View: object(view),
  ViewDetail: object({ ...view, sourcePositions: SOURCE_POSITIONS, schema: object({ key: lenient, value: lenient }) }),
  Views: object({ views: array(ref('View')), position, logEnd: position }),
  DeadLetters: object({ deadLetters: array(deadLetter), next: nullable(position), count }),
  RedriveRequest: {
    ...object({ positions: { ...array(position), minItems: 1 }, all: { type: 'boolean', const: true } }, [
      'positions',
      'all',
    ]),
    additionalProperties: false,
  },
  Redriven: object({ positions: array(position), token: text }),
  VerifyRequest: {
    ...object({ views: { ...array(text), minItems: 1, description: 'Names of views. Default: all' } }, ['views']),
    additionalProperties: false,
  },
  Verify: object({
    state: { type: 'string', enum: ['idle', 'running', 'done', 'failed'] },
    progress: nullable(progress),
    report: nullable(
      object({ position, records: count, seconds: { type: 'number', minimum: 0 }, views: array(verified) }),
    ),
    error,
  }),
  ReplayRequest: {
    ...object(
      {
        from: {
          ...position,
          description:
            'Where to begin: with the nearest savepoint or kept checkpoint at or before it; default "0", the beginning of the log',
        },
        dryRun: { type: 'boolean', description: 'Only compare', default: false },
      },
      ['from', 'dryRun'],
    ),
    additionalProperties: false,
  },
  Replay: object({
    state: { type: 'string', enum: ['idle', 'running', 'done', 'failed'] },
    view: nullable(text),
    progress: nullable(progress),
    report: nullable(
      object({
        position,
        from: { ...position, description: 'Where the fold began' },
        base: {
          ...nullable(
            object({ kind: { type: 'string', enum: ['checkpoint', 'savepoint'] }, name: nullable(text), position }),
          ),
          description: 'With whose rows it began; null: at the beginning of the log',
        },
        records: count,
        seconds: { type: 'number', minimum: 0 },
        switchedAt: {
          ...nullable(position),
          description: 'Where live rows that differed were exchanged; null where none did, or that was not wanted',
        },
        views: { ...array(verified), description: 'The view, and those that it folds or that fold it' },
      }),
    ),
    error,
  }),
  Savepoint: object(savepoint),
  Savepoints: object({
    savepoints: array({ anyOf: [object(savepoint), object({ name: text, error })] }),
    running: nullable(object({ name: text, rowsDone: count, rows: { type: ['integer', 'null'], minimum: 0 } })),
    last: { ...nullable(object({ name: text, error })), description: 'The last one that ended, and why it failed' },
  }),
  SavepointRequest: { ...object({ name: text }), additionalProperties: false },
  SavepointStatus: object({
    running: nullable(object({ name: text, rowsDone: count, rows: { type: ['integer', 'null'], minimum: 0 } })),
    last: nullable(object({ name: text, error })),
  }),
  SavepointDeleted: object({ deleted: text }),
  Appended: object({ positions: array(position), token: text }),
  Log: object({
    id: text,
    state: { type: 'string', enum: ['open', 'limited', 'full', 'failed', 'closed'] },
    end: position,
    bytes: count,
    segments: count,
    topics: array(logTopic),
  }),
  CleanRequest: {
    ...object({ trim: horizons, compact: horizons, to: horizon, force: flag, dryRun: flag }, [
      'trim',
      'compact',
      'to',
      'force',
      'dryRun',
    ]),
    additionalProperties: false,
  },
  CleanReport: object({
    generation: count,
    to: position,
    limitedBy: nullable(object({ name: text, position })),
    recordsBefore: count,
    recordsAfter: count,
    bytesBefore: count,
    bytesAfter: count,
    ms: { type: 'number' },
  }),
  LogPage: object({ records: array(record), next: position, end: position, horizon: nullable(position) }),
  Health: object({ application: text, status: { type: 'string', enum: ['live', 'ready'] } }),
}
