// The rows of a shard in an order at one cut, read some at a time while folding goes on: the order as it is now, without the rows that have
// changed since the cut, and with what those were, kept when they changed. To be made at a cut. Nothing is copied that does not change
// before its turn comes. Relies on: a row that is not changed stands in its order where it stood at the cut, whatever others do.
import {
  type AnyRow,
  asMainstemError,
  ByteWriter,
  createRowCodec,
  fail,
  type MainstemError,
  type RowCodec,
} from '../../core/index.ts'
import { LIVE } from '../state/changes.ts'
import type { FoldedView } from '../view.ts'
import { behind, type EntryRange } from './entry-range.ts'
import { appendFound, type FoundBytes } from './range-read.ts'
import { fieldBytes } from './row-index.ts'
import type { RowsFound } from './rows-found.ts'
import type { Behind, ShardIndexes } from './shard-indexes.ts'
import { KEY_ORDER } from './view-indexes.ts'

/** What rows were that changed before their turn came, in bytes: beyond, the reader is too slow for the changes. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024
/** Of a kept row beside its bytes, about. */
const KEPT_ROW_BYTES = 150
/** How long rows are read without letting others run: with what a slice takes beside it, less than two milliseconds. */
export const ORDER_TURN_MS = 1
/** Rows between two looks at the clock. */
const ROWS_PER_LOOK = 32
/** What is given at a time: to make JSON of it takes about as long as to read it. */
const PART_ROWS_MAX = 256
const PART_BYTES_MAX = 256 * 1024

interface Kept {
  readonly entry: Buffer
  readonly fieldBytes: number
  readonly value: Buffer
}

export class OrderAtCut {
  readonly #view: FoldedView
  readonly #indexes: ShardIndexes
  readonly #codec: RowCodec
  /** What is left of it. */
  #range: EntryRange
  /** A bit for each place there was at the cut: whether it has changed since. */
  readonly #changed: Uint32Array
  readonly #places: number
  readonly #kept: KeptRows
  #keptBytes = 0
  #error: MainstemError | undefined
  readonly #unwatch: () => void
  readonly #part = new ByteWriter()
  readonly #one = new ByteWriter()

  constructor(view: FoldedView, indexes: ShardIndexes, range: EntryRange) {
    this.#view = view
    this.#indexes = indexes
    this.#codec = createRowCodec(view.value)
    this.#range = range
    this.#places = view.table.places
    this.#changed = new Uint32Array((this.#places + 31) >>> 5)
    this.#kept = new KeptRows(range.descending)
    this.#unwatch = view.changes.watch(row => this.#beforeWrite(row))
  }

