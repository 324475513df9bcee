import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SourceTable } from '../../../core/index.ts'
import { minorUnits } from '../../../core/index.ts'
import { createDatabase, createLimitedRole, openTestPostgres, type PostgresServer } from '../../support/postgres.ts'
import { Captured, type Source, source } from './support.ts'

const row = z.object({ id: z.int(), name: z.string() })
const plain = (db: Source): SourceTable[] => [db.table('customers', { key: 'id', row })]

describe('opening a source refuses, before any effect,', () => {
  let server: PostgresServer
  let url: string
  beforeAll(async () => {
    server = await openTestPostgres()
    url = await createDatabase(server)
    const setup = new Captured(source(url), url, [])
    await setup.run(
      'create table customers (id int primary key, name text not null)',
      'create table odd (id int primary key, code text, price numeric(12,2), big int8, at timestamptz, local timestamp, twice int generated always as (id * 2) virtual)',
      'create table keyless (id int, name text)',
      'create table ported (id int unique, name text)',
      'create table whole (id int, name text)',
      'create table deferred (id int primary key deferrable, name text)',
      'create table partly (id int, name text)',
      'create unique index on partly (id) where id > 0',
      'create table computed (id int, name text)',
      'create unique index on computed (id, lower(name))',
      ...['whole', 'deferred', 'partly', 'computed'].map(name => `alter table ${name} replica identity full`),
      'create table pair (a int, b int, primary key (a, b))',
      'create unlogged table fleeting (id int primary key, name text)',
      'create view peek as select * from customers',
    )
  })
  afterAll(() => server?.stop())

  /** The error of opening, and that nothing was left on the server. */
  async function refusal(at: string, tables: (db: Source) => SourceTable[]) {
    const db = source(at)
    const captured = new Captured(db, url, tables(db))
    try {
      await captured.open()
    } catch (error) {
      expect(String((error as Error).stack)).not.toContain('sesame')
      return error as Error & { code: string; detail: string; hint: string; data?: { problems: { code: string }[] } }
    } finally {
      await captured.close()
    }
    throw new Error('it opened')
  }

  const withUrl = (change: (url: URL) => void): string => {
    const changed = new URL(url)
    change(changed)
    return changed.href
  }

  test('a wrong password', async () => {
    const wrong = withUrl(each => {
      each.password = 'sesame'
    })
    expect(await refusal(wrong, plain)).toMatchObject({ code: 'SOURCE_AUTHENTICATION' })
  })

  test('a server that is not there, and a database that does not exist', async () => {
    const nowhere = withUrl(each => {
      each.port = '1'
      each.password = 'sesame'
    })
    expect(await refusal(nowhere, plain)).toMatchObject({
      code: 'SOURCE_UNREACHABLE',
      detail: expect.stringContaining('ECONNREFUSED'),
    })
    const missing = withUrl(each => {
      each.pathname = '/nothing'
    })
    expect(await refusal(missing, plain)).toMatchObject({
      code: 'SOURCE_UNREACHABLE',
      detail: expect.stringContaining('nothing'),
    })
  })

  test('a role without REPLICATION, with the ALTER ROLE it needs', async () => {
    const role = await createLimitedRole(url)
    const setup = new Captured(source(url), url, [])
    await setup.run(`alter role "${role.name}" noreplication`, `alter table customers owner to "${role.name}"`)
    const error = await refusal(role.url, plain)
    await setup.run('alter table customers owner to postgres')
    expect(error).toMatchObject({
      code: 'SOURCE_PERMISSION',
      hint: expect.stringContaining(`ALTER ROLE "${role.name}" REPLICATION`),
    })
  })

  test("a role that owns no table, with the administrator's SQL; it works once that was run", async () => {
    const role = await createLimitedRole(url)
    const db = source(role.url)
    const captured = new Captured(db, url, plain(db))
    try {
      const error = await captured.open().then(
        () => undefined,
        caught => caught,
      )
      expect(error.data.problems.map((each: { hint: string }) => each.hint)).toEqual([
        expect.stringContaining('GRANT SELECT ON "public"."customers"'),
        expect.stringContaining('CREATE PUBLICATION "mainstem_test_db" FOR TABLE only "public"."customers"'),
      ])
      const publication: string = error.data.problems[1].hint.replace(/^.*?: /, '')
      await captured.run(
        `grant select on customers to "${role.name}"`,
        publication,
        `insert into customers values (77, 'x')`,
      )
      await captured.start()
      await captured.level()
      expect(await captured.rows('customers')).toContainEqual({ id: 77, name: 'x' })
      // The administrator's publication is not this role's to drop.
      expect(await captured.connector.drop()).toEqual({ source: 'db', dropped: ['slot mainstem_test_db'] })
    } finally {
      await captured.stop()
      await source(url).drop('test')
      await captured.close()
    }
  })

  test('a table whose row-level security hides rows', async () => {
    const role = await createLimitedRole(url)
    const setup = new Captured(source(url), url, [])
    await setup.run(
      `create table guarded (id int primary key, name text)`,
      'alter table guarded enable row level security',
    )
    await setup.run(
      `grant select on guarded to "${role.name}"`,
      'create publication mainstem_test_db for table guarded',
    )
    const error = await refusal(role.url, db => [db.table('guarded', { key: 'id', row })])
    await setup.run('drop publication if exists mainstem_test_db')
    expect(error).toMatchObject({ code: 'SOURCE_PERMISSION', hint: expect.stringContaining('BYPASSRLS') })
  })

  test('a table that is missing, with the name that was probably meant', async () => {
    const error = await refusal(url, db => [db.table('custmers', { key: 'id', row })])
    expect(error).toMatchObject({ code: 'CONTRACT_TABLE_MISSING', hint: 'did you mean customers?' })
  })

  test('a view, an unlogged table', async () => {
    expect(await refusal(url, db => [db.table('peek', { key: 'id', row })])).toMatchObject({
      code: 'CONTRACT_TABLE_MISSING',
    })
    expect(await refusal(url, db => [db.table('fleeting', { key: 'id', row })])).toMatchObject({
      detail: expect.stringContaining('write-ahead'),
    })
  })

  test('a column that is missing or generated', async () => {
    const error = await refusal(url, db => [
      db.table('customers', { key: 'id', row: z.object({ id: z.int(), nmae: z.string() }) }),
    ])
    expect(error).toMatchObject({
      code: 'CONTRACT_COLUMN_MISSING',
      detail: 'it has id, name',
      hint: 'did you mean name?',
    })
    const generated = await refusal(url, db => [
      db.table('odd', { key: 'id', row: z.object({ id: z.int(), twice: z.int() }) }),
    ])
    expect(generated).toMatchObject({ code: 'CONTRACT_COLUMN_MISSING', detail: expect.stringContaining('generated') })
  })

  test.each([
    ['price', z.number(), 'CONTRACT_TYPE_LOSSY', 'minorUnits(2)'],
    ['price', minorUnits(1), 'CONTRACT_TYPE_LOSSY', 'minorUnits(2)'],
    ['price', z.int(), 'CONTRACT_TYPE_LOSSY', 'minorUnits(2)'],
    ['big', z.number(), 'CONTRACT_TYPE_LOSSY', 'z.bigint()'],
    ['code', z.int(), 'CONTRACT_TYPE_MISMATCH', 'z.string()'],
    ['code', z.array(z.string()), 'CONTRACT_TYPE_MISMATCH', 'z.string()'],
    ['at', z.boolean(), 'CONTRACT_TYPE_MISMATCH', 'z.iso.datetime()'],
    ['local', z.iso.datetime(), 'CONTRACT_TYPE_MISMATCH', 'local: true'],
    ['big', z.guid(), 'CONTRACT_TYPE_MISMATCH', 'z.bigint()'],
  ])('a %s column held as the wrong type (%#)', async (column, schema, code, hint) => {
    const shape = z.object({ id: z.int(), [column]: schema })
    const error = await refusal(url, db => [db.table('odd', { key: 'id', row: shape }) as SourceTable])
    expect(error).toMatchObject({ code, hint: expect.stringContaining(hint) })
  })

  test('a key that updates and deletes do not name', async () => {
    const none = await refusal(url, db => [db.table('keyless', { key: 'id', row })])
    expect(none).toMatchObject({ code: 'CONTRACT_KEY_MISMATCH', hint: 'add a primary key' })
    const other = await refusal(url, db => [db.table('ported', { key: 'id', row })])
    expect(other).toMatchObject({
      code: 'CONTRACT_KEY_MISMATCH',
      hint: expect.stringContaining('REPLICA IDENTITY FULL'),
    })
    const half = await refusal(url, db => [db.table('pair', { key: 'a', row: z.object({ a: z.int(), b: z.int() }) })])
    expect(half).toMatchObject({ code: 'CONTRACT_KEY_MISMATCH', hint: expect.stringContaining("key: ['a', 'b']") })
  })

  // Two rows of one key were taken for one: an insert came as an update, a delete took both.
  test.each(['whole', 'deferred', 'partly', 'computed'])(
    'a whole old row, but nothing that makes the key unique: %s',
    async name => {
      const error = await refusal(url, db => [db.table(name, { key: 'id', row })])
      expect(error).toMatchObject({
        code: 'CONTRACT_KEY_MISMATCH',
        message: expect.stringContaining('several rows of one id'),
        hint: expect.stringContaining('PRIMARY KEY'),
      })
    },
  )

  test('all problems at once', async () => {
    const error = await refusal(url, db => [
      db.table('custmers', { key: 'id', row }),
      db.table('odd', { key: 'id', row: z.object({ id: z.int(), price: z.number(), gone: z.string() }) }),
    ])
    expect(error.data?.problems.map(problem => problem.code)).toEqual([
      'CONTRACT_TABLE_MISSING',
      'CONTRACT_TYPE_LOSSY',
      'CONTRACT_COLUMN_MISSING',
    ])
  })

  test('a slot that the log knows nothing of', async () => {
    const setup = new Captured(source(url), url, [])
    await setup.run(`select pg_create_logical_replication_slot('mainstem_test_db', 'pgoutput')`)
    expect(await refusal(url, plain)).toMatchObject({
      code: 'LOG_BEHIND_SLOT',
      hint: expect.stringContaining('--resnapshot db'),
    })
  })

  test('an environment variable that is not set', async () => {
    const { postgres } = await import('../../../cdc/index.ts')
    const { env } = await import('../../../core/index.ts')
    const db = postgres('db', { url: env('MAINSTEM_TEST_NOT_SET') })
    await expect(db.drop('test')).rejects.toMatchObject({ code: 'SOURCE_SETTING_MISSING' })
  })
})

test('a server without wal_level logical, and without free slots, is refused with both problems', async () => {
  await using server = await openTestPostgres({ settings: { wal_level: 'replica', max_replication_slots: '0' } })
  const url = server.url()
  const db = source(url)
  const captured = new Captured(db, url, plain(db))
  await captured.run('create table customers (id int primary key, name text)')
  const error = await captured.open().catch(caught => caught)
  expect(error).toMatchObject({ code: 'SOURCE_WAL_LEVEL', hint: expect.stringContaining('wal_level = logical') })
  expect(error.data.problems.map((problem: { code: string }) => problem.code)).toEqual([
    'SOURCE_WAL_LEVEL',
    'SOURCE_SLOTS_EXHAUSTED',
  ])
  await captured.close()
})
