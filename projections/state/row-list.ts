// A list of row numbers that grows by chunks: a million rows cost no copy of half a million, and no objects.

const CHUNK_ROWS = 1 << 15

export class RowList {
  readonly #chunks: Uint32Array[] = []
  length = 0

  push(row: number): void {
    const at = this.length++
    let chunk = this.#chunks[at >>> 15]
    if (chunk === undefined) {
      chunk = new Uint32Array(CHUNK_ROWS)
      this.#chunks.push(chunk)
    }
    chunk[at & (CHUNK_ROWS - 1)] = row
  }

  at(index: number): number {
    return this.#chunks[index >>> 15]![index & (CHUNK_ROWS - 1)]!
  }

  pop(): number {
    return this.at(--this.length)
  }

  /** Empties it; what it took is kept for the next rows, but for what a large transaction needed. */
  clear(): void {
    this.length = 0
    this.#chunks.length = Math.min(this.#chunks.length, 1)
  }
}
