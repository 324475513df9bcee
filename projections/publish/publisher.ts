// Appends what one projection emits, in canonical order, many causes to a batch, each with the mark of its last cause. So the
// log itself says what is published, and nothing is twice or missing: a fold that begins anew, after a kill or with other
// code, drops what is caused at or below the mark. One batch at a time: a later one must not stand where an earlier one failed.
import {
  asMainstemError,
  type Batch,
  ByteReader,
  emitMark,
  emittedUpTo,
  fail,
  type Log,
  type LogTopic,
  type MainstemError,
} from '../../core/index.ts'
import { rest, type Scheduler } from '../shards/scheduler.ts'
import type { Emission, EmittedTopic } from './emissions.ts'
import { PUBLISH_BATCH_BYTES, RETRY_MS_MAX, RETRY_MS_MIN } from './limits.ts'

/** A topic that is emitted to, as the log has it. */
export interface PublishedTopic extends EmittedTopic {
  readonly topic: LogTopic
}

export interface PublisherOptions {
  readonly log: Log
  readonly scheduler: Scheduler
  readonly projection: string
  /** In the order of `emits`. */
  readonly topics: readonly PublishedTopic[]
  /** Told of each batch that is durable. */
  readonly onPublished: () => void
  /** Told when what was emitted can never be published. */
  readonly onFailed: (error: MainstemError) => void
}

interface Waiter {
  readonly position: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class Publisher {
  readonly projection: string
  /** Where the log stood when this began: what is caused up to here is published. */
  readonly publishedUpTo: number
  readonly #options: PublisherOptions
  #queue: Emission[] = []
  /** What of the queue is published: it is let go now and then. */
  #head = 0
  #bytes = 0
  #running: Promise<void> | undefined
  #waiters: Waiter[] = []
  #waitingFor: string | null = null
  readonly #stopping = new AbortController()
  #stopped = false
  /** Set when what was emitted can never be published: its view has stopped, and nothing more is taken. */
  #failure: MainstemError | undefined

  constructor(options: PublisherOptions) {
    this.#options = options
    this.projection = options.projection
    this.publishedUpTo = emittedUpTo(options.log, options.projection)
  }

  /** Bytes of what is not published yet. */
  get bytes(): number {
    return this.#bytes
  }

  /** In words, why it does not go on; null while it does. */
  get waitingFor(): string | null {
    return this.#waitingFor
  }

  /** Takes emissions in canonical order. All of a cause come with one call, and no call comes with an earlier cause. */
  take(emissions: readonly Emission[]): void {
    if (emissions.length === 0 || this.#failure) return
    for (const emission of emissions) {
      this.#queue.push(emission)
      this.#bytes += emission.bytes.length
    }
    // Afterwards it is only known that they are not published.
    if (this.#stopping.signal.aborted) return
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** Resolves when all that is caused up to a position, and was taken, is durable. @throws what it failed with, SHUTTING_DOWN */
  durableThrough(position: number): Promise<void> {
    if (this.#isDurable(position)) return Promise.resolve()
    if (this.#stopped) return Promise.reject(this.#stopping.signal.reason as Error)
    return new Promise((resolve, reject) => this.#waiters.push({ position, resolve, reject }))
  }

  /** Publishes what it has taken, unless the log takes no appends; then takes no more. */
  async stop(): Promise<void> {
    this.#stopping.abort(fail('SHUTTING_DOWN', 'the application is shutting down'))
    await this.#running
    this.#stopped = true
    for (const { reject } of this.#waiters.splice(0)) reject(this.#stopping.signal.reason as Error)
  }

  #isDurable(position: number): boolean {
    const first = this.#queue[this.#head]
    return first === undefined || first.cause > position
  }

  async #run(): Promise<void> {
    try {
      while (this.#head < this.#queue.length) {
        const end = this.#endOfBatch()
        if (!(await this.#publish(end))) return
        this.#done(end)
      }
    } catch (error) {
      this.#fail(asMainstemError(error))
    }
  }

  /** Where the next batch ends: between two causes. */
  #endOfBatch(): number {
    const queue = this.#queue
    let bytes = 0
    let end = this.#head
    while (end < queue.length) {
      const { cause } = queue[end]!
      if (bytes >= PUBLISH_BATCH_BYTES) break
      for (; queue[end]?.cause === cause; end++) bytes += queue[end]!.bytes.length
    }
    return end
  }

  /** Appends the queue up to `end`; false when it gives up because all is being stopped. */
  async #publish(end: number): Promise<boolean> {
    const { log, projection } = this.#options
    const { cause } = this.#queue[end - 1]!
    for (let retryMs = RETRY_MS_MIN; ; retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)) {
      const batch = this.#batch(end)
      const { bytes } = batch
      try {
        await batch.commit(emitMark(projection, cause))
        this.#waitingFor = null
        return true
      } catch (error) {
        const known = asMainstemError(error)
        if (!known.retriable && known.code !== 'LOG_CLOSED') throw known
        // The log may have found, when it reopened its file, that the batch is there.
        if (emittedUpTo(log, projection) >= cause) return true
        if (known.code === 'LOG_CLOSED' || this.#stopping.signal.aborted) return false
        this.#waitingFor = `room in the log, to publish what '${projection}' emits`
        if (known.code !== 'LOG_FULL')
          this.#waitingFor = `the log, to publish what '${projection}' emits: ${known.message}`
        if (!(await this.#pause(known.code === 'LOG_FULL' ? bytes : 0, retryMs))) return false
      }
    }
  }

  /** False when all is being stopped. */
  async #pause(bytes: number, retryMs: number): Promise<boolean> {
    const { log, scheduler } = this.#options
    const { signal } = this.#stopping
    try {
      await log.room({ bytes, signal })
      if (bytes === 0) await rest(scheduler, retryMs, signal)
      return true
    } catch (error) {
      if (signal.aborted) return false
      throw error
    }
  }

  #batch(end: number): Batch {
    const { log, topics } = this.#options
    const batch = log.batch()
    for (let n = this.#head; n < end; n++) {
      const { topic, bytes } = this.#queue[n]!
      const { codec, topic: logTopic } = topics[topic]!
      batch.event(logTopic, codec.decode(new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))))
    }
    return batch
  }

  #done(end: number): void {
    for (let n = this.#head; n < end; n++) this.#bytes -= this.#queue[n]!.bytes.length
    this.#head = end
    if (end === this.#queue.length) {
      this.#queue = []
      this.#head = 0
    } else if (end > this.#queue.length / 2) {
      this.#queue = this.#queue.slice(end)
      this.#head = 0
    }
    const waiters = this.#waiters
    this.#waiters = waiters.filter(({ position }) => !this.#isDurable(position))
    for (const { position, resolve } of waiters) if (this.#isDurable(position)) resolve()
    this.#options.onPublished()
  }

  #fail(error: MainstemError): void {
    this.#failure = error
    this.#queue = []
    this.#head = this.#bytes = 0
    for (const { reject } of this.#waiters.splice(0)) reject(error)
    this.#options.onFailed(error)
    this.#options.onPublished()
  }
}
