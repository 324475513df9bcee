// One shard: folds the log into rows, slice by slice, transaction by transaction. What it is asked for, it answers as of the
// end of a transaction. It knows nothing of reads over HTTP, of who else folds, or of why a slice ends where it does.
import {
  CONTROL_TOPIC,
  type Log,
  type LogBlock,
  type LogReader,
  type MainstemError,
  type RecordCursor,
} from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import type { RecordInfo } from '../handler-context.ts'
import type { Emitted } from '../publish/emissions.ts'
import { commitTimeOf, RecordFolder } from '../record-folder.ts'
import { StateMemory } from '../state/memory.ts'
import { FoldedView } from '../view.ts'
import { Completeness } from './completeness.ts'
import { type Scheduler, Turns } from './scheduler.ts'

/** Records folded between two looks at the clock. */
const RECORDS_PER_CLOCK_LOOK = 256
/** A transaction of more is large: it is folded and ended in turns, and what is read meanwhile is from before it. */
const LARGE_RECORDS = 1_024
/** Transactions of a slice whose lag is measured. */
const COMMITS_MAX = 1_000

export interface ShardOptions {
  readonly log: Pick<Log, 'read' | 'base'>
  readonly parts: ApplicationParts
  readonly scheduler: Scheduler
  /** Longest run without a yield, milliseconds. */
  readonly sliceMs: number
  readonly stateBytesMax?: number | undefined
}

/** Where a slice ended. */
export interface SliceEnd {
  /** Of the last whole transaction: what reads see. */
  readonly position: number
  /** Of the last block. */
  readonly scanned: number
  /** When sources committed what it made visible, microseconds since 1970: of transactions that did not wait for this process. */
  readonly commitTimesUs: readonly number[]
  /** What it took. */
  readonly ms: number
}

const NO_BLOCKS: readonly LogBlock[] = []

export class Shard {
  readonly #options: ShardOptions
  readonly #turns: Turns
  readonly #records: RecordFolder
  readonly views: readonly FoldedView[]
  readonly memory: StateMemory
  #complete = new Completeness()
  #position = 0
  #scanned = 0
  /** Lag is measured of transactions after it. */
  #measuredFrom = 0
  #commitTimesUs: number[] = []
  #reader: LogReader | undefined
  /** Blocks that have been read, and the next of them to be folded. */
  #blocks = NO_BLOCKS
  #next = 0
  #inTransaction = false
  /** Of the running transaction. */
  #large = false
  /** Whether rows are read between turns. */
  #serving = false
  #cutWaiters: (() => void)[] = []

  constructor(options: ShardOptions) {
    this.#options = options
    this.#turns = new Turns(options.scheduler, options.sliceMs)
    const info: RecordInfo = { position: 0, timeMs: 0 }
    this.memory = new StateMemory(options.stateBytesMax)
    this.views = options.parts.projections.map(definition => new FoldedView(definition, info, this.memory))
    this.#records = new RecordFolder(this.views, options.parts, info)
  }

  /**
   * Begins after a position; views that stand further on pass over what they have folded.
   * @param complete sources whose snapshot was complete there
   * @param measuredFrom position after which transactions are of this process's time
   * @param publishedUpTo of each projection that emits: what is caused up to there is published
   */
  begin(
    position: number,
    complete: Iterable<string>,
    measuredFrom: number,
    publishedUpTo: ReadonlyMap<string, number>,
  ): void {
    for (const { name, emissions } of this.views)
      emissions.publishedUpTo = publishedUpTo.get(name) ?? Number.POSITIVE_INFINITY
    this.#position = this.#scanned = position
    this.#complete = new Completeness(complete)
    this.#measuredFrom = measuredFrom
    this.#reader = this.#options.log.read(position)
  }

  /** Position of the last whole transaction. */
  get position(): number {
    return this.#position
  }

  get complete(): Completeness {
    return this.#complete
  }

