// A feed from its first message to its end. It pauses the feed while too much is un-durable or the log has no room (telling the server
// that we live, so that the connection stays), and holds messages back where something needs time: a mirror commit, a
// truncation, an altered table, a transaction larger than memory should hold.
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type Appended,
  type Batch,
  type EventInput,
  fail,
  type Log,
  type LogTopic,
  MIRROR_COMMITS_MAX,
  type Mirror,
  type MirrorTable,
  type PlacedParked,
  type SchemaColumn,
} from '../../core/index.ts'
import type { Captured, OldKind } from './changes.ts'
import { Confirmation } from './confirmation.ts'
import type { Image } from './image.ts'
import { Pipeline } from './pipeline.ts'
import { Slice } from './slice.ts'
import type { ColumnRename, Feed, FeedSink, Technology } from './technology.ts'
import { Transactions } from './transactions.ts'
import { Turns } from './turns.ts'

const TICK_MS = 50
const MIRROR_COMMIT_EVERY_MS = 250
const IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024
const IN_FLIGHT_MAX = 10_000
/** The server answers a ping each second; after so long without a word the connection is taken for dead. */
const SILENCE_MAX_MS = 30_000

export interface StreamOptions<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly mirror: Mirror
  readonly eventsTopic: LogTopic
  readonly start: P
  readonly openFeed: (sink: FeedSink<P>) => Feed<P>
  readonly onStreaming: () => void
  /** Everything up to `complete` is durable; `position` is the log's then. */
  readonly onComplete: (complete: P, position: number) => void
  readonly onServer: (position: P) => void
  /** Reading pauses for want of room in the log, and goes on. */
  readonly onPaused: (paused: boolean) => void
}

export class Stream<P> implements FeedSink<P> {
  readonly #options: StreamOptions<P>
  readonly #pipeline: Pipeline<P>
  readonly #transactions: Transactions<P>
  readonly #feed: Feed<P>
  #timer: NodeJS.Timeout | undefined
  #held = false
  #paused = false
  /** The log has no room for what the feed would bring. */
  #noRoom = false
  #unwatch: () => void = () => {}
  readonly #slice = new Slice()
  #resting = false
  #waiting: unknown[] = []
  #ended = false
  readonly #over = Promise.withResolvers<void>()
  /** What was held for while messages were taken that had been kept aside. */
  #within: Promise<void> | undefined
  #replaying = false
  /** What uses the mirror over several turns of the event loop: it is over before the mirror is closed. */
  #work: Promise<unknown> = Promise.resolve()
  #reject: (error: unknown) => void = () => {}
  /** Everything up to here was taken. */
  #at: P
  readonly #turns = new Turns<P>()
  readonly #confirmation: Confirmation<P>
  #mirroredMs = performance.now()
  #heardMs = performance.now()

