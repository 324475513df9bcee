// The blocks of a closed segment as a cleaning reads them: records in their stored layouts, whether the segment is sealed or not.
import { setImmediate as immediate } from 'node:timers/promises'
import { ByteReader } from '../../contract/index.ts'
import type { StoredBlock } from '../block.ts'
import type { FileSystem } from '../file-system.ts'
import type { AnySegment } from '../recovery.ts'
import type { BlockEntry, PlacedBlock } from '../sealed/block-writer.ts'
import { SEAL_RECORDS_PER_TURN } from '../sealed/bounds.ts'
import { hotBlocks } from '../sealed/seal-job.ts'
import type { SealedBlock } from '../sealed/sealed-block.ts'
import { SealedSegment } from '../sealed/sealed-segment.ts'
import { Unsealer } from '../sealed/unseal.ts'
import type { Topics } from '../topics.ts'

export interface SourceParts {
  readonly fs: FileSystem
  readonly topics: Topics
}

/** Records of a segment, as its directory says; of a hot one by its positions. */
export async function recordsIn(segment: AnySegment): Promise<number> {
  if (!(segment instanceof SealedSegment)) return segment.last - segment.first + 1
  return (await segment.footer()).blocks.reduce((sum, { count }) => sum + count, 0)
}

/**
 * All blocks in order; a number stands for so many records that were passed over.
 * @param wanted sealed blocks of which nothing is wanted are not read
 * @throws LOG_CORRUPT
 */
export async function* sourceBlocks(
  parts: SourceParts,
  segment: AnySegment,
  wanted: (entry: BlockEntry) => boolean = () => true,
): AsyncGenerator<PlacedBlock | number> {
  if (!(segment instanceof SealedSegment)) {
    yield* hotBlocks(parts.fs, segment)
    return
  }
  for (const [n, entry] of (await segment.footer()).blocks.entries()) {
    if (!wanted(entry)) yield entry.count
    else {
      const block = await segment.block(n, parts.topics)
      if (block) yield* unsealed(block)
    }
  }
}

/** Which topic each record of a block of a hot segment is of (0: not known), and its bytes. */
export function* storedRecords(
  topics: Topics,
  { payload, count }: Pick<StoredBlock, 'payload' | 'count'>,
): Generator<{ readonly topic: number; readonly bytes: number }> {
  const reader = new ByteReader(payload)
  for (let n = 0; n < count; n++) {
    const bytes = reader.varint()
    const end = reader.at + bytes
    yield { topic: topics.layout(reader.varint())?.topic.id ?? 0, bytes }
    reader.at = end
  }
}

async function* unsealed(block: SealedBlock): AsyncGenerator<PlacedBlock> {
  const unsealer = new Unsealer()
  const { positions, entry } = await block.unpack()
  let sinceTurn = 0
  for (const { index, first, count, last, mark, appendTimeMs } of spansOf(block)) {
    for (let n = index; n < index + count; n++) {
      record(unsealer, block, n)
      if (++sinceTurn % SEAL_RECORDS_PER_TURN === 0) await immediate()
    }
    const placed = positions ? { positions: positions.subarray(index, index + count) } : {}
    const stored = { offset: entry.offset, bytes: 0, part: 0, durableBytes: 0 }
    yield { ...stored, ...placed, first, count, last, mark, appendTimeMs, payload: unsealer.take() }
  }
}

function spansOf(block: SealedBlock) {
  try {
    return block.spans()
  } catch (error) {
    throw block.damaged(error)
  }
}

function record(unsealer: Unsealer, block: SealedBlock, n: number): void {
  try {
    unsealer.add(block, n, 'stored')
  } catch (error) {
    throw block.damaged(error)
  }
}
