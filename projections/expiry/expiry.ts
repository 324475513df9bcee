// Which rows of a view with a `ttl` are due to go: those that no event has touched for that long, by append times, which never
// go back. Rows stand in a list by their last touch, so that the next one due is the first: to touch a row moves it to the end.
// The time of the last touch is a hidden word of the row; the list is made from these words when it is first needed.
import type { Field } from '../../core/index.ts'
import { LIVE } from '../state/changes.ts'
import type { StateMemory } from '../state/memory.ts'
import type { StateTable } from '../state/state-table.ts'

/** The hidden field of the last touch: milliseconds since 1970. No state has a field of such a name. */
export const TOUCHED_AT: Field = { name: ' touched at', type: { kind: 'int' } }

const NONE = 0xffff_ffff
/** Of rows that are not in the list. */
const OUT = 0xffff_fffe
const PLACES_MIN = 1_024
const BYTES_PER_PLACE = 8

export class Expiry {
  readonly ttlMs: number
  readonly #table: StateTable
  readonly #memory: StateMemory
  readonly #word: number
  #next = new Uint32Array(0)
  #before = new Uint32Array(0)
  #first = NONE
  #last = NONE
  #made = false
  /** Append time of the running transaction, or of the last one. */
  #nowMs = 0

  constructor(ttlMs: number, table: StateTable, memory: StateMemory) {
    this.ttlMs = ttlMs
    this.#table = table
    this.#memory = memory
    const slot = table.layout.hidden.find(({ name }) => name === TOUCHED_AT.name)?.slot
    this.#word = slot?.kind === 'word' ? slot.word : -1
  }

  /** When the next row is due, by append time; Infinity where there is none. */
  get nextMs(): number {
    this.#make()
    return this.#first === NONE ? Number.POSITIVE_INFINITY : this.#touchedAt(this.#first) + this.ttlMs
  }

  /** Begins a transaction: rows that `due` gives are those that are due now. */
  begin(nowMs: number): void {
    this.#make()
    this.#nowMs = nowMs
  }

  /** Takes the next row that is due out of the list; −1 where there is none. */
  due(): number {
    const row = this.#first
    if (row === NONE || this.#touchedAt(row) + this.ttlMs > this.#nowMs) return -1
    this.#remove(row)
    return row
  }

  /** The running transaction has touched a row, which is there at its end. @throws STATE_TOO_LARGE */
  touch(row: number): void {
    const { pages, shift, mask, layout } = this.#table
    pages[row >>> shift]!.words[(row & mask) * layout.words + this.#word] = this.#nowMs
    this.#remove(row)
    this.#append(row)
  }

  /** A row is there no more. */
  leave(row: number): void {
    this.#remove(row)
  }

  /** Forgets all rows. */
  drop(): void {
    this.#memory.release(this.#next.length * BYTES_PER_PLACE, 0)
    this.#next = this.#before = new Uint32Array(0)
    this.#first = this.#last = NONE
    this.#made = false
  }

  #touchedAt(row: number): number {
    const { pages, shift, mask, layout } = this.#table
    return pages[row >>> shift]!.words[(row & mask) * layout.words + this.#word]!
  }

  /** Makes the list from the rows, as a checkpoint gave them. */
  #make(): void {
    if (this.#made) return
    this.#made = true
    const { places } = this.#table
    const rows: number[] = []
    for (let row = 0; row < places; row++) if ((this.#table.flags(row) & LIVE) !== 0) rows.push(row)
    rows.sort((a, b) => this.#touchedAt(a) - this.#touchedAt(b))
    for (const row of rows) this.#append(row)
  }

  #append(row: number): void {
    if (row >= this.#next.length) this.#grow(row + 1)
    this.#before[row] = this.#last
    this.#next[row] = NONE
    if (this.#last === NONE) this.#first = row
    else this.#next[this.#last] = row
    this.#last = row
  }

  #remove(row: number): void {
    if (row >= this.#next.length || this.#next[row] === OUT) return
    const next = this.#next[row]!
    const before = this.#before[row]!
    if (before === NONE) this.#first = next
    else this.#next[before] = next
    if (next === NONE) this.#last = before
    else this.#before[next] = before
    this.#next[row] = OUT
  }

  #grow(places: number): void {
    const length = Math.max(PLACES_MIN, places, this.#next.length * 2)
    this.#memory.take((length - this.#next.length) * BYTES_PER_PLACE)
    const next = new Uint32Array(length).fill(OUT)
    next.set(this.#next)
    const before = new Uint32Array(length)
    before.set(this.#before)
    this.#next = next
    this.#before = before
  }
}
