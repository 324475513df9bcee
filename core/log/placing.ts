// Gives the blocks of one write their places in the log and in the file, and fills in their headers.
import type { EncodedBatch } from './batch.ts'
import { BLOCK_HEADER_BYTES, type BlockStamp, type StoredBlock, stampBlock } from './block.ts'
import type { Segment } from './segment.ts'

export class Placing {
  readonly #segment: Segment
  readonly blocks: StoredBlock[] = []
  /** Offset in the file of the next block. */
  offset: number
  /** Position of the next record. */
  next: number
  appendTimeMs: number
  readonly #nowMs: number
  #part = 0
  #parts = 0

  /** @param appendTimeMs of the block before */
  constructor(segment: Segment, appendTimeMs: number, nowMs: number) {
    this.#segment = segment
    this.offset = segment.bytes
    this.next = segment.last + 1
    this.appendTimeMs = appendTimeMs
    this.#nowMs = nowMs
  }

  /** The blocks of a batch follow, all of them. */
  begin(batch: EncodedBatch): void {
    this.#part = 0
    this.#parts = (batch.spill?.blocks.length ?? 0) + batch.blocks.length
    this.appendTimeMs = Math.max(this.appendTimeMs, batch.appendTimeMs ?? this.#nowMs)
  }

  /** @param bytes the whole block, its header still blank */
  add(batch: EncodedBatch, bytes: Buffer, count: number): void {
    const { seed, last, bytes: durableBytes } = this.#segment
    const stamp: BlockStamp = {
      seed,
      offset: this.offset,
      first: this.next,
      count,
      part: this.#part,
      last: this.#part === this.#parts - 1,
      mark: batch.mark,
      markBytes: batch.markBytes,
      durableEnd: last,
      durableBytes,
      appendTimeMs: this.appendTimeMs,
    }
    stampBlock(bytes, stamp)
    const payload = bytes.subarray(BLOCK_HEADER_BYTES, bytes.length - batch.markBytes)
    this.blocks.push({ ...stamp, bytes: bytes.length, payload })
    this.#part++
    this.offset += bytes.length
    this.next += count
  }

  /** The same of a block that is not kept in memory once it is written. */
  pass(batch: EncodedBatch, bytes: Buffer, count: number): void {
    this.add(batch, bytes, count)
    const n = this.blocks.length - 1
    this.blocks[n] = { ...this.blocks[n]!, payload: NOT_KEPT }
  }
}

const NOT_KEPT = Buffer.alloc(0)
