// Records of a fixed length against the same values written by a DataView.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  type BinaryField,
  type BinaryLayout,
  type BinaryType,
  type Contract,
  compileContract,
  type FileLogOptions,
  openFileLog,
} from '../../../../core/index.ts'
import { Random } from '../../../support/random.ts'
import { SimulatedDisk } from '../../../support/simulated-disk.ts'

const schema = z.object({
  id: z.int(),
  small: z.int32(),
  ratio: z.number(),
  at: z.date(),
  paid: z.boolean(),
  status: z.enum(['new', 'sent', 'back']),
  big: z.bigint(),
  positive: z.int().positive(),
  note: z.string().default('none'),
  maybe: z.int().nullish(),
})
const contract = compileContract('things', 'topic', schema, 'id')

const read = async (
  data: Buffer,
  layout: BinaryLayout,
  of: Contract = contract,
  more: Partial<FileLogOptions> = {},
) => {
  const disk = new SimulatedDisk()
  disk.plant('/f', data)
  const log = await openFileLog({ inputs: [{ contract: of, path: '/f', format: layout }], fileSystem: disk, ...more })
  const rows: AnyRow[] = []
  const positions: number[] = []
  const reader = log.read(0)
  for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) {
    for (const block of blocks) {
      const cursor = block.records()
      while (cursor.next()) {
        rows.push(structuredClone(cursor.lendAfter()!))
        positions.push(cursor.position)
        if (cursor.lender) {
          const { source, row } = cursor.lender
          source.count = 0
          const count = cursor.lendRun()
          for (source.at = 1; source.at < count; source.at++) {
            rows.push(structuredClone(row))
            positions.push(source.positions[source.at]!)
          }
        }
      }
    }
  }
  const { skipped } = log
  await log.close()
  return { rows, positions, skipped }
}

const BYTES: Record<BinaryType, number> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  i64: 8,
  f32: 4,
  f64: 8,
}

function write(view: DataView, at: number, type: BinaryType, value: number | bigint): void {
  const set: Record<string, string> = {
    u8: 'Uint8',
    i8: 'Int8',
    u16: 'Uint16',
    i16: 'Int16',
    u32: 'Uint32',
    i32: 'Int32',
    f32: 'Float32',
    f64: 'Float64',
  }
  if (type === 'u64') view.setBigUint64(at, BigInt(value), true)
  else if (type === 'i64') view.setBigInt64(at, BigInt(value), true)
  else view[`set${set[type]}` as 'setUint32'](at, Number(value), true)
}

/** A value that such a number can hold, within 2^53. */
function numberOf(random: Random, type: BinaryType): number {
  if (type === 'f32') return Math.fround((random.next() - 0.5) * 1e6)
  if (type === 'f64') return (random.next() - 0.5) * 1e12
  const bits = Math.min(BYTES[type] * 8, 53)
  const whole = Math.floor(random.next() * 2 ** bits)
  return type.startsWith('i') ? whole - 2 ** (bits - 1) : whole
}

