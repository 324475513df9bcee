// When records of the segment that is appended to have come of age, so that it should be closed: only what is closed is cleaned, and
// a log in which little happens would keep its newest 64 MiB for ever. Append times never fall, so a topic's oldest record is its
// first one; the file is read on only as far as there may be one that is old enough, and each byte of it once.

import { SEGMENT_HEADER_BYTES } from '../block.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import { corrupt } from '../records.ts'
import { readBlocks, type Segment } from '../segment.ts'
import { type SourceParts, storedRecords } from './source-blocks.ts'

export class Ageing {
  readonly #parts: SourceParts
  #segment: Segment | undefined
  /** Topic → append time of its first record. */
  readonly #firstMs = new Map<number, number>()
  /** Up to where the file was read, and the append time there. */
  #offset = SEGMENT_HEADER_BYTES
  #timeMs = Number.NEGATIVE_INFINITY

  constructor(parts: SourceParts) {
    this.#parts = parts
  }

  /** Whether the segment has a record of a topic that was appended before a time. @param before by topic · @throws LOG_CORRUPT */
  async has(segment: Segment, before: ReadonlyMap<number, number>): Promise<boolean> {
    if (segment !== this.#segment) this.#begin(segment)
    for (;;) {
      for (const [topic, timeMs] of before)
        if ((this.#firstMs.get(topic) ?? Number.POSITIVE_INFINITY) < timeMs) return true
      const sought = [...before].filter(([topic]) => !this.#firstMs.has(topic)).map(([, timeMs]) => timeMs)
      if (this.#offset >= segment.bytes || this.#timeMs >= Math.max(...sought)) return false
      await this.#readOn(segment)
    }
  }

  #begin(segment: Segment): void {
    this.#segment = segment
    this.#firstMs.clear()
    this.#offset = SEGMENT_HEADER_BYTES
    this.#timeMs = Number.NEGATIVE_INFINITY
  }

  async #readOn(segment: Segment): Promise<void> {
    segment.hold()
    try {
      const file = await this.#parts.fs.open(segment.path, 'read')
      try {
        const read = await readBlocks(file, segment.seed, this.#offset, segment.bytes, NEXT_BYTES_MAX / 4)
        if (read.bad !== undefined) throw corrupt(segment.path, this.#offset, read.bad)
        for (const block of read.blocks) {
          this.#timeMs = block.appendTimeMs
          for (const { topic } of storedRecords(this.#parts.topics, block))
            if (!this.#firstMs.has(topic)) this.#firstMs.set(topic, block.appendTimeMs)
        }
        this.#offset = read.offset
      } finally {
        await file.close().catch(() => {})
      }
    } finally {
      segment.release()
    }
  }
}
