// When checkpoints are written: one at a time, each at a cut, in the background, and not more often than they are worth.
import { describeError, fail } from '../../core/index.ts'
import type { Checkpoint } from '../checkpoint/manifest.ts'
import type { EngineEvent } from '../engine-options.ts'
import type { Scheduler } from './scheduler.ts'

/** From one checkpoint's start to the next: this many times what it took. */
const CHECKPOINT_REST = 10

/** A cut at which a checkpoint can begin. */
export interface CheckpointCut {
  readonly position: number
  /** Begins a checkpoint of this moment, in the same turn. @param full of all rows, in files of its own */
  write(full: boolean): Promise<Checkpoint>
}

export interface CheckpointHost {
  readonly scheduler: Scheduler
  /** Calls back at the next cut; without one where none is to be written any more. */
  atCut<T>(begin: (cut: CheckpointCut | undefined) => T): Promise<Awaited<T>>
  emit(event: EngineEvent): void
}

export class CheckpointRuns {
  readonly #host: CheckpointHost
  #running: Promise<Checkpoint | undefined> | undefined
  #dueMs = 0
  /** Whether rows have changed at the position of the last one. */
  #rowsChanged = false
  /** Of the last one; −1 before. */
  position = -1

  constructor(host: CheckpointHost) {
    this.#host = host
  }

  /** In the background checkpoints take a tenth of the time at most: while much changes, fewer and larger ones. */
  ifDue(): void {
    if (this.#host.scheduler.nowMs() >= this.#dueMs) void this.now().catch(() => {})
  }

  /** Rows have changed without a record: the next one is written even where the log has not grown. */
  rowsChanged(): void {
    this.#rowsChanged = true
  }

  /** Writes what has changed, or waits for the one that runs. */
  async now(): Promise<void> {
    await (this.#running ?? this.#run(false))
  }

  /** One that begins now, or is not needed: what has happened so far is on disk. @throws CHECKPOINT_FAILED */
  async anew(): Promise<void> {
    while (this.#running) await this.#running.catch(() => {})
    await this.#run(false)
  }

  /** A checkpoint of now, of all rows, in files of its own. @param atCut called at its cut @throws NOT_READY */
  async whole(atCut: () => void = () => {}): Promise<Checkpoint> {
    while (this.#running) await this.#running.catch(() => {})
    const made = await this.#run(true, atCut)
    if (made) return made
    throw fail('NOT_READY', 'no checkpoint can be written now')
  }

  /** Resolves when none runs. */
  async ended(): Promise<void> {
    await this.#running?.catch(() => {})
  }

  #run(full: boolean, atCut: () => void = () => {}): Promise<Checkpoint | undefined> {
    this.#running = this.#host
      .atCut(cut => {
        if (cut === undefined || (cut.position === this.position && !full && !this.#rowsChanged)) return undefined
        atCut()
        return this.#write(cut, full)
      })
      .finally(() => {
        this.#running = undefined
      })
    return this.#running
  }

  async #write(cut: CheckpointCut, full: boolean): Promise<Checkpoint> {
    const { scheduler } = this.#host
    const { position } = cut
    const startedMs = scheduler.nowMs()
    const rowsChanged = this.#rowsChanged
    this.#rowsChanged = false
    this.#host.emit({ event: 'checkpoint-started', position })
    try {
      const made = await cut.write(full)
      this.position = position
      const ms = scheduler.nowMs() - startedMs
      this.#dueMs = startedMs + ms * CHECKPOINT_REST
      this.#host.emit({ event: 'checkpoint-ended', position, ms })
      return made
    } catch (error) {
      this.#rowsChanged ||= rowsChanged
      this.#host.emit({ event: 'checkpoint-failed', message: describeError(error) })
      throw error
    }
  }
}
