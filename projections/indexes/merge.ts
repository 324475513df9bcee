// Rows of several shards in one order: what each of them found, put together by its entries.
import { ByteReader, type KeyCodec, type RowCodec } from '../../core/index.ts'
import type { ViewRow } from '../engine.ts'
import type { EntryRange } from './entry-range.ts'
import type { FoundBytes, RangePage } from './range-read.ts'

const NOTHING = Buffer.alloc(0)

/** What is at hand of a shard: its next row first. */
class Head {
  #reader = new ByteReader(NOTHING)
  #fieldBytes = 0
  left = 0
  /** Whether the shard has more than what is at hand. */
  more = true
  /** Of the next row. */
  entry = NOTHING

  take({ bytes, count, more }: FoundBytes): void {
    this.#reader = new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    this.left = count
    this.more = more
    this.#readEntry()
  }

  #readEntry(): void {
    if (this.left === 0) return
    this.#fieldBytes = this.#reader.varint()
    this.entry = Buffer.from(this.#reader.bytes())
  }

  shift(key: KeyCodec, codec: RowCodec): ViewRow {
    this.#reader.varint()
    const row = { key: key.decode(this.entry.subarray(this.#fieldBytes)), value: codec.decode(this.#reader) }
    this.left--
    this.#readEntry()
    return row
  }
}

/** The one with the first row; undefined where none has any at hand. */
function firstOf(heads: readonly Head[], sign: 1 | -1): Head | undefined {
  let first: Head | undefined
  for (const head of heads)
    if (head.left > 0 && (first === undefined || Buffer.compare(head.entry, first.entry) * sign < 0)) first = head
  return first
}

/** The first `most` rows of all. */
export function mergeFound(
  found: readonly FoundBytes[],
  { descending }: EntryRange,
  most: number,
  key: KeyCodec,
  codec: RowCodec,
): RangePage {
  const heads = found.map(each => {
    const head = new Head()
    head.take(each)
    return head
  })
  const rows: ViewRow[] = []
  let last: Buffer | undefined
  while (rows.length < most) {
    const first = firstOf(heads, descending ? -1 : 1)
    if (first === undefined) break
    last = first.entry
    rows.push(first.shift(key, codec))
  }
  const more = heads.some(head => head.left > 0 || head.more)
  return { rows, next: more ? last : undefined }
}

/** Where the rows of a shard in an order come from, some at a time. */
export interface RowsOfShard {
  /** The next ones; none, where it takes longer. @throws why they cannot be had */
  next(): Promise<FoundBytes>
  end(): void
}

/** Rows given at a time. */
const ROWS_PER_BATCH = 256

/** All rows of shards that are at one cut. */
export async function* mergedRows(
  shards: readonly RowsOfShard[],
  { descending }: EntryRange,
  key: KeyCodec,
  codec: RowCodec,
): AsyncGenerator<readonly ViewRow[]> {
  const sign = descending ? -1 : 1
  const heads = shards.map(shard => ({ shard, head: new Head() }))
  const all = heads.map(({ head }) => head)
  let rows: ViewRow[] = []
  for (;;) {
    // A shard of which nothing is at hand may have the next row.
    const empty = heads.filter(({ head }) => head.left === 0 && head.more)
    if (empty.length > 0) {
      await Promise.all(empty.map(async ({ shard, head }) => head.take(await shard.next())))
      continue
    }
    const first = firstOf(all, sign)
    if (first !== undefined) rows.push(first.shift(key, codec))
    if (rows.length === ROWS_PER_BATCH || first === undefined) {
      if (rows.length > 0) yield rows
      rows = []
    }
    if (first === undefined) return
  }
}
