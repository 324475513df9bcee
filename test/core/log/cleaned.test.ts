// A log whose beginning was cleaned, looked at from outside: verified, counted, exported.
import { describe, expect, it } from 'vitest'
import {
  exportLog,
  ImportReader,
  importLog,
  LogFolder,
  openEmbeddedLog,
  summarizeTopics,
  verifyLog,
} from '../../../core/index.ts'
import { batchesIn, batchesOf, type SeenBatch } from '../../support/log-batches.ts'
import { FUZZ_PATH, fuzzBase } from '../../support/log-fuzz.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

interface Cleaned {
  readonly disk: SimulatedDisk
  readonly batches: readonly SeenBatch[]
}

/** Sealed, then events trimmed and tables compacted as far as it goes, then a little more. */
async function cleanedLog(): Promise<Cleaned> {
  const { disk } = await fuzzBase('sealed')
  const log = await openEmbeddedLog({ path: FUZZ_PATH, fileSystem: disk, segmentBytesMax: 1_500 })
  const report = await log.clean({ trim: { clicks: 7 }, compact: { 'shop.kinds': log.end, 'shop.lines': log.end } })
  expect(report.recordsAfter).toBeLessThan(report.recordsBefore)
  const batches = await batchesOf(log)
  await log.close()
  return { disk, batches }
}

const segments = (disk: SimulatedDisk) => disk.paths.filter(path => /\.(segment|sealed)$/.test(path))

describe('a cleaned log', () => {
  it('is read, counted and found whole', async () => {
    const { disk, batches } = await cleanedLog()
    await using folder = await LogFolder.open(FUZZ_PATH, disk)
    expect(folder.base.generation).toBe(1)
    const seen: Parameters<typeof batchesIn>[0][number][] = []
    for await (const block of folder.blocks(0)) seen.push(block)
    expect(batchesIn(seen)).toEqual(batches)
    const records = batches.flatMap(each => each.records)
    expect(await verifyLog(FUZZ_PATH, { fileSystem: disk })).toMatchObject({ damages: [], records: records.length })
    for (const topic of await summarizeTopics(folder)) {
      const ours = records.filter(record => record.topic === topic.name).map(({ position }) => position)
      expect(topic).toMatchObject({ records: ours.length, first: ours[0] ?? null, last: ours.at(-1) ?? null })
    }
  })

  it('has no byte that could change unseen, nor a file that could go', async () => {
    const { disk } = await cleanedLog()
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed)
      const path = random.pick(segments(disk))
      const bytes = Buffer.from(disk.bytes(path))
      const at = random.int(bytes.length)
      bytes[at] = bytes[at]! ^ (1 << random.int(8))
      const damaged = disk.copy()
      damaged.plant(path, bytes)
      const { damages } = await verifyLog(FUZZ_PATH, { fileSystem: damaged })
      expect(
        damages.map(({ file }) => file),
        `seed ${seed}: byte ${at} of ${path}`,
      ).toContain(path)
    }
    for (const path of segments(disk).slice(0, -1)) {
      const damaged = disk.copy()
      await damaged.remove(path)
      const { damages } = await verifyLog(FUZZ_PATH, { fileSystem: damaged })
      expect(damages.length, path).toBeGreaterThan(0)
    }
  })

  it('is exported as it is, and imported with positions of its own', async () => {
    const { disk, batches } = await cleanedLog()
    await using folder = await LogFolder.open(FUZZ_PATH, disk)
    let text = ''
    for await (const piece of exportLog(folder)) text += piece
    const lines = async function* () {
      yield* text.split('\n')
    }
    const other = new SimulatedDisk()
    await importLog(FUZZ_PATH, await ImportReader.open(lines()), { fileSystem: other })
    const log = await openEmbeddedLog({ path: FUZZ_PATH, fileSystem: other, seal: false })
    const bare = (all: readonly SeenBatch[]) =>
      all.map(({ mark, appendTimeMs, records }) => ({
        mark,
        appendTimeMs,
        records: records.map(record => ({ ...record, position: 0 })),
      }))
    expect(bare(await batchesOf(log))).toEqual(bare(batches))
    expect(log.end).toBe(batches.flatMap(({ records }) => records).length)
    await log.close()
  })
})
