// A hash of a view's rows that does not depend on their order: 64 bits of each row's key, support and fields, in two lanes, each
// summed modulo 2^32. A row that changes takes its old share out and puts its new one in, so that the sum is kept up to date at
// the price of what changed, and shards add theirs up. Two multiplicative hashes of 32 bits after MurmurHash3, finished apart.
import { KEY_GROUPS } from '../state/key-groups.ts'

/** The two lanes of the last row hashed: a pair without an object per row. */
export const lanes = { low: 0, high: 0 }

/** Hashes bytes into `lanes`; never gives 0 in both, which says that there is no row. */
export function hashBytes(bytes: Buffer, from: number, to: number): void {
  const length = to - from
  let low = length ^ 0x2545f491
  let high = length ^ 0x6c62272e
  let at = from
  for (const end = to - 3; at < end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    low = stir(low, word, 0xcc9e2d51, 0x1b873593)
    high = stir(high, word, 0x85ebca77, 0xc2b2ae3d)
  }
  let tail = 0
  for (let shift = 0; at < to; at++, shift += 8) tail |= bytes[at]! << shift
  low = finish(stir(low, tail, 0xcc9e2d51, 0x1b873593))
  high = finish(stir(high, tail, 0x85ebca77, 0xc2b2ae3d))
  // Each lane hears of the other, so that what collides in one alone is told apart by 64 bits.
  lanes.low = (low + Math.imul(high, 0x9e3779b1)) >>> 0
  lanes.high = (high + Math.imul(low, 0x27d4eb2f)) >>> 0
  if (lanes.low === 0 && lanes.high === 0) lanes.low = 1
}

function stir(lane: number, word: number, first: number, second: number): number {
  const mixed = Math.imul(word, first)
  const turned = lane ^ Math.imul((mixed << 15) | (mixed >>> 17), second)
  return (Math.imul((turned << 13) | (turned >>> 19), 5) + 0xe6546b64) | 0
}

function finish(lane: number): number {
  let hash = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

export interface RowsHash {
  readonly rows: number
  /** 16 hex digits. */
  readonly hash: string
}

/** The sums of a view's rows, per key group. */
export class HashSums {
  /** Per group: its rows, and the two lanes. */
  readonly #sums = new Uint32Array(KEY_GROUPS * 3)

  /** @param rows 1: a row comes; −1: it goes; 0: its share changes */
  add(group: number, rows: number, low: number, high: number): void {
    const at = group * 3
    this.#sums[at]! += rows
    this.#sums[at + 1]! += low
    this.#sums[at + 2]! += high
  }

  clear(): void {
    this.#sums.fill(0)
  }

  /** Groups with rows: `[group, rows, low, high]`. */
  groups(): [group: number, rows: number, low: number, high: number][] {
    const found: [number, number, number, number][] = []
    for (let group = 0; group < KEY_GROUPS; group++) {
      const [rows, low, high] = this.#sums.subarray(group * 3, group * 3 + 3)
      if (rows! > 0) found.push([group, rows!, low!, high!])
    }
    return found
  }

  total(): RowsHash {
    let [rows, low, high] = [0, 0, 0]
    for (let at = 0; at < this.#sums.length; at += 3) {
      rows += this.#sums[at]!
      low = (low + this.#sums[at + 1]!) >>> 0
      high = (high + this.#sums[at + 2]!) >>> 0
    }
    return { rows, hash: hashText(low, high) }
  }
}

const hashText = (low: number, high: number): string =>
  `${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}`

/** What the parts of a view have together, each with the rows of some key groups. */
export function addHashes(parts: readonly RowsHash[]): RowsHash {
  let [rows, low, high] = [0, 0, 0]
  for (const part of parts) {
    rows += part.rows
    high = (high + Number.parseInt(part.hash.slice(0, 8), 16)) >>> 0
    low = (low + Number.parseInt(part.hash.slice(8), 16)) >>> 0
  }
  return { rows, hash: hashText(low, high) }
}

/** The hash that each row has in the last checkpoint, by its place; none where it is not in there. */
export class RowHashes {
  readonly #chunks: Uint32Array[] = []
  readonly #take: (bytes: number) => void
  #bytes = 0

  /** @param take asks the memory limit for more; gives back where it is less than nothing */
  constructor(take: (bytes: number) => void) {
    this.#take = take
  }

  /** Puts a row's hash; `lanes` is what it was. */
  exchange(row: number, low: number, high: number): void {
    let chunk = this.#chunks[row >>> CHUNK_SHIFT]
    if (chunk === undefined) {
      if (low === 0 && high === 0) {
        lanes.low = lanes.high = 0
        return
      }
      this.#take(CHUNK_BYTES)
      this.#bytes += CHUNK_BYTES
      chunk = this.#chunks[row >>> CHUNK_SHIFT] = new Uint32Array(CHUNK_WORDS)
    }
    const at = (row & CHUNK_MASK) * 2
    lanes.low = chunk[at]!
    lanes.high = chunk[at + 1]!
    chunk[at] = low
    chunk[at + 1] = high
  }

  drop(): void {
    this.#take(-this.#bytes)
    this.#bytes = this.#chunks.length = 0
  }
}

const CHUNK_SHIFT = 13
const CHUNK_MASK = (1 << CHUNK_SHIFT) - 1
const CHUNK_WORDS = 2 << CHUNK_SHIFT
const CHUNK_BYTES = CHUNK_WORDS * 4
