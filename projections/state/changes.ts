// Which rows changed since the last checkpoint, and the copy on write by which a checkpoint is of one cut while folding goes
// on. Two marks alternate from one checkpoint to the next: to begin one is to swap them, whatever the number of rows. A row
// that left stays, empty, until a checkpoint has taken it out; then its place is free again. A checkpoint may also take all rows,
// changed or not: then a bit per place says which of them it has.
import { RowList } from './row-list.ts'
import type { StateTable } from './state-table.ts'

/** Flags of a row. It is there for readers: its support was above 0 at the end of the last transaction. */
export const LIVE = 1
/** The running transaction has changed it. */
export const TOUCHED = 2
const EVEN = 4
const ODD = 8
/** Indexes have it as it was: it is in the list of those that wait for them. */
const STALE = 32

/** Takes the rows whose indexes are behind, once each. */
export interface StaleRows {
  push(row: number): void
  /** All rows go. */
  drop(): void
}

export class Changes {
  readonly #table: StateTable
  /** The mark of rows changed since the last checkpoint began; the other one is that of rows which belong into it. */
  #mark = EVEN
  #changed = new RowList()
  #saved = new RowList()
  #next = 0
  #save: (row: number) => void = () => {}
  /** While a checkpoint takes all rows: those places that it has looked at, a bit each; and the first place that is not looked at. */
  #taken: Uint32Array | undefined
  #places = 0
  readonly #watchers = new Set<(row: number) => void>()
  /** All of them as one, while there are any. */
  #watch: ((row: number) => void) | undefined
  #stale: StaleRows | undefined

  constructor(table: StateTable) {
    this.#table = table
  }

  /** Tells of each row before it changes, while somebody reads rows as they are at a cut; what is returned ends that. */
  watch(watcher: (row: number) => void): () => void {
    this.#watchers.add(watcher)
    this.#watch = row => this.#watchers.forEach(each => void each(row))
    return () => {
      this.#watchers.delete(watcher)
      if (this.#watchers.size === 0) this.#watch = undefined
    }
  }

  /** From now on, rows that change are told to indexes. */
  index(stale: StaleRows): void {
    this.#stale = stale
  }

  /** Indexes have a row as it is; or, where it has left, no more. */
  indexed(row: number): void {
    const flags = this.#table.flags(row) & ~STALE
    this.#table.setFlags(row, flags)
    if (flags === 0) this.#table.remove(row)
  }

  /**
   * Flags of a row that need not be touched again: it is there, and in the next checkpoint already, waits for indexes if there are
   * any, and nobody watches.
   */
  get settled(): number {
    if (this.#watch !== undefined) return TOUCHED
    return LIVE | this.#mark | (this.#stale === undefined ? 0 : STALE)
  }

  /** The flags with which a row's transaction ends; it is in the next checkpoint. */
  add(row: number, flags: number): void {
    if ((flags & this.#mark) === 0) this.#changed.push(row)
    const behind = this.#stale === undefined ? 0 : STALE
    if (behind !== 0 && (flags & STALE) === 0) this.#stale?.push(row)
    this.#table.setFlags(row, flags | this.#mark | behind)
  }

  /** To be called before a row changes: one that belongs into the running checkpoint is saved first. */
  beforeWrite(row: number): void {
    if (this.#watch !== undefined) this.#watch(row)
    this.#saveFirst(row)
  }

  #saveFirst(row: number): void {
    if (this.#taken !== undefined) this.#takeOf(this.#taken, row)
    else if ((this.#table.flags(row) & (this.#mark ^ (EVEN | ODD))) !== 0) this.#saveRow(row)
  }

  /**
   * Begins a checkpoint of this moment. `save` gets each row once, as it is now: at once before it changes, or by `step`.
   * @param all takes every row that is there, and those that left; otherwise those changed since the last one began
   */
  begin(save: (row: number) => void, all = false): void {
    const rows = this.#saved
    this.#saved = this.#changed
    rows.clear()
    this.#changed = rows
    this.#mark ^= EVEN | ODD
    this.#next = 0
    this.#save = save
    this.#places = all ? this.#table.places : 0
    this.#taken = all ? new Uint32Array((this.#places + 31) >>> 5) : undefined
  }

  /** Saves one more row; false when there is none. */
  step(): boolean {
    if (this.#taken !== undefined) {
      if (this.#next < this.#places) {
        this.#saveFirst(this.#next++)
        return true
      }
      this.#taken = undefined
      this.#next = 0
    }
    if (this.#next >= this.#saved.length) return false
    const row = this.#saved.at(this.#next++)
    this.#saveFirst(row)
    // It has left, and nobody wants it any more; where all rows are taken, its place may have been given back already.
    if (this.#table.flags(row) === 0 && this.#table.hasKey(row)) this.#table.remove(row)
    return true
  }

  #takeOf(taken: Uint32Array, row: number): void {
    const bit = 1 << (row & 31)
    if (row >= this.#places || (taken[row >>> 5]! & bit) !== 0) return
    taken[row >>> 5]! |= bit
    if ((this.#table.flags(row) & (LIVE | (this.#mark ^ (EVEN | ODD)))) !== 0) this.#saveRow(row)
  }

  #saveRow(row: number): void {
    this.#table.setFlags(row, this.#table.flags(row) & ~(this.#mark ^ (EVEN | ODD)))
    this.#save(row)
  }

  /** Forgets all changes, and the running checkpoint: the rows are about to go. */
  end(): void {
    this.#changed.clear()
    this.#saved.clear()
    this.#next = this.#places = 0
    this.#taken = undefined
    this.#stale?.drop()
  }
}