  /** Of the log's base that is read. */
  get generation(): number {
    return (this.#reader ?? this.#options.log.base).generation
  }

  /** True between the first record of a transaction and its end: rows are in between then. */
  get inTransaction(): boolean {
    return this.#inTransaction
  }

  /** Resolves at the end of the running transaction, if there is one. The next may have begun when the caller's turn comes. */
  cut(): Promise<void> {
    if (!this.#inTransaction) return Promise.resolve()
    return new Promise(resolve => this.#cutWaiters.push(resolve))
  }

  /**
   * Takes what handlers have emitted, at the end of a slice or at a cut: of the transactions that have ended, and of a large one
   * what all its blocks so far but the last record caused.
   */
  takeEmissions(): readonly Emitted[] {
    const before = this.#inTransaction ? this.#scanned : Number.POSITIVE_INFINITY
    return this.views.flatMap(({ name, emissions }) => {
      const taken = emissions.take(before)
      return taken.length > 0 ? [{ projection: name, emissions: taken }] : []
    })
  }

  /**
   * Folds up to the first end of a block that is at `to` or beyond it; undefined when it was closed before.
   * @param serving whether rows are read meanwhile, and until the next call: a large transaction then leaves them as they were until its end
   */
  async run(to: number, serving: boolean): Promise<SliceEnd | undefined> {
    this.#serving = serving
    const turns = this.#turns
    const startedMs = turns.scheduler.nowMs()
    this.#commitTimesUs = []
    while (this.#scanned < to) {
      const block = this.#blocks[this.#next] ?? (await this.#read())
      if (block === undefined) return undefined
      this.#next++
      if (!this.#inTransaction) this.#beginTransaction(block)
      const cursor = block.records()
      while (!this.#fold(cursor, block)) await turns.next()
      this.#scanned = block.end
      if (block.last) {
        if (this.#large || this.#cutWaiters.length > 0) await this.#endInTurns(block)
        else this.#end(block)
      }
      if (turns.over) await turns.next()
    }
    if (this.#next === this.#blocks.length) {
      this.#blocks = NO_BLOCKS
      this.#next = 0
    }
    const ms = turns.scheduler.nowMs() - startedMs
    return { position: this.#position, scanned: this.#scanned, commitTimesUs: this.#commitTimesUs, ms }
  }

  async #read(): Promise<LogBlock | undefined> {
    this.#blocks = (await this.#reader?.next()) ?? NO_BLOCKS
    this.#next = 0
    return this.#blocks[0]
  }

  #beginTransaction({ last, count, end }: LogBlock): void {
    this.#inTransaction = true
    this.#large = !last || count > LARGE_RECORDS
    if (this.#large && this.#serving) for (const view of this.views) if (view.position < end) view.keepOld()
  }

  /** Folds records until the block ends (true) or the turn does (false). */
  #fold(cursor: RecordCursor, block: LogBlock): boolean {
    // Amidst a small transaction nobody may read: its rows have no copies.
    const inTurns = this.#large || !this.#serving
    const commitTimeMs = commitTimeOf(block)
    let left = RECORDS_PER_CLOCK_LOOK
    let done = true
    while (cursor.next()) {
      const folded = this.#records.fold(cursor, commitTimeMs)
      if (folded === 0 && cursor.topic.name === CONTROL_TOPIC) this.#complete.fold(cursor.after())
      left -= Math.max(1, folded)
      if (left > 0) continue
      if (inTurns && this.#turns.over) {
        done = false
        break
      }
      left = RECORDS_PER_CLOCK_LOOK
    }
    this.#records.flush()
    return done
  }

  #end(block: LogBlock): void {
    this.#records.endTransaction(block)
    this.#passed(block)
  }

  /** The same while others have their turns: what a read sees changes at once, between two of them. */
  async #endInTurns(block: LogBlock): Promise<void> {
    const views = this.views.filter(view => view.position < block.end)
    this.#records.beginEnd(block)
    for (const view of views) await this.#inTurns(view.endInTurns())
    for (const view of views) view.show(block.end)
    this.#passed(block)
    // Whoever waits for a cut gets it: without this turn the next transaction would be under way when they look.
    await this.#turns.next()
    for (const view of views) await this.#inTurns(view.releaseInTurns())
  }

  async #inTurns(work: Generator<void>): Promise<void> {
    for (const _ of work) if (this.#turns.over) await this.#turns.next()
  }

  #passed({ mark, count, end }: LogBlock): void {
    this.#complete.endTransaction()
    this.#position = end
    this.#inTransaction = false
    if (mark?.commitTimeUs !== undefined && !mark.snapshot && count > 0 && end > this.#measuredFrom) {
      // Not of those that waited for a snapshot.
      const measured = mark.commitTimeUs >= this.#complete.sinceUs(mark.source)
      if (measured && this.#commitTimesUs.length < COMMITS_MAX) this.#commitTimesUs.push(mark.commitTimeUs)
    }
    this.#wakeCutWaiters()
  }

  #wakeCutWaiters(): void {
    if (this.#cutWaiters.length > 0) for (const resolve of this.#cutWaiters.splice(0)) resolve()
  }

  /** Stops all views. A transaction that was cut short leaves rows in between: nobody may read them. */
  stopViews(error: MainstemError): void {
    for (const view of this.views) view.stop(error)
    this.#inTransaction = false
    this.#wakeCutWaiters()
  }

  /** Ends a slice that waits for the log. */
  close(): void {
    this.#reader?.close()
  }
}
