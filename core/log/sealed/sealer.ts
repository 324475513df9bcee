// Seals closed hot segments in the background, oldest first. The sealed file is written under a temporary name, made durable, and
// renamed; only then the hot one goes, once no reader holds it. So at any moment one of the two is whole, and where both are,
// they say the same. What fails leaves the hot segment as it is, to be tried again when the next one closes.
import { join } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { textOf } from '../../errors.ts'
import { SEGMENT_HEADER_BYTES, type StoredBlock, segmentHeader, segmentSeed } from '../block.ts'
import type { File } from '../file-system.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import { corrupt } from '../records.ts'
import type { Recovery } from '../recovery.ts'
import { readBlocks, Segment } from '../segment.ts'
import { type SegmentEnd, sidecarName } from '../sidecar.ts'
import type { Topics } from '../topics.ts'
import { type BlockEntry, BlockWriter } from './block-writer.ts'
import {
  RUN_PAYLOAD_BYTES_FULL,
  SEAL_RECORDS_PER_TURN,
  SEALED_PAYLOAD_BYTES_FULL,
  SEALED_RECORDS_FULL,
} from './bounds.ts'
import { type ChunkEntry, SEALED_SEGMENT, writeFooter, writeTrailer } from './format.ts'
import { KeyRun } from './key-writer.ts'
import type { SealedFiles } from './sealed-files.ts'
import { SealedSegment } from './sealed-segment.ts'
import type { Compression } from './sections.ts'

export interface SealerParts {
  readonly recovery: Recovery
  readonly topics: Topics
  readonly files: SealedFiles
  /** Of the log, in order; a sealed segment takes the place of its hot one. */
  readonly segments: (Segment | SealedSegment)[]
  readonly compression: Compression
}

export class Sealer {
  readonly #parts: SealerParts
  #running: Promise<void> | undefined
  #again = false
  #stopped = false

  constructor(parts: SealerParts) {
    this.#parts = parts
  }

  /** Called when a segment was closed. */
  wake(): void {
    if (this.#stopped) return
    this.#again = true
    this.#running ??= this.#run()
  }

  /** Resolves when no closed segment waits to be sealed, or sealing failed. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running
  }

  /** Ends at the next pause; what is not finished is removed. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    const { segments } = this.#parts
    // Not before the caller goes on: and so never done before `#running` is set.
    await immediate()
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false
        for (let hot = this.#next(); hot && !this.#stopped; hot = this.#next()) {
          const sealed = await this.#seal(hot)
          if (!sealed) break
          segments[segments.indexOf(hot)] = sealed
          // A reader may stay for long: the next start removes the file, if not before.
          const removed = hot.freed().then(() => this.#remove(hot))
          if (!hot.held) await removed
        }
      }
    } catch (error) {
      this.#failed(error)
    } finally {
      this.#running = undefined
    }
  }

  async #remove(hot: Segment): Promise<void> {
    if (this.#stopped) return
    await removeHot(this.#parts.recovery, hot).catch(error => this.#failed(error))
  }

  #failed(error: unknown): void {
    this.#parts.recovery.onEvent({ event: 'log-seal-failed', message: textOf(error) })
  }

  /** The oldest closed hot segment. */
  #next(): Segment | undefined {
    const { segments } = this.#parts
    const hot = segments.findIndex(segment => segment instanceof Segment)
    const segment = segments[hot]
    return segment instanceof Segment && hot < segments.length - 1 && segment.end ? segment : undefined
  }

