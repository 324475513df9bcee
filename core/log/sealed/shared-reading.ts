// A reader's way to the blocks that it shares with those of other threads (shared-blocks.ts). They make blocks in turn, each its own
// ones one block ahead: when a reader comes to a block, it is there, whether by itself or by another.
import type { Topics } from '../topics.ts'
import type { BlockEntry } from './block-writer.ts'
import type { ColumnUse } from './column-use.ts'
import type { SealedBlock } from './sealed-block.ts'
import type { SealedSegment } from './sealed-segment.ts'
import type { BlockKey, SharedBlocks } from './shared-blocks.ts'

export class SharedReading {
  readonly #shared: SharedBlocks
  readonly #topics: Topics
  readonly #use: ColumnUse
  /** One with a block that needs more memory than there is for one: its others are likely to, too. */
  #large: SealedSegment | undefined

  constructor(shared: SharedBlocks, topics: Topics, use: ColumnUse) {
    this.#shared = shared
    this.#topics = topics
    this.#use = use
  }

  /**
   * A block of a segment, with all that was asked of blocks before unpacked; it stands until the next one is asked for.
   * @throws LOG_CORRUPT
   */
  async block(segment: SealedSegment, n: number): Promise<SealedBlock | undefined> {
    const { blocks } = await segment.footer()
    const entry = blocks[n]
    if (entry === undefined) return undefined
    this.#shared.passed(entry.first)
    const block =
      (await this.#found(segment, entry)) ?? (await this.#made(segment, n, entry)) ?? (await this.#own(segment, n))
    const next = blocks[n + 1]
    // Should it be damaged, that is found when it is come to.
    if (next && this.#makes(n + 1)) await this.#made(segment, n + 1, next).catch(() => {})
    return block
  }

  #makes(n: number): boolean {
    return n % this.#shared.readers === this.#shared.reader
  }

  async #own(segment: SealedSegment, n: number): Promise<SealedBlock | undefined> {
    return (await segment.block(n, this.#topics, this.#use))?.unpack('asked')
  }

  async #found(segment: SealedSegment, entry: BlockEntry): Promise<SealedBlock | undefined> {
    const memory = await this.#shared.find(keyOf(segment, entry))
    return memory && segment.shared(memory, entry, this.#topics, this.#use).unpack('asked')
  }

  /** Makes a block for all; undefined where it is made already, or there is no memory for it. */
  async #made(segment: SealedSegment, n: number, entry: BlockEntry): Promise<SealedBlock | undefined> {
    const key = keyOf(segment, entry)
    if (segment === this.#large || this.#shared.has(key)) return undefined
    const claim = this.#shared.claim(key, entry.bytes)
    if (claim === undefined) return undefined
    try {
      const block = await segment.block(n, this.#topics, this.#use, claim.memory)
      await block!.unpack('asked')
      if (block!.share(claim.memory)) {
        claim.ready()
        return block
      }
      this.#large = segment
    } catch (error) {
      claim.drop()
      throw error
    }
    claim.drop()
    return undefined
  }
}

const keyOf = (segment: SealedSegment, { offset, first, last }: BlockEntry): BlockKey => ({
  segment,
  offset,
  first,
  last,
})
