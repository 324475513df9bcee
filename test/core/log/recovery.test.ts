// What opening finds: torn tails are cut, damage to what was durable is an error that names file and byte.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type LogEvent, openEmbeddedLog } from '../../../core/index.ts'
import { appendMarkers, blocksOf, markersContract, wholeBatches } from '../../support/log-records.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const PATH = '/log'
const FIRST = `${PATH}/00000000000000000001.segment`

interface Written {
  readonly disk: SimulatedDisk
  /** Where each batch ends in the first segment. */
  readonly ends: readonly number[]
}

/** Batches 1 to `count` of 3 records, each with a write of its own, as a killed process leaves them. */
async function written(count: number, segmentBytesMax?: number): Promise<Written> {
  const disk = new SimulatedDisk()
  const size = segmentBytesMax ? { segmentBytesMax } : {}
  const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, seal: false, ...size })
  const topic = await log.topic(markersContract)
  const ends: number[] = []
  for (let n = 1; n <= count; n++) {
    await appendMarkers(log, topic, n, 3)
    ends.push(disk.bytes(FIRST).length)
  }
  return { disk: disk.crash(), ends }
}

function damaged(disk: SimulatedDisk, path: string, change: (bytes: Buffer) => Buffer): SimulatedDisk {
  const copy = disk.copy()
  copy.plant(path, change(Buffer.from(disk.bytes(path))))
  return copy
}

const flipped = (at: number) => (bytes: Buffer) => {
  bytes[at] = (bytes[at] ?? 0) ^ 0x10
  return bytes
}

async function batchesAfterOpen(disk: SimulatedDisk, onEvent?: (event: LogEvent) => void): Promise<number[]> {
  const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, ...(onEvent ? { onEvent } : {}) })
  const batches = await wholeBatches(log)
  await log.close()
  return batches
}

