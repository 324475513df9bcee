// The rows that a view's running transaction has touched: copies of them as they were, for views that fold this one and for reads
// amidst a large transaction, and the order in which the transaction ends them.
import { type Changes, LIVE, TOUCHED } from './state/changes.ts'
import { KeyOrder } from './state/key-order.ts'
import { RowList } from './state/row-list.ts'
import { sortInTurns } from './state/sort-in-turns.ts'
import type { StateTable } from './state/state-table.ts'

/** About what an entry of a Map takes. */
const OLD_ENTRY_BYTES = 40
/** Rows between two yields of a transaction's end that goes in turns. */
const ROWS_PER_TURN = 64

/** What it uses of its view. */
export interface TouchingView {
  readonly table: StateTable
  readonly changes: Changes
  /** Whether somebody takes net changes: other views that fold this one, or those who follow it. */
  readonly passesOn: boolean
  readonly stopped: boolean
  /** A row's transaction ends, and it is there or not; false when that stops the view. */
  ended(row: number, lives: boolean): boolean
  /** @param copy the row as it was; −1 where it was not there */
  passOn(row: number, copy: number): void
}

export class TouchedRows {
  readonly #view: TouchingView
  readonly #rows = new RowList()
  readonly #order: KeyOrder
  /** Copies of the rows as they were, plus one; 0 where there was none. */
  #before = new RowList()
  /** Row → its entry of `#before`, while reads are to see rows as they were before the running transaction. */
  #old: Map<number, number> | undefined
  /** Copies that nobody wants any more, plus one. */
  #obsolete = new RowList()
  /** By how much the running transaction has changed the number of rows. */
  #grown = 0

  constructor(view: TouchingView) {
    this.#view = view
    this.#order = new KeyOrder(view.table)
  }

  /** Whether touched rows leave a copy. */
  get copies(): boolean {
    return this.#old !== undefined || this.#view.passesOn
  }

  /** Before a row changes for the first time in its transaction. */
  touch(row: number): void {
    const { table, changes } = this.#view
    changes.beforeWrite(row)
    const flags = table.flags(row)
    table.setFlags(row, flags | TOUCHED)
    this.#rows.push(row)
    if (!this.copies) return
    const copy = (flags & LIVE) === 0 ? 0 : table.copy(row) + 1
    this.#before.push(copy)
    this.#old?.set(row, copy)
    if (this.#old) table.countHeap(OLD_ENTRY_BYTES)
  }

  /** From now on, until `show`, reads see rows as they are now. */
  keepOld(): void {
    this.#old = new Map()
  }

  /** Whether reads see rows as they were before the running transaction; of a row: whether it has changed that. */
  keepsOld(row?: number): boolean {
    return row === undefined ? this.#old !== undefined : this.#old?.has(row) === true
  }

  /** Where the values stand that reads are to see of a row: itself or a copy; −1 where it is not there for them. */
  readable(row: number): number {
    const old = this.#old?.get(row)
    if (old !== undefined) return old - 1
    return (this.#view.table.flags(row) & LIVE) !== 0 ? row : -1
  }

  /** Ends the transaction; false when that stops the view. */
  end(): boolean {
    const { passesOn } = this.#view
    const count = this.#rows.length
    if (!passesOn) {
      for (let n = 0; n < count; n++) if (!this.#end(this.#rows.at(n))) return false
      return true
    }
    // A canonical order, so that what folds these changes does not depend on how records interleaved.
    const order = this.#order.of(this.#rows)
    for (let at = 0; at < count; at++) {
      const n = order[at]!
      const row = this.#rows.at(n)
      if (!this.#end(row)) return false
      this.#view.passOn(row, this.#before.at(n) - 1)
      this.#releaseCopy(this.#before.at(n))
    }
    this.#before.clear()
    return true
  }

  /** Ends a large transaction as `end` does, in turns; its copies stay. */
  *endInTurns(): Generator<void> {
    const view = this.#view
    const order = Uint32Array.from({ length: this.#rows.length }, (_, n) => n)
    if (view.passesOn) yield* sortInTurns(order, this.#byKey())
    for (const [done, n] of order.entries()) {
      const row = this.#rows.at(n)
      if (!this.#end(row)) return
      if (view.passesOn) view.passOn(row, this.#before.at(n) - 1)
      if (done % ROWS_PER_TURN === 0) yield
      if (view.stopped) return
    }
  }

  /** Compares touched rows, by their numbers among them. */
  #byKey(): (a: number, b: number) => number {
    const { table } = this.#view
    return (a, b) => table.compareKeys(this.#rows.at(a), this.#rows.at(b))
  }

  /** Ends a row's transaction; false when that stops the view. */
  #end(row: number): boolean {
    const { table, changes } = this.#view
    const flags = table.flags(row) & ~TOUCHED
    const lives = table.support(row) > 0
    if (!this.#view.ended(row, lives)) return false
    if (lives !== ((flags & LIVE) !== 0)) this.#grown += lives ? 1 : -1
    changes.add(row, lives ? flags | LIVE : flags & ~LIVE)
    return true
  }

  /** What has ended is seen from now on. Gives by how much there are more rows. */
  show(): number {
    const grown = this.#grown
    this.#grown = 0
    this.#rows.clear()
    if (this.#old) this.#view.table.countHeap(-OLD_ENTRY_BYTES * this.#old.size)
    this.#old = undefined
    if (this.#before.length === 0) return grown
    const copies = this.#before
    this.#before = this.#obsolete
    this.#obsolete = copies
    return grown
  }

  /** Lets go, in turns, of what a large transaction kept; before the next one begins. */
  *releaseInTurns(): Generator<void> {
    while (this.#obsolete.length > 0) {
      this.#releaseCopy(this.#obsolete.pop())
      if (this.#obsolete.length % ROWS_PER_TURN === 0) yield
    }
    this.#obsolete.clear()
  }

  #releaseCopy(copyAndOne: number): void {
    if (copyAndOne > 0) this.#view.table.releaseCopy(copyAndOne - 1)
  }

  /** Forgets all: the rows are let go. */
  drop(): void {
    this.#rows.clear()
    this.#before.clear()
    this.#obsolete.clear()
    this.#old = undefined
    this.#grown = 0
  }
}
