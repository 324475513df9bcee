// Key → row: an open-addressing table for each of 128 key groups. A group grows by itself, so that no key of ten million
// waits for more than its 128th part. An entry is one word: the number of a row, one more, in its lower bits, and above them
// as many bits of the key's hash as have room. So a key that is looked for meets hardly any row but its own; what growing
// and removing need of a hash beyond them is made anew from the row's key. Removed rows leave no tombstones: those behind
// them move up.
import { RUN_ROWS_MAX } from '../../core/index.ts'
import { ALL_GROUPS, GROUP_SHIFT, KEY_GROUPS, type KeyGroups } from './key-groups.ts'
import { hashOfBytes, type KeyPlaces, type KeySource } from './key-heap.ts'
import { hashOfNumber } from './keys.ts'
import type { StateMemory } from './memory.ts'
import { NO_ROW, type RunRows } from './row-places.ts'

const FIRST_CAPACITY = 8
/** A group grows when it is fuller than its limit. Keys fill all groups alike: limits of their own keep them from growing all at once. */
const FULL_LEAST = 0.65
const FULL_MOST = 0.8
/** What is reserved is less full than that, so that the next few rows find room. */
const RESERVED_FULL = 0.9
const limitOf = (group: number): number => FULL_LEAST + (FULL_MOST - FULL_LEAST) * (group / KEY_GROUPS)

/** Bits of an entry that are the row, for tables of ever more rows. Each change of them costs a pass over all entries. */
const ROW_BITS = [24, 28, 31] as const

const HOME_MASK = 2 ** GROUP_SHIFT - 1
const HOME_SCALE = 2 ** -GROUP_SHIFT

/** What the index asks the table of rows. */
export interface KeyedRows {
  holds(row: number, id: number): boolean
  holdsBytes(row: number, source: KeySource, from: number, to: number): boolean
  /** The hash of a row's key. */
  hashOf(row: number): number
  /** The same of several rows. */
  hashesOf(rows: Uint32Array, count: number, into: Uint32Array): void
}

/** 0 is an empty place. */
type Entries = Int32Array

const EMPTY: Entries = new Int32Array(1)
/** Of a group whose keys are somebody else's. */
const FOREIGN: Entries = new Int32Array(1)

/** Rows whose hashes are made at a time. */
export const HASHED_ROWS = 256
const hashedRows = new Uint32Array(HASHED_ROWS)
const rowHashes = new Uint32Array(HASHED_ROWS)

export class KeyIndex {
  readonly #rows: KeyedRows
  readonly #memory: StateMemory
  readonly #owned: KeyGroups
  readonly #groups: Entries[] = new Array<Entries>(KEY_GROUPS).fill(EMPTY)
  /** Rows of each group. */
  readonly #used = new Uint32Array(KEY_GROUPS)
  /** Lower bits of an entry that are the row. */
  #rowBits: number = ROW_BITS[0]
  /** Where the keys of a run are looked for first, and then where that ended. */
  readonly #homes = new Uint32Array(RUN_ROWS_MAX)
  /** Rows with which each group is full. */
  readonly #full = new Uint32Array(KEY_GROUPS)
  /** Whether entries have moved since rows were guessed. */
  #moved = false
  #bytes = 0

