import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { minorUnits } from '../../../core/index.ts'
import { createMariadbDatabase, type MariadbServer } from '../../support/mariadb.ts'
import { expectExact } from '../round-trip.ts'
import { SERVERS } from './servers.ts'
import { Captured, source } from './support.ts'

const row = z.object({
  id: z.bigint(),
  tiny: z.int32().nullable(),
  utiny: z.int32().nullable(),
  small: z.int32().nullable(),
  medium: z.int32().nullable(),
  umedium: z.int32().nullable(),
  uint: z.int().nullable(),
  safe: z.int().nullable(),
  huge: z.string().nullable(),
  price: minorUnits(2).nullable(),
  wide: minorUnits(10, { bigint: true }).nullable(),
  digits: z.string().nullable(),
  whole: z.bigint().nullable(),
  ratio: z.number().nullable(),
  single: z.number().nullable(),
  yes: z.boolean().nullable(),
  flag: z.boolean().nullable(),
  bits: z.int().nullable(),
  bit_text: z.string().nullable(),
  words: z.string().nullable(),
  latin: z.string().nullable(),
  cyrillic: z.string().nullable(),
  wide_chars: z.string().nullable(),
  padded: z.string().nullable(),
  long_text: z.string().nullable(),
  packed: z.string().nullable(),
  at: z.date().nullable(),
  at_us: z.iso.datetime().nullable(),
  local_us: z.iso.datetime({ local: true }).nullable(),
  local_ms: z.date().nullable(),
  day: z.iso.date().nullable(),
  tod: z.string().nullable(),
  span: z.string().nullable(),
  years: z.int32().nullable(),
  uid: z.guid().nullable(),
  uid1: z.guid().nullable(),
  uid4: z.guid().nullable(),
  uid7: z.guid().nullable(),
  address: z.string().nullable(),
  address4: z.string().nullable(),
  doc: z.json(),
  docb: z.object({ a: z.number(), b: z.array(z.string()) }).nullable(),
  bytes: z.instanceof(Uint8Array).nullable(),
  fixed: z.instanceof(Uint8Array).nullable(),
  mood: z.enum(['ok', 'so so', "it's é"]).nullable(),
  moods: z.array(z.enum(['ok', 'so so', "it's é"])).nullable(),
})

const TABLE = `create table everything (
  id bigint primary key, tiny tinyint, utiny tinyint unsigned, small smallint, medium mediumint, umedium mediumint unsigned,
  uint int unsigned, safe bigint, huge bigint unsigned, price decimal(12,2), wide decimal(40,10), digits decimal(65,30),
  whole decimal(20,0), ratio double, single float, yes boolean, flag bit(1), bits bit(40), bit_text bit(12),
  words varchar(300), latin varchar(20) character set latin1, cyrillic char(10) character set cp1251,
  wide_chars varchar(10) character set utf16, padded char(5), long_text longtext, packed varchar(500) compressed,
  at timestamp(3) null, at_us timestamp(6) null, local_us datetime(6), local_ms datetime(4), day date, tod time, span time(5),
  years year, uid uuid, uid1 uuid, uid4 uuid, uid7 uuid, address inet6, address4 inet4, doc json, docb json, bytes mediumblob, fixed binary(6),
  mood enum('ok', 'so so', 'it''s é') character set latin1, moods set('ok', 'so so', 'it''s é'), ignored point
) character set utf8mb4`

const LONG = 'x'.repeat(70_000)

const FULL = `(9223372036854775807, -128, 255, -32768, -8388608, 16777215, 4294967295, -9007199254740991, 18446744073709551615,
  -1234567890.05, 123456789012345678901234567890.0123456789, -12345678901234567890123.098765432109876543210987654321,
  -99999999999999999999, 0.1, 0.1, true, b'1', b'1000000000000000000000000000000000000001', b'101',
  'tab\\there é中 😀', 'é€', 'привет', 'é😀', 'ab', '${LONG}', '${'é'.repeat(200)}',
  '2024-02-29 10:34:56.789', '2024-02-29 10:34:56.789012', '1999-12-31 23:59:59.999999', '1969-12-31 23:59:59.9999', '1000-01-01',
  '23:59:59', '-838:59:58.00001', 2155, '00000000-1111-2222-3333-444444444444',
  '58e0a7d7-eebc-11d8-9669-0800200c9a66', '7d2c6f3a-5b1e-4f0a-9c3d-2b8a1e6f4d00', '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', '2001:db8::ff00:42:8329', '10.0.0.255',
  '{"big": 9007199254740991, "x": [null, 1.5]}', '{"a": 1e3, "b": ["ü"]}', x'00ff10', x'0102', 'it''s é', 'ok,it''s é',
  point(1, 2))`

