// Schemas of the OpenAPI document that speak of sources.
import { ref } from './openapi-parts.ts'
import { array, count, error, flag, freshness, nullable, object, position, text } from './schema-parts.ts'

const snapshot = object({
  rows: count,
  rowsEstimated: { type: 'number' },
  rowsPerSecond: { type: 'number' },
  secondsLeft: { type: ['number', 'null'] },
  tables: count,
  tablesDone: count,
  paused: flag,
  error,
})

const source = {
  name: text,
  technology: text,
  state: {
    type: 'string',
    enum: ['connecting', 'snapshotting', 'streaming', 'paused', 'retrying', 'failed', 'stopped'],
  },
  waitingFor: nullable(text),
  position: nullable(text),
  serverPosition: nullable(text),
  lagBytes: { type: ['number', 'null'] },
  ageMs: { type: ['number', 'null'] },
  snapshot: nullable(snapshot),
  changes: count,
  changesPerSecond: { type: ['number', 'null'], description: 'Of the last ten seconds; null in the first one' },
  parked: count,
  walHeldBytes: { type: ['number', 'null'] },
  walHeldBytesMax: { type: ['number', 'null'] },
  slot: nullable(text),
  publication: nullable(text),
  tables: array(text),
  error,
  lastError: {
    ...nullable(object({ code: text, message: text, detail: text, hint: text, at: text }, ['detail', 'hint'])),
    description: 'The newest one since the start, when it was (ISO 8601), whether or not it is over',
  },
}

const parked = object({
  topic: text,
  key: text,
  op: text,
  position: text,
  logPosition: position,
  error: text,
  raw: { type: 'object', additionalProperties: nullable(text) },
})

const auditedTable = object({
  table: text,
  rows: { ...count, description: 'Of the database, as far as the contract takes them' },
  mirrorRows: count,
  parked: { ...count, description: 'Rows of the database that the contract refuses; they are not compared' },
  chunks: count,
  chunksDiffering: count,
  hash: { ...text, description: 'Of the rows of the database, whatever their order: 16 hex digits' },
  mirrorHash: text,
  mismatches: { ...count, description: 'Keys whose rows differ' },
  keys: {
    ...array(
      object({ key: text, kind: { type: 'string', enum: ['missing', 'extra', 'differs'] }, columns: array(text) }),
    ),
    description: 'The first 1,000 of them; `missing` from the log, or `extra` in it',
  },
})

export const entry = object({ key: {}, value: {} })

export const SOURCE_SCHEMAS = {
  Source: object(source),
  Sources: object({ sources: array(ref('Source')) }),
  Parked: object({ parked: array(parked), total: count }),
  ParkedRetry: {
    ...object(
      {
        table: { ...text, description: 'Only of this table; default: all' },
        key: { ...text, description: 'Only this row, as the list has its key' },
        set: {
          type: 'object',
          additionalProperties: nullable(text),
          description:
            "Column → the database's text of a value, or null, to take in the place of the raw one; with key",
        },
      },
      ['table', 'key', 'set'],
    ),
    additionalProperties: false,
  },
  ParkedRetried: object({
    accepted: count,
    superseded: { ...count, description: 'Rows of which a newer accepted one is there' },
    refused: { ...count, description: 'Rows that stay parked' },
    refusals: { ...array(object({ topic: text, key: text, error: text })), description: 'The first hundred of them' },
    token: text,
  }),
  SnapshotRequest: {
    type: 'object',
    additionalProperties: false,
    properties: {
      tables: { ...array(text), description: 'Names as in the database; default: all captured tables' },
      where: {
        ...text,
        description: "A condition in the database's SQL: only these rows are read, and none is found to be gone",
      },
    },
  },
  SnapshotAnswer: object({ source: text, snapshot: nullable(snapshot) }),
  DropReport: object({ source: text, dropped: array(text) }),
  TableRows: object({ rows: array(entry), next: nullable(text), ...freshness }),
  AuditRequest: {
    ...object(
      {
        tables: {
          ...array(text),
          minItems: 1,
          description: 'As they are named in the database. Default: all captured ones',
        },
        rowsPerSecondMax: { type: 'integer', minimum: 1, description: 'Default: as many as come' },
        repair: { ...flag, description: 'Read rows again whose keys differ. Default false' },
      },
      ['tables', 'rowsPerSecondMax', 'repair'],
    ),
    additionalProperties: false,
  },
  Audit: object({
    state: { type: 'string', enum: ['idle', 'running', 'done', 'failed'] },
    progress: nullable(object({ table: text, rows: count, rowsEstimated: count, rowsPerSecond: { type: 'number' } })),
    report: nullable(
      object({
        equal: flag,
        position: { ...text, description: "The source's position at which both sides were compared" },
        seconds: { type: 'number', minimum: 0 },
        tables: array(auditedTable),
        repaired: nullable(count),
      }),
    ),
    error,
  }),
  AuditCancelled: object({ cancelled: flag }),
}
