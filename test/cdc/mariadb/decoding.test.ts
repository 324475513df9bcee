import { describe, expect, test } from 'vitest'
import { readStatement } from '../../../cdc/mariadb/ddl.ts'
import { encodeMysqlSet, mariadbPositions, mysqlPositions } from '../../../cdc/mariadb/gtid.ts'
import { jsonText } from '../../../cdc/mariadb/json-values.ts'
import { PacketReader, packetsOf } from '../../../cdc/mariadb/packets.ts'
import { decimalText, decimalUnits, shortestFloat } from '../../../cdc/mariadb/stored-values.ts'
import { Random } from '../../support/random.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const UUID = '3e11fa47-71ca-11e1-9e33-c80aa9429562'

describe('positions of MariaDB', () => {
  const { parse, format, includes, add, resumeText } = mariadbPositions

  test('are the last transaction of each domain, compared domain by domain', () => {
    const position = parse('1-2-7, 0-1-100')
    expect(format(position)).toBe('0-1-100,1-2-7')
    expect(includes(position, parse('0-9-100'))).toBe(true)
    expect(includes(position, parse('0-1-101'))).toBe(false)
    expect(includes(position, parse('2-1-1'))).toBe(false)
    expect(includes(parse(''), parse(''))).toBe(true)
    expect(format(add(position, { origin: '0', server: 3, sequence: 101 }))).toBe('0-3-101,1-2-7')
  })

  test('with a prepared transaction begin again before it', () => {
    const position = parse('0-1-120;0-1-95')
    expect(format(position)).toBe('0-1-120;0-1-95')
    expect(resumeText(position)).toBe('0-1-94')
    expect(includes(position, parse('0-1-120'))).toBe(true)
  })

  test.each(['x', '0-1', '0-1-2-3', '0/16B3748', `${UUID}:1`])("'%s' is none", text => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'TOKEN_MALFORMED' }))
  })
})

describe('positions of MySQL', () => {
  const { parse, format, includes, add, resumeText } = mysqlPositions

  test('are sets', () => {
    const position = parse(`${UUID.toUpperCase()}:1-5:7-9,\n aaaaaaaa-71ca-11e1-9e33-c80aa9429562:3`)
    expect(format(position)).toBe(`${UUID}:1-5:7-9,aaaaaaaa-71ca-11e1-9e33-c80aa9429562:3`)
    expect(includes(position, parse(`${UUID}:2-4:8`))).toBe(true)
    expect(includes(position, parse(`${UUID}:5-7`))).toBe(false)
    const filled = add(position, { origin: UUID, server: 0, sequence: 6 })
    expect(format(filled)).toBe(`${UUID}:1-9,aaaaaaaa-71ca-11e1-9e33-c80aa9429562:3`)
  })

  test('with a prepared transaction ask for it again', () => {
    expect(resumeText(parse(`${UUID}:1-9;${UUID}:4`))).toBe(`${UUID}:1-3:5-9`)
  })

  test('are sent in binary', () => {
    const bytes = encodeMysqlSet(`${UUID}:1-5:7`)
    expect(bytes.toString('hex')).toBe(
      `0100000000000000${UUID.replaceAll('-', '')}0200000000000000` +
        '01000000000000000600000000000000' +
        '07000000000000000800000000000000',
    )
  })
})

test(`packets come whole, however they are cut (SEED=${SEED})`, () => {
  const random = new Random(SEED)
  const payloads = [0, 1, 300, 70_000, 0xff_fffe, 0xff_ffff, 0xff_ffff + 5].map(bytes =>
    Buffer.alloc(bytes, bytes & 0xff),
  )
  const all = Buffer.concat(payloads.map(payload => packetsOf(payload)))
  const reader = new PacketReader(2 ** 30)
  const seen: [number, number][] = []
  for (let at = 0; at < all.length; ) {
    const chunk = all.subarray(at, at + 1 + random.int(random.pick([3, 1_000, 3_000_000])))
    at += chunk.length
    reader.push(chunk)
    while (reader.next()) seen.push([reader.end - reader.start, reader.bytes[reader.start] ?? 0])
  }
  expect(seen).toEqual(
    payloads.map(payload => [payload.length, payload[0] ?? 0]).map((each, n) => (n === 0 ? [0, seen[0]?.[1]] : each)),
  )
  const strict = new PacketReader(100)
  strict.push(packetsOf(Buffer.alloc(101)))
  expect(() => strict.next()).toThrow(expect.objectContaining({ code: 'SOURCE_VALUE_TOO_LARGE' }))
})

