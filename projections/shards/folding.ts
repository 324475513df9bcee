// The port by which the coordinator drives what folds: one shard in this thread, or several behind channels.
import type { MainstemError } from '../../core/index.ts'
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
  /** Bytes that a view's rows take, everywhere. */
  stateBytes(view: FoldedView): number
  /** When the next row of a view with a `ttl` is due to go, by append time; Infinity where none is. */
  readonly nextExpiryMs: number
  /** Calls of a view that were skipped, everywhere; null where it skips none. */
  skipped(view: FoldedView): { readonly count: number; readonly total: number } | null
  /** The same as they are listed, in the order of the log. */
  deadLetters(view: FoldedView): Promise<readonly DeadLetterEntry[]>
  /** Whether it stands amidst a transaction, of which reads see nothing. */
  readonly inTransaction: boolean
  begin(start: ShardStart): void
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
