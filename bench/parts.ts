// A bench of several parts, of which MAINSTEM_BENCH_PARTS=one,two names those to run; steps are told on stderr.
import type { BenchResult } from './harness.ts'
import { inFolder, type Part } from './log-data.ts'

/** @param say is told before each step */
export type RunPart = (folder: string, say: (what: string) => void) => Promise<Part>

export const runParts = (parts: Readonly<Record<string, RunPart>>): Promise<BenchResult> =>
  inFolder(async folder => {
    const startedMs = performance.now()
    const goals: BenchResult['goals'][number][] = []
    const figures: Record<string, number | string> = {}
    for (const name of wantedOf(parts)) {
      const measured = await parts[name]!(folder, what => {
        const seconds = Math.round((performance.now() - startedMs) / 1000)
        process.stderr.write(`${String(seconds).padStart(5)} s  ${name}: ${what}\n`)
      })
      goals.push(...measured.goals)
      Object.assign(figures, measured.figures)
    }
    figures['minutes in all'] = (performance.now() - startedMs) / 60_000
    return { goals, figures }
  })

/** Those that MAINSTEM_BENCH_PARTS names; all without it. */
function wantedOf(parts: Readonly<Record<string, unknown>>): readonly string[] {
  const all = Object.keys(parts)
  const wanted = process.env['MAINSTEM_BENCH_PARTS']?.split(',') ?? all
  const unknown = wanted.find(name => !all.includes(name))
  if (unknown !== undefined) throw new Error(`the bench has no part '${unknown}': there are ${all.join(', ')}`)
  return wanted
}
