import type { AnyRow } from '../../core/index.ts'
import { LIVE } from '../../projections/state/changes.ts'
import type { FoldedView } from '../../projections/view.ts'

/** Puts a row into a view as a restart does: its hidden fields too. */
export function restoreRow(view: FoldedView, keyBytes: Buffer, support: number, state: AnyRow): void {
  const { table } = view
  const row = table.findOrAdd(table.keys.idOf(view.key.decode(keyBytes)))
  table.assign(row, state)
  table.setSupport(row, support)
  table.setFlags(row, LIVE)
  view.size++
}
