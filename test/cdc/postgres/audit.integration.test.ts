// An audit finds exactly the keys that differ, nothing while a database is written to, and mends what it found.
import { afterEach, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Random } from '../../support/random.ts'
import { Captured, source, until } from './support.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const ROWS = 3_000

let server: PostgresServer
let captured: Captured

beforeAll(async () => {
  server = await openTestPostgres()
  return () => server.stop()
})
afterEach(() => captured.close())

/** Two tables, streaming; `few` refuses rows with a negative `n`. */
async function open(): Promise<string> {
  const url = await createDatabase(server)
  const db = source(url)
  const many = db.table('many', {
    key: 'id',
    row: z.object({ id: z.int(), n: z.int32(), text: z.string().nullable() }),
  })
  const few = db.table('few', { key: ['a', 'b'], row: z.object({ a: z.string(), b: z.int32(), n: z.int32().min(0) }) })
  captured = new Captured(db, url, [many, few])
  await captured.run(
    'create table many (id int8 primary key, n int not null, text text)',
    'create table few (a text, b int, n int not null, primary key (a, b))',
    `insert into many select n, n % 17, repeat('x', n % 50) from generate_series(1, ${ROWS}) n`,
    `insert into few select 'ä ' || n % 7, n, n from generate_series(1, 100) n`,
    `insert into few values ('refused', 1, -1)`,
  )
  await captured.start()
  await captured.level()
  return url
}

/** Changes that the server does not send. */
async function unseen(...statements: readonly string[]): Promise<void> {
  const publication = captured.connector.status().publication!
  await captured.run(`alter publication ${publication} drop table many, few`)
  await captured.run(...statements)
  await captured.run(`alter publication ${publication} add table many, few`)
  await captured.level()
}

test('tables that are the same are equal, and their hashes too; refused rows are counted, not compared', async () => {
  await open()
  const report = await captured.audit()
  expect(report).toMatchObject({ equal: true, repaired: null })
  const [many, few] = report.tables
  expect(many).toMatchObject({ table: 'many', rows: ROWS, mirrorRows: ROWS, parked: 0, mismatches: 0, keys: [] })
  expect(few).toMatchObject({ table: 'few', rows: 100, mirrorRows: 100, parked: 1, mismatches: 0 })
  expect(many!.hash).toBe(many!.mirrorHash)
  expect(many!.hash).not.toBe(few!.hash)
})

test('keys that differ are named, each with its kind and columns; a repair has the log say what the database does', async () => {
  await open()
  await unseen(
    `update many set n = n + 1, text = 'other' where id = 7`,
    `delete from many where id in (9, 2999)`,
    `insert into many values (5000, 1, null), (5001, 1, 'new')`,
    `update few set n = 1000 where b = 50`,
  )
  const report = await captured.audit()
  expect(report.equal).toBe(false)
  const [many, few] = report.tables
  expect(many).toMatchObject({ rows: ROWS, mirrorRows: ROWS, mismatches: 5 })
  expect(many!.chunksDiffering).toBeLessThanOrEqual(5)
  expect(many!.keys).toEqual([
    { key: '7', kind: 'differs', columns: ['n', 'text'] },
    { key: '9', kind: 'extra', columns: [] },
    { key: '2999', kind: 'extra', columns: [] },
    { key: '5000', kind: 'missing', columns: [] },
    { key: '5001', kind: 'missing', columns: [] },
  ])
  expect(few!.keys).toEqual([{ key: `${encodeURIComponent('ä 1')},50`, kind: 'differs', columns: ['n'] }])
  // Finding out changes nothing.
  expect(await captured.audit({ tables: ['many'] })).toMatchObject({ equal: false, tables: [{ mismatches: 5 }] })

  expect(await captured.audit({ repair: true })).toMatchObject({ equal: false, repaired: 6 })
  expect(await captured.audit()).toMatchObject({ equal: true, repaired: null })
  const rows = await captured.rows('many')
  const inDatabase = await withClient(captured.url, client => client.query('select id::int, n, text from many'))
  expect(new Set(rows.map(row => JSON.stringify(row)))).toEqual(
    new Set(inDatabase.rows.map(row => JSON.stringify(row))),
  )
})

