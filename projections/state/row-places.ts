// Where the rows of a view stand, for the code that folds runs of records: pages of words, and the place of the accessors.
import { RUN_ROWS_MAX } from '../../core/index.ts'
import type { Layout } from './layout.ts'
import type { Place } from './place.ts'

export interface Page {
  readonly words: Float64Array
  /** The same memory, as halves of words. */
  readonly halves: Int32Array
  readonly refs: unknown[]
}

export function pageOf(words: number, refs: number): Page {
  const memory = new Float64Array(words)
  return { words: memory, halves: new Int32Array(memory.buffer), refs: new Array(refs).fill(undefined) }
}

export interface RowPlaces {
  readonly layout: Layout
  /** Row `r` is in page `r >>> shift`, its words from `(r & mask) * layout.words` on. */
  readonly pages: readonly Page[]
  readonly shift: number
  readonly mask: number
  readonly at: Place
}

/**
 * The rows of a run's records: of those that have a key, and one that is owned here. The others are left out before anything is
 * looked for, so that what is another shard's costs a hash and no more.
 */
export class RunRows {
  /** Record `records[k]` has row `rows[k]`; in the order of the run. */
  readonly rows = new Uint32Array(RUN_ROWS_MAX)
  readonly records = new Uint16Array(RUN_ROWS_MAX)
  /** While they are looked for: the hashes of their keys. */
  readonly hashes = new Uint32Array(RUN_ROWS_MAX)
  /** How many have a row. */
  found = 0
  /** Records of the run that have been looked at. */
  count = 0
  /** Made of what was loaded ahead of its use: without a use of its own the loads would be left out. */
  met = 0
  /** The first of `records` that is not folded yet. */
  next = 0

  /** Begins a run. */
  begin(): void {
    this.found = this.count = this.next = 0
  }

  /** Adds a row, or nothing where it is NO_ROW. */
  add(record: number, row: number): void {
    this.rows[this.found] = row
    this.records[this.found] = record
    // Without a branch, since nobody can foresee whose a key is: places of rows are below 2^31.
    this.found += 1 - (row >>> 31)
  }
}

/** Stands for the row of a record that goes nowhere. */
export const NO_ROW = 0xffffffff
