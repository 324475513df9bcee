// Outbox tables: rows that an application inserts and forgets are typed events of the log, once, in order; they stay or go.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { openApplication } from '../../../bin/open-application.ts'
import { postgres, writeToken } from '../../../cdc/index.ts'
import { type AnyRow, isMainstemError, type SourceTopic } from '../../../core/index.ts'
import { application, projection } from '../../../projections/index.ts'
import {
  createDatabase,
  createLimitedRole,
  openTestPostgres,
  type PostgresServer,
  withClient,
} from '../../support/postgres.ts'
import { Captured, type Source, source, until } from './support.ts'

const order = z.object({ order_id: z.int() })
const Placed = order.extend({ type: z.literal('Placed'), customer: z.string(), cents: z.bigint(), at: z.date() })
const Paid = order.extend({ type: z.literal('Paid'), note: z.string().nullable() })
const union = z.discriminatedUnion('type', [Placed, Paid])

/** As Debezium's outbox has its columns. */
const orders = (db: Source, options: { keep?: boolean; value?: typeof union } = {}): SourceTopic =>
  db.outbox('outbox', {
    key: 'order_id',
    value: options.value ?? union,
    columns: { order_id: 'aggregateid' },
    payload: 'payload',
    keep: options.keep ?? true,
  })
const plain = (db: Source): SourceTopic =>
  db.outbox('readings', { key: 'sensor', value: z.object({ sensor: z.string(), at: z.date(), value: z.number() }) })

const TABLES = [
  'create table outbox (id bigint generated always as identity primary key, aggregateid int not null, type text, payload jsonb)',
  'create table readings (sensor text, at timestamptz, value float8, primary key (sensor, at))',
]
const placed = (id: number, customer: string, cents = '5') =>
  `insert into outbox (aggregateid, type, payload) values (${id}, 'Placed',
     '{"customer": "${customer}", "cents": "${cents}", "at": "2026-11-01T09:00:00Z"}')`
const paid = (id: number, note: string | null) =>
  `insert into outbox (aggregateid, type, payload) values (${id}, 'Paid', '${JSON.stringify({ note })}')`
const at = new Date('2026-11-01T09:00:00Z')

describe('an outbox', () => {
  let server: PostgresServer
  let url: string
  let captured: Captured
  beforeAll(async () => {
    server = await openTestPostgres()
  })
  afterAll(() => server?.stop())
  beforeEach(async () => {
    url = await createDatabase(server)
    const db = source(url)
    captured = new Captured(db, url, [])
    captured.topics = [orders(db), plain(db)]
    await captured.run(...TABLES)
    return () => captured.close()
  })

  const eventsOf = async (topic: string): Promise<AnyRow[]> =>
    (await captured.records()).flatMap(record => (record.topic === topic && record.after ? [record.after] : []))
  const rowsLeft = () =>
    withClient(url, async client => Number((await client.query('select count(*) from outbox')).rows[0].count))
  const streaming = () => until(() => captured.connector.status().state === 'streaming')
  const code = (error: unknown) => (isMainstemError(error) ? error.code : String(error))

  test("brings what stands there, then each insert in its transaction; the table's other changes mean nothing", async () => {
    await captured.run(placed(1, 'Ada', '9007199254740993'), paid(1, null))
    await captured.start()
    await streaming()
    await captured.transaction(
      placed(2, 'Bo'),
      `insert into readings values ('s1', '2026-11-01T09:00:00Z', 1.5)`,
      paid(2, 'cash'),
    )
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
    expect(await eventsOf('db.readings')).toEqual([{ sensor: 's1', at, value: 1.5 }])
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
    const db = source(url)
    captured.redefine(db, [])
    captured.topics = [orders(db, { keep: false })]
    await captured.run(...Array.from({ length: 3 }, (_, n) => placed(n, 'before')))
    await captured.start()
    await until(async () => (await rowsLeft()) === 0)
    await captured.run(
      `insert into outbox (aggregateid, type, payload) select g, 'Paid', '{"note": "n"}' from generate_series(1, 6000) g`,
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
      'create table keyless (aggregateid int, type text, payload jsonb)',
      'create table odd (id int primary key, order_id text, type text, payload int)',
    )
    const role = await createLimitedRole(url)
    await captured.run(
      `alter table readings owner to "${role.name}"`,
      `grant select on outbox to "${role.name}"`,
      'create publication mainstem_test_db for table outbox, readings',
    )
    const refused = async (at: string, topics: (db: Source) => SourceTopic[]) => {
      const db = source(at)
      const tried = new Captured(db, url, [])
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
    expect(await refused(role.url, db => [orders(db, { keep: false })])).toEqual(['SOURCE_PERMISSION'])
    expect(await refused(role.url, db => [orders(db)])).toEqual(['opened'])
  })

  test('that is added later is asked for a repair, which brings what stands in it', async () => {
    const db = source(url)
    captured.redefine(db, [])
    captured.topics = [plain(db)]
    await captured.start()
    await streaming()
    await captured.run(paid(1, 'early'))
    await captured.stop()
    captured.topics = [plain(db), orders(db)]
    await expect(captured.start()).rejects.toSatisfy(error => code(error) === 'SOURCE_OUTBOX_ADDED')
    await captured.stop()
    await captured.start({ resnapshot: true })
    await streaming()
    await captured.run(paid(2, 'late'))
    await captured.level()
    expect((await eventsOf('db.outbox')).map(({ note }) => note)).toEqual(['early', 'late'])
  })
})

test('an application folds an outbox by its variants; nobody else appends to it', async () => {
  await using server = await openTestPostgres()
  const url = await createDatabase(server)
  await withClient(url, client => client.query(TABLES[0]!))
  const shop = postgres('shop', { url })
  const events = shop.outbox('outbox', {
    key: 'order_id',
    value: union,
    columns: { order_id: 'aggregateid' },
    payload: 'payload',
    tags: ['type'],
  })
  const sales = projection('sales', { key: z.int(), state: z.object({ cents: z.bigint(), paid: z.boolean() }) }).on(
    events,
    'order_id',
    {
      Placed: (sale, event) => {
        sale.cents += event.cents
      },
      Paid: sale => {
        sale.paid = true
      },
    },
  )
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-outbox-'))
  try {
    await using app = await openApplication(application('outboxes', { views: [sales] }), {
      dataDir: folder,
      listen: { port: 0 },
    })
    const token = await withClient(url, async client => {
      await client.query(placed(1, 'Ada', '7'))
      await client.query(paid(1, 'cash'))
      return writeToken(client, shop)
    })
    const { value, sources } = await app.client.views.sales.get(1, { after: token, timeoutMs: 30_000, sources: true })
    expect(value).toEqual({ cents: 7n, paid: true })
    expect(sources).toHaveProperty('shop')
    const found = []
    for await (const { event } of app.tagged(events, 'type', 'Paid')) found.push(event)
    expect(found).toEqual([{ order_id: 1, type: 'Paid', note: 'cash' }])
    const body = JSON.stringify({ order_id: 1, type: 'Paid', note: null })
    const refused = await fetch(`${app.url}/v1/topics/shop.outbox`, { method: 'POST', body })
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([405, 'TOPIC_READ_ONLY'])
    await app.sources.get('shop')?.drop()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, 120_000)
