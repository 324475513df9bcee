// Where the rows of a view stand, for the code that folds runs of records: pages of words, and the place of the accessors.
import type { Layout } from './layout.ts'
import type { Place } from './place.ts'

export interface Page {
  readonly words: Float64Array
  readonly refs: unknown[]
}

export interface RowPlaces {
  readonly layout: Layout
  /** Row `r` is in page `r >>> shift`, its words from `(r & mask) * layout.words` on. */
  readonly pages: readonly Page[]
  readonly shift: number
  readonly mask: number
  readonly at: Place
}

/** The row of each record of a run. */
export interface RunRows {
  readonly rows: Uint32Array
  /** Records whose rows are known. */
  count: number
}

/** Stands for the row of a record that goes nowhere. */
export const NO_ROW = 0xffffffff
