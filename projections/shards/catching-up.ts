// How far a start has caught up with the log as it found it, and how fast.
import type { Progress } from '../engine.ts'
import type { Scheduler } from './scheduler.ts'

/** A catching up of fewer says little of the rate. */
const RECORDS_TO_MEASURE = 100_000
const RATE_WINDOW_MS = 1_000

export class CatchingUp {
  /** Position that the start began at. */
  readonly from: number
  /** The log's end as the start found it. */
  readonly target: number
  readonly #scheduler: Scheduler
  readonly #anew: boolean
  readonly #startedMs: number
  #rate: { readonly atMs: number; readonly position: number; readonly perSecond: number }
  #under: boolean

  /** @param anew whether views begin anew: until they are level nobody may read */
  constructor(scheduler: Scheduler, from: number, target: number, anew: boolean) {
    this.#scheduler = scheduler
    this.from = from
    this.target = target
    this.#anew = anew
    this.#under = from < target
    this.#startedMs = scheduler.nowMs()
    this.#rate = { atMs: this.#startedMs, position: from, perSecond: 0 }
  }

  get underWay(): boolean {
    return this.#under
  }

  get rebuilding(): boolean {
    return this.#under && this.#anew
  }

  /** Ends it where the position is its target or beyond; what it took, if it ends now. */
  passed(
    position: number,
  ): { readonly records: number; readonly seconds: number; readonly measured: boolean } | undefined {
    if (!this.#under || position < this.target) return undefined
    this.#under = false
    const records = this.target - this.from
    const seconds = (this.#scheduler.nowMs() - this.#startedMs) / 1_000
    return { records, seconds, measured: records >= RECORDS_TO_MEASURE }
  }

  progress(position: number): Progress {
    const recordsPerSecond = this.recordsPerSecond(position)
    const total = Math.max(this.target, position)
    const left = total - position
    const secondsLeft = left === 0 ? 0 : recordsPerSecond > 0 ? left / recordsPerSecond : null
    return { done: position, total, recordsPerSecond, secondsLeft }
  }

  /** Over about the last second, however often it is asked. */
  recordsPerSecond(position: number): number {
    const nowMs = this.#scheduler.nowMs()
    const { atMs, position: before } = this.#rate
    if (nowMs - atMs >= RATE_WINDOW_MS) {
      this.#rate = { atMs: nowMs, position, perSecond: ((position - before) / (nowMs - atMs)) * 1_000 }
    }
    return Math.round(this.#rate.perSecond)
  }
}
