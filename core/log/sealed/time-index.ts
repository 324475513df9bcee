// From a time to a position: append times never fall, so segments, blocks and the hot blocks in them are searched by halves.
import { SEGMENT_HEADER_BYTES, type StoredBlock } from '../block.ts'
import type { File, FileSystem } from '../file-system.ts'
import { corrupt } from '../records.ts'
import type { AnySegment } from '../recovery.ts'
import { readBlocks, type Segment } from '../segment.ts'
import type { Topics } from '../topics.ts'
import { SealedSegment } from './sealed-segment.ts'

interface TimeParts {
  readonly fs: FileSystem
  readonly topics: Topics
  readonly segments: readonly AnySegment[]
}

/** The last durable position that was appended at a time or before, 0 where none was. @throws LOG_CORRUPT */
export async function positionAt({ fs, topics, segments }: TimeParts, timeMs: number): Promise<number> {
  const held = segments.filter(segment => !(segment instanceof SealedSegment)) as Segment[]
  for (const segment of held) segment.hold()
  try {
    const n = await countUpTo(segments.length, async n => (await firstTime(fs, segments[n]!)) <= timeMs)
    const segment = segments[n - 1]
    if (!segment) return 0
    return segment instanceof SealedSegment
      ? await sealedAt(segment, topics, timeMs)
      : await inFile(fs, segment, file => hotAt(file, segment, timeMs))
  } finally {
    for (const segment of held) segment.release()
  }
}

/** How many of `count` things, from the first on, have what the later ones lack. */
async function countUpTo(count: number, has: (n: number) => Promise<boolean>): Promise<number> {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (await has(middle)) low = middle + 1
    else high = middle
  }
  return low
}

async function firstTime(fs: FileSystem, segment: AnySegment): Promise<number> {
  if (segment instanceof SealedSegment) return (await segment.footer()).blocks[0]?.minTimeMs ?? Number.POSITIVE_INFINITY
  if (segment.bytes <= SEGMENT_HEADER_BYTES) return Number.POSITIVE_INFINITY
  const [first] = await inFile(fs, segment, file => blocksAt(file, segment, SEGMENT_HEADER_BYTES, 1))
  return first!.appendTimeMs
}

async function sealedAt(segment: SealedSegment, topics: Topics, timeMs: number): Promise<number> {
  const { blocks } = await segment.footer()
  const n = blocks.findLastIndex(block => block.minTimeMs <= timeMs)
  const { first, last, maxTimeMs } = blocks[n]!
  if (maxTimeMs <= timeMs) return last
  const hot = (await segment.block(n, topics))?.blocks(first - 1) ?? []
  return hot.findLast(block => block.appendTimeMs <= timeMs)?.end ?? first - 1
}

async function hotAt(file: File, segment: Segment, timeMs: number): Promise<number> {
  const { index, bytes } = segment
  const n = await countUpTo(index.length, async n => {
    const [block] = await blocksAt(file, segment, index[n]![1], 1)
    return block!.appendTimeMs <= timeMs
  })
  let offset = index[n - 1]?.[1] ?? SEGMENT_HEADER_BYTES
  let position = segment.first - 1
  while (offset < bytes) {
    for (const block of await blocksAt(file, segment, offset)) {
      if (block.appendTimeMs > timeMs) return position
      position = block.first + block.count - 1
      offset = block.offset + block.bytes
    }
  }
  return position
}

async function blocksAt(file: File, segment: Segment, offset: number, most?: number): Promise<readonly StoredBlock[]> {
  const read = await readBlocks(file, segment.seed, offset, segment.bytes, most)
  if (read.bad !== undefined) throw corrupt(segment.path, offset, read.bad)
  return read.blocks
}

async function inFile<T>(fs: FileSystem, segment: Segment, use: (file: File) => Promise<T>): Promise<T> {
  const file = await fs.open(segment.path, 'read')
  try {
    return await use(file)
  } finally {
    await file.close().catch(() => {})
  }
}
