// How old an answer is: the time since everything that the source's server had said, and everything that the log had,
// was in the view. The log's part comes from samples (time, end of the log): when the view has applied a sample's end, it
// shows at least that sample's moment. So a view that lags all the time still has an age, exact to one sampling interval.
import type { Log, SourceConnector } from '../core/index.ts'
import type { Engine } from '../projections/index.ts'
import { AGE_SAMPLE_MS, AGE_SAMPLES_MAX, SOURCE_STATUS_MS } from './limits.ts'

interface Sample {
  end: number
  atMs: number
}

interface SourceAge {
  askedMs: number
  ageMs: number | null
}

export interface AgeParts {
  readonly engine: Pick<Engine, 'position'>
  readonly log: Pick<Log, 'end'>
  readonly sources: ReadonlyMap<string, Pick<SourceConnector, 'status'>>
  /** A monotone clock, milliseconds. */
  readonly nowMs: () => number
}

export class AgeTracker {
  readonly #parts: AgeParts
  readonly #samples: Sample[] = []
  readonly #sources = new Map<string, SourceAge>()
  /** Least time between two samples: doubled each time that they become too many, so that they stay evenly spread. */
  #spacingMs = 0

  constructor(parts: AgeParts) {
    this.#parts = parts
    this.sample()
  }

  /** Notes the log's end as of now. */
  sample(): void {
    const { engine, log } = this.#parts
    const samples = this.#samples
    const atMs = this.#parts.nowMs()
    const last = samples.at(-1)
    if (last?.end === log.end) last.atMs = atMs
    else if (!last || atMs - last.atMs >= this.#spacingMs) samples.push({ end: log.end, atMs })
    let passed = 0
    while (passed + 1 < samples.length && (samples[passed + 1]?.end ?? 0) <= engine.position) passed++
    if (passed > 0) samples.splice(0, passed)
    if (samples.length <= 2) this.#spacingMs = 0
    if (samples.length <= AGE_SAMPLES_MAX) return
    this.#spacingMs = Math.max(this.#spacingMs, AGE_SAMPLE_MS) * 2
    samples.splice(0, samples.length, ...samples.filter((_, n) => n % 2 === 0))
  }

  /**
   * Age of a view that these sources reach; null where it was never level since the start, so that nobody knows.
   * @param position of what was read of it. Default: where the engine is
   */
  ageMs(sources: readonly string[], position = this.#parts.engine.position): number | null {
    const nowMs = this.#parts.nowMs()
    let age = this.#logAge(nowMs, position)
    for (const name of sources) {
      const own = this.#sourceAge(name, nowMs)
      if (own === null || age === null) return null
      if (own > age) age = own
    }
    return age === null ? null : Math.round(age)
  }

  #logAge(nowMs: number, position: number): number | null {
    if (position >= this.#parts.log.end) return 0
    const samples = this.#samples
    for (let n = samples.length - 1; n >= 0; n--) {
      const sample = samples[n]
      if (sample && sample.end <= position) return nowMs - sample.atMs
    }
    return null
  }

  #sourceAge(name: string, nowMs: number): number | null {
    let known = this.#sources.get(name)
    if (!known) {
      known = { askedMs: Number.NEGATIVE_INFINITY, ageMs: null }
      this.#sources.set(name, known)
    }
    if (nowMs - known.askedMs > SOURCE_STATUS_MS) {
      known.ageMs = this.#parts.sources.get(name)?.status().ageMs ?? null
      known.askedMs = nowMs
    }
    return known.ageMs
  }
}
