// Seals closed hot segments in the background, oldest first. The sealed file is written under a temporary name, made durable, and
// renamed; only then the hot one goes, once no reader holds it. So at any moment one of the two is whole, and where both are,
// they say the same. What fails leaves the hot segment as it is, to be tried again when the next one closes.
import { join } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import { textOf } from '../../errors.ts'
import { SEGMENT_HEADER_BYTES, type StoredBlock } from '../block.ts'
import type { File, FileSystem } from '../file-system.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import { corrupt } from '../records.ts'
import type { Recovery } from '../recovery.ts'
import { readBlocks, Segment } from '../segment.ts'
import { sidecarName } from '../sidecar.ts'
import type { Topics } from '../topics.ts'
import { SealedFileWriter } from './file-writer.ts'
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
      whole = await this.#write(hot, file)
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

  /** False where it was stopped. */
  async #write(hot: Segment, file: File): Promise<boolean> {
    const { recovery, topics, compression } = this.#parts
    const { identity } = recovery
    const writer = new SealedFileWriter(file, {
      identity,
      topics,
      first: hot.first,
      compression,
      payloadBytes: hot.bytes,
    })
    for await (const block of hotBlocks(recovery.fs, hot)) {
      await writer.add(block)
      if (this.#stopped) return false
    }
    await writer.finish(hot.last, hot.end ?? { appendTimeMs: 0, marks: new Map() })
    return !this.#stopped
  }
}

/** All blocks of a closed segment. @throws LOG_CORRUPT */
async function* hotBlocks(fs: FileSystem, hot: Segment): AsyncGenerator<StoredBlock> {
  const file = await fs.open(hot.path, 'read')
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

/** Removes what a sealed segment stands for. */
export async function removeHot({ fs, folder }: Recovery, hot: Segment): Promise<void> {
  await fs.remove(hot.path)
  await fs.remove(join(folder, sidecarName(hot.name)))
}
