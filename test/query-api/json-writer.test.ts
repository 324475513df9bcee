import { expect, test } from 'vitest'
import { z } from 'zod'
import { describeFields, toWire } from '../../core/index.ts'
import { compileWriter, copyValue, typesHeader, wireTypes } from '../../query-api/json-writer.ts'

const schema = z.object({
  int: z.int(),
  'od"d\n name': z.int32(),
  float: z.number(),
  big: z.bigint(),
  text: z.string(),
  flag: z.boolean(),
  at: z.date().nullable(),
  bytes: z.instanceof(Uint8Array),
  status: z.enum(['a', 'b"']),
  nested: z.object({ when: z.date(), deeper: z.object({ id: z.bigint().nullable() }) }).nullable(),
  list: z.array(z.object({ id: z.bigint() })),
  counts: z.record(z.enum(['x', 'y']), z.int32()),
  map: z.map(z.string(), z.bigint()),
  any: z.json(),
})
const type = describeFields(schema, 'output', 'test')
const row = {
  int: -9007199254740991,
  'od"d\n name': 7,
  float: 0.1 + 0.2,
  big: 2n ** 70n,
  text: 'quote " slash \\ newline \n unicode é 🚲 \u2028 lone \ud800',
  flag: false,
  at: new Date('2026-11-01T00:00:00.123Z'),
  bytes: new Uint8Array([0, 255]),
  status: 'b"',
  nested: { when: new Date(0), deeper: { id: null } },
  list: [{ id: 1n }, { id: -1n }],
  counts: { x: 1, y: 2 },
  map: new Map([['k', 9n]]),
  any: { free: ['form', null, 1.5] },
}

test('the generated writer gives the JSON of toWire', () => {
  for (const value of [row, { ...row, at: null, nested: null, float: Number.NaN, list: [] }, { ...row, float: -0 }]) {
    expect(compileWriter(type)(value)).toBe(JSON.stringify(toWire(type, value)))
  }
})

test('optional fields that are absent stay absent', () => {
  const optional = describeFields(
    z.object({ a: z.int().optional(), b: z.string().nullable().optional() }),
    'output',
    'test',
  )
  expect(compileWriter(optional)({})).toBe('{}')
  expect(compileWriter(optional)({ a: 1, b: null })).toBe('{"a":1,"b":null}')
})

test('an object without fields is written', () => {
  expect(compileWriter({ kind: 'object', fields: [] })({})).toBe('{}')
})

test('the types header names what JSON cannot tell, by path', () => {
  expect(wireTypes(type)).toEqual({
    big: 'int64',
    at: 'date-time',
    bytes: 'base64',
    'nested.when': 'date-time',
    'nested.deeper.id': 'int64',
    'list[].id': 'int64',
    map: 'map',
    'map[1]': 'int64',
  })
  expect(typesHeader({})).toBeUndefined()
  expect(typesHeader({ größe: 'int64', 尺: 'map' })).toMatch(/^[\x20-\x7e]*$/)
  expect(JSON.parse(typesHeader({ größe: 'int64' }) ?? '')).toEqual({ größe: 'int64' })
})

test('a copy shares nothing with the row', () => {
  const copy = copyValue(type, row)
  expect(copy).toEqual(row)
  row.nested.when.setTime(5)
  row.list.push({ id: 3n })
  row.map.set('k', 1n)
  row.bytes[0] = 9
  expect(copy).toMatchObject({
    nested: { when: new Date(0) },
    list: [{ id: 1n }, { id: -1n }],
    bytes: new Uint8Array([0, 255]),
  })
  expect(copy).toHaveProperty('map', new Map([['k', 9n]]))
})

test('dates are written as toISOString does, of whatever years and whatever was written before', () => {
  const write = compileWriter({ kind: 'date' })
  const days = [0, 86_399_999, 86_400_000, -1, -86_400_000, Date.UTC(2024, 1, 29, 23, 59, 59, 999), -62_167_219_200_000]
  const all = [...days, -62_167_219_200_001, 253_402_300_799_999, 253_402_300_800_000, 8.64e15, -8.64e15, 1, 86_400_001]
  for (const ms of [...all, ...all.toReversed()]) expect(write(new Date(ms))).toBe(JSON.stringify(new Date(ms)))
})

test('texts are escaped as JSON.stringify does, short and long', () => {
  const write = compileWriter({ kind: 'string' })
  for (let code = 0; code < 0x10000; code += code < 0x100 ? 1 : 0x7f) {
    const char = String.fromCharCode(code)
    for (const text of [char, `a${char}b`, `${'long '.repeat(20)}${char}`])
      expect(write(text)).toBe(JSON.stringify(text))
  }
  for (const text of ['', '\ud800', '\udfff', '🚲', '\u007f\u2028']) expect(write(text)).toBe(JSON.stringify(text))
})

test('a record that lacks one of its names is written without it', () => {
  const counts = describeFields(z.object({ by: z.record(z.enum(['x', 'y']), z.int32()) }), 'output', 'test')
  expect(compileWriter(counts)({ by: { y: 1 } })).toBe('{"by":{"y":1}}')
})
