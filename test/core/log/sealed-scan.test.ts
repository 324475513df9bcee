// Scans say in columns what readers say in records: hot and sealed, of older contracts, and of several topics at once.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  type Column,
  type ColumnBatch,
  compileContract,
  type EmbeddedLog,
  type LogTopic,
  openEmbeddedLog,
  type ScanOptions,
} from '../../../core/index.ts'
import { allRecords } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const open = (disk: SimulatedDisk, seal: boolean) =>
  openEmbeddedLog({ path: '/log', fileSystem: disk, segmentBytesMax: 2_500, seal })

const placed = z.object({
  id: z.int(),
  who: z.string(),
  total: z.int(),
  rate: z.number(),
  big: z.bigint(),
  state: z.enum(['new', 'old']),
  at: z.date(),
  gift: z.boolean(),
  note: z.string().nullable(),
  address: z.object({ city: z.string(), zip: z.int().nullable() }),
})
const placedContract = compileContract('placed', 'topic', placed, 'id')
const paidContract = compileContract('paid', 'topic', z.object({ id: z.int(), cents: z.int() }), 'id')
const stockContract = compileContract('stock', 'table', z.object({ sku: z.string(), left: z.int32() }), 'sku')

const placedRow = (random: Random, id: number): AnyRow => ({
  id,
  who: random.pick(['ann', 'bob', `x${id}`]),
  total: random.int(1e6) - 500_000,
  rate: random.next(),
  big: random.next() < 0.1 ? 2n ** 62n : BigInt(id),
  state: random.pick(['new', 'old']),
  at: new Date(1.7e12 + id),
  gift: random.next() < 0.5,
  note: random.next() < 0.5 ? null : `n${id}`,
  address: { city: random.pick(['Rom', 'Bern']), zip: random.next() < 0.5 ? null : random.int(9999) },
})

interface Filled {
  readonly log: EmbeddedLog
  readonly topics: readonly LogTopic[]
}

async function filled(disk: SimulatedDisk, seal: boolean): Promise<Filled> {
  const log = await open(disk, seal)
  const topics = [await log.topic(placedContract), await log.topic(paidContract), await log.topic(stockContract)]
  const random = new Random(11)
  for (let n = 0; n < 60; n++) {
    const batch = log.batch()
    for (let k = random.int(8); k > 0; k--) {
      const id = n * 10 + k
      const kind = random.int(5)
      if (kind < 3) batch.event(topics[0]!, placedRow(random, id))
      else if (kind < 4) batch.event(topics[1]!, { id, cents: random.int(1e9) })
      else batch.update(topics[2]!, { sku: 'a', left: id }, { sku: 'a', left: id + 1 })
    }
    await batch.commit()
  }
  await log.sealed()
  return { log, topics }
}

const valueAt = (column: Column, n: number): unknown => {
  if (column.present?.[n] === 0) return null
  switch (column.kind) {
    case 'numbers':
      return column.values[n]
    case 'codes':
      return column.dictionary[column.codes[n]!]
    case 'texts':
      return column.text(n)
    case 'bigints':
      return column.bigint(n)
    case 'bytes':
      return column.bytes(n)
  }
}

/** All records of a scan of one topic, as `[position, ...fields]`. */
async function scanned(log: EmbeddedLog, topic: LogTopic, fields: readonly string[], options?: ScanOptions) {
  const rows: unknown[][] = []
  for await (const batch of log.scan(topic, options)) {
    for (const part of batch.parts) {
      const positions = part.positions()
      const columns = fields.map(field => part.column(field))
      for (let n = 0; n < part.count; n++) rows.push([positions[n], ...columns.map(column => valueAt(column, n))])
    }
  }
  return rows
}

const FIELDS = ['id', 'who', 'total', 'rate', 'big', 'state', 'at', 'gift', 'note', 'address.city', 'address.zip']

const asColumns = (row: AnyRow): unknown[] => {
  const { address, at, gift, ...rest } = row as { address: AnyRow; at: Date; gift: boolean } & AnyRow
  const flat: AnyRow = { ...rest, at: at.getTime(), gift: gift ? 1 : 0 }
  return FIELDS.map(name => (name.startsWith('address.') ? address[name.slice(8)] : flat[name]))
}

