// What an order has between two entries.
import type { ByteWriter } from '../../core/index.ts'
import type { EntryRange } from './entry-range.ts'
import type { RowIndex } from './row-index.ts'

/** Rows of a view in an order, as they are now. */
export interface RowsFound {
  /** Numbers of rows. */
  readonly rows: Uint32Array
  /** Whether there are more of them in the range. */
  readonly more: boolean
  /** Appends the entry of one of them, and gives how many bytes of it are those of fields. */
  writeEntry(row: number, writer: ByteWriter): number
}

/** @param most the first so many rows */
export function foundIn(order: RowIndex, { from, to, descending }: EntryRange, most: number): RowsFound {
  const rows = order.rows.between(bufferOf(from), bufferOf(to), descending, most + 1)
  return {
    rows: rows.length > most ? rows.subarray(0, most) : rows,
    more: rows.length > most,
    writeEntry: (row, writer) => order.writeEntry(row, writer),
  }
}

const bufferOf = (bytes: Uint8Array | undefined): Buffer | undefined =>
  bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
