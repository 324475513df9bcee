import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, KEY_BYTES_MAX, type KeyCodec } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'
import {
  randomBigint,
  randomBytes,
  randomDate,
  randomFloat,
  randomInteger,
  randomText,
} from '../../support/random-schema.ts'

const SEED = Number(process.env['SEED'] ?? 1)

const keyOf = (schema: z.ZodType): KeyCodec => compileContract('keyed', 'table', z.object({ key: schema }), 'key').key

const byText = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
const number = (a: number | bigint | Date, b: number | bigint | Date) => (a < b ? -1 : a > b ? 1 : 0)

interface KeyCase {
  readonly schema: z.ZodType
  readonly value: (random: Random) => unknown
  readonly compare: (a: never, b: never) => number
}

const KEYS: Readonly<Record<string, KeyCase>> = {
  int32: { schema: z.int32(), value: random => randomInteger(random) | 0, compare: number },
  int: { schema: z.int(), value: randomInteger, compare: number },
  bigint: { schema: z.bigint(), value: randomBigint, compare: number },
  float: { schema: z.number(), value: randomFloat, compare: number },
  boolean: { schema: z.boolean(), value: random => random.next() < 0.5, compare: number },
  date: { schema: z.date(), value: randomDate, compare: number },
  string: { schema: z.string(), value: randomText, compare: byText },
  enum: {
    schema: z.enum(['b', 'a', 'ab', 'ü,%']),
    value: random => random.pick(['b', 'a', 'ab', 'ü,%']),
    compare: byText,
  },
  bytes: { schema: z.instanceof(Uint8Array), value: randomBytes, compare: (a, b) => Buffer.compare(a, b) },
}

describe('keys', () => {
  it.each(Object.entries(KEYS))(
    'of type %s are bytes in the order of their values, and text, and back',
    (_, { schema, value, compare }) => {
      const key = keyOf(schema)
      const random = new Random(SEED)
      for (let n = 0; n < 1_500; n++) {
        const [a, b] = [value(random), value(random)]
        const [left, right] = [key.encode(a), key.encode(b)]
        expect(Math.sign(Buffer.compare(left, right))).toBe(Math.sign(compare(a as never, b as never)))
        expect(key.decode(left)).toEqual(a)
        expect(key.encodeFromRow({ key: a })).toEqual(left)
        expect(key.parse(decodeURIComponent(encodeURIComponent(key.format(a))))).toEqual(a)
      }
    },
  )

  it('of several columns are ordered column after column', () => {
    const schema = z.object({ a: z.string(), b: z.int(), c: z.boolean() })
    const { key } = compileContract('keyed', 'table', schema, ['a', 'b', 'c'])
    const random = new Random(SEED)
    const value = () => ({ a: randomText(random), b: random.int(5) - 2, c: random.next() < 0.5 })
    for (let n = 0; n < 1_500; n++) {
      const [x, y] = [value(), value()]
      const order = byText(x.a, y.a) || x.b - y.b || Number(x.c) - Number(y.c)
      expect(Math.sign(Buffer.compare(key.encode(x), key.encode(y)))).toBe(Math.sign(order))
      expect(key.decode(key.encode(x))).toEqual(x)
      expect(key.parse(key.format(x))).toEqual(x)
      expect(key.fromRow({ ...x, other: 1 })).toEqual(x)
    }
  })

  it('refuse text that is no key, and values that are none', () => {
    const malformed: [z.ZodType, string[]][] = [
      [z.int(), ['', 'x', '1.5', '9007199254740993', '1e3', ' 1']],
      [z.int32(), ['2147483648']],
      [z.bigint(), ['', '1n', '0x1']],
      [z.boolean(), ['1', '']],
      [z.date(), ['yesterday', '']],
      [z.enum(['a']), ['b']],
      [z.guid(), ['xyz', '', '0b9c2c1e7a3f4d5e8f601122334455']],
      [z.iso.date(), ['yesterday', '2024-2-3', '']],
      [z.string(), ['%', '%zz']],
    ]
    for (const [schema, texts] of malformed) {
      for (const text of texts)
        expect(() => keyOf(schema).parse(text), text).toThrow(expect.objectContaining({ code: 'KEY_MALFORMED' }))
    }
    for (const [schema, value] of [
      [z.string(), 1],
      [z.string(), false],
      [z.bigint(), 2 ** 60],
    ] as const)
      expect(() => keyOf(schema).fromJson(value)).toThrow(expect.objectContaining({ code: 'KEY_MALFORMED' }))
    for (const [schema, value] of [
      [z.int(), 1.5],
      [z.string(), null],
      [z.date(), new Date(Number.NaN)],
      [z.bigint(), 1],
      [z.string(), undefined],
      [z.string(), '\ud83d'],
    ] as const) {
      expect(() => keyOf(schema).encode(value)).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
    }
    expect(() => keyOf(z.string()).encode('x'.repeat(KEY_BYTES_MAX))).toThrow(
      expect.objectContaining({ code: 'KEY_INVALID' }),
    )
    expect(() => keyOf(z.string().nullable())).toThrow(expect.objectContaining({ code: 'DEFINITION_INVALID' }))
  })
})
