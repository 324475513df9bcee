// Rows that were written and are not on disk yet: their bytes one after the other in one piece of memory, found by a hash of the key.
// A row takes its bytes and about 40 more, and no object, so that thousands of them are nothing to the garbage collector.
import { copyBytes, sameBytes } from '../contract/index.ts'

const INITIAL_BYTES = 4_096
const INITIAL_SLOTS = 64
/** What an entry has: where its key begins (its value follows), how long both are, the key's hash. */
const [KEY_AT, KEY_BYTES, VALUE_BYTES, HASH, WORDS] = [0, 1, 2, 3, 4]
/** In place of a value's length. */
const REMOVED = -1
/** Bytes by which keys are put in order at a time, and rows that a double can name beside them. */
const ORDER_BYTES = 4
const ORDERED_MAX = 2 ** 21

/** Of the bytes of a key; any number of 32 bits. */
export function hashOf(key: Uint8Array): number {
  let hash = key.length
  for (let n = 0; n < key.length; n++) hash = Math.imul(hash ^ key[n]!, 0x9e3779b1) ^ (hash >>> 15)
  return hash ^ (hash >>> 16)
}

export class RowWrites {
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  #end = 0
  #entries = new Int32Array((INITIAL_SLOTS / 2) * WORDS)
  /** Number of an entry, and one; 0 where there is none. */
  #slots = new Int32Array(INITIAL_SLOTS)
  #count = 0

  /** Rows, removed ones too. */
  get size(): number {
    return this.#count
  }

  /** What it has taken of memory for rows' bytes. */
  get capacity(): number {
    return this.#bytes.length
  }

  /** The memory that values stand in, until the next write. */
  get bytes(): Buffer {
    return this.#bytes
  }

  /** The number of the key's row, for the calls below; -1 where none was written. */
  find(key: Uint8Array, hash: number): number {
    const mask = this.#slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots[slot]! - 1
      if (entry < 0) return -1
      if (this.#entries[entry * WORDS + HASH] === hash && this.#hasKey(entry, key)) return entry
    }
  }

