// `verifyLog` finds every byte that is not as it was written, in any file, and never stops, crashes or writes.
import { describe, expect, it } from 'vitest'
import { openEmbeddedLog, verifyLog } from '../../../core/index.ts'
import { DAMAGES, FUZZ_PATH, fuzzBase } from '../../support/log-fuzz.ts'
import { appendMarkers, markersContract } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const verify = (disk: SimulatedDisk) => verifyLog(FUZZ_PATH, { fileSystem: disk })
const segments = (disk: SimulatedDisk) => disk.paths.filter(path => /\.(segment|sealed)$/.test(path))
async function openedEnd(disk: SimulatedDisk): Promise<number> {
  const log = await openEmbeddedLog({ path: FUZZ_PATH, fileSystem: disk })
  await log.close()
  return log.end
}
const contents = (disk: SimulatedDisk) =>
  Object.fromEntries(disk.paths.map(path => [path, disk.bytes(path).toString('hex')]))

describe.each(['closed', 'sealed'] as const)('a log that was %s', end => {
  it('is found whole', async () => {
    const { disk, batches } = await fuzzBase(end)
    const before = contents(disk)
    const report = await verify(disk)
    expect(report).toMatchObject({ damages: [], damaged: 0, tailBytes: 0, segments: segments(disk).length })
    expect(report.records).toBe(batches.reduce((sum, batch) => sum + batch.records.length, 0))
    expect(report.bytes).toBe(segments(disk).reduce((sum, path) => sum + disk.bytes(path).length, 0))
    expect(contents(disk)).toEqual(before)
  })

  it('has no byte that could change unseen', async () => {
    const { disk } = await fuzzBase(end)
    for (let seed = 1; seed <= 400; seed++) {
      const random = new Random(seed)
      const path = random.pick(segments(disk))
      const damaged = disk.copy()
      const bytes = Buffer.from(disk.bytes(path))
      const at = random.int(bytes.length)
      bytes[at] = bytes[at]! ^ (1 << random.int(8))
      damaged.plant(path, bytes)
      const { damages } = await verify(damaged)
      expect(
        damages.map(({ file }) => file),
        `seed ${seed}: byte ${at} of ${path}`,
      ).toContain(path)
      expect(damages.find(({ file }) => file === path)!.offset, `seed ${seed}`).toBeLessThanOrEqual(at)
    }
  })

  it.each(Object.keys(DAMAGES))('%s are no reason to fail', async name => {
    const { disk } = await fuzzBase(end)
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed)
      const path = random.pick(disk.paths.filter(each => !each.includes('lock')))
      const damaged = disk.copy()
      damaged.plant(path, DAMAGES[name]!(random, Buffer.from(disk.bytes(path))))
      const outcome = await verify(damaged).catch((error: { code?: string }) => error.code)
      if (typeof outcome === 'string') expect(outcome, `seed ${seed} of ${path}`).toBe('LOG_FORMAT_NEWER')
    }
  })
})

describe('a segment that was being begun when the process was killed', () => {
  const NEXT = `${FUZZ_PATH}/00000000000000001000.segment`

  it.each([0, 10, 64])('is no damage with %i bytes of its header', async bytes => {
    const { disk } = await fuzzBase('closed')
    const last = segments(disk).at(-1)!
    const { records, tailBytes } = await verify(disk)
    const begun = disk.copy()
    const end = (await openedEnd(disk.copy())) + 1
    begun.plant(
      NEXT.replace('1000', String(end).padStart(4, '0')),
      Buffer.alloc(bytes, disk.bytes(last).subarray(0, 3)),
    )
    expect(await verify(begun)).toMatchObject({ damages: [], records, tailBytes: tailBytes + bytes })
    expect(await openedEnd(begun)).toBe(end - 1)
  })

  it('is damage where log.json says that it was there', async () => {
    const { disk } = await fuzzBase('closed')
    const last = segments(disk).at(-1)!
    disk.plant(last, disk.bytes(last).subarray(0, 20))
    expect((await verify(disk)).damages).toContainEqual({ file: last, offset: 0, problem: 'the header is cut short' })
  })
})

describe('an index file of an earlier close', () => {
  it('is no damage: the process was killed before it wrote the next one', async () => {
    const disk = new SimulatedDisk()
    const session = async (batches: number) => {
      const log = await openEmbeddedLog({ path: FUZZ_PATH, fileSystem: disk, segmentBytesMax: 500, seal: false })
      const topic = await log.topic(markersContract)
      for (let n = 0; n < batches; n++) await appendMarkers(log, topic, n, 1, 'x'.repeat(100))
      await log.close()
    }
    await session(1)
    const index = disk.paths.find(path => path.endsWith('1.index.json'))!
    const early = disk.bytes(index)
    await session(4)
    expect(disk.bytes(index)).not.toEqual(early)
    disk.plant(index, early)
    expect(await verify(disk)).toMatchObject({ damages: [], records: 5 })
    await session(0)
    expect(disk.bytes(index)).not.toEqual(early)
  })
})
