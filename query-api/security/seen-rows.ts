// The rows of an export that its client may see. How many they are is known at the end only.
import type { ViewRow, ViewRows } from '../../projections/index.ts'
import type { RowFilter } from './viewer.ts'

/** Rows as they are shown: all of a view, or those of it that a client may see. */
export type ShownRows = Omit<ViewRows, 'rows'> & {
  /** How many come; undefined where that is known at their end only. */
  readonly rows: number | undefined
}

export class SeenRows implements ShownRows {
  readonly position: number
  readonly final: boolean
  readonly rows = undefined
  readonly #rows: ViewRows
  readonly #filter: RowFilter

  constructor(rows: ViewRows, filter: RowFilter) {
    this.position = rows.position
    this.final = rows.final
    this.#rows = rows
    this.#filter = filter
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly ViewRow[]> {
    for await (const batch of this.#rows) yield batch.filter(({ key, value }) => this.#filter(value, key))
  }

  close(): void {
    this.#rows.close()
  }
}
