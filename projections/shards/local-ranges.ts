// Ranges of rows that are in this thread: at once where the order is level, otherwise in the turn in which it is.
import type { MainstemError } from '../../core/index.ts'
import type { LiveView } from '../engine.ts'
import type { EntryRange } from '../indexes/entry-range.ts'
import type { RowsOfShard } from '../indexes/merge.ts'
import { ORDER_TURN_MS, OrderAtCut } from '../indexes/order-at-cut.ts'
import {
  type FoundBytes,
  indexBuilding,
  pageOf,
  RANGE_TIMEOUT_MS,
  type RangeRead,
  type RangeRequest,
} from '../indexes/range-read.ts'
import type { IndexProgress } from '../indexes/view-indexes.ts'
import type { FoldedView } from '../view.ts'
import type { Scheduler } from './scheduler.ts'
import type { Shard } from './shard.ts'

export class LocalRanges {
  readonly #shard: Shard
  readonly #scheduler: Scheduler

  constructor(shard: Shard, scheduler: Scheduler) {
    this.#shard = shard
    this.#scheduler = scheduler
  }

  read(live: LiveView, request: RangeRequest): RangeRead | Promise<RangeRead> {
    const view = this.#shard.views.find(({ name }) => name === live.name)!
    const read = this.#try(live, view, request)
    return 'behind' in read ? this.#later(live, view, request, read.behind) : read
  }

  #try(
    live: LiveView,
    view: FoldedView,
    { range, most }: RangeRequest,
  ): RangeRead | { readonly behind: IndexProgress } {
    live.check()
    const found = this.#shard.indexes.find(view, range, most)
    if ('behind' in found) return found
    return { position: this.#shard.position, ...pageOf(view, found), final: live.final }
  }

  async #later(live: LiveView, view: FoldedView, request: RangeRequest, first: IndexProgress): Promise<RangeRead> {
    const { signal, timeoutMs = RANGE_TIMEOUT_MS, range } = request
    let behind = first
    const endMs = this.#scheduler.nowMs() + timeoutMs
    for (;;) {
      signal?.throwIfAborted()
      const { promise, resolve, reject } = Promise.withResolvers<RangeRead | { readonly behind: IndexProgress }>()
      // Read in the turn in which it is level.
      const level = () => {
        try {
          resolve(this.#try(live, view, request))
        } catch (error) {
          reject(error)
        }
      }
      const takeBack = this.#shard.indexes.whenLevel(view, range.index, level, reject)
      const stale = () =>
        reject(indexBuilding(view, range.index, this.#shard.indexes.progress(view, range.index) ?? behind))
      const cancel = this.#scheduler.after(Math.max(0, endMs - this.#scheduler.nowMs()), stale)
      const aborted = () => reject(signal?.reason as MainstemError)
      signal?.addEventListener('abort', aborted, { once: true })
      try {
        const read = await promise
        if (!('behind' in read)) return read
        behind = read.behind
      } finally {
        takeBack()
        cancel()
        signal?.removeEventListener('abort', aborted)
      }
    }
  }

  /** Rows in an order as they are at the cut that is now. */
  open(view: FoldedView, range: EntryRange): RowsOfShard {
    const order = new OrderAtCut(view, this.#shard.indexes, range)
    return { next: () => this.#next(view, range, order), end: () => order.end() }
  }

  async #next(view: FoldedView, { index }: EntryRange, order: OrderAtCut): Promise<FoundBytes> {
    const scheduler = this.#scheduler
    for (;;) {
      await scheduler.yield()
      const endMs = scheduler.nowMs() + ORDER_TURN_MS
      const found = order.next(() => scheduler.nowMs() >= endMs)
      if (!('behind' in found)) return found
      await new Promise<void>((resolve, reject) => this.#shard.indexes.whenLevel(view, index, resolve, reject))
    }
  }
}
