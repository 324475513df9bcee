// Columns of sealed blocks that are unpacked when they are asked for: sections whose checksums are right and that do not unpack
// all the same say when that happens, and what then becomes of the error.
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, type LogBlock, openEmbeddedLog } from '../../../core/index.ts'
import { repaired } from '../../support/log-fuzz.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const FOLDER = '/log'
const EVENTS = 200
const SEGMENT_HEADER_BYTES = 64
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])

const visits = compileContract(
  'visits',
  'topic',
  z.object({ id: z.int(), page: z.string(), note: z.string().nullable(), tags: z.array(z.string()) }),
  'id',
)
const visit = (id: number) => ({
  id,
  page: `/catalogue/of/many/things/${id}`,
  note: id % 3 ? `a note that is written about ${id}` : null,
  tags: ['one that is common', `number ${id}`],
})

const open = (disk: SimulatedDisk): Promise<EmbeddedLog> =>
  openEmbeddedLog({ path: FOLDER, fileSystem: disk, segmentBytesMax: 12_000, seal: true })

/** Several sealed segments, a block in each. */
async function sealedLog(): Promise<{ disk: SimulatedDisk; files: readonly string[] }> {
  const disk = new SimulatedDisk()
  const log = await open(disk)
  const topic = await log.topic(visits)
  for (let from = 0; from < 3 * EVENTS; from += EVENTS) {
    const batch = log.batch()
    for (let id = from; id < from + EVENTS; id++) batch.event(topic, visit(id))
    await batch.commit()
  }
  await log.sealed()
  await log.close()
  return { disk, files: disk.paths.filter(path => path.endsWith('.sealed')).sort() }
}

/** The file with a packed section of its first block, the n-th, made one that does not unpack, its checksums right. */
function forged(bytes: Buffer, n: number): Buffer | undefined {
  const changed = Buffer.from(bytes)
  const seed = crc32(bytes.subarray(0, SEGMENT_HEADER_BYTES))
  const block = bytes.indexOf('MSCB')
  const head = bytes.subarray(block, bytes.indexOf(ZSTD_MAGIC, block))
  let at = block
  for (let left = n; left >= 0; left--) {
    at = bytes.indexOf(ZSTD_MAGIC, at + 1)
    if (at < 0) return undefined
  }
  for (let end = at + 8; end <= bytes.length; end++) {
    const sum = Buffer.alloc(4)
    sum.writeUInt32LE(crc32(bytes.subarray(at, end), seed))
    let place = head.indexOf(sum)
    if (place < 0) continue
    // Of sections that are equal the table names each, in their order.
    const section = bytes.subarray(at, end)
    for (let same = bytes.indexOf(section, block); same < at; same = bytes.indexOf(section, same + 1))
      place = head.indexOf(sum, place + 1)
    changed[at]! ^= 0xff
    changed.writeUInt32LE(crc32(changed.subarray(at, end), seed), block + place)
    return repaired(changed, '.sealed')
  }
  return undefined
}

type Field = keyof ReturnType<typeof visit>
const FIELDS: readonly Field[] = ['id', 'page', 'note', 'tags']

const isDamage = (file: string) =>
  expect.objectContaining({ code: 'LOG_CORRUPT', data: { file, offset: SEGMENT_HEADER_BYTES } })

/** Asks every record of some blocks for some fields. */
function ask(blocks: readonly LogBlock[], fields: readonly Field[]): void {
  for (const block of blocks) {
    const records = block.records()
    while (records.next()) {
      const row = records.lendAfter()!
      for (const field of fields) void row[field]
      records.recall()
    }
  }
}

/** The disk with one section of one file forged, for each of the file's sections that are packed. */
function* forgeries(disk: SimulatedDisk, file: string): Generator<SimulatedDisk> {
  for (let n = 0; ; n++) {
    const bytes = forged(disk.bytes(file), n)
    if (!bytes) return
    const copy = disk.copy()
    copy.plant(file, bytes)
    yield copy
  }
}

/** What reading a field of the second block says, after `before` were asked for in the first. */
async function secondBlock(disk: SimulatedDisk, before: readonly Field[], field: Field) {
  const log = await open(disk)
  try {
    const reader = log.read(0)
    ask((await reader.next())!, before)
    let ahead: unknown
    let late: unknown
    const blocks = await reader.next().catch(error => {
      ahead = error
      return []
    })
    try {
      ask(blocks!, [field])
    } catch (error) {
      late = error
    }
    return { ahead, late }
  } finally {
    await log.close()
  }
}

describe('the columns of sealed blocks', () => {
  it('are unpacked when first asked for, and ahead once they were: damage is LOG_CORRUPT with file and byte either way', async () => {
    const { disk, files } = await sealedLog()
    expect(files.length).toBeGreaterThan(1)
    const damaged = new Set<Field>()
    for (const copy of forgeries(disk, files[1]!)) {
      for (const field of FIELDS) {
        const unasked = await secondBlock(copy, [], field)
        expect(unasked.ahead).toBeUndefined()
        const asked = await secondBlock(copy, [field], field)
        if (!unasked.late) {
          expect(asked).toEqual({ ahead: undefined, late: undefined })
          continue
        }
        damaged.add(field)
        expect(unasked.late).toEqual(isDamage(files[1]!))
        expect(asked).toEqual({ ahead: isDamage(files[1]!), late: undefined })
      }
    }
    expect([...damaged].sort()).toEqual(['note', 'page', 'tags'])
  })

  it('are LOG_CORRUPT for rows that are decoded whole', async () => {
    const { disk, files } = await sealedLog()
    let found = 0
    for (const copy of forgeries(disk, files[0]!)) {
      const log = await open(copy)
      try {
        const [block] = (await log.read(0).next())!
        const records = block!.records()
        const decode = () => {
          while (records.next()) records.after()
        }
        expect(decode).toThrow(isDamage(files[0]!))
        found++
      } finally {
        await log.close()
      }
    }
    expect(found).toBeGreaterThan(2)
  })
})
