// The port that change data capture implements: a source is declared in an application, opened by the runtime.
import {
  type AnyRow,
  type AnyTable,
  type AnyTopic,
  type Contract,
  compileContract,
  type ObjectContract,
} from '../contract/index.ts'
import type { ErrorReport } from '../errors.ts'
import type { Log, LogTopic } from '../log/index.ts'
import type { SourceAudits } from './audit.ts'
import type { SchemaChange } from './source-events.ts'

/** A captured table as its source knows it; `table.name` is `<source>.<table>`. */
export interface SourceTable extends AnyTable {
  readonly source: SourceDefinition
  /** The table's name in the database, `schema.table` or `table`. */
  readonly table: string
}

/** Where the events of a captured topic come from. */
export type TopicOrigin =
  | {
      readonly kind: 'outbox'
      /** Its name in the database. */
      readonly table: string
      /** Field of the event → column, where their names differ. */
      readonly columns: Readonly<Record<string, string>>
      /** The column whose JSON object has the fields that no column has. */
      readonly payload: string | undefined
      /** False: rows are deleted once their events are in the log. */
      readonly keep: boolean
    }
  | { readonly kind: 'messages'; readonly prefix: string }

/** A topic whose events a source brings; `name` is `<source>.<table or prefix>`. */
export interface SourceTopic extends AnyTopic {
  readonly key: unknown
  readonly source: SourceDefinition
  readonly origin: TopicOrigin
}

/** The topic as its source knows it; undefined of the application's own topics. */
export const sourceTopicOf = (topic: AnyTopic): SourceTopic | undefined =>
  'source' in topic && 'origin' in topic ? (topic as SourceTopic) : undefined

/** What `postgres('shop', …)` gives: pure, opens nothing. */
export interface SourceDefinition {
  readonly kind: 'source'
  readonly name: string
  readonly technology: string
  /** Opens the source's connector: checks everything that can be checked before any effect. @throws SOURCE_…, CONTRACT_…, LOG_BEHIND_SLOT */
  open(context: SourceContext): Promise<SourceConnector>
  /** Removes what the source keeps on the server (slot, publication), without a running connector. */
  drop(application: string): Promise<DropReport>
}

export interface DropReport {
  readonly source: string
  /** What was removed, e.g. `slot mainstem_app_shop`. */
  readonly dropped: readonly string[]
}

export interface CapturedTable {
  readonly table: SourceTable
  readonly contract: ObjectContract
  readonly topic: LogTopic
}

export interface CapturedTopic {
  readonly declared: SourceTopic
  readonly contract: Contract
  readonly topic: LogTopic
}

export interface SourceContext {
  /** The application's name: part of the names kept on the server. */
  readonly application: string
  readonly log: Log
  /** The tables to capture. */
  readonly tables: readonly CapturedTable[]
  /** The topics to capture. Default: none. */
  readonly topics?: readonly CapturedTopic[]
  /** A folder of the source's own, for its mirror. */
  readonly mirrorPath: string
  /** Read everything again at this start (diffed against the mirror): repairs a lost slot, a log behind it, added tables. */
  readonly resnapshot: boolean
  readonly onEvent: (event: SourceEvent) => void
}

