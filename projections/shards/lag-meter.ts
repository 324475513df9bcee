// How long it takes from a source's commit until every view shows it, over a sliding window of seconds.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

export class LagMeter {
  #current = createHistogram()
  #previous: RecordableHistogram = createHistogram()
  readonly #total = createHistogram()
  #rotatedAtMs = 0
  readonly #windowMs: number

  constructor(windowMs = 10_000) {
    this.#windowMs = windowMs
  }

  /** Records one transaction. Clocks of two machines may disagree: a commit in the future counts as no lag. */
  record(commitTimeUs: number): void {
    const nowMs = performance.timeOrigin + performance.now()
    if (nowMs - this.#rotatedAtMs > this.#windowMs) {
      this.#previous = this.#current
      this.#current = createHistogram()
      this.#rotatedAtMs = nowMs
    }
    const lagUs = Math.max(1, Math.round(nowMs * 1000 - commitTimeUs))
    this.#current.record(lagUs)
    this.#total.record(lagUs)
  }

  /** The last one to two windows. */
  recent(): { p50Ms: number; p99Ms: number; count: number } | null {
    const both = createHistogram()
    both.add(this.#previous)
    both.add(this.#current)
    return summary(both)
  }

  total(): { p50Ms: number; p99Ms: number; count: number } | null {
    return summary(this.#total)
  }
}

function summary(histogram: RecordableHistogram): { p50Ms: number; p99Ms: number; count: number } | null {
  if (histogram.count === 0) return null
  return { p50Ms: histogram.percentile(50) / 1000, p99Ms: histogram.percentile(99) / 1000, count: histogram.count }
}
