// How a figure is measured here: both sides in one run, interleaved, medians of several rounds, results compared.
import { cpus, totalmem } from 'node:os'

export interface Goal {
  /** As the issue names it. */
  readonly name: string
  /** Null where it could not be measured. */
  readonly value: number | null
  readonly goal: number
  readonly unit: string
  /** The value is to be at or below the goal; without this at or above it. */
  readonly atMost?: true
  /** Both sides' results were compared and are equal; null where there is one side only. */
  readonly equal: boolean | null
  /** Why it could not be measured. */
  readonly skipped?: string
}

/** A line for people: what came out beside what was wanted. */
export function lineOf({ name, value, goal, unit, atMost, equal, skipped }: Goal): string {
  if (value === null) return `skipped  ${name}: ${skipped ?? 'no reason given'}`
  const met = atMost ? value <= goal : value >= goal
  const verdict = equal === false ? 'DIFFERS' : met ? 'ok' : 'missed'
  return `${verdict.padEnd(8)} ${name}: ${value.toFixed(2)} ${unit}, goal ${goal.toFixed(2)}${atMost ? ' at most' : ''}`
}

export interface BenchResult {
  readonly goals: readonly Goal[]
  /** Everything measured, by name. */
  readonly figures: Readonly<Record<string, number | string>>
}

/** One side of a comparison: does its work and gives a text by which results are compared. */
export interface Side {
  readonly name: string
  /** Units of work in one round. */
  readonly units: number
  run(): Promise<string> | string
  /** What ends a round, and is not measured. */
  after?(): Promise<void>
}

export interface Measured {
  /** Medians, units per second of wall time, by side. */
  readonly perSecond: Readonly<Record<string, number>>
  /** Medians, units per CPU second of this process, by side. */
  readonly perCpuSecond: Readonly<Record<string, number>>
  readonly equal: boolean
}

export const ROUNDS = 5

/** Runs the sides in turn, one round to warm up and then `rounds`. */
export async function interleave(sides: readonly Side[], rounds = ROUNDS): Promise<Measured> {
  const wall = new Map<string, number[]>()
  const cpu = new Map<string, number[]>()
  let equal = true
  for (let round = 0; round <= rounds; round++) {
    const results: string[] = []
    for (const side of sides) {
      const startedMs = performance.now()
      const startedCpu = process.cpuUsage()
      results.push(await side.run())
      const seconds = (performance.now() - startedMs) / 1000
      const used = process.cpuUsage(startedCpu)
      await side.after?.()
      if (round === 0) continue
      push(wall, side.name, side.units / seconds)
      push(cpu, side.name, side.units / ((used.user + used.system) / 1e6))
    }
    equal &&= results.every(result => result === results[0])
  }
  return { perSecond: medians(wall), perCpuSecond: medians(cpu), equal }
}

function push(into: Map<string, number[]>, name: string, value: number): void {
  const values = into.get(name) ?? []
  values.push(value)
  into.set(name, values)
}

const medians = (of: ReadonlyMap<string, number[]>): Record<string, number> =>
  Object.fromEntries([...of].map(([name, values]) => [name, median(values)]))

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** What the figures were measured on. */
export const machine = (): string =>
  `${cpus().length} cores ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, ${process.platform}`