describe('opening a log', () => {
  it('cuts a last batch that is torn at any byte, and says how much', async () => {
    const { disk, ends } = await written(3)
    const [, second = 0, third = 0] = ends
    for (let length = second; length < third; length++) {
      const events: LogEvent[] = []
      const torn = damaged(disk, FIRST, bytes => bytes.subarray(0, length))
      expect(await batchesAfterOpen(torn, event => events.push(event))).toEqual([1, 2])
      expect(events).toMatchObject(
        length === second ? [] : [{ event: 'log-tail-cut', file: FIRST, bytes: length - second }],
      )
      expect(torn.bytes(FIRST)).toHaveLength(second)
    }
  })

  it('cuts a last batch with any byte changed', async () => {
    const { disk, ends } = await written(3)
    const [, second = 0, third = 0] = ends
    for (let at = second; at < third; at++)
      expect(await batchesAfterOpen(damaged(disk, FIRST, flipped(at)))).toEqual([1, 2])
  })

  it('cuts zeros after the last batch', async () => {
    const { disk } = await written(2)
    const padded = damaged(disk, FIRST, bytes => Buffer.concat([bytes, Buffer.alloc(10_000)]))
    expect(await batchesAfterOpen(padded)).toEqual([1, 2])
  })

  it('cuts all blocks of a batch whose last block is missing', async () => {
    const disk = new SimulatedDisk()
    const log = await openEmbeddedLog({ path: PATH, fileSystem: disk })
    const topic = await log.topic(markersContract)
    await appendMarkers(log, topic, 1, 3)
    const before = disk.bytes(FIRST).length
    await appendMarkers(log, topic, 2, 3_000, 'x'.repeat(1_000))
    const ends = (await blocksOf(log)).length
    expect(ends).toBeGreaterThan(3)
    for (const length of [before + 1_000_000, before + 2_000_000, disk.bytes(FIRST).length - 1]) {
      const torn = damaged(disk, FIRST, bytes => bytes.subarray(0, length))
      expect(await batchesAfterOpen(torn)).toEqual([1])
      expect(torn.bytes(FIRST)).toHaveLength(before)
    }
  })

  it('never cuts a bad block when a later block says that it was durable', async () => {
    const { disk, ends } = await written(4)
    const [first = 0, second = 0] = ends
    for (let at = first; at < second; at += 7) {
      await expect(batchesAfterOpen(damaged(disk, FIRST, flipped(at)))).rejects.toMatchObject({
        code: 'LOG_CORRUPT',
        detail: expect.stringContaining(`${FIRST} at byte ${first}`),
        data: { file: FIRST, offset: first },
      })
    }
  })

  it('never cuts what was durable when the log was last closed', async () => {
    const { disk } = await written(2)
    expect(await batchesAfterOpen(disk)).toEqual([1, 2])
    const last = disk.bytes(FIRST).length - 1
    await expect(batchesAfterOpen(damaged(disk, FIRST, flipped(last)))).rejects.toMatchObject({ code: 'LOG_CORRUPT' })
    const short = damaged(disk, FIRST, bytes => bytes.subarray(0, last))
    await expect(batchesAfterOpen(short)).rejects.toMatchObject({ code: 'LOG_CORRUPT' })
  })

  it('does not take bytes inside a record for a block', async () => {
    const { disk, ends } = await written(2)
    const block = disk.bytes(FIRST).subarray(ends[0], ends[1])
    const log = await openEmbeddedLog({ path: PATH, fileSystem: disk })
    const topic = await log.topic(markersContract)
    const batch = log.batch()
    batch.parked(topic, { op: 'insert', key: '', raw: {}, error: block.toString('latin1') })
    await batch.commit()
    // The copy inside the record is followed by a torn tail with more copies: none is evidence of anything.
    const torn = damaged(disk.crash(), FIRST, bytes => Buffer.concat([bytes, Buffer.alloc(99), block, block]))
    const again = await openEmbeddedLog({ path: PATH, fileSystem: torn })
    expect(again.end).toBe(7)
    expect(torn.bytes(FIRST)).toEqual(disk.bytes(FIRST))
    await again.close()
  })

  it('reports a damaged block in an earlier segment, at start or when a reader meets it', async () => {
    const { disk } = await written(12, 400)
    const index = `${PATH}/00000000000000000001.index.json`
    const without = damaged(disk, FIRST, flipped(150))
    without.plant(index, Buffer.from('not JSON'))
    await expect(batchesAfterOpen(without)).rejects.toMatchObject({ code: 'LOG_CORRUPT', data: { file: FIRST } })
    const log = await openEmbeddedLog({ path: PATH, fileSystem: damaged(disk, FIRST, flipped(150)) })
    const reader = log.read(0)
    await expect(reader.next()).rejects.toMatchObject({ code: 'LOG_CORRUPT', data: { file: FIRST, offset: 64 } })
    await log.close()
  })

  it('reads a segment again whose index is missing or damaged', async () => {
    const { disk } = await written(12, 400)
    const index = `${PATH}/00000000000000000001.index.json`
    for (const text of ['', '{"crc":1,"content":{}}', disk.bytes(index).toString().replace('"last": ', '"last": 1')]) {
      const events: LogEvent[] = []
      const copy = damaged(disk, index, () => Buffer.from(text))
      expect(await batchesAfterOpen(copy, event => events.push(event))).toHaveLength(12)
      expect(events).toEqual([{ event: 'log-segment-rescanned', file: FIRST }])
      expect(copy.bytes(index)).toEqual(disk.bytes(index))
    }
  })

  it('reports a missing segment', async () => {
    const { disk } = await written(12, 400)
    const segments = disk.paths.filter(path => path.endsWith('.segment'))
    expect(segments.length).toBeGreaterThan(3)
    for (const path of segments.slice(0, -1)) {
      const copy = disk.copy()
      await copy.remove(path)
      await expect(batchesAfterOpen(copy)).rejects.toMatchObject({ code: 'LOG_CORRUPT' })
    }
  })

  it('begins a segment anew that was being made', async () => {
    const { disk } = await written(2)
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(64), disk.bytes(FIRST).subarray(0, 30)]) {
      const copy = disk.copy()
      const begun = `${PATH}/00000000000000000007.segment`
      copy.plant(begun, bytes)
      expect(await batchesAfterOpen(copy)).toEqual([1, 2])
      expect(copy.paths).not.toContain(begun)
    }
  })

  it('refuses a newer format', async () => {
    const { disk } = await written(1)
    for (const name of ['log.json', 'topics.json']) {
      const path = `${PATH}/${name}`
      const newer = damaged(disk, path, bytes => Buffer.from(bytes.toString().replace('"format": 1', '"format": 9')))
      await expect(batchesAfterOpen(newer)).rejects.toMatchObject({ code: 'LOG_FORMAT_NEWER' })
    }
  })

  it('refuses small files that cannot be read', async () => {
    const { disk } = await written(1)
    for (const name of ['log.json', 'topics.json']) {
      const cut = damaged(disk, `${PATH}/${name}`, bytes => bytes.subarray(0, 10))
      await expect(batchesAfterOpen(cut)).rejects.toMatchObject({
        code: 'LOG_CORRUPT',
        detail: expect.stringContaining(name),
      })
    }
  })

  it('never removes a last segment that is cut within its header, or missing, when it held records at the last close', async () => {
    const { disk } = await written(6, 600)
    await batchesAfterOpen(disk)
    const last = disk.paths.findLast(path => path.endsWith('.segment'))!
    expect(last).not.toBe(FIRST)
    const short = damaged(disk, last, bytes => bytes.subarray(0, 33))
    await expect(batchesAfterOpen(short)).rejects.toMatchObject({ code: 'LOG_CORRUPT', data: { file: last } })
    const gone = disk.copy()
    await gone.remove(last)
    await expect(batchesAfterOpen(gone)).rejects.toMatchObject({ code: 'LOG_CORRUPT', data: { file: last } })
  })

  it('refuses records without the file that says how to read them', async () => {
    const { disk } = await written(1)
    await disk.remove(`${PATH}/topics.json`)
    await expect(batchesAfterOpen(disk)).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      detail: expect.stringContaining(PATH),
    })
  })

  it('refuses the segment of another log', async () => {
    const [one, other] = [await written(1), await written(1)]
    one.disk.plant(FIRST, other.disk.bytes(FIRST))
    await expect(batchesAfterOpen(one.disk)).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      detail: expect.stringContaining('another log'),
    })
  })
})

