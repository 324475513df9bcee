import { describe, expect, test } from 'vitest'
import { NULL, UNCHANGED } from '../../../cdc/connector/image.ts'
import { readCopyRow } from '../../../cdc/postgres/copy.ts'
import { decodePgoutput, type PgoutputHandler, Tuple } from '../../../cdc/postgres/pgoutput.ts'

const int16 = (value: number) => Buffer.from([value >> 8, value & 0xff])
const int32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const int64 = (value: bigint) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}
const column = (value: string | null | undefined) =>
  value === null
    ? 'n'
    : value === undefined
      ? 'u'
      : Buffer.concat([Buffer.from('t'), int32(Buffer.byteLength(value)), Buffer.from(value)])
const message = (...parts: (string | Buffer)[]) => Buffer.concat(parts.map(part => Buffer.from(part as string)))
const tuple = (...values: (string | null | undefined)[]) => message(int16(values.length), ...values.map(column))

const values = (from: Tuple) =>
  Array.from({ length: from.count }, (_, n) =>
    from.kinds[n] === NULL
      ? null
      : from.kinds[n] === UNCHANGED
        ? undefined
        : from.bytes.toString('utf8', from.starts[n], from.ends[n]),
  )

function decode(bytes: Buffer): unknown[] {
  const seen: unknown[] = []
  const handler: PgoutputHandler = {
    begin: (lsn, timeUs, transaction) => seen.push('begin', lsn, timeUs, transaction),
    commit: (lsn, timeUs) => seen.push('commit', lsn, timeUs),
    relation: relation => seen.push(relation),
    insert: (id, after) => seen.push('insert', id, values(after)),
    update: (id, kind, before, after) => seen.push('update', id, kind, kind && values(before), values(after)),
    delete: (id, kind, before) => seen.push('delete', id, kind, values(before)),
    message: (transactional, lsn, prefix, content) =>
      seen.push('message', transactional, lsn, prefix, content.toString()),
  }
  decodePgoutput(bytes, handler)
  return seen
}

describe('pgoutput messages', () => {
  test('begin and commit carry LSNs beyond 2^53 and times in microseconds since 1970', () => {
    expect(decode(message('B', int64(0x7fff_ffff_ffff_fff0n), int64(1n), int32(77)))).toEqual([
      'begin',
      0x7fff_ffff_ffff_fff0n,
      946_684_800_000_001,
      77,
    ])
    expect(decode(message('C', Buffer.from([0]), int64(5n), int64(9n), int64(-1n)))).toEqual([
      'commit',
      9n,
      946_684_799_999_999,
    ])
  })
  test('logical messages, in a transaction and in none', () => {
    const text = (value: string) => Buffer.from(value)
    const content = text('{"ü":1}')
    for (const flag of [0, 1])
      expect(
        decode(message('M', Buffer.from([flag]), int64(9n), text('orders\0'), int32(content.length), content)),
      ).toEqual(['message', flag === 1, 9n, 'orders', '{"ü":1}'])
  })

  test('rows with null, empty, unchanged and multi-byte values', () => {
    expect(decode(message('I', int32(7), 'N', tuple('ü', null, '', undefined)))).toEqual([
      'insert',
      7,
      ['ü', null, '', undefined],
    ])
    expect(decode(message('U', int32(7), 'N', tuple('1')))).toEqual(['update', 7, undefined, undefined, ['1']])
    expect(decode(message('U', int32(7), 'K', tuple('1', null), 'N', tuple('2', 'x')))).toEqual([
      'update',
      7,
      'key',
      ['1', null],
      ['2', 'x'],
    ])
    expect(decode(message('U', int32(7), 'O', tuple('1', 'a'), 'N', tuple('1', 'b')))).toEqual([
      'update',
      7,
      'full',
      ['1', 'a'],
      ['1', 'b'],
    ])
    expect(decode(message('D', int32(7), 'K', tuple('1', null)))).toEqual(['delete', 7, 'key', ['1', null]])
  })
  test('a row of more columns than the cursor had room for', () => {
    const many = Array.from({ length: 1_600 }, (_, n) => String(n))
    expect(decode(message('I', int32(1), 'N', tuple(...many)))).toEqual(['insert', 1, many])
  })
  test('relations', () => {
    const bytes = message(
      'R',
      int32(9),
      'my schema\0',
      't\0',
      'd',
      int16(2),
      Buffer.from([1]),
      'id\0',
      int32(20),
      int32(-1),
      Buffer.from([0]),
      'n\0',
      int32(1700),
      int32(786_438),
    )
    expect(decode(bytes)).toEqual([
      {
        id: 9,
        schema: 'my schema',
        table: 't',
        replicaIdentity: 'd',
        columns: [
          { name: 'id', typeId: 20, typeModifier: -1, isKey: true },
          { name: 'n', typeId: 1700, typeModifier: 786_438, isKey: false },
        ],
      },
    ])
  })
  test('what is not understood is an error, not a guess', () => {
    expect(() => decode(message('Z'))).toThrow(expect.objectContaining({ code: 'SOURCE_PROTOCOL' }))
    expect(() => decode(message('I', int32(7), 'N', int16(1), 'b', int32(1), 'x'))).toThrow(
      expect.objectContaining({ code: 'SOURCE_PROTOCOL' }),
    )
  })
})

test('rows of COPY: tabs, newlines, backslashes, \\N and a text that looks like it', () => {
  const row = new Tuple()
  const read = (text: string) => {
    const bytes = Buffer.from(`before${text}after`)
    readCopyRow(bytes, 6, bytes.length - 5, row)
    return values(row)
  }
  expect(read('1\tabc\t\n')).toEqual(['1', 'abc', ''])
  expect(read('\\N\ta\\tb\\nc\\\\d\\r\t\\\\N\t\\N\n')).toEqual([null, 'a\tb\nc\\d\r', '\\N', null])
  expect(read('ü\\b\\f\\v\n')).toEqual(['ü\b\f\v'])
})
