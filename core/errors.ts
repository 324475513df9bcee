// Every error a user can meet, in one table. An error is recognised by its `code`, never by its text or class.
// `status` is what HTTP answers, `retriable` says whether the same call may succeed later without a change.

interface ErrorKind {
  readonly status: number
  readonly retriable: boolean
  /** What to do, where the place that fails has nothing better to say. */
  readonly hint?: string
}

export const ERRORS = {
  // contracts and definitions
  CONTRACT_UNSUPPORTED: { status: 500, retriable: false },
  CONTRACT_CHANGED: { status: 500, retriable: false },
  CONTRACT_UPCAST_FAILED: { status: 503, retriable: false },
  CONTRACT_UPCAST_MISSING: {
    status: 503,
    retriable: false,
    hint: 'open the log with the application that declares the topic and its upcasts',
  },
  CONTRACT_TABLE_MISSING: { status: 500, retriable: false },
  CONTRACT_COLUMN_MISSING: { status: 500, retriable: false },
  CONTRACT_TYPE_LOSSY: { status: 500, retriable: false },
  CONTRACT_TYPE_MISMATCH: { status: 500, retriable: false },
  CONTRACT_KEY_MISMATCH: { status: 500, retriable: false },
  DEFINITION_INVALID: { status: 500, retriable: false },
  APPLICATION_INVALID: { status: 500, retriable: false },
  RECORD_REFUSED: { status: 400, retriable: false },
  RECORD_TOO_LARGE: { status: 413, retriable: false },
  // the log and the data folder
  DATA_DIR_IN_USE: {
    status: 503,
    retriable: true,
    hint: 'stop the other process, or give this one its own --data-dir',
  },
  DATA_DIR_INVALID: { status: 500, retriable: false },
  LOG_CORRUPT: { status: 500, retriable: false },
  LOG_FORMAT_NEWER: {
    status: 500,
    retriable: false,
    hint: 'use the version of mainstem that wrote it, or a newer one',
  },
  LOG_FULL: {
    status: 507,
    retriable: true,
    hint: 'free disk space, or raise --log-limit; appends go on by themselves then',
  },
  LOG_FAILED: { status: 503, retriable: true },
  LOG_CLOSED: { status: 503, retriable: false },
  // sources
  SOURCE_SETTING_MISSING: { status: 500, retriable: false },
  SOURCE_UNREACHABLE: { status: 503, retriable: true },
  SOURCE_AUTHENTICATION: { status: 503, retriable: false },
  SOURCE_PERMISSION: { status: 503, retriable: false },
  SOURCE_TLS: { status: 503, retriable: true },
  SOURCE_WAL_LEVEL: { status: 503, retriable: false },
  SOURCE_BINLOG_SETTINGS: { status: 503, retriable: false },
  SOURCE_VERSION: { status: 503, retriable: false },
  SOURCE_SLOT_BLOCKED: { status: 503, retriable: true },
  SOURCE_SLOT_IN_USE: { status: 503, retriable: true },
  SOURCE_SLOTS_EXHAUSTED: { status: 503, retriable: true },
  SOURCE_SLOT_LOST: { status: 503, retriable: false },
  SOURCE_SYSTEM_CHANGED: { status: 503, retriable: false },
  SOURCE_CASCADE_UNLOGGED: { status: 503, retriable: false },
  SOURCE_CHANGES_LOST: { status: 503, retriable: false },
  SOURCE_TABLE_REPLACED: { status: 503, retriable: false },
  SOURCE_VALUE_TOO_LARGE: { status: 503, retriable: false },
  LOG_BEHIND_SLOT: { status: 503, retriable: false },
  SOURCE_PROTOCOL: { status: 503, retriable: true },
  SNAPSHOT_INVALID: { status: 400, retriable: false },
  SNAPSHOT_RUNNING: { status: 409, retriable: true, hint: 'wait for its end, or cancel it' },
  SNAPSHOT_NOT_RUNNING: { status: 409, retriable: false },
  SNAPSHOT_NEEDED: {
    status: 409,
    retriable: false,
    hint: 'pause it: without it views would lack rows for ever',
  },
  SOURCE_UNKNOWN: { status: 404, retriable: false },
  PARKED_UNKNOWN: { status: 404, retriable: false, hint: 'mainstem parked lists those there are' },
  TABLE_UNKNOWN: { status: 404, retriable: false },
  // projections
  HANDLER_ASYNC: { status: 500, retriable: false, hint: 'a handler is synchronous: bring the data in as a topic' },
  HANDLER_IMPURE: {
    status: 500,
    retriable: false,
    hint: 'use ctx.timeMs or ctx.random(), or bring the data in as a topic',
  },
  HANDLER_FAILED: { status: 503, retriable: false },
  SHARD_FAILED: { status: 503, retriable: false, hint: 'start again: views continue from their last checkpoint' },
  STATE_INVALID: { status: 503, retriable: false },
  STATE_TOO_LARGE: {
    status: 503,
    retriable: false,
    hint: 'give more memory (--state-limit, and for strings and nested values NODE_OPTIONS=--max-old-space-size=…), or keep less in the state',
  },
  CURSOR_EXPIRED: {
    status: 500,
    retriable: false,
    hint: 'keep a copy: { ...row }, or structuredClone(row) where it has objects within',
  },
  KEY_INVALID: { status: 503, retriable: false },
  DEAD_LETTER_UNKNOWN: { status: 404, retriable: false },
  DEAD_LETTERS_TOO_MANY: {
    status: 503,
    retriable: false,
    hint: 'mend the projection and start again: it is rebuilt then; or raise its deadLettersMax',
  },
  PROJECTION_REMOVE_NOT_INVERSE: { status: 503, retriable: false, hint: 'what add puts in, remove must take out' },
  VIEW_UNKNOWN: { status: 404, retriable: false },
  VIEW_STOPPED: { status: 503, retriable: false },
  VIEW_REBUILDING: { status: 503, retriable: true },
  INDEX_BUILDING: { status: 503, retriable: true, hint: 'ask again, or give a larger timeoutMs' },
  VIEW_CANNOT_CONTINUE: {
    status: 500,
    retriable: false,
    hint: 'start without --continue <view>: it is folded anew from the log',
  },
  CHECKPOINT_CORRUPT: {
    status: 503,
    retriable: false,
    hint: 'nothing is lost: an older checkpoint is used, or the views are folded anew from the log',
  },
  CHECKPOINT_FAILED: {
    status: 503,
    retriable: true,
    hint: 'look at the disk of the data folder; views go on, and the next checkpoint is tried by itself',
  },
  SAVEPOINT_FAILED: {
    status: 503,
    retriable: true,
    hint: 'look at the disk of the data folder, and make the savepoint again',
  },
  MIGRATION_FAILED: { status: 500, retriable: false, hint: 'mend the function given to migrate, and start again' },
  VIEW_HISTORY_GONE: {
    status: 503,
    retriable: false,
    hint: 'start with --accept-history-gone <view> to fold what is left, or restore a log that has it',
  },
  // commands
  DECIDER_UNKNOWN: { status: 404, retriable: false },
  COMMAND_INVALID: { status: 400, retriable: false },
  COMMAND_REFUSED: { status: 422, retriable: false },
  COMMAND_FAILED: { status: 500, retriable: false, hint: 'mend the function given to decide; nothing was appended' },
  VERSION_CONFLICT: { status: 409, retriable: false },
  // reads of the past
  AT_MALFORMED: {
    status: 400,
    retriable: false,
    hint: 'give a position of the log, a time such as 2026-11-01T09:00:00Z, or savepoint:NAME',
  },
  AT_AHEAD: { status: 400, retriable: false, hint: 'leave `at` out to read the present' },
  AT_GONE: { status: 410, retriable: false, hint: 'read at a later position, or from a savepoint that holds it' },
  AT_TOO_FAR: {
    status: 503,
    retriable: false,
    hint: 'read nearer to a savepoint of this code, or export the view instead',
  },
  REPLAY_UNSUPPORTED: { status: 501, retriable: false },
  REPLAY_BASE_MISSING: {
    status: 409,
    retriable: false,
    hint: 'replay from one of the positions that there are, or from 0; savepoints (mainstem savepoint create) keep rows for the next time',
  },
  SAVEPOINT_UNKNOWN: { status: 404, retriable: false, hint: 'mainstem savepoint list shows those there are' },
  SAVEPOINT_NAME_INVALID: {
    status: 400,
    retriable: false,
    hint: 'take letters, digits, dots, dashes and underscores, up to 100, beginning with a letter or digit',
  },
  SAVEPOINT_EXISTS: { status: 409, retriable: false, hint: 'take another name, or delete that one first' },
  SAVEPOINT_UNUSABLE: { status: 500, retriable: false },
  // reads and appends over HTTP
  ROW_NOT_FOUND: { status: 404, retriable: true },
  ROW_NOT_YET: {
    status: 503,
    retriable: true,
    hint: "a source's snapshot is not complete: whether there is such a row is known when it is",
  },
  VIEW_TOO_OLD: { status: 503, retriable: true },
  ROUTE_UNKNOWN: { status: 404, retriable: false },
  TOPIC_UNKNOWN: { status: 404, retriable: false },
  TAG_UNKNOWN: { status: 400, retriable: false },
  KEY_MALFORMED: { status: 400, retriable: false },
  TOKEN_MALFORMED: { status: 400, retriable: false },
  TOKEN_OTHER_LOG: { status: 400, retriable: false },
  REQUEST_INVALID: { status: 400, retriable: false },
  NO_INDEX: { status: 400, retriable: false },
  CURSOR_INVALID: {
    status: 400,
    retriable: false,
    hint: 'give the cursor of the page before, with the same parameters; or begin without one',
  },
  BODY_TOO_LARGE: { status: 413, retriable: false },
  HEAD_TOO_LARGE: { status: 431, retriable: false },
  TOPIC_READ_ONLY: { status: 405, retriable: false },
  METHOD_NOT_ALLOWED: { status: 405, retriable: false },
  IDEMPOTENCY_KEY_REUSED: { status: 422, retriable: false },
  ORIGIN_REFUSED: { status: 403, retriable: false },
  UNAUTHENTICATED: { status: 401, retriable: false },
  FORBIDDEN: { status: 403, retriable: false },
  POLICY_FAILED: { status: 500, retriable: false, hint: 'mend the function given to policy' },
  AUTH_UNAVAILABLE: { status: 503, retriable: true },
  RATE_LIMITED: { status: 429, retriable: true, hint: 'ask again after the seconds that Retry-After says' },
  ACCESS_INVALID: { status: 500, retriable: false },
  ACCESS_UNGUARDED: { status: 500, retriable: false },
  TLS_INVALID: { status: 500, retriable: false },
  NOT_READY: { status: 503, retriable: true },
  NOT_LIVE: { status: 503, retriable: true },
  OVERLOADED: { status: 503, retriable: true, hint: 'try again with fewer requests at a time' },
  NOT_REACHED: { status: 504, retriable: true },
  SUBSCRIBER_TOO_SLOW: { status: 503, retriable: true },
  ADDRESS_IN_USE: { status: 503, retriable: true, hint: 'give another --port' },
  ADDRESS_INVALID: { status: 500, retriable: false },
  APPLICATION_UNREACHABLE: { status: 503, retriable: true, hint: 'is `mainstem run` up? --url says where it listens' },
  CANCELLED: { status: 409, retriable: true },
  SHUTTING_DOWN: { status: 503, retriable: true },
  INTERNAL: { status: 500, retriable: false },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorParts {
  /** What was seen: values, names, positions. Never a secret. */
  readonly detail?: string
  /** What the reader can do about it. */
  readonly hint?: string
  readonly cause?: unknown
  /** Further members for machines, copied into problem+json. */
  readonly data?: Readonly<Record<string, unknown>>
}

/** The one error class. `message` is primary (lower case, no period); `detail` and `hint` follow PostgreSQL's custom. */
export class MainstemError extends Error {
  readonly code: ErrorCode
  readonly detail: string | undefined
  readonly hint: string | undefined
  readonly data: Readonly<Record<string, unknown>> | undefined

  constructor(code: ErrorCode, message: string, parts: ErrorParts = {}) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause })
    this.name = 'MainstemError'
    this.code = code
    this.detail = parts.detail
    this.hint = parts.hint ?? kindOf(code).hint
    this.data = parts.data
  }

  get status(): number {
    return kindOf(this.code).status
  }

  get retriable(): boolean {
    return kindOf(this.code).retriable
  }
}