const EXPECTED = {
  id: 9223372036854775807n,
  tiny: -128,
  utiny: 255,
  small: -32768,
  medium: -8388608,
  umedium: 16777215,
  uint: 4294967295,
  safe: -9007199254740991,
  huge: '18446744073709551615',
  price: -123456789005,
  wide: 1234567890123456789012345678900123456789n,
  digits: '-12345678901234567890123.098765432109876543210987654321',
  whole: -99999999999999999999n,
  ratio: 0.1,
  single: 0.1,
  yes: true,
  flag: true,
  bits: 2 ** 39 + 1,
  bit_text: '000000000101',
  words: 'tab\there é中 😀',
  latin: 'é€',
  cyrillic: 'привет',
  wide_chars: 'é😀',
  padded: 'ab',
  long_text: LONG,
  packed: 'é'.repeat(200),
  at: new Date('2024-02-29T10:34:56.789Z'),
  at_us: '2024-02-29T10:34:56.789012Z',
  local_us: '1999-12-31T23:59:59.999999',
  local_ms: new Date('1969-12-31T23:59:59.999Z'),
  day: '1000-01-01',
  tod: '23:59:59',
  span: '-838:59:58.00001',
  years: 2155,
  uid: '00000000-1111-2222-3333-444444444444',
  uid1: '58e0a7d7-eebc-11d8-9669-0800200c9a66',
  uid4: '7d2c6f3a-5b1e-4f0a-9c3d-2b8a1e6f4d00',
  uid7: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
  address: '2001:db8::ff00:42:8329',
  address4: '10.0.0.255',
  doc: { big: 9007199254740991, x: [null, 1.5] },
  docb: { a: 1000, b: ['ü'] },
  bytes: new Uint8Array([0, 255, 16]),
  fixed: new Uint8Array([1, 2, 0, 0, 0, 0]),
  mood: "it's é",
  moods: ['ok', "it's é"],
}

const EMPTY = {
  ...Object.fromEntries(Object.keys(EXPECTED).map(name => [name, null])),
  id: -9223372036854775808n,
  words: '',
  bytes: new Uint8Array(),
  fixed: new Uint8Array(6),
  moods: [],
  span: '-00:00:00.50000',
}

/** What MySQL has not is kept as text, and its JSON is binary. */
const TABLE_OF = {
  MariaDB: TABLE,
  MySQL: TABLE.replaceAll(/(uid[147]?) uuid/g, '$1 char(36)')
    .replaceAll(/(address4?) inet./g, '$1 varchar(40)')
    .replace(' compressed', ''),
}

const IMAGES = [
  ['plain', {}],
  ['minimal', { binlog_row_image: "'MINIMAL'" }],
  ['noblob', { binlog_row_image: "'NOBLOB'" }],
] as const
const COMPRESSED = ['compressed', { log_bin_compress: 'ON', log_bin_compress_min_len: '10' }] as const

