// Batches on their way to disk. Decoding does not wait for them, but what is in flight is bounded, and what is confirmed to
// the server, promised to readers, or committed in the mirror has always come out at the other end.
import type { Appended, Batch, SourceMark } from '../../core/index.ts'
import type { Positions } from './positions.ts'

interface InFlight<P> {
  readonly bytes: number
  /** Everything up to here is durable once this and all before it are. */
  completeTo: P
}

export interface PipelineOptions<P> {
  readonly positions: Positions<P>
  /** The source's position that the log already has. */
  readonly logged: P
  /** The log position of the last durable batch before. */
  readonly position: number
  readonly onDurable: () => void
  readonly onError: (error: unknown) => void
}

export class Pipeline<P> {
  readonly #options: PipelineOptions<P>
  readonly #positions: Positions<P>
  readonly #queue: (InFlight<P> | undefined)[] = []
  #head = 0
  #bytes = 0
  #complete: P
  #logged: P
  #position: number
  #failed = false
  #drained: (() => void)[] = []
  #unsettled = 0
  #settled: (() => void)[] = []
  #below: { readonly count: number; readonly resolve: () => void }[] = []

  constructor(options: PipelineOptions<P>) {
    this.#options = options
    this.#positions = options.positions
    this.#complete = options.logged
    this.#logged = options.logged
    this.#position = options.position
  }

  /** Everything the source committed up to here is durable, or was none of ours. */
  get complete(): P {
    return this.#complete
  }

  /** The furthest position that the log itself holds: what may be confirmed. */
  get logged(): P {
    return this.#logged
  }

  /** The log position of the last durable batch. */
  get position(): number {
    return this.#position
  }

  get count(): number {
    return this.#queue.length - this.#head
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Appends a batch that makes the source complete up to `to`. */
  append(batch: Batch, mark: SourceMark, to: P, onDone?: (appended: Appended) => void): void {
    const entry: InFlight<P> = { bytes: batch.bytes, completeTo: to }
    this.#queue.push(entry)
    this.#bytes += entry.bytes
    this.#unsettled++
    batch.commit(mark).then(
      appended => this.#onAppended(entry, to, appended, onDone),
      error => this.#onFailed(error),
    )
  }

  /** Says that the source has nothing of ours between the last batch and `to`. */
  passed(to: P): void {
    const last = this.#queue.at(-1)
    if (last) last.completeTo = this.#further(last.completeTo, to)
    else if (!this.#failed && !this.#positions.includes(this.#complete, to)) {
      this.#complete = to
      this.#options.onDurable()
    }
  }

  /** Along one stream a later position includes all earlier ones. */
  #further(a: P, b: P): P {
    return this.#positions.includes(a, b) ? a : b
  }

  #onAppended(entry: InFlight<P>, to: P, appended: Appended, onDone: ((appended: Appended) => void) | undefined): void {
    this.#settle()
    // What follows a refused batch may not count: the stream begins again before it.
    if (this.#failed) return
    this.#queue[this.#head++] = undefined
    if (this.#head > 1_024 && this.#head * 2 > this.#queue.length) {
      this.#queue.splice(0, this.#head)
      this.#head = 0
    } else if (this.#head === this.#queue.length) {
      this.#queue.length = 0
      this.#head = 0
    }
    this.#bytes -= entry.bytes
    this.#logged = this.#further(this.#logged, to)
    this.#complete = this.#further(this.#complete, entry.completeTo)
    this.#position = Math.max(this.#position, appended.last)
    onDone?.(appended)
    this.#options.onDurable()
    if (this.count === 0) for (const resolve of this.#drained.splice(0)) resolve()
    if (this.#below.length > 0) this.#wakeBelow()
  }

  #wakeBelow(): void {
    const woken = this.#below.filter(waiting => this.#failed || this.count < waiting.count)
    this.#below = this.#below.filter(waiting => !woken.includes(waiting))
    for (const { resolve } of woken) resolve()
  }

  #onFailed(error: unknown): void {
    this.#settle()
    if (this.#failed) return
    this.#failed = true
    this.#options.onError(error)
    this.#wakeBelow()
  }

  #settle(): void {
    this.#unsettled--
    if (this.#unsettled === 0) for (const resolve of this.#settled.splice(0)) resolve()
  }

  /** Resolves when all is durable; never after a failure. */
  drained(): Promise<void> {
    if (this.count === 0) return Promise.resolve()
    return new Promise(resolve => this.#drained.push(resolve))
  }

  /** Resolves when fewer than `count` batches are in flight, or one was refused. */
  below(count: number): Promise<void> {
    if (this.#failed || this.count < count) return Promise.resolve()
    return new Promise(resolve => this.#below.push({ count, resolve }))
  }

  /** Resolves when each batch is either durable or refused. */
  settled(): Promise<void> {
    if (this.#unsettled === 0) return Promise.resolve()
    return new Promise(resolve => this.#settled.push(resolve))
  }
}
