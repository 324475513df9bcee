// Seals closed hot segments in the background, oldest first. The sealed file is written under a temporary name, made durable, and
// renamed; only then the hot one goes, once no reader holds it. So at any moment one of the two is whole, and where both are,
// they say the same. What fails leaves the hot segment as it is, to be tried again when the next one closes.
import { join } from 'node:path'
import { textOf } from '../../errors.ts'
import type { Background } from '../background.ts'
import { raiseFormat } from '../identity.ts'
import type { Recovery } from '../recovery.ts'
import { Reruns } from '../reruns.ts'
import { Segment } from '../segment.ts'
import { sidecarName } from '../sidecar.ts'
import type { Topics } from '../topics.ts'
import type { Turns } from '../turns.ts'
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
  readonly background: Background
  /** Taken for each segment: a cleaning must not find one half way from hot to sealed. */
  readonly turns: Turns
  /** Called when a sealed segment has taken the place of its hot one, which is not removed yet. */
  readonly onSealed: () => void
}

export class Sealer {
  readonly #parts: SealerParts
  readonly #reruns = new Reruns(
    () => this.#sealAll(),
    error => this.#failed(error),
  )

  constructor(parts: SealerParts) {
    this.#parts = parts
  }

  /** Called when a segment was closed. */
  wake(): void {
    this.#reruns.wake()
  }

  /** Resolves when no closed segment waits to be sealed, or sealing failed. */
  idle(): Promise<void> {
    return this.#reruns.idle()
  }

  /** Begins nothing more; what is under way ends when it is done, or when the background is closed. */
  stop(): Promise<void> {
    return this.#reruns.stop()
  }

  async #sealAll(): Promise<void> {
    while (!this.#reruns.stopped && (await this.#parts.turns.run(() => this.#sealNext())));
  }

  /** False where none is left, or it was stopped. */
  async #sealNext(): Promise<boolean> {
    const { segments } = this.#parts
    const hot = this.#next()
    if (!hot || this.#reruns.stopped) return false
    const sealed = await this.#seal(hot)
    segments[segments.indexOf(hot)] = sealed
    this.#parts.onSealed()
    // A reader may stay for long: the next start removes the file, if not before.
    const removed = hot.freed().then(() => this.#remove(hot))
    if (!hot.held) await removed
    return true
  }

  async #remove(hot: Segment): Promise<void> {
    if (this.#reruns.stopped) return
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

  async #seal(hot: Segment): Promise<SealedSegment> {
    const { recovery, topics, files, compression, background } = this.#parts
    const { fs, folder, identity } = recovery
    await raiseFormat(recovery)
    const sealed = new SealedSegment(files, folder, identity.id, { first: hot.first, generation: 0 })
    const to = `${sealed.path}.tmp`
    const { path, first, last, bytes, seed, end = { appendTimeMs: 0, marks: new Map() } } = hot
    const { id, epoch } = identity
    try {
      await background.run('seal', {
        identity: { id, epoch },
        hot: { path, first, last, bytes, seed },
        end,
        topics: topics.stored,
        compression,
        to,
      })
    } catch (error) {
      await fs.remove(to).catch(() => {})
      throw error
    }
    await fs.rename(to, sealed.path)
    await fs.syncFolder(folder)
    return sealed.open()
  }
}

/** Removes what a sealed segment stands for. */
export async function removeHot({ fs, folder }: Recovery, hot: Segment): Promise<void> {
  await fs.remove(hot.path)
  await fs.remove(join(folder, sidecarName(hot.name)))
}
