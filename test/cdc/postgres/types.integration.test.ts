import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { minorUnits } from '../../../core/index.ts'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { expectExact } from '../round-trip.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({
  id: z.bigint(),
  small: z.int32().nullable(),
  safe: z.int().nullable(),
  price: minorUnits(2).nullable(),
  huge: minorUnits(10, { bigint: true }).nullable(),
  digits: z.string().nullable(),
  ratio: z.number().nullable(),
  yes: z.boolean().nullable(),
  words: z.string().nullable(),
  padded: z.string().nullable(),
  at: z.date().nullable(),
  at_us: z.iso.datetime().nullable(),
  local_us: z.iso.datetime({ local: true }).nullable(),
  day: z.iso.date().nullable(),
  tod: z.iso.time().nullable(),
  uid: z.guid().nullable(),
  doc: z.json(),
  docb: z.object({ a: z.number(), b: z.array(z.string()) }).nullable(),
  bytes: z.instanceof(Uint8Array).nullable(),
  ints: z.array(z.int32().nullable()).nullable(),
  texts: z.array(z.string().nullable()).nullable(),
  grid: z.array(z.array(z.int32())).nullable(),
  mood: z.enum(['ok', 'so so', 'it\'s "bad"']).nullable(),
  moods: z.array(z.enum(['ok', 'so so', 'it\'s "bad"'])).nullable(),
  address: z.string().nullable(),
  span: z.string().nullable(),
  range: z.string().nullable(),
  positive: z.int32().nullable(),
})

const TABLE = `
  create type mood as enum ('ok', 'so so', 'it''s "bad"');
  create domain positive as int4 check (value > 0);
  create table everything (
    id int8 primary key, small int2, safe int8, price numeric(12,2), huge numeric(40,10), digits numeric, ratio float8,
    yes bool, words text, padded char(5), at timestamptz, at_us timestamptz, local_us timestamp, day date, tod time,
    uid uuid, doc json, docb jsonb, bytes bytea, ints int4[], texts text[], grid int4[], mood mood, moods mood[],
    address inet, span interval, range int4range, positive positive, ignored point)`

const FULL = `(9223372036854775807, -32768, -9007199254740991, -1234567890.05, 123456789012345678901234567890.0123456789,
  12345678901234567890.098765432109876543210, 0.1, true, E'tab\\there\\nback\\\\slash \\u00e9\\u4e2d \\U0001F600', 'ab',
  '2024-02-29 12:34:56.789+02', '2024-02-29 12:34:56.789012+02', '1999-12-31 23:59:59.999999', '0001-01-01', '23:59:59.5',
  '00000000-1111-2222-3333-444444444444', '{"big": 9007199254740991, "x": [null, 1.5]}', '{"a": 1e3, "b": ["ü"]}', '\\x00ff10',
  '{1,NULL,-3}', array['a,b', 'quo"te', null, '', 'NULL', E'back\\\\slash', '{}'], '{{1,2},{3,4}}', 'it''s "bad"',
  array['so so', 'it''s "bad"']::mood[], '10.0.0.1/8', '1 day 02:03:04', '[1,5)', 7, '(1,2)')`

const EXPECTED = {
  id: 9223372036854775807n,
  small: -32768,
  safe: -9007199254740991,
  price: -123456789005,
  huge: 1234567890123456789012345678900123456789n,
  digits: '12345678901234567890.098765432109876543210',
  ratio: 0.1,
  yes: true,
  words: 'tab\there\nback\\slash é中 😀',
  padded: 'ab   ',
  at: new Date('2024-02-29T10:34:56.789Z'),
  at_us: '2024-02-29T10:34:56.789012Z',
  local_us: '1999-12-31T23:59:59.999999',
  day: '0001-01-01',
  tod: '23:59:59.5',
  uid: '00000000-1111-2222-3333-444444444444',
  doc: { big: 9007199254740991, x: [null, 1.5] },
  docb: { a: 1000, b: ['ü'] },
  bytes: new Uint8Array([0, 255, 16]),
  ints: [1, null, -3],
  texts: ['a,b', 'quo"te', null, '', 'NULL', 'back\\slash', '{}'],
  grid: [
    [1, 2],
    [3, 4],
  ],
  mood: 'it\'s "bad"',
  moods: ['so so', 'it\'s "bad"'],
  address: '10.0.0.1/8',
  span: '1 day 02:03:04',
  range: '[1,5)',
  positive: 7,
}

