// Reading rows in an order: what is asked of an engine, what it answers, and the forms in which shards answer it.
import { ByteWriter, fail, type RowCodec } from '../../core/index.ts'
import type { ViewRow } from '../engine.ts'
import type { FoldedView } from '../view.ts'
import type { EntryRange, OrderedView } from './entry-range.ts'
import { namesOf } from './row-index.ts'
import type { RowsFound } from './rows-found.ts'
import { type IndexProgress, KEY_ORDER } from './view-indexes.ts'

export interface RangeRequest {
  readonly view: string
  readonly range: EntryRange
  /** The first so many rows of it. */
  readonly most: number
  /** How long to wait for an order that is being built, milliseconds. Default 5,000. */
  readonly timeoutMs?: number | undefined
  /** Ends the wait early, with its reason. */
  readonly signal?: AbortSignal | undefined
}

/** Rows in order, as of one cut. Not to be kept across a yield. */
export interface RangeRead {
  readonly position: number
  readonly rows: readonly ViewRow[]
  /** The entry of the last of them, where there are more in the range. */
  readonly next: Uint8Array | undefined
  readonly final: boolean
}

export type RangePage = Pick<RangeRead, 'rows' | 'next'>

export const RANGE_TIMEOUT_MS = 5_000

/** Rows that are in this thread. */
export function pageOf({ table, touched }: FoldedView, { rows, more, writeEntry }: RowsFound): RangePage {
  const page: ViewRow[] = []
  for (const row of rows) page.push({ key: table.keyOf(row), value: table.toObject(touched.readable(row)) })
  const last = rows.at(-1)
  if (!more || last === undefined) return { rows: page, next: undefined }
  const writer = new ByteWriter(64)
  writeEntry(last, writer)
  return { rows: page, next: writer.copy() }
}

/** Appends a row that was found: how many bytes of its entry are of fields, its entry, and its value with its length. */
export function appendFound(writer: ByteWriter, fieldBytes: number, entry: Uint8Array, value: Uint8Array): void {
  writer.varint(fieldBytes)
  writer.bytes(entry)
  writer.bytes(value)
}

/** Appends them for another thread. */
export function writeFound(view: FoldedView, found: RowsFound, codec: RowCodec, writer: ByteWriter): void {
  const { table, touched } = view
  const part = new ByteWriter()
  for (const row of found.rows) {
    part.at = 0
    const fieldBytes = found.writeEntry(row, part)
    const entryEnd = part.at
    codec.encode(part, table.toObject(touched.readable(row)))
    appendFound(writer, fieldBytes, part.buffer.subarray(0, entryEnd), part.buffer.subarray(entryEnd, part.at))
  }
}

/** What one of several shards found. */
export interface FoundBytes {
  readonly count: number
  readonly more: boolean
  readonly bytes: Uint8Array
}

export function indexBuilding({ name, indexes }: OrderedView, index: number, { done, total }: IndexProgress) {
  const order = index === KEY_ORDER ? 'the order of keys' : `index ${namesOf(indexes[index]!)}`
  return fail('INDEX_BUILDING', `${order} of '${name}' is being built`, {
    detail: `${done} of ${total} rows`,
    data: { progress: { done, total } },
  })
}
