// What an engine is opened with, and what it tells of itself.
import type { ErrorReport, FileSystem, Log } from '../core/index.ts'
import type { ApplicationParts } from './application.ts'
import type { Savepoint } from './savepoint/savepoint-file.ts'
import type { Scheduler } from './shards/scheduler.ts'
import type { ViewPlan } from './start-plan.ts'

export type EngineEvent =
  | {
      /** What a start does with each view, told before it begins. */
      readonly event: 'start-plan'
      readonly views: readonly ViewPlan[]
      /** Positions of the log that are read, once for all views. */
      readonly records: number
      readonly estimatedSeconds: number
    }
  | { readonly event: 'checkpoint-started'; readonly position: number }
  | { readonly event: 'checkpoint-ended'; readonly position: number; readonly ms: number }
  | { readonly event: 'checkpoint-failed'; readonly message: string }
  /** A file of the newest checkpoint, or what names them, cannot be read: a plan of what is done instead follows. */
  | ({ readonly event: 'checkpoint-damaged' } & ErrorReport)
  | ({ readonly event: 'view-stopped'; readonly view: string } & ErrorReport)
  | { readonly event: 'rebuild-started'; readonly views: readonly string[]; readonly records: number }
  | { readonly event: 'rebuild-ended'; readonly records: number; readonly seconds: number }

export interface EngineOptions {
  readonly log: Log
  readonly parts: ApplicationParts
  /** Folder of the checkpoints. */
  readonly path: string
  /** Where that folder is. Default: the machine's files. */
  readonly fs?: FileSystem
  readonly fingerprint: string
  /** Milliseconds between checkpoints while anything changes. Default 1,000. */
  readonly checkpointIntervalMs?: number
  /** Longest run without a yield to the event loop, so that reads and sources stay alive; milliseconds, default 2. */
  readonly sliceMs?: number
  /**
   * Bytes that the rows of all views may take; a view that would go beyond stops with STATE_TOO_LARGE. Strings, nested values
   * and maps count by estimate, and may take three fifths of V8's heap. Default: three fifths of the memory of the machine or container.
   */
  readonly stateBytesMax?: number
  /** Views that fold what is left where the history of their topics was removed; others are stopped there. Default none. */
  readonly acceptHistoryGone?: readonly string[]
  /** Views that keep their checkpoint although their code changed. Default none. */
  readonly continueFrom?: readonly string[]
  /** What views begin with, in place of their checkpoints, which are given up. It is of this log, and not beyond its end. */
  readonly savepoint?: Savepoint
  readonly onEvent?: (event: EngineEvent) => void
  /** The clock of the log's append times, milliseconds since 1970: says when rows are due to go. Default: the system's. */
  readonly wallClockMs?: () => number
  /** Clock and turns. Default: the process's own. */
  readonly scheduler?: Scheduler
}
