// The bytes of keys that are no numbers: kept in pages beside the rows, so that a million of them are no million strings of the
// heap. A key is known by a reference, its place and length in one number. What a removed key took goes to the next of its size.
import { RUN_ROWS_MAX } from '../../core/index.ts'
import type { StateMemory } from './memory.ts'
import { RowList } from './row-list.ts'

/** Keys begin at multiples of 4 bytes, and are compared so many bytes at a time. */
const UNIT = 4
const PAGE_UNITS = 1 << 16
const PAGE_BYTES = PAGE_UNITS * UNIT
/** Bound of a key's bytes; keys are at most KEY_BYTES_MAX long. */
const LENGTHS = 2048

const RANK_BYTES = 6

const EMPTY = Buffer.alloc(0)

interface Page {
  readonly bytes: Buffer
  /** The same memory. */
  readonly words: Int32Array
}

/** Bytes of keys that are looked for: the same as a view for reads of several bytes. */
export class KeySource {
  bytes: Buffer
  view: DataView

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.view = viewOf(bytes)
  }

  set(bytes: Buffer): void {
    if (bytes === this.bytes) return
    this.bytes = bytes
    this.view = viewOf(bytes)
  }
}

const viewOf = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

/** Where the keys of a run's records stand, and what is made of them on the way to their rows. */
export class KeyPlaces {
  /** −1 where a record has none. */
  readonly starts = new Float64Array(RUN_ROWS_MAX)
  readonly ends = new Float64Array(RUN_ROWS_MAX)
  readonly refs = new Float64Array(RUN_ROWS_MAX)
}

/** The unit with which the key of a reference begins; by subtraction, since a remainder of floats is a call. */
const placeOf = (ref: number): number => Math.floor(ref / LENGTHS)
const lengthOf = (ref: number, place: number): number => ref - place * LENGTHS - 0.5
const pageOf = (place: number): number => Math.floor(place / PAGE_UNITS)
const unitOf = (place: number): number => place - Math.floor(place / PAGE_UNITS) * PAGE_UNITS

export class KeyHeap {
  readonly #memory: StateMemory
  readonly #pages: Page[] = []
  /** Units of the last page that are handed out. */
  #used = PAGE_UNITS
  /** By size in units: places that are free again. */
  readonly #free: (RowList | undefined)[] = []

  constructor(memory: StateMemory) {
    this.#memory = memory
  }

  /** Bytes that its pages take. */
  get bytes(): number {
    return this.#pages.length * PAGE_BYTES
  }

  /** Keeps a key's bytes, and gives their reference: no whole number, so that it is told from a key that is one. @throws STATE_TOO_LARGE */
  add({ bytes, view }: KeySource, from: number, to: number): number {
    const length = to - from
    if (length >= LENGTHS) throw new RangeError(`a key has ${length} bytes`)
    if (length === 0) return 0.5
    const units = (length + UNIT - 1) >>> 2
    const place = this.#place(units)
    const { words } = this.#pages[pageOf(place)]!
    let at = unitOf(place)
    let n = from
    for (const end = to - 3; n < end; n += UNIT) words[at++] = view.getInt32(n, true)
    if (n < to) words[at] = restOf(bytes, n, to)
    return place * LENGTHS + length + 0.5
  }

  #place(units: number): number {
    const free = this.#free[units]
    if (free !== undefined && free.length > 0) return free.pop()
    if (this.#used + units > PAGE_UNITS) {
      this.#memory.take(PAGE_BYTES)
      const bytes = Buffer.allocUnsafeSlow(PAGE_BYTES)
      this.#pages.push({ bytes, words: new Int32Array(bytes.buffer, bytes.byteOffset, PAGE_UNITS) })
      this.#used = 0
    }
    const place = (this.#pages.length - 1) * PAGE_UNITS + this.#used
    this.#used += units
    return place
  }

  remove(ref: number): void {
    const place = placeOf(ref)
    const units = (lengthOf(ref, place) + UNIT - 1) >>> 2
    if (units === 0) return
    let free = this.#free[units]
    if (free === undefined) this.#free[units] = free = new RowList()
    free.push(place)
  }

