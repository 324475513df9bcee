// Numbers byte strings in the order in which they first come: 0, 1, 2 …
import { hashBytes } from './builders.ts'

/** Two numbers a place, of which a quarter to a half are taken; where an entry begins. */
const ENTRY_BYTES = 28

export class KeyTable {
  /** Two numbers a place: entry + 1, hash. */
  #table: Int32Array
  #bytes = Buffer.allocUnsafeSlow(16 * 1024)
  #used = 0
  /** Where entry n begins; it ends where the next one does. */
  #starts = new Uint32Array(1024)
  size = 0

  /** @param most entries for which it need not grow, which takes a while where they are many; a power of 2 */
  constructor(most = 512) {
    this.#table = new Int32Array(most * 4)
  }

  /** The number of a byte string, given its hash; a new one if it is new. */
  add(hash: number, from: Uint8Array, start: number, end: number): number {
    if (this.size * 4 > this.#table.length) this.#rehash()
    const at = this.#place(hash, from, start, end)
    const known = this.#table[at]!
    if (known > 0) return known - 1
    this.#table[at] = this.size + 1
    this.#table[at + 1] = hash | 0
    return this.#append(from, start, end)
  }

  /** The number of a byte string, −1 if it is not known. */
  find(hash: number, from: Uint8Array, start: number, end: number): number {
    return this.#table[this.#place(hash, from, start, end)]! - 1
  }

  /** About the memory that its entries take. */
  get bytes(): number {
    return this.#used + this.size * ENTRY_BYTES
  }

  entry(n: number): Buffer {
    return this.#bytes.subarray(this.#starts[n], n + 1 < this.size ? this.#starts[n + 1] : this.#used)
  }

  #place(hash: number, from: Uint8Array, start: number, end: number): number {
    const table = this.#table
    const mask = table.length - 1
    const wanted = hash | 0
    for (let at = (wanted << 1) & mask; ; at = (at + 2) & mask) {
      const entry = table[at]! - 1
      if (entry < 0 || (table[at + 1] === wanted && this.#equal(entry, from, start, end))) return at
    }
  }

  #equal(entry: number, from: Uint8Array, start: number, end: number): boolean {
    const bytes = this.#bytes
    let at = this.#starts[entry]!
    const stop = entry + 1 < this.size ? this.#starts[entry + 1]! : this.#used
    if (stop - at !== end - start) return false
    for (let n = start; n < end; n++) if (bytes[at++] !== from[n]) return false
    return true
  }

  #append(from: Uint8Array, start: number, end: number): number {
    const length = end - start
    if (this.#used + length > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#used + length))
      this.#bytes.copy(larger, 0, 0, this.#used)
      this.#bytes = larger
    }
    if (this.size === this.#starts.length) {
      const larger = new Uint32Array(this.size * 2)
      larger.set(this.#starts)
      this.#starts = larger
    }
    const bytes = this.#bytes
    this.#starts[this.size] = this.#used
    for (let n = start; n < end; n++) bytes[this.#used++] = from[n]!
    return this.size++
  }

  #rehash(): void {
    const old = this.#table
    const table = new Int32Array(old.length * 2)
    const mask = table.length - 1
    for (let from = 0; from < old.length; from += 2) {
      if (old[from] === 0) continue
      let at = (old[from + 1]! << 1) & mask
      while (table[at] !== 0) at = (at + 2) & mask
      table[at] = old[from]!
      table[at + 1] = old[from + 1]!
    }
    this.#table = table
  }
}

/**
 * What names a stream: varint topic, key bytes. One for all, refilled each time: `of` says the topic, then a row's key is added
 * (the keyer's `begin` and `add`), so that its bytes are copied once.
 */
export class StreamName {
  bytes = Buffer.allocUnsafeSlow(2048)
  length = 0
  #prefix = 0

  of(topic: number): this {
    let at = 0
    let rest = topic
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.bytes[at++] = (rest % 0x80) | 0x80
    this.bytes[at++] = rest
    this.#prefix = at
    this.length = at
    return this
  }

  begin(): void {
    this.length = this.#prefix
  }

  add(from: Uint8Array, start: number, end: number): this {
    if (this.length + end - start > this.bytes.length) this.#grow(end - start)
    const { bytes } = this
    let at = this.length
    for (let n = start; n < end; n++) bytes[at++] = from[n]!
    this.length = at
    return this
  }

  #grow(more: number): void {
    const larger = Buffer.allocUnsafeSlow((this.length + more) * 2)
    this.bytes.copy(larger, 0, 0, this.length)
    this.bytes = larger
  }

  /** Of the key bytes: the same for all topics. */
  get hash(): number {
    return hashBytes(0, this.bytes, this.#prefix, this.length)
  }

  /** A copy. */
  take(): { readonly bytes: Buffer; readonly hash: number } {
    return { bytes: Buffer.from(this.bytes.subarray(0, this.length)), hash: this.hash }
  }
}

/** The hash of a stream's key. */
export function hashOfName(name: Uint8Array): number {
  let at = 0
  while (name[at]! >= 0x80) at++
  return hashBytes(0, name, at + 1, name.length)
}
