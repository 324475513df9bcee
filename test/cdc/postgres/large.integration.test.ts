// Transactions larger than memory should hold: sent while they run, interleaved, rolled back in part or whole, cut off by kills
// of the connection; and sent in one piece at their end.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AnyRow, SourceTable } from '../../../core/index.ts'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Captured, readBlocks, type Source, source, until } from './support.ts'

const row = z.object({ id: z.int(), n: z.int(), body: z.string() })
const tables = (db: Source): SourceTable[] => ['t', 'u'].map(name => db.table(name, { key: 'id', row }))
const SETUP = ['t', 'u'].flatMap(name => [
  `create table ${name} (id int primary key, n int, body text)`,
  `insert into ${name} select i, 0, 'first ' || i from generate_series(1, 500) i`,
])
const insert = (table: string, from: number, to: number, chars = 100) =>
  `insert into ${table} select i, i % 7, repeat(i::text || ' ', ${chars} / (length(i::text) + 1)) from generate_series(${from}, ${to}) i`

describe.each(['embedded', 'system'] as const)('large transactions of the %s PostgreSQL', version => {
  describe.skipIf(isMissing(version))('are captured whole', () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await openTestPostgres({ version, settings: { logical_decoding_work_mem: '64kB' } })
    })
    afterAll(() => server?.stop())

    async function capture(use: (captured: Captured, open: () => Promise<pg.Client>) => Promise<void>) {
      const url = await createDatabase(server)
      const db = source(url)
      const captured = new Captured(db, url, tables(db))
      const clients: pg.Client[] = []
      const open = async () => {
        const client = new pg.Client({ connectionString: url })
        clients.push(client)
        await client.connect()
        return client
      }
      try {
        await captured.run(...SETUP)
        await captured.start()
        await captured.level()
        await use(captured, open)
      } finally {
        await Promise.all(clients.map(client => client.end()))
        await captured.close()
      }
    }

    /** Insists that the log's rows are those of the database, and that each transaction is one chain of blocks. */
    async function expectSame(captured: Captured): Promise<void> {
      await captured.level()
      for (const table of ['t', 'u']) {
        const wanted = await withClient(captured.url, client => client.query<AnyRow>(`select * from ${table}`))
        const rows = await captured.rows(table)
        expect(rows.length).toBe(wanted.rows.length)
        const byId = (a: AnyRow, b: AnyRow) => Number(a['id']) - Number(b['id'])
        expect(rows.sort(byId)).toEqual(wanted.rows.sort(byId))
      }
      let open: string | undefined
      for (const { mark, last } of await readBlocks(captured.log)) {
        if (open !== undefined) expect(mark?.transaction).toBe(open)
        open = last ? undefined : mark?.transaction
      }
    }

    const spooled = (captured: Captured): number => {
      const folder = join(captured.folder, 'mirror')
      return readdirSync(folder).includes('spool') ? readdirSync(join(folder, 'spool')).length : 0
    }
    const left = (captured: Captured) =>
      readdirSync(captured.folder, { recursive: true, encoding: 'utf8' }).filter(name =>
        /\.spill$|spool.|uncommitted/.test(name),
      )

    test('while they run nothing of them is seen; their commits count, in their order', async () => {
      await capture(async (captured, open) => {
        const [a, b] = [await open(), await open()]
        const end = captured.log.end
        for (const client of [a, b]) await client.query('begin')
        await a.query(insert('t', 1_001, 6_000))
        await b.query(insert('u', 1_001, 6_000))
        await a.query(`update t set n = n + 1`)
        await until(() => spooled(captured) === 2)
        // Others go on meanwhile, also with rows that the open ones do not hold.
        await captured.run(`insert into u values (0, 0, 'between')`)
        await captured.level()
        expect((await captured.records()).filter(({ op, position }) => position > end && op !== 'event')).toHaveLength(
          1,
        )
        expect((await captured.rows('u')).length).toBe(501)
        await b.query('delete from u where id between 1001 and 2000')
        await b.query('commit')
        await a.query('update t set id = -id where id > 5000')
        await a.query('commit')
        await expectSame(captured)
        const seen = (await captured.records()).slice(-12_000)
        const transactions = [...new Set(seen.map(record => record.transaction))]
        expect(transactions.length).toBeGreaterThanOrEqual(2)
        expect(left(captured)).toEqual([])
      })
    })

    test('what was rolled back, in whole or to a savepoint, leaves nothing', async () => {
      await capture(async (captured, open) => {
        const [a, b] = [await open(), await open()]
        for (const client of [a, b]) await client.query('begin')
        await a.query(insert('t', 1_001, 3_000))
        await a.query('savepoint one')
        await a.query(insert('t', 3_001, 6_000))
        await a.query('savepoint two')
        await a.query('update t set n = 99')
        await b.query(insert('u', 1_001, 5_000))
        await until(() => spooled(captured) === 2)
        await a.query('rollback to savepoint one')
        await a.query(insert('t', 3_001, 3_500))
        await a.query('savepoint three')
        await a.query('delete from t where id <= 500')
        await a.query('release savepoint three')
        await b.query('rollback')
        await a.query('commit')
        await expectSame(captured)
        expect((await captured.rows('t')).length).toBe(2_500)
        expect((await captured.records()).some(record => record.after?.['n'] === 99)).toBe(false)
        expect(left(captured)).toEqual([])
      })
    })

    test('a truncation, values of megabytes, and rows that move about in one of them', async () => {
      await capture(async (captured, open) => {
        const a = await open()
        await a.query('begin')
        await a.query(insert('t', 1_001, 9_000, 1_000))
        await a.query(insert('u', 1_001, 1_003, 1_500_000))
        await a.query('update t set id = id + 100000, n = n + 1 where id > 1000')
        await a.query('update u set n = n + 1')
        await a.query('truncate u')
        await a.query(insert('u', 1, 2_000))
        await a.query('delete from t where id % 3 = 0')
        await a.query('commit')
        await expectSame(captured)
        expect(left(captured)).toEqual([])
        // Nothing of it is missing after a restart either, with and without what was kept.
        await captured.restart()
        await captured.run('update t set n = 0 where id < 110000')
        await expectSame(captured)
      })
    })

    test('a connection that is cut in the midst of them begins anew', async () => {
      await capture(async (captured, open) => {
        const a = await open()
        await a.query('begin')
        await a.query(insert('t', 1_001, 8_000))
        await until(() => spooled(captured) === 1)
        const cut = () =>
          captured.run(
            `select pg_terminate_backend(pid) from pg_stat_replication where application_name = 'mainstem db'`,
          )
        await cut()
        await until(() => captured.event('source-retrying'))
        await a.query('update t set n = 1')
        await a.query('commit')
        await cut()
        await expectSame(captured)
        await captured.stop()
        await withClient(captured.url, client => client.query(insert('u', 1_001, 12_000)))
        await captured.start()
        await captured.stop()
        await captured.start()
        await expectSame(captured)
        expect(left(captured)).toEqual([])
      })
    })

    test('but for a row beyond the limit, in the stream as in a snapshot: the source stops, and goes on when it is raised', async () => {
      const url = await createDatabase(server)
      const [narrow, wide] = [source(url, { messageMiBMax: 1 }), source(url, { messageMiBMax: 4 })]
      const captured = new Captured(narrow, url, tables(narrow))
      try {
        await captured.run(...SETUP)
        await captured.start()
        await captured.level()
        await captured.run(`insert into t values (9001, 1, repeat('x', 3000000))`)
        const refused = { code: 'SOURCE_VALUE_TOO_LARGE', hint: expect.stringContaining('messageMiBMax') }
        expect(await until(() => captured.event('source-failed'))).toMatchObject(refused)
        await captured.stop()
        captured.events.length = 0
        await captured.start({ resnapshot: true })
        expect(await until(() => captured.event('source-failed'))).toMatchObject(refused)
        await captured.stop()
        captured.redefine(wide, tables(wide))
        await captured.start()
        // What is left of the snapshot is read beside the stream.
        await until(() => captured.connector.status().state === 'streaming')
        await expectSame(captured)
      } finally {
        await captured.close()
      }
    })

    test('also where the server sends them in one piece', async () => {
      const url = await createDatabase(server)
      await withClient(url, client => client.query(`alter role current_user set logical_decoding_work_mem = '1GB'`))
      try {
        await capture(async captured => {
          await captured.transaction(
            insert('t', 1_001, 18_000),
            'update t set n = n + 1',
            `update t set id = -id where id % 5 = 0`,
            insert('u', 1_001, 2_000),
          )
          await expectSame(captured)
          expect(left(captured)).toEqual([])
        })
      } finally {
        await withClient(url, client => client.query(`alter role current_user reset logical_decoding_work_mem`))
      }
    })
  })
})