  #hasChanged(row: number): boolean {
    return row >= this.#places || (this.#changed[row >>> 5]! & (1 << (row & 31))) !== 0
  }

  #beforeWrite(row: number): void {
    if (this.#error || this.#hasChanged(row)) return
    this.#changed[row >>> 5]! |= 1 << (row & 31)
    if ((this.#view.table.flags(row) & LIVE) === 0) return
    try {
      this.#keep(row)
    } catch (error) {
      // Never into the fold that is about to change it.
      this.#fail(asMainstemError(error))
    }
  }

  #keep(row: number): void {
    const { table, indexes } = this.#view
    const value = table.toObject(row)
    const writer = this.#one
    writer.at = 0
    const { index } = this.#range
    if (index !== KEY_ORDER) {
      const shape = indexes[index]!
      writer.raw(fieldBytes(shape, shape.fields.length, value, table.keyOf(row)))
    }
    const length = writer.at
    table.writeKey(row, writer)
    const entry = writer.copy()
    if (!isIn(entry, this.#range)) return
    writer.at = 0
    this.#codec.encode(writer, value)
    const kept = { entry, fieldBytes: length, value: writer.copy() }
    this.#kept.push(kept)
    this.#keptBytes += bytesOf(kept)
    if (this.#keptBytes <= KEPT_BYTES_MAX) return
    this.#fail(
      fail('OVERLOADED', 'rows change faster than they are read', {
        detail: `${KEPT_BYTES_MAX} bytes of rows as they were would have to be held`,
        hint: 'read faster, or read at a position: ?at=',
      }),
    )
  }

  #fail(error: MainstemError): void {
    this.#error ??= error
    this.end()
  }

  /**
   * The next rows, as `writeFound` writes them. The first ones may be of none, and more still follow.
   * @param over whether it is time for others; looked at now and then @throws why rows cannot be had
   */
  next(over: () => boolean): FoundBytes | Behind {
    const { error, name } = this.#view
    if (error) throw fail('VIEW_STOPPED', `view '${name}' has stopped`, { detail: `${error.code}: ${error.message}` })
    if (this.#error) throw this.#error
    const part = this.#part
    part.at = 0
    let count = 0
    let more = true
    do {
      const found = this.#indexes.find(this.#view, this.#range, ROWS_PER_LOOK)
      if ('behind' in found) {
        if (count === 0) return found
        break
      }
      for (const row of found.rows) count += this.#give(row, found)
      if (!found.more) {
        // What is kept stands behind all of them.
        count += this.#giveKept(undefined)
        more = this.#kept.first !== undefined
      }
    } while (more && count < PART_ROWS_MAX && part.at < PART_BYTES_MAX && !over())
    return { count, more, bytes: Uint8Array.from(part.buffer.subarray(0, part.at)) }
  }

  /** Gives what stands before a row, and the row if it has not changed; goes on behind it. @returns how many rows these are */
  #give(row: number, { writeEntry }: RowsFound): number {
    const entry = this.#one
    entry.at = 0
    const fields = writeEntry(row, entry)
    const bytes = entry.copy()
    let count = this.#giveKept(bytes)
    if (!this.#hasChanged(row)) {
      this.#write(fields, bytes, this.#view.table.toObject(row))
      count++
    }
    const { descending } = this.#range
    this.#range = descending ? { ...this.#range, to: bytes } : { ...this.#range, from: behind(bytes) }
    return count
  }

  /** Gives the kept rows that stand before an entry; without one a few of those that are left. */
  #giveKept(before: Buffer | undefined): number {
    for (let count = 0; ; count++) {
      const { first } = this.#kept
      if (first === undefined) return count
      if (before === undefined ? count === ROWS_PER_LOOK : !this.#kept.isBefore(first.entry, before)) return count
      this.#kept.shift()
      this.#keptBytes -= bytesOf(first)
      appendFound(this.#part, first.fieldBytes, first.entry, first.value)
    }
  }

  #write(fields: number, entry: Buffer, row: AnyRow): void {
    const value = this.#one
    value.at = 0
    this.#codec.encode(value, row)
    appendFound(this.#part, fields, entry, value.buffer.subarray(0, value.at))
  }

  end(): void {
    this.#unwatch()
    this.#kept.clear()
  }
}

const bytesOf = ({ entry, value }: Kept): number => entry.length + value.length + KEPT_ROW_BYTES

function isIn(entry: Buffer, { from, to }: EntryRange): boolean {
  return (from === undefined || entry.compare(from) >= 0) && (to === undefined || entry.compare(to) < 0)
}

/** Kept rows, of which the first in the order is at hand: a heap. */
class KeptRows {
  readonly #sign: number
  readonly #rows: Kept[] = []

  constructor(descending: boolean) {
    this.#sign = descending ? -1 : 1
  }

  isBefore(a: Buffer, b: Buffer): boolean {
    return a.compare(b) * this.#sign < 0
  }

  get first(): Kept | undefined {
    return this.#rows[0]
  }

  push(row: Kept): void {
    const rows = this.#rows
    let at = rows.length
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if (!this.isBefore(row.entry, rows[parent]!.entry)) break
      rows[at] = rows[parent]!
      at = parent
    }
    rows[at] = row
  }

  shift(): void {
    const rows = this.#rows
    const last = rows.pop()
    if (last === undefined || rows.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= rows.length) break
      if (child + 1 < rows.length && this.isBefore(rows[child + 1]!.entry, rows[child]!.entry)) child++
      if (!this.isBefore(rows[child]!.entry, last.entry)) break
      rows[at] = rows[child]!
      at = child
    }
    rows[at] = last
  }

  clear(): void {
    this.#rows.length = 0
  }
}
