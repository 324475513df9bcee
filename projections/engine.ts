// The port by which reads and operations see projections, however many shards there are.
import type { AnyRow, ErrorReport, KeyCodec, MainstemError, ObjectType } from '../core/index.ts'
import type { IndexShape } from './indexes/index-shape.ts'
import type { RangeRead, RangeRequest } from './indexes/range-read.ts'
import type { IndexFacts } from './indexes/view-indexes.ts'
import type { Past } from './past/past.ts'
import type { Policy } from './policy.ts'
import type { Replays } from './replay/replayer.ts'
import type { Savepoints } from './savepoint/savepoints.ts'
import type { DeadLetterDesk } from './skip/redrive.ts'
import type { ContinuedFrom, ViewPlan } from './start-plan.ts'
import type { Verifier } from './verifier.ts'

export type ViewState = 'live' | 'snapshotting' | 'catching-up' | 'rebuilding' | 'stopped'

/** How far the catching up that a start began with is. One scan serves all views, so all that catch up have the same. */
export interface Progress {
  /** Position up to which the log is folded. */
  readonly done: number
  /** The log's end when it started. */
  readonly total: number
  /** Over about the last second; 0 in the first one. */
  readonly recordsPerSecond: number
  /** At that rate; null while it is not known. */
  readonly secondsLeft: number | null
}

export interface ViewCheckpointStatus {
  readonly position: number
  readonly rows: number
  /** Of all rows, in no order, however many shards hold them: 16 hex digits. */
  readonly hash: string
}

/** How a declared index is. */
export interface IndexStatus extends IndexFacts {
  readonly fields: readonly string[]
  /** `failed`: it cannot be had; the view goes on without it. */
  readonly state: 'building' | 'ready' | 'failed'
}

export interface ViewStatus {
  readonly name: string
  readonly status: ViewState
  /** What it waits for, in words, when it is not live, or cannot publish what it emits. */
  readonly waitingFor: string | null
  readonly rows: number
  /** Bytes of memory that its rows and their indexes take; strings and nested values by estimate. */
  readonly stateBytes: number
  /** Position of the last record applied. */
  readonly position: number
  readonly fingerprint: string
  /** The topics and views it folds. */
  readonly inputs: readonly string[]
  /** Those that are declared. */
  readonly indexes: readonly IndexStatus[]
  readonly progress: Progress | null
  /** What the start did with it. */
  readonly plan: Omit<ViewPlan, 'view'>
  /** Where `continueFrom` handed it from one code to another, oldest first: below, it is what the former code made. */
  readonly continued: readonly ContinuedFrom[]
  /** Calls that were skipped: how many wait to be called again, and how many there were. Null where the first one stops the view. */
  readonly deadLetters: { readonly count: number; readonly total: number } | null
  /** What its newest checkpoint holds; null where it has none. */
  readonly checkpoint: ViewCheckpointStatus | null
  readonly error: ErrorReport | null
}

/** One live view. */
export interface LiveView {
  readonly name: string
  readonly key: KeyCodec
  readonly value: ObjectType
  /** Those that are declared. */
  readonly indexes: readonly IndexShape[]
  /** The sources whose changes reach it, through other views too. */
  readonly sources: readonly string[]
  /** Which rows a client may see; undefined: all. */
  readonly policy: Policy | undefined
  status(): ViewStatus
  /** @throws VIEW_STOPPED, VIEW_REBUILDING: why it cannot be read now */
  check(): void
  /** False while a source's snapshot, as far as it is applied, is not complete. */
  readonly final: boolean
}

/** A view whose rows are in this thread. */
export interface LocalView extends LiveView {
  /** The row as of `engine.position`, not to be kept across a yield; undefined when absent. @throws VIEW_STOPPED, VIEW_REBUILDING */
  get(key: unknown): AnyRow | undefined
}

/** A row with its key. */
export interface ViewRow {
  readonly key: unknown
  readonly value: AnyRow
}

/** A key of a view to be read. */
export interface RowRequest {
  readonly view: string
  readonly key: unknown
}

