// Sealing killed before each operation on the disk, and sealed files damaged at every byte.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import { allRecords, appendMarkers, markersContract, wholeBatches } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const FOLDER = '/log'
const BATCHES = 24

const open = (disk: SimulatedDisk, seal: boolean, events: string[] = []) =>
  openEmbeddedLog({
    path: FOLDER,
    fileSystem: disk,
    segmentBytesMax: 1_000,
    seal,
    onEvent: ({ event }) => events.push(event),
  })

/** A log of several closed segments, none sealed. */
async function hotLog(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk()
  const log = await open(disk, false)
  const topic = await log.topic(markersContract)
  for (let n = 1; n <= BATCHES; n++) await appendMarkers(log, topic, n, 1 + (n % 3), 'f'.repeat(90))
  await log.close()
  return disk
}

const expected = Array.from({ length: BATCHES }, (_, n) => n + 1)

async function checkAndClose(log: EmbeddedLog): Promise<void> {
  expect(await wholeBatches(log)).toEqual(expected)
  expect(log.mark('shop')).toEqual({ source: 'shop', position: String(BATCHES) })
  await log.close()
}

describe('sealing', () => {
  it('loses and doubles nothing when killed before any operation, whatever the crash leaves', async () => {
    const start = await hotLog()
    const whole = start.copy()
    const done = await open(whole, true)
    await done.sealed()
    const operations = whole.operations
    await done.close()
    expect(whole.paths.filter(path => path.endsWith('.sealed')).length).toBeGreaterThan(2)
    expect(whole.paths.filter(path => path.endsWith('.segment')).length).toBe(1)
    for (let killAt = 0; killAt <= operations; killAt++) {
      for (const tear of [undefined, new Random(killAt), new Random(killAt + 1000)]) {
        const disk = start.copy()
        disk.killAt = killAt
        const opened = open(disk, true).then(log => log.sealed())
        await Promise.race([opened, disk.died])
        const after = disk.crash(tear)
        const again = await open(after, true)
        await again.sealed()
        await checkAndClose(again)
        expect(
          after.paths.filter(path => path.endsWith('.tmp') && path.includes('sealed')),
          `killed at ${killAt}`,
        ).toEqual([])
      }
    }
  })

  it('leaves the hot segment where an operation fails, says so, and is done at the next start', async () => {
    const start = await hotLog()
    for (const operation of ['create', 'write', 'datasync', 'rename'] as const) {
      const disk = start.copy()
      disk.fault = (of, path) =>
        of === operation && path.includes('.sealed') ? systemError('ENOSPC', 'no room') : undefined
      const events: string[] = []
      const log = await open(disk, true, events)
      await log.sealed()
      expect(events).toEqual(['log-seal-failed'])
      expect(disk.paths.some(path => path.endsWith('.sealed'))).toBe(false)
      await checkAndClose(log)
      disk.fault = () => undefined
      const again = await open(disk, true)
      await again.sealed()
      expect(disk.paths.filter(path => path.endsWith('.segment')).length).toBe(1)
      await checkAndClose(again)
    }
  })

  it('takes the hot segment where the sealed one beside it is not whole', async () => {
    const start = await hotLog()
    const sealed = start.copy()
    const log = await open(sealed, true)
    await log.sealed()
    await log.close()
    const path = sealed.paths.find(each => each.endsWith('.sealed'))!
    const bytes = sealed.bytes(path)
    for (const part of [bytes.subarray(0, bytes.length - 1), bytes.subarray(0, 70), Buffer.alloc(0), bytes]) {
      const both = start.copy()
      both.plant(path, Buffer.from(part))
      await checkAndClose(await open(both, false))
      expect(both.paths.includes(path)).toBe(part.length === bytes.length)
      expect(both.paths.includes(path.replace('.sealed', '.segment'))).toBe(part.length < bytes.length)
    }
  })

  it('does not hold up appends, and readers go on over a segment that is sealed under them', async () => {
    const disk = new SimulatedDisk()
    const log = await open(disk, true)
    const topic = await log.topic(markersContract)
    const reader = log.read(0)
    let read = 0
    for (let n = 1; n <= 60; n++) {
      await appendMarkers(log, topic, n, 2, 'f'.repeat(90))
      if (n % 7 === 0) for (const block of await reader.ready()) read += block.count
    }
    await log.sealed()
    for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready())
      for (const block of blocks) read += block.count
    expect(read).toBe(120)
    reader.close()
    expect(await wholeBatches(log)).toEqual(Array.from({ length: 60 }, (_, n) => n + 1))
    await log.close()
  })
})

describe('a damaged sealed segment', () => {
  it('is LOG_CORRUPT or gives exactly what was written, whichever byte changed', async () => {
    const disk = await hotLog()
    const log = await open(disk, true)
    await log.sealed()
    const whole = await allRecords(log)
    await log.close()
    const path = disk.paths.find(each => each.endsWith('.sealed'))!
    const bytes = disk.bytes(path)
    let refused = 0
    for (let at = 0; at < bytes.length; at++) {
      const damaged = disk.copy()
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1 << (at % 8)
      damaged.plant(path, changed)
      try {
        const opened = await open(damaged, false)
        try {
          expect(await allRecords(opened)).toEqual(whole)
        } finally {
          await opened.close()
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'LOG_CORRUPT', detail: expect.stringContaining(path) })
        refused++
      }
    }
    // What is left are bytes between the parts, which nothing reads.
    expect(refused).toBeGreaterThan(bytes.length * 0.8)
  })

  it('is LOG_CORRUPT for streams too, or they are as they were', async () => {
    const people = compileContract('people', 'topic', z.object({ who: z.string(), n: z.int() }), 'who')
    const disk = new SimulatedDisk()
    const log = await open(disk, true)
    const topic = await log.topic(people)
    for (let n = 0; n < 60; n++) {
      const batch = log.batch()
      batch.event(topic, { who: `w${n % 4}`, n })
      await batch.commit()
    }
    await log.sealed()
    await log.close()
    const path = disk.paths.find(each => each.endsWith('.sealed'))!
    const bytes = disk.bytes(path)
    for (let at = 0; at < bytes.length; at++) {
      const damaged = disk.copy()
      const changed = Buffer.from(bytes)
      changed[at]! ^= 0x40
      damaged.plant(path, changed)
      try {
        const opened = await open(damaged, false)
        try {
          const found = opened.findTopic('people')!
          const seen = []
          for await (const { event } of opened.stream(found, 'w2')) seen.push(event['n'])
          expect(seen).toEqual(Array.from({ length: 15 }, (_, n) => n * 4 + 2))
        } finally {
          await opened.close()
        }
      } catch (error) {
        expect(error).toMatchObject({ code: 'LOG_CORRUPT' })
      }
    }
  })
})