describe('a scan', () => {
  for (const seal of [true, false]) {
    it(`gives the columns of what a reader gives, of ${seal ? 'sealed' : 'hot'} segments`, async () => {
      const { log, topics } = await filled(new SimulatedDisk(), seal)
      const records = await allRecords(log)
      const expected = records
        .filter(({ topic }) => topic === 'placed')
        .map(({ position, after }) => [position, ...asColumns(after!)])
      expect(await scanned(log, topics[0]!, FIELDS)).toEqual(expected)
      for (const [from, to] of [
        [50, 90],
        [1, 1],
        [77, 1e6],
      ] as const) {
        const within = expected.filter(([position]) => Number(position) >= from && Number(position) <= to)
        expect(await scanned(log, topics[0]!, FIELDS, { from, to })).toEqual(within)
      }
      await log.close()
    })

    it(`steps over several topics in the order of the log, of ${seal ? 'sealed' : 'hot'} segments`, async () => {
      const { log, topics } = await filled(new SimulatedDisk(), seal)
      const seen: unknown[] = []
      const accessor = log.accessor<{ id: number; who: string; note: string | null; cents: number; left: number }>()
      for await (const batch of log.scan(topics, { from: 20 })) {
        accessor.reset(batch)
        while (accessor.next()) {
          const { record, variant } = accessor
          if (variant === 0) seen.push(['placed', record.id, record.who, record.note])
          else if (variant === 1) seen.push(['paid', record.id, record.cents])
          else seen.push(['stock', record.left])
        }
      }
      const expected = (await allRecords(log, 19)).map(({ topic, after }) => {
        if (topic === 'placed') return [topic, after?.['id'], after?.['who'], after?.['note']]
        return topic === 'paid' ? [topic, after?.['id'], after?.['cents']] : [topic, after?.['left']]
      })
      expect(seen).toEqual(expected)
      await log.close()
    })
  }

  it('gives both images of an update', async () => {
    const { log, topics } = await filled(new SimulatedDisk(), true)
    for await (const { parts } of log.scan(topics[2]!)) {
      for (const part of parts) {
        expect(part.op).toBe('update')
        const after = part.column('left')
        const before = part.column('left', 'before')
        for (let n = 0; n < part.count; n++) expect(valueAt(after, n)).toBe(Number(valueAt(before, n)) + 1)
        expect(valueAt(part.column('sku', 'before'), 0)).toBe('a')
      }
    }
    await log.close()
  })

  it('reads records of an older contract by the current one', async () => {
    const disk = new SimulatedDisk()
    const { log } = await filled(disk, true)
    await log.close()
    const again = await open(disk, true)
    const grown = await again.topic(
      compileContract(
        'paid',
        'topic',
        z.object({ cents: z.int(), id: z.int(), method: z.string().default('cash') }),
        'id',
      ),
    )
    const batch = again.batch()
    batch.event(grown, { id: 5, cents: 7, method: 'card' })
    await batch.commit()
    const expected = (await allRecords(again))
      .filter(({ topic }) => topic === 'paid')
      .map(({ position, after }) => [position, after?.['cents'], after?.['method']])
    expect(await scanned(again, grown, ['cents', 'method'])).toEqual(expected)
    expect(expected.at(-1)?.[2]).toBe('card')
    expect(expected[0]?.[2]).toBe('cash')
    await again.close()
  })

  it('reads only the blocks that hold the topic, and names a column that there is not', async () => {
    const { log, topics } = await filled(new SimulatedDisk(), true)
    const other = await log.topic(compileContract('other', 'topic', z.object({ id: z.int() }), 'id'))
    const batches: ColumnBatch[] = []
    for await (const batch of log.scan(other)) batches.push(batch)
    expect(batches).toEqual([])
    for await (const { parts } of log.scan(topics[0]!)) {
      expect(() => parts[0]!.column('nothing')).toThrow("placed has no column 'nothing'")
      break
    }
    await log.close()
  })
})
