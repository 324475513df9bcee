// The order of a transaction's rows by their keys: canonical, so that what folds them does not depend on how records interleaved.
// Most is decided by a number per key, so that a row is looked at once, and hardly ever in a comparison.

/** What the order asks of the table of rows. */
export interface RankedRows {
  /** A number that is less only where the key is before. */
  rankOf(row: number): number
  compareKeys(a: number, b: number): number
}

const FIRST_CAPACITY = 1_024
/** Arrays for more rows are not kept. */
const KEPT_MAX = 65_536
/** Runs that are sorted by insertion. */
const RUN = 8

export class KeyOrder {
  readonly #table: RankedRows
  #rows = new Uint32Array(FIRST_CAPACITY)
  #ranks = new Float64Array(FIRST_CAPACITY)
  #order = new Uint32Array(FIRST_CAPACITY)
  #other = new Uint32Array(FIRST_CAPACITY)

  constructor(table: RankedRows) {
    this.#table = table
  }

  /** The numbers of rows in the order of their keys; good until the next call. */
  of(rows: { readonly length: number; at(n: number): number }): Uint32Array {
    const count = rows.length
    if (this.#rows.length < count || this.#rows.length > KEPT_MAX) this.#resize(Math.max(count, FIRST_CAPACITY))
    for (let n = 0; n < count; n++) {
      const row = rows.at(n)
      this.#rows[n] = row
      this.#ranks[n] = this.#table.rankOf(row)
      this.#order[n] = n
    }
    for (let from = 0; from < count; from += RUN) this.#insert(from, Math.min(from + RUN, count))
    for (let run = RUN; run < count; run *= 2) {
      for (let from = 0; from < count; from += 2 * run)
        this.#merge(from, Math.min(from + run, count), Math.min(from + 2 * run, count))
      const order = this.#order
      this.#order = this.#other
      this.#other = order
    }
    return this.#order.subarray(0, count)
  }

  #resize(capacity: number): void {
    this.#rows = new Uint32Array(capacity)
    this.#ranks = new Float64Array(capacity)
    this.#order = new Uint32Array(capacity)
    this.#other = new Uint32Array(capacity)
  }

  #isBefore(a: number, b: number): boolean {
    const [rankA, rankB] = [this.#ranks[a]!, this.#ranks[b]!]
    if (rankA !== rankB) return rankA < rankB
    return this.#table.compareKeys(this.#rows[a]!, this.#rows[b]!) < 0
  }

  #insert(from: number, to: number): void {
    const order = this.#order
    for (let n = from + 1; n < to; n++) {
      const it = order[n]!
      let at = n
      while (at > from && this.#isBefore(it, order[at - 1]!)) {
        order[at] = order[at - 1]!
        at--
      }
      order[at] = it
    }
  }

  #merge(from: number, middle: number, to: number): void {
    const order = this.#order
    const other = this.#other
    let a = from
    let b = middle
    for (let at = from; at < to; at++) {
      const first = b >= to || (a < middle && !this.#isBefore(order[b]!, order[a]!))
      other[at] = order[first ? a++ : b++]!
    }
  }
}
