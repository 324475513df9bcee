// Which columns a reader's records are asked for. Blocks of a log are much alike: what handlers, keys and aggregates asked for in
// one, they ask for in the next, so that these columns are unpacked ahead, and no others.
import type { Layout } from '../topics.ts'
import { planOf } from './block-writer.ts'

export class ColumnUse {
  readonly #asked = new Map<Layout, Uint8Array>()

  /** One byte for each column of a layout, for the hashes of its keys and for parked rows: 1 once one of them was asked for. */
  of(layout: Layout): Uint8Array {
    const known = this.#asked.get(layout)
    if (known) return known
    const asked = new Uint8Array(planOf(layout).columns.length + 2)
    this.#asked.set(layout, asked)
    return asked
  }
}