  constructor(rows: KeyedRows, memory: StateMemory, owned: KeyGroups = ALL_GROUPS) {
    this.#rows = rows
    this.#memory = memory
    this.#owned = owned
    this.#groups.fill(FOREIGN, 0, owned.from).fill(FOREIGN, owned.to)
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Whether keys of this hash are kept here. */
  owns(hash: number): boolean {
    return this.#groups[hash >>> GROUP_SHIFT] !== FOREIGN
  }

  /** The row of a number, or −1. */
  find(id: number, hash: number): number {
    const entries = this.#groups[hash >>> GROUP_SHIFT]!
    const bits = this.#rowBits
    const tag = hash << bits
    for (let at = homeOf(hash, entries); ; at = after(at, entries)) {
      const entry = entries[at]!
      if (entry === 0) return -1
      const row = (entry ^ tag) - 1
      if ((entry ^ tag) >>> bits === 0 && this.#rows.holds(row, id)) return row
    }
  }

  /** The row of a key of bytes, or −1. */
  findBytes(source: KeySource, from: number, to: number, hash: number): number {
    const entries = this.#groups[hash >>> GROUP_SHIFT]!
    const bits = this.#rowBits
    const tag = hash << bits
    for (let at = homeOf(hash, entries); ; at = after(at, entries)) {
      const entry = entries[at]!
      if (entry === 0) return -1
      const row = (entry ^ tag) - 1
      if ((entry ^ tag) >>> bits === 0 && this.#rows.holdsBytes(row, source, from, to)) return row
    }
  }

  /**
   * Chooses the records whose keys are kept here, and hashes them; NaN stands for no key. Gives how many they are.
   * Whose a key is follows from its hash alone, so that no branch could be foreseen: there is none.
   */
  chooseNumbers(keys: Float64Array, from: number, count: number, { hashes, records }: RunRows): number {
    const first = this.#owned.from
    const last = this.#owned.to - 1
    let chosen = 0
    for (let n = 0; n < count; n++) {
      const id = keys[from + n]!
      if (Number.isNaN(id)) continue
      const hash = hashOfNumber(id)
      const group = hash >>> GROUP_SHIFT
      hashes[chosen] = hash
      records[chosen] = n
      chosen += 1 - (((group - first) | (last - group)) >>> 31)
    }
    return chosen
  }

  /** The same for keys of bytes: that of record `n` stands from `starts[n]` to `ends[n]`; −1 stands for no key. */
  chooseBytes(source: KeySource, { starts, ends }: KeyPlaces, count: number, { hashes, records }: RunRows): number {
    const first = this.#owned.from
    const last = this.#owned.to - 1
    let chosen = 0
    for (let n = 0; n < count; n++) {
      const start = starts[n]!
      if (start < 0) continue
      const hash = hashOfBytes(source, start, ends[n]!)
      const group = hash >>> GROUP_SHIFT
      hashes[chosen] = hash
      records[chosen] = n
      chosen += 1 - (((group - first) | (last - group)) >>> 31)
    }
    return chosen
  }

  /**
   * For each hash the first row that may have it, and hardly ever another key; NO_ROW where there is none. Before that, asks for
   * the entries where they are looked for first: a loop without a branch that waits for one of them, so that they all are on
   * their way at a time.
   */
  guess({ hashes, rows }: RunRows, chosen: number): void {
    this.#moved = false
    const groups = this.#groups
    const homes = this.#homes
    const bits = this.#rowBits
    for (let k = 0; k < chosen; k++) {
      const hash = hashes[k]!
      const entries = groups[hash >>> GROUP_SHIFT]!
      const home = homeOf(hash, entries)
      homes[k] = home
      rows[k] = entries[home]!
    }
    for (let k = 0; k < chosen; k++) {
      const hash = hashes[k]!
      const entries = groups[hash >>> GROUP_SHIFT]!
      const tag = hash << bits
      let at = homes[k]!
      let entry = entries[at]!
      while (entry !== 0 && (entry ^ tag) >>> bits !== 0) {
        at = after(at, entries)
        entry = entries[at]!
      }
      homes[k] = at
      rows[k] = entry === 0 ? NO_ROW : (entry ^ tag) - 1
    }
  }

  /** Whether the `k`-th key, for which no row was guessed, has none still: it would be where nothing was. */
  isAbsent(k: number, hash: number): boolean {
    return !this.#moved && this.#groups[hash >>> GROUP_SHIFT]![this.#homes[k]!] === 0
  }

  /** Makes room for so many rows of a group, where it has none yet. @throws STATE_TOO_LARGE */
  reserve(group: number, rows: number): void {
    if (this.#groups[group] !== EMPTY || rows === 0) return
    this.#resize(group, Math.max(FIRST_CAPACITY, Math.ceil(rows / limitOf(group) / RESERVED_FULL)))
  }

  /** Adds a row whose key is not there. @throws STATE_TOO_LARGE */
  add(row: number, hash: number): void {
    const group = hash >>> GROUP_SHIFT
    if ((row + 1) >>> this.#rowBits !== 0) this.#widen()
    if (this.#used[group]!++ === this.#full[group]) this.#grow(group)
    this.#place(group, row, hash)
  }

  remove(row: number, hash: number): void {
    const group = hash >>> GROUP_SHIFT
    const entries = this.#groups[group]!
    const rowMask = this.#rowMask
    let hole = homeOf(hash, entries)
    while ((entries[hole]! & rowMask) !== row + 1) hole = after(hole, entries)
    this.#used[group]!--
    this.#moved = true
    const from = (place: number, to: number): number => (to < place ? to + entries.length : to) - place
    // Whoever stands behind the hole and would be looked for before it moves into it.
    for (let at = after(hole, entries); entries[at] !== 0; at = after(at, entries)) {
      const home = homeOf(this.#rows.hashOf((entries[at]! & rowMask) - 1), entries)
      if (from(home, at) < from(hole, at)) continue
      entries[hole] = entries[at]!
      hole = at
    }
    entries[hole] = 0
  }

  get #rowMask(): number {
    return 0x7fffffff >>> (31 - this.#rowBits)
  }

  #place(group: number, row: number, hash: number): void {
    const entries = this.#groups[group]!
    let at = homeOf(hash, entries)
    while (entries[at] !== 0) at = after(at, entries)
    entries[at] = (hash << this.#rowBits) | (row + 1)
  }

  /** Takes bits of the hashes for those of rows. */
  #widen(): void {
    const mask = this.#rowMask
    const bits = this.#rowBits
    const widened = ROW_BITS.find(each => each > bits)!
    this.#rowBits = widened
    for (const entries of this.#groups) {
      for (let at = 0; at < entries.length; at++) {
        const entry = entries[at]!
        if (entry !== 0) entries[at] = ((entry >>> bits) << widened) | (entry & mask)
      }
    }
  }

  #grow(group: number): void {
    const { length } = this.#groups[group]!
    this.#resize(group, Math.max(FIRST_CAPACITY, length * 2))
  }

  #resize(group: number, capacity: number): void {
    const entries = this.#groups[group]!
    const known = entries === EMPTY ? 0 : entries.length
    const bytes = (capacity - known) * Int32Array.BYTES_PER_ELEMENT
    this.#memory.take(bytes)
    this.#bytes += bytes
    this.#groups[group] = new Int32Array(capacity)
    this.#full[group] = Math.floor(capacity * limitOf(group))
    this.#moved = true
    const mask = this.#rowMask
    let count = 0
    for (let at = 0; at < entries.length; at++) {
      if (entries[at] === 0) continue
      hashedRows[count++] = (entries[at]! & mask) - 1
      if (count === HASHED_ROWS) {
        this.#placeAll(group, count)
        count = 0
      }
    }
    this.#placeAll(group, count)
  }

  #placeAll(group: number, count: number): void {
    this.#rows.hashesOf(hashedRows, count, rowHashes)
    for (let n = 0; n < count; n++) this.#place(group, hashedRows[n]!, rowHashes[n]!)
  }
}

/** The place at which a key is looked for first: the bits of its hash behind those of the group, as a part of the whole. */
const homeOf = (hash: number, { length }: Entries): number => ((hash & HOME_MASK) * length * HOME_SCALE) | 0

const after = (at: number, { length }: Entries): number => (at + 1 === length ? 0 : at + 1)