describe('the log’s folder', () => {
  it('is refused where it holds other things, and nothing is written there', async () => {
    const disk = new SimulatedDisk()
    disk.plant(`${PATH}/letter.txt`, Buffer.from('dear'))
    await expect(openEmbeddedLog({ path: PATH, fileSystem: disk })).rejects.toMatchObject({
      code: 'DATA_DIR_INVALID',
      detail: expect.stringContaining('letter.txt'),
    })
    expect(disk.operations).toBe(0)
  })

  it('is refused where it has segments and nothing that says whose', async () => {
    const { disk } = await written(1)
    await disk.remove(`${PATH}/log.json`)
    await expect(batchesAfterOpen(disk)).rejects.toMatchObject({ code: 'DATA_DIR_INVALID' })
  })

  it('is refused where a segment is gone that its sidecar speaks of: positions must not begin anew', async () => {
    const disk = new SimulatedDisk()
    const log = await openEmbeddedLog({ path: PATH, fileSystem: disk })
    await appendMarkers(log, await log.topic(markersContract), 1, 3)
    await log.close()
    await disk.remove(FIRST)
    await expect(batchesAfterOpen(disk)).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      detail: expect.stringContaining('the file is missing'),
    })
  })

  it.each([false, true])(
    'is refused after a kill where the newest segment is gone, the first one too (sealed: %s)',
    async seal => {
      for (const batches of [1, 12]) {
        const disk = new SimulatedDisk()
        const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 700, seal })
        const topic = await log.topic(markersContract)
        for (let n = 1; n <= batches; n++) await appendMarkers(log, topic, n, 3)
        await log.sealed()
        const killed = disk.crash()
        await log.close()
        const newest = killed.paths.findLast(path => path.endsWith('.segment'))!
        await killed.remove(newest)
        await expect(batchesAfterOpen(killed)).rejects.toMatchObject({
          code: 'LOG_CORRUPT',
          detail: expect.stringContaining('the file is missing'),
          data: { file: newest },
        })
      }
    },
  )

  it('is refused where it is a file, or inside of one', async () => {
    const path = mkdtempSync(join(tmpdir(), 'mainstem-log-'))
    writeFileSync(join(path, 'file'), '')
    for (const name of ['file', 'file/inside']) {
      await expect(openEmbeddedLog({ path: join(path, name) })).rejects.toMatchObject({ code: 'DATA_DIR_INVALID' })
    }
    rmSync(path, { recursive: true })
  })

  it('is held by one log at a time, in one process too, and free after close', async () => {
    const root = mkdtempSync(join(tmpdir(), 'mainstem-log-'))
    const path = join(root, 'deep', 'log')
    const log = await openEmbeddedLog({ path })
    await expect(openEmbeddedLog({ path })).rejects.toMatchObject({
      code: 'DATA_DIR_IN_USE',
      detail: expect.stringContaining(String(process.pid)),
    })
    await log.close()
    await (await openEmbeddedLog({ path })).close()
    rmSync(root, { recursive: true })
  })
})
