// What a row's transaction has done to it on balance, on its way to the views that fold its view, and to those who follow it.
import type { AnyRow } from '../../core/index.ts'
import { LIVE } from '../state/changes.ts'
import type { FoldedView } from '../view.ts'

/** A row before and after: null where it was not, or is not there. */
export interface NetChange {
  readonly before: AnyRow | null
  readonly after: AnyRow | null
}

/** @param copy the row as it was; −1 where it was not there @returns undefined where nobody sees a difference */
export function netChange({ table }: FoldedView, row: number, copy: number): NetChange | undefined {
  const exists = (table.flags(row) & LIVE) !== 0
  if (copy < 0 && !exists) return undefined
  if (copy >= 0 && exists && table.isEqual(copy, row)) return undefined
  return { before: copy >= 0 ? table.toObject(copy) : null, after: exists ? table.toObject(row) : null }
}

/** Passes a row's net change on. @param copy as above */
export function passOn(view: FoldedView, row: number, copy: number): void {
  const change = netChange(view, row, copy)
  if (change === undefined) return
  const { table, consumers } = view
  const { before, after } = change
  view.feed?.(view, table.idOf(row), before, after)
  if (view.outlet !== undefined) {
    view.outlet(view, table.idOf(row), before, after)
    return
  }
  const inputKey = { fromRow: () => table.keyOf(row) }
  for (const route of consumers) route.view.fold(route, before, after, inputKey)
}
