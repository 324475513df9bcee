// The newest durable blocks, kept in memory: readers at the tail never touch the disk.
import type { StoredBlock } from './block.ts'
import { TAIL_BYTES_MAX } from './limits.ts'
import type { Segment } from './segment.ts'

interface Kept {
  readonly segment: Segment
  readonly block: StoredBlock
}

export class Tail {
  /** In log order; the first `#dropped` are gone. */
  #kept: (Kept | undefined)[] = []
  #dropped = 0
  #bytes = 0

  push(segment: Segment, block: StoredBlock): void {
    this.#kept.push({ segment, block })
    this.#bytes += block.bytes
    while (this.#bytes > TAIL_BYTES_MAX) {
      this.#bytes -= this.#kept[this.#dropped]?.block.bytes ?? 0
      this.#kept[this.#dropped++] = undefined
    }
    // Now and then, so that dropping costs nothing per block.
    if (this.#dropped > 1024 && this.#dropped * 2 > this.#kept.length) {
      this.#kept = this.#kept.slice(this.#dropped)
      this.#dropped = 0
    }
  }

  /** Blocks of `segment` from `offset` on, about `most` bytes; undefined where they are not kept. */
  from(segment: Segment, offset: number, most: number): readonly StoredBlock[] | undefined {
    let low = this.#dropped
    let high = this.#kept.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const kept = this.#kept[middle]
      if (!kept) break
      if (kept.segment.first < segment.first || (kept.segment === segment && kept.block.offset < offset))
        low = middle + 1
      else high = middle
    }
    const found = this.#kept[low]
    if (found?.segment !== segment || found.block.offset !== offset) return undefined
    const blocks: StoredBlock[] = []
    let bytes = 0
    for (let n = low; n < this.#kept.length && bytes < most; n++) {
      const kept = this.#kept[n]
      // A follower (follow/) is sent small blocks only: what lies between them is in the file.
      if (kept?.segment !== segment || kept.block.offset !== offset + bytes) break
      blocks.push(kept.block)
      bytes += kept.block.bytes
    }
    return blocks
  }
}