describe.each(SERVERS)('column types of $name', ({ name: kind, isMissing, open }) => {
  describe.skipIf(isMissing())('arrive exactly', () => {
    let server: MariadbServer
    beforeAll(async () => {
      server = await open({ 'default-time-zone': '+05:00' })
    })
    afterAll(() => server?.stop())

    test.each<readonly [string, Readonly<Record<string, string>>]>(
      kind === 'MariaDB' ? [...IMAGES, COMPRESSED] : IMAGES,
    )('from the snapshot and from a %s binary log', async (_, settings) => {
      const url = await createMariadbDatabase(server)
      const db = source(url)
      const captured = new Captured(db, url, [db.table('everything', { key: 'id', row })])
      try {
        for (const [name, value] of Object.entries(settings)) await captured.run(`set global ${name} = ${value}`)
        await captured.run(
          TABLE_OF[kind],
          `set time_zone = '+00:00'; insert into everything values ${FULL}`,
          `insert into everything (id, words, bytes, fixed, moods, span) values (-9223372036854775808, '', '', '', '', '-00:00:00.5')`,
        )
        await expectExact(captured, [EMPTY, EXPECTED])
        await captured.run('update everything set small = 7')
        await captured.level()
        expect(captured.connector.parked(10)).toEqual([])
        expect(await captured.rows('everything')).toEqual([
          { ...EMPTY, small: 7 },
          { ...EXPECTED, small: 7 },
        ])
      } finally {
        if ('log_bin_compress' in settings) await captured.run('set global log_bin_compress = OFF')
        await captured.run("set global binlog_row_image = 'FULL'")
        await captured.close()
      }
    })

    test('or the row is parked: zeros for dates, too large, too long, from the snapshot and from the stream', async () => {
      const url = await createMariadbDatabase(server)
      const db = source(url)
      const strict = z.object({
        id: z.int(),
        at: z.date().nullable(),
        day: z.iso.date().nullable(),
        n: z.int32().nullable(),
        name: z.string().max(3).nullable(),
      })
      const captured = new Captured(db, url, [db.table('strict', { key: 'id', row: strict })])
      const rows = (from: number) =>
        `set sql_mode = ''; insert into strict values (${from + 1}, '0000-00-00 00:00:00', null, 1, 'a'), (${from + 2}, null, '0000-00-00', 1, 'a'),
           (${from + 3}, null, '2024-00-01', 1, 'a'), (${from + 4}, null, null, 3000000000, 'a'), (${from + 5}, null, null, 1, 'abcd'),
           (${from + 6}, '2024-02-29 10:00:00', '2024-02-29', -1, 'abc'), (${from} + 9007199254740993, null, null, null, null)`
      const accepted = { at: new Date('2024-02-29T10:00:00Z'), day: '2024-02-29', n: -1, name: 'abc' }
      try {
        await captured.run(
          'create table strict (id bigint primary key, at datetime(3), day date, n bigint, name varchar(10))',
          rows(0),
        )
        await captured.start()
        await captured.level()
        await captured.run(rows(10))
        await captured.level()
        expect(await captured.rows('strict')).toEqual([
          { id: 16, ...accepted },
          { id: 6, ...accepted },
        ])
        const parked = captured.connector.parked(100)
        const wrong = (id: number) => parked.find(({ key }) => key === String(id))?.error.split(':')[0]
        for (const from of [0, 10])
          expect([1, 2, 3, 4, 5].map(n => wrong(from + n))).toEqual(['at', 'day', 'day', 'n', 'name'])
        expect(parked.filter(({ error }) => error.startsWith('id: '))).toHaveLength(2)
      } finally {
        await captured.close()
      }
    })

    test.skipIf(kind === 'MariaDB')('JSON, which MySQL keeps and logs in a form of its own', async () => {
      const url = await createMariadbDatabase(server)
      const db = source(url)
      const doc = z.object({ id: z.int32(), doc: z.json() })
      const captured = new Captured(db, url, [db.table('everything', { key: 'id', row: doc })])
      try {
        await captured.run(
          'create table everything (id int primary key, doc json)',
          `insert into everything values ${DOCUMENTS.map(([sql], n) => `(${n + 1}, ${sql})`).join(', ')}`,
        )
        await expectExact(
          captured,
          DOCUMENTS.map(([, value], n) => ({ id: n + 1, doc: value })).sort((a, b) =>
            String(a.id) < String(b.id) ? -1 : 1,
          ),
        )
        expect((await captured.audit()).equal).toBe(true)
      } finally {
        await captured.close()
      }
    })
  })
})

const long = (count: number) => Array.from({ length: count }, (_, n) => n * 3)
/** SQL of a document, and what it is. */
const DOCUMENTS: readonly (readonly [sql: string, value: unknown])[] = [
  ['null', null],
  [`'{}'`, {}],
  [`'[]'`, []],
  [`'"text é 😀 \\\\" \\\\\\\\ \\\\n"'`, 'text é 😀 " \\ \n'],
  [`'true'`, true],
  [
    `'[0, -1, 32767, -32768, 65535, 65536, 2147483647, -2147483648, 4294967295, 9007199254740991]'`,
    [0, -1, 32767, -32768, 65535, 65536, 2147483647, -2147483648, 4294967295, 9007199254740991],
  ],
  [`'[1.5, -0.25, 1e100, 1.0, 1e-7, 123456789012345680.0]'`, [1.5, -0.25, 1e100, 1, 1e-7, 123456789012345680]],
  [`json_array(cast(1.10 as decimal(10, 2)), cast(-7 as decimal(5, 0)))`, [1.1, -7]],
  [
    `json_object('day', date '2024-02-29', 'at', timestamp '2024-02-29 12:34:56.789', 'time', time '-23:59:58.5')`,
    { at: '2024-02-29 12:34:56.789000', day: '2024-02-29', time: '-23:59:58.500000' },
  ],
  [`json_array(x'00ff10')`, ['base64:type15:AP8Q']],
  [
    `'${JSON.stringify({ deep: { deeper: [{ a: null, b: [true, false] }] } })}'`,
    { deep: { deeper: [{ a: null, b: [true, false] }] } },
  ],
  // More than 64 KiB: offsets are wider.
  [`'${JSON.stringify(long(30_000))}'`, long(30_000)],
  [
    `'${JSON.stringify({ k: 'x'.repeat(70_000), n: 70_000, deep: [1, 100_000] })}'`,
    { k: 'x'.repeat(70_000), n: 70_000, deep: [1, 100_000] },
  ],
]
