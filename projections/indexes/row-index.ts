// The rows of a view in one order: of their keys, or of the fields of a declared index and then their keys. What a declared index
// has of a row are the bytes of its fields, kept in pages of its own: a row that changes is taken out by them, and one whose fields
// are as they were is left where it is. Memory: of an index 12 to 16 bytes a row and those of its fields rounded up to four,
// of the order of keys 4 to 8.
import { type AnyRow, ByteWriter, fail } from '../../core/index.ts'
import { writeAscii } from '../state/key-bytes.ts'
import { KeyHeap, KeySource } from '../state/key-heap.ts'
import type { StateMemory } from '../state/memory.ts'
import type { StateTable } from '../state/state-table.ts'
import type { IndexField, IndexShape } from './index-shape.ts'
import { type RowOrder, SortedRows } from './sorted-rows.ts'

/** Of the fields of one row. A key may have about as many. */
const FIELD_BYTES_MAX = 2_000
/** Words of what is kept per row that are taken at a time. */
const PAGE_WORDS = 1 << 14
const WORD_BYTES = 8

/** One order of the rows of a view. */
export interface RowIndex {
  readonly rows: SortedRows
  /** Bytes that it takes. */
  readonly bytes: number
  /** Puts a row where its values belong. @param place where they stand; −1 where it is not there @throws STATE_TOO_LARGE, STATE_INVALID */
  set(row: number, place: number): void
  /** Appends the entry of a row that is in, and gives how many bytes of it are those of the fields. */
  writeEntry(row: number, writer: ByteWriter): number
  drop(): void
}

/** What is known per row, in pages: they grow without being copied. */
class RowWords {
  readonly #memory: StateMemory
  readonly #pages: Float64Array[] = []

  constructor(memory: StateMemory) {
    this.#memory = memory
  }

  get bytes(): number {
    return this.#pages.length * PAGE_WORDS * WORD_BYTES
  }

  get(row: number): number {
    const page = this.#pages[row >>> 14]
    return page === undefined ? 0 : page[row & (PAGE_WORDS - 1)]!
  }

  set(row: number, word: number): void {
    while (this.#pages.length <= row >>> 14) {
      this.#memory.take(PAGE_WORDS * WORD_BYTES)
      this.#pages.push(new Float64Array(PAGE_WORDS))
    }
    this.#pages[row >>> 14]![row & (PAGE_WORDS - 1)] = word
  }

  drop(): void {
    this.#memory.release(this.bytes, 0)
    this.#pages.length = 0
  }
}

/** Compares the bytes of a row's key with others. */
class KeyBytes {
  readonly #table: StateTable
  readonly #writer = new ByteWriter(64)

  constructor(table: StateTable) {
    this.#table = table
  }

  compareTo(row: number, bytes: Buffer, from: number): number {
    const writer = this.#writer
    writer.at = 0
    this.#table.writeKey(row, writer)
    return writer.buffer.compare(bytes, from, bytes.length, 0, writer.at)
  }
}

/** In the order of their keys: an entry is a key's bytes. */
export class KeyOrderIndex implements RowIndex, RowOrder {
  readonly rows: SortedRows
  readonly #table: StateTable
  readonly #keys: KeyBytes
  /** Which rows are in, a bit for each of 32 in a word. */
  readonly #has: RowWords

  constructor(table: StateTable, memory: StateMemory) {
    this.#table = table
    this.#keys = new KeyBytes(table)
    this.#has = new RowWords(memory)
    this.rows = new SortedRows(this, memory)
  }

  get bytes(): number {
    return this.rows.bytes + this.#has.bytes
  }

  compare(a: number, b: number): number {
    return this.#table.compareKeys(a, b)
  }

  compareTo(row: number, bytes: Buffer): number {
    return this.#keys.compareTo(row, bytes, 0)
  }

  set(row: number, place: number): void {
    const bits = this.#has.get(row >>> 5)
    const bit = 1 << (row & 31)
    if (((bits & bit) !== 0) === place >= 0) return
    if (place >= 0) this.rows.add(row)
    else this.rows.remove(row)
    this.#has.set(row >>> 5, bits ^ bit)
  }

  writeEntry(row: number, writer: ByteWriter): number {
    this.#table.writeKey(row, writer)
    return 0
  }

  drop(): void {
    this.rows.drop()
    this.#has.drop()
  }
}

