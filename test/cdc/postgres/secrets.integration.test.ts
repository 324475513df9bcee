// A password is read where it is needed and shown nowhere: neither in errors, with all that hangs on them, nor in events or statuses.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { PostgresOptions } from '../../../cdc/index.ts'
import { withoutPasswords } from '../../../cdc/postgres/slot.ts'
import { describeError, env, reportOf, type SourceTable, secretFile } from '../../../core/index.ts'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Captured, type Source, source, until } from './support.ts'

const SECRET = 'sesame-7f3a'
/** A connection that was lost: by then it may have been made again. */
const RETRIED = 'a lost connection'
const row = z.object({ id: z.int(), name: z.string() })
const customers = (db: Source): SourceTable[] => [db.table('customers', { key: 'id', row })]

describe('a password', () => {
  let server: PostgresServer
  let url: string
  beforeAll(async () => {
    server = await openTestPostgres()
    url = await createDatabase(server)
    await withClient(url, async client => {
      await client.query('create table customers (id int primary key, name text)')
      await client.query('create table wide (id int primary key, price numeric(12,2))')
      for (const [name, what] of Object.entries({ reader: 'replication', stranger: '' }))
        await client.query(`create role ${name} login ${what} password '${SECRET}'`)
    })
  })
  afterAll(() => server?.stop())

  const as = (user: string, change: (url: URL) => void = () => {}): string => {
    const changed = new URL(url)
    changed.username = user
    changed.password = SECRET
    change(changed)
    return changed.href
  }

  /** All that there is to see of a source that does not open, or does not stay well. */
  async function seen(
    db: Source,
    tables: readonly SourceTable[],
    meanwhile?: (captured: Captured) => Promise<unknown>,
  ) {
    const captured = new Captured(db, url, tables)
    const all: unknown[] = []
    let code: unknown
    try {
      await captured.start()
      await meanwhile?.(captured)
      all.push(captured.connector.status(), captured.connector.parked(100))
      code = captured.connector.status().error?.code
    } catch (error) {
      const known = error as Parameters<typeof reportOf>[0]
      code = known.code
      all.push(inspect(error, { depth: 20, showHidden: true }), describeError(error), JSON.stringify(reportOf(known)))
    } finally {
      all.push(captured.events)
      await captured.stop().catch(error => all.push(inspect(error)))
      await source(url).drop('test')
      rmSync(captured.folder, { recursive: true, force: true })
    }
    return { code, text: all.map(each => (typeof each === 'string' ? each : JSON.stringify(each))).join('\n') }
  }

  const cases: [code: string, () => ReturnType<typeof seen>][] = [
    ['SOURCE_AUTHENTICATION', () => opened(as('nobody'))],
    ['SOURCE_PERMISSION', () => opened(as('stranger'))],
    ['SOURCE_PERMISSION', () => opened(as('reader'))],
    ['SOURCE_UNREACHABLE', () => opened(as('reader', each => (each.port = '1')))],
    ['SOURCE_UNREACHABLE', () => opened(as('reader', each => (each.pathname = '/nothing')))],
    ['SOURCE_UNREACHABLE', () => opened(as('reader', each => (each.hostname = 'nowhere.invalid')))],
    ['SOURCE_UNREACHABLE', () => opened(`http://reader:${SECRET}@localhost/db`)],
    ['SOURCE_UNREACHABLE', () => opened(`postgres://reader:${SECRET}/x@localhost/db`)],
    ['SOURCE_UNREACHABLE', () => opened(`postgres://reader:${SECRET}#x@localhost/db`)],
    ['SOURCE_UNREACHABLE', () => opened(`postgres://reader:${SECRET}?x@localhost/db`)],
    ['SOURCE_TLS', () => opened(as('reader'), { tls: true })],
    ['SOURCE_SETTING_MISSING', () => opened(as('reader'), { password: env('MAINSTEM_TEST_NOT_SET') })],
    [
      'CONTRACT_TABLE_MISSING',
      () => seen(source(as('postgres', own)), [source(url).table('none', { key: 'id', row })]),
    ],
    [
      'CONTRACT_TYPE_LOSSY',
      () => {
        const db = source(as('postgres', own))
        return seen(db, [db.table('wide', { key: 'id', row: z.object({ id: z.int(), price: z.number() }) })])
      },
    ],
    [
      'LOG_BEHIND_SLOT',
      async () => {
        await withClient(url, client =>
          client.query(`select pg_create_logical_replication_slot('mainstem_test_db', 'pgoutput')`),
        )
        return opened(as('postgres', own))
      },
    ],
    [
      'SOURCE_SLOT_LOST',
      async () => {
        const db = source(as('postgres', own))
        return seen(db, customers(db), async captured => {
          await captured.level()
          await captured.connector.drop()
          await captured.connector.stop()
          await captured.restart()
        })
      },
    ],
    [
      RETRIED,
      async () => {
        const db = source(as('postgres', own))
        return seen(db, customers(db), async captured => {
          await captured.level()
          await captured.run('select pg_terminate_backend(active_pid) from pg_replication_slots')
          await until(() => captured.event('source-retrying'))
        })
      },
    ],
  ]
  /** The superuser with its own password, which is as secret. */
  function own(each: URL): void {
    each.password = new URL(url).password
  }
  const opened = (at: string, options: Partial<PostgresOptions> = {}) => {
    const db = source(at, options)
    return seen(db, customers(db))
  }

  test.each(cases)('is in nothing that %s shows (%#)', async (code, provoke) => {
    const { code: found, text } = await provoke()
    if (code !== RETRIED) expect(found).toBe(code)
    expect(text).not.toBe('')
    expect(text).not.toContain(SECRET)
    expect(text).not.toContain(new URL(url).password)
  })

  test('comes from a file that may change, from the environment, or from the password file of PostgreSQL', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-secret-'))
    const [file, passFile] = [join(folder, 'password'), join(folder, 'pgpass')]
    const odd = 'a b/c@d#e%41?\'"é'
    const without = as('reader', each => {
      each.password = ''
    })
    const canOpen = async (options: Partial<PostgresOptions>, at = without) => {
      const db = source(at, options)
      // Without a table to read and a publication it is refused, but only once it is in.
      return (await seen(db, customers(db))).code
    }
    const setPassword = (password: string) =>
      withClient(url, client => client.query(`alter role reader password ${client.escapeLiteral(password)}`))
    try {
      writeFileSync(file, `${SECRET}\n`)
      const options = { password: secretFile(file) }
      expect(await canOpen(options)).toBe('SOURCE_PERMISSION')
      await setPassword(odd)
      expect(await canOpen(options)).toBe('SOURCE_AUTHENTICATION')
      writeFileSync(file, odd)
      expect(await canOpen(options)).toBe('SOURCE_PERMISSION')
      process.env['MAINSTEM_TEST_PASSWORD'] = odd
      expect(await canOpen({ password: env('MAINSTEM_TEST_PASSWORD') })).toBe('SOURCE_PERMISSION')
      process.env['MAINSTEM_TEST_URL'] = as('reader', each => {
        each.password = encodeURIComponent(odd)
      })
      expect(await canOpen({ url: env('MAINSTEM_TEST_URL') })).toBe('SOURCE_PERMISSION')
      await setPassword(SECRET)
      writeFileSync(passFile, `*:*:*:reader:${SECRET}\n`, { mode: 0o600 })
      process.env['PGPASSFILE'] = passFile
      expect(await canOpen({})).toBe('SOURCE_PERMISSION')
      rmSync(file)
      expect(await canOpen(options)).toBe('SOURCE_SETTING_MISSING')
      writeFileSync(file, '\n')
      expect(await canOpen(options)).toBe('SOURCE_SETTING_MISSING')
    } finally {
      for (const name of ['MAINSTEM_TEST_PASSWORD', 'MAINSTEM_TEST_URL', 'PGPASSFILE']) delete process.env[name]
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test("in another session's statement is left out where that statement is told", () => {
    expect(withoutPasswords(`alter role x PASSWORD 'it''s' valid until 'y'`)).toBe(
      `alter role x PASSWORD '…' valid until 'y'`,
    )
    expect(withoutPasswords(`create user x password 'cut sho`)).toBe(`create user x password '…'`)
    expect(withoutPasswords('alter role x password $a$it$a$')).toBe(`alter role x password '…'`)
    expect(withoutPasswords('select password from users')).toBe('select password from users')
  })
})

test('a server that says nothing of TLS, and one that is none, are told apart from a certificate', async () => {
  const silent = createServer(socket => socket.once('data', () => socket.end('X')))
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
  const address = silent.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const db = source(`postgres://u:${SECRET}@127.0.0.1:${port}/db?sslmode=verify-full`)
  const captured = new Captured(db, '', customers(db))
  try {
    await expect(captured.open()).rejects.toMatchObject({ code: 'SOURCE_TLS' })
  } finally {
    await captured.stop()
    rmSync(captured.folder, { recursive: true, force: true })
    silent.close()
  }
})

test('the least that a role needs: REPLICATION, SELECT on the columns of the contracts, a publication of the owner', async () => {
  await using server = await openTestPostgres()
  const url = await createDatabase(server)
  const role = new URL(url)
  role.username = 'mainstem'
  role.password = SECRET
  const db = source(role.href)
  const captured = new Captured(db, url, customers(db))
  try {
    await captured.run(
      'create table customers (id int primary key, name text, secret text)',
      `insert into customers values (1, 'Ada', 'x')`,
      `create role mainstem login replication password '${SECRET}'`,
      'revoke all on schema public from public',
      'grant usage on schema public to mainstem',
      'grant select (id, name) on customers to mainstem',
      'create publication mainstem_test_db for table customers (id, name) with (publish_via_partition_root = true)',
    )
    await captured.start()
    await captured.level()
    await captured.run(`insert into customers values (2, 'Bo', 'y')`, `update customers set name = 'Eve' where id = 1`)
    await captured.level()
    await captured.restart()
    await captured.run('delete from customers where id = 2')
    await captured.level()
    expect(await captured.rows('customers')).toEqual([{ id: 1, name: 'Eve' }])
    expect(await captured.connector.drop()).toEqual({ source: 'db', dropped: ['slot mainstem_test_db'] })
  } finally {
    await captured.close()
  }
})
