// Key → row: an open-addressing table for each of 128 key groups. A group grows by itself, so that no key of ten million
// waits for more than its 128th part; the hash stands beside the row, so that growing reads no rows. Removed rows leave no
// tombstones: those behind them move up.
import { ALL_GROUPS, GROUP_SHIFT, KEY_GROUPS, type KeyGroups } from './key-groups.ts'
import { hashOfBytes, type KeyPlaces, type KeySource } from './key-heap.ts'
import { hashOfNumber } from './keys.ts'
import type { StateMemory } from './memory.ts'
import type { RunRows } from './row-places.ts'

const FIRST_CAPACITY = 8
/** A group grows when it is fuller than its limit. Keys fill all groups alike: limits of their own keep them from growing all at once. */
const FULL_LEAST = 0.6
const FULL_MOST = 0.75
const limitOf = (group: number): number => FULL_LEAST + (FULL_MOST - FULL_LEAST) * (group / KEY_GROUPS)

/** What the index asks the table of rows. */
export interface KeyedRows {
  holds(row: number, id: number): boolean
  holdsBytes(row: number, source: KeySource, from: number, to: number): boolean
}

/** Pairs of (row + 1, hash); a row of 0 is an empty place. */
type Entries = Uint32Array

const EMPTY: Entries = new Uint32Array(2)
/** Of a group whose keys are somebody else's. */
const FOREIGN: Entries = new Uint32Array(2)

export class KeyIndex {
  readonly #rows: KeyedRows
  readonly #memory: StateMemory
  readonly #owned: KeyGroups
  readonly #groups: Entries[] = new Array<Entries>(KEY_GROUPS).fill(EMPTY)
  /** Rows of each group. */
  readonly #used = new Uint32Array(KEY_GROUPS)
  #bytes = 0
  /** Whether all keys are integers of 32 bits. Their hashes differ as they do, so that no row needs to be looked at. */
  #exact = true

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
    const mask = entries.length - 2
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const row = entries[at]!
      if (row === 0) return -1
      if (entries[at + 1] === hash && this.#rows.holds(row - 1, id)) return row - 1
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
   * Asks for the entries where keys are looked for first: a loop without a branch that waits for one of them, so that they all are on
   * their way at a time.
   */
  ask({ hashes, rows }: RunRows, chosen: number): void {
    const groups = this.#groups
    for (let k = 0; k < chosen; k++) {
      const hash = hashes[k]!
      const entries = groups[hash >>> GROUP_SHIFT]!
      rows[k] = entries[(hash << 1) & (entries.length - 2)]!
    }
  }

  /** Finds the rows of chosen numbers from the `k`-th on, up to the first that is not there; gives its number, or how many were chosen. */
  findNumbers(keys: Float64Array, from: number, { hashes, records, rows }: RunRows, k: number, chosen: number): number {
    const groups = this.#groups
    const exact = this.#exact
    for (let n = k; n < chosen; n++) {
      const id = keys[from + records[n]!]!
      const hash = hashes[n]!
      const entries = groups[hash >>> GROUP_SHIFT]!
      const mask = entries.length - 2
      const small = exact && id === (id | 0)
      for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
        const row = entries[at]!
        if (row === 0) return n
        if (entries[at + 1] === hash && (small || this.#rows.holds(row - 1, id))) {
          rows[n] = row - 1
          break
        }
      }
    }
    return chosen
  }

  /** The row of a key of bytes, or −1. */
  findBytes(source: KeySource, from: number, to: number, hash: number): number {
    const entries = this.#groups[hash >>> GROUP_SHIFT]!
    const mask = entries.length - 2
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const row = entries[at]!
      if (row === 0) return -1
      if (entries[at + 1] === hash && this.#rows.holdsBytes(row - 1, source, from, to)) return row - 1
    }
  }

  /** For each hash the first row that has it, and hardly ever another key; NO_ROW where there is none. */
  findHashes({ hashes, rows }: RunRows, chosen: number): void {
    const groups = this.#groups
    for (let k = 0; k < chosen; k++) {
      const hash = hashes[k]!
      const entries = groups[hash >>> GROUP_SHIFT]!
      const mask = entries.length - 2
      let at = (hash << 1) & mask
      while (entries[at] !== 0 && entries[at + 1] !== hash) at = (at + 2) & mask
      // A row of 0 is an empty place: one less is NO_ROW.
      rows[k] = entries[at]! - 1
    }
  }

  /** Adds a row whose key is not there. @param id undefined where the key is of bytes. @throws STATE_TOO_LARGE */
  add(row: number, id: number | undefined, hash: number): void {
    if (id === undefined || id !== (id | 0)) this.#exact = false
    const group = hash >>> GROUP_SHIFT
    if ((this.#used[group]! + 1) * 2 > this.#groups[group]!.length * limitOf(group)) this.#grow(group)
    place(this.#groups[group]!, row + 1, hash)
    this.#used[group]!++
  }

  remove(row: number, hash: number): void {
    const group = hash >>> GROUP_SHIFT
    const entries = this.#groups[group]!
    const mask = (entries.length >>> 1) - 1
    let hole = hash & mask
    while (entries[hole * 2] !== row + 1) hole = (hole + 1) & mask
    this.#used[group]!--
    // Whoever stands behind the hole and would be looked for before it moves into it.
    for (let at = (hole + 1) & mask; entries[at * 2] !== 0; at = (at + 1) & mask) {
      const home = entries[at * 2 + 1]! & mask
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      entries[hole * 2] = entries[at * 2]!
      entries[hole * 2 + 1] = entries[at * 2 + 1]!
      hole = at
    }
    entries[hole * 2] = 0
  }

  #grow(group: number): void {
    const entries = this.#groups[group]!
    const known = entries === EMPTY ? 0 : entries.length
    const length = Math.max(FIRST_CAPACITY * 2, known * 2)
    const bytes = (length - known) * Uint32Array.BYTES_PER_ELEMENT
    this.#memory.take(bytes)
    this.#bytes += bytes
    const grown = new Uint32Array(length)
    for (let at = 0; at < known; at += 2) if (entries[at] !== 0) place(grown, entries[at]!, entries[at + 1]!)
    this.#groups[group] = grown
  }
}

function place(entries: Entries, rowAndOne: number, hash: number): void {
  const mask = (entries.length >>> 1) - 1
  let at = hash & mask
  while (entries[at * 2] !== 0) at = (at + 1) & mask
  entries[at * 2] = rowAndOne
  entries[at * 2 + 1] = hash
}
