// Latencies, counted by hundredths of a millisecond.

export interface Latencies {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const HUNDREDTHS_MAX = 1_000_000

export class LatencyCounts {
  readonly #counts = new Uint32Array(HUNDREDTHS_MAX)

  add(ms: number): void {
    this.#counts[Math.max(0, Math.min(HUNDREDTHS_MAX - 1, Math.round(ms * 100)))]!++
  }

  clear(): void {
    this.#counts.fill(0)
  }

  /** Those that are not 0, in order. */
  entries(): readonly (readonly [hundredths: number, count: number])[] {
    const entries: [number, number][] = []
    this.#counts.forEach((count, hundredths) => {
      if (count > 0) entries.push([hundredths, count])
    })
    return entries
  }
}

export function latenciesOf(entries: readonly (readonly [hundredths: number, count: number])[]): Latencies {
  const all = entries.reduce((sum, [, count]) => sum + count, 0)
  const quantile = (share: number): number => {
    let left = all * share
    for (const [hundredths, count] of entries) {
      left -= count
      if (left <= 0) return hundredths / 100
    }
    return Number.NaN
  }
  return { p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: (entries.at(-1)?.[0] ?? Number.NaN) / 100 }
}
