// Tails the log: from memory where the blocks are new, from the files where they are not; never beyond the durable end,
// where whole batches end.

import { asMainstemError } from '../errors.ts'
import type { Lease, Leases } from './base/leases.ts'
import type { StoredBlock } from './block.ts'
import type { File, FileSystem } from './file-system.ts'
import { NEXT_BYTES_MAX } from './limits.ts'
import type { LogBlock, LogReader, ReadOptions } from './log.ts'
import { Block, corrupt } from './records.ts'
import type { AnySegment } from './recovery.ts'
import { ColumnUse } from './sealed/column-use.ts'
import type { SealedBlock } from './sealed/sealed-block.ts'
import { SealedSegment } from './sealed/sealed-segment.ts'
import type { SharedBlocks } from './sealed/shared-blocks.ts'
import { SharedReading } from './sealed/shared-reading.ts'
import { readBlocks, type Segment } from './segment.ts'
import type { Tail } from './tail.ts'
import type { Topics } from './topics.ts'

interface ReaderParts {
  readonly fs: FileSystem
  readonly topics: Topics
  readonly tail: Tail
  readonly leases: Leases
  /** What the first reader that is lent blocks shares with those of other threads. */
  readonly shared?: SharedBlocks | undefined
}

/** All readers of a log: what they read from, and what wakes them. */
export class Readers {
  readonly parts: ReaderParts
  readonly #open = new Set<SegmentReader>()
  /** Grows whenever something became durable. */
  version = 0
  closed = false
  #shared: SharedBlocks | undefined
  #changed = Promise.withResolvers<void>()

  constructor(parts: ReaderParts) {
    this.parts = parts
    this.#shared = parts.shared
  }

  read(after: number, { lent = false }: ReadOptions = {}): LogReader {
    const shared = lent ? this.#shared : undefined
    if (shared) this.#shared = undefined
    const reader = new SegmentReader(this, after, lent, shared)
    this.#open.add(reader)
    return reader
  }

  /** Wakes those that wait. */
  durable(): void {
    this.version++
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** Resolves when `version` is no longer the given one. */
  changed(version: number): Promise<void> {
    return version === this.version ? this.#changed.promise : Promise.resolve()
  }

  forget(reader: SegmentReader): void {
    this.#open.delete(reader)
  }

  /** Ends all readers; resolves when their files are closed. */
  async close(): Promise<void> {
    this.closed = true
    await Promise.all([...this.#open].map(reader => reader.ended()))
  }
}

/** One `next` or `ready` at a time is what a reader is made for; more of them follow each other. */
class SegmentReader implements LogReader {
  readonly #readers: Readers
  #after: number
  #segment: AnySegment | undefined
  /** The segment that it is in, or about to be. */
  #entered: AnySegment | undefined
  /** The next offset of a hot segment, the next block of a sealed one. */
  #offset = 0
  /** Position at which the next block must begin; unknown after a seek. */
  #next: number | undefined
  /** Which part of its batch it must be; unknown after a seek. */
  #part: number | undefined
  #sealedCount = 0
  readonly #use = new ColumnUse()
  readonly #sharing: SharedReading | undefined
  readonly #lends: boolean
  /** The last sealed block, where blocks are lent. */
  #lent: SealedBlock | undefined
  #file: File | undefined
  #closed = false
  /** Reads of one reader follow each other, and its file is closed after them. */
  #tail: Promise<unknown> = Promise.resolve()
  readonly #lease: Lease
  /** Ends the wait of `next`. */
  #wake: () => void = () => {}

  /** @param shared by which it shares blocks with readers of other threads */
  constructor(readers: Readers, after: number, lends: boolean, shared?: SharedBlocks) {
    this.#readers = readers
    this.#lends = lends
    this.#sharing = shared && new SharedReading(shared, readers.parts.topics, this.#use)
    this.#after = after
    this.#lease = readers.parts.leases.acquire(() => this.#entered?.first ?? this.#after + 1)
  }

  get generation(): number {
    return this.#lease.generation
  }

  get position(): number {
    return this.#after
  }

  async next(): Promise<readonly LogBlock[] | undefined> {
    for (;;) {
      const { version } = this.#readers
      const blocks = await this.ready()
      if (blocks.length > 0) return blocks
      if (this.#closed || this.#readers.closed) return undefined
      await this.#changed(version)
    }
  }

  #changed(version: number): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve
      void this.#readers.changed(version).then(resolve)
    })
  }

  ready(): Promise<readonly LogBlock[]> {
    const read = this.#tail.then(() => this.#ready())
    this.#tail = read.catch(() => {})
    return read
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#wake()
    this.#tail = this.#tail.then(() => this.#release()).then(() => this.#lease.release())
    this.#readers.forget(this)
  }

  async ended(): Promise<void> {
    this.close()
    await this.#tail
  }

  async #ready(): Promise<readonly LogBlock[]> {
    this.#lent?.letGo()
    this.#lent = undefined
    while (!this.#closed && !this.#readers.closed) {
      const segment = this.#segment ?? (await this.#enter(this.#seek()))
      const blocks =
        segment instanceof SealedSegment ? await this.#sealedBlocks(segment) : await this.#hotBlocks(segment)
      if (blocks.length > 0) return blocks
      if (this.#offset < this.#endOf(segment)) continue
      if (!this.#following(segment)) return []
      await this.#release()
      // Asked again: it may have been sealed meanwhile, and its file be gone.
      await this.#enter(this.#following(segment)!)
    }
    return []
  }

  #endOf(segment: AnySegment): number {
    return segment instanceof SealedSegment ? this.#sealedCount : segment.bytes
  }

  /** The next segment: that which it was sealed as may stand in its place. */
  #following(segment: AnySegment): AnySegment | undefined {
    const { segments } = this.#lease
    let n = segments.length - 1
    while (n > 0 && segments[n - 1]!.first > segment.first) n--
    const following = segments[n]
    return following && following.first > segment.first ? following : undefined
  }

