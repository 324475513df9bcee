// A segment as the running log knows it, and reading its blocks from the file.
import { join } from 'node:path'
import {
  BLOCK_HEADER_BYTES,
  HOT_SEGMENT,
  parseBlock,
  SEGMENT_HEADER_BYTES,
  type StoredBlock,
  segmentHeader,
  segmentSeed,
} from './block.ts'
import type { File } from './file-system.ts'
import { Holds } from './holds.ts'
import { INDEX_STRIDE_BYTES, READ_BYTES } from './limits.ts'
import type { SegmentEnd } from './sidecar.ts'

const NAME_DIGITS = 20
const NAME = /^(\d{20})\.segment$/

export const segmentName = (first: number): string => `${String(first).padStart(NAME_DIGITS, '0')}.segment`

/** The first position that a segment file's name says; undefined for other files. */
export function firstOfName(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1]
  const first = digits === undefined ? Number.NaN : Number(digits)
  return Number.isSafeInteger(first) && first > 0 ? first : undefined
}

/** Position of a block's first record → the block's offset. */
export type IndexEntry = readonly [position: number, offset: number]

export class Segment extends Holds {
  readonly first: number
  readonly name: string
  readonly path: string
  /** The file's header, and with what the CRC of its blocks begins. */
  header: Buffer
  seed: number
  /** Durable bytes of the file: readers go no further. */
  bytes = SEGMENT_HEADER_BYTES
  /** Position of the last durable record, `first − 1` while there is none. */
  last: number
  /** Sparse: an entry about every 256 KiB. */
  index: IndexEntry[] = []
  /** State of the log at its end, once nothing more is appended to it. */
  end: SegmentEnd | undefined

  constructor(folder: string, logId: string, first: number, epoch: number) {
    super()
    this.first = first
    this.name = segmentName(first)
    this.path = join(folder, this.name)
    this.header = segmentHeader(HOT_SEGMENT, logId, first, epoch)
    this.seed = segmentSeed(this.header)
    this.last = first - 1
  }

  /** Takes over the header that the file has: its epoch may be an earlier one. */
  adopt(header: Buffer): void {
    this.header = header
    this.seed = segmentSeed(header)
  }

  /** Takes over how far it goes, and what its index got. */
  grow(last: number, bytes: number, index: readonly IndexEntry[]): this {
    this.last = last
    this.bytes = bytes
    this.index.push(...index)
    return this
  }

  /** Notes a block that is durable now and part of a whole batch. */
  note(block: StoredBlock): void {
    const indexed = this.index[this.index.length - 1]
    if (!indexed || block.offset - indexed[1] >= INDEX_STRIDE_BYTES) this.index.push([block.first, block.offset])
    this.last = block.first + block.count - 1
    this.bytes = block.offset + block.bytes
  }

  /** An offset, not far before, from which to read on to find what comes after position `after`. */
  seek(after: number): number {
    let low = 0
    let high = this.index.length
    // The last entry whose first position is ≤ after: what comes after may begin in its block or later. A heartbeat at the
    // same position before it is of no interest to who has read up to there.
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.index[middle]?.[0] ?? 0) <= after) low = middle + 1
      else high = middle
    }
    return this.index[low - 1]?.[1] ?? SEGMENT_HEADER_BYTES
  }
}

export interface ReadBlocks {
  readonly blocks: readonly StoredBlock[]
  /** Where the next block begins. */
  readonly offset: number
  /** What is wrong at `offset`; then there are no blocks. */
  readonly bad: string | undefined
}

/** Reads whole blocks from `offset` on, about `most` bytes of them but at least one, none beyond `end`. */
export async function readBlocks(
  file: File,
  seed: number,
  offset: number,
  end: number,
  most = READ_BYTES,
): Promise<ReadBlocks> {
  let want = Math.min(end - offset, Math.max(most, BLOCK_HEADER_BYTES))
  for (;;) {
    const buffer = Buffer.allocUnsafeSlow(want)
    const bytes = buffer.subarray(0, await file.read(buffer, offset))
    const blocks: StoredBlock[] = []
    let at = 0
    while (at < bytes.length) {
      const block = parseBlock(bytes, at, offset + at, seed)
      if (!('bad' in block)) {
        blocks.push(block)
        at += block.bytes
        continue
      }
      if (blocks.length > 0) break
      const needed = Math.min(block.bytes ?? 0, end - offset)
      if (needed > want) {
        want = needed
        break
      }
      return { blocks: [], offset, bad: block.bad }
    }
    if (blocks.length > 0) return { blocks, offset: offset + at, bad: undefined }
    if (at >= bytes.length) return { blocks: [], offset, bad: 'the file is too short' }
  }
}
