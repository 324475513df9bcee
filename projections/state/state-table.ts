// The rows of one view: fixed strides of float64 words in pages of 4 MiB, what is no number in an array beside them, found by
// key through an index per key group. A row's number is its place and stays while it lives; places of rows that left are
// taken again. Memory is counted as it is taken: beyond the limit a row is refused with a typed error.
import {
  type AnyRow,
  type ByteReader,
  type ByteWriter,
  type Field,
  fail,
  KEY_BYTES_MAX,
  type KeyCodec,
  type ObjectType,
} from '../../core/index.ts'
import { type DraftCode, draftCode, heldBytes } from './draft.ts'
import { isDeepEqual, isSameMap } from './equality.ts'
import { readKey, writeKey } from './key-bytes.ts'
import { ALL_GROUPS, type KeyGroups } from './key-groups.ts'
import { hashOfBytes, KeyHeap, type KeyPlaces, KeySource } from './key-heap.ts'
import { KeyIndex } from './key-index.ts'
import { hashOfNumber, type KeyId, type Keys, keysOf, SHORT_TEXT } from './keys.ts'
import { FLAGS, KEY, type Layout, layoutOf, SUPPORT } from './layout.ts'
import type { StateMemory } from './memory.ts'
import { Place } from './place.ts'
import { RowList } from './row-list.ts'
import { NO_ROW, type Page, type RowPlaces, type RunRows } from './row-places.ts'
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
  readonly codec: KeyCodec
  readonly keys: Keys
  /** What handlers are given; it is the row to which `open` has stepped. */
  readonly draft: AnyRow
  readonly at = new Place()
  readonly #code: DraftCode
  readonly #stored: StoredCode
  readonly #memory: StateMemory
  readonly #owned: KeyGroups
  readonly #template: Page
  readonly #templateBytes: number
  readonly shift: number
  readonly mask: number
  readonly pages: Page[] = []
  #index: KeyIndex
  #keyHeap: KeyHeap
  /** A text id on its way to its bytes. */
  readonly #text = new KeySource(Buffer.allocUnsafeSlow(4 * KEY_BYTES_MAX))
  #free = new RowList()
  /** How many rows were removed so far: where a key has been found before, its row is good as long as none was. */
  removed = 0
  /** Places handed out so far, those free again too. */
  #rows = 0
  #pageBytes = 0
  /** Bytes in the heap for which the memory has been asked. */
  #heapTaken = 0

  /**
   * @param definition what the rows are of; accessors are made once for each
   * @param hidden fields that are kept and shown to nobody: maps, which begin empty
   * @param zero a new row, as a plain object, with its hidden fields
   * @param owned whose keys are kept; what concerns others is passed over
   * @throws DEFINITION_INVALID when the new row is not of its own type
   */
  constructor(
    definition: Named,
    type: ObjectType,
    hidden: readonly Field[],
    key: KeyCodec,
    zero: AnyRow,
    memory: StateMemory,
    owned: KeyGroups = ALL_GROUPS,
  ) {
    this.codec = key
    this.keys = keysOf(key)
    const layout = layoutOf(type, hidden)
    if (layout.words > PAGE_WORDS) {
      throw fail('DEFINITION_INVALID', `the state of '${definition.name}' has ${layout.words} fields`, {
        detail: `the limit is ${PAGE_WORDS}`,
      })
    }
    this.layout = layout
    this.#memory = memory
    this.#owned = owned
    this.#index = new KeyIndex(this, memory, owned)
    this.#keyHeap = new KeyHeap(memory)
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
    this.#writeRow(zero)
    this.close()
    at.heapBytes = 0
    const { refs } = this.#template
    // Maps are live: each row gets its own when it is first read.
    for (const [ref, value] of refs.entries()) if (value instanceof Map) refs[ref] = new Map(value)
    for (const ref of this.layout.maps)
      if ((refs[ref] as Map<unknown, unknown> | undefined)?.size === 0) refs[ref] = undefined
    return refs.reduce<number>((sum, value) => sum + heldBytes(value), 0)
  }

  #writeRow(value: AnyRow): void {
    for (const { name } of this.layout.fields) this.draft[name] = value[name]
    for (const { name } of this.layout.hidden) this.draft[name] = value[name]
  }

  /** Bytes that its pages, index and values take. */
  get bytes(): number {
    return this.#ownBytes + this.heapBytes
  }

  get #ownBytes(): number {
    return this.#pageBytes + this.#index.bytes + this.#keyHeap.bytes
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
    if (typeof id === 'number') return this.#index.find(id, hashOfNumber(id))
    const text = this.#text
    const length = this.keys.write(id, text.bytes)
    return this.#index.findBytes(text, 0, length, hashOfBytes(text, 0, length))
  }

  /** Whether this has the first of all key groups: what is nobody's is its. */
  get ownsFirst(): boolean {
    return this.#owned.from === 0
  }

  /** The row of a key; a new one, not yet supported, where there is none; NO_ROW where the key is somebody else's. @throws STATE_TOO_LARGE */
  findOrAdd(id: KeyId): number {
    if (typeof id === 'number') {
      const hash = hashOfNumber(id)
      const found = this.#index.find(id, hash)
      if (found >= 0) return found
      return this.#index.owns(hash) ? this.#add(id, hash) : NO_ROW
    }
    const text = this.#text
    const length = this.keys.write(id, text.bytes)
    const hash = hashOfBytes(text, 0, length)
    const found = this.#index.findBytes(text, 0, length, hash)
    if (found >= 0) return found
    return this.#index.owns(hash) ? this.#addBytes(text, 0, length, hash) : NO_ROW
  }

  /**
   * Finds the rows of a run's keys, which stand in `keys` from `from` on, and makes those that are not there; NO_ROW stands for foreign ones. `run.count` says
   * of how many, also where it throws. @throws STATE_TOO_LARGE
   */
  findOrAddNumbers(keys: Float64Array, from: number, count: number, run: RunRows): void {
    for (run.count = 0; ; run.count++) {
      run.count = this.#index.findNumbers(keys, from, run.count, count, run.rows)
      if (run.count === count) return
      const id = keys[from + run.count]! + 0
      run.rows[run.count] = this.#add(id, hashOfNumber(id))
    }
  }

  /**
   * The same for keys of bytes: that of record `n` stands from `starts[n]` to `ends[n]`; −1 stands for no key. Steps over all of
   * them one after the other, so that the waits for memory overlap. @throws KEY_INVALID, STATE_TOO_LARGE
   */
  findOrAddBytes(source: KeySource, { starts, ends, hashes, refs }: KeyPlaces, count: number, run: RunRows): void {
    const { rows } = run
    const keys = this.#keyHeap
    for (let n = 0; n < count; n++) hashes[n] = starts[n]! < 0 ? 0 : hashOfBytes(source, starts[n]!, ends[n]!)
    this.#index.findHashes(hashes, count, rows)
    const { pages, shift, mask } = this
    const { words } = this.layout
    for (let n = 0; n < count; n++) {
      const row = rows[n]!
      refs[n] = row === NO_ROW ? 0 : pages[row >>> shift]!.words[(row & mask) * words + KEY]!
    }
    for (let n = 0; n < count; n++) {
      const from = starts[n]!
      if (from >= 0 && ends[n]! - from >= 4 && keys.first(refs[n]!) !== source.view.getInt32(from, true))
        rows[n] = NO_ROW
    }
    for (run.count = 0; run.count < count; run.count++) {
      const n = run.count
      const [from, to] = [starts[n]!, ends[n]!]
      if (from < 0) rows[n] = NO_ROW
      else if (rows[n] === NO_ROW || !keys.equals(refs[n]!, source, from, to))
        rows[n] = this.#findOrAddBytes(source, from, to, hashes[n]!)
    }
  }

  /** The same for one key of bytes. */
  findOrAddOne(source: KeySource, from: number, to: number): number {
    return this.#findOrAddBytes(source, from, to, hashOfBytes(source, from, to))
  }

  #findOrAddBytes(source: KeySource, from: number, to: number, hash: number): number {
    const found = this.#index.findBytes(source, from, to, hash)
    if (found >= 0) return found
    if (!this.#index.owns(hash)) return NO_ROW
    const isText = this.keys.own === 'string'
    if (!isText || isShortAscii(source.bytes, from, to)) return this.#addBytes(source, from, to, hash)
    // By way of the string, which says what is wrong with it.
    return this.findOrAdd(this.keys.idOf(source.bytes.toString('utf8', from, to)))
  }

  #addBytes(source: KeySource, from: number, to: number, hash: number): number {
    const row = this.#place()
    this.#index.add(row, undefined, hash)
    this.#begins(row, this.#keyHeap.add(source, from, to))
    return row
  }

  #add(id: number, hash: number): number {
    const row = this.#place()
    this.#index.add(row, id, hash)
    this.#begins(row, id)
    return row
  }

  #begins(row: number, key: number): void {
    const { words } = this.#pageOf(row)
    const base = this.#baseOf(row)
    words[base + KEY] = key
    words[base + SUPPORT] = words[base + FLAGS] = 0
    this.clear(row)
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
    const key = this.#pageOf(row).words[this.#baseOf(row) + KEY]!
    this.#index.remove(row, this.hashOf(row))
    if (!Number.isInteger(key)) this.#keyHeap.remove(key)
    this.removed++
    this.#release(row)
  }

  #release(row: number): void {
    const { refs, words } = this.#pageOf(row)
    words[this.#baseOf(row) + KEY] = Number.NaN
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
    for (let n = 0; n < this.layout.refs; n++) {
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
    to.words[baseTo + KEY] = Number.NaN
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

  /** The id of a row's key; NaN where no key leads there. */
  idOf(row: number): KeyId {
    const key = this.#pageOf(row).words[this.#baseOf(row) + KEY]!
    if (Number.isInteger(key) || Number.isNaN(key)) return key
    return this.#keyHeap.read(key).toString(this.keys.encoding)
  }

  keyOf(row: number): unknown {
    return this.keys.keyOf(this.idOf(row))
  }

  /** A number that is less only where a row's key is before. */
  rankOf(row: number): number {
    const key = this.#pageOf(row).words[this.#baseOf(row) + KEY]!
    if (Number.isInteger(key)) return key
    return this.keys.own === 'bigint' ? Number(this.idOf(row)) : this.#keyHeap.rankOf(key)
  }

  /** Compares the keys of two rows, as their key bytes: the same order on every replay. */
  compareKeys(a: number, b: number): number {
    const [keyA, keyB] = [this.#pageOf(a).words[this.#baseOf(a) + KEY]!, this.#pageOf(b).words[this.#baseOf(b) + KEY]!]
    const { own } = this.keys
    if (own === 'integer' || own === 'date') return keyA - keyB
    if (own !== 'bigint') return this.#keyHeap.compare(keyA, keyB)
    if (Number.isInteger(keyA) && Number.isInteger(keyB)) return keyA - keyB
    return Buffer.compare(this.keys.bytesOf(this.idOf(a)), this.keys.bytesOf(this.idOf(b)))
  }

  /** Whether a row has this key. */
  holds(row: number, id: number): boolean {
    return this.#pageOf(row).words[this.#baseOf(row) + KEY] === id
  }

  holdsBytes(row: number, source: KeySource, from: number, to: number): boolean {
    const key = this.#pageOf(row).words[this.#baseOf(row) + KEY]!
    return !Number.isInteger(key) && this.#keyHeap.equals(key, source, from, to)
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

  /** The hash of a row's key, as `Keys.hashOf` gives it. */
  hashOf(row: number): number {
    const key = this.#pageOf(row).words[this.#baseOf(row) + KEY]!
    if (Number.isInteger(key)) return hashOfNumber(key)
    const text = this.#text
    const length = this.#keyHeap.read(key).copy(text.bytes)
    return hashOfBytes(text, 0, length)
  }

  /** Appends the bytes of a row's key. */
  writeKey(row: number, writer: ByteWriter): void {
    const key = this.#pageOf(row).words[this.#baseOf(row) + KEY]!
    const { own } = this.keys
    if (Number.isInteger(key) || own === 'bigint') writeKey(writer, this.keys, this.idOf(row))
    else if (own === 'string') this.codec.encodeUtf8(writer, this.#keyHeap.read(key))
    else writer.raw(this.#keyHeap.read(key))
  }

  /** The id of the key whose bytes stand there. */
  readKey(bytes: Buffer, from: number, to: number): KeyId {
    return readKey(this.keys, this.codec, bytes, from, to)
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
    this.#writeRow(value)
    this.close()
  }

  /** Whether two rows have equal values; keys, support, flags and hidden fields aside. */
  isEqual(a: number, b: number): boolean {
    const { shownWords, shownRefs } = this.layout
    return this.#equals(a, this.#pageOf(b), this.#baseOf(b), this.#refBaseOf(b), shownWords, shownRefs, false)
  }

  /** Whether a row is as it began; floats aside, since their sums drift. */
  isZero(row: number): boolean {
    return this.#equals(row, this.#template, 0, 0, this.layout.words, this.layout.refs, true)
  }

  #equals(
    row: number,
    other: Page,
    otherBase: number,
    otherRefBase: number,
    wordsEnd: number,
    refsEnd: number,
    drift: boolean,
  ): boolean {
    const { words, refs } = this.#pageOf(row)
    const base = this.#baseOf(row)
    for (let n = FLAGS + 1; n < wordsEnd; n++) {
      if (drift && this.layout.drifting.has(n)) continue
      if (!Object.is(words[base + n], other.words[otherBase + n])) return false
    }
    const refBase = this.#refBaseOf(row)
    const { maps } = this.layout
    for (let n = 0; n < refsEnd; n++) {
      const isEqual = maps.has(n) ? isSameMap : isDeepEqual
      if (!isEqual(refs[refBase + n], other.refs[otherRefBase + n])) return false
    }
    return true
  }

  /** Lets all rows go. */
  drop(): void {
    this.close()
    this.#memory.release(this.#ownBytes, this.#heapTaken)
    this.pages.length = 0
    this.#index = new KeyIndex(this, this.#memory, this.#owned)
    this.#keyHeap = new KeyHeap(this.#memory)
    this.removed++
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

/** Whether these bytes are a text as they stand, and no longer than what needs no look at its length. */
function isShortAscii(bytes: Buffer, from: number, to: number): boolean {
  if (to - from > SHORT_TEXT) return false
  let all = 0
  for (let n = from; n < to; n++) all |= bytes[n]!
  return all < 0x80
}
