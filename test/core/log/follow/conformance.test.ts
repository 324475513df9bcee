// What is said of any log and its readers, said of one that is followed: what follows it reads the same, however late messages come.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type EmbeddedLogOptions, openEmbeddedLog } from '../../../../core/index.ts'
import { FIRST_SEED, modelSeeds } from '../../../support/campaign.ts'
import { randomly, readByFollowing } from '../../../support/following.ts'
import { LogPair } from '../../../support/log-pair.ts'
import { Random } from '../../../support/random.ts'
import { SimulatedDisk } from '../../../support/simulated-disk.ts'
import { describeLog, type LogUnderTest } from '../conformance.ts'

const folders: string[] = []
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
})

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'mainstem-follow-'))
  folders.push(path)
  return path
}

async function underTest(options: EmbeddedLogOptions): Promise<LogUnderTest> {
  const open = async () =>
    readByFollowing(await openEmbeddedLog(options), options.fileSystem, randomly(new Random(FIRST_SEED)))
  const log = await open()
  const reopen = async () => {
    await log.close()
    return open()
  }
  return { log, reopen }
}

describeLog('a followed log of real files', () => underTest({ path: folder() }))
describeLog('a followed log with small segments, mostly sealed', () =>
  underTest({ path: folder(), segmentBytesMax: 1_000 }),
)
describeLog('a followed log on the simulated disk', () =>
  underTest({ path: '/log', fileSystem: new SimulatedDisk(), segmentBytesMax: 2_000, seal: false }),
)

const STEPS = 60
const seeds = Array.from({ length: modelSeeds(12) }, (_, n) => FIRST_SEED + n)

describe('a followed log and the model', () => {
  it.each(seeds)('show the same after random work, seed %i', async seed => {
    const pair = await LogPair.open(new Random(seed), (log, disk, random) =>
      readByFollowing(log, disk, randomly(new Random(random.int(1e9)))),
    )
    for (let step = 0; step < STEPS; step++) await pair.step()
    expect(await pair.finish()).toBeGreaterThan(0)
  })
})