const EMPTY = {
  ...Object.fromEntries(Object.keys(EXPECTED).map(name => [name, null])),
  id: -9223372036854775808n,
  words: '',
  texts: [],
  bytes: new Uint8Array(),
}

describe.each(['embedded', 'system'] as const)('column types of the %s PostgreSQL', version => {
  describe.skipIf(isMissing(version))('arrive exactly', () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await openTestPostgres({ version })
    })
    afterAll(() => server?.stop())

    test('from the snapshot and from the stream alike', async () => {
      const url = await createDatabase(server)
      const db = source(url)
      const captured = new Captured(db, url, [db.table('everything', { key: 'id', row })])
      try {
        await captured.run(TABLE, `insert into everything values ${FULL}`)
        await captured.run(
          `insert into everything (id, words, texts, bytes) values (-9223372036854775808, '', '{}', '')`,
        )
        await expectExact(captured, [EMPTY, EXPECTED])
      } finally {
        await captured.close()
      }
    })

    test('or the row is parked: infinity, NaN, rounding, too large, null', async () => {
      const url = await createDatabase(server)
      const db = source(url)
      const shape = {
        id: z.int(),
        at: z.date().nullable(),
        ratio: z.number().nullable(),
        doc: z.json(),
        price: minorUnits(2),
      }
      const captured = new Captured(db, url, [db.table('strict', { key: 'id', row: z.object(shape) })])
      try {
        await captured.run(
          'create table strict (id int8 primary key, at timestamptz, ratio float8, doc jsonb, price numeric)',
        )
        await captured.start()
        await captured.run(
          `insert into strict values (1, 'infinity', 1, null, 1), (2, null, 'NaN', null, 1), (3, null, null, '12345678901234567890', 1),
             (4, null, null, null, 1.005), (5, null, null, null, null), (9007199254740993, null, null, null, 1), (6, null, null, '[0.30000000000000004]', 1)`,
        )
        await captured.level()
        expect(await captured.rows('strict')).toEqual([
          { id: 6, at: null, ratio: null, doc: [0.30000000000000004], price: 100 },
        ])
        const parked = captured.connector.parked(10)
        expect(parked.map(entry => entry.key).sort()).toEqual(['1', '2', '3', '4', '5', '9007199254740993'])
        const errors = Object.fromEntries(parked.map(entry => [entry.key, entry.error]))
        expect(errors['1']).toMatch(/^at: /)
        expect(errors['2']).toMatch(/^ratio: .*NaN/)
        expect(errors['3']).toMatch(/^doc: .*12345678901234567890.*rounded/)
        expect(errors['4']).toMatch(/^price: '1.005'/)
        expect(errors['5']).toMatch(/^price: .*null/)
        expect(errors['9007199254740993']).toMatch(/^id: /)
      } finally {
        await captured.close()
      }
    })

    test('and text that is no UTF-8, which a database in SQL_ASCII can hold, is named by the server, and read when it is mended', async () => {
      const name = `ascii_${randomBytes(4).toString('hex')}`
      await withClient(server.url(), client =>
        client.query(`create database ${name} encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0`),
      )
      const url = server.url(name)
      const db = source(url)
      const captured = new Captured(db, url, [
        db.table('texts', { key: 'id', row: z.object({ id: z.int(), text: z.string() }) }),
      ])
      try {
        await captured.run(
          'create table texts (id int primary key, text text)',
          `insert into texts values (1, 'é'), (2, convert_from('\\xff61', 'SQL_ASCII'))`,
        )
        await captured.start()
        const retrying = await until(() => captured.event('source-retrying'))
        expect(retrying).toMatchObject({
          code: 'SOURCE_PROTOCOL',
          detail: expect.stringContaining('invalid byte sequence'),
        })
        await captured.run(`update texts set text = 'mended' where id = 2`)
        await captured.level()
        expect(await captured.rows('texts')).toEqual([
          { id: 1, text: 'é' },
          { id: 2, text: 'mended' },
        ])
      } finally {
        await captured.close()
      }
    })
  })
})
