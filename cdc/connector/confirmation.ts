// What a server is told of our progress: only what the log itself holds. Progress without changes goes into the log first, as a
// heartbeat batch. Where the server's commits wait for it (synchronous replication), it is told at once.
import type { Log } from '../../core/index.ts'
import type { Pipeline } from './pipeline.ts'
import type { Feed, Technology } from './technology.ts'

const CONFIRM_EVERY_MS = 100
const CONFIRM_BYTES = 1024 * 1024
const PING_EVERY_MS = 1_000
/** While the feed is paused for room the server hears so often: no answer is asked for, since it could not be read. */
const ALIVE_EVERY_MS = 250
const HEARTBEAT_EVERY_MS = 1_000
const HEARTBEAT_BYTES = 16 * 1024 * 1024

export interface ConfirmationParts<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly pipeline: Pipeline<P>
  readonly feed: Feed<P>
  /** What the server knows that the log has. */
  readonly start: P
}

export class Confirmation<P> {
  readonly #parts: ConfirmationParts<P>
  #confirmed: P
  #confirmedMs = 0
  #pingedMs = 0
  #heartbeatMs = 0

  constructor(parts: ConfirmationParts<P>) {
    this.#parts = parts
    this.#confirmed = parts.start
  }

  #isFar(from: P, to: P, bytesMin: number): boolean {
    const bytes = this.#parts.technology.positions.bytesBetween(from, to)
    return bytes !== null && bytes >= bytesMin
  }

  /** @param idle nothing is on its way. More is durable, or known to have nothing of ours. */
  advanced(idle: boolean): void {
    const { feed, pipeline, technology } = this.#parts
    if (!feed.isSynchronous) {
      if (this.#isFar(this.#confirmed, pipeline.logged, CONFIRM_BYTES)) this.confirm(false)
      return
    }
    if (!technology.positions.includes(this.#confirmed, pipeline.logged)) this.confirm(false)
    if (idle) this.heartbeat(performance.now())
  }

  /** @param noRoom nothing is read, for want of room in the log */
  tick(nowMs: number, noRoom: boolean): void {
    const { technology, pipeline } = this.#parts
    const isBehind = !technology.positions.includes(this.#confirmed, pipeline.logged)
    if (isBehind && nowMs - this.#confirmedMs >= CONFIRM_EVERY_MS) this.confirm(false)
    if (noRoom) {
      if (nowMs - this.#confirmedMs >= ALIVE_EVERY_MS) this.confirm(false)
    } else if (nowMs - this.#pingedMs >= PING_EVERY_MS) this.ping()
  }

  heartbeat(nowMs: number): void {
    const { technology, pipeline, log, feed } = this.#parts
    const { source, positions } = technology
    const { complete, logged } = pipeline
    if (positions.includes(logged, complete)) return
    const isSoon = nowMs - this.#heartbeatMs < HEARTBEAT_EVERY_MS && !this.#isFar(logged, complete, HEARTBEAT_BYTES)
    if (isSoon && !feed.isSynchronous) return
    this.#heartbeatMs = nowMs
    pipeline.append(log.batch(), { source, position: positions.format(complete) }, complete)
  }

  /** @param ask for an answer */
  confirm(ask: boolean): void {
    const { logged } = this.#parts.pipeline
    this.#confirmed = logged
    this.#confirmedMs = performance.now()
    this.#parts.feed.confirm(logged, ask)
  }

  /** Asks the server how far it is. */
  ping(): void {
    this.#pingedMs = performance.now()
    this.confirm(true)
  }
}
