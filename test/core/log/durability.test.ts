// What an acknowledgement promises: the process is killed before each of its disk operations in turn, and the power goes with
// it. Every acknowledged batch must be there whole, every other one whole or not at all.
import { describe, expect, it } from 'vitest'
import { openEmbeddedLog } from '../../../core/index.ts'
import { appendMarkers, markersContract, recordsOf, wholeBatches } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const PATH = '/data/log'
/** Several segments, writes of one and of many batches, and one batch that is a chain of blocks. */
const BATCHES = 14
const CHAIN = 9

async function work(disk: SimulatedDisk, acknowledged: Set<number>): Promise<void> {
  const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 1_500 })
  const topic = await log.topic(markersContract)
  const append = async (n: number) => {
    await appendMarkers(
      log,
      topic,
      n,
      n === CHAIN ? 1_200 : 1 + (n % 4),
      n === CHAIN ? 'c'.repeat(1_000) : 'f'.repeat(40),
    )
    acknowledged.add(n)
  }
  for (let n = 1; n <= BATCHES; ) {
    const together = 1 + (n % 3)
    await Promise.all(Array.from({ length: together }, (_, k) => append(n + k)))
    n += together
  }
  await log.close()
}

async function check(disk: SimulatedDisk, acknowledged: ReadonlySet<number>): Promise<void> {
  const options = { path: PATH, fileSystem: disk, segmentBytesMax: 1_500 }
  const log = await openEmbeddedLog(options)
  const found = await wholeBatches(log)
  expect(found).toEqual(found.map((_, n) => n + 1))
  expect(found.length).toBeGreaterThanOrEqual(acknowledged.size)
  expect(log.mark('shop')?.position).toBe(found.length > 0 ? String(found.length) : undefined)
  await appendMarkers(log, await log.topic(markersContract), found.length + 1, 2)
  await log.close()
  const again = await openEmbeddedLog(options)
  expect(await wholeBatches(again)).toHaveLength(found.length + 1)
  await again.close()
}

describe('durability', () => {
  it('keeps every acknowledged batch, and no part of another, when killed before any disk operation', async () => {
    const whole = new SimulatedDisk()
    await work(whole, new Set())
    expect(whole.operations).toBeGreaterThan(50)
    for (let killAt = 0; killAt < whole.operations; killAt++) {
      const disk = new SimulatedDisk()
      disk.killAt = killAt
      const acknowledged = new Set<number>()
      await Promise.race([work(disk, acknowledged), disk.died])
      await check(disk.crash(), acknowledged)
      const random = new Random(killAt)
      for (let n = 0; n < 3; n++) await check(disk.crash(random), acknowledged)
    }
  })

  it('acknowledges and shows a batch only when its bytes are durable', async () => {
    const disk = new SimulatedDisk()
    const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 3_000 })
    const topic = await log.topic(markersContract)
    const durable = (n: number, index: number) =>
      disk.paths.some(path => path.endsWith('.segment') && disk.durable(path).includes(`<${n}:${index}>`))
    const seen: number[] = []
    const read = async () => {
      const reader = log.read(0)
      while (seen.length < 60) {
        for (const { position, after } of recordsOf((await reader.next()) ?? [])) {
          const { batch, index } = after as { batch: number; index: number }
          expect(durable(batch, index)).toBe(true)
          seen.push(position)
        }
      }
      reader.close()
    }
    const append = async (n: number) => {
      await appendMarkers(log, topic, n, 2)
      expect([durable(n, 0), durable(n, 1)]).toEqual([true, true])
    }
    const reading = read()
    for (let n = 0; n < 30; n += 3) await Promise.all([append(n), append(n + 1), append(n + 2)])
    await reading
    await log.close()
  })

  it('has a topic’s name on disk before the first record of it', async () => {
    const disk = new SimulatedDisk()
    const log = await openEmbeddedLog({ path: PATH, fileSystem: disk })
    await log.topic(markersContract)
    expect(disk.durable(`${PATH}/topics.json`).toString()).toContain('shop.markers')
    await log.close()
  })
})
