// Two sets of rows, summed by parts: of each part how many rows there are and the sum of their hashes, whatever their order.
// A row belongs to a part by the CRC-32 of its key, so both sides agree on it however they are read.
import { crc32 } from 'node:zlib'

const ROWS_PER_CHUNK = 1_000
const CHUNKS_MIN = 16
const CHUNKS_MAX = 65_536

export type Side = 'source' | 'mirror'

/** Of a row and its key: 32 bits. */
export const rowHash = (key: Buffer, row: Buffer): number => crc32(row, crc32(key))

interface Sums {
  readonly counts: Float64Array
  /** Of 32-bit hashes: exact for 2 M rows in one part. */
  readonly hashes: Float64Array
}

export class ChunkSums {
  readonly chunks: number
  readonly #sides: Readonly<Record<Side, Sums>>

  constructor(rowsEstimated: number) {
    this.chunks = Math.min(CHUNKS_MAX, Math.max(CHUNKS_MIN, Math.ceil(rowsEstimated / ROWS_PER_CHUNK)))
    const sums = () => ({ counts: new Float64Array(this.chunks), hashes: new Float64Array(this.chunks) })
    this.#sides = { source: sums(), mirror: sums() }
  }

  chunkOf(key: Buffer): number {
    return crc32(key) % this.chunks
  }

  add(side: Side, key: Buffer, row: Buffer): void {
    const keyHash = crc32(key)
    const chunk = keyHash % this.chunks
    const { counts, hashes } = this.#sides[side]
    counts[chunk]!++
    hashes[chunk]! += crc32(row, keyHash)
  }

  rows(side: Side): number {
    return this.#sides[side].counts.reduce((sum, count) => sum + count, 0)
  }

  /** Of all parts: 16 hex digits. */
  hash(side: Side): string {
    const sum = this.#sides[side].hashes.reduce((all, hash) => all + BigInt(hash), 0n)
    return BigInt.asUintN(64, sum).toString(16).padStart(16, '0')
  }

  get chunksDiffering(): number {
    return this.#differing().length
  }

  /** Parts that differ, in groups of about so many rows of the larger side. */
  differing(firstRows: number, rows: number): readonly ReadonlySet<number>[] {
    const groups: Set<number>[] = []
    let room = 0
    for (const chunk of this.#differing()) {
      if (room <= 0) {
        room = groups.length === 0 ? firstRows : rows
        groups.push(new Set())
      }
      groups.at(-1)!.add(chunk)
      room -= Math.max(this.#sides.source.counts[chunk]!, this.#sides.mirror.counts[chunk]!)
    }
    return groups
  }

  #differing(): number[] {
    const { source, mirror } = this.#sides
    return [...source.counts.keys()].filter(
      n => source.counts[n] !== mirror.counts[n] || source.hashes[n] !== mirror.hashes[n],
    )
  }
}
