// How many changes a source brings in a second: of the last ten, from samples a second apart.
import type { SourceConnector, SourceStatus } from '../core/index.ts'

const SAMPLES = 10

interface Sample {
  readonly changes: number
  readonly atMs: number
}

/** A source as the API tells it. */
export interface SourceWire extends SourceStatus {
  /** Of the last ten seconds; null in the first one. */
  readonly changesPerSecond: number | null
}

export class SourceRates {
  readonly #samples = new Map<string, Sample[]>()
  readonly #nowMs: () => number

  /** @param nowMs a monotone clock, milliseconds. Default: `performance.now` */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** To be called about once a second. */
  observe(sources: ReadonlyMap<string, SourceConnector>): void {
    for (const [name, source] of sources) {
      const samples = this.#samples.get(name) ?? []
      this.#samples.set(name, samples)
      samples.push({ changes: source.status().changes, atMs: this.#nowMs() })
      if (samples.length > SAMPLES) samples.shift()
    }
  }

  wire(source: SourceConnector): SourceWire {
    const status = source.status()
    const oldest = this.#samples.get(source.name)?.[0]
    const seconds = oldest ? (this.#nowMs() - oldest.atMs) / 1_000 : 0
    const rate = oldest && seconds >= 0.5 ? Math.max(0, status.changes - oldest.changes) / seconds : null
    return { ...status, changesPerSecond: rate === null ? null : Math.round(rate * 10) / 10 }
  }
}
