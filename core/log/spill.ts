// Batches larger than memory should hold: their full blocks go to a file of their own in the log's folder, and from there into
// the segment once they are committed. Until then nothing of them is in the log; what a crash leaves of such files is removed
// when the log is opened.
import { join } from 'node:path'
import { asMainstemError, fail, textOf } from '../errors.ts'
import type { BatchBlock } from './batch.ts'
import { type File, type FileSystem, isFull } from './file-system.ts'
import { NEXT_BYTES_MAX } from './limits.ts'
import type { Room } from './room.ts'

const NAME = /^batch-\d+\.spill$/

export const isSpill = (name: string): boolean => NAME.test(name)

/** A block that was spilled: room for its header in front, no mark behind. */
interface SpilledBlock {
  readonly bytes: number
  readonly count: number
}

export interface SpillParts {
  readonly fs: FileSystem
  readonly folder: string
  readonly room: Room
}

export class Spills {
  readonly #parts: SpillParts
  #made = 0

  constructor(parts: SpillParts) {
    this.#parts = parts
  }

  create(): Spill {
    return new Spill(this.#parts, join(this.#parts.folder, `batch-${++this.#made}.spill`))
  }
}

/** The spilled blocks of one batch. */
export class Spill {
  readonly #parts: SpillParts
  readonly #path: string
  readonly blocks: SpilledBlock[] = []
  #file: File | undefined
  #bytes = 0

  constructor(parts: SpillParts, path: string) {
    this.#parts = parts
    this.#path = path
  }

  /** @throws LOG_FULL where the batch could not be committed either, LOG_FAILED */
  async add(blocks: readonly BatchBlock[]): Promise<void> {
    const buffers = blocks.map(({ writer }) => writer.buffer.subarray(0, writer.at))
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
    await this.#parts.room.admit(this.#bytes + bytes)
    try {
      this.#file ??= await this.#parts.fs.open(this.#path, 'create')
      await this.#file.write(buffers, this.#bytes)
    } catch (error) {
      if (!isFull(error)) throw asMainstemError(error, 'LOG_FAILED', 'cannot write what a large batch holds')
      throw fail('LOG_FULL', 'no room for what a large batch holds', { detail: textOf(error), cause: error })
    }
    this.#bytes += bytes
    for (const { writer, count } of blocks) this.blocks.push({ bytes: writer.at, count })
  }

  /** The blocks in order, about 4 MiB at a time, each with the mark behind it. */
  async *read(mark: Buffer | undefined): AsyncGenerator<readonly Buffer[]> {
    let at = 0
    for (let n = 0; n < this.blocks.length; ) {
      const piece: Buffer[] = []
      for (let bytes = 0; n < this.blocks.length && bytes < NEXT_BYTES_MAX; n++) {
        const block = this.blocks[n]!
        const buffer = Buffer.allocUnsafeSlow(block.bytes + (mark?.length ?? 0))
        const read = await this.#file!.read(buffer.subarray(0, block.bytes), at)
        if (read < block.bytes) throw fail('LOG_FAILED', 'what a large batch held is gone', { detail: this.#path })
        mark?.copy(buffer, block.bytes)
        piece.push(buffer)
        at += block.bytes
        bytes += buffer.length
      }
      yield piece
    }
  }

  /** What cannot be removed now is removed when the log is opened. */
  async remove(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    if (!file) return
    await file.close().catch(() => {})
    await this.#parts.fs.remove(this.#path).catch(() => {})
  }
}
