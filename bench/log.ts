// The log: durable appends, scans, streams, opening after a kill, size. MAINSTEM_BENCH_SCALE=0.02 for a quick look; MAINSTEM_BENCH_PARTS
// names parts to run alone.
import type { BenchResult } from './harness.ts'
import type { Part } from './log-data.ts'
import { following } from './log-follow.ts'
import { opening } from './log-open.ts'
import { ordersPart } from './log-orders.ts'
import { single } from './log-single.ts'
import { streams } from './log-streams.ts'
import { union } from './log-union.ts'

const PARTS: Readonly<Record<string, () => Promise<Part>>> = {
  single,
  orders: ordersPart,
  union,
  streams,
  opening,
  following,
}

export async function run(): Promise<BenchResult> {
  const wanted = process.env['MAINSTEM_BENCH_PARTS']?.split(',') ?? Object.keys(PARTS)
  const goals: BenchResult['goals'][number][] = []
  const figures: Record<string, number | string> = { scale: process.env['MAINSTEM_BENCH_SCALE'] ?? '1' }
  for (const name of wanted) {
    const part = PARTS[name]
    if (!part) throw new Error(`no part of this bench is named '${name}': there are ${Object.keys(PARTS).join(', ')}`)
    const startedMs = performance.now()
    const done = await part()
    goals.push(...done.goals)
    Object.assign(figures, done.figures)
    figures[`seconds for ${name}`] = (performance.now() - startedMs) / 1000
  }
  return { goals, figures }
}
