// The row at which a view's accessors look. One object per view: moving it is all that a step from row to row costs.

import type { MapUndo } from './map-undo.ts'

const NOWHERE = new Float64Array(0)
const NO_HALVES: Int32Array = new Int32Array(0)

export class Place {
  /** The words of the row's page, and where the row's begin; −1 while no handler runs. */
  words: Float64Array = NOWHERE
  base = -1
  /** The same memory as halves of words: the row's begin at twice its base. */
  halves = NO_HALVES
  /** The references of the row's page, and where the row's begin. */
  refs: unknown[] = []
  refBase = 0
  /** Bytes that handlers' writes added to what rows hold in the heap; the table takes them over. */
  heapBytes = 0
  /** Told of changes of maps, where handlers' calls may be undone. */
  undo: MapUndo | undefined
}