test('current rows are read by key and in the order of keys, whole transactions only', async () => {
  const url = await open()
  const { tables } = captured.connector
  const { key } = tables.contracts.get('many')!
  const keys = (...ids: readonly number[]) => ids.map(id => key.encode(id))
  await captured.run(`update many set text = 'now' where id = 2`)
  await captured.level()
  const { rows, position } = await tables.get('many', keys(2, 7_000))
  expect(rows).toEqual([{ id: 2, n: 2, text: 'now' }, undefined])
  expect(position).toBe(captured.log.end)
  const ids: unknown[] = []
  for (let after: Buffer | undefined; ; ) {
    const page = await tables.page('many', after, 700)
    ids.push(...page.rows.map(row => row!['id']))
    if (page.rows.length < 700) break
    after = key.encodeFromRow(page.rows.at(-1)!)
  }
  expect(ids).toEqual(Array.from({ length: ROWS }, (_, n) => n + 1))
  // Both or neither, while each transaction moves a piece from one to the other.
  let writing = true
  const writer = withClient(url, async client => {
    while (writing) await client.query('update many set n = n + case id when 5 then 1 else -1 end where id in (5, 6)')
  })
  try {
    for (let n = 0; n < 200; n++) {
      const pair = (await tables.get('many', keys(5, 6))).rows.map(row => Number(row!['n']))
      expect(pair[0]! + pair[1]!).toBe(11)
    }
  } finally {
    writing = false
    await writer
  }
})

test(`while the tables are written to nothing differs (SEED=${SEED})`, async () => {
  const url = await open()
  const random = new Random(SEED)
  let writing = true
  let transactions = 0
  const writer = withClient(url, async client => {
    while (writing) {
      const id = 1 + random.int(ROWS)
      await client.query('begin')
      await client.query(`update many set n = n + 1 where id between ${id} and ${id + random.int(40)}`)
      await client.query(`delete from many where id = ${1 + random.int(ROWS)}`)
      await client.query(
        `insert into many values (${1 + random.int(2 * ROWS)}, 1, 'w') on conflict (id) do update set n = -1`,
      )
      await client.query(
        `update many set id = id + 100000 where id = ${1 + random.int(ROWS)} and not exists (select from many m where m.id = many.id + 100000)`,
      )
      await client.query(random.int(5) === 0 ? 'rollback' : 'commit')
      transactions++
    }
  })
  try {
    for (let round = 0; round < 8; round++) {
      const before = transactions
      const report = await captured.audit(round % 2 === 0 ? {} : { rowsPerSecondMax: 20_000 })
      expect(
        report.tables.map(({ keys }) => keys),
        `SEED=${SEED}`,
      ).toEqual([[], []])
      await until(() => transactions > before)
    }
  } finally {
    writing = false
    await writer
  }
  await captured.level()
  expect(await captured.audit()).toMatchObject({ equal: true })
})

test('a rate is kept, an audit can be cancelled, only one runs, and only where there is something to compare with', async () => {
  await open()
  const { audits } = captured.connector
  expect(() => audits.start({ tables: ['none'] })).toThrow(expect.objectContaining({ code: 'TABLE_UNKNOWN' }))
  expect(audits.start({ rowsPerSecondMax: 100 }).state).toBe('running')
  expect(() => audits.start({})).toThrow(expect.objectContaining({ code: 'OVERLOADED' }))
  const progress = await until(() => audits.status().progress ?? undefined)
  expect(progress.rows).toBeLessThan(ROWS)
  expect(audits.cancel()).toBe(true)
  const { error } = await until(() => (audits.status().state === 'failed' ? audits.status() : undefined))
  expect(error).toMatchObject({ code: 'CANCELLED' })
  expect(audits.cancel()).toBe(false)
  expect(await captured.audit()).toMatchObject({ equal: true })
  const slots = await withClient(captured.url, client =>
    client.query('select slot_name from pg_replication_slots where temporary'),
  )
  expect(slots.rows).toEqual([])
})
