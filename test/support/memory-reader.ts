// What the log in memory keeps of itself, and its readers.
import type { LogBase, LogBlock, LogReader, RecordCursor, SourceMark } from '../../core/index.ts'
import type { KeptBlock, MemoryTopic } from './memory-records.ts'

/** What outlives a close. */
export interface Kept {
  readonly id: string
  readonly topics: Map<string, MemoryTopic>
  blocks: KeptBlock[]
  /** Serial of the block and its mark. */
  marks: { readonly serial: number; readonly mark: SourceMark }[]
  base: LogBase
  /** Serial of the newest block in the base. */
  baseSerial: number
  /** Topic and key of a stream → how many of its events were removed. */
  readonly removed: Map<string, number>
}

export class MemoryReader implements LogReader {
  readonly #kept: Kept
  readonly #forget: () => void
  #after: number
  /** Serial of the block that it saw last. */
  #seen = 0
  /** What it began to read before a cleaning, it reads to its end. */
  #former: { readonly generation: number; readonly to: number; readonly blocks: readonly KeptBlock[] } | undefined
  #closed = false
  #wakes: (() => void)[] = []

  constructor(kept: Kept, after: number, forget: () => void) {
    this.#kept = kept
    this.#after = after
    this.#forget = forget
  }

  get position(): number {
    return this.#after
  }

  get generation(): number {
    return this.#former?.generation ?? this.#kept.base.generation
  }

  get #blocks(): readonly KeptBlock[] {
    const former = this.#former
    return former
      ? [...former.blocks, ...this.#kept.blocks.filter(({ first }) => first > former.to)]
      : this.#kept.blocks
  }

  keep(to: number): void {
    if (this.#after >= to) return
    this.#former = { generation: this.generation, to, blocks: this.#blocks.filter(({ first }) => first <= to) }
  }

  async next(): Promise<readonly LogBlock[] | undefined> {
    for (;;) {
      const blocks = await this.ready()
      if (blocks.length > 0) return blocks
      if (this.#closed) return undefined
      await new Promise<void>(resolve => this.#wakes.push(resolve))
    }
  }

  async ready(): Promise<readonly LogBlock[]> {
    const blocks: LogBlock[] = []
    for (const block of this.#closed ? [] : this.#blocks) {
      if (block.serial <= this.#seen) continue
      this.#seen = block.serial
      if (block.records.length > 0 ? block.end <= this.#after : block.first <= this.#after) continue
      blocks.push(new MemoryBlock(block, this.#after))
      this.#after = Math.max(this.#after, block.end)
    }
    return blocks
  }

  wake(): void {
    for (const resolve of this.#wakes.splice(0)) resolve()
  }

  close(): void {
    this.#closed = true
    this.#forget()
    this.wake()
  }
}

class MemoryBlock implements LogBlock {
  readonly #block: KeptBlock
  readonly first: number
  readonly count: number

  /** @param after records up to this position are left out */
  constructor(block: KeptBlock, after: number) {
    this.#block = block
    const records = block.records.filter(({ position }) => position > after)
    this.first = records[0]?.position ?? block.first
    this.count = records.length
  }

  get end(): number {
    return this.#block.end
  }

  get last(): boolean {
    return this.#block.last
  }

  get appendTimeMs(): number {
    return this.#block.appendTimeMs
  }

  get mark(): SourceMark | undefined {
    return this.#block.mark
  }

  records(): RecordCursor {
    const { records } = this.#block
    let at = records.length - this.count - 1
    const record = () => records[at]!
    return {
      next: () => ++at < records.length,
      get position() {
        return record().position
      },
      get topic() {
        return record().topic
      },
      get op() {
        return record().op
      },
      before: () => record().topic.read(record().before),
      after: () => record().topic.read(record().after),
      lendBefore: () => record().topic.read(record().before),
      lendAfter: () => record().topic.read(record().after),
      recall: () => {},
      lender: undefined,
      lendRun: () => 0,
      parked: () => structuredClone(record().parked ?? null),
    }
  }
}
