// From times to positions, and scans that pass over blocks: against a plain look through all of the log.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  compileContract,
  type EmbeddedLog,
  type File,
  type LogTopic,
  openEmbeddedLog,
} from '../../../core/index.ts'
import type { RangeValue } from '../../../core/log/log.ts'
import { allRecords, blocksOf } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

/** Where the first block of a sealed segment stands: no other part of it does. */
const FIRST_BLOCK = 64

/** Counts the blocks of sealed segments that are read. */
class CountingDisk extends SimulatedDisk {
  blocksRead = 0

  override async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    const file = await super.open(path, mode)
    const read = (into: Buffer, position: number) => {
      if (path.endsWith('.sealed') && position === FIRST_BLOCK) this.blocksRead++
      return file.read(into, position)
    }
    return { ...file, read }
  }

  get sealed(): number {
    return this.paths.filter(path => path.endsWith('.sealed')).length
  }
}

const open = (disk: SimulatedDisk, seal: boolean, clock?: () => number) =>
  openEmbeddedLog({ path: '/log', fileSystem: disk, seal, segmentBytesMax: 2_000, ...(clock ? { clock } : {}) })

describe('positionAt', () => {
  it('is the last position appended at a time or before, in hot segments, sealed ones, and both', async () => {
    for (const seal of [false, true]) {
      const random = new Random(seal ? 3 : 4)
      let now = 10_000
      const log = await open(new SimulatedDisk(), seal, () => (now += random.pick([0, 0, 1, 40]) + 0))
      expect(await log.positionAt(Number.POSITIVE_INFINITY)).toBe(0)
      const topic = await log.topic(compileContract('t', 'topic', z.object({ n: z.int(), text: z.string() }), 'n'))
      for (let n = 0; n < 150; n++) {
        const batch = log.batch()
        for (let left = random.int(4); left > 0; left--) batch.event(topic, { n, text: 'x'.repeat(random.int(60)) })
        await batch.commit({ source: 's', position: String(n) })
        if (n === 120) await log.sealed()
      }
      await log.sealed()
      const blocks = await blocksOf(log)
      const expected = (timeMs: number) =>
        blocks.filter(block => block.appendTimeMs <= timeMs).reduce((_, block) => block.end, 0)
      for (let timeMs = 9_990; timeMs <= now + 2; timeMs += 1 + random.int(3))
        expect(await log.positionAt(timeMs), `at ${timeMs}`).toBe(expected(timeMs))
      expect(await log.positionAt(0)).toBe(0)
      expect(await log.positionAt(Number.POSITIVE_INFINITY)).toBe(log.end)
      await log.close()
    }
  })
})

const things = compileContract(
  'things',
  'table',
  z.object({
    id: z.int(),
    maybe: z.int().nullable(),
    ratio: z.number(),
    at: z.date(),
    big: z.bigint(),
    deep: z.object({ n: z.int() }),
    text: z.string(),
  }),
  'id',
)

function thing(random: Random, id: number): AnyRow {
  return {
    id,
    maybe: id % 40 < 20 ? null : id,
    ratio: id / 3,
    at: new Date(1_000 * id),
    big: id % 50 === 49 ? 2n ** 80n : BigInt(id),
    deep: { n: -id },
    text: 'x'.repeat(random.int(40)),
  }
}

type Ranges = Readonly<Record<string, readonly [RangeValue, RangeValue]>>

const fieldOf = (row: AnyRow, field: string): unknown =>
  field === 'deep.n' ? (row['deep'] as { n: number }).n : row[field]

const isIn = (row: AnyRow | null, ranges: Ranges): boolean =>
  row !== null &&
  Object.entries(ranges).every(([field, [least, greatest]]) => {
    const value = fieldOf(row, field) as number | null
    return value !== null && value >= (least as number) && value <= (greatest as number)
  })

async function scanned(log: EmbeddedLog, topic: LogTopic, within?: Ranges): Promise<Set<number>> {
  const positions = new Set<number>()
  for await (const batch of log.scan(topic, within ? { within } : {}))
    for (const part of batch.parts) for (const position of part.positions()) positions.add(position)
  return positions
}

