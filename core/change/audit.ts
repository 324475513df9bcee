// What an audit of a source is asked for, and what it says: its tables compared with their mirror at one position.
import type { JobStatus } from '../job.ts'

export interface AuditRequest {
  /** Names of tables in the database, as declared. Default: all captured ones. */
  readonly tables?: readonly string[]
  /** Rows read in a second, at most. Default: as many as come. */
  readonly rowsPerSecondMax?: number
  /** Reads rows again whose keys differ, so that the log has them as the database does. Default false. */
  readonly repair?: boolean
}

/** Rows of one key that are not equal. */
export interface AuditMismatch {
  /** As the key stands in URLs. */
  readonly key: string
  /** missing: the database has a row, the mirror none · extra: the other way round · differs: both have one */
  readonly kind: 'missing' | 'extra' | 'differs'
  /** Where it differs: names of the contract's columns. */
  readonly columns: readonly string[]
}

export interface TableAudit {
  readonly table: string
  /** The database's rows that the contract takes. */
  readonly rows: number
  readonly mirrorRows: number
  /** The database's rows that the contract refuses, which the log keeps as parked. They are not compared. */
  readonly parked: number
  /** Parts of the table, by a hash of the key, whose row counts and hashes were compared; and how many of them differ. */
  readonly chunks: number
  readonly chunksDiffering: number
  /** 16 hex digits: of the database's rows, whatever their order. */
  readonly hash: string
  readonly mirrorHash: string
  /** How many keys differ. */
  readonly mismatches: number
  /** The first of them, at most 1,000. */
  readonly keys: readonly AuditMismatch[]
}

export interface AuditReport {
  readonly equal: boolean
  /** The source's position at which both sides were compared. */
  readonly position: string
  readonly seconds: number
  readonly tables: readonly TableAudit[]
  /** How many keys were read again; null where that was not wanted, or none differed. */
  readonly repaired: number | null
}

export interface AuditProgress {
  readonly table: string
  /** Of all tables, read so far. */
  readonly rows: number
  readonly rowsEstimated: number
  readonly rowsPerSecond: number
}

export type AuditStatus = JobStatus<AuditReport, AuditProgress>

/** Audits of a source, one at a time. */
export interface SourceAudits {
  /**
   * Begins to compare tables with their mirror, while all goes on; `status` tells how it goes.
   * @throws NOT_READY, TABLE_UNKNOWN, OVERLOADED while another one runs, SHUTTING_DOWN
   */
  start(request: AuditRequest): AuditStatus
  status(): AuditStatus
  /** Ends a running one; false where none runs. */
  cancel(): boolean
}
