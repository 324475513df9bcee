import { expect, test } from 'vitest'
import { formatLogToken, formatSourceToken, parseToken } from '../../query-api/index.ts'

const id = '0f2c9a1e-0000-4000-8000-000000000001'
const codeOf = (text: string): unknown => {
  try {
    return parseToken(text, id)
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error
  }
}

test('a token of the log says its position', () => {
  expect(formatLogToken(id, 42)).toBe(`m1.${id}.log.42`)
  expect(parseToken(formatLogToken(id, 42), id)).toEqual({ kind: 'log', position: 42 })
})

test('digits alone are a position of the log', () => {
  expect(parseToken('0', id)).toEqual({ kind: 'log', position: 0 })
  expect(parseToken('1010233', id)).toEqual({ kind: 'log', position: 1010233 })
})

test('a token of a source says its own position, readable and with every character kept', () => {
  expect(formatSourceToken(id, 'shop', '0/1A2B4F0')).toBe(`m1.${id}.shop.0/1A2B4F0`)
  const gtids = '3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5,4A:1.2 %'
  const token = formatSourceToken(id, 'mysql', gtids)
  expect(token).not.toContain(',')
  expect(parseToken(token, id)).toEqual({ kind: 'source', source: 'mysql', position: gtids })
})

test('the shorthand of a source needs no log id', () => {
  expect(parseToken('shop:0/1A2B4F0', id)).toEqual({ kind: 'source', source: 'shop', position: '0/1A2B4F0' })
  expect(parseToken('my:1-2-3:4', id)).toEqual({ kind: 'source', source: 'my', position: '1-2-3:4' })
})

test('a token of another log is refused as such', () => {
  expect(codeOf('m1.other.log.1')).toBe('TOKEN_OTHER_LOG')
  expect(codeOf('m1.other.shop.0/1')).toBe('TOKEN_OTHER_LOG')
})

test.each([
  '',
  ' ',
  'shop',
  'shop:',
  ':0/1',
  'm1',
  'm1.',
  `m1.${id}`,
  `m1.${id}.log`,
  `m1.${id}.log.`,
  `m1.${id}.log.x`,
  `m1.${id}.log.-1`,
  `m1.${id}.log.1.5`,
  `m1.${id}.shop.%zz`,
  '-1',
  '1.5',
  '99999999999999999999',
  '9007199254740993',
  'shop:%E0%A4%A',
  '\u0000',
])('%j is malformed', text => {
  expect(codeOf(text)).toBe('TOKEN_MALFORMED')
})