  /** The first bytes of a key: asked for ahead of `equals`, since they may have to come from far away. */
  first(ref: number): number {
    const place = placeOf(ref)
    const page = this.#pages[pageOf(place)]
    return page === undefined ? 0 : page.words[unitOf(place)]!
  }

  /** Whether the key of a reference has these bytes. */
  equals(ref: number, { bytes, view }: KeySource, from: number, to: number): boolean {
    const place = placeOf(ref)
    const length = to - from
    if (ref - place * LENGTHS !== length + 0.5) return false
    if (length === 0) return true
    const { words } = this.#pages[pageOf(place)]!
    let at = unitOf(place)
    let n = from
    for (const end = to - 3; n < end; n += 4) if (words[at++] !== view.getInt32(n, true)) return false
    return n === to || words[at] === restOf(bytes, n, to)
  }

  /** As `hashOfBytes` of the key. */
  hashOf(ref: number): number {
    const place = placeOf(ref)
    const length = lengthOf(ref, place)
    if (length === 0) return finish(0)
    const { words } = this.#pages[pageOf(place)]!
    let at = unitOf(place)
    let hash = length
    for (const end = at + (length >>> 2); at < end; at++) hash = stir(hash, words[at]!)
    // Behind its last bytes a key's unit is zero.
    if ((length & 3) !== 0) hash ^= scrambled(words[at]!)
    return finish(hash)
  }

  /** Not a copy. */
  read(ref: number): Buffer {
    if (ref === 0.5) return EMPTY
    const place = placeOf(ref)
    const { bytes } = this.#pages[pageOf(place)]!
    const at = unitOf(place) * UNIT
    return bytes.subarray(at, at + lengthOf(ref, place))
  }

  /** The first six bytes as one number: less only where the key is before. */
  rankOf(ref: number): number {
    const place = placeOf(ref)
    const length = lengthOf(ref, place)
    if (length === 0) return 0
    const { bytes } = this.#pages[pageOf(place)]!
    const at = unitOf(place) * UNIT
    let rank = 0
    for (let n = 0; n < RANK_BYTES; n++) rank = rank * 256 + (n < length ? bytes[at + n]! : 0)
    return rank
  }

  /** As the bytes of the keys compare: a unit at a time, which takes a third of what two views of them would. */
  compare(a: number, b: number): number {
    const [placeA, placeB] = [placeOf(a), placeOf(b)]
    const [lengthA, lengthB] = [lengthOf(a, placeA), lengthOf(b, placeB)]
    const units = (Math.min(lengthA, lengthB) + UNIT - 1) >>> 2
    if (units === 0) return lengthA - lengthB
    const { words: wordsA } = this.#pages[pageOf(placeA)]!
    const { words: wordsB } = this.#pages[pageOf(placeB)]!
    const [atA, atB] = [unitOf(placeA), unitOf(placeB)]
    for (let n = 0; n < units; n++) {
      const [wordA, wordB] = [wordsA[atA + n]!, wordsB[atB + n]!]
      // Behind its last bytes a key's unit is zero: where that decides nothing, lengths do.
      if (wordA !== wordB) return bigEndian(wordA) - bigEndian(wordB)
    }
    return lengthA - lengthB
  }
}

/** Four bytes as a number whose first byte counts most. */
const bigEndian = (word: number): number =>
  ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0

/** The last one to three bytes of a key, as a unit of it. */
function restOf(bytes: Buffer, n: number, to: number): number {
  let rest = bytes[n]!
  if (n + 1 < to) rest |= bytes[n + 1]! << 8
  if (n + 2 < to) rest |= bytes[n + 2]! << 16
  return rest
}

/** Mixes a key's bytes, four at a time, as MurmurHash3 does. */
export function hashOfBytes({ bytes, view }: KeySource, from: number, to: number): number {
  let hash = to - from
  let n = from
  for (const end = to - 3; n < end; n += 4) hash = stir(hash, view.getInt32(n, true))
  if (n < to) hash ^= scrambled(restOf(bytes, n, to))
  return finish(hash)
}

const stir = (hash: number, word: number): number => {
  const mixed = hash ^ scrambled(word)
  return Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0x6b64e654
}

function scrambled(word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51)
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593)
}

function finish(given: number): number {
  let hash = Math.imul(given ^ (given >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
