// One pass over the blocks of the log: folds their records into some of the views, and ends their transactions.
import { CONTROL_TOPIC, type LogBlock, type RecordCursor } from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import type { RecordInfo } from '../handler-context.ts'
import { commitTimeOf, RecordFolder } from '../record-folder.ts'
import type { FoldedView } from '../view.ts'
import type { Completeness } from './completeness.ts'
import type { Turns } from './scheduler.ts'

/** Records folded between two looks at the clock. */
const RECORDS_PER_CLOCK_LOOK = 256
/** A transaction of more is large: it is folded and ended in turns, and what is read meanwhile is from before it. */
const LARGE_RECORDS = 1_024

/** Who reads rows while they are folded: nobody, those whose turn comes between slices, or those too whose turn comes within one. */
export type Readers = 'none' | 'between-slices' | 'in-turns'

export interface PassOptions {
  readonly views: readonly FoldedView[]
  readonly parts: ApplicationParts
  readonly info: RecordInfo
  readonly turns: Turns
  /** Learns of sources' snapshots; of several passes over the same blocks the first one's. */
  readonly complete: Completeness | undefined
}

export class Pass {
  readonly views: readonly FoldedView[]
  readonly #turns: Turns
  readonly #complete: Completeness | undefined
  readonly #records: RecordFolder
  #inTransaction = false
  /** Of the running transaction. */
  #large = false
  #inTurns = true

  constructor({ views, parts, info, turns, complete }: PassOptions) {
    this.views = views
    this.#turns = turns
    this.#complete = complete
    this.#records = new RecordFolder(views, parts, info)
  }

  /** Whether the running transaction, or the last one, is to end by `endInTurns`. */
  get large(): boolean {
    return this.#large
  }

  /** Folds the records of a block; others run meanwhile only where nobody of them would see rows amidst a transaction. */
  fold(block: LogBlock, readers: Readers): Promise<void> | undefined {
    if (!this.#inTransaction) this.#begin(block, readers)
    this.#inTurns = this.#large || readers !== 'in-turns'
    const cursor = block.records()
    return this.#foldOn(cursor, block) ? undefined : this.#foldInTurns(cursor, block)
  }

  #begin(block: LogBlock, readers: Readers): void {
    const { last, count, end } = block
    this.#inTransaction = true
    this.#large = !last || count > LARGE_RECORDS
    const seen = readers === 'in-turns' ? this.#large : readers === 'between-slices' && !last
    if (seen) for (const view of this.views) if (view.position < end) view.keepOld()
    this.#records.beginTransaction(block)
  }

  async #foldInTurns(cursor: RecordCursor, block: LogBlock): Promise<void> {
    do await this.#turns.next()
    while (!this.#foldOn(cursor, block))
  }

  /** Folds records until the block ends (true) or the turn does (false). */
  #foldOn(cursor: RecordCursor, block: LogBlock): boolean {
    const commitTimeMs = commitTimeOf(block)
    let left = RECORDS_PER_CLOCK_LOOK
    let done = true
    while (cursor.next()) {
      const folded = this.#records.fold(cursor, commitTimeMs)
      if (folded === 0 && cursor.topic.name === CONTROL_TOPIC) this.#complete?.fold(cursor.after(), cursor.position)
      left -= Math.max(1, folded)
      if (left > 0) continue
      if (this.#inTurns && this.#turns.over) {
        done = false
        break
      }
      left = RECORDS_PER_CLOCK_LOOK
    }
    this.#records.flush()
    return done
  }

  /** Sets what handlers of changes are told, at the end of the transaction whose last block this is. */
  beginEnd(block: LogBlock): void {
    this.#records.beginEnd(block)
  }

  /** Ends a transaction. */
  end(block: LogBlock): void {
    this.#records.endTransaction(block)
    this.#inTransaction = false
  }

  /** The same while others have their turns: what a read sees changes at once, between two of them. */
  async endInTurns(block: LogBlock, atOnce: () => void): Promise<void> {
    const views = this.views.filter(view => view.position < block.end)
    this.#records.beginEnd(block)
    for (const view of views) await this.#inTurnsOf(view.endInTurns())
    for (const view of views) view.show(block.end)
    this.#inTransaction = false
    atOnce()
    // Whoever waits for a cut gets it: without this turn the next transaction would be under way when they look.
    await this.#turns.next()
    for (const view of views) await this.#inTurnsOf(view.releaseInTurns())
  }

  async #inTurnsOf(work: Generator<void>): Promise<void> {
    for (const _ of work) if (this.#turns.over) await this.#turns.next()
  }
}