  async #hotBlocks(segment: Segment): Promise<readonly LogBlock[]> {
    if (this.#offset >= segment.bytes) return []
    const kept = this.#readers.parts.tail.from(segment, this.#offset, NEXT_BYTES_MAX)
    return this.#take(segment, kept ?? (await this.#read(segment)))
  }

  async #sealedBlocks(segment: SealedSegment): Promise<readonly LogBlock[]> {
    const block = await this.#sealedBlock(segment, this.#offset)
    if (!block) return []
    if (this.#lends) this.#lent = block
    this.#offset++
    const blocks = block.blocks(this.#after)
    this.#after = Math.max(this.#after, block.entry.last)
    return blocks
  }

  async #sealedBlock(segment: SealedSegment, n: number): Promise<SealedBlock | undefined> {
    if (this.#sharing) return this.#sharing.block(segment, n)
    return (await segment.block(n, this.#readers.parts.topics, this.#use))?.unpack('asked')
  }

  #seek(): AnySegment {
    const { segments } = this.#lease
    let n = segments.length - 1
    while (n > 0 && (segments[n]?.first ?? 0) > this.#after + 1) n--
    // A heartbeat right after the position may stand at the end of the segment before.
    while (n > 0 && segments[n]?.first === this.#after + 1) n--
    return segments[n]!
  }

  async #enter(segment: AnySegment): Promise<AnySegment> {
    this.#next = undefined
    this.#part = undefined
    this.#entered = segment
    this.#lease.passed(segment.first)
    if (segment instanceof SealedSegment) {
      this.#sealedCount = (await segment.footer()).blocks.length
      this.#offset = await segment.blockAfter(this.#after)
    } else {
      segment.hold()
      this.#offset = segment.seek(this.#after)
    }
    this.#segment = segment
    return segment
  }

  async #read(segment: Segment): Promise<readonly StoredBlock[]> {
    try {
      this.#file ??= await this.#readers.parts.fs.open(segment.path, 'read')
      const read = await readBlocks(this.#file, segment.seed, this.#offset, segment.bytes)
      if (read.bad === undefined) return read.blocks
      throw corrupt(segment.path, this.#offset, read.bad)
    } catch (error) {
      throw asMainstemError(error, 'LOG_FAILED', 'cannot read the log')
    }
  }

  /** Passes over the blocks, leaving out what is not after the position. */
  #take(segment: Segment, blocks: readonly StoredBlock[]): LogBlock[] {
    const place = { topics: this.#readers.parts.topics, file: segment.path }
    const taken: LogBlock[] = []
    for (const block of blocks) {
      const end = block.first + block.count - 1
      // Checksums say that a block is as it was written, this that it is the one that was written here.
      if (this.#next === undefined ? block.first > this.#after + 1 : block.first !== this.#next)
        throw corrupt(segment.path, block.offset, `a block begins at position ${block.first}, out of order`)
      if (this.#part !== undefined && block.part !== this.#part)
        throw corrupt(segment.path, block.offset, `a block is part ${block.part} of its batch, out of order`)
      this.#next = end + 1
      this.#part = block.last ? 0 : block.part + 1
      this.#offset = block.offset + block.bytes
      // A heartbeat at the position itself ends there and begins after it.
      if (block.count > 0 ? end <= this.#after : block.first <= this.#after) continue
      taken.push(new Block(block, place, this.#after))
      this.#after = Math.max(this.#after, end)
    }
    return taken
  }

  async #release(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => {})
    if (this.#segment && !(this.#segment instanceof SealedSegment)) this.#segment.release()
    this.#segment = undefined
  }
}
