import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { minorUnits } from '../../../core/index.ts'
import { readLogPage } from '../../../query-api/log-page.ts'
import { openCuttingProxy } from '../../support/cutting-proxy.ts'
import { Random } from '../../support/random.ts'
import { until } from '../captured.ts'
import { Captured, DATABASES, type TestServer } from './databases.ts'
import { brokenTransactions, capture, fill, setup, tablesByLog, tablesNow, tablesOf } from './tables.ts'
import { ACCOUNTS, transact } from './work.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

describe.each(DATABASES)('$name', database => {
  describe.skipIf(database.isMissing())('as a source', () => {
    let server: TestServer
    beforeAll(async () => {
      server = await database.open()
    })
    afterAll(() => server?.[Symbol.asyncDispose]())

    async function captured(accounts = 0): Promise<Captured> {
      const made = capture(database, await server.createDatabase())
      await made.run(...setup(database), ...(accounts > 0 ? [fill(database, accounts)] : []))
      return made
    }

    test('snapshot and stream give what stands in the tables, each record fitting the one before', async () => {
      const source = await captured(3_000)
      try {
        await source.start()
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        expect(source.event('snapshot-ended')).toMatchObject({ rows: 3_000 })
        await source.run(
          "update accounts set note = 'changed' where id <= 10",
          'update accounts set id = id + 10000 where id in (1, 2)',
          'delete from accounts where id between 20 and 30',
          "insert into accounts (id, owner, balance) values (20, 'new', 7.5)",
          'update accounts set balance = balance where id = 40',
        )
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        expect(source.connector.status()).toMatchObject({ state: 'streaming', parked: 0, error: null })
      } finally {
        await source.close()
      }
    })

    test(`a random workload over two tables arrives whole, transaction by transaction (SEED=${SEED})`, async () => {
      const source = await captured(ACCOUNTS)
      const random = new Random(SEED)
      const session = await database.connect(source.url)
      try {
        await source.start()
        for (let round = 0; round < 4; round++) {
          for (let n = 1; n <= 60; n++) await transact(session, random, round * 1_000 + n)
          if (round === 1) await source.stop()
          if (round === 2) await source.start()
        }
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        expect(await brokenTransactions(source)).toEqual([])
      } finally {
        await session.end()
        await source.close()
      }
    })

    test('a transaction is one batch, however many tables and rows it has; a rolled back one is none', async () => {
      const source = await captured()
      try {
        await source.start()
        await source.level()
        await source.transaction(
          fill(database, 12_000),
          'insert into transfers values (1, 1, 2, 3.25)',
          'update accounts set balance = balance + 1',
          'delete from accounts where id > 8000',
        )
        await source.run('begin', 'insert into transfers values (2, 1, 2, 3)', 'rollback')
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        const transactions = new Set((await source.records()).map(each => each.transaction))
        transactions.delete(undefined)
        expect(transactions.size).toBe(1)
        expect(await brokenTransactions(source)).toEqual([])
      } finally {
        await source.close()
      }
    })

    test('a truncated table is empty, and goes on', async () => {
      const source = await captured(700)
      try {
        await source.start()
        await source.level()
        await source.run('truncate table accounts', fill(database, 5), 'truncate table accounts', fill(database, 3))
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        expect((await tablesNow(source)).accounts).toHaveLength(3)
      } finally {
        await source.close()
      }
    })

    test('a refused row is parked with its raw values; when it is mended it is a row again', async () => {
      const source = await captured(10)
      try {
        await source.run("insert into accounts (id, owner, balance) values (100, 'an owner with too long a name', 1)")
        await source.start()
        await source.level()
        await source.run("update accounts set owner = 'also too long, in the stream' where id = 3")
        await source.level()
        const parked = source.connector.parked(10)
        expect(parked.map(({ key }) => key).sort()).toEqual(['100', '3'])
        expect(parked.find(({ key }) => key === '3')).toMatchObject({ raw: { owner: 'also too long, in the stream' } })
        // A long value is kept whole: it can be read again with its row mended here.
        await source.run(
          `insert into accounts (id, owner, balance, note) values (101, 'an owner with too long a name', 1, repeat('é', 300000))`,
        )
        await source.level()
        expect(source.connector.parked(10).find(({ key }) => key === '101')?.raw['note']).toHaveLength(64 * 1024 + 1)
        const request = { topic: 'db.accounts', key: '101', set: { owner: 'short' } }
        expect(await source.connector.retryParked(request)).toMatchObject({ accepted: 1, refused: 0 })
        await source.run("update accounts set owner = 'short' where id in (3, 100, 101)")
        await source.level()
        expect(source.connector.parked(10)).toEqual([])
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
      } finally {
        await source.close()
      }
    })

    test('keys of several columns and of text, in any case and script', async () => {
      const url = await server.createDatabase()
      const db = database.source(url)
      const row = z.object({ word: z.string(), n: z.int32(), value: z.string().nullable() })
      const words = db.table('words', { key: ['word', 'n'], row })
      const source = new Captured(database, db, url, [words])
      try {
        await source.run(
          'create table words (word varchar(60) not null, n int not null, value varchar(60), primary key (word, n))',
          "insert into words values ('é中😀', 1, 'a'), ('b,c', 2, null), (' ', 3, 'd')",
        )
        await source.start()
        await source.level()
        await source.run(
          "update words set value = 'B' where word = 'b,c'",
          "update words set word = 'É', n = 9 where n = 1",
          "insert into words values ('w', -1, 'x')",
          'delete from words where n = 3',
        )
        await source.level()
        expect(await source.rows('words')).toEqual([
          { word: 'É', n: 9, value: 'a' },
          { word: 'b,c', n: 2, value: 'B' },
          { word: 'w', n: -1, value: 'x' },
        ])
      } finally {
        await source.close()
      }
    })

    test('what was written while nobody read comes after a restart, and nothing comes twice', async () => {
      const source = await captured(100)
      try {
        await source.start()
        await source.level()
        await source.stop()
        await source.run("update accounts set note = 'while stopped'", 'insert into transfers values (5, 1, 2, 3)')
        await source.start()
        await source.level()
        const before = await source.records()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        await source.restart()
        await source.level()
        expect((await source.records()).length).toBe(before.length)
      } finally {
        await source.close()
      }
    })

    test('a connection that is cut, and a server that crashes, are come back to', async () => {
      const source = await captured(100)
      try {
        await source.start()
        await source.level()
        await database.cutStream(source.url)
        await source.run("update accounts set note = 'after the cut'")
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        if (!server.crash) return
        await server.crash()
        await source.run("update accounts set note = 'after the crash'")
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        expect(source.events.some(({ event }) => event === 'source-retrying')).toBe(true)
      } finally {
        await source.close()
      }
    })

    test(`a connection that is cut in the midst of messages, again and again, loses and doubles nothing (SEED=${SEED})`, async () => {
      const url = await server.createDatabase()
      await using proxy = await openCuttingProxy(url)
      const db = database.source(proxy.url)
      const { accounts, transfers } = tablesOf(db)
      const source = new Captured(database, db, url, [accounts, transfers])
      const random = new Random(SEED)
      const session = await database.connect(url)
      try {
        await source.run(...setup(database), fill(database, ACCOUNTS))
        await source.start()
        await source.level()
        proxy.cutAfter(Array.from({ length: 5 }, () => random.int(60_000)))
        for (let n = 1; n <= 150 || (proxy.cuts < 2 && n < 2_000); n++) await transact(session, random, n)
        await source.level(60_000)
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        expect(await brokenTransactions(source)).toEqual([])
        expect(proxy.cuts).toBeGreaterThanOrEqual(2)
      } finally {
        await session.end()
        await source.close()
      }
    })

    test('columns that are added, dropped, renamed or widened are in the log, at their place', async () => {
      const url = await server.createDatabase()
      const db = database.source(url)
      const row = z.object({ id: z.int32(), note: z.string().nullable() })
      const source = new Captured(database, db, url, [db.table('t', { key: 'id', row })])
      const alter =
        database.name === 'MySQL' || database.name === 'MariaDB'
          ? 'modify column note varchar(500)'
          : 'alter column note type varchar(500)'
      try {
        await source.run('create table t (id int primary key, note varchar(5), plain int)')
        await source.start()
        await source.level()
        await source.run("insert into t values (1, 'a', 1)")
        await source.run(
          'alter table t add column extra int',
          'alter table t rename column plain to other',
          `alter table t ${alter}`,
        )
        await source.run("insert into t values (2, 'a long text', 1, 2)")
        await source.level()
        await source.stop()
        await source.run('alter table t drop column other', "insert into t values (3, 'c', 3)")
        await source.start()
        await source.level()
        expect(await source.rows('t')).toEqual([
          { id: 1, note: 'a' },
          { id: 2, note: 'a long text' },
          { id: 3, note: 'c' },
        ])
        // As `GET /v1/log/mainstem.source-events` and `mainstem log` give it.
        const { records } = await readLogPage(source.log, 'mainstem.source-events', 0, 100)
        const told = records
          .map(record => JSON.parse(record))
          .map(({ value, source: { position } }) => {
            expect(value).toMatchObject({ source: 'db', table: 'db.t', position })
            return value
          })
        const names = (columns: { name: string; number: number }[] | null) =>
          columns?.map(({ name, number }) => `${name} ${number}`)
        expect(told.map(({ event, before, after }) => [event, names(before), names(after)])).toEqual([
          ['schema', undefined, ['id 1', 'note 2', 'plain 3']],
          ['schema-changed', ['id 1', 'note 2', 'plain 3'], ['id 1', 'note 2', 'other 3', 'extra 4']],
          ['schema-changed', ['id 1', 'note 2', 'other 3', 'extra 4'], ['id 1', 'note 2', 'extra 4']],
        ])
        const first = source.event('schema-changed')
        expect(first).toMatchObject({
          topic: 'db.t',
          added: ['extra'],
          dropped: [],
          renamed: [{ from: 'plain', to: 'other' }],
        })
        expect(first?.altered).toMatchObject([{ name: 'note', to: expect.stringContaining('(500)') }])
        // In the transaction from which on it is so.
        const all = await source.records()
        const place = all.findIndex(({ after }) => after?.['event'] === 'schema-changed')
        const [change, record] = [all.find(({ after }) => after?.['id'] === 2), all[place]]
        expect(change?.transaction).toBe(record?.transaction)
      } finally {
        await source.close()
      }
    })

    test('an idle table holds nobody up: progress of others is recorded, and a waiting reader answered', async () => {
      const source = await captured(5)
      try {
        await source.start()
        await source.level()
        const records = (await source.records()).length
        const mark = source.log.mark('db')?.position
        await source.run('create table elsewhere (id int primary key)', 'insert into elsewhere values (1), (2)')
        await source.level(5_000)
        await source.level(5_000)
        expect((await source.records()).length).toBe(records)
        await until(() => source.log.mark('db')?.position !== mark)
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
      } finally {
        await source.close()
      }
    })

    test(`tables that come later are read beside the stream, whatever their keys (SEED=${SEED})`, async () => {
      const source = await captured(ACCOUNTS)
      const db = database.source(source.url)
      const word = z.object({ word: z.string(), n: z.int32(), value: z.string().nullable() })
      const price = z.object({ price: minorUnits(2), n: z.int32() })
      const session = await database.connect(source.url)
      const random = new Random(SEED)
      try {
        await source.run(
          'create table words (word varchar(60) not null, n int not null, value varchar(60), primary key (word, n))',
          `insert into words select concat(case when n % 3 = 0 then 'é' else 'w' end, n % 300), n, 'v' from ${database.series(900)}`,
          'create table prices (price numeric(12, 2) primary key, n int not null)',
          `insert into prices select n / 4.0 - 100, n from ${database.series(600)}`,
        )
        await source.start()
        await source.level()
        await source.stop()
        const { accounts, transfers } = tablesOf(db)
        const words = db.table('words', { key: ['word', 'n'], row: word })
        const prices = db.table('prices', { key: 'price', row: price })
        source.redefine(db, [accounts, transfers, words, prices])
        for (let n = 1; n <= 30; n++) await transact(session, random, n)
        await source.start()
        let ended = false
        const reading = until(() => source.events.filter(({ event }) => event === 'snapshot-ended').length > 1).finally(
          () => {
            ended = true
          },
        )
        for (let n = 31; n < 80 && !ended; n++) {
          await transact(session, random, n)
          await session.query(`update words set value = 'changed ${n}' where n % 50 = ${n % 50}`)
          await session.query(`delete from words where n = ${random.int(900)}`)
          await session.query(`delete from prices where n = ${random.int(600)}`)
        }
        await reading
        await source.level()
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        const inTable = await source.query('select word, n, value from words')
        expect(new Set(await source.rows('words'))).toEqual(new Set(inTable))
        const inPrices = await source.query('select n from prices order by n')
        expect((await source.rows('prices')).map(row => Number(row['n'])).sort((a, b) => a - b)).toEqual(
          inPrices.map(row => Number(row['n'])),
        )
      } finally {
        await session.end()
        await source.close()
      }
    })

    test('a snapshot beside the stream is paused, goes on after a restart, and is cancelled', async () => {
      const source = await captured(30_000)
      const streams = () =>
        until(() => {
          const { state, snapshot } = source.connector.status()
          return state === 'streaming' && snapshot === null
        }, 60_000)
      const pauseAtOnce = () => {
        source.onEvent = ({ event }) => {
          if (event === 'snapshot-started') void source.connector.snapshot({ do: 'pause' })
        }
      }
      try {
        await source.start()
        await streams()
        const { end } = source.log
        pauseAtOnce()
        await source.connector.snapshot({ do: 'start', tables: ['accounts'], where: 'id > 10' })
        await until(() => source.event('snapshot-paused'))
        source.onEvent = () => {}
        await source.run("update accounts set note = 'meanwhile' where id = 29999", 'delete from accounts where id = 5')
        await source.level()
        const { rows } = source.connector.status().snapshot ?? {}
        await source.restart()
        await until(() => source.connector.status().state === 'streaming')
        expect(source.connector.status().snapshot).toMatchObject({ paused: true, rows })
        await source.connector.snapshot({ do: 'resume' })
        await streams()
        const made = (await source.records()).filter(({ position, op }) => position > end && op !== 'event')
        expect(made.map(({ op }) => op).sort()).toEqual(['delete', 'update'])
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
        pauseAtOnce()
        source.events.length = 0
        await source.connector.snapshot({ do: 'start', tables: ['accounts'] })
        await until(() => source.event('snapshot-paused'))
        await source.connector.snapshot({ do: 'cancel' })
        expect(source.connector.status()).toMatchObject({ state: 'streaming', snapshot: null })
        await expect(source.connector.snapshot({ do: 'start', where: 'nothing = 1' })).rejects.toMatchObject({
          code: 'SNAPSHOT_INVALID',
        })
      } finally {
        await source.close()
      }
    })

    test('reading everything again makes records of what differs only', async () => {
      const source = await captured(500)
      try {
        await source.start()
        await source.level()
        const records = (await source.records()).filter(each => each.op !== 'event').length
        await source.restart({ resnapshot: true })
        await source.level()
        expect((await source.records()).filter(each => each.op !== 'event').length).toBe(records)
        expect(await tablesByLog(source)).toEqual(await tablesNow(source))
      } finally {
        await source.close()
      }
    })
  })
})