/** What was asked for, as of one cut. */
export interface CutRead {
  /** Position of the cut; no earlier one than any answer before had. */
  readonly position: number
  /** For each request its row, undefined where there is none. Not to be kept across a yield. */
  readonly rows: readonly (AnyRow | undefined)[]
  /** False while a snapshot of a source of the views is not complete, as of the cut: rows may be missing. */
  readonly final: boolean
}

/** What became of a row in a transaction, on balance. */
export interface RowChange {
  /** End of the transaction. */
  readonly position: number
  /** Bytes of its key, whose order is that of keys, as latin1 text. */
  readonly key: string
  /** The row as it was and as it is, as the row codec of the view's shown fields writes it; undefined where it was not, or is not there. */
  readonly before: Uint8Array | undefined
  readonly after: Uint8Array | undefined
}

export interface ViewFollower {
  /**
   * The views have come to a cut. Called for each, with the changes since the one before, in the order of the log and within a
   * transaction in that of keys; a replay's exchange of rows comes as changes at the cut where it happens.
   */
  changed(changes: readonly RowChange[], position: number): void
  /** The same, but the changes were too many to be told: what was known of the view's rows is out of date. */
  lost(position: number): void
  /** The view has stopped: nothing comes any more. */
  ended(error: MainstemError): void
}

export interface ViewFollowing {
  /** The cut from which on changes are told. */
  readonly position: number
  end(): void
}

export interface ChangeFeeds {
  /**
   * Tells of all changes of a view's rows from a cut on, at which this resolves: a read that is asked for afterwards is of that
   * cut or a later one. A view that nobody follows pays nothing for it.
   * @throws VIEW_UNKNOWN, VIEW_STOPPED, SHUTTING_DOWN
   */
  follow(view: string, follower: ViewFollower): Promise<ViewFollowing>
}

export interface EngineStatus {
  readonly position: number
  readonly logEnd: number
  readonly checkpointPosition: number
  readonly recordsPerSecond: number
  /** Null when the log's end as the start found it is reached. */
  readonly progress: Progress | null
  /** From a source's commit to visible in every view, the last seconds' transactions; null before the first. */
  readonly lag: { readonly p50Ms: number; readonly p99Ms: number; readonly count: number } | null
}

export interface Engine {
  readonly views: ReadonlyMap<string, LiveView>
  /** Position of the last record of the last whole transaction applied. */
  readonly position: number
  /**
   * Reads rows of one cut: between two transactions, also amidst a large one. At once, without a promise, where they are in this thread.
   * @throws VIEW_UNKNOWN, VIEW_STOPPED, VIEW_REBUILDING
   */
  read(requests: readonly RowRequest[]): CutRead | Promise<CutRead>
  /**
   * Reads rows of a view in an order, as of one cut. At once where they are in this thread and the order is level; otherwise it waits
   * until it is. @throws as `read`; INDEX_BUILDING when the time is up; why the index cannot be had
   */
  range(request: RangeRequest): RangeRead | Promise<RangeRead>
  /** Resolves when every record up to `position` is applied. @throws the signal's reason when aborted */
  waitFor(position: number, signal: AbortSignal): Promise<void>
  status(): EngineStatus
  /** From a source's commit to visible in every view, since the start. */
  lagTotal(): EngineStatus['lag']
  /** What becomes of views' rows, for those who follow them. */
  readonly changes: ChangeFeeds
  /** Folds the log anew beside the live views and compares. */
  readonly verifier: Pick<Verifier, 'start' | 'status'>
  /** Reads views as they were. */
  readonly past: Past
  /** What views have skipped. */
  readonly deadLetters: DeadLetterDesk
  /** Folds a view anew beside the live one, and exchanges rows that differ. */
  readonly replayer: Replays
  /** What stands alone and lasts: all rows of all views at a cut, by name. */
  readonly savepoints: Pick<Savepoints, 'create' | 'start' | 'status' | 'list' | 'get' | 'remove'>
  /** Writes a checkpoint now. @throws CHECKPOINT_FAILED: the last one stands, views go on, and the next one is of all rows */
  checkpoint(): Promise<void>
  stop(): Promise<void>
}

/** An engine whose one shard runs in this thread. */
export interface LocalEngine extends Engine {
  readonly views: ReadonlyMap<string, LocalView>
  read(requests: readonly RowRequest[]): CutRead
}
