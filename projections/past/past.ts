// The port by which the past of views is read: rows as of a position, a time or a savepoint, and the records that made them.
import type { AnyRow, LogTopic, RecordOp, SourceMark } from '../../core/index.ts'
import type { CutRead, RowRequest, ViewRow } from '../engine.ts'
import type { EntryRange } from '../indexes/entry-range.ts'
import type { RangeRead, RangeRequest } from '../indexes/range-read.ts'

/** A place in the past. */
export type At =
  | { readonly position: number }
  /** Append time, milliseconds since 1970: the log as it was then. */
  | { readonly timeMs: number }
  | { readonly savepoint: string }

export interface PastOptions {
  /** Ends the work when nobody waits for it any more. */
  readonly signal?: AbortSignal | undefined
}

/** What holds for everything that is read of one cut. */
export interface AtCut {
  /** The greatest end of a transaction at or before what was asked for. */
  readonly position: number
  /** Whether the snapshots of all sources that reach the views were complete there. */
  readonly final: boolean
}

/** A record that went to a key, and what it did to its row. */
export interface LineageStep {
  readonly position: number
  readonly topic: LogTopic
  readonly op: RecordOp
  /** The record: the row before (update, delete) and after (insert, update), or the event as `after`. */
  readonly record: { readonly before: AnyRow | null; readonly after: AnyRow | null }
  readonly appendTimeMs: number
  readonly mark: SourceMark | undefined
  /** Its place in its transaction, from 1; null where history was removed. */
  readonly sequence: number | null
  /** The row of the view before and after the record; null where there was none. */
  readonly before: AnyRow | null
  readonly after: AnyRow | null
}

export interface LineageOptions extends PastOptions {
  /** Most steps to give. */
  readonly limit: number
  /** Only of records before this position. */
  readonly before?: number | undefined
  /** Only those that changed this field. */
  readonly field?: string | undefined
  /** Default: the engine's position. */
  readonly at?: At | undefined
}

export interface Lineage extends AtCut {
  /** Newest first. What reaches the key through another view does so at the end of its transaction: at the last of its records. */
  readonly steps: readonly LineageStep[]
  /** Whether there are older ones: before the position of the last step. */
  readonly more: boolean
}

/** All rows of a view at one cut, in no order, some at a time. */
export interface ViewRows extends AtCut, AsyncIterable<readonly ViewRow[]> {
  readonly rows: number
  /** Ends it before all was read. */
  close(): void
}

/** Rows of a view in an order at one cut, some at a time. */
export interface RangeRows extends AtCut, AsyncIterable<readonly ViewRow[]> {
  /** Ends it before all was read. */
  close(): void
}

export interface Past {
  /**
   * Rows as they were.
   * @throws AT_AHEAD, AT_GONE, AT_TOO_FAR, SAVEPOINT_UNKNOWN, STATE_TOO_LARGE, VIEW_UNKNOWN, VIEW_STOPPED, OVERLOADED, SHUTTING_DOWN
   */
  read(requests: readonly RowRequest[], at: At, options?: PastOptions): Promise<CutRead>
  /** The records that made a row. @throws as `read` */
  lineage(view: string, key: unknown, options: LineageOptions): Promise<Lineage>
  /** The first rows of a range, as they were. @throws as `read` */
  range(request: RangeRequest, at: At): Promise<RangeRead>
  /**
   * All rows of a range: as they are now, where `at` is undefined. Then views go on meanwhile, and what changes before its turn comes is held.
   * @throws as `read`; of the present VIEW_REBUILDING, and while it is read OVERLOADED where too much would have to be held
   */
  rangeRows(view: string, range: EntryRange, at: At | undefined, options?: PastOptions): Promise<RangeRows>
  /** All rows of a view: as they are now, where `at` is undefined. @throws as `rangeRows` */
  rows(view: string, at: At | undefined, options?: PastOptions): Promise<ViewRows>
}
