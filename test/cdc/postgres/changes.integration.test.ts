import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SourceTable } from '../../../core/index.ts'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Captured, type Source, source } from './support.ts'

describe.each(['embedded', 'system'] as const)('changes in the %s PostgreSQL', version => {
  describe.skipIf(isMissing(version))('become whole records', () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await openTestPostgres({ version })
    })
    afterAll(() => server?.stop())

    /** A database with some statements run, captured; closed after `use`. */
    async function capture(
      setup: readonly string[],
      tables: (db: Source) => SourceTable[],
      use: (captured: Captured) => Promise<void>,
    ) {
      const url = await createDatabase(server)
      const db = source(url)
      const captured = new Captured(db, url, tables(db))
      try {
        await captured.run(...setup)
        await captured.start()
        await captured.level()
        await use(captured)
      } finally {
        await captured.close()
      }
    }

    const note = z.object({ id: z.int(), note: z.string().nullable() })
    const ops = async (captured: Captured, after = 0) =>
      (await captured.records())
        .filter(record => record.position > after && record.op !== 'event')
        .map(({ op, before, after: row, transaction }) => ({ op, before, after: row, transaction }))

    test.each(['default', 'full', 'index'])(
      'with replica identity %s: inserts, updates, key changes, deletes',
      async identity => {
        const setup = [
          'create table t (id int primary key, note text, other int)',
          `insert into t values (1, 'one', 1), (2, 'two', 2)`,
        ]
        if (identity === 'full') setup.push('alter table t replica identity full')
        if (identity === 'index')
          setup.push('create unique index t_id on t (id)', 'alter table t replica identity using index t_id')
        await capture(
          setup,
          db => [db.table('t', { key: 'id', row: note })],
          async captured => {
            const start = captured.log.end
            await captured.transaction(
              `insert into t values (3, 'three', 3)`,
              `update t set note = 'THREE' where id = 3`,
              'update t set id = 30 where id = 3',
              `update t set note = null where id = 1`,
              'update t set other = other + 1',
              'delete from t where id = 2',
            )
            await captured.level()
            const seen = await ops(captured, start)
            expect(seen.map(({ op, before, after }) => ({ op, before, after }))).toEqual([
              { op: 'insert', before: null, after: { id: 3, note: 'three' } },
              { op: 'update', before: { id: 3, note: 'three' }, after: { id: 3, note: 'THREE' } },
              { op: 'update', before: { id: 3, note: 'THREE' }, after: { id: 30, note: 'THREE' } },
              { op: 'update', before: { id: 1, note: 'one' }, after: { id: 1, note: null } },
              { op: 'delete', before: { id: 2, note: 'two' }, after: null },
            ])
            expect(new Set(seen.map(record => record.transaction)).size).toBe(1)
            expect(await captured.rows('t')).toEqual([
              { id: 1, note: null },
              { id: 30, note: 'THREE' },
            ])
          },
        )
      },
    )

    test('an unchanged TOAST value is filled in', async () => {
      const big = randomBytes(500_000).toString('hex')
      const row = z.object({ id: z.int(), n: z.int(), body: z.string() })
      const setup = ['create table t (id int primary key, n int, body text)', `insert into t values (1, 0, '${big}')`]
      await capture(
        setup,
        db => [db.table('t', { key: 'id', row })],
        async captured => {
          await captured.run('update t set n = 1')
          await captured.run('update t set id = 2')
          await captured.transaction(`insert into t values (5, 0, '${big}')`, 'update t set n = 7 where id = 5')
          await captured.level()
          expect(await captured.rows('t')).toEqual([
            { id: 2, n: 1, body: big },
            { id: 5, n: 7, body: big },
          ])
          await captured.restart()
          await captured.run('update t set n = 9')
          await captured.level()
          expect(await captured.rows('t')).toEqual([
            { id: 2, n: 9, body: big },
            { id: 5, n: 9, body: big },
          ])
        },
      )
    })

    test('an unchanged TOAST value of a parked row comes from what was parked, never from what was cut', async () => {
      // The last is longer than what is kept whole of a parked row.
      const [small, middle, large] = [5_000, 100_000, 4_300_000].map(bytes => randomBytes(bytes).toString('hex'))
      const row = z.object({ id: z.int(), n: z.int().max(9), body: z.string() })
      const setup = [
        'create table t (id int primary key, n int, body text)',
        `insert into t values (1, 0, '${small}'), (2, 0, '${small}'), (3, 0, '${small}')`,
      ]
      await capture(
        setup,
        db => [db.table('t', { key: 'id', row })],
        async captured => {
          await captured.run(`update t set n = 10 where id = 1`)
          await captured.run(`update t set n = 10, body = '${middle}' where id = 2`)
          await captured.run(`update t set n = 10, body = '${large}' where id = 3`)
          await captured.run('update t set n = 11', 'update t set n = 1')
          await captured.level()
          const names = new Map([
            [small, 'small'],
            [middle, 'middle'],
            [large, 'large'],
          ])
          const seen = (await captured.rows('t')).map(each => [each['n'], names.get(String(each['body']))])
          expect(seen).toEqual([
            [1, 'small'],
            [1, 'middle'],
            [0, 'small'],
          ])
          expect(captured.connector.parked(9)).toMatchObject([
            { key: '3', error: expect.stringContaining('not kept whole') },
          ])
          await captured.run(`update t set body = '${large}x' where id = 3`)
          await captured.level()
          expect(captured.connector.parked(9)).toEqual([])
          expect((await captured.rows('t'))[2]?.['body'] === `${large}x`).toBe(true)
        },
      )
    })

    test('TRUNCATE deletes every row, those of its own transaction too', async () => {
      const setup = [
        'create table t (id int primary key, note text)',
        `insert into t select n, 'n' from generate_series(1, 3000) n`,
      ]
      await capture(
        setup,
        db => [db.table('t', { key: 'id', row: note })],
        async captured => {
          await captured.transaction(
            `insert into t values (0, 'zero')`,
            'update t set id = -5 where id = 5',
            'truncate t',
            `insert into t values (1, 'again')`,
          )
          await captured.run(`insert into t values (2, 'more')`)
          await captured.level()
          expect(await captured.rows('t')).toEqual([
            { id: 1, note: 'again' },
            { id: 2, note: 'more' },
          ])
          await captured.restart()
          await captured.run('truncate t')
          await captured.level()
          expect(await captured.rows('t')).toEqual([])
        },
      )
    })

    test('a transaction over several tables is one batch; a rolled back one is none', async () => {
      const setup = ['create table a (id int primary key, note text)', 'create table b (id int primary key, note text)']
      await capture(
        setup,
        db => [db.table('a', { key: 'id', row: note }), db.table('b', { key: 'id', row: note })],
        async captured => {
          const start = captured.log.end
          await captured.run('begin', `insert into a values (9, 'x')`, 'rollback')
          await captured.transaction(
            `insert into a values (1, 'a')`,
            `insert into b values (1, 'b')`,
            'savepoint s',
            `insert into b values (2, 'b')`,
            'rollback to s',
            `update a set note = 'A'`,
          )
          await captured.level()
          const seen = (await captured.records()).filter(({ position, op }) => position > start && op !== 'event')
          expect(seen.map(record => `${record.op} ${record.topic}`)).toEqual([
            'insert db.a',
            'insert db.b',
            'update db.a',
          ])
          expect(new Set(seen.map(record => record.transaction)).size).toBe(1)
        },
      )
    })

    test('names that need quoting, other schemas, partitions', async () => {
      const setup = [
        'create schema "My Schema"',
        'create table "My Schema"."Odd ""Table" ("The Id" int primary key, "na\'me" text, "a,b" text)',
        `insert into "My Schema"."Odd ""Table" values (1, 'x', 'y')`,
        'create table parts (id int, region text, note text, primary key (id, region)) partition by list (region)',
        `create table parts_eu partition of parts for values in ('eu')`,
        `create table parts_us partition of parts for values in ('us')`,
        `insert into parts values (1, 'eu', 'one'), (2, 'us', 'two')`,
      ]
      const tables = (db: Source) => [
        db.table('My Schema.Odd "Table', {
          key: 'The Id',
          row: z.object({ 'The Id': z.int(), "na'me": z.string(), 'a,b': z.string() }),
        }),
        db.table('parts', {
          key: ['id', 'region'],
          row: z.object({ id: z.int(), region: z.string(), note: z.string() }),
        }),
      ]
      await capture(setup, tables, async captured => {
        await captured.run(
          `update "My Schema"."Odd ""Table" set "a,b" = 'z'`,
          `update parts set region = 'us' where id = 1`,
          `update parts set note = 'TWO' where id = 2`,
        )
        await captured.level()
        expect(await captured.rows('My Schema.Odd "Table')).toEqual([{ 'The Id': 1, "na'me": 'x', 'a,b': 'z' }])
        expect(await captured.rows('parts')).toEqual([
          { id: 1, region: 'us', note: 'one' },
          { id: 2, region: 'us', note: 'TWO' },
        ])
      })
    })

    test('a refused row is parked, the last accepted one stays, and it is cleared when mended', async () => {
      const row = z.object({ id: z.int(), age: z.int().max(150) })
      const setup = ['create table t (id int primary key, age int)', 'insert into t values (1, 20), (2, 999), (3, 30)']
      await capture(
        setup,
        db => [db.table('t', { key: 'id', row })],
        async captured => {
          const parked = () =>
            captured.connector.parked(10).map(entry => `${entry.key} ${entry.op} ${entry.raw['age']}`)
          expect(parked()).toEqual(['2 insert 999'])
          await captured.run('update t set age = 200 where id = 1')
          await captured.level()
          expect(parked().sort()).toEqual(['1 update 200', '2 insert 999'])
          expect(captured.event('parked')).toMatchObject({
            topic: 'db.t',
            key: '2',
            error: expect.stringContaining('age'),
          })
          expect(await captured.rows('t')).toEqual([
            { id: 1, age: 20 },
            { id: 3, age: 30 },
          ])
          await captured.restart()
          expect(parked().sort()).toEqual(['1 update 200', '2 insert 999'])
          const entry = captured.connector.parked(10).find(each => each.key === '1')
          expect(entry?.position).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/)
          expect((await captured.records()).find(record => record.position === entry?.logPosition)?.op).toBe('parked')
          await captured.run(
            'update t set age = 21 where id = 1',
            'update t set age = 22 where id = 2',
            'insert into t values (4, 500)',
          )
          await captured.level()
          expect(parked()).toEqual(['4 insert 500'])
          await captured.run(
            'delete from t where id = 4',
            'update t set age = 777 where id = 3',
            'update t set age = 30 where id = 3',
          )
          await captured.level()
          expect(parked()).toEqual([])
          expect(captured.connector.status().parked).toBe(0)
          expect(await captured.rows('t')).toEqual([
            { id: 1, age: 21 },
            { id: 2, age: 22 },
            { id: 3, age: 30 },
          ])
          await captured.restart()
          expect(parked()).toEqual([])
        },
      )
    })

    test('a refused row that moves to another key leaves its old key', async () => {
      const row = z.object({ id: z.int(), age: z.int().max(150) })
      const setup = ['create table t (id int primary key, age int)', 'insert into t values (1, 20)']
      await capture(
        setup,
        db => [db.table('t', { key: 'id', row })],
        async captured => {
          await captured.run('update t set id = 2, age = 200', 'update t set id = 3')
          await captured.level()
          expect(await captured.rows('t')).toEqual([])
          expect(captured.connector.parked(10).map(entry => entry.key)).toEqual(['3'])
          await captured.run('update t set age = 5')
          await captured.level()
          expect(await captured.rows('t')).toEqual([{ id: 3, age: 5 }])
          expect(captured.connector.parked(10)).toEqual([])
        },
      )
    })

    test('a column that is added, or widened, while streaming is read on; one that is dropped fails by name', async () => {
      const setup = ['create table t (id int primary key, note varchar(5))', `insert into t values (1, 'a')`]
      await capture(
        setup,
        db => [db.table('t', { key: 'id', row: note })],
        async captured => {
          await captured.run('alter table t add column extra int default 5', `insert into t values (2, 'b', 1)`)
          await captured.run('alter table t alter column note type text', `insert into t values (3, 'a long text', 1)`)
          await captured.level()
          expect(await captured.rows('t')).toEqual([
            { id: 1, note: 'a' },
            { id: 2, note: 'b' },
            { id: 3, note: 'a long text' },
          ])
          await captured.run('alter table t drop column note', 'insert into t values (4, 1)')
          await expect.poll(() => captured.connector.status().state, { timeout: 10_000 }).toBe('failed')
          expect(captured.connector.status().error).toMatchObject({ code: 'CONTRACT_COLUMN_MISSING' })
        },
      )
    })
  })
})
