// How many positions a slice goes forward: as many as take about the wished time, by what the last one took. Slices bound how
// far shards are apart, and how long a read waits for all of them to stand at one cut.

/** Of a slice while rows are read. */
export const SLICE_MS = 2
/** Of a slice while nobody may read. */
export const REBUILD_SLICE_MS = 50
const RECORDS_FIRST = 1_000
const RECORDS_MAX = 4_000_000
/** A slice is at most so many times as large as the one before, so that a fast one does not make the next one slow. */
const GROWTH_MAX = 2

export class SliceSize {
  #records = RECORDS_FIRST

  get records(): number {
    return this.#records
  }

  /** Takes what a slice took. @param wishedMs what it should have taken */
  measured(records: number, ms: number, wishedMs: number): void {
    // One that the log's end cut short says nothing of larger ones.
    if (records < this.#records / 2 && ms < wishedMs) return
    const wished = (Math.max(records, 1) * wishedMs) / Math.max(ms, 0.001)
    this.#records = Math.round(Math.min(RECORDS_MAX, Math.max(1, Math.min(wished, this.#records * GROWTH_MAX))))
  }
}
