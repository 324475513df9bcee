// The rows of one view: fixed strides of float64 words in pages of 4 MiB, what is no number in an array beside them, found by
// key through an index per key group. A row's number is its place and stays while it lives; places of rows that left are
// taken again. Memory is counted as it is taken: beyond the limit a row is refused with a typed error.
import {
  type AnyRow,
  type ByteReader,
  type ByteWriter,
  type Field,
  fail,
  type KeyCodec,
  type ObjectType,
} from '../../core/index.ts'
import { type DraftCode, draftCode, heldBytes } from './draft.ts'
import { isDeepEqual, isSameMap } from './equality.ts'
import { readKey, writeKey } from './key-bytes.ts'
import { KeyIndex } from './key-index.ts'
import { hashOf, type KeyId, type Keys, keysOf } from './keys.ts'
import { FLAGS, KEY, KEY_REF, type Layout, layoutOf, SUPPORT } from './layout.ts'
import type { StateMemory } from './memory.ts'
import { Place } from './place.ts'
import { RowList } from './row-list.ts'
import type { Page, RowPlaces, RunRows } from './row-places.ts'
import { type StoredCode, storedCode } from './stored-code.ts'

const PAGE_WORDS = (4 * 1024 * 1024) / 8
const WORD_BYTES = 8
/** Writes of so many bytes to the heap may pass before the limit is looked at. */
const HEAP_LOOK_BYTES = 64 * 1024

/** A view's definition, as far as its rows need it. */
export interface Named {
  readonly name: string
}

export class StateTable implements RowPlaces {
  readonly layout: Layout
  readonly keys: Keys
  /** What handlers are given; it is the row to which `open` has stepped. */
  readonly draft: AnyRow
  readonly at = new Place()
  readonly #code: DraftCode
  readonly #stored: StoredCode
  readonly #keyCodec: KeyCodec
  readonly #memory: StateMemory
  readonly #template: Page
  readonly #templateBytes: number
  readonly shift: number
  readonly mask: number
  readonly pages: Page[] = []
  #index: KeyIndex
  #free = new RowList()
  /** Places handed out so far, those free again too. */
  #rows = 0
  #pageBytes = 0
  /** Bytes in the heap for which the memory has been asked. */
  #heapTaken = 0

  /**
   * @param definition what the rows are of; accessors are made once for each
   * @param hidden fields that are kept and shown to nobody: maps, which begin empty
   * @param zero a new row, as a plain object, with its hidden fields
   * @throws DEFINITION_INVALID when the new row is not of its own type
   */
  constructor(
    definition: Named,
    type: ObjectType,
    hidden: readonly Field[],
    key: KeyCodec,
    zero: AnyRow,
    memory: StateMemory,
  ) {
    this.keys = keysOf(key)
    this.#keyCodec = key
    const layout = layoutOf(type, hidden, this.keys.texts)
    if (layout.words > PAGE_WORDS) {
      throw fail('DEFINITION_INVALID', `the state of '${definition.name}' has ${layout.words} fields`, {
        detail: `the limit is ${PAGE_WORDS}`,
      })
    }
    this.layout = layout
    this.#memory = memory
    this.#index = new KeyIndex(this, memory)
    this.shift = Math.floor(Math.log2(PAGE_WORDS / Math.max(layout.words, layout.refs)))
    this.mask = (1 << this.shift) - 1
    this.#code = draftCode(definition, layout, `a row of '${definition.name}'`)
    this.#stored = storedCode(definition, layout)
    this.draft = this.#code.row(this.at)
    this.#template = { words: new Float64Array(layout.words), refs: new Array(layout.refs).fill(undefined) }
    this.#templateBytes = this.#begin(zero)
  }

