// Records that are folded together: taken from the log for a while, by the run of their lender, and then folded by each view in
// the order of the log. Variants of a topic, and topics that a view has in common, take turns in it: what a run saves is saved
// for them too.
import { type KeyCodec, type RecordCursor, type RowView, RUN_ROWS_MAX } from '../core/index.ts'
import type { Route } from './route.ts'
import type { FoldedView } from './view.ts'

/** What folds the records of a topic in runs. */
export interface TopicRuns {
  readonly chain: RunChain
  readonly direct: readonly Route[]
}

/** The run of one lender: records of one layout. */
export interface Lent {
  readonly view: RowView
  /** What folds its topic: each view by one route at most. */
  readonly routes: readonly Route[]
  readonly key: KeyCodec
}

/** Records `from … to` of a lender's run, which follow each other in the log. */
export interface Segment {
  lent: Lent
  from: number
  to: number
}

/** Bound of how often lenders take turns before what they lent is folded. */
const SEGMENTS_MAX = RUN_ROWS_MAX

export class RunChain {
  /** Views that fold any of its topics. */
  readonly views: FoldedView[] = []
  /** Lenders of what is not folded yet, in the order of their first records. */
  readonly #lents: Lent[] = []
  readonly #segments: Segment[] = []
  /** Segments that are in use, and the last of them. */
  #count = 0
  #last: Segment | undefined

  get empty(): boolean {
    return this.#count === 0
  }

  /** Takes the record at the cursor, and those that follow it alike. Gives how many they are. */
  take(cursor: RecordCursor, view: RowView, { direct }: TopicRuns, key: KeyCodec, timeMs: number): number {
    let segment = this.#last
    if (segment?.lent.view !== view) segment = this.#begin(view, direct, key, timeMs)
    let taken = view.source.count < RUN_ROWS_MAX ? cursor.lendRun() : 0
    if (taken === 0) {
      // Its run is full, or what follows stands elsewhere.
      this.flush(timeMs)
      segment = this.#begin(view, direct, key, timeMs)
      taken = cursor.lendRun()
    }
    segment.to = view.source.count
    return taken
  }

  #begin(view: RowView, routes: readonly Route[], key: KeyCodec, timeMs: number): Segment {
    if (this.#count === SEGMENTS_MAX) this.flush(timeMs)
    const { source } = view
    let lent = this.#lents.find(each => each.view === view)
    if (lent === undefined) {
      lent = { view, routes, key }
      this.#lents.push(lent)
      source.count = 0
    }
    const segment = this.#segments[this.#count] ?? { lent, from: 0, to: 0 }
    segment.lent = lent
    segment.from = segment.to = source.count
    this.#segments[this.#count++] = segment
    this.#last = segment
    return segment
  }

  /** Folds what was taken. @param timeMs of records without an event time */
  flush(timeMs: number): void {
    const count = this.#count
    if (count === 0) return
    const lents = this.#lents
    this.#count = 0
    this.#last = undefined
    const first = this.#segments[0]!.lent.view.source.positions[0]!
    for (const view of this.views) {
      if (view.position < first) view.foldRuns(lents, this.#segments, count, timeMs)
    }
    for (const { view } of lents) view.source.close()
    lents.length = 0
  }
}
