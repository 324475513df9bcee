// Batches larger than memory should hold: spilled to a file while they grow, one atomic batch in the log all the same.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type Batch, type EmbeddedLog, type Log, type LogTopic, openEmbeddedLog } from '../../../core/index.ts'
import { appendMarkers, blocksOf, markersContract, wholeBatches } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const PATH = '/log'
const FILLER = 'f'.repeat(100_000)

const opened = (disk: SimulatedDisk): Promise<EmbeddedLog> =>
  openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 3_000_000, freeBytesMin: 0, seal: false })

/** A batch of `of` records, spilled after every so many. */
async function filled(log: Log, topic: LogTopic, n: number, of: number, spillEvery = 12): Promise<Batch> {
  const batch = log.batch()
  for (let index = 0; index < of; index++) {
    batch.insert(topic, { batch: n, index, of, filler: `<${n}:${index}>${FILLER}` })
    if (index % spillEvery === spillEvery - 1) await batch.spill()
  }
  return batch
}

const spills = (disk: SimulatedDisk) => disk.paths.filter(path => path.endsWith('.spill'))

describe('a batch that was spilled', () => {
  it('stands in the log as one that was not, whole, with its mark on each block', async () => {
    const disk = new SimulatedDisk()
    const log = await opened(disk)
    const topic = await log.topic(markersContract)
    await appendMarkers(log, topic, 1, 2)
    const [spilled, plain] = [
      await filled(log, topic, 2, 60),
      await filled(log, topic, 2, 60, Number.POSITIVE_INFINITY),
    ]
    expect(spilled.bytes).toBeGreaterThan(6_000_000)
    expect(spilled.memoryBytes).toBeLessThan(1_500_000)
    expect(plain.memoryBytes).toBe(plain.bytes)
    expect([spilled.count, spilled.bytes]).toEqual([plain.count, plain.bytes])
    const mark = { source: 'shop', position: '2', transaction: '77', commitTimeUs: 5 }
    const [appended, , third] = await Promise.all([
      spilled.commit(mark),
      plain.discard(),
      appendMarkers(log, topic, 3, 2),
    ])
    expect([appended, third]).toEqual([
      { first: 3, last: 62 },
      { first: 63, last: 64 },
    ])
    expect(log.mark('shop')).toEqual({ source: 'shop', position: '3' })
    const blocks = (await blocksOf(log)).filter(block => block.mark?.position === '2')
    expect(blocks.length).toBeGreaterThan(5)
    expect(blocks.map(block => block.mark)).toEqual(blocks.map(() => mark))
    expect(blocks.map(block => block.last)).toEqual(blocks.map((_, n) => n === blocks.length - 1))
    expect(spills(disk)).toEqual([])
    for (const check of [log, await opened(disk.crash())]) {
      expect(await wholeBatches(check)).toEqual([1, 2, 3])
      await check.close()
    }
    expect(disk.filesOpen).toBe(0)
  })

  it('may end with the last record that was spilled', async () => {
    const log = await opened(new SimulatedDisk())
    const topic = await log.topic(markersContract)
    const batch = log.batch()
    for (const index of [0, 1]) {
      batch.insert(topic, { batch: 1, index, of: 2, filler: 'f'.repeat(1_000_000) })
      await batch.spill()
    }
    expect(batch.memoryBytes).toBe(0)
    await batch.commit()
    expect(await wholeBatches(log)).toEqual([1])
    await log.close()
  })

  it('is there whole or not at all, wherever the process dies, and leaves no file behind', async () => {
    const run = async (disk: SimulatedDisk): Promise<number[]> => {
      const acknowledged: number[] = []
      const log = await opened(disk)
      const topic = await log.topic(markersContract)
      for (const n of [1, 2, 3]) {
        const batch = n === 2 ? await filled(log, topic, n, 26) : undefined
        await (batch ? batch.commit() : appendMarkers(log, topic, n, 2))
        acknowledged.push(n)
      }
      return acknowledged
    }
    const whole = new SimulatedDisk()
    await run(whole)
    const { operations } = whole
    for (let killAt = 1; killAt <= operations; killAt++) {
      const disk = new SimulatedDisk()
      disk.killAt = killAt
      let acknowledged: number[] = []
      await Promise.race([
        run(disk).then(all => {
          acknowledged = all
        }),
        disk.died,
      ])
      for (const after of [disk.kill(), disk.crash(new Random(killAt))]) {
        const log = await opened(after)
        const found = await wholeBatches(log)
        expect(found).toEqual([1, 2, 3].slice(0, found.length))
        expect(found).toEqual(expect.arrayContaining(acknowledged))
        expect(spills(after)).toEqual([])
        await log.close()
      }
    }
  })

  it.each(['spill', 'segment'])('is refused whole by a disk that has no room for its %s', async what => {
    const disk = new SimulatedDisk()
    const log = await opened(disk)
    const topic = await log.topic(markersContract)
    await appendMarkers(log, topic, 1, 2)
    const batch = await filled(log, topic, 2, 24)
    disk.fault = (operation, path) =>
      operation === 'write' && path.endsWith(`.${what}`) ? systemError('ENOSPC') : undefined
    for (let index = 24; index < 36; index++) batch.insert(topic, { batch: 2, index, of: 36, filler: FILLER })
    const refused = what === 'spill' ? batch.spill() : batch.commit()
    await expect(refused).rejects.toMatchObject({ code: 'LOG_FULL' })
    await batch.discard()
    expect(spills(disk)).toEqual([])
    disk.fault = () => undefined
    await nextTurn()
    await appendMarkers(log, topic, 2, 2)
    expect(await wholeBatches(log)).toEqual([1, 2])
    await log.close()
  })

  it('is refused as soon as it is larger than the limit of the log', async () => {
    const disk = new SimulatedDisk()
    const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, bytesMax: 4_000_000, freeBytesMin: 0 })
    const topic = await log.topic(markersContract)
    await expect(filled(log, topic, 1, 60)).rejects.toMatchObject({ code: 'LOG_FULL' })
    await appendMarkers(log, topic, 1, 2)
    await log.close()
  })
})
