// The embedded log beside the model: random work is done on both, and all that can be seen of them is compared. Small segments,
// many readers at once, commits in flight, contracts that change, restarts and crashes. The seed is in the test's name:
// `SEED=17 npm test -- model` runs it again; `SEEDS=2000` runs many.
import { describe, expect, it } from 'vitest'
import { FIRST_SEED, modelSeeds } from '../../support/campaign.ts'
import { LogPair } from '../../support/log-pair.ts'
import { Random } from '../../support/random.ts'

const SEEDS_USUAL = 20
const STEPS = 60
const seeds = Array.from({ length: modelSeeds(SEEDS_USUAL) }, (_, n) => FIRST_SEED + n)

describe('the embedded log and the model', () => {
  it.each(seeds)('show the same after random work, seed %i', async seed => {
    const pair = await LogPair.open(new Random(seed))
    for (let step = 0; step < STEPS; step++) await pair.step()
    expect(await pair.finish()).toBeGreaterThan(0)
  })
})