test('decimals are exact', () => {
  // decimal(14,4), as MySQL's manual shows it: 1234567890.1234 and its negative
  const positive = Buffer.from('810dfb38d204d2', 'hex')
  const negative = Buffer.from('7ef204c72dfb2d', 'hex')
  expect(decimalText(positive, 0, 14, 4)).toBe('1234567890.1234')
  expect(decimalText(negative, 0, 14, 4)).toBe('-1234567890.1234')
  expect(decimalUnits(negative, 0, 14, 4)).toBe(-12345678901234)
})

test('a single float is the shortest decimal that it can be', () => {
  for (const value of [0.1, 1 / 3, 16_777_216, 1e-40, -3.402_823_4e38]) {
    const short = shortestFloat(Math.fround(value))
    expect(Math.fround(short)).toBe(Math.fround(value))
    expect(String(short).length).toBeLessThanOrEqual(String(Math.fround(value)).length)
  }
  expect(shortestFloat(Math.fround(0.1))).toBe(0.1)
})

test("MySQL's binary JSON is the text that the server shows", () => {
  const of = (hex: string) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    return jsonText(bytes, 0, bytes.length)
  }
  // {"a": 1, "b": "xy"}: an object of two, 27 bytes
  expect(of('00 0200 1700 1200 0100 1300 0100 05 0100 0c 1400 61 62 02 78 79')).toBe('{"a": 1, "b": "xy"}')
  // [true, null, -1]
  expect(of('02 0300 0d00 04 0100 04 0000 05 ffff')).toBe('[true, null, -1]')
  expect(of('0b 000000000000f03f')).toBe('1.0')
  expect(of('0c 03 c3a9 22')).toBe('"é\\""')
})

describe('statements', () => {
  const named = (name: string, database = 'd') => ({ database, name })
  test.each([
    ['TRUNCATE TABLE t', { kind: 'emptied', tables: [named('t')] }],
    ['truncate `o``dd`.`t` /* x */', { kind: 'emptied', tables: [named('t', 'o`dd')] }],
    [
      '/* hint */ DROP TABLE IF EXISTS `a`, b.c /* generated by server */',
      { kind: 'emptied', tables: [named('a'), named('c', 'b')] },
    ],
    ['DROP TEMPORARY TABLE t', { kind: 'other' }],
    ['DROP DATABASE `x`', { kind: 'database-dropped', database: 'x' }],
    ['CREATE OR REPLACE TABLE t (a int)', { kind: 'emptied', tables: [named('t')] }],
    ['CREATE TABLE IF NOT EXISTS t (a int)', { kind: 'altered', table: named('t'), rows: undefined }],
    ['CREATE INDEX i ON t (a)', { kind: 'other' }],
    [
      "ALTER TABLE t ADD COLUMN c varchar(9) COMMENT 'DROP PARTITION'",
      { kind: 'altered', table: named('t'), rows: undefined },
    ],
    ['alter online table t drop partition p0', { kind: 'altered', table: named('t'), rows: 'drop partition' }],
    [
      "ALTER TABLE t RENAME COLUMN a TO `b c`, CHANGE x y int DEFAULT 'CHANGE v w', change column `if` `if` int, change if exists p q int, RENAME INDEX i TO j",
      {
        kind: 'altered',
        table: named('t'),
        rows: undefined,
        columns: [
          { from: 'a', to: 'b c' },
          { from: 'x', to: 'y' },
          { from: 'p', to: 'q' },
        ],
      },
    ],
    ['ALTER TABLE t RENAME TO u', { kind: 'renamed', from: [named('t')], to: [] }],
    [
      'RENAME TABLE t TO old, x.new TO t',
      { kind: 'renamed', from: [named('t'), named('new', 'x')], to: [named('old'), named('t')] },
    ],
    ['-- a note\nupdate t set a = 1', { kind: 'written' }],
    ['ROLLBACK TO `a`', { kind: 'savepoint' }],
    ["XA COMMIT X'7831',X'',1", { kind: 'xa-commit', xid: "X'7831',X'',1" }],
  ])('%s', (sql, statement) => {
    expect(readStatement(sql, 'd')).toMatchObject(statement)
  })
})
