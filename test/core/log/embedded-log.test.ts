import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  compileContract,
  type EmbeddedLogOptions,
  type Log,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { allRecords, appendMarkers, markersContract, recordsOf, wholeBatches } from '../../support/log-records.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'
import { describeLog, type LogUnderTest } from './conformance.ts'

const folders: string[] = []

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'mainstem-log-'))
  folders.push(path)
  return path
}

afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
})

/** @param sealed a log that is opened again has all but its last segment in columns */
async function underTest(options: EmbeddedLogOptions, sealed = false): Promise<LogUnderTest> {
  const log = await openEmbeddedLog(options)
  const reopen = async (): Promise<Log> => {
    await log.close()
    const again = await openEmbeddedLog(options)
    if (sealed) await again.sealed()
    return again
  }
  return { log, reopen }
}

describeLog('real files', () => underTest({ path: folder() }))
describeLog('real files, with small segments', () => underTest({ path: folder(), segmentBytesMax: 1_000 }))
describeLog('real files, nearly all of it sealed', () => underTest({ path: folder(), segmentBytesMax: 100 }, true))
describeLog('real files, sealed without compression', () =>
  underTest({ path: folder(), segmentBytesMax: 100, compression: 'none' }, true),
)
describeLog('the simulated disk', () =>
  underTest({ path: '/log', fileSystem: new SimulatedDisk(), segmentBytesMax: 2_000 }),
)

describe('the embedded log', () => {
  it('keeps append times monotone when the clock goes back, over restarts too', async () => {
    const fileSystem = new SimulatedDisk()
    let now = 1_000
    const options = { path: '/log', fileSystem, clock: () => now }
    const log = await openEmbeddedLog(options)
    await appendMarkers(log, await log.topic(markersContract), 1, 1)
    await log.close()
    now = 500
    const again = await openEmbeddedLog(options)
    await appendMarkers(again, await again.topic(markersContract), 2, 1)
    const blocks = await again.read(0).next()
    expect(blocks?.map(block => block.appendTimeMs)).toEqual([1_000, 1_000])
    await again.close()
  })

  it('is read across segments while it is appended to', async () => {
    const log = await openEmbeddedLog({ path: folder(), segmentBytesMax: 20_000 })
    const topic = await log.topic(markersContract)
    const count = 300
    const read = async (): Promise<number[]> => {
      const positions: number[] = []
      const reader = log.read(0)
      while (positions.length < count * 3) {
        positions.push(...recordsOf((await reader.next()) ?? []).map(record => record.position))
      }
      reader.close()
      return positions
    }
    const readers = [read(), read()]
    for (let n = 0; n < count; n++) await appendMarkers(log, topic, n, 3, 'x'.repeat(100))
    const dense = Array.from({ length: count * 3 }, (_, n) => n + 1)
    for (const positions of await Promise.all([...readers, read()])) expect(positions).toEqual(dense)
    expect(log.status().segments).toBeGreaterThan(5)
    await log.close()
  })

  it('reads from the files what is no longer in memory', async () => {
    const log = await openEmbeddedLog({ path: folder(), segmentBytesMax: 6_000_000 })
    const topic = await log.topic(markersContract)
    const waiting = log.read(0)
    for (let n = 0; n < 20; n++) await appendMarkers(log, topic, n, 1_000, 'x'.repeat(1_000))
    expect(await wholeBatches(log)).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(recordsOf((await waiting.next()) ?? [])[0]?.position).toBe(1)
    expect((await allRecords(log, 15_432))[0]?.position).toBe(15_433)
    waiting.close()
    await log.close()
  })

  it('answers 64 callers with far fewer writes than batches', async () => {
    const disk = new SimulatedDisk()
    const log = await openEmbeddedLog({ path: '/log', fileSystem: disk })
    const topic = await log.topic(markersContract)
    const before = disk.operations
    const caller = async (who: number) => {
      for (let n = 0; n < 20; n++) await appendMarkers(log, topic, who * 100 + n, 1)
    }
    await Promise.all(Array.from({ length: 64 }, (_, who) => caller(who)))
    expect(log.end).toBe(64 * 20)
    expect(disk.operations - before).toBeLessThan(3 * 2 * 20)
    await log.close()
  })
})

describe('what a caller gives that is none of what is asked for', () => {
  const events = compileContract('events', 'topic', z.object({ id: z.int() }), 'id')
  const rows = compileContract('rows', 'table', z.object({ id: z.int() }), 'id')
  const refused = (code: string) => expect.objectContaining({ code })

  it('is refused by name before anything happens, and the batch stands as before', async () => {
    await using log = await openEmbeddedLog({ path: folder() })
    const [topic, table] = [await log.topic(events), await log.topic(rows)]
    const batch = log.batch()
    batch.event(topic, { id: 1 })
    for (const none of [null, undefined, 5, []] as unknown as AnyRow[])
      expect(() => batch.event(topic, none)).toThrow(refused('RECORD_REFUSED'))
    expect(() => batch.insert(topic, { id: 2 })).toThrow(refused('RECORD_REFUSED'))
    expect(() => batch.delete(topic, { id: 2 })).toThrow(refused('RECORD_REFUSED'))
    expect(() => batch.event(table, { id: 2 })).toThrow(refused('RECORD_REFUSED'))
    expect(await batch.commit()).toEqual({ first: 1, last: 1 })
    expect((await allRecords(log)).map(({ after }) => after)).toEqual([{ id: 1 }])
    for (const position of [-1, 0.5, Number.NaN]) expect(() => log.read(position)).toThrow(refused('REQUEST_INVALID'))
    await expect(log.lastVersion(topic, 'one')).rejects.toThrow(refused('KEY_INVALID'))
    expect(() => log.retain({ events: { ms: -1 } })).toThrow(refused('DEFINITION_INVALID'))
  })

  it.each(['segmentBytesMax', 'bytesMax', 'freeBytesMin', 'cleanMemoryBytesMax'])('%s is a number', async name => {
    const path = join(folder(), 'log')
    for (const value of [-1, Number.NaN])
      await expect(openEmbeddedLog({ path, [name]: value })).rejects.toThrow(refused('REQUEST_INVALID'))
    expect(existsSync(path)).toBe(false)
  })
})