/** In the order of fields. */
export class FieldIndex implements RowIndex, RowOrder {
  readonly rows: SortedRows
  readonly #shape: IndexShape
  readonly #view: string
  readonly #table: StateTable
  readonly #memory: StateMemory
  readonly #keys: KeyBytes
  /** Of each row what it has in `#heap`; 0 where it is not in. */
  readonly #refs: RowWords
  #heap: KeyHeap
  readonly #writer = new ByteWriter(64)
  readonly #source = new KeySource(Buffer.alloc(0))

  /** @param view its name, for errors */
  constructor(shape: IndexShape, view: string, table: StateTable, memory: StateMemory) {
    this.#shape = shape
    this.#view = view
    this.#table = table
    this.#memory = memory
    this.#keys = new KeyBytes(table)
    this.#refs = new RowWords(memory)
    this.#heap = new KeyHeap(memory)
    this.rows = new SortedRows(this, memory)
  }

  get bytes(): number {
    return this.rows.bytes + this.#refs.bytes + this.#heap.bytes
  }

  compare(a: number, b: number): number {
    if (a === b) return 0
    return this.#heap.compare(this.#refs.get(a), this.#refs.get(b)) || this.#table.compareKeys(a, b)
  }

  compareTo(row: number, bytes: Buffer): number {
    const fields = this.#heap.read(this.#refs.get(row))
    if (bytes.length <= fields.length) return fields.compare(bytes)
    return fields.compare(bytes, 0, fields.length) || this.#keys.compareTo(row, bytes, fields.length)
  }

  set(row: number, place: number): void {
    const ref = this.#refs.get(row)
    if (place < 0) {
      if (ref !== 0) this.#takeOut(row, ref)
      return
    }
    const length = this.#write(row, place)
    const source = this.#source
    source.set(this.#writer.buffer)
    if (ref !== 0) {
      if (this.#heap.equals(ref, source, 0, length)) return
      this.#takeOut(row, ref)
    }
    this.#refs.set(row, this.#heap.add(source, 0, length))
    this.rows.add(row)
  }

  #takeOut(row: number, ref: number): void {
    this.rows.remove(row)
    this.#heap.remove(ref)
    this.#refs.set(row, 0)
  }

  /** Writes the bytes of a row's fields, and gives how many they are. */
  #write(row: number, place: number): number {
    const writer = this.#writer
    const { fields, codec } = this.#shape
    const table = this.#table
    writer.at = 0
    const key = fields.some(({ ofKey }) => ofKey) ? (table.keyOf(row) as Readonly<Record<string, unknown>>) : undefined
    table.open(place)
    try {
      for (let n = 0; n < fields.length; n++) {
        const field = fields[n]!
        const value = field.ofKey ? key![field.name] : table.draft[field.name]
        if (!writeAbsence(writer, field, value)) continue
        if (typeof value !== 'string' || !writeAscii(writer, value)) codec.encodeColumn(writer, n, value)
      }
    } finally {
      table.close()
    }
    if (writer.at > FIELD_BYTES_MAX)
      throw fail('STATE_INVALID', `values of '${this.#view}' are too long for its index ${namesOf(this.#shape)}`, {
        detail: `those of one row take ${writer.at} bytes, the limit is ${FIELD_BYTES_MAX}`,
        hint: 'index a field that is shorter: a prefix of it, or a digest',
      })
    return writer.at
  }

  writeEntry(row: number, writer: ByteWriter): number {
    const fields = this.#heap.read(this.#refs.get(row))
    writer.raw(fields)
    this.#table.writeKey(row, writer)
    return fields.length
  }

  drop(): void {
    this.rows.drop()
    this.#refs.drop()
    this.#memory.release(this.#heap.bytes, 0)
    this.#heap = new KeyHeap(this.#memory)
  }
}

/** The bytes that an entry has of the first fields of a row. @throws KEY_INVALID where a value can be in no index */
export function fieldBytes({ fields, codec }: IndexShape, count: number, row: AnyRow, key: unknown): Buffer {
  const writer = new ByteWriter(64)
  for (const [n, field] of fields.slice(0, count).entries()) {
    const value = (field.ofKey ? (key as AnyRow) : row)[field.name]
    if (writeAbsence(writer, field, value)) codec.encodeColumn(writer, n, value)
  }
  return writer.copy()
}

/** What stands before the bytes of a field that may be null. */
export const PRESENT = 0
export const ABSENT = 1

/** Whether a value's bytes follow. */
export function writeAbsence(writer: ByteWriter, { nullable }: IndexField, value: unknown): boolean {
  const isThere = value !== null && value !== undefined
  if (nullable) writer.u8(isThere ? PRESENT : ABSENT)
  return isThere
}

/** `city+open_cents` */
export const namesOf = ({ fields }: IndexShape): string => fields.map(({ name }) => name).join('+')
