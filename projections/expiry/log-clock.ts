// Time has to be in the log for rows to go: where a row is due and nothing else was appended since, a clock record is. Nothing is
// appended while nothing is due, and one record serves all rows that are due by then.
import { asMainstemError, type Log } from '../../core/index.ts'
import type { Scheduler } from '../shards/scheduler.ts'
import { appendViewControls } from '../view-control.ts'

/** Least time between two clock records: rows stay in sight that much longer, where nothing else is appended. */
const SPACING_MS = 100
/** After an append that failed. */
const RETRY_MS = 1_000

export class LogClock {
  readonly #log: Log
  readonly #nowMs: () => number
  readonly #level: () => boolean
  readonly #scheduler: Scheduler
  /** Takes the timer back; undefined where none runs. */
  #timer: (() => void) | undefined
  #nextMs = Number.POSITIVE_INFINITY
  #earliestMs = 0
  #appending: Promise<void> | undefined
  #stopped = false

  /**
   * @param nowMs as append times are made: milliseconds since 1970
   * @param level whether all of the log is folded: otherwise what is to be folded tells the time
   */
  constructor(log: Log, scheduler: Scheduler, nowMs: () => number, level: () => boolean) {
    this.#log = log
    this.#scheduler = scheduler
    this.#nowMs = nowMs
    this.#level = level
  }

  /** Takes when the next row is due, as of what is folded. */
  due(nextMs: number): void {
    if (nextMs === this.#nextMs && this.#timer !== undefined) return
    this.#nextMs = nextMs
    this.#arm()
  }

  #arm(): void {
    this.#timer?.()
    this.#timer = undefined
    if (this.#stopped || this.#appending || this.#nextMs === Number.POSITIVE_INFINITY) return
    const waitMs = Math.max(this.#nextMs, this.#earliestMs) - this.#nowMs()
    this.#timer = this.#scheduler.after(waitMs, () => this.#ring())
  }

  #ring(): void {
    this.#timer = undefined
    // Whoever folds what is left says what is due then.
    if (this.#stopped || !this.#level()) return
    if (this.#nowMs() < this.#nextMs) this.#arm()
    else this.#appending = this.#append()
  }

  async #append(): Promise<void> {
    this.#earliestMs = this.#nowMs() + SPACING_MS
    try {
      await appendViewControls(this.#log, [{ view: '', event: 'clock', positions: [] }])
    } catch (error) {
      // The log says itself what is wrong with it.
      if (!asMainstemError(error).retriable) this.#stopped = true
      this.#earliestMs = this.#nowMs() + RETRY_MS
    }
    this.#appending = undefined
    this.#arm()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.()
    await this.#appending
  }
}
