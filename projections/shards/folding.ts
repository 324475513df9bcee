// The port by which the coordinator drives what folds: one shard in this thread, or several behind channels.
import type { MainstemError } from '../../core/index.ts'
import type { CheckpointMember } from '../checkpoint/member.ts'
import type { EngineOptions } from '../engine-options.ts'
import type { RecordedChanges } from '../feed/recorder.ts'
import type { IndexFacts } from '../indexes/view-indexes.ts'
import type { Refolded } from '../replay/replacement.ts'
import type { DeadLetterEntry } from '../skip/dead-letters.ts'
import type { FoldedView } from '../view.ts'
import type { ShardStart, SliceEnd } from './shard.ts'

export interface Folding {
  /** Of the application, in its order; with rows where those are in this thread. */
  readonly views: readonly FoldedView[]
  /** Slices that may be asked for before the first of them has ended: more than one where asking takes a while. */
  readonly slicesAhead: number
  /** Of the last transaction that everybody has folded. */
  readonly position: number
  /** Whether a source's snapshot is complete, as of that position. */
  isComplete(source: string): boolean
  /** Those whose snapshots are. */
  readonly completeSources: readonly string[]
  /** Of the log's base from which views were folded. */
  readonly generation: number
  /** Bytes that a view's rows and indexes take, everywhere. */
  stateBytes(view: FoldedView): number
  /** How the declared indexes of a view are, everywhere; in the order of their declaration. */
  indexesOf(view: FoldedView): readonly IndexFacts[]
  /** When the next row of a view with a `ttl` is due to go, by append time; Infinity where none is. */
  readonly nextExpiryMs: number
  /** Calls of a view that were skipped, everywhere; null where it skips none. */
  skipped(view: FoldedView): { readonly count: number; readonly total: number } | null
  /** The same as they are listed, in the order of the log. */
  deadLetters(view: FoldedView): Promise<readonly DeadLetterEntry[]>
  /** From now on, which is a cut, rows of these views are kept as they are before they change, in the place of those kept so far. */
  keepChanged(views: readonly string[]): void
  /**
   * Puts rows and dead letters of views that were folded anew in the place of these, at a cut, and puts those back that were kept.
   * A view that cannot take them stops. Resolves when it is done everywhere, with what that changed in rows of views that are fed; what
   * is asked for meanwhile comes after it.
   */
  replace(refolded: readonly Refolded[]): Promise<readonly RecordedChanges[]>
  /** From now on, which is a cut, slices end with the net changes of these views' rows, and of no others. */
  feed(views: readonly string[]): void
  /** Whether it stands amidst a transaction, of which reads see nothing. */
  readonly inTransaction: boolean
  /** Resolves, where that takes a while, when it is known how the views stand. */
  begin(start: ShardStart): Promise<void> | void
  /**
   * Folds up to the first end of a block that is at `to` or beyond it, or as far as it came when it was halted.
   * @param serving whether rows are read meanwhile, and until the next call
   */
  run(to: number, serving: boolean): Promise<SliceEnd>
  stopView(view: FoldedView, error: MainstemError): void
  stopViews(error: MainstemError): void
  /** Lets slices under way end soon; none is asked for any more. */
  halt(): void
  close(): Promise<void>
}

/** What a coordinator works with. */
export interface CoordinatorParts {
  readonly options: EngineOptions
  readonly folding: Folding
  /** What shards do for checkpoints. */
  readonly members: readonly CheckpointMember[]
  /** Resolves when the disk of checkpoints is not far behind, where shards do not see to that themselves. */
  readonly room?: () => Promise<void> | undefined
}