/** What happens to a source, for progress displays and logs. */
export type SourceEvent =
  | {
      readonly event: 'snapshot-started'
      readonly source: string
      readonly tables: number
      readonly rowsEstimated: number
    }
  | {
      readonly event: 'snapshot-progress'
      readonly source: string
      readonly table: string
      readonly rows: number
      readonly rowsEstimated: number
      readonly rowsPerSecond: number
    }
  | { readonly event: 'snapshot-ended'; readonly source: string; readonly rows: number; readonly seconds: number }
  /** It goes on with `resume`; `error` says why where nobody asked for it. */
  | { readonly event: 'snapshot-paused'; readonly source: string; readonly error: ErrorReport | null }
  | { readonly event: 'snapshot-resumed' | 'snapshot-cancelled'; readonly source: string }
  | { readonly event: 'handover'; readonly source: string; readonly position: string }
  | { readonly event: 'streaming'; readonly source: string; readonly position: string }
  /** It reads no further until the log has room again: connection and slot stay. */
  | { readonly event: 'source-paused'; readonly source: string; readonly waitingFor: string }
  | { readonly event: 'source-resumed'; readonly source: string }
  | { readonly event: 'source-waiting'; readonly source: string; readonly waitingFor: string }
  | {
      readonly event: 'source-retrying'
      readonly source: string
      readonly code: string
      readonly message: string
      readonly detail?: string
      readonly delayMs: number
    }
  | {
      /** At the start: what the server kept of its log while nobody read it. */
      readonly event: 'source-behind'
      readonly source: string
      readonly bytes: number
    }
  | {
      /** The server keeps much of its log because the source has not read it; it keeps little again. */
      readonly event: 'source-log-held' | 'source-log-read'
      readonly source: string
      readonly bytes: number
      /** Beyond it the server is told to forget. */
      readonly bytesMax: number | null
    }
  /** The columns of a captured table are others from here on; its contract still takes them. */
  | ({
      readonly event: 'schema-changed'
      readonly source: string
      readonly topic: string
      readonly position: string
    } & SchemaChange)
  | ({ readonly event: 'source-failed'; readonly source: string } & ErrorReport)
  /** Rows of an outbox that are to go cannot be deleted; it is tried again. */
  | { readonly event: 'outbox-waits'; readonly source: string; readonly topic: string; readonly message: string }
  | {
      readonly event: 'parked'
      readonly source: string
      readonly topic: string
      readonly key: string
      readonly position: string
      readonly error: string
    }

/** paused: there is no room in the log, or soon none; it goes on by itself. */
export type SourceState = 'connecting' | 'snapshotting' | 'streaming' | 'paused' | 'retrying' | 'failed' | 'stopped'

export interface SourceStatus {
  readonly name: string
  readonly technology: string
  readonly state: SourceState
  /** What it waits for, in words, when it does not advance. */
  readonly waitingFor: string | null
  /** Everything up to here is durable in the log (an LSN). */
  readonly position: string | null
  /** The server's own position when last heard. */
  readonly serverPosition: string | null
  readonly lagBytes: number | null
  /** Milliseconds since the connector was last level with all the server had sent or said; null before it ever was. */
  readonly ageMs: number | null
  /** The snapshot under way, alone or while changes are streamed. */
  readonly snapshot: SnapshotProgress | null
  readonly changes: number
  readonly parked: number
  /** What the server keeps of its log because the source has not read it; null where that is not known, or it keeps none for it. */
  readonly walHeldBytes: number | null
  /** Beyond it the server is told to forget, and the source has to be read again; null: never. */
  readonly walHeldBytesMax: number | null
  readonly slot: string | null
  readonly publication: string | null
  readonly tables: readonly string[]
  readonly error: ErrorReport | null
  /** The newest error since the start, and when it was (ISO 8601), whether or not it is over. */
  readonly lastError: (ErrorReport & { readonly at: string }) | null
}

export interface SnapshotProgress {
  readonly rows: number
  /** By the server's statistics. */
  readonly rowsEstimated: number
  readonly rowsPerSecond: number
  /** By that speed; null where it cannot be said. */
  readonly secondsLeft: number | null
  readonly tables: number
  readonly tablesDone: number
  /** By a command, or because of `error`. */
  readonly paused: boolean
  /** Why it cannot go on by itself. */
  readonly error: ErrorReport | null
}

/** What the snapshots of a source can be told while it runs. */
export type SnapshotCommand =
  /** Read tables once more while changes are streamed; only differences become records. */
  | {
      readonly do: 'start'
      /** Names as in the database; default: all captured ones. */
      readonly tables?: readonly string[]
      /** In SQL: only these rows; then rows that are gone are not found. */
      readonly where?: string
    }
  | { readonly do: 'pause' | 'resume' | 'cancel' }

/** A parked row as listed: `ParkedRow` with its place. */
export interface ParkedEntry {
  readonly topic: string
  readonly key: string
  readonly op: string
  readonly position: string
  readonly logPosition: number
  readonly error: string
  readonly raw: Readonly<Record<string, string | null>>
}

