// The whole engine on a simulated disk, clock and order of events: `npm run test:sim` runs thousands of seeds.
import { describe, expect, it, vi } from 'vitest'
import { FIRST_SEED, simulationSeeds } from '../support/campaign.ts'
import { type Outcome, simulate } from './simulation.ts'

const SEEDS_USUAL = 16
const wanted = Array.from({ length: simulationSeeds(SEEDS_USUAL) }, (_, n) => FIRST_SEED + n)
/**
 * An export showed when rows with a ttl were touched; what the disk threw at a verification of shards was no typed error; a read of
 * the past began before history was compacted and ended after it. All are of former schedules, and tests of their own.
 */
const ONCE_FAILED = [100, 314, 50_012]
/** With several shards that stop. */
const SLOW_SEEDS = [FIRST_SEED, FIRST_SEED + 2]
/** In which history is compacted. */
const COMPACTED = 101
const seeds = wanted.length < SEEDS_USUAL ? wanted : [...new Set([...wanted, ...ONCE_FAILED, COMPACTED])]

/** What one takes is a matter of the machine: many run at once there. */
describe('a simulated engine', { timeout: 120_000 }, () => {
  const outcomes: Omit<Outcome, 'trace'>[] = []
  /** First words of all that did. */
  const happened = new Set<string>()

  it.each(seeds)('answers at every position what the log is there, through all that happens (seed %i)', async seed => {
    const { trace, ...outcome } = await simulate(seed)
    outcomes.push(outcome)
    for (const event of trace) happened.add(event.split(' ', 1)[0]!)
    expect(outcome.transactions).toBeGreaterThan(0)
  })

  it('does the same again from the same seed, and another thing from another one', async () => {
    const [first, again, other] = [
      await simulate(FIRST_SEED),
      await simulate(FIRST_SEED),
      await simulate(FIRST_SEED + 1),
    ]
    expect(firstDifference(first, again)).toBeUndefined()
    expect(firstDifference(first, other)).toBeDefined()
  })

  it.each(SLOW_SEEDS)("does the same however much of the machine's own time passes (seed %i)", async seed => {
    const quick = await simulate(seed)
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'Date', 'performance'] })
    try {
      const slow = await simulate(seed, () => vi.advanceTimersByTime(5_000))
      expect(firstDifference(quick, slow)).toBeUndefined()
    } finally {
      vi.useRealTimers()
    }
  })

  it('has been read, killed and stopped often enough to mean something', () => {
    // A seed alone says nothing of that.
    if (outcomes.length < SEEDS_USUAL) return
    const mean = (of: (outcome: (typeof outcomes)[0]) => number) =>
      outcomes.reduce((sum, each) => sum + of(each), 0) / outcomes.length
    expect(mean(({ answers }) => answers)).toBeGreaterThan(20)
    expect(mean(({ transactions }) => transactions)).toBeGreaterThan(20)
    const ends = new Set(outcomes.flatMap(each => each.ends))
    expect([...ends].sort()).toEqual(['crash', 'kill', 'stop'])
    for (const what of ['past', 'export', 'saved', 'verify', 'replay', 'compacted', 'fails', 'refused'])
      expect(happened).toContain(what)
  })
})

/** Where two simulations part. */
function firstDifference({ trace: a }: Outcome, { trace: b }: Outcome) {
  for (let n = 0; n < Math.max(a.length, b.length); n++)
    if (a[n] !== b[n]) return { place: n, before: a.slice(Math.max(0, n - 5), n), events: [a[n], b[n]] }
  return undefined
}
