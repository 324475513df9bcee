// The blocks of all segments in order, for scans. A segment may be sealed while it is read: its hot file is held until then.

import type { Leases } from '../base/leases.ts'
import { SEGMENT_HEADER_BYTES, type StoredBlock } from '../block.ts'
import { corrupt } from '../records.ts'
import { readBlocks, type Segment } from '../segment.ts'
import type { HotKeysParts } from './hot-keys.ts'
import type { ScanSource } from './scan.ts'
import type { SealedBlock } from './sealed-block.ts'
import { SealedSegment } from './sealed-segment.ts'
import { positionAt } from './time-index.ts'

interface ScanParts extends HotKeysParts {
  readonly leases: Leases
}

export class ScanBlocks implements ScanSource {
  readonly #parts: ScanParts

  constructor(parts: ScanParts) {
    this.#parts = parts
  }

  get topics() {
    return this.#parts.topics
  }

  async positionAt(timeMs: number): Promise<number> {
    const lease = this.#parts.leases.acquire()
    const segments = [...lease.segments]
    // They may be sealed meanwhile: hot files stay until then.
    for (const segment of segments) segment.hold()
    try {
      const { fs, topics } = this.#parts
      return await positionAt({ fs, topics, segments }, timeMs)
    } finally {
      for (const segment of segments) segment.release()
      lease.release()
    }
  }

  async *blocks(
    after: number,
    wanted: (entry: SealedBlock['entry']) => boolean,
  ): AsyncGenerator<SealedBlock | StoredBlock> {
    const lease = this.#parts.leases.acquire()
    /** The segment with the position after the one that it was done with. */
    const following = (done: number) => lease.segments.find(segment => segment.last > done)
    try {
      let done = after
      for (let segment = following(done); segment; segment = following(done)) {
        if (segment instanceof SealedSegment) yield* this.#sealed(segment, done, wanted)
        else yield* this.#hot(segment, done)
        if (segment.last <= done) return
        done = segment.last
      }
    } finally {
      lease.release()
    }
  }

  async *#sealed(
    segment: SealedSegment,
    after: number,
    wanted: (entry: SealedBlock['entry']) => boolean,
  ): AsyncGenerator<SealedBlock> {
    const { blocks } = await segment.footer()
    const numbers = [...blocks.keys()].filter(n => {
      const entry = blocks[n]!
      return entry.count > 0 && entry.last > after && wanted(entry)
    })
    // The next block is read while this one is worked on.
    let ahead = this.#block(segment, numbers[0])
    for (const n of numbers.keys()) {
      const block = await ahead
      ahead = this.#block(segment, numbers[n + 1])
      ahead.catch(() => {})
      if (block) yield block
    }
  }

  async #block(segment: SealedSegment, n: number | undefined): Promise<SealedBlock | undefined> {
    return n === undefined ? undefined : segment.block(n, this.#parts.topics)
  }

  async *#hot(segment: Segment, after: number): AsyncGenerator<StoredBlock> {
    const { fs } = this.#parts
    segment.hold()
    try {
      const file = await fs.open(segment.path, 'read')
      try {
        const end = segment.bytes
        let offset = Math.max(SEGMENT_HEADER_BYTES, segment.seek(after))
        while (offset < end) {
          const read = await readBlocks(file, segment.seed, offset, end)
          if (read.bad !== undefined) throw corrupt(segment.path, offset, read.bad)
          yield* read.blocks.filter(block => block.count > 0 && block.first + block.count - 1 > after)
          offset = read.offset
        }
      } finally {
        await file.close().catch(() => {})
      }
    } finally {
      segment.release()
    }
  }
}