/** Which parked rows to read again, and with what. */
export interface ParkedRetry {
  /** `<source>.<table>`. Default: all. */
  readonly topic?: string
  /** Of one row, as `ParkedEntry.key` has it. Default: all. */
  readonly key?: string
  /** Values to take in the place of raw ones, column → the database's text, null for NULL; of one row. */
  readonly set?: Readonly<Record<string, string | null>>
}

export interface ParkedRetried {
  /** Rows that their contracts take now: each is a record of its topic. */
  readonly accepted: number
  /** Rows of which a newer accepted one is there: they are only no longer parked. */
  readonly superseded: number
  /** Rows that stay parked. */
  readonly refused: number
  /** The first of them, and why. */
  readonly refusals: readonly { readonly topic: string; readonly key: string; readonly error: string }[]
  /** The log's position that holds it. */
  readonly position: number
}

/** Rows of a captured table, between two transactions of its source. */
export interface TableRows {
  /** In the order of what was asked; undefined where there is no row. */
  readonly rows: readonly (AnyRow | undefined)[]
  /** The log's position: the rows are what it has of the table up to there. */
  readonly position: number
}

/** The current rows of captured tables, out of the mirror: what the log's last record of each key says. */
export interface SourceTables {
  /** By the table's name in the database. */
  readonly contracts: ReadonlyMap<string, ObjectContract>
  /** @param keys key bytes @throws NOT_READY where nothing streams */
  get(table: string, keys: readonly Buffer[]): Promise<TableRows>
  /** Rows in the order of their key bytes, after a key, or from the first one on. @throws NOT_READY where nothing streams */
  page(table: string, after: Buffer | undefined, limit: number): Promise<TableRows>
}

export interface SourceConnector {
  readonly name: string
  /** Begins to read; returns at once. Retries what is retriable by itself; a permanent failure shows in `status()` and an event. */
  start(): void
  status(): SourceStatus
  /** Rows refused by their contracts and not mended since, at most `limit`. */
  parked(limit: number): readonly ParkedEntry[]
  /**
   * Reads parked rows again, out of their raw values, under the contracts as they are now. What these take becomes a record of the
   * row, after one that says which parked record it mends (`redriveOf`). Between two transactions of the source.
   * @throws PARKED_UNKNOWN, REQUEST_INVALID where `set` names no column, NOT_READY while it does not stream, LOG_FULL
   */
  retryParked(request: ParkedRetry): Promise<ParkedRetried>
  /**
   * Waits until everything the source had committed up to `position` is durable, and gives the log position that then must
   * be applied to have seen it. On an idle source it makes the server show its progress.
   * @throws TOKEN_MALFORMED at once when `position` is not one of this technology; the signal's reason when aborted
   */
  reached(position: string, signal: AbortSignal): Promise<number>
  /** Checks a position's form without waiting. @throws TOKEN_MALFORMED */
  checkPosition(position: string): void
  /**
   * Starts, pauses, resumes or cancels a snapshot of tables that goes on beside streaming, and gives how it stands. Of a source
   * that has failed, `start` of all tables is the repair: it begins anew, and reads everything.
   * @throws TABLE_UNKNOWN, SNAPSHOT_INVALID, SNAPSHOT_RUNNING, SNAPSHOT_NOT_RUNNING, SNAPSHOT_NEEDED, NOT_READY
   */
  snapshot(command: SnapshotCommand): Promise<SnapshotProgress | null>
  readonly audits: SourceAudits
  /** Captured tables as they are now. */
  readonly tables: SourceTables
  /** Stops, closes connections, leaves slot and log consistent. */
  stop(): Promise<void>
  /** Stops, then removes slot and publication from the server. */
  drop(): Promise<DropReport>
}

/** A table's contract: its row schema and key columns, compiled. */
export const contractOfTable = (table: AnyTable): ObjectContract =>
  compileContract(table.name, 'table', table.row, table.key, table.upcasts)
