import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createMariadbDatabase, type MariadbServer } from '../../support/mariadb.ts'
import { readBlocks } from '../captured.ts'
import { SERVERS } from './servers.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int32(), name: z.string().nullable() })

describe.each(SERVERS)('statements over whole tables of $name', ({ name: kind, isMissing, open }) => {
  describe.skipIf(isMissing())('are followed', () => {
    let server: MariadbServer
    beforeAll(async () => {
      server = await open()
    })
    afterAll(() => server?.stop())

    async function streaming(): Promise<Captured> {
      const url = await createMariadbDatabase(server)
      const db = source(url)
      const made = new Captured(db, url, [db.table('t', { key: 'id', row })])
      await made.run('create table t (id int primary key, name varchar(20))', "insert into t values (1, 'a'), (2, 'b')")
      await made.start()
      await made.level()
      return made
    }

    test('columns that are added, moved, widened or renamed around those of the contract are read on', async () => {
      const made = await streaming()
      try {
        await made.run(
          'alter table t add column extra int first, add column more text after id',
          'alter table t modify name varchar(2000), modify id bigint',
          "insert into t (extra, id, more, name) values (7, 3, 'm', 'c')",
          'alter table t drop column more, rename column extra to other',
          "insert into t (other, id, name) values (8, 4, 'd')",
          'alter table t modify name varchar(2000) character set latin1 after id',
          "insert into t (id, name, other) values (5, 'é', 9)",
        )
        await made.level()
        expect(await made.rows('t')).toEqual([
          { id: 1, name: 'a' },
          { id: 2, name: 'b' },
          { id: 3, name: 'c' },
          { id: 4, name: 'd' },
          { id: 5, name: 'é' },
        ])
      } finally {
        await made.close()
      }
    })

    test('a column of the contract that is dropped stops the source, by its name', async () => {
      const made = await streaming()
      try {
        await made.run('alter table t drop column name')
        const failed = await until(() => made.event('source-failed'))
        expect(failed).toMatchObject({ code: 'CONTRACT_COLUMN_MISSING', message: "db.t has no column 'name'" })
      } finally {
        await made.close()
      }
    })

    test('a table that is dropped and made again has the rows of the new one', async () => {
      const made = await streaming()
      try {
        await made.run(
          'drop table t',
          'create table t (id int primary key, name varchar(20))',
          "insert into t values (9, 'z')",
        )
        await made.level()
        expect(await made.rows('t')).toEqual([{ id: 9, name: 'z' }])
        await made.run(
          'drop table t',
          'create table t (name varchar(30), extra decimal(9, 3), id bigint primary key)',
          "insert into t values ('b', 1.5, 10)",
        )
        await made.level()
        expect(await made.rows('t')).toEqual([{ id: 10, name: 'b' }])
        expect(made.events.findLast(({ event }) => event === 'schema-changed')).toMatchObject({ added: ['extra'] })
        if (kind === 'MySQL') return
        await made.run(
          "create or replace table t as select 5 as id, 'made' as name",
          'alter table t add primary key (id)',
        )
        await made.level()
        expect(await made.rows('t')).toEqual([{ id: 5, name: 'made' }])
      } finally {
        await made.close()
      }
    })

    test('another table in its place, or partitions taken away, stop the source: those rows are in no log', async () => {
      const made = await streaming()
      try {
        await made.run('create table other (id int primary key, name varchar(20))', 'rename table t to old, other to t')
        expect(await until(() => made.event('source-failed'))).toMatchObject({
          code: 'SOURCE_TABLE_REPLACED',
          detail: 'other was renamed to t',
          hint: expect.stringContaining('--resnapshot db'),
        })
        await made.stop()
        await made.start({ resnapshot: true })
        await made.level()
        expect(await made.rows('t')).toEqual([])
      } finally {
        await made.close()
      }
    })

    test("an online schema change's copy takes the table's place", async () => {
      const made = await streaming()
      try {
        await made.run(
          'create table _t_gho (id bigint primary key, name varchar(40))',
          'insert into _t_gho select * from t',
          'rename table t to _t_del, _t_gho to t',
          "update t set name = 'after' where id = 2",
        )
        await made.level()
        expect(await made.rows('t')).toEqual([
          { id: 1, name: 'a' },
          { id: 2, name: 'after' },
        ])
      } finally {
        await made.close()
      }
    })

    test('a clock that jumps shows in the commit times, and in nothing else', async () => {
      const made = await streaming()
      try {
        for (const [id, second] of [3_000_000, 1_000, 2_000_000_000, 5].entries())
          await made.run(`set timestamp = ${second}; insert into t values (${10 + id}, 'at ${second}')`)
        await made.level()
        expect((await made.rows('t')).map(each => each['id'])).toEqual([1, 10, 11, 12, 13, 2])
        const times = (await readBlocks(made.log)).flatMap(({ mark }) => mark?.commitTimeUs ?? [])
        expect(times).toEqual([3_000_000, 1_000, 2_000_000_000, 5].map(second => second * 1_000_000))
        await made.restart()
        await made.run("insert into t values (20, 'afterwards')")
        await made.level()
        expect(await made.rows('t')).toHaveLength(7)
      } finally {
        await made.close()
      }
    })

    test('a session that logs statements instead of rows stops the source', async () => {
      const made = await streaming()
      try {
        await made.run("set session binlog_format = 'STATEMENT'; update t set name = 'unseen'")
        expect(await until(() => made.event('source-failed'))).toMatchObject({
          code: 'SOURCE_BINLOG_SETTINGS',
          message: 'a statement changed rows of db.t of db without logging them',
        })
      } finally {
        await made.close()
      }
    })

    test('a key that captured rows follow by ON UPDATE CASCADE stops the source when it changes', async () => {
      const made = await streaming()
      try {
        await made.run(
          'create table parent (id int primary key, note int)',
          'create table child (id int primary key, name varchar(9), p int, foreign key (p) references parent (id) on update cascade)',
          'insert into parent values (1, 1), (2, 2)',
          "insert into child values (1, 'c', 1)",
        )
        const db = source(made.url)
        await made.stop()
        const child = db.table('child', { key: 'id', row: row.extend({ p: z.int32().nullable() }) })
        made.redefine(db, [child])
        await made.start({ resnapshot: true })
        await made.run('update parent set note = 7')
        await made.level()
        expect(await made.rows('child')).toEqual([{ id: 1, name: 'c', p: 1 }])
        await made.run('update parent set id = 3 where id = 1')
        expect(await until(() => made.event('source-failed'))).toMatchObject({ code: 'SOURCE_CASCADE_UNLOGGED' })
      } finally {
        await made.close()
      }
    })

    test('a prepared XA transaction is nothing until it is committed, over restarts too; one that is rolled back is nothing', async () => {
      const made = await streaming()
      const xa = (name: string, ...statements: string[]) =>
        made.run(`xa start '${name}'`, ...statements, `xa end '${name}'`, `xa prepare '${name}'`)
      try {
        await xa('one', "insert into t values (10, 'one')", "update t set name = 'by one' where id = 1")
        await xa('two', "insert into t values (20, 'two')")
        await made.run("insert into t values (30, 'meanwhile')")
        await made.level()
        expect((await made.rows('t')).map(row => row['id'])).toEqual([1, 2, 30])
        await made.restart()
        await made.run("insert into t values (31, 'after the restart')")
        await made.level()
        expect((await made.rows('t')).map(row => row['id'])).toEqual([1, 2, 30, 31])
        await made.run("xa commit 'one'", "xa rollback 'two'")
        await made.level()
        expect(await made.rows('t')).toEqual([
          { id: 1, name: 'by one' },
          { id: 10, name: 'one' },
          { id: 2, name: 'b' },
          { id: 30, name: 'meanwhile' },
          { id: 31, name: 'after the restart' },
        ])
        await until(() => !made.log.mark('db')?.position.includes(';'))
        await made.restart()
        await made.level()
        expect(await made.rows('t')).toHaveLength(5)
      } finally {
        await made.close()
      }
    })

    // The same code for both; one of them is enough for so many bytes.
    test.skipIf(kind === 'MySQL')(
      'values beyond 16 MiB come in several packets; beyond the limit they are refused',
      async () => {
        const url = await createMariadbDatabase(server)
        const db = source(url, { messageMiBMax: 64 })
        const big = z.object({ id: z.int32(), size: z.instanceof(Uint8Array).transform(bytes => bytes.length) })
        const made = new Captured(db, url, [db.table('big', { key: 'id', row: big })])
        try {
          await made.run('create table big (id int primary key, size longblob)')
          await made.start()
          await made.level()
          await made.run(
            `insert into big values (1, repeat('x', ${40 * 1024 * 1024}))`,
            `insert into big values (2, repeat('y', ${16 * 1024 * 1024 - 60})), (3, 'z')`,
          )
          await made.level()
          expect(await made.rows('big')).toEqual([
            { id: 1, size: 40 * 1024 * 1024 },
            { id: 2, size: 16 * 1024 * 1024 - 60 },
            { id: 3, size: 1 },
          ])
          await made.run(`insert into big values (4, repeat('x', ${70 * 1024 * 1024}))`)
          expect(await until(() => made.event('source-failed'))).toMatchObject({ code: 'SOURCE_VALUE_TOO_LARGE' })
        } finally {
          await made.close()
        }
      },
    )
  })
})
