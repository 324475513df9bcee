// The sparse index of a segment: where reading begins, at each position, heartbeats at its borders included.
import { describe, expect, it } from 'vitest'
import { type LogBlock, openEmbeddedLog } from '../../../core/index.ts'
import { SEGMENT_HEADER_BYTES, type StoredBlock } from '../../../core/log/block.ts'
import { INDEX_STRIDE_BYTES } from '../../../core/log/limits.ts'
import { Segment } from '../../../core/log/segment.ts'
import { appendMarkers, blocksOf, markersContract } from '../../support/log-records.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const ID = '00000000-0000-4000-8000-000000000000'

/** A segment with these blocks: `[records, bytes]`; a heartbeat has no records. Gives the offset of each. */
function segmentOf(blocks: readonly (readonly [count: number, bytes: number])[]) {
  const segment = new Segment('/log', ID, 1, 1)
  const offsets: number[] = []
  let first = 1
  let offset = SEGMENT_HEADER_BYTES
  for (const [count, bytes] of blocks) {
    segment.note({ first, count, offset, bytes } as StoredBlock)
    offsets.push(offset)
    first += count
    offset += bytes
  }
  return { segment, offsets }
}

describe('seeking in a segment', () => {
  it('begins at the block that holds the position where an entry points to it, not one before', () => {
    const { segment, offsets } = segmentOf([
      [10, INDEX_STRIDE_BYTES],
      [10, INDEX_STRIDE_BYTES],
      [10, INDEX_STRIDE_BYTES],
    ])
    expect(segment.index).toHaveLength(3)
    expect([0, 1, 10, 11, 20, 21, 30].map(after => offsets.indexOf(segment.seek(after)))).toEqual([0, 0, 0, 1, 1, 2, 2])
  })

  it('begins before a heartbeat that comes right after the position, though the entry is of the block behind it', () => {
    // The heartbeat is too near to the first block to have an entry; the block after it has one, at the same position.
    const { segment, offsets } = segmentOf([
      [10, INDEX_STRIDE_BYTES - 100],
      [0, 100],
      [10, 500],
    ])
    expect(segment.index).toEqual([
      [1, offsets[0]],
      [11, offsets[2]],
    ])
    expect(segment.seek(10)).toBe(offsets[0])
    expect(segment.seek(11)).toBe(offsets[2])
  })

  it('begins at a heartbeat with an entry of its own, for who has read up to it', () => {
    const { segment, offsets } = segmentOf([
      [10, INDEX_STRIDE_BYTES],
      [0, INDEX_STRIDE_BYTES],
      [10, 500],
    ])
    expect(segment.index).toEqual([
      [1, offsets[0]],
      [11, offsets[1]],
      [11, offsets[2]],
    ])
    expect(segment.seek(10)).toBe(offsets[0])
    expect(segment.seek(11)).toBe(offsets[2])
  })
})

describe('a reader', () => {
  it('that begins after any position finds what one from the beginning finds after it, heartbeats too', async () => {
    const disk = new SimulatedDisk()
    const options = { path: '/log', fileSystem: disk, seal: false, segmentBytesMax: 4 * INDEX_STRIDE_BYTES }
    const writing = await openEmbeddedLog(options)
    const topic = await writing.topic(markersContract)
    for (let n = 1; n <= 24; n++) {
      // Of different sizes, so that heartbeats come before, at and after an entry of the index, and at the ends of segments.
      await appendMarkers(writing, topic, n, 1 + (n % 3), 'f'.repeat(20_000 * (1 + (n % 5))))
      for (let beat = 0; beat < n % 3; beat++)
        await writing.batch().commit({ source: 'other', position: `${n}.${beat}` })
    }
    await writing.close()
    // Opened anew: from the files, nothing is kept in memory.
    const log = await openEmbeddedLog(options)
    expect(log.status().segments).toBeGreaterThan(2)
    const seen = ({ first, count, mark }: LogBlock) => ({ first, count, position: mark?.position })
    const all = (await blocksOf(log)).map(seen)
    expect(all.filter(({ count }) => count === 0)).toHaveLength(24)
    for (let after = 0; after <= log.end; after++) {
      const found = (await blocksOf(log, after)).map(seen)
      const wanted = all.filter(({ first, count }) => (count > 0 ? first + count - 1 > after : first > after))
      expect(found.map(({ position }) => position)).toEqual(wanted.map(({ position }) => position))
    }
    await log.close()
  })
})
