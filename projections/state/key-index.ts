// Key → row: an open-addressing table for each of 128 key groups. A group grows by itself, so that no key of ten million
// waits for more than its 128th part; the hash stands beside the row, so that growing reads no rows. Removed rows leave no
// tombstones: those behind them move up.
import { hashOf, type KeyId } from './keys.ts'
import type { StateMemory } from './memory.ts'

export const KEY_GROUPS = 128
const GROUP_SHIFT = 25
const FIRST_CAPACITY = 8
/** A group grows when it is fuller than this. */
const FULL = 0.7
const ENTRY_BYTES = 8

/** What the index asks the table of rows. */
export interface KeyedRows {
  holds(row: number, id: KeyId): boolean
}

/** Pairs of (row + 1, hash); 0 is an empty place. */
interface Group {
  entries: Uint32Array
  /** Its capacity less one: a mask of hashes. */
  mask: number
  used: number
}

const EMPTY = new Uint32Array(2)

export class KeyIndex {
  readonly #rows: KeyedRows
  readonly #memory: StateMemory
  readonly #groups: Group[] = []
  #bytes = 0

  constructor(rows: KeyedRows, memory: StateMemory) {
    this.#rows = rows
    this.#memory = memory
    for (let n = 0; n < KEY_GROUPS; n++) this.#groups.push({ entries: EMPTY, mask: 0, used: 0 })
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The row of a key, or −1. */
  find(id: KeyId, hash: number): number {
    const { entries, mask } = this.#groups[hash >>> GROUP_SHIFT]!
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const row = entries[at * 2]! - 1
      if (row < 0) return -1
      if (entries[at * 2 + 1] === hash && this.#rows.holds(row, id)) return row
    }
  }

  /** Adds a row whose key is not there. @throws STATE_TOO_LARGE */
  add(row: number, hash: number): void {
    const group = this.#groups[hash >>> GROUP_SHIFT]!
    if (group.used + 1 > (group.mask + 1) * FULL) this.#grow(group)
    place(group, row + 1, hash)
    group.used++
  }

  remove(row: number, id: KeyId): void {
    const hash = hashOf(id)
    const group = this.#groups[hash >>> GROUP_SHIFT]!
    const { entries, mask } = group
    let hole = hash & mask
    while (entries[hole * 2] !== row + 1) hole = (hole + 1) & mask
    group.used--
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

  #grow(group: Group): void {
    const { entries } = group
    const capacity = Math.max(FIRST_CAPACITY, (group.mask + 1) * 2)
    const bytes = (capacity - (entries === EMPTY ? 0 : group.mask + 1)) * ENTRY_BYTES
    this.#memory.take(bytes)
    this.#bytes += bytes
    group.entries = new Uint32Array(capacity * 2)
    group.mask = capacity - 1
    for (let at = 0; at < entries.length; at += 2) if (entries[at] !== 0) place(group, entries[at]!, entries[at + 1]!)
  }
}

function place({ entries, mask }: Group, rowAndOne: number, hash: number): void {
  let at = hash & mask
  while (entries[at * 2] !== 0) at = (at + 1) & mask
  entries[at * 2] = rowAndOne
  entries[at * 2 + 1] = hash
}
