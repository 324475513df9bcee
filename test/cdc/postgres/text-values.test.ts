import { describe, expect, test } from 'vitest'
import { isoTimestamp, parseExactJson, readInteger, readTimestampMs } from '../../../cdc/connector/text-values.ts'
import { parseArray, parseBytea } from '../../../cdc/postgres/text-values.ts'

const bytes = (text: string): [Buffer, number, number] => {
  const padded = Buffer.from(`##${text}##`)
  return [padded, 2, padded.length - 2]
}

describe('integers', () => {
  test.each(['0', '-1', '42', '2147483647', '-999999999999999'])('%s', text => {
    expect(readInteger(...bytes(text))).toBe(Number(text))
  })
  test.each(['', '-', '1.5', '1e3', 'NaN', '1234567890123456', ' 1'])("'%s' is left to others", text => {
    expect(readInteger(...bytes(text))).toBeNaN()
  })
})

describe('timestamps', () => {
  test.each([
    ['2024-02-29 12:34:56+00', '2024-02-29T12:34:56.000Z'],
    ['1969-12-31 23:59:59.999999+00', '1969-12-31T23:59:59.999Z'],
    ['0001-01-01 00:00:00+00', '0001-01-01T00:00:00.000Z'],
    ['0099-12-31 00:00:00.5', '0099-12-31T00:00:00.500Z'],
    ['9999-12-31 23:59:59.001+00', '9999-12-31T23:59:59.001Z'],
  ])('%s', (text, iso) => {
    expect(new Date(readTimestampMs(...bytes(text))).toISOString()).toBe(iso)
  })
  test.each(['infinity', '-infinity', '0044-03-15 12:00:00+00 BC', '12345-01-01 00:00:00+00'])(
    '%s has no Date',
    text => {
      expect(readTimestampMs(...bytes(text))).toBeNaN()
    },
  )
  test('keep their microseconds as text', () => {
    expect(isoTimestamp('2024-02-29 12:34:56.789012+00', 'Z')).toBe('2024-02-29T12:34:56.789012Z')
    expect(isoTimestamp('2024-02-29 12:34:56', '')).toBe('2024-02-29T12:34:56')
    expect(isoTimestamp('infinity', 'Z')).toBe('infinity')
  })
})

describe('JSON', () => {
  test.each([
    '{"a":[1,2.5,-0.30000000000000004]}',
    '1e22',
    '9007199254740991',
    '"12345678901234567890"',
    '1.50000000000000000000',
  ])('%s', text => {
    expect(parseExactJson(text)).toEqual(JSON.parse(text))
  })
  test.each(['9007199254740993', '{"a":{"b":[12345678901234567890]}}', '0.1234567890123456789', '1e999'])(
    '%s would be rounded',
    text => {
      expect(() => parseExactJson(text)).toThrow(/would be rounded/)
    },
  )
})

describe('arrays', () => {
  const text = (item: string) => item
  test('of quoted, empty, NULL and nested elements', () => {
    expect(parseArray('{}', text)).toEqual([])
    expect(parseArray('{a,NULL,"NULL","",b c}', text)).toEqual(['a', null, 'NULL', '', 'b c'])
    expect(parseArray('{"a\\"b","c\\\\d","{,}"}', text)).toEqual(['a"b', 'c\\d', '{,}'])
    expect(parseArray('{{1,2},{3,NULL}}', Number)).toEqual([
      [1, 2],
      [3, null],
    ])
  })
  test('with bounds of their own, or cut short, are refused', () => {
    expect(() => parseArray('[0:1]={1,2}', Number)).toThrow(/bounds/)
    expect(() => parseArray('{1,"2', Number)).toThrow(/ends early/)
  })
})

test('bytea in hex form', () => {
  expect(parseBytea('\\x00ff')).toEqual(new Uint8Array([0, 255]))
  expect(() => parseBytea('abc')).toThrow(/hex/)
})