  /** Undefined where it was stopped. */
  async #seal(hot: Segment): Promise<SealedSegment | undefined> {
    const { fs, folder, identity } = this.#parts.recovery
    const sealed = new SealedSegment(this.#parts.files, folder, identity.id, hot.first)
    const temporary = `${sealed.path}.tmp`
    const file = await fs.open(temporary, 'create')
    let whole = false
    try {
      const writing = new Sealing(this.#parts, hot, file, () => this.#stopped)
      whole = await writing.run()
      if (whole) await file.datasync()
    } finally {
      await file.close().catch(() => {})
      if (!whole) await fs.remove(temporary).catch(() => {})
    }
    if (!whole) return undefined
    await fs.rename(temporary, sealed.path)
    await fs.syncFolder(folder)
    return sealed.open()
  }
}

/** Removes what a sealed segment stands for. */
export async function removeHot({ fs, folder }: Recovery, hot: Segment): Promise<void> {
  await fs.remove(hot.path)
  await fs.remove(join(folder, sidecarName(hot.name)))
}

/** Writes one sealed file. */
class Sealing {
  readonly #parts: SealerParts
  readonly #hot: Segment
  readonly #end: SegmentEnd
  readonly #file: File
  readonly #stopped: () => boolean
  readonly #header: Buffer
  readonly #seed: number
  readonly #writer: BlockWriter
  readonly #entries: BlockEntry[] = []
  readonly #runs: ChunkEntry[][] = []
  #run: KeyRun
  #at = 0

  constructor(parts: SealerParts, hot: Segment, file: File, stopped: () => boolean) {
    const { identity } = parts.recovery
    this.#parts = parts
    this.#hot = hot
    this.#end = hot.end ?? { appendTimeMs: 0, marks: new Map() }
    this.#file = file
    this.#stopped = stopped
    this.#header = segmentHeader(SEALED_SEGMENT, identity.id, hot.first, identity.epoch)
    this.#seed = segmentSeed(this.#header)
    this.#writer = new BlockWriter(parts.topics)
    this.#run = new KeyRun(hot.bytes)
  }

  /** False where it was stopped. */
  async run(): Promise<boolean> {
    await this.#put([this.#header])
    for await (const block of this.#hotBlocks()) {
      // A block's places then fit 16 bits, and so do the differences of a counter in it.
      if (this.#writer.count + block.count > SEALED_RECORDS_FULL) await this.#closeBlock()
      for (const _ of this.#writer.add(block, SEAL_RECORDS_PER_TURN, this.#run.add)) await immediate()
      if (this.#stopped()) return false
      const { count, payloadBytes } = this.#writer
      if (count < SEALED_RECORDS_FULL && payloadBytes < SEALED_PAYLOAD_BYTES_FULL) continue
      await this.#closeBlock()
    }
    await this.#closeBlock()
    await this.#closeRun()
    await this.#close()
    return !this.#stopped()
  }

  async *#hotBlocks(): AsyncGenerator<StoredBlock> {
    const hot = this.#hot
    const file = await this.#parts.recovery.fs.open(hot.path, 'read')
    try {
      let offset = SEGMENT_HEADER_BYTES
      while (offset < hot.bytes) {
        const read = await readBlocks(file, hot.seed, offset, hot.bytes, NEXT_BYTES_MAX / 4)
        if (read.bad !== undefined) throw corrupt(hot.path, offset, read.bad)
        yield* read.blocks
        offset = read.offset
        await immediate()
      }
    } finally {
      await file.close().catch(() => {})
    }
  }

  async #closeBlock(): Promise<void> {
    if (this.#writer.empty) return
    const { pieces, entry } = await this.#writer.finish(this.#at, this.#seed, this.#parts.compression)
    this.#entries.push(entry)
    await this.#put(pieces)
    if (this.#run.full || this.#run.payloadBytes >= RUN_PAYLOAD_BYTES_FULL) await this.#closeRun()
  }

  async #closeRun(): Promise<void> {
    if (this.#run.count === 0) return
    this.#runs.push(await this.#run.write(pieces => this.#put(pieces), this.#parts.compression, this.#seed))
    this.#run = new KeyRun(this.#hot.bytes)
  }

  async #close(): Promise<void> {
    const { last } = this.#hot
    const { appendTimeMs, marks } = this.#end
    const footer = writeFooter({
      last,
      appendTimeMs,
      marks: [...marks.values()],
      blocks: this.#entries,
      runs: this.#runs,
    })
    await this.#put([footer, writeTrailer(this.#at, footer, last, this.#seed)])
  }

  async #put(pieces: readonly Uint8Array[]): Promise<number> {
    const at = this.#at
    const buffers = pieces.map(piece => Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength))
    await this.#file.write(buffers, at)
    this.#at = buffers.reduce((sum, buffer) => sum + buffer.length, at)
    return at
  }
}