  constructor(options: StreamOptions<P>) {
    this.#options = options
    const { log, mirror, start, technology } = options
    const { source, positions, onEvent } = technology
    this.#at = start
    this.#pipeline = new Pipeline({
      positions,
      logged: start,
      position: log.end,
      onDurable: () => this.#onDurable(),
      onError: error => this.#fail(error),
    })
    const { eventsTopic } = options
    const pipeline = this.#pipeline
    this.#transactions = new Transactions({ source, positions, log, mirror, eventsTopic, pipeline, onEvent })
    this.#feed = options.openFeed(this)
    this.#confirmation = new Confirmation({ technology, log, pipeline: this.#pipeline, feed: this.#feed, start })
  }

  get isEnded(): boolean {
    return this.#ended
  }

  get changes(): number {
    return this.#transactions.changes
  }

  /** True while nothing is on its way: what a reader waits for has not been sent yet. */
  get isIdle(): boolean {
    return this.#pipeline.count === 0 && !this.#held && !this.#transactions.inTransaction
  }

  /** Streams until `stop()`; rejects when the connection or the log fails. */
  async run(): Promise<void> {
    const { source } = this.#options.technology
    const failed = new Promise<never>((_, reject) => {
      this.#reject = reject
    })
    const running = this.#feed.run().then(() => {
      if (!this.#ended) throw fail('SOURCE_UNREACHABLE', `source ${source} ended the replication stream`)
    })
    running.catch(() => {})
    try {
      await Promise.race([running, failed])
    } finally {
      this.#end()
      this.#unwatch()
      clearInterval(this.#timer)
      await this.#feed.close()
      await this.#work
      await this.#transactions.discard()
      await this.#pipeline.settled()
    }
  }

  // -- what the feed brings, in order; while held it waits

  started(): void {
    if (this.#ended) return
    this.#heardMs = performance.now()
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#confirmation.ping()
    const { log, onStreaming } = this.#options
    onStreaming()
    this.#unwatch = log.onPressure(pressure => this.#setNoRoom(pressure !== null))
    this.#setNoRoom(log.pressure !== null)
  }

  deliver(message: unknown): void {
    if (this.#ended) return
    this.#heardMs = performance.now()
    if (this.#held) {
      this.#waiting.push(this.#feed.keep(message))
      return
    }
    try {
      this.#feed.take(message)
    } catch (error) {
      this.#fail(error)
    }
    if (this.#slice.isSpent && !this.#resting) this.#rest()
  }

  /** Lets others have the event loop, then reads on. */
  #rest(): void {
    this.#resting = true
    this.#feed.pause()
    setImmediate(() => {
      this.#resting = false
      this.#readOn()
    })
  }

  serverAt(position: P): void {
    this.#heardMs = performance.now()
    if (!this.#ended) this.#options.onServer(position)
  }

  answer(): void {
    if (!this.#ended) this.#confirmation.confirm(false)
  }

  mirrored(table: string): MirrorTable {
    return this.#options.mirror.table(table)
  }

  schema(table: string, columns: readonly SchemaColumn[], renamed: readonly ColumnRename[] = []): void {
    this.#transactions.schemas.say(table, columns, renamed)
  }

  begin(transaction: string, skip: boolean): void {
    this.#transactions.begin(transaction, skip)
  }

  insert(captured: Captured, after: Image): void {
    this.#transactions.insert(captured, after)
    this.#bound()
  }

  update(captured: Captured, oldKind: OldKind, before: Image, after: Image): void {
    this.#transactions.update(captured, oldKind, before, after)
    this.#bound()
  }

  delete(captured: Captured, before: Image): void {
    this.#transactions.delete(captured, before)
    this.#bound()
  }

  event(topic: string, input: EventInput): void {
    this.#transactions.event(topic, input)
    this.#bound()
  }

  /** Events of a captured topic so far. */
  eventsOf(topic: string): number {
    return this.#transactions.events.get(topic) ?? 0
  }

  /** Everything the source had up to here is in the log. */
  get complete(): P {
    return this.#pipeline.complete
  }

  truncate(tables: readonly MirrorTable[]): void {
    this.hold(() => this.#working(this.#transactions.truncate(tables, this.nextSlice)))
  }

  commit(to: P, commitTimeUs?: number): void {
    this.#transactions.commit(to, commitTimeUs)
    const { mirror } = this.#options
    if (mirror.isDue || mirror.isSpilled) this.hold(() => this.#commitMirror())
    else if (this.#pipeline.count > IN_FLIGHT_MAX || this.#pipeline.bytes > IN_FLIGHT_BYTES_MAX) this.#setPaused(true)
    this.#advance(to)
  }

  passed(to: P): void {
    if (this.#transactions.inTransaction) return
    this.#pipeline.passed(to)
    this.#advance(to)
  }

  #advance(to: P): void {
    if (!this.#includes(this.#at, to)) this.#at = to
    if (this.#turns.count > 0) this.#takeTurn()
  }

  // -- what is done between two transactions

  /**
   * Runs `task` between two transactions, and after the stream has taken all up to `after`; what comes meanwhile waits.
   * @throws NOT_READY where the stream ends before
   */
  between<T>(task: (pipeline: Pipeline<P>) => Promise<T>, after?: P): Promise<T> {
    const done = this.#turns.add(after, () => task(this.#pipeline))
    this.#takeTurn()
    return done
  }

  #takeTurn(): void {
    if (this.#held || this.#transactions.inTransaction || this.#ended) return
    const run = this.#turns.next(position => this.hasTaken(position))
    if (!run) return
    this.hold(async () => {
      await this.#working(run())
      if (!this.#ended && this.#options.mirror.isDue) await this.#commitMirror()
    })
  }

  /** What was begun between two transactions cannot be finished: nothing may follow it. */
  readonly giveUp = (error: unknown): void => this.#fail(error)

  /** Appends what a snapshot has found; only in a task of `between`. */
  append(batch: Batch, parked: readonly PlacedParked[], onDone?: (appended: Appended) => void): void {
    this.#transactions.append(batch, parked, this.#at, onDone)
  }

  /** For windows: what was taken, and what is touched. */
  get transactions(): Transactions<P> {
    return this.#transactions
  }

  /** Whether all up to `position` was taken. */
  hasTaken(position: P): boolean {
    return this.#includes(this.#at, position)
  }

  /** Keeps what a transaction has in memory within its bound. */
  #bound(): void {
    if (this.#transactions.isLarge) this.hold(() => this.#working(this.#transactions.spill()))
  }

  #working(work: Promise<void>): Promise<void> {
    this.#work = Promise.allSettled([this.#work, work])
    return work
  }

  /** Lets others have the event loop. @throws STOPPED where the stream has ended */
  readonly nextSlice = async (): Promise<void> => {
    await nextTurn()
    if (this.#ended) throw STOPPED
  }

  replay(messages: AsyncIterable<readonly unknown[]>): void {
    this.hold(() => this.#working(this.#takeAll(messages)))
  }

  async #takeAll(messages: AsyncIterable<readonly unknown[]>): Promise<void> {
    this.#replaying = true
    for await (const some of messages) {
      for (const message of some) {
        this.#feed.take(message)
        const within = this.#within
        this.#within = undefined
        // What is waited for may never come once the stream has ended.
        if (within) await Promise.race([within, this.#over.promise])
        if (within || this.#slice.isSpent) await this.nextSlice()
      }
    }
    this.#replaying = false
  }

  get isHeld(): boolean {
    return this.#held || this.#within !== undefined
  }

  hold(task: () => Promise<void>): void {
    if (this.#replaying) {
      this.#within = this.#within?.then(task) ?? task()
      return
    }
    this.#held = true
    this.#setPaused(true)
    task()
      .then(() => this.#release())
      .catch(error => this.#fail(error))
  }

  #release(): void {
    this.#held = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const [n, message] of waiting.entries()) {
      if (this.#ended) return
      this.#feed.take(message)
      if (this.#held) {
        // What came meanwhile is the rest of this message.
        this.#waiting = [...this.#waiting, ...waiting.slice(n + 1)]
        return
      }
    }
    this.#takeTurn()
    if (!this.#held) this.#setPaused(false)
  }

  /** What is in the overlay is durable once nothing is in flight; between transactions, so that none is cut. */
  async #commitMirror(): Promise<void> {
    const { mirror } = this.#options
    await this.#pipeline.drained()
    mirror.commit(this.#pipeline.position).catch(error => this.#fail(error))
    this.#mirroredMs = performance.now()
    if (mirror.commits >= MIRROR_COMMITS_MAX) await mirror.committed()
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused || this.#ended) return
    this.#paused = paused
    this.#readOn()
  }

  #setNoRoom(noRoom: boolean): void {
    if (this.#ended) return
    this.#noRoom = noRoom
    this.#readOn()
    this.#options.onPaused(noRoom)
  }

  /** Lets the feed read, unless something is against it. */
  #readOn(): void {
    if (this.#ended) return
    this.#heardMs = performance.now()
    if (this.#paused || this.#noRoom || this.#resting) this.#feed.pause()
    else this.#feed.resume()
  }

  // -- durability, confirmation, time

  #onDurable(): void {
    if (this.#ended) return
    const { complete, position, count, bytes } = this.#pipeline
    this.#options.onComplete(complete, position)
    this.#confirmation.advanced(this.isIdle && !this.#noRoom)
    if (this.#paused && !this.#held && count < IN_FLIGHT_MAX / 2 && bytes < IN_FLIGHT_BYTES_MAX / 2)
      this.#setPaused(false)
  }

  #includes(complete: P, wanted: P): boolean {
    return this.#options.technology.positions.includes(complete, wanted)
  }

  #tick(): void {
    if (this.#ended) return
    const now = performance.now()
    this.#confirmation.tick(now, this.#noRoom)
    if (this.isIdle) {
      if (!this.#noRoom) this.#confirmation.heartbeat(now)
      const { mirror } = this.#options
      if (mirror.pending > 0 && now - this.#mirroredMs >= MIRROR_COMMIT_EVERY_MS) this.hold(() => this.#commitMirror())
    }
    if (!this.#paused && !this.#noRoom && now - this.#heardMs > SILENCE_MAX_MS) {
      this.#fail(fail('SOURCE_UNREACHABLE', `source ${this.#options.technology.source} has gone silent`))
    }
  }

  /** Asks the server how far it is. */
  ping(): void {
    if (!this.#ended && this.#timer && !this.#noRoom) this.#confirmation.ping()
  }

  // -- the end

  #fail(error: unknown): void {
    if (this.#ended) return
    this.#end()
    this.#reject(error)
  }

  #end(): void {
    this.#ended = true
    this.#over.resolve()
    const { source } = this.#options.technology
    this.#turns.end(fail('NOT_READY', `source ${source} has stopped streaming`, { hint: 'try again' }))
  }

  /** Ends after what has been decoded is durable, mirrored and confirmed. */
  async stop(): Promise<void> {
    if (this.#ended) return
    this.#setPaused(true)
    const whole = !this.#held && !this.#transactions.inTransaction
    this.#end()
    await this.#pipeline.settled()
    if (whole && this.#pipeline.count === 0) await this.#options.mirror.commit(this.#pipeline.position)
    this.#confirmation.confirm(false)
    this.#reject(STOPPED)
  }
}

/** How `run` ends after `stop`. */
export const STOPPED = Symbol('stopped')
