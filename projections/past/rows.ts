// All rows of a view at one cut: of the present, read before they change while folding goes on; of the past, from a fold of its own.
import { type AnyRow, ByteReader, fail } from '../../core/index.ts'
import type { ViewRow } from '../engine.ts'
import { idAt, RowsAtCut } from '../rows-at-cut.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'
import type { Pace } from './pace.ts'
import type { AtCut, ViewRows } from './past.ts'

/** Rows given at a time. */
const ROWS_PER_BATCH = 256
/** Rows that changed before they were taken, held for a reader that is slower than the changes: bytes as stored. */
const EARLY_BYTES_MAX = 256 * 1024 * 1024

/** Rows that were folded, or loaded, and are at a cut. */
export interface RowsAt {
  readonly views: ReadonlyMap<string, FoldedView>
}

/** Rows of a fold that is at the cut and does not go on. @param end lets it go */
export function foldedRows(evaluation: RowsAt, name: string, cut: AtCut, pace: Pace, end: () => void): ViewRows {
  const view = evaluation.views.get(name)!
  const { table } = view
  const read = async function* (): AsyncGenerator<readonly ViewRow[]> {
    try {
      let rows: ViewRow[] = []
      for (let row = 0; row < table.places; row++) {
        const id = idAt(view, row)
        if (id !== undefined) rows.push({ key: table.keys.keyOf(id), value: table.toObject(row) })
        if (rows.length === ROWS_PER_BATCH) {
          yield rows
          rows = []
        }
        if (pace.due) await pace.rest()
      }
      if (rows.length > 0) yield rows
    } finally {
      end()
    }
  }
  return { ...cut, rows: view.size, close: end, [Symbol.asyncIterator]: read }
}

/** A row without the fields that nobody is shown: the last touch of one with a `ttl`, what `min` and `max` remember. */
function shown({ value: { fields }, storedFields }: FoldedView, row: AnyRow): AnyRow {
  if (storedFields.length === fields.length) return row
  return Object.fromEntries(fields.map(({ name }) => [name, row[name]]))
}

/** Rows of a live view as they are now: to be called at a cut. */
export function liveRows(view: FoldedView, cut: AtCut, pace: Pace, end: () => void): ViewRows {
  const rows = new RowsAtCut(view)
  const taken: { readonly id: KeyId; readonly stored: Buffer }[] = []
  let bytes = 0
  rows.takenBy((id, stored) => {
    bytes += stored.length
    if (bytes <= EARLY_BYTES_MAX) taken.push({ id, stored })
  })
  const close = () => {
    rows.end()
    end()
  }
  const take = (): ViewRow[] => {
    if (view.error) throw fail('VIEW_STOPPED', `view '${view.name}' has stopped`, { detail: view.error.message })
    if (rows.error) throw rows.error
    if (bytes > EARLY_BYTES_MAX)
      throw fail('OVERLOADED', 'rows change faster than they are read', {
        detail: `${EARLY_BYTES_MAX} bytes of rows as they were would have to be held`,
        hint: 'read faster, or export at a position: ?at=',
      })
    bytes = 0
    return taken.splice(0).map(({ id, stored }) => {
      const reader = new ByteReader(stored)
      reader.varint()
      return { key: view.table.keys.keyOf(id), value: shown(view, view.codec.decode(reader)) }
    })
  }
  const read = async function* (): AsyncGenerator<readonly ViewRow[]> {
    try {
      while (!view.error && rows.step()) {
        if (taken.length >= ROWS_PER_BATCH) yield take()
        if (pace.due) await pace.rest()
      }
      const last = take()
      if (last.length > 0) yield last
    } finally {
      close()
    }
  }
  return { ...cut, rows: view.size, close, [Symbol.asyncIterator]: read }
}
