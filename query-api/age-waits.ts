// Reads that take no answer older than so much, and would rather wait: one clock looks at what all of them want. An age comes down
// when views catch up or a source is heard of again, and nothing tells of either by itself.
import type { LiveView } from '../projections/index.ts'
import { AGE_SAMPLE_MS } from './limits.ts'
import { checkWaiting, shuttingDown } from './waits.ts'

export interface AgeLimit {
  /** Milliseconds. */
  readonly maxAgeMs: number
  /** How long to wait for an answer that is young enough. Default: not at all. */
  readonly waitMs?: number
  /** Ends the wait, with its reason. */
  readonly signal?: AbortSignal
}

interface Waiting {
  readonly views: readonly LiveView[]
  readonly maxAgeMs: number
  readonly untilMs: number
  end(error?: unknown): void
}

export const youngEnough = (ageMs: number | null, maxAgeMs: number): boolean => ageMs !== null && ageMs <= maxAgeMs

export class AgeWaits {
  readonly #ageMs: (views: readonly LiveView[]) => number | null
  readonly #waiting = new Set<Waiting>()
  #clock: NodeJS.Timeout | undefined
  #closed = false

  constructor(ageMs: (views: readonly LiveView[]) => number | null) {
    this.#ageMs = ageMs
  }

  /** Resolves when the views are young enough, or the time has come. @throws SHUTTING_DOWN, OVERLOADED; the signal's reason */
  wait(views: readonly LiveView[], maxAgeMs: number, untilMs: number, signal: AbortSignal | undefined): Promise<void> {
    checkWaiting(this.#waiting.size, this.#closed)
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const leave = () => waiting.end(signal?.reason)
      const end = (error?: unknown) => {
        signal?.removeEventListener('abort', leave)
        this.#waiting.delete(waiting)
        if (this.#waiting.size === 0) this.#stop()
        if (error === undefined) resolve()
        else reject(error)
      }
      const waiting: Waiting = { views, maxAgeMs, untilMs, end }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiting)
      this.#clock ??= setInterval(() => this.#look(), AGE_SAMPLE_MS)
    })
  }

  /** Reads that wait. */
  get size(): number {
    return this.#waiting.size
  }

  close(): void {
    this.#closed = true
    for (const waiting of [...this.#waiting]) waiting.end(shuttingDown())
  }

  #look(): void {
    const nowMs = performance.now()
    for (const waiting of [...this.#waiting])
      if (nowMs >= waiting.untilMs || youngEnough(this.#ageMs(waiting.views), waiting.maxAgeMs)) waiting.end()
  }

  #stop(): void {
    clearInterval(this.#clock)
    this.#clock = undefined
  }
}
