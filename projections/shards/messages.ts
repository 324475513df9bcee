// What the coordinator and a shard say to each other where the shard is behind a channel: plain data.
//
// The coordinator speaks to all shards in the same order, and a shard does one thing after the other. So whatever it asks several
// of them between two slices is answered by all of them at the same cut, without a word more.
import type { Channel, ErrorReport } from '../../core/index.ts'
import type { LoadReport, LoadRequest } from '../checkpoint/member.ts'
import type { PartReport, PartRequest } from '../checkpoint/part.ts'
import type { RecordedChanges } from '../feed/recorder.ts'
import type { EntryRange } from '../indexes/entry-range.ts'
import type { FoundBytes } from '../indexes/range-read.ts'
import type { IndexFacts, IndexProgress } from '../indexes/view-indexes.ts'
import type { Replacement } from '../replay/replacement.ts'
import type { DeadLetterEntry } from '../skip/dead-letters.ts'
import type { KeyId } from '../state/keys.ts'
import type { ShardStart, SliceEnd } from './shard.ts'

export type ToShard =
  /** First of all. */
  | { readonly type: 'begin'; readonly start: ShardStart; readonly views: readonly ViewStart[] }
  /** Fold up to the first end of a block at `to` or beyond. */
  | { readonly type: 'run'; readonly to: number; readonly serving: boolean }
  /** Read rows at the cut of the last slice. */
  | ({ readonly type: 'read' } & RowsWanted)
  /** Find rows in an order, at the cut of the last slice. */
  | {
      readonly type: 'range'
      readonly id: number
      readonly view: number
      readonly range: EntryRange
      readonly most: number
    }
  /** Begin to read rows in an order as they are at the cut of the last slice; give the next of them; end. */
  | { readonly type: 'order'; readonly id: number; readonly view: number; readonly range: EntryRange }
  | { readonly type: 'order-next'; readonly id: number }
  | { readonly type: 'order-end'; readonly id: number }
  /** Give the dead letters of a view. */
  | { readonly type: 'letters'; readonly id: number; readonly view: number }
  /** Keep rows of these views as they are before they change; see `Folding`. */
  | { readonly type: 'keep'; readonly views: readonly string[] }
  /** Say with each slice what changed in rows of these views; see `Folding`. */
  | { readonly type: 'feed'; readonly views: readonly string[] }
  /** Take rows in the place of others, at the cut of the last slice. */
  | { readonly type: 'replace'; readonly replacements: readonly Replacement[] }
  /** A view has stopped elsewhere; without one, all stop. */
  | { readonly type: 'stop'; readonly view: string | undefined; readonly error: ErrorReport }
  | ToMember

/** What is asked of a shard for checkpoints. */
export type ToMember =
  /** Before `begin`. */
  | { readonly type: 'load'; readonly request: LoadRequest }
  /** Write the part of a checkpoint of the cut of the last slice. */
  | { readonly type: 'write'; readonly request: PartRequest }
  /** What was loaded is damaged: empty all views. */
  | { readonly type: 'reset' }

export type FromShard =
  /** A slice has been folded. */
  | {
      readonly type: 'at'
      readonly end: SliceEnd
      readonly views: readonly ViewFacts[]
      readonly nextExpiryMs: number
      /** Sources whose snapshots are complete, where that is not as it was. */
      readonly complete: readonly string[] | undefined
    }
  | ({ readonly type: 'rows' } & RowsRead)
  | ({ readonly type: 'found' } & RangeFound)
  | ({ readonly type: 'ordered' } & Omit<RangeFound, 'position'>)
  /** Its indexes are not as they were. */
  | { readonly type: 'facts'; readonly views: readonly ViewFacts[] }
  | { readonly type: 'letters'; readonly id: number; readonly letters: readonly DeadLetterEntry[] }
  /** It has begun, or has taken rows in the place of others. */
  | {
      readonly type: 'stands'
      readonly views: readonly ViewFacts[]
      readonly nextExpiryMs: number
      /** What taking rows has changed, of views that are fed. */
      readonly changes: readonly RecordedChanges[]
    }
  | FromMember
  /** It cannot go on. */
  | { readonly type: 'failed'; readonly error: ErrorReport }

/** What it answers. */
export type FromMember =
  | { readonly type: 'loaded'; readonly report: LoadReport; readonly error: undefined }
  | { readonly type: 'loaded'; readonly error: ErrorReport }
  | { readonly type: 'part'; readonly report: PartReport; readonly error: undefined }
  | { readonly type: 'part'; readonly error: ErrorReport }

/** Where a view begins. */
export interface ViewStart {
  readonly position: number
  readonly error: ErrorReport | undefined
}

/** How a shard's part of a view is. */
export interface ViewFacts {
  readonly rows: number
  readonly bytes: number
  readonly skipped: { readonly count: number; readonly total: number } | null
  /** Of the declared ones. */
  readonly indexes: readonly IndexFacts[]
  /** Why it has stopped, and up to where it is folded. */
  readonly stopped: { readonly error: ErrorReport; readonly position: number } | undefined
}

export interface RowsWanted {
  readonly id: number
  /** By place among the application's views. */
  readonly views: readonly number[]
  readonly keys: readonly KeyId[]
}

export interface RowsRead {
  readonly id: number
  /** Of the cut. */
  readonly position: number
  /** For each: a byte, 1 where the row is there, which then follows as the codec of the view's shown fields writes it. */
  readonly bytes: Uint8Array
}

/** What a shard has in a range; one of the last three. */
export interface RangeFound {
  readonly id: number
  /** Of the cut. */
  readonly position: number
  readonly found?: FoundBytes
  /** The order is not level. */
  readonly behind?: IndexProgress
  /** The order cannot be had. */
  readonly error?: ErrorReport
}

/** The coordinator's end, and the shard's. */
export type ShardChannel = Channel<ToShard, FromShard>
export type CoordinatorChannel = Channel<FromShard, ToShard>
