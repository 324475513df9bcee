// Rows of a fold that is at a cut and does not go on, put in an order: an index of them is made, in turns, for the one answer.
import type { ViewRow } from '../engine.ts'
import type { EntryRange } from '../indexes/entry-range.ts'
import { pageOf, type RangePage } from '../indexes/range-read.ts'
import { FieldIndex, KeyOrderIndex } from '../indexes/row-index.ts'
import { foundIn } from '../indexes/rows-found.ts'
import { KEY_ORDER } from '../indexes/view-indexes.ts'
import type { StateMemory } from '../state/memory.ts'
import type { FoldedView } from '../view.ts'
import type { Pace } from './pace.ts'

/** Rows given at a time. */
const ROWS_PER_BATCH = 256

export interface RowsInOrder {
  page(most: number): RangePage
  /** All of them. @param end called when they are given, or nobody wants them any more */
  all(pace: Pace, end: () => void): AsyncGenerator<readonly ViewRow[]>
}

/** @throws STATE_TOO_LARGE, STATE_INVALID */
export async function rowsInOrder(
  view: FoldedView,
  range: EntryRange,
  { pace, memory }: { readonly pace: Pace; readonly memory: StateMemory },
): Promise<RowsInOrder> {
  const { table, name, indexes } = view
  const shape = range.index === KEY_ORDER ? undefined : indexes[range.index]!
  const order = shape ? new FieldIndex(shape, name, table, memory) : new KeyOrderIndex(table, memory)
  for (let row = 0; row < table.places; row++) {
    order.set(row, view.touched.readable(row))
    if (pace.due) await pace.rest()
  }
  return {
    page: most => pageOf(view, foundIn(order, range, most)),
    async *all(pace, end) {
      try {
        const { rows, writeEntry } = foundIn(order, range, 2 ** 32)
        for (let from = 0; from < rows.length; from += ROWS_PER_BATCH) {
          const batch = rows.subarray(from, from + ROWS_PER_BATCH)
          yield pageOf(view, { rows: batch, more: false, writeEntry }).rows
          if (pace.due) await pace.rest()
        }
      } finally {
        end()
      }
    },
  }
}
