// Row numbers in an order: leaves of up to 512 of them, in an array. Two levels are enough: of a hundred million rows the array is
// moved by 2 MiB once in a few hundred insertions. Four bytes a row, and up to as much again where leaves are half full.
import type { StateMemory } from '../state/memory.ts'

const LEAF_ROWS = 512
/** A leaf below it is joined with the next one, where both leave room. */
const LEAF_ROWS_MIN = LEAF_ROWS / 4
const LEAF_BYTES = LEAF_ROWS * 4 + 64

/** The order. Two rows are never equal in it, and what it says of a row that is in does not change. */
export interface RowOrder {
  compare(a: number, b: number): number
  /** Compares a row with the bytes of an entry, or with some that begin one. */
  compareTo(row: number, bytes: Buffer): number
}

interface Leaf {
  readonly rows: Uint32Array
  count: number
}

/** The place of a row, or behind the last one. */
interface Spot {
  readonly leaf: number
  readonly at: number
}

export class SortedRows {
  readonly #order: RowOrder
  readonly #memory: StateMemory
  readonly #leaves: Leaf[] = []
  length = 0

  constructor(order: RowOrder, memory: StateMemory) {
    this.#order = order
    this.#memory = memory
  }

  get bytes(): number {
    return this.#leaves.length * LEAF_BYTES
  }

  /** @throws STATE_TOO_LARGE */
  add(row: number): void {
    const { leaf: n, at } = this.#spotOf(row)
    const leaf = this.#leaves[n] ?? this.#newLeaf(0)
    if (leaf.count < LEAF_ROWS) insert(leaf, at, row)
    else if (at === LEAF_ROWS) insert(this.#newLeaf(n + 1), 0, row)
    else {
      const next = this.#newLeaf(n + 1)
      move(leaf, LEAF_ROWS / 2, next)
      if (at <= LEAF_ROWS / 2) insert(leaf, at, row)
      else insert(next, at - LEAF_ROWS / 2, row)
    }
    this.length++
  }

  #newLeaf(n: number): Leaf {
    this.#memory.take(LEAF_BYTES)
    const leaf = { rows: new Uint32Array(LEAF_ROWS), count: 0 }
    this.#leaves.splice(n, 0, leaf)
    return leaf
  }

  /** Takes a row out that is in. */
  remove(row: number): void {
    const { leaf: n, at } = this.#placeOf(row)
    const leaf = this.#leaves[n]
    if (leaf?.rows[at] !== row || at >= leaf.count) throw new RangeError('a row is not where its order says')
    leaf.rows.copyWithin(at, at + 1, leaf.count)
    leaf.count--
    this.length--
    if (leaf.count < LEAF_ROWS_MIN) this.#join(n)
  }

  #join(n: number): void {
    const leaf = this.#leaves[n]!
    const next = this.#leaves[n + 1]
    if (next !== undefined && leaf.count + next.count <= LEAF_ROWS - LEAF_ROWS_MIN) {
      leaf.rows.set(next.rows.subarray(0, next.count), leaf.count)
      leaf.count += next.count
      this.#dropLeaf(n + 1)
    } else if (leaf.count === 0) this.#dropLeaf(n)
  }

  #dropLeaf(n: number): void {
    this.#leaves.splice(n, 1)
    this.#memory.release(LEAF_BYTES, 0)
  }

  /** Where a row is that is in. */
  #placeOf(row: number): Spot {
    const spot = this.#spotOf(row)
    const first = this.#leaves[spot.leaf + 1]?.rows[0]
    // The first row of a leaf belongs behind the last one of the leaf before.
    return first === row ? { leaf: spot.leaf + 1, at: 0 } : spot
  }

  /** Where a row belongs: behind the last row of a leaf rather than before the first of the next one. */
  #spotOf(row: number): Spot {
    const order = this.#order
    return this.#first(other => order.compare(other, row) >= 0)
  }

  /** The first spot whose row is at or behind the bytes. */
  #spotAt(bytes: Buffer): Spot {
    const order = this.#order
    return this.#first(other => order.compareTo(other, bytes) >= 0)
  }

  /** The first spot of which something holds that holds of all behind it. */
  #first(holds: (row: number) => boolean): Spot {
    const leaves = this.#leaves
    // The last leaf whose first row it does not hold of, or the first leaf.
    let low = 0
    let high = leaves.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (holds(leaves[middle]!.rows[0]!)) high = middle
      else low = middle + 1
    }
    const n = Math.max(0, low - 1)
    const leaf = leaves[n]
    if (leaf === undefined) return { leaf: 0, at: 0 }
    let from = 0
    let to = leaf.count
    while (from < to) {
      const middle = (from + to) >>> 1
      if (holds(leaf.rows[middle]!)) to = middle
      else from = middle + 1
    }
    return { leaf: n, at: from }
  }

  /**
   * Rows whose entries are between bytes.
   * @param from the first, inclusive; undefined: from the beginning
   * @param to the last, exclusive; undefined: to the end
   * @param most the first so many of them, of the last ones where `descending`
   */
  between(from: Buffer | undefined, to: Buffer | undefined, descending: boolean, most: number): Uint32Array {
    const leaves = this.#leaves
    const begin = from === undefined ? { leaf: 0, at: 0 } : this.#spotAt(from)
    const end = to === undefined ? { leaf: leaves.length, at: 0 } : this.#spotAt(to)
    const rows = new Uint32Array(this.#count(begin, end, most))
    if (descending) this.#copyDown(end, rows)
    else this.#copyUp(begin, rows)
    return rows
  }

  /** How many rows stand between two spots, up to `most`. */
  #count(begin: Spot, end: Spot, most: number): number {
    let count = -begin.at
    let n = begin.leaf
    for (; n < end.leaf && count < most; n++) count += this.#leaves[n]!.count
    if (n === end.leaf) count += end.at
    return Math.min(Math.max(count, 0), most)
  }

  #copyUp({ leaf: n, at }: Spot, into: Uint32Array): void {
    let done = 0
    for (let from = at; done < into.length; n++, from = 0) {
      const { rows, count } = this.#leaves[n]!
      const taken = rows.subarray(from, Math.min(count, from + into.length - done))
      into.set(taken, done)
      done += taken.length
    }
  }

  #copyDown({ leaf: n, at }: Spot, into: Uint32Array): void {
    let leaf = this.#leaves[n]
    let k = at
    for (let done = 0; done < into.length; done++) {
      while (k === 0) {
        leaf = this.#leaves[--n]!
        k = leaf.count
      }
      into[done] = leaf!.rows[--k]!
    }
  }

  drop(): void {
    this.#memory.release(this.bytes, 0)
    this.#leaves.length = this.length = 0
  }
}

function insert(leaf: Leaf, at: number, row: number): void {
  leaf.rows.copyWithin(at + 1, at, leaf.count)
  leaf.rows[at] = row
  leaf.count++
}

function move(leaf: Leaf, from: number, to: Leaf): void {
  to.rows.set(leaf.rows.subarray(from, leaf.count))
  to.count = leaf.count - from
  leaf.count = from
}
