// The indexes of a shard's views: when they are built and kept up, and reads by them.
// Folding waits for what it changes only where somebody reads by an index: then indexes are level at each slice's end. Otherwise rows
// wait, and are applied beside it when they are many. All of it is done in turns. While views are made anew nobody may read, and nothing is built.
import { fail, type MainstemError } from '../../core/index.ts'
import { type Scheduler, Turns } from '../shards/scheduler.ts'
import type { StateMemory } from '../state/memory.ts'
import type { FoldedView } from '../view.ts'
import type { EntryRange } from './entry-range.ts'
import { foundIn, type RowsFound } from './rows-found.ts'
import { type IndexFacts, type IndexProgress, ViewIndexes } from './view-indexes.ts'

/** Rows that a read applies at once, before it answers: a part of a millisecond. */
const READ_ROWS_MAX = 256
/** Rows that may wait while nobody reads by an index: some 50 ms of work, in turns, for the first who does. */
const WAITING_ROWS_MAX = 32_768
/** Somebody reads by indexes of a view who has done so within this time. */
const READ_LATELY_MS = 1_000
/** Rows between two looks at the clock. */
const ROWS_PER_LOOK = 16

/** An order is not level: it is being built, or rows wait for it. */
export interface Behind {
  readonly behind: IndexProgress
}

interface Waiter {
  readonly view: FoldedView
  readonly index: number
  readonly level: () => void
  readonly failed: (error: MainstemError) => void
}

export interface ShardIndexesParts {
  readonly views: readonly FoldedView[]
  readonly memory: StateMemory
  readonly scheduler: Scheduler
  readonly sliceMs: number
}

export class ShardIndexes {
  readonly #views: ReadonlyMap<FoldedView, ViewIndexes>
  readonly #scheduler: Scheduler
  readonly #turns: Turns
  readonly #readMs = new Map<ViewIndexes, number>()
  readonly #waiters = new Set<Waiter>()
  #serving = false
  /** Called when work in the background has ended: indexes are not as they were. */
  onWorked: () => void = () => {}
  #closed = false
  #working = false

  constructor({ views, memory, scheduler, sliceMs }: ShardIndexesParts) {
    this.#scheduler = scheduler
    this.#turns = new Turns(scheduler, sliceMs)
    this.#views = new Map(views.map(view => [view, new ViewIndexes(view, memory)]))
  }

  /** Rows may be read from now on, or no more. */
  serve(serving: boolean): void {
    if (serving === this.#serving) return
    this.#serving = serving
    if (!serving) return
    for (const indexes of this.#views.values()) indexes.begin()
    this.#workOn()
  }

  /** After a slice: applies what its rows have become, where somebody reads them by an index. */
  keepUp(): Promise<void> | undefined {
    if (!this.#serving) return undefined
    this.#workOn()
    const due = [...this.#views.values()].filter(indexes => this.#isDue(indexes))
    return due.length > 0 ? this.#keepUp(due) : undefined
  }

  /** Folding waits for an index where somebody reads by it. */
  #isDue(indexes: ViewIndexes): boolean {
    if (indexes.waiting === 0 || indexes.building) return false
    const readMs = this.#readMs.get(indexes)
    return readMs !== undefined && this.#scheduler.nowMs() - readMs < READ_LATELY_MS
  }

  async #keepUp(due: readonly ViewIndexes[]): Promise<void> {
    for (const indexes of due) await this.#applyAll(indexes)
    this.#wakeLevel()
  }

  async #applyAll(indexes: ViewIndexes): Promise<void> {
    while (indexes.waiting > 0) {
      for (let n = 0; n < ROWS_PER_LOOK && indexes.step(); n++);
      if (this.#turns.over) await this.#turns.next()
    }
  }

  /** Works in the background for as long as something is built, somebody waits, or too many rows do. */
  #workOn(): void {
    if (this.#working || this.#closed || !this.#serving || !this.#hasWork) return
    this.#working = true
    void this.#work().finally(() => {
      this.#working = false
      if (!this.#closed) this.onWorked()
    })
  }

  get #hasWork(): boolean {
    if (this.#waiters.size > 0) return true
    for (const indexes of this.#views.values()) if (wantsWork(indexes)) return true
    return false
  }

  async #work(): Promise<void> {
    while (!this.#closed && this.#serving && this.#hasWork) {
      await this.#turns.next()
      let left = true
      while (left && !this.#turns.over) left = this.#stepAny()
      this.#wakeLevel()
    }
  }

  #stepAny(): boolean {
    let some = false
    for (const [view, indexes] of this.#views) {
      if (view.error || !(wantsWork(indexes) || this.#isAwaited(view))) continue
      for (let n = 0; n < ROWS_PER_LOOK && indexes.step(); n++) some = true
    }
    return some
  }

  #isAwaited(view: FoldedView): boolean {
    for (const waiter of this.#waiters) if (waiter.view === view) return true
    return false
  }

  #wakeLevel(): void {
    for (const waiter of this.#waiters) {
      const { view, index, level, failed } = waiter
      const indexes = this.#views.get(view)!
      try {
        indexes.use(index)
      } catch (error) {
        this.#waiters.delete(waiter)
        failed(error as MainstemError)
        continue
      }
      if (!view.error && (indexes.waiting > 0 || indexes.progress(index) !== undefined)) continue
      this.#waiters.delete(waiter)
      level()
    }
  }

  /**
   * Looks for rows in an order, as they are for readers now; what is found is good until the next yield.
   * @param most rows to give @throws why the order cannot be had
   */
  find(view: FoldedView, range: EntryRange, most: number): RowsFound | Behind {
    const { index } = range
    const indexes = this.#views.get(view)!
    indexes.use(index)
    this.#readMs.set(indexes, this.#scheduler.nowMs())
    for (let n = 0; n < READ_ROWS_MAX && (indexes.waiting > 0 || indexes.progress(index)) && indexes.step(); n++);
    const order = indexes.use(index)
    const behind = this.progress(view, index)
    if (behind) {
      this.#workOn()
      return { behind }
    }
    return foundIn(order, range, most)
  }

  /** Calls back, in the turn in which an order is level. @returns what takes that back */
  whenLevel(view: FoldedView, index: number, level: () => void, failed: (error: MainstemError) => void): () => void {
    const waiter: Waiter = { view, index, level, failed }
    this.#waiters.add(waiter)
    this.#workOn()
    return () => void this.#waiters.delete(waiter)
  }

  /** How far an order is that is being built, or for which rows wait; undefined where it is level. */
  progress(view: FoldedView, index: number): IndexProgress | undefined {
    const indexes = this.#views.get(view)!
    return indexes.progress(index) ?? (indexes.waiting > 0 ? waitingOf(indexes, view) : undefined)
  }

  facts(view: FoldedView): readonly IndexFacts[] {
    return this.#views.get(view)!.facts()
  }

  bytes(view: FoldedView): number {
    return this.#views.get(view)!.bytes
  }

  close(): void {
    this.#closed = true
    for (const { failed } of this.#waiters) failed(fail('SHUTTING_DOWN', 'the application is shutting down'))
    this.#waiters.clear()
  }
}

const wantsWork = (indexes: ViewIndexes): boolean => indexes.building || indexes.waiting > WAITING_ROWS_MAX

const waitingOf = ({ waiting }: ViewIndexes, { size }: FoldedView): IndexProgress => ({
  done: Math.max(0, size - waiting),
  total: size,
})
