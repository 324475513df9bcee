import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ByteReader, ByteWriter, createRowCodec, describeFields } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'
import { randomObject } from '../../support/random-schema.ts'

const SEED = Number(process.env['SEED'] ?? 1)

describe('the row codec', () => {
  it('gives back every value of every schema, and reads exactly what it wrote', () => {
    for (let seed = SEED; seed < SEED + 300; seed++) {
      const random = new Random(seed)
      const { schema, value } = randomObject(random)
      const codec = createRowCodec(describeFields(schema, 'output', 'row'))
      const rows = Array.from({ length: 8 }, () => value(random))
      const writer = new ByteWriter(1)
      for (const row of rows) codec.encode(writer, row)
      const reader = new ByteReader(writer.copy())
      for (const row of rows) expect(codec.decode(reader), `seed ${seed}`).toEqual(row)
      expect(reader.at, `seed ${seed}`).toBe(writer.at)
    }
  })

  it('refuses every value of another type, naming the field, and keeps nothing of the row', () => {
    const shape = {
      int32: z.int32(),
      int: z.int(),
      float: z.number(),
      bigint: z.bigint(),
      boolean: z.boolean(),
      date: z.date(),
      string: z.string(),
      enum: z.enum(['a', 'b']),
      bytes: z.instanceof(Uint8Array),
      list: z.array(z.int()),
      map: z.map(z.string(), z.int()),
    }
    const good = {
      int32: -5,
      int: 2 ** 40,
      float: 0.5,
      bigint: 7n,
      boolean: true,
      date: new Date(1),
      string: 's',
      enum: 'a',
      bytes: new Uint8Array([1]),
      list: [1],
      map: new Map([['k', 1]]),
    }
    const bad: Record<keyof typeof shape, readonly unknown[]> = {
      int32: [2 ** 31, 0.5, '1', null, undefined, Number.NaN, 1n],
      int: [2 ** 53, 1.5, '1', Number.POSITIVE_INFINITY],
      float: [Number.NaN, Number.NEGATIVE_INFINITY, '1', null],
      bigint: [1, '1', null],
      boolean: [0, 'true', null],
      date: [new Date(Number.NaN), 0, '2020-01-01', null],
      string: [1, null, new String('s'), 'half \ud83d'],
      enum: ['c', 0, null, undefined],
      bytes: [[1], 'x', new ArrayBuffer(1)],
      list: [{ length: 1 }, [1, 'x'], null],
      map: [{}, [], new Map([[1, 1]]), new Map([['k', 'v']])],
    }
    const codec = createRowCodec(describeFields(z.object(shape), 'output', 'row'))
    const writer = new ByteWriter(16)
    codec.encode(writer, good)
    const { at } = writer
    for (const [field, values] of Object.entries(bad)) {
      for (const value of values) {
        const refused = expect.objectContaining({ code: 'RECORD_REFUSED', message: expect.stringContaining(field) })
        expect(() => codec.encode(writer, { ...good, [field]: value }), `${field}: ${String(value)}`).toThrow(refused)
        expect(writer.at).toBe(at)
      }
    }
    expect(codec.decode(new ByteReader(writer.copy()))).toEqual(good)
  })

  it('answers bytes that end early, or are any bytes, with an error or a value, never worse', () => {
    for (let seed = SEED; seed < SEED + 100; seed++) {
      const random = new Random(seed)
      const { schema, value } = randomObject(random)
      const codec = createRowCodec(describeFields(schema, 'output', 'row'))
      const writer = new ByteWriter()
      codec.encode(writer, value(random))
      const bytes = writer.copy()
      for (let n = 0; n < 20; n++) {
        const damaged = Buffer.from(
          bytes.subarray(0, random.next() < 0.5 ? random.int(bytes.length + 1) : bytes.length),
        )
        if (damaged.length > 0) damaged[random.int(damaged.length)] = random.int(256)
        try {
          codec.decode(new ByteReader(damaged))
        } catch (error) {
          expect(error, `seed ${seed}`).toBeInstanceOf(Error)
        }
      }
    }
  })
})
