// How fast views are made from a log, against Flink and Kafka Streams; and what shards, checkpoints and a kill cost. Goals are printed under
// the names that they were set with. MAINSTEM_BENCH_SCALE=0.1 for a quick look, MAINSTEM_BENCH_PARTS=views,memory for some parts only;
// steps are told on stderr.

import type { BenchResult } from './harness.ts'
import { inFolder, type Part } from './log-data.ts'
import { checkpoints } from './replay/checkpoints.ts'
import { memory } from './replay/memory.ts'
import { againstPeers } from './replay/peers.ts'
import { recovery } from './replay/recovery.ts'
import { shards } from './replay/shards.ts'
import { eightViews } from './replay/sharing.ts'

const PARTS: Readonly<Record<string, (folder: string, say: (what: string) => void) => Promise<Part>>> = {
  peers: againstPeers,
  shards,
  views: eightViews,
  checkpoints,
  recovery,
  memory,
}

/** Those that MAINSTEM_BENCH_PARTS names; all without it. */
function partsWanted(): readonly string[] {
  const all = Object.keys(PARTS)
  const wanted = process.env['MAINSTEM_BENCH_PARTS']?.split(',') ?? all
  const unknown = wanted.find(name => !all.includes(name))
  if (unknown !== undefined) throw new Error(`bench replay has no part '${unknown}': there are ${all.join(', ')}`)
  return wanted
}

export const run = (): Promise<BenchResult> =>
  inFolder(async folder => {
    const startedMs = performance.now()
    const goals: BenchResult['goals'][number][] = []
    const figures: Record<string, number | string> = {}
    for (const name of partsWanted()) {
      const measured = await PARTS[name]!(folder, what => {
        const seconds = Math.round((performance.now() - startedMs) / 1000)
        process.stderr.write(`${String(seconds).padStart(5)} s  ${name}: ${what}\n`)
      })
      goals.push(...measured.goals)
      Object.assign(figures, measured.figures)
    }
    figures['minutes in all'] = (performance.now() - startedMs) / 60_000
    return { goals, figures }
  })
