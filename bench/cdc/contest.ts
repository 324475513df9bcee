// Both sides in turn, over one database: medians of rounds, what each read compared with what the database has.
import { type Goal, median } from '../harness.ts'
import type { Captured } from './ours.ts'

export const ROUNDS = 5
const PEER = 'Debezium'

/** Rounds of both sides, or of ours alone where there is no peer. */
export class Contest {
  readonly #ours: Captured[] = []
  readonly #theirs: Captured[] = []

  /** @param theirs is not called where no peer can run; both are called in turn, the other one first each time */
  async round(n: number, ours: () => Promise<Captured>, theirs: (() => Promise<Captured>) | undefined): Promise<void> {
    const runOurs = async () => void this.#ours.push(await ours())
    const runTheirs = async () => void (theirs && this.#theirs.push(await theirs()))
    for (const run of n % 2 === 0 ? [runOurs, runTheirs] : [runTheirs, runOurs]) await run()
  }

  goal(name: string, goal: number, whyNoPeer: string | undefined): Goal {
    const ratios = this.#theirs.map((theirs, n) => perSecond(this.#ours[n]!) / perSecond(theirs))
    const common = { name, goal, unit: '×' }
    if (whyNoPeer !== undefined) return { ...common, value: null, equal: null, skipped: whyNoPeer }
    return { ...common, value: median(ratios), equal: true }
  }

  /** Of ours, in any round. */
  get anonBytesMax(): number {
    return Math.max(...this.#ours.map(run => run.anonBytes))
  }

  figures(of: string, units: string): Record<string, number> {
    return { ...figuresOf(`${of}, mainstem`, units, this.#ours), ...figuresOf(`${of}, ${PEER}`, units, this.#theirs) }
  }
}

const perSecond = ({ events, seconds }: Captured): number => events / seconds

function figuresOf(side: string, units: string, runs: readonly Captured[]): Record<string, number> {
  if (runs.length === 0) return {}
  return {
    [`${side}: ${units}/s`]: median(runs.map(perSecond)),
    [`${side}: µs of CPU each`]: median(runs.map(({ cpuSeconds, events }) => (cpuSeconds * 1e6) / events)),
    [`${side}: MiB of anonymous memory, the most of all rounds`]: Math.max(...runs.map(run => run.anonBytes)) / 2 ** 20,
    [`${side}: MiB resident, the most of all rounds`]: Math.max(...runs.map(run => run.maxRssBytes)) / 2 ** 20,
  }
}
