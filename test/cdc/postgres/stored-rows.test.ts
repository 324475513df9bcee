import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Image, NULL, UNCHANGED, VALUE } from '../../../cdc/connector/image.ts'
import { createRowReader } from '../../../cdc/postgres/columns.ts'
import type { PgType } from '../../../cdc/postgres/types.ts'
import { ByteReader, ByteWriter, compileContract, minorUnits } from '../../../core/index.ts'

const type = (name: PgType['class']): PgType => ({ class: name, name })

/** A row whose columns stand one after the other: null, undefined for what the server left out, or a text. */
function imageOf(values: readonly (string | null | undefined)[]): Image {
  const image = new Image()
  image.bytes = Buffer.from(values.map(value => value ?? '').join(''))
  image.count = values.length
  let at = 0
  for (const [n, value] of values.entries()) {
    image.kinds[n] = value === null ? NULL : value === undefined ? UNCHANGED : VALUE
    image.starts[n] = at
    at += Buffer.byteLength(value ?? '')
    image.ends[n] = at
  }
  return image
}

/** Type, schema, and texts with the values that they are. */
const COLUMNS: readonly (readonly [PgType['class'], z.ZodType, Readonly<Record<string, unknown>>])[] = [
  ['int4', z.int32(), { '0': 0, '-0': 0, '2147483647': 2147483647, '-2147483648': -2147483648 }],
  ['int8', z.int(), { '123456789012345': 123456789012345, '-9007199254740991': -9007199254740991 }],
  ['int8', z.bigint(), { '5': 5n, '9223372036854775807': 9223372036854775807n }],
  ['float8', z.number(), { '1.5': 1.5, '-0.25': -0.25, '1e+300': 1e300 }],
  ['bool', z.boolean(), { t: true, f: false }],
  [
    'text',
    z.string(),
    { '': '', plain: 'plain', 'Grüße 🌊': 'Grüße 🌊', [`long ${'x'.repeat(500)}`]: `long ${'x'.repeat(500)}` },
  ],
  ['text', z.enum(['new', 'paid', 'bézahlt']), { new: 'new', paid: 'paid', bézahlt: 'bézahlt' }],
  ['text', z.enum(Array.from({ length: 40 }, (_, n) => `v${n}`) as [string]), { v0: 'v0', v39: 'v39' }],
  [
    'text',
    z
      .string()
      .max(5)
      .transform(text => text.toUpperCase()),
    { abc: 'ABC' },
  ],
  ['timestamptz', z.string(), { '2024-02-29 12:34:56.789+00': '2024-02-29T12:34:56.789Z' }],
  [
    'timestamptz',
    z.date(),
    {
      '2024-02-29 12:34:56.789012+00': new Date('2024-02-29T12:34:56.789Z'),
      '0001-01-01 00:00:00+00': new Date('0001-01-01T00:00:00Z'),
      '1969-12-31 23:59:59.999999+00': new Date('1969-12-31T23:59:59.999Z'),
    },
  ],
  ['numeric', minorUnits(2), { '12.34': 1234, '-0.5': -50 }],
  ['json', z.unknown(), { '{"a": [1, null]}': { a: [1, null] }, null: null }],
  ['bytea', z.instanceof(Uint8Array), { '\\x00ff': new Uint8Array([0, 255]) }],
]

describe('a row is written from bytes as its contract writes the values', () => {
  for (const [name, schema, texts] of COLUMNS) {
    for (const [form, of] of [
      ['as it is', schema],
      ['nullable', schema.nullable()],
      ['nullish', schema.nullish()],
    ] as const) {
      it(`${name} as ${schema._zod.def.type}, ${form}`, () => {
        const contract = compileContract('t', 'table', z.object({ id: z.int32(), v: of }), 'id')
        const reader = createRowReader(contract, [
          { name: 'id', type: type('int4') },
          { name: 'v', type: type(name) },
        ])
        const rows = Object.entries(texts).map(([text, value]) => [text as string | null, value] as const)
        if (form !== 'as it is') rows.push([null, null])
        for (const [text, value] of rows) {
          const [to, expected] = [new ByteWriter(), new ByteWriter()]
          to.u8(9)
          const key = reader.write(to, imageOf(['7', text]))
          expected.u8(9)
          contract.codec.encode(expected, { id: 7, v: value })
          expect([key, to.copy()]).toEqual([contract.key.encode(7), expected.copy()])
          // What the server left out is what it was.
          const filled = new ByteWriter()
          const row = contract.codec.decode(new ByteReader(expected.buffer, 1))
          reader.write(filled, imageOf(['7', undefined]), { row, raw: undefined, old: undefined, key: undefined })
          expect(filled.copy()).toEqual(expected.copy().subarray(1))
        }
      })
    }
  }

  it.each([
    ['int4', z.int32(), '2147483648'],
    ['int8', z.int(), '9007199254740993'],
    ['text', z.enum(['new', 'paid']), 'pai'],
    ['text', z.string().max(3), 'long'],
    ['timestamptz', z.date(), 'infinity'],
    ['float8', z.number(), 'NaN'],
    ['text', z.string(), null],
  ] as const)('and nothing of it where it is refused: %s', (name, schema, text) => {
    const contract = compileContract('t', 'table', z.object({ id: z.int32(), v: schema }), 'id')
    const reader = createRowReader(contract, [
      { name: 'id', type: type('int4') },
      { name: 'v', type: type(name) },
    ])
    const to = new ByteWriter()
    to.u8(9)
    expect(reader.write(to, imageOf(['7', text]))).toBeUndefined()
    expect(to.copy()).toEqual(Buffer.of(9))
    expect(reader.refused(imageOf(['7', text]))).toMatchObject({ keyText: '7', raw: { id: '7', v: text } })
  })
})
