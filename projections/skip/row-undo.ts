// Takes back what one handler call did to its row: words, references, entries of maps, what it emitted. The row is copied
// before each call, so only views that skip use it.
import type { HandlerContext } from '../handler-context.ts'
import type { Emissions } from '../publish/emissions.ts'
import { FLAGS } from '../state/layout.ts'
import { MapUndo } from '../state/map-undo.ts'
import type { StateTable } from '../state/state-table.ts'

export class RowUndo {
  readonly #table: StateTable
  readonly #context: HandlerContext
  readonly #emissions: Emissions
  readonly #maps = new MapUndo()
  readonly #halves: Int32Array
  readonly #refs: unknown[]
  #heapBytes = 0
  #emitted = 0

  constructor(table: StateTable, context: HandlerContext, emissions: Emissions) {
    this.#table = table
    this.#context = context
    this.#emissions = emissions
    this.#halves = new Int32Array(table.layout.words * 2)
    this.#refs = new Array(table.layout.refs).fill(undefined)
    if (table.layout.refs > 0) table.at.undo = this.#maps
  }

  /** Remembers a row whose handler is about to run. */
  save(row: number): void {
    const { pages, shift, mask, layout, at } = this.#table
    const page = pages[row >>> shift]!
    const base = (row & mask) * layout.words * 2
    for (let n = FLAGS + 1; n < this.#halves.length; n++) this.#halves[n] = page.halves[base + n]!
    const refBase = (row & mask) * layout.refs
    for (let n = 0; n < layout.refs; n++) this.#refs[n] = page.refs[refBase + n]
    if (layout.refs > 0) this.#maps.begin()
    this.#heapBytes = at.heapBytes
    this.#emitted = this.#emissions.count
  }

  /** Puts it back: the call has no effect. */
  undo(row: number): void {
    const { pages, shift, mask, layout, at } = this.#table
    const page = pages[row >>> shift]!
    const base = (row & mask) * layout.words * 2
    for (let n = FLAGS + 1; n < this.#halves.length; n++) page.halves[base + n] = this.#halves[n]!
    // Maps first: one that the row got in this call is let go with its reference.
    this.#maps.undo()
    const refBase = (row & mask) * layout.refs
    for (let n = 0; n < layout.refs; n++) page.refs[refBase + n] = this.#refs[n]
    at.heapBytes = this.#heapBytes
    this.#emissions.undo(this.#emitted)
    this.#context.takeDeleted()
  }
}
