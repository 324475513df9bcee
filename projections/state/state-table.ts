// The rows of one view by their keys: an index per key group leads to a row; a key that is no number has its bytes beside.
import {
  type AnyRow,
  type ByteWriter,
  type Field,
  KEY_BYTES_MAX,
  type KeyCodec,
  type ObjectType,
} from '../../core/index.ts'
import { readKey, writeKey } from './key-bytes.ts'
import { ALL_GROUPS, type KeyGroups } from './key-groups.ts'
import { hashOfBytes, KeyHeap, type KeyPlaces, KeySource } from './key-heap.ts'
import { HASHED_ROWS, KeyIndex } from './key-index.ts'
import { hashOfNumber, type KeyId, type Keys, keysOf, SHORT_TEXT } from './keys.ts'
import { KEY } from './layout.ts'
import type { StateMemory } from './memory.ts'
import { NO_ROW, type RunRows } from './row-places.ts'
import { type Named, Rows } from './rows.ts'

export class StateTable extends Rows {
  readonly codec: KeyCodec
  readonly keys: Keys
  readonly #memory: StateMemory
  readonly #owned: KeyGroups
  #index: KeyIndex
  #keyHeap: KeyHeap
  /** A text id on its way to its bytes. */
  readonly #text = new KeySource(Buffer.allocUnsafeSlow(4 * KEY_BYTES_MAX))
  /** Keys of rows that are hashed together. */
  readonly #keys = new Float64Array(HASHED_ROWS)
  /** How many rows were removed so far: where a key has been found before, its row is good as long as none was. */
  removed = 0

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
    super(definition, type, hidden, zero, memory)
    this.codec = key
    this.keys = keysOf(key)
    this.#memory = memory
    this.#owned = owned
    this.#index = new KeyIndex(this, memory, owned)
    this.#keyHeap = new KeyHeap(memory)
  }

  /** Bytes that its pages, index and values take. */
  get bytes(): number {
    return this.pageBytes + this.#index.bytes + this.#keyHeap.bytes + this.heapBytes
  }

  /** Makes room for rows that will come, where there are none yet. @throws STATE_TOO_LARGE */
  reserve(group: number, rows: number): void {
    this.#index.reserve(group, rows)
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
    if (typeof id === 'number') return this.#findOrAddNumber(id, hashOfNumber(id))
    const text = this.#text
    const length = this.keys.write(id, text.bytes)
    const hash = hashOfBytes(text, 0, length)
    const found = this.#index.findBytes(text, 0, length, hash)
    if (found >= 0) return found
    return this.#index.owns(hash) ? this.#addBytes(text, 0, length, hash) : NO_ROW
  }

  /**
   * Finds the rows of a run's keys, which stand in `keys` from `from` on (NaN: none), and makes those that are not there; foreign ones
   * are left out. `run` says how far it came, also where it throws. @throws STATE_TOO_LARGE
   */
  findOrAddNumbers(keys: Float64Array, from: number, count: number, run: RunRows): void {
    const chosen = this.#index.chooseNumbers(keys, from, count, run)
    this.#index.guess(run, chosen)
    for (run.found = 0; ; run.found++) {
      const k = this.#heldNumbers(keys, from, run, run.found, chosen)
      run.found = k
      if (k === chosen) break
      run.count = run.records[k]!
      const id = keys[from + run.count]! + 0
      const hash = run.hashes[k]!
      const isNew = run.rows[k] === NO_ROW && this.#index.isAbsent(k, hash)
      run.rows[k] = isNew ? this.#add(id, hash) : this.#findOrAddNumber(id, hash)
    }
    run.count = count
  }

  /** The number of the first chosen record, from the `k`-th on, that has another key than the row that was guessed. */
  #heldNumbers(keys: Float64Array, from: number, { rows, records }: RunRows, k: number, chosen: number): number {
    const { pages, shift, mask } = this
    const { words } = this.layout
    for (let n = k; n < chosen; n++) {
      const row = rows[n]!
      if (row === NO_ROW) return n
      if (pages[row >>> shift]!.words[(row & mask) * words + KEY] !== keys[from + records[n]!]) return n
    }
    return chosen
  }

  /**
   * The same for keys of bytes: that of record `n` stands from `starts[n]` to `ends[n]`; −1 stands for no key. Steps over all of
   * them one after the other, so that the waits for memory overlap. @throws KEY_INVALID, STATE_TOO_LARGE
   */
  findOrAddBytes(source: KeySource, places: KeyPlaces, count: number, run: RunRows): void {
    const { rows, records, hashes } = run
    const { starts, ends, refs } = places
    const keys = this.#keyHeap
    const chosen = this.#index.chooseBytes(source, places, count, run)
    this.#index.guess(run, chosen)
    const { pages, shift, mask } = this
    const { words } = this.layout
    for (let k = 0; k < chosen; k++) {
      const row = rows[k]!
      refs[k] = row === NO_ROW ? 0 : pages[row >>> shift]!.words[(row & mask) * words + KEY]!
    }
    for (let k = 0; k < chosen; k++) {
      const from = starts[records[k]!]!
      if (ends[records[k]!]! - from >= 4 && keys.first(refs[k]!) !== source.view.getInt32(from, true)) refs[k] = 0
    }
    for (run.found = 0; run.found < chosen; run.found++) {
      const k = run.found
      run.count = records[k]!
      const [from, to] = [starts[run.count]!, ends[run.count]!]
      const isGuessed = rows[k] !== NO_ROW
      if (isGuessed && keys.equals(refs[k]!, source, from, to)) continue
      const hash = hashes[k]!
      const isNew = !isGuessed && this.#index.isAbsent(k, hash)
      rows[k] = isNew ? this.#addText(source, from, to, hash) : this.#findOrAddBytes(source, from, to, hash)
    }
    run.count = count
  }

  /** The same for one key of bytes. */
  findOrAddOne(source: KeySource, from: number, to: number): number {
    return this.#findOrAddBytes(source, from, to, hashOfBytes(source, from, to))
  }

  #findOrAddBytes(source: KeySource, from: number, to: number, hash: number): number {
    const found = this.#index.findBytes(source, from, to, hash)
    if (found >= 0) return found
    return this.#index.owns(hash) ? this.#addText(source, from, to, hash) : NO_ROW
  }

  /** Adds a key that is not there. */
  #addText(source: KeySource, from: number, to: number, hash: number): number {
    const isText = this.keys.own === 'string'
    if (!isText || isShortAscii(source.bytes, from, to)) return this.#addBytes(source, from, to, hash)
    // By way of the string, which says what is wrong with it.
    return this.findOrAdd(this.keys.idOf(source.bytes.toString('utf8', from, to)))
  }

  #findOrAddNumber(id: number, hash: number): number {
    const found = this.#index.find(id, hash)
    if (found >= 0) return found
    return this.#index.owns(hash) ? this.#add(id, hash) : NO_ROW
  }

  #addBytes(source: KeySource, from: number, to: number, hash: number): number {
    return this.#add(this.#keyHeap.add(source, from, to), hash)
  }

  /** Makes the row of a key: a number, or where its bytes are. */
  #add(key: number, hash: number): number {
    const row = this.place()
    this.#index.add(row, hash)
    this.begins(row, key)
    return row
  }

  /** Gives a row's place back. */
  remove(row: number): void {
    const key = this.keyAt(row)
    this.#index.remove(row, this.hashOf(row))
    if (!Number.isInteger(key)) this.#keyHeap.remove(key)
    this.removed++
    this.release(row)
  }

  /** Whether a key leads to a row: to a free place none does, nor to a copy. */
  hasKey(row: number): boolean {
    return !Number.isNaN(this.keyAt(row))
  }

  /** The id of a row's key; NaN where no key leads there. */
  idOf(row: number): KeyId {
    const key = this.keyAt(row)
    if (Number.isInteger(key) || Number.isNaN(key)) return key
    return this.#keyHeap.read(key).toString(this.keys.encoding)
  }

  keyOf(row: number): unknown {
    return this.keys.keyOf(this.idOf(row))
  }

  /** A number that is less only where a row's key is before. */
  rankOf(row: number): number {
    const key = this.keyAt(row)
    if (Number.isInteger(key)) return key
    return this.keys.own === 'bigint' ? Number(this.idOf(row)) : this.#keyHeap.rankOf(key)
  }

  /** Compares the keys of two rows, as their key bytes: the same order on every replay. */
  compareKeys(a: number, b: number): number {
    const [keyA, keyB] = [this.keyAt(a), this.keyAt(b)]
    const { own } = this.keys
    if (own === 'integer' || own === 'date') return keyA - keyB
    if (own !== 'bigint') return this.#keyHeap.compare(keyA, keyB)
    if (Number.isInteger(keyA) && Number.isInteger(keyB)) return keyA - keyB
    return Buffer.compare(this.keys.bytesOf(this.idOf(a)), this.keys.bytesOf(this.idOf(b)))
  }

  /** Whether a row has this key. */
  holds(row: number, id: number): boolean {
    return this.keyAt(row) === id
  }

  holdsBytes(row: number, source: KeySource, from: number, to: number): boolean {
    const key = this.keyAt(row)
    return !Number.isInteger(key) && this.#keyHeap.equals(key, source, from, to)
  }

  /** The hash of a row's key, as `Keys.hashOf` gives it. */
  hashOf(row: number): number {
    const key = this.keyAt(row)
    return Number.isInteger(key) ? hashOfNumber(key) : this.#keyHeap.hashOf(key)
  }

  /** The same of several rows: what is far away is asked for first. */
  hashesOf(rows: Uint32Array, count: number, into: Uint32Array): void {
    const keys = this.#keys
    const { pages, shift, mask } = this
    const { words } = this.layout
    for (let n = 0; n < count; n++) keys[n] = pages[rows[n]! >>> shift]!.words[(rows[n]! & mask) * words + KEY]!
    for (let n = 0; n < count; n++) into[n] = Number.isInteger(keys[n]) ? 0 : this.#keyHeap.first(keys[n]!)
    for (let n = 0; n < count; n++) {
      const key = keys[n]!
      into[n] = Number.isInteger(key) ? hashOfNumber(key) : this.#keyHeap.hashOf(key)
    }
  }

  /** Appends the bytes of a row's key. */
  writeKey(row: number, writer: ByteWriter): void {
    const key = this.keyAt(row)
    const { own } = this.keys
    if (Number.isInteger(key) || own === 'bigint') writeKey(writer, this.keys, this.idOf(row))
    else if (own === 'string') this.codec.encodeUtf8(writer, this.#keyHeap.read(key))
    else writer.raw(this.#keyHeap.read(key))
  }

  /** The id of the key whose bytes stand there. */
  readKey(bytes: Buffer, from: number, to: number): KeyId {
    return readKey(this.keys, this.codec, bytes, from, to)
  }

  /** Lets all rows go. */
  drop(): void {
    this.dropRows()
    this.#memory.release(this.#index.bytes + this.#keyHeap.bytes, 0)
    this.#index = new KeyIndex(this, this.#memory, this.#owned)
    this.#keyHeap = new KeyHeap(this.#memory)
    this.removed++
  }
}

/** Whether these bytes are a text as they stand, and no longer than what needs no look at its length. */
function isShortAscii(bytes: Buffer, from: number, to: number): boolean {
  if (to - from > SHORT_TEXT) return false
  let all = 0
  for (let n = from; n < to; n++) all |= bytes[n]!
  return all < 0x80
}
