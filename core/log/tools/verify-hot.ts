// The check of a hot segment and of the index file beside it. After damage it goes on with the next block that is whole.
import { join } from 'node:path'
import { checkSegmentHeader, HOT_SEGMENT, SEGMENT_HEADER_BYTES, type StoredBlock } from '../block.ts'
import type { File } from '../file-system.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import { Block } from '../records.ts'
import { blocksFound } from '../recovery.ts'
import { readBlocks, Segment } from '../segment.ts'
import { readSidecar, type Sidecar, sidecarName } from '../sidecar.ts'
import type { Verification } from './verify.ts'

/** @throws what the file system says, where the file has gone */
export async function verifyHot(of: Verification, first: number, newest: boolean): Promise<void> {
  const segment = new Segment(of.folder, of.identity.id, first, of.identity.epoch)
  const file = await of.fs.open(segment.path, 'read')
  try {
    const wrong = await headerWrong(of, segment, file)
    // Before the size: it never says more than the file has.
    const sidecar = await sidecarOf(of, segment)
    const size = await file.size()
    if (wrong !== undefined) {
      // A process killed while it began the file: its header is durable before anything is appended.
      const unbegun = newest && size <= SEGMENT_HEADER_BYTES && !sidecar && (of.identity.newest ?? 0) < first
      if (unbegun) {
        of.tailBytes = size
        return
      }
      of.damage(segment.path, 0, wrong)
    }
    const walk = new Walk(of, segment, file, size)
    await walk.run(newest)
    of.progress(size)
    if (sidecar) compare(of, segment, sidecar, walk)
  } finally {
    await file.close()
  }
}

/** What is wrong with the header; otherwise the segment takes it over. */
async function headerWrong(of: Verification, segment: Segment, file: File): Promise<string | undefined> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  const bytes = header.subarray(0, await file.read(header, 0))
  const wrong = checkSegmentHeader(HOT_SEGMENT, bytes, of.identity.id, segment.first)
  // What the header must have been is known, but for an epoch of old: with it the blocks can be checked all the same.
  if (!wrong) segment.adopt(header)
  return wrong?.reason
}

async function sidecarOf(of: Verification, segment: Segment): Promise<Sidecar | undefined> {
  const name = sidecarName(segment.name)
  const sidecar = await readSidecar(of.fs, of.folder, segment)
  if (!sidecar && (await of.fs.list(of.folder)).includes(name))
    of.damage(join(of.folder, name), 0, 'the index file cannot be read; it is made again at the next start')
  return sidecar
}

/** Over all blocks of a file. */
class Walk {
  readonly offsets = new Map<number, number>()
  /** Where the last whole batch ends: byte, and position. */
  wholeBytes = SEGMENT_HEADER_BYTES
  wholeEnd: number
  /** The most that a block says was durable before it. */
  durableBytes = 0
  damagedAt: number | undefined
  readonly #of: Verification
  readonly #segment: Segment
  readonly #file: File
  readonly #size: number
  /** Parts of the batch at hand. */
  #parts: StoredBlock[] = []

  constructor(of: Verification, segment: Segment, file: File, size: number) {
    this.#of = of
    this.#segment = segment
    this.#file = file
    this.#size = size
    this.wholeEnd = segment.first - 1
  }

  async run(newest: boolean): Promise<void> {
    const { reached } = this.#of
    const { first, path } = this.#segment
    if (reached.next !== undefined && reached.next !== first)
      this.#of.damage(path, 0, `it begins at position ${first}, the log goes on at ${reached.next}`)
    reached.next = first
    for (let offset = SEGMENT_HEADER_BYTES; offset < this.#size; ) {
      const read = await readBlocks(this.#file, this.#segment.seed, offset, this.#size, NEXT_BYTES_MAX)
      if (read.bad === undefined) {
        for (const block of read.blocks) this.#block(block)
        offset = read.offset
        continue
      }
      const next = await this.#found(offset + 1)
      if (next === undefined) {
        this.#tail(newest, offset, read.bad)
        return
      }
      this.#damage(offset, read.bad)
      offset = next
    }
    if (this.#parts.length > 0 || this.#size < SEGMENT_HEADER_BYTES)
      this.#tail(newest, this.wholeBytes, 'the last batch is not whole')
  }

  async #found(from: number): Promise<number | undefined> {
    for await (const block of blocksFound(this.#file, this.#segment, from, this.#size)) return block.offset
    return undefined
  }

  #damage(offset: number, problem: string): void {
    this.#of.damage(this.#segment.path, offset, problem)
    this.damagedAt ??= offset
    this.#parts = []
    // What follows cannot be known by what was before.
    this.#of.reached.next = undefined
  }

  /** The end of the file, which is not a whole batch: of the newest segment it was never acknowledged, unless something says so. */
  #tail(newest: boolean, offset: number, problem: string): void {
    if (newest && this.durableBytes <= this.wholeBytes && this.damagedAt === undefined) {
      this.#of.tailBytes = Math.max(0, this.#size - this.wholeBytes)
      this.#of.reached.next = this.wholeEnd + 1
    } else this.#damage(offset, problem)
  }

  #block(block: StoredBlock): void {
    const { reached } = this.#of
    const { path } = this.#segment
    const ordered = reached.next === undefined || block.first === reached.next
    if (!ordered) this.#of.damage(path, block.offset, `a block begins at position ${block.first}, out of order`)
    else if (this.damagedAt === undefined && block.part !== this.#parts.length)
      this.#of.damage(path, block.offset, `a block is part ${block.part} of its batch, out of order`)
    if (!ordered) this.damagedAt ??= block.offset
    reached.next = block.first + block.count
    this.durableBytes = Math.max(this.durableBytes, block.durableBytes)
    this.offsets.set(block.offset, block.first)
    this.#of.pass(block, path, block.offset)
    if (this.#of.topics) this.#of.decode(new Block(block, { topics: this.#of.topics, file: path }), path, block.offset)
    this.#parts.push({ ...block, payload: Buffer.alloc(0) })
    if (!block.last) return
    this.#parts = []
    this.wholeBytes = block.offset + block.bytes
    this.wholeEnd = block.first + block.count - 1
  }
}

/**
 * What the index file says against what was read. It may be of an earlier close: of the newest segment, and of the one before it,
 * where the process was killed between the two.
 */
function compare(of: Verification, segment: Segment, sidecar: Sidecar, walk: Walk): void {
  const file = join(of.folder, sidecarName(segment.name))
  if (walk.damagedAt === undefined && walk.wholeBytes < sidecar.bytes)
    of.damage(segment.path, walk.wholeBytes, `${sidecar.bytes} bytes of the file were durable, the rest is lost`)
  if (walk.damagedAt !== undefined || walk.wholeBytes !== sidecar.bytes) return
  if (sidecar.last !== walk.wholeEnd)
    of.damage(file, 0, `it says that the segment ends at position ${sidecar.last}, it ends at ${walk.wholeEnd}`)
  for (const [position, offset] of sidecar.index)
    if (walk.offsets.get(offset) !== position)
      of.damage(file, 0, `it says that a block of position ${position} stands at byte ${offset}`)
  of.compareEnd(file, 0, sidecar)
}
