// Outbox tables: rows that an application inserts and forgets are typed events of the log, once, in order; they stay or go.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type AnyRow, isMainstemError, type SourceTopic } from '../../../core/index.ts'
import { until } from '../captured.ts'
import { Captured, DATABASES, type Source, type TestServer } from './databases.ts'
import { orders, outboxTables, paid, placed, readings, union } from './outboxes.ts'

const at = new Date('2026-11-01T09:00:00Z')
/** Two PostgreSQLs do the same here. */
const databases = DATABASES.filter(({ name }) => name !== 'system PostgreSQL')

describe.each(databases)('an outbox in $name', database => {
  describe.skipIf(database.isMissing())('of an application', () => {
    let server: TestServer
    let url: string
    let captured: Captured
    beforeAll(async () => {
      server = await database.open()
    })
    afterAll(() => server?.[Symbol.asyncDispose]())
    beforeEach(async () => {
      url = await server.createDatabase()
      const db = database.source(url)
      captured = new Captured(database, db, url, [])
      captured.topics = [orders(db), readings(db)]
      await captured.run(...outboxTables(database))
      return () => captured.close()
    })

    const eventsOf = async (topic: string): Promise<AnyRow[]> =>
      (await captured.records()).flatMap(record => (record.topic === topic && record.after ? [record.after] : []))
    const rowsLeft = async () => Number((await captured.query('select count(*) as n from outbox'))[0]?.['n'])
    const streaming = () => until(() => captured.connector.status().state === 'streaming')
    const code = (error: unknown) => (isMainstemError(error) ? error.code : String(error))

    test("brings what stands there, then each insert in its transaction; the table's other changes mean nothing", async () => {
      await captured.run(placed(1, 'Ada', '9007199254740993'), paid(1, null))
      await captured.start()
      await streaming()
      await captured.transaction(placed(2, 'Bo'), `insert into readings values ('s1', 540, 1.5)`, paid(2, 'cash'))
      await captured.run(
        `update outbox set payload = '{"note": "late"}' where type = 'Paid'`,
        'delete from outbox where aggregateid = 1',
        'truncate outbox',
        paid(3, 'x'),
      )
      await captured.level()
      const all = [
        { order_id: 1, type: 'Placed', customer: 'Ada', cents: 9007199254740993n, at },
        { order_id: 1, type: 'Paid', note: null },
        { order_id: 2, type: 'Placed', customer: 'Bo', cents: 5n, at },
        { order_id: 2, type: 'Paid', note: 'cash' },
        { order_id: 3, type: 'Paid', note: 'x' },
      ]
      expect(await eventsOf('db.outbox')).toEqual(all)
      expect(await eventsOf('db.readings')).toEqual([{ sensor: 's1', minute: 540, value: 1.5 }])
      const transactions = (await captured.records()).filter(({ topic }) => topic.startsWith('db.'))
      expect(new Set(transactions.slice(2, 5).map(({ transaction }) => transaction)).size).toBe(1)
      // Nothing comes twice: not by a restart, nor by a repair, which reads no kept outbox again.
      await captured.restart()
      await captured.level()
      await captured.restart({ resnapshot: true })
      await streaming()
      await captured.run(paid(4, 'y'))
      await captured.level()
      expect(await eventsOf('db.outbox')).toEqual([...all, { order_id: 4, type: 'Paid', note: 'y' }])
    })

    test('parks what its contract refuses, and later events of that key behind it, until they are read again in order', async () => {
      await captured.start()
      await streaming()
      await captured.run(
        placed(1, 'Ada', 'five'),
        paid(1, 'a'),
        paid(2, 'b'),
        `insert into outbox (aggregateid, type, payload) values (3, 'Lost', '{}'), (4, 'Paid', '[1]')`,
        paid(1, 'c'),
      )
      await captured.level()
      expect(await eventsOf('db.outbox')).toEqual([{ order_id: 2, type: 'Paid', note: 'b' }])
      const parked = captured.connector.parked(100).filter(({ key }) => key === '1')
      expect(parked.map(({ raw }) => raw['type'])).toEqual(['Placed', 'Paid', 'Paid'])
      expect(parked[0]).toMatchObject({ topic: 'db.outbox', error: expect.stringContaining('cents') })
      expect(parked[1]?.error).toContain('an earlier event')
      expect(captured.connector.status().parked).toBe(5)
      expect(await captured.connector.retryParked({ topic: 'db.outbox' })).toMatchObject({ accepted: 0, refused: 5 })
      // As it is when the mirror is made again from the log.
      await captured.restart()
      await streaming()
      expect(captured.connector.status().parked).toBe(5)
      await captured.run(paid(1, 'd'))
      await captured.level()
      const payload = '{"customer": "Ada", "cents": "5", "at": "2026-11-01T09:00:00Z"}'
      expect(await captured.connector.retryParked({ topic: 'db.outbox', key: '1', set: { payload } })).toMatchObject({
        accepted: 4,
        refused: 0,
      })
      await captured.run(paid(1, 'e'))
      await captured.level()
      expect((await eventsOf('db.outbox')).filter(event => event['order_id'] === 1)).toEqual([
        { order_id: 1, type: 'Placed', customer: 'Ada', cents: 5n, at },
        ...['a', 'c', 'd', 'e'].map(note => ({ order_id: 1, type: 'Paid', note })),
      ])
      expect(captured.connector.parked(100)).toHaveLength(2)
      await expect(captured.connector.retryParked({ key: '1' })).rejects.toSatisfy(
        error => code(error) === 'PARKED_UNKNOWN',
      )
    })

    test('whose rows are not kept is emptied once its events are in the log, also after a stop in between', async () => {
      const db = database.source(url)
      captured.redefine(db, [])
      captured.topics = [orders(db, { keep: false })]
      await captured.run(...Array.from({ length: 3 }, (_, n) => placed(n, 'before')))
      await captured.start()
      await until(async () => (await rowsLeft()) === 0)
      await captured.run(
        `insert into outbox (aggregateid, type, payload) select n, 'Paid', '{"note": "n"}' from ${database.series(6_000)}`,
      )
      // Whatever is deleted already, nothing is that the log does not have.
      await until(async () => {
        const left = await rowsLeft()
        return left < 6_000 && left > 0
      }, 60_000)
      await captured.stop()
      const left = await rowsLeft()
      await captured.run(placed(9, 'meanwhile'))
      await captured.start()
      await until(async () => (await rowsLeft()) === 0, 60_000)
      await captured.level()
      const events = await eventsOf('db.outbox')
      expect(left).toBeGreaterThan(0)
      expect(events).toHaveLength(3 + 6_000 + 1)
      expect(events.filter(({ type }) => type === 'Paid').map(event => event['order_id'])).toEqual(
        Array.from({ length: 6_000 }, (_, n) => n + 1),
      )
    })

    test('is refused, with what to do, where its table does not fit', async () => {
      await captured.run(
        'create table keyless (order_id int, type varchar(40), payload text)',
        'create table odd (id int primary key, order_id varchar(40), type varchar(40), payload int)',
      )
      const refused = async (at: string, topics: (db: Source) => SourceTopic[]) => {
        const db = database.source(at)
        const tried = new Captured(database, db, url, [])
        tried.topics = topics(db)
        try {
          await tried.open()
          return ['opened']
        } catch (error) {
          const { code: first, data } = error as { code: string; data?: { problems: { code: string }[] } }
          return data?.problems ? data.problems.map(problem => problem.code) : [first]
        } finally {
          await tried.stop()
        }
      }
      const on = (db: Source, table: string, payload?: string) =>
        db.outbox(table, { key: 'order_id', value: union, ...(payload ? { payload } : {}) })
      expect(await refused(url, db => [on(db, 'outbx', 'payload')])).toEqual(['CONTRACT_TABLE_MISSING'])
      expect(await refused(url, db => [on(db, 'outbox', 'pay')])).toEqual(['CONTRACT_COLUMN_MISSING'])
      expect(await refused(url, db => [on(db, 'keyless', 'payload')])).toEqual(['CONTRACT_KEY_MISMATCH'])
      expect(await refused(url, db => [on(db, 'odd', 'payload')])).toEqual([
        'CONTRACT_TYPE_MISMATCH',
        'CONTRACT_TYPE_MISMATCH',
        'CONTRACT_TYPE_MISMATCH',
      ])
      // Without a payload each field needs its column.
      expect(await refused(url, db => [on(db, 'outbox')])).toEqual(
        Array.from({ length: 5 }, () => 'CONTRACT_COLUMN_MISSING'),
      )
      expect(await refused(url, db => [orders(db)])).toEqual(['opened'])
    })

    test('that is added later brings what stands in it, once, and goes on, over stops in between', async () => {
      const db = database.source(url)
      captured.redefine(db, [])
      captured.topics = [readings(db)]
      await captured.start()
      await streaming()
      await captured.run(paid(1, 'early'))
      await captured.level()
      await captured.stop()
      await captured.run(paid(2, 'while stopped'))
      captured.topics = [readings(db), orders(db)]
      // Not all of it is streamed when the outbox begins: what is behind must neither come twice nor be left out.
      await captured.run("insert into readings values ('s1', 1, 1)")
      await captured.start()
      await captured.run(paid(3, 'at once'))
      await streaming()
      await captured.run(paid(4, 'late'))
      await captured.level()
      const notes = async () => (await eventsOf('db.outbox')).map(({ note }) => note)
      expect(await notes()).toEqual(['early', 'while stopped', 'at once', 'late'])
      await captured.restart()
      await captured.run(paid(5, 'after a restart'))
      await captured.level()
      expect(await notes()).toEqual(['early', 'while stopped', 'at once', 'late', 'after a restart'])
      expect(await eventsOf('db.readings')).toHaveLength(1)
    })
  })
})
