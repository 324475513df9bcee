// Tables that are altered while they are captured, and while nobody reads: each change of their columns stands in the log.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int(), note: z.string().nullable() })

describe.each(['embedded', 'system'] as const)('a table of the %s PostgreSQL that is altered', version => {
  describe.skipIf(isMissing(version))('while it is captured', () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await openTestPostgres({ version })
    })
    afterAll(() => server?.stop())

    test('says so in the log, with its columns before and after, and goes on while its contract holds', async () => {
      const url = await createDatabase(server)
      const db = source(url)
      const captured = new Captured(db, url, [db.table('t', { key: 'id', row })])
      const schemas = async () =>
        (await captured.records())
          .filter(record => String(record.after?.['event']).startsWith('schema'))
          .map(record => record.after!)
      try {
        await captured.run('create table t (id int primary key, note varchar(5), plain int)')
        await captured.start()
        await captured.level()
        await captured.run(`insert into t values (1, 'a', 1)`)
        await captured.run(
          'alter table t add column extra numeric(8,2)',
          'alter table t rename column plain to renamed',
          'alter table t alter column note type text',
        )
        // None of it shows before a row does, and a rolled back change never.
        await captured.run('begin', 'alter table t drop column extra', `insert into t values (2, 'b')`, 'rollback')
        await captured.level()
        expect((await schemas()).map(({ event }) => event)).toEqual(['schema'])
        await captured.run(`insert into t values (3, 'a long text', 1, 2.5)`, `insert into t values (4, 'd', 1, 2.5)`)
        await captured.level()
        expect(await captured.rows('t')).toEqual([
          { id: 1, note: 'a' },
          { id: 3, note: 'a long text' },
          { id: 4, note: 'd' },
        ])
        const before = [
          { name: 'id', type: 'integer', number: 1 },
          { name: 'note', type: 'character varying(5)', number: 2 },
          { name: 'plain', type: 'integer', number: 3 },
        ]
        const after = [
          { name: 'id', type: 'integer', number: 1 },
          { name: 'note', type: 'text', number: 2 },
          { name: 'renamed', type: 'integer', number: 3 },
          { name: 'extra', type: 'numeric(8,2)', number: 4 },
        ]
        const [first, changed, ...more] = await schemas()
        expect(more).toEqual([])
        expect(first).toMatchObject({ source: 'db', event: 'schema', table: 'db.t', before: null, after: before })
        expect(changed).toMatchObject({ source: 'db', event: 'schema-changed', table: 'db.t', before, after })
        const event = (await until(() => captured.event('schema-changed')))!
        expect(event).toEqual({
          event: 'schema-changed',
          source: 'db',
          topic: 'db.t',
          position: changed!['position'],
          added: ['extra'],
          dropped: [],
          renamed: [{ from: 'plain', to: 'renamed' }],
          altered: [{ name: 'note', from: 'character varying(5)', to: 'text' }],
        })
        // In the transaction from which on it is so.
        const records = await captured.records()
        const place = records.findIndex(({ after: value }) => value?.['event'] === 'schema-changed')
        expect(records[place]!.transaction).toBe(records[place - 1]!.transaction)
        expect(records[place - 1]!.after).toEqual({ id: 3, note: 'a long text' })
        // While nobody reads, and without a word where nothing changed.
        await captured.stop()
        await captured.run('alter table t drop column renamed', `insert into t values (5, 'e', 1.5)`)
        await captured.start()
        await captured.level()
        await captured.restart()
        await captured.run(`insert into t values (6, 'f', 1.5)`)
        await captured.level()
        expect((await schemas()).slice(2)).toMatchObject([
          { event: 'schema-changed', before: after, after: after.filter(({ name }) => name !== 'renamed') },
        ])
        await captured.run('alter table t rename column note to text', 'insert into t values (7)')
        const failed = (await until(() => captured.event('source-failed')))!
        expect(failed).toMatchObject({ code: 'CONTRACT_COLUMN_MISSING', message: expect.stringContaining("'note'") })
        expect(await schemas()).toHaveLength(3)
      } finally {
        await captured.close()
      }
    })

    test('or dropped and made again, or renamed, is noticed though the server says nothing; reading it again is the repair', async () => {
      const url = await createDatabase(server)
      const db = source(url)
      const captured = new Captured(db, url, [db.table('t', { key: 'id', row })])
      const table = 'create table t (id int primary key, note text)'
      try {
        await captured.run(table, `insert into t values (8, 'of the first'), (9, 'of the first')`)
        await captured.start()
        await captured.level()
        for (const [id, away] of [
          [1, 'drop table t'],
          [2, 'alter table t rename to old'],
        ] as const) {
          captured.events.length = 0
          await captured.run(away, table, `insert into t values (${id}, 'of the new one')`)
          expect(await until(() => captured.event('source-failed'))).toMatchObject({
            code: 'SOURCE_TABLE_REPLACED',
            message: 'changes of db.t come no more',
            hint: expect.stringContaining('mainstem snapshot db'),
          })
          await captured.connector.snapshot({ do: 'start' })
          await until(() => captured.connector.status().state === 'streaming')
          await captured.run(`insert into t values (${id + 2}, 'streamed')`)
          await captured.level()
          expect(await captured.rows('t')).toEqual([
            { id, note: 'of the new one' },
            { id: id + 2, note: 'streamed' },
          ])
        }
      } finally {
        await captured.close()
      }
    })
  })
})
