// A second fold of some views, or of some keys of them, over a part of the log: by the same definitions, rows and code as the
// live ones, in memory of its own. What it holds at a cut is what the live views held there.
import { fail, type Log, type LogBlock, type RecordCursor } from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import type { RecordInfo } from '../handler-context.ts'
import type { ProjectionDefinition } from '../projection.ts'
import { commitTimeOf, RecordFolder } from '../record-folder.ts'
import type { StateMemory } from '../state/memory.ts'
import { FoldedView } from '../view.ts'
import { connectViews } from '../view-graph.ts'
import { atTooFar } from './errors.ts'
import type { Pace } from './pace.ts'
import { type RecordVisitor, readRecordsAt } from './records-at.ts'

/** Records after which rows that left are let go. */
const RECORDS_PER_DRAIN = 8_192

/** What is told of an evaluation of some keys: of each record, and of each end of a transaction, once it has been folded. */
export interface EvaluationObserver {
  /** Name of the view that it observes. */
  readonly view: string
  begin(view: FoldedView): void
  /** A record at `position`, or a row of another view, goes to a key of a view. @param on number of the `.on` by which it does */
  goes(view: string, key: unknown, on: number, inputKey: unknown, position: number): void
  folded(cursor: RecordCursor, block: LogBlock): void
  ended(): void
}

export class Evaluation {
  readonly views: ReadonlyMap<string, FoldedView>
  readonly info: RecordInfo = { position: 0, timeMs: 0 }
  readonly #log: Log
  readonly #records: RecordFolder
  readonly #pace: Pace
  /** Whether all that was folded was folded at positions, so that an observer was told of it. */
  observed = true
  #position: number
  #sinceDrain = 0

  /**
   * @param definitions each after those that it folds
   * @param from position of what the views hold when folding begins
   */
  constructor(
    definitions: readonly ProjectionDefinition[],
    parts: ApplicationParts,
    { log, memory, pace, from = 0 }: { log: Log; memory: StateMemory; pace: Pace; from?: number },
  ) {
    const views = definitions.map(definition => new FoldedView(definition, this.info, memory))
    connectViews(views)
    this.#records = new RecordFolder(views, { ...parts, projections: definitions }, this.info)
    this.views = new Map(views.map(view => [view.name, view]))
    this.#log = log
    this.#pace = pace
    this.#position = from
    for (const view of views) view.position = from
  }

  /** Folds all records up to a cut. @throws AT_TOO_FAR beyond `most` records, STATE_TOO_LARGE, VIEW_STOPPED as the live view did */
  async foldTo(cut: number, most: number): Promise<void> {
    if (cut - this.#position > most) throw atTooFar(cut - this.#position, most)
    this.observed = false
    const reader = this.#log.read(this.#position)
    try {
      while (this.#position < cut) {
        const blocks = await reader.ready()
        if (blocks.length === 0) break
        for (const block of blocks) {
          if (block.end > cut || this.#position >= cut) break
          await this.#foldBlock(block)
        }
        this.#check()
      }
    } finally {
      reader.close()
    }
  }

  async #foldBlock(block: LogBlock): Promise<void> {
    await this.#records.foldBlock(block, () => this.#turn())
    if (block.last) this.#endTransaction(block, block.end - this.#position)
    await this.#turn()
  }

  async #turn(): Promise<void> {
    if (this.#pace.due) await this.#pace.rest()
  }

  /** Folds the records at some positions, one by one. @throws STATE_TOO_LARGE, VIEW_STOPPED as the live view did */
  async foldAt(positions: Float64Array, observer?: EvaluationObserver): Promise<void> {
    const one = new OneByOne()
    let records = 0
    const visitor: RecordVisitor = {
      record: (cursor, block) => {
        records++
        this.#records.beginTransaction(block)
        this.#records.fold(one.of(cursor), commitTimeOf(block))
        observer?.folded(cursor, block)
      },
      endTransaction: block => {
        this.#endTransaction(block, records)
        records = 0
        observer?.ended()
        this.#check()
      },
    }
    await readRecordsAt(this.#log, positions, visitor, this.#pace)
    this.#check()
  }

  /** Lets rows go that are due at a cut, where only records at some positions were folded. */
  async expireAt(cut: number): Promise<void> {
    if (cut <= this.#position || ![...this.views.values()].some(view => view.expires)) return
    const reader = this.#log.read(cut - 1)
    try {
      const [block] = await reader.ready()
      if (block === undefined) return
      this.#records.beginTransaction(block)
      this.#endTransaction(block, 0)
    } finally {
      reader.close()
    }
    this.#check()
  }

  #endTransaction(block: LogBlock, records: number): void {
    this.#position = block.end
    this.#records.endTransaction(block)
    this.#sinceDrain += records
    if (this.#sinceDrain < RECORDS_PER_DRAIN) return
    this.#sinceDrain = 0
    // As after a checkpoint, which lets go of rows that left.
    for (const { changes, error } of this.views.values()) {
      if (error) continue
      changes.begin(() => {})
      while (changes.step());
    }
  }

  #check(): void {
    for (const { name, error } of this.views.values()) {
      if (!error) continue
      if (error.code === 'STATE_TOO_LARGE')
        throw fail('STATE_TOO_LARGE', 'what this read of the past would hold is too large', {
          ...(error.detail ? { detail: error.detail } : {}),
          hint: 'read from a savepoint, or give more memory (--state-limit)',
        })
      throw fail('VIEW_STOPPED', `view '${name}' had stopped by then`, {
        detail: `${error.code}: ${error.message}${error.detail ? ` (${error.detail})` : ''}`,
      })
    }
  }

  /** Lets all rows go. */
  end(): void {
    for (const view of this.views.values()) view.table.drop()
  }
}

/** A cursor that lends no runs: these would have records in them that nobody asked for. */
class OneByOne implements RecordCursor {
  #cursor!: RecordCursor
  readonly lender = undefined

  of(cursor: RecordCursor): this {
    this.#cursor = cursor
    return this
  }

  next(): boolean {
    return this.#cursor.next()
  }

  get position(): number {
    return this.#cursor.position
  }

  get topic() {
    return this.#cursor.topic
  }

  get op() {
    return this.#cursor.op
  }

  before() {
    return this.#cursor.before()
  }

  after() {
    return this.#cursor.after()
  }

  lendBefore() {
    return this.#cursor.lendBefore()
  }

  lendAfter() {
    return this.#cursor.lendAfter()
  }

  recall(): void {
    this.#cursor.recall()
  }

  lendRun(): number {
    return this.#cursor.lendRun()
  }

  parked() {
    return this.#cursor.parked()
  }
}