const kindOf = (code: ErrorCode): ErrorKind => ERRORS[code]

/** An error as statuses and events carry it. */
export interface ErrorReport {
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
}

export function reportOf({ code, message, detail, hint }: MainstemError): ErrorReport {
  return { code, message, ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) }
}

/** The error that a report is of, as another thread sends it. */
export function errorOf({ code, message, detail, hint }: ErrorReport): MainstemError {
  const known = code in ERRORS ? (code as ErrorCode) : 'INTERNAL'
  return fail(known, message, { ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) })
}

/** Makes the error to throw: `throw fail('LOG_CLOSED', 'the log is closed')`. */
export function fail(code: ErrorCode, message: string, parts?: ErrorParts): MainstemError {
  return new MainstemError(code, message, parts)
}

export function isMainstemError(error: unknown): error is MainstemError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code in ERRORS
}

/** Anything thrown, as a MainstemError: what is not ours becomes `code` (default INTERNAL) with its text as detail. */
export function asMainstemError(
  error: unknown,
  code: ErrorCode = 'INTERNAL',
  message = 'an internal error',
): MainstemError {
  if (isMainstemError(error)) return error
  return fail(code, message, { detail: textOf(error), cause: error })
}

export function textOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return textOf(error.errors[0])
  return error instanceof Error ? error.message : String(error)
}

/** Three lines for a terminal: `CODE` message. *Detail.* → hint. */
export function describeError(error: unknown): string {
  const known = asMainstemError(error)
  const lines = [`${known.code} ${known.message}.`]
  if (known.detail) lines.push(`  ${known.detail}`)
  if (known.hint) lines.push(`  → ${known.hint}`)
  return lines.join('\n')
}