  /** Makes the template of new rows by writing one. */
  #begin(zero: AnyRow): number {
    const at = this.at
    at.words = this.#template.words
    at.refs = this.#template.refs
    at.base = at.refBase = 0
    this.#write(zero)
    this.close()
    at.heapBytes = 0
    const { refs } = this.#template
    // Maps are live: each row gets its own when it is first read.
    for (const [ref, value] of refs.entries()) if (value instanceof Map) refs[ref] = new Map(value)
    for (const ref of this.layout.maps)
      if ((refs[ref] as Map<unknown, unknown> | undefined)?.size === 0) refs[ref] = undefined
    return refs.reduce<number>((sum, value) => sum + heldBytes(value), 0)
  }

  #write(value: AnyRow): void {
    for (const { name } of this.layout.fields) this.draft[name] = value[name]
    for (const { name } of this.layout.hidden) this.draft[name] = value[name]
  }

  /** Bytes that its pages, index and values take. */
  get bytes(): number {
    return this.#pageBytes + this.#index.bytes + this.heapBytes
  }

  /** Of them, about how many are in V8's heap: strings, nested values and maps. */
  get heapBytes(): number {
    return this.#heapTaken + this.at.heapBytes
  }

  /** Places handed out so far: every row is below. */
  get places(): number {
    return this.#rows
  }

  /** The row of a key, or −1. */
  find(id: KeyId): number {
    return this.#index.find(id, hashOf(id))
  }

  /** The row of a key; a new one, not yet supported, where there is none. @throws STATE_TOO_LARGE */
  findOrAdd(id: KeyId): number {
    const hash = hashOf(id)
    const found = this.#index.find(id, hash)
    return found >= 0 ? found : this.#add(id, hash)
  }

  /**
   * Finds the rows of a run's keys, which stand in `keys` from `from` on, and makes those that are not there. `run.count` says
   * of how many, also where it throws. @throws STATE_TOO_LARGE
   */
  findOrAddNumbers(keys: Float64Array, from: number, count: number, run: RunRows): void {
    for (run.count = 0; ; run.count++) {
      run.count = this.#index.findNumbers(keys, from, run.count, count, run.rows)
      if (run.count === count) return
      const id = keys[from + run.count]! + 0
      run.rows[run.count] = this.#add(id, hashOf(id))
    }
  }

  /** The row of a string key given as UTF-8; −1 where it is not there, or not of ASCII bytes. */
  findBytes(bytes: Uint8Array, from: number, to: number): number {
    return this.#index.findBytes(bytes, from, to)
  }

  #add(id: KeyId, hash: number): number {
    const row = this.#place()
    this.#index.add(row, id, hash)
    const { words, refs } = this.#pageOf(row)
    const base = this.#baseOf(row)
    words[base + KEY] = typeof id === 'number' ? id : Number.NaN
    words[base + SUPPORT] = words[base + FLAGS] = 0
    if (typeof id === 'string') {
      refs[this.#refBaseOf(row) + KEY_REF] = id
      this.at.heapBytes += heldBytes(id)
    }
    this.clear(row)
    return row
  }

  /** A free place; what it holds is undefined. */
  #place(): number {
    if (this.#free.length > 0) return this.#free.pop()
    if (this.#rows === this.pages.length << this.shift) this.#addPage()
    return this.#rows++
  }

  #addPage(): void {
    const { words, refs } = this.layout
    const rows = 1 << this.shift
    const bytes = rows * (words + refs) * WORD_BYTES
    this.#memory.take(bytes)
    this.#pageBytes += bytes
    this.pages.push({ words: new Float64Array(rows * words), refs: new Array(rows * refs).fill(undefined) })
  }

  /** Gives a row's place back. */
  remove(row: number): void {
    this.#index.remove(row, this.idOf(row))
    this.#release(row)
  }

  #release(row: number): void {
    const { refs } = this.#pageOf(row)
    const from = this.#refBaseOf(row)
    for (let n = 0; n < this.layout.refs; n++) {
      this.at.heapBytes -= heldBytes(refs[from + n])
      refs[from + n] = undefined
    }
    this.#free.push(row)
  }

  /** Sets a row's values to those of a new one; its key, support and flags stay. */
  clear(row: number): void {
    const { words, refs } = this.#pageOf(row)
    const base = this.#baseOf(row)
    const template = this.#template
    for (let n = FLAGS + 1; n < this.layout.words; n++) words[base + n] = template.words[n]!
    const from = this.#refBaseOf(row)
    let bytes = this.#templateBytes
    for (let n = this.layout.keyRefs; n < this.layout.refs; n++) {
      bytes -= heldBytes(refs[from + n])
      refs[from + n] = template.refs[n]
    }
    this.at.heapBytes += bytes
  }

  /** A copy of a row that no key leads to. It goes by `releaseCopy`. */
  copy(row: number): number {
    const copy = this.#place()
    const [from, to] = [this.#pageOf(row), this.#pageOf(copy)]
    const base = this.#baseOf(row)
    const baseTo = this.#baseOf(copy)
    for (let n = 0; n < this.layout.words; n++) to.words[baseTo + n] = from.words[base + n]!
    to.words[baseTo + FLAGS] = 0
    const [refsFrom, refsTo] = [this.#refBaseOf(row), this.#refBaseOf(copy)]
    for (let n = 0; n < this.layout.refs; n++) {
      const value = from.refs[refsFrom + n]
      const kept = value instanceof Map ? new Map(value) : value
      to.refs[refsTo + n] = kept
      this.at.heapBytes += heldBytes(kept)
    }
    return copy
  }

  releaseCopy(row: number): void {
    this.#release(row)
  }

  /** Steps the accessors to a row. */
  open(row: number): void {
    const at = this.at
    const page = this.pages[row >>> this.shift]!
    at.words = page.words
    at.base = (row & this.mask) * this.layout.words
    at.refs = page.refs
    at.refBase = (row & this.mask) * this.layout.refs
  }

  /** Ends the use of the accessors. */
  close(): void {
    this.at.base = -1
  }

  /** Flags of the row at which the accessors stand. */
  get openFlags(): number {
    const at = this.at
    return at.words[at.base + FLAGS]!
  }

  /** Changes the support of the row at which the accessors stand, and ends their use. @throws STATE_TOO_LARGE */
  closeWith(weight: number): void {
    const at = this.at
    at.words[at.base + SUPPORT]! += weight
    at.base = -1
    if (at.heapBytes >= HEAP_LOOK_BYTES || at.heapBytes <= -HEAP_LOOK_BYTES) this.checkHeap()
  }

  /** Counts bytes that are in the heap for the rows' sake. @throws STATE_TOO_LARGE */
  countHeap(bytes: number): void {
    this.at.heapBytes += bytes
    this.checkHeap()
  }

  /** Asks the memory for what values have grown by. @throws STATE_TOO_LARGE */
  checkHeap(): void {
    const grown = this.at.heapBytes
    if (grown < HEAP_LOOK_BYTES && grown > -HEAP_LOOK_BYTES) return
    this.#memory.takeHeap(grown)
    this.#heapTaken += grown
    this.at.heapBytes = 0
  }

  idOf(row: number): KeyId {
    const key = this.#pageOf(row).words[this.#baseOf(row) + KEY]!
    return Number.isNaN(key) ? (this.#pageOf(row).refs[this.#refBaseOf(row) + KEY_REF] as string) : key
  }

  keyOf(row: number): unknown {
    return this.keys.keyOf(this.idOf(row))
  }

  /** Whether a row has this key. */
  holds(row: number, id: KeyId): boolean {
    const { words, refs } = this.#pageOf(row)
    if (typeof id === 'number') return words[this.#baseOf(row) + KEY] === id
    return refs[this.#refBaseOf(row) + KEY_REF] === id
  }

  holdsBytes(row: number, bytes: Uint8Array, from: number, to: number): boolean {
    const key = this.#pageOf(row).refs[this.#refBaseOf(row) + KEY_REF] as string
    if (key.length !== to - from) return false
    for (let n = 0; n < key.length; n++) if (key.charCodeAt(n) !== bytes[from + n]) return false
    return true
  }

  support(row: number): number {
    return this.#pageOf(row).words[this.#baseOf(row) + SUPPORT]!
  }

  setSupport(row: number, support: number): void {
    this.#pageOf(row).words[this.#baseOf(row) + SUPPORT] = support
  }

  flags(row: number): number {
    return this.#pageOf(row).words[this.#baseOf(row) + FLAGS]!
  }

  setFlags(row: number, flags: number): void {
    this.#pageOf(row).words[this.#baseOf(row) + FLAGS] = flags
  }

  /** A row as a plain object of its own. */
  toObject(row: number): AnyRow {
    const { words, refs } = this.#pageOf(row)
    return this.#code.toObject(words, this.#baseOf(row), refs, this.#refBaseOf(row))
  }

  /** The same with its hidden fields, as `assign` takes it. */
  toStored(row: number): AnyRow {
    const { words, refs } = this.#pageOf(row)
    return this.#code.toStored(words, this.#baseOf(row), refs, this.#refBaseOf(row))
  }

  /** Appends the bytes of a row's key. */
  writeKey(row: number, writer: ByteWriter): void {
    writeKey(writer, this.keys, this.idOf(row))
  }

  /** The id of the key whose bytes stand there. */
  readKey(bytes: Buffer, from: number, to: number): KeyId {
    return readKey(this.keys, this.#keyCodec, bytes, from, to)
  }

  /** Appends all fields of a row, its hidden ones too, as the row codec writes them. */
  writeStored(row: number, writer: ByteWriter): void {
    const { words, refs } = this.#pageOf(row)
    this.#stored.encode(writer, words, this.#baseOf(row), refs, this.#refBaseOf(row))
  }

  /** Sets all fields of a row from what `writeStored` wrote. @throws RangeError where it is not of this layout */
  readStored(row: number, reader: ByteReader): void {
    const { words, refs } = this.#pageOf(row)
    this.at.heapBytes += this.#stored.decode(reader, words, this.#baseOf(row), refs, this.#refBaseOf(row))
  }

  /** Writes all fields of a row. @throws STATE_INVALID */
  assign(row: number, value: AnyRow): void {
    this.open(row)
    this.#write(value)
    this.close()
  }

  /** Whether two rows have equal values; keys, support, flags and hidden fields aside. */
  isEqual(a: number, b: number): boolean {
    return this.#equals(a, this.#pageOf(b), this.#baseOf(b), this.#refBaseOf(b), this.layout.shownRefs, false)
  }

  /** Whether a row is as it began; floats aside, since their sums drift. */
  isZero(row: number): boolean {
    return this.#equals(row, this.#template, 0, 0, this.layout.refs, true)
  }

  #equals(row: number, other: Page, otherBase: number, otherRefBase: number, refsEnd: number, drift: boolean): boolean {
    const { words, refs } = this.#pageOf(row)
    const base = this.#baseOf(row)
    for (let n = FLAGS + 1; n < this.layout.words; n++) {
      if (drift && this.layout.drifting.has(n)) continue
      if (!Object.is(words[base + n], other.words[otherBase + n])) return false
    }
    const refBase = this.#refBaseOf(row)
    const { maps, keyRefs } = this.layout
    for (let n = keyRefs; n < refsEnd; n++) {
      const isEqual = maps.has(n) ? isSameMap : isDeepEqual
      if (!isEqual(refs[refBase + n], other.refs[otherRefBase + n])) return false
    }
    return true
  }

  /** Lets all rows go. */
  drop(): void {
    this.close()
    this.#memory.release(this.#pageBytes + this.#index.bytes, this.#heapTaken)
    this.pages.length = 0
    this.#index = new KeyIndex(this, this.#memory)
    this.#free = new RowList()
    this.#rows = this.#pageBytes = this.#heapTaken = this.at.heapBytes = 0
  }

  #pageOf(row: number): Page {
    return this.pages[row >>> this.shift]!
  }

  #baseOf(row: number): number {
    return (row & this.mask) * this.layout.words
  }

  #refBaseOf(row: number): number {
    return (row & this.mask) * this.layout.refs
  }
}