async function changes(log: EmbeddedLog, count: number): Promise<LogTopic> {
  const random = new Random(1)
  const topic = await log.topic(things)
  for (let n = 0; n < count; n++) {
    const batch = log.batch()
    const row = thing(random, n)
    if (n % 5 === 1) batch.update(topic, row, { ...row, text: 'new' })
    else if (n % 5 === 2) batch.update(topic, thing(random, n + 5), row)
    else if (n % 5 === 3) batch.delete(topic, row)
    else batch.insert(topic, row)
    await batch.commit()
  }
  return topic
}

describe('a scan within ranges', () => {
  it('misses no record that is within, whatever the field, in hot and sealed segments', async () => {
    for (const seal of [false, true]) {
      const disk = new CountingDisk()
      const log = await open(disk, seal)
      const topic = await changes(log, 400)
      await log.sealed()
      const records = await allRecords(log)
      const random = new Random(9)
      for (let round = 0; round < 60; round++) {
        const from = random.int(420)
        const to = from + random.int(30)
        const ranges: Ranges = random.pick<Ranges>([
          { id: [from, to] },
          { maybe: [from, to] },
          { ratio: [from / 3, to / 3] },
          { at: [new Date(from * 1_000), new Date(to * 1_000)] },
          { big: [BigInt(from), BigInt(to)] },
          { big: [2n ** 79n, 2n ** 90n] },
          { 'deep.n': [-to, -from] },
          { id: [from, to], maybe: [to, to] },
        ])
        const expected = records.filter(({ before, after }) => isIn(before, ranges) || isIn(after, ranges))
        const got = await scanned(log, topic, ranges)
        const missed = expected.filter(({ position }) => !got.has(position))
        expect(missed, JSON.stringify(Object.keys(ranges))).toEqual([])
        if (seal && !('big' in ranges)) expect(got.size).toBeLessThan(200)
      }
      await log.close()
    }
  })

  it('reads no block that holds none', async () => {
    const disk = new CountingDisk()
    const log = await open(disk, true)
    const topic = await changes(log, 400)
    await log.sealed()
    const reading = async (within?: Ranges) => {
      disk.blocksRead = 0
      await scanned(log, topic, within)
      return disk.blocksRead
    }
    expect(disk.sealed).toBeGreaterThan(20)
    expect(await reading()).toBe(disk.sealed)
    expect(await reading({ id: [100, 100] })).toBeLessThan(4)
    expect(await reading({ at: [new Date(0), new Date(1)] })).toBe(1)
    expect(await reading({ id: [100, 100], ratio: [0, 1] })).toBe(0)
    expect(await reading({ text: [1, 2] })).toBe(disk.sealed)
    await log.close()
  })

  it('looks through records whose field was another under an older contract', async () => {
    const old = z.object({ id: z.int(), euros: z.int() })
    const disk = new CountingDisk()
    const log = await open(disk, true)
    const before = await log.topic(compileContract('sales', 'topic', old, 'id'))
    for (let id = 0; id < 200; id++) {
      const batch = log.batch()
      batch.event(before, { id, euros: id })
      await batch.commit()
    }
    const how = ({ id, euros }: { id: number; euros: number }) => ({ id, euros: euros + 1_000 })
    const topic = await log.topic(compileContract('sales', 'topic', old, 'id', [{ version: 1, schema: old, how }]))
    await log.sealed()
    expect(await scanned(log, topic, { euros: [1_005, 1_005] })).toContain(6)
    await log.close()
  })

  it('is refused where no topic has the field, or the range is none', async () => {
    const log = await open(new SimulatedDisk(), false)
    const topic = await log.topic(things)
    const failing = (within: Ranges) => expect(scanned(log, topic, within)).rejects
    await failing({ ids: [1, 2] }).toMatchObject({ code: 'REQUEST_INVALID', message: expect.stringContaining("'ids'") })
    await failing({ id: [2, 1] }).toMatchObject({ code: 'REQUEST_INVALID' })
    await failing({ id: [Number.NaN, 1] }).toMatchObject({ code: 'REQUEST_INVALID' })
    await log.close()
  })
})