describe('records of a fixed length', () => {
  it('are read from wherever their fields stand, in any type that holds them', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed)
      const whole: BinaryType[] = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64']
      const types: Record<string, BinaryType> = {
        id: random.pick(whole),
        small: random.pick(['u8', 'i8', 'u16', 'i16', 'i32']),
        ratio: random.pick([...whole, 'f32', 'f64']),
        at: random.pick(['u32', 'i64', 'u64']),
        paid: random.pick(['u8', 'u32']),
        status: random.pick(['u8', 'u16', 'i32', 'f64']),
        big: random.pick(whole),
        positive: random.pick(['u8', 'u32', 'i64', 'f64']),
      }
      let at = 0
      const fields: BinaryField[] = Object.entries(types)
        .sort(() => random.next() - 0.5)
        .map(([field, type]) => {
          const gap = random.pick([0, 0, 3])
          at += gap
          const placed = { field, type, ...(gap > 0 ? { at } : {}) }
          at += BYTES[type]
          return placed
        })
      const stride = at + random.pick([0, 5])
      const count = random.int(700)
      const data = Buffer.alloc(stride * count, 0xaa)
      const view = new DataView(data.buffer, data.byteOffset, data.length)
      const wanted = Array.from({ length: count }, (_, n) => {
        const raw: Record<string, number> = {}
        let place = n * stride
        for (const { field, type, at: own } of fields) {
          place = own === undefined ? place : n * stride + own
          const value = {
            paid: random.int(2),
            status: random.int(3),
            positive: 1 + random.int(100),
            at: random.int(2 ** 31),
          }
          raw[field] = value[field as 'paid'] ?? numberOf(random, type)
          write(view, place, type, raw[field])
          place += BYTES[type]
        }
        return {
          ...raw,
          at: new Date(raw['at']!),
          paid: raw['paid'] === 1,
          status: ['new', 'sent', 'back'][raw['status']!],
          big: BigInt(raw['big']!),
          note: 'none',
          maybe: undefined,
        }
      })
      const layout = { fields, ...(stride === at ? {} : { strideBytes: stride }) }
      const { rows, positions } = await read(data, layout, contract, { chunkBytes: random.pick([1, 999, 262_144]) })
      expect(rows, `seed ${seed}`).toEqual(wanted)
      expect(positions).toEqual(wanted.map((_, n) => (n + 1) * stride))
    }
  })

  const one = { fields: [{ field: 'id', type: 'i64' }] } as const
  const ids = compileContract('ids', 'topic', z.object({ id: z.int() }), 'id')
  const long = (...values: bigint[]) => {
    const data = Buffer.alloc(values.length * 8)
    values.forEach((value, n) => void data.writeBigInt64LE(value, n * 8))
    return data
  }

  it('that are not of the contract are refused with their place, or left out', async () => {
    const data = long(1n, 2n ** 53n, 3n)
    await expect(read(data, one, ids)).rejects.toMatchObject({
      code: 'RECORD_REFUSED',
      detail: expect.stringMatching(/^\/f, byte 8: id: /),
      data: { file: '/f', byte: 8 },
    })
    expect(await read(data, one, ids, { onInvalid: 'skip' })).toEqual({
      rows: [{ id: 1 }, { id: 3 }],
      positions: [8, 24],
      skipped: 1,
    })
    const flags = compileContract('flags', 'topic', z.object({ id: z.int(), on: z.boolean(), of: z.enum(['a']) }), 'id')
    const bytes = { fields: ['id', 'on', 'of'].map(field => ({ field, type: 'u8' as const })) }
    const skipped = await read(Buffer.from([1, 1, 0, 2, 2, 0, 3, 0, 1, 4, 0, 0]), bytes, flags, { onInvalid: 'skip' })
    expect(skipped).toMatchObject({
      rows: [
        { id: 1, on: true, of: 'a' },
        { id: 4, on: false, of: 'a' },
      ],
      skipped: 2,
    })
  })

  it('keep every 64-bit integer as a bigint', async () => {
    const bigs = compileContract('bigs', 'topic', z.object({ id: z.int(), big: z.bigint() }), 'id')
    const values = [0n, -1n, 2n ** 53n, -(2n ** 63n), 2n ** 63n - 1n]
    const layout = {
      fields: [
        { field: 'big', type: 'i64' },
        { field: 'id', type: 'u8', at: 0 },
      ],
    } as const
    expect((await read(long(...values), layout, bigs)).rows.map(row => row['big'])).toEqual(values)
  })

  it('must be whole, and their layout must fit the contract', async () => {
    await expect(read(Buffer.alloc(12), one, ids)).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    const bad: readonly (readonly [BinaryLayout, string])[] = [
      [{ fields: [{ field: 'other', type: 'u8' }] }, "no field 'other'"],
      [{ fields: [] }, '0 bytes'],
      [{ fields: [{ field: 'id', type: 'u12' as 'u8' }] }, "'u12'"],
      [
        {
          fields: [
            { field: 'id', type: 'u8' },
            { field: 'id', type: 'u8' },
          ],
        },
        'twice',
      ],
      [{ fields: [{ field: 'id', type: 'u32' }], strideBytes: 3 }, '3 bytes'],
      [{ fields: [{ field: 'id', type: 'u32', at: -1 }] }, 'begins at -1'],
    ]
    for (const [layout, what] of bad)
      await expect(read(Buffer.alloc(0), layout, ids)).rejects.toMatchObject({
        code: 'DEFINITION_INVALID',
        detail: expect.stringContaining(what),
      })
    const two = compileContract('two', 'topic', z.object({ id: z.int(), name: z.string() }), 'id')
    await expect(read(Buffer.alloc(0), one, two)).rejects.toMatchObject({
      detail: expect.stringContaining("lacks 'name'"),
    })
    const text = { fields: [...one.fields, { field: 'name', type: 'u8' }] } as const
    await expect(read(Buffer.alloc(0), text, two)).rejects.toMatchObject({
      detail: expect.stringContaining('no fixed length'),
    })
  })
})
