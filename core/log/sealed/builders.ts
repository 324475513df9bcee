// Columns while a block is being made: they take values one by one and then say what they hold.
import { sameBytes } from '../../contract/index.ts'
import { HEAP_DICTIONARY_MAX } from './bounds.ts'

/** What generated code pushes to. Which of them a column has depends on its kind. */
export type ColumnBuilder = NumberBuilder | BigintBuilder | HeapBuilder

/** Numbers of any kind. Places without a value take the least of the others, so that they cost nothing. */
export class NumberBuilder {
  values = new Float64Array(1024)
  count = 0
  #blanks: number[] = []

  push(value: number): void {
    if (this.count === this.values.length) this.#grow()
    this.values[this.count++] = value
  }

  #grow(): void {
    const larger = new Float64Array(this.values.length * 2)
    larger.set(this.values)
    this.values = larger
  }

  blank(): void {
    this.#blanks.push(this.count)
    this.push(0)
  }

  sameBlanks(other: NumberBuilder): boolean {
    const [left, right] = [this.#blanks, other.#blanks]
    return left.length === right.length && left.every((place, n) => place === right[n])
  }

  /** The values, and the least and greatest of them; both undefined where there is none. */
  take(): { values: Float64Array; min: number | undefined; max: number | undefined } {
    const { values, count } = this
    const blanks = this.#blanks
    let min = Number.POSITIVE_INFINITY
    let max = Number.NEGATIVE_INFINITY
    let from = 0
    for (let b = 0; b <= blanks.length; b++) {
      const to = blanks[b] ?? count
      for (let i = from; i < to; i++) {
        const value = values[i]!
        if (value < min) min = value
        if (value > max) max = value
      }
      from = to + 1
    }
    if (min > max) return { values: values.subarray(0, count), min: undefined, max: undefined }
    for (const place of blanks) values[place] = min
    return { values: values.subarray(0, count), min, max }
  }

  reset(): void {
    this.count = 0
    this.#blanks = []
  }
}

/** Bigints: as numbers while all are safe integers. */
export class BigintBuilder {
  readonly numbers = new NumberBuilder()
  readonly wides = new Map<number, string>()

  push(value: number): void {
    this.numbers.push(value)
  }

  wide(text: string): void {
    this.wides.set(this.numbers.count, text)
    this.numbers.push(0)
  }

  blank(): void {
    this.numbers.blank()
  }

  get count(): number {
    return this.numbers.count
  }

  reset(): void {
    this.numbers.reset()
    this.wides.clear()
  }
}

/** Byte strings, deduplicated as long as that is of use. */
export class HeapBuilder {
  count = 0
  /** Entry of each value; the value's own number where nothing is deduplicated. */
  codes = new Uint32Array(1024)
  /** Bytes of the distinct values (or of all), and their lengths. */
  bytes = Buffer.allocUnsafeSlow(4096)
  used = 0
  lengths = new Float64Array(256)
  offsets = new Float64Array(256)
  entries = 0
  #table = new Int32Array(512)
  #dictionary = true

  get isDictionary(): boolean {
    return this.#dictionary && this.entries * 2 <= this.count
  }

  push(from: Buffer, start: number, end: number): void {
    const entry = this.#dictionary ? this.#find(from, start, end) : this.#append(from, start, end)
    if (this.count === this.codes.length) {
      const larger = new Uint32Array(this.count * 2)
      larger.set(this.codes)
      this.codes = larger
    }
    this.codes[this.count++] = entry
    // Values that hardly ever come again are not looked for any more.
    if (this.count < 1024 || !this.#dictionary) return
    if (this.entries > HEAP_DICTIONARY_MAX || this.entries * 4 > this.count * 3) this.#dictionary = false
  }

  blank(): void {
    this.push(EMPTY, 0, 0)
  }

  #find(from: Buffer, start: number, end: number): number {
    if (this.entries * 2 >= this.#table.length) this.#rehash()
    const table = this.#table
    const mask = table.length - 1
    const length = end - start
    for (let at = hashBytes(0, from, start, end) & mask; ; at = (at + 1) & mask) {
      const entry = table[at]! - 1
      if (entry < 0) {
        table[at] = this.entries + 1
        return this.#append(from, start, end)
      }
      const same = this.lengths[entry] === length && sameBytes(this.bytes, this.offsets[entry]!, from, start, length)
      if (same) return entry
    }
  }

  #append(from: Buffer, start: number, end: number): number {
    const length = end - start
    if (this.used + length > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.used + length))
      this.bytes.copy(larger, 0, 0, this.used)
      this.bytes = larger
    }
    if (this.entries === this.lengths.length) {
      this.lengths = grown(this.lengths)
      this.offsets = grown(this.offsets)
    }
    from.copy(this.bytes, this.used, start, end)
    this.lengths[this.entries] = length
    this.offsets[this.entries] = this.used
    this.used += length
    return this.entries++
  }

  #rehash(): void {
    const table = new Int32Array(this.#table.length * 2)
    const mask = table.length - 1
    for (let entry = 0; entry < this.entries; entry++) {
      const offset = this.offsets[entry]!
      let at = hashBytes(0, this.bytes, offset, offset + this.lengths[entry]!) & mask
      while (table[at] !== 0) at = (at + 1) & mask
      table[at] = entry + 1
    }
    this.#table = table
  }

  /** The entry's bytes. */
  entry(n: number): Buffer {
    const offset = this.offsets[n]!
    return this.bytes.subarray(offset, offset + this.lengths[n]!)
  }

  reset(): void {
    this.count = 0
    this.entries = 0
    this.used = 0
    this.#dictionary = true
    if (this.#table.length > 4096) this.#table = new Int32Array(512)
    else this.#table.fill(0)
  }
}

const EMPTY = Buffer.alloc(0)

function grown(values: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(values.length * 2)
  larger.set(values)
  return larger
}

/** The mixing hash of the format: each byte added and multiplied in (FNV-1a), then the finish of MurmurHash3. */
export function hashBytes(seed: number, from: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 ^ seed
  for (let n = start; n < end; n++) hash = Math.imul(hash ^ from[n]!, 0x01000193)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
