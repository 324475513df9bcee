// Both sides in turn, round by round, each in a process of its own; ratios of events per CPU second, medians of the rounds. What each
// side came to is compared with a plain fold of the same events.
import { type Goal, median } from '../harness.ts'
import { check } from '../log-data.ts'
import type { Measured } from './ours.ts'
import { type Result, resultOf } from './work.ts'
import { WORKS, type WorkName } from './works.ts'

export interface Side {
  readonly name: string
  readonly work: WorkName
  /** Which of the work's applications it is, where they come to different rows. */
  readonly app?: string
  readonly events: number
  /** Takes part in so many rounds only. Default all. */
  readonly rounds?: number
  run(): Promise<Measured>
}

/** A goal that compares two sides by events per CPU second, or per second of wall time. */
export interface Comparison {
  /** The goal's name; without a goal, a figure's. */
  readonly name: string
  readonly goal?: number
  readonly ours: string
  readonly theirs: string
  readonly by?: 'wall'
}

export class Contest {
  readonly #sides: readonly Side[]
  readonly #runs = new Map<string, Measured[]>()
  readonly #expected = new Map<string, Result>()

  constructor(sides: readonly Side[]) {
    this.#sides = sides
  }

  /** @param say is told before each run */
  async measure(rounds: number, say: (what: string) => void): Promise<void> {
    for (let round = 1; round <= rounds; round++) {
      for (const side of this.#sides) {
        if (round > (side.rounds ?? rounds)) continue
        say(`round ${round} of ${side.rounds ?? rounds}: ${side.name}`)
        const run = await side.run()
        await this.#check(side, run)
        this.#runs.set(side.name, [...(this.#runs.get(side.name) ?? []), run])
      }
    }
  }

  async #check({ name, work, app, events }: Side, run: Measured): Promise<void> {
    const key = `${work} ${app} ${events}`
    const expected = this.#expected.get(key) ?? (await resultOf(WORKS[work].expected(events, app)))
    this.#expected.set(key, expected)
    check(run.events === events, `${name} folded ${run.events} of ${events} events`)
    check(run.rows === expected.rows && run.hash === expected.hash, `${name} has another result`)
  }

  /** Rates of a side, round by round. */
  rates(side: string, by?: Comparison['by']): readonly number[] {
    const runs = this.#runs.get(side) ?? []
    return runs.map(run => run.measuredEvents / (by === 'wall' ? run.seconds : run.cpuSeconds))
  }

  /** The median of the rounds' ratios: neighbours in time, so that what slows the machine slows both. */
  #ratio({ ours, theirs, by }: Comparison): number {
    const peers = this.rates(theirs, by)
    return median(this.rates(ours, by).flatMap((rate, n) => (peers[n] === undefined ? [] : [rate / peers[n]])))
  }

  /** Results were compared in `measure`, which throws where they differ. */
  goals(comparisons: readonly Comparison[]): readonly Goal[] {
    return comparisons.flatMap(comparison => {
      const { name, goal } = comparison
      return goal === undefined ? [] : [{ name, value: this.#ratio(comparison), goal, unit: '×', equal: true }]
    })
  }

  figures(comparisons: readonly Comparison[]): Readonly<Record<string, number>> {
    const figures: Record<string, number> = {}
    for (const { name } of this.#sides) {
      figures[`${name}: M events per CPU second`] = median(this.rates(name)) / 1e6
      figures[`${name}: M events per second`] = median(this.rates(name, 'wall')) / 1e6
      const broker = (this.#runs.get(name) ?? []).flatMap(run => run.brokerCpuSeconds ?? [])
      const share = broker.map((seconds, n) => seconds / this.#runs.get(name)![n]!.cpuSeconds)
      if (broker.some(seconds => seconds > 0)) figures[`${name}: CPU seconds of the broker to its own`] = median(share)
    }
    for (const each of comparisons) if (each.goal === undefined) figures[`${each.name}: ×`] = this.#ratio(each)
    return figures
  }
}