  #hasKey(entry: number, key: Uint8Array): boolean {
    const at = this.#entries[entry * WORDS + KEY_AT]!
    return this.#entries[entry * WORDS + KEY_BYTES] === key.length && sameBytes(this.#bytes, at, key, 0, key.length)
  }

  isRemoved(entry: number): boolean {
    return this.#entries[entry * WORDS + VALUE_BYTES] === REMOVED
  }

  /** Where its value begins, and ends, in `bytes`; not of a removed one. */
  from(entry: number): number {
    return this.#entries[entry * WORDS + KEY_AT]! + this.#entries[entry * WORDS + KEY_BYTES]!
  }

  to(entry: number): number {
    return this.from(entry) + this.#entries[entry * WORDS + VALUE_BYTES]!
  }

  /** Valid until this object is cleared. */
  key(entry: number): Buffer {
    const at = this.#entries[entry * WORDS + KEY_AT]!
    return this.#bytes.subarray(at, at + this.#entries[entry * WORDS + KEY_BYTES]!)
  }

  /** Copies the key and a part of `value`. */
  put(key: Buffer, hash: number, value: Buffer, from: number, to: number): void {
    this.#write(key, hash, value, from, to, to - from)
  }

  remove(key: Buffer, hash: number): void {
    this.#write(key, hash, key, 0, 0, REMOVED)
  }

  #write(key: Buffer, hash: number, value: Buffer, from: number, to: number, valueBytes: number): void {
    let entry = this.find(key, hash)
    const at = this.#end
    this.#reserve(key.length + to - from)
    copyBytes(key, 0, key.length, this.#bytes, at)
    copyBytes(value, from, to, this.#bytes, at + key.length)
    this.#end = at + key.length + to - from
    if (entry < 0) entry = this.#add(hash)
    this.#entries[entry * WORDS + KEY_AT] = at
    this.#entries[entry * WORDS + KEY_BYTES] = key.length
    this.#entries[entry * WORDS + VALUE_BYTES] = valueBytes
    this.#entries[entry * WORDS + HASH] = hash
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#end + bytes))
    this.#bytes.copy(larger, 0, 0, this.#end)
    this.#bytes = larger
  }

  #add(hash: number): number {
    const entry = this.#count++
    if (this.#count * 2 > this.#slots.length) this.#grow()
    this.#place(entry, hash)
    return entry
  }

  #place(entry: number, hash: number): void {
    const mask = this.#slots.length - 1
    let slot = hash & mask
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
    this.#slots[slot] = entry + 1
  }

  #grow(): void {
    const entries = new Int32Array(this.#slots.length * WORDS)
    entries.set(this.#entries)
    this.#entries = entries
    this.#slots = new Int32Array(this.#slots.length * 2)
    for (let entry = 0; entry < this.#count - 1; entry++) this.#place(entry, entries[entry * WORDS + HASH]!)
  }

  clear(): void {
    this.#end = 0
    this.#count = 0
    this.#slots.fill(0)
  }

  /**
   * The rows' numbers in the order of their keys, as far as a tree of pages profits from it: it then meets each of its pages once, and
   * what stands in one is written together. By a few bytes at a time, behind those that all keys have in common.
   */
  ordered(): Uint32Array {
    const order = Uint32Array.from({ length: this.#count }, (_, n) => n)
    for (let at = 0; at < order.length; at += ORDERED_MAX) this.#order(order.subarray(at, at + ORDERED_MAX), 0)
    return order
  }

  #order(run: Uint32Array, known: number): void {
    const [common, longest] = this.#common(run, known)
    const places = new Float64Array(run.length)
    for (let n = 0; n < run.length; n++) places[n] = this.#prefix(run[n]!, common) * ORDERED_MAX + n
    places.sort()
    const before = run.slice()
    let from = 0
    let last = -1
    for (let n = 0; n < run.length; n++) {
      const prefix = Math.floor(places[n]! / ORDERED_MAX)
      run[n] = before[places[n]! - prefix * ORDERED_MAX]!
      if (prefix === last) continue
      if (n - from > 1) this.#orderAlike(run.subarray(from, n), common + ORDER_BYTES, longest)
      from = n
      last = prefix
    }
    if (run.length - from > 1) this.#orderAlike(run.subarray(from), common + ORDER_BYTES, longest)
  }

  #orderAlike(run: Uint32Array, known: number, longest: number): void {
    if (known < longest) this.#order(run, known)
  }

  /**
   * How many bytes the keys begin alike with, of which `known` are known (a key that has ended goes on with zeros), and how many the
   * longest has.
   */
  #common(run: Uint32Array, known: number): readonly [common: number, longest: number] {
    const first = run[0]! * WORDS
    const firstAt = this.#entries[first + KEY_AT]!
    let common = this.#entries[first + KEY_BYTES]!
    let longest = common
    for (const entry of run) {
      const at = this.#entries[entry * WORDS + KEY_AT]!
      const length = this.#entries[entry * WORDS + KEY_BYTES]!
      if (length > longest) longest = length
      if (length < common) common = length
      let n = Math.min(known, common)
      while (n < common && this.#bytes[at + n] === this.#bytes[firstAt + n]) n++
      common = n
    }
    return [Math.max(common, known), longest]
  }

  /** Four bytes of a key as a number; zeros where it has ended. */
  #prefix(entry: number, from: number): number {
    const bytes = this.#bytes
    const at = this.#entries[entry * WORDS + KEY_AT]! + from
    const left = this.#entries[entry * WORDS + KEY_BYTES]! - from
    if (left >= ORDER_BYTES)
      return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
    let prefix = 0
    for (let n = 0; n < ORDER_BYTES; n++) prefix = prefix * 256 + (n < left ? bytes[at + n]! : 0)
    return prefix
  }
}
