import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { parseLsn } from '../../../cdc/index.ts'
import type { SourceTable } from '../../../core/index.ts'
import {
  createDatabase,
  createLimitedRole,
  openTestPostgres,
  type PostgresServer,
  withClient,
} from '../../support/postgres.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'
import { Captured, readBlocks, type Source, source, until } from './support.ts'

const row = z.object({ id: z.int(), note: z.string() })
const SETUP = [
  'create table t (id int primary key, note text not null)',
  `insert into t select n, 'note ' || n from generate_series(1, 1000) n`,
]
const plain = (db: Source): SourceTable[] => [db.table('t', { key: 'id', row })]
const SLOT = 'mainstem_test_db'

describe('the life of a PostgreSQL source', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await openTestPostgres({ settings: { max_prepared_transactions: '5' } })
  })
  afterAll(() => server?.stop())

  async function withCaptured(use: (captured: Captured, url: string) => Promise<void>, started = true) {
    const url = await createDatabase(server)
    const db = source(url)
    const captured = new Captured(db, url, plain(db))
    try {
      await captured.run(...SETUP)
      if (started) {
        await captured.start()
        await captured.level()
      }
      await use(captured, url)
    } finally {
      await captured.close()
    }
  }

  const query = async <T extends object>(url: string, sql: string): Promise<T> =>
    withClient(url, async client => (await client.query(sql)).rows[0] as T)

  /** The server may need a moment to see that the connection which used the slot has ended. */
  const whenFree = (url: string, sql: string) =>
    until(() =>
      query(url, sql).then(
        () => true,
        () => false,
      ),
    )

  const confirmed = async (url: string): Promise<bigint> =>
    parseLsn(
      (
        await query<{ lsn: string }>(
          url,
          `select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = '${SLOT}'`,
        )
      ).lsn,
    )

  test('a role that is not superuser owns and captures its tables', async () => {
    const superUrl = await createDatabase(server)
    const role = await createLimitedRole(superUrl)
    const db = source(role.url)
    const captured = new Captured(db, role.url, plain(db))
    try {
      await captured.run(...SETUP)
      await captured.start()
      await captured.run(`insert into t values (0, 'zero')`)
      await captured.level()
      expect((await captured.rows('t')).length).toBe(1001)
      expect(await captured.connector.drop()).toEqual({
        source: 'db',
        dropped: [`slot ${SLOT}`, `publication ${SLOT}`],
      })
    } finally {
      await captured.close()
    }
  })

  test('tells its progress in events and in its status', () =>
    withCaptured(async captured => {
      const names = captured.events.map(event => event.event)
      expect(names).toEqual(['snapshot-started', 'snapshot-progress', 'snapshot-ended', 'handover', 'streaming'])
      await until(() => captured.connector.status().lagBytes === 0)
      expect(captured.connector.status()).toMatchObject({
        state: 'streaming',
        waitingFor: null,
        slot: SLOT,
        tables: ['db.t'],
        error: null,
        parked: 0,
      })
    }))

  test('resumes where it stood: nothing twice, what was written meanwhile once', () =>
    withCaptured(async captured => {
      await captured.stop()
      await captured.run(
        `insert into t values (5000, 'meanwhile')`,
        `update t set note = 'changed' where id = 1`,
        'delete from t where id = 2',
      )
      await captured.start()
      const { end } = captured.log
      await captured.level()
      expect((await captured.records()).filter(({ op, position }) => op !== 'event' && position > end)).toHaveLength(3)
      expect((await captured.rows('t')).length).toBe(1000)
      expect(captured.events.filter(event => event.event === 'snapshot-started').length).toBe(1)
    }))

  test('a reader on an idle database is answered within a second', () =>
    withCaptured(async captured => {
      for (let n = 0; n < 5; n++) {
        const before = performance.now()
        await captured.level()
        expect(performance.now() - before).toBeLessThan(1_000)
      }
      const token = await query<{ lsn: string }>(captured.url, 'select (pg_current_wal_insert_lsn() + 60)::text as lsn')
      await captured.connector.reached(token.lsn, AbortSignal.timeout(10_000))
      expect(() => captured.connector.checkPosition('42')).toThrow(expect.objectContaining({ code: 'TOKEN_MALFORMED' }))
      await expect(captured.connector.reached('FFFF/0', AbortSignal.timeout(200))).rejects.toThrow(/timeout/i)
    }))

  test('confirmed_flush moves while only other tables write, never past the log', () =>
    withCaptured(async (captured, url) => {
      const before = await confirmed(url)
      await captured.run('create table other (id int)')
      await until(async () => {
        await captured.run('insert into other select generate_series(1, 1000)')
        return (await confirmed(url)) > before + 100_000n
      })
      const mark = captured.log.mark('db')
      expect(await confirmed(url)).toBeLessThanOrEqual(parseLsn(mark?.position ?? '0/0'))
      expect((await readBlocks(captured.log)).some(block => block.count === 0 && block.mark)).toBe(true)
      expect(captured.connector.status().ageMs).toBeLessThan(5_000)
    }))

  test('a connection that is cut is made again, in the middle of changes too', () =>
    withCaptured(async (captured, url) => {
      for (let n = 0; n < 5; n++) {
        await captured.run(`update t set note = 'round ${n}'`)
        await query(
          url,
          `select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null and slot_name = '${SLOT}'`,
        )
      }
      await captured.level()
      expect(new Set((await captured.rows('t')).map(each => each['note']))).toEqual(new Set(['round 4']))
      expect(captured.event('source-retrying')).toMatchObject({ code: 'SOURCE_UNREACHABLE' })
    }))

  test('slot creation that a transaction holds up names its pid, and goes on afterwards', () =>
    withCaptured(async (captured, url) => {
      const blocker = new pg.Client({ connectionString: url })
      await blocker.connect()
      await blocker.query(`begin; insert into t values (-1, 'uncommitted')`)
      const { rows } = await blocker.query<{ pid: number }>('select pg_backend_pid() as pid')
      await captured.start()
      const waiting = await until(() => captured.event('source-waiting'))
      expect(waiting.waitingFor).toContain(`pid ${rows[0]?.pid}`)
      expect(captured.connector.status().waitingFor).toBe(waiting.waitingFor)
      await blocker.query('commit')
      await blocker.end()
      await captured.level()
      expect((await captured.rows('t')).length).toBe(1001)
      expect(captured.connector.status().waitingFor).toBe(null)
    }, false))

  test('stopping while slot creation is held up leaves no slot behind', () =>
    withCaptured(async (captured, url) => {
      await captured.run(`begin; insert into t values (-1, 'p'); prepare transaction 'held'`)
      try {
        await captured.start()
        const waiting = await until(() => captured.event('source-waiting'))
        expect(waiting.waitingFor).toContain('prepared transaction held')
        await captured.stop()
        await until(
          async () =>
            (
              await query<{ n: number }>(
                url,
                `select count(*)::int as n from pg_stat_replication where state = 'startup'`,
              )
            ).n === 0,
        )
        expect(
          (
            await query<{ n: number }>(
              url,
              `select count(*)::int as n from pg_replication_slots where slot_name = '${SLOT}'`,
            )
          ).n,
        ).toBe(0)
      } finally {
        await captured.run(`rollback prepared 'held'`)
      }
    }, false))

  test('a process that died while slot creation was held up leaves nothing in the way', () =>
    withCaptured(async (captured, url) => {
      const blocker = new pg.Client({ connectionString: url })
      await blocker.connect()
      await blocker.query(`begin; insert into t values (-1, 'uncommitted')`)
      const child = spawn(process.execPath, [join(import.meta.dirname, 'plain-child.ts'), url, captured.folder], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const exited = once(child, 'exit')
      for await (const line of createInterface({ input: child.stdout })) if (line === 'source-waiting') break
      child.kill('SIGKILL')
      await exited
      await captured.start()
      await until(() => captured.connector.status().waitingFor?.includes('holds up slot creation'))
      await blocker.query('commit')
      await blocker.end()
      await captured.level()
      expect((await captured.rows('t')).length).toBe(1001)
    }, false))

  test('a slot that vanished is refused; --resnapshot records only the differences', () =>
    withCaptured(async (captured, url) => {
      await captured.stop()
      await whenFree(url, `select pg_drop_replication_slot('${SLOT}')`)
      await captured.run(
        `update t set note = 'lost' where id = 1`,
        'delete from t where id = 2',
        `insert into t values (2000, 'new')`,
      )
      await expect(captured.start()).rejects.toMatchObject({
        code: 'SOURCE_SLOT_LOST',
        hint: expect.stringContaining('--resnapshot db'),
      })
      const { end } = captured.log
      await captured.start({ resnapshot: true })
      await captured.level()
      const changes = (await captured.records()).filter(record => record.position > end && record.op !== 'event')
      expect(changes.map(change => change.op).sort()).toEqual(['delete', 'insert', 'update'])
      expect((await captured.rows('t')).length).toBe(1000)
      await captured.restart()
      await captured.level()
      expect((await captured.rows('t')).length).toBe(1000)
    }))

  test('a publication that vanished, or lost a table, is refused; --resnapshot repairs it', () =>
    withCaptured(async captured => {
      for (const damage of [`drop publication ${SLOT}`, `alter publication ${SLOT} set table other`]) {
        await captured.stop()
        await captured.run(
          'create table if not exists other (id int primary key)',
          damage,
          'update t set note = note || 1',
        )
        await expect(captured.start()).rejects.toMatchObject({
          code: 'SOURCE_SLOT_LOST',
          message: expect.stringContaining(SLOT),
        })
        await captured.start({ resnapshot: true })
        await captured.level()
      }
      expect((await captured.rows('t'))[0]).toEqual({ id: 1, note: 'note 111' })
    }))

  test('--resnapshot reads everything again where nothing looks wrong, too', () =>
    withCaptured(async captured => {
      // A change that is not streamed, as the truncation of a single partition is not.
      await captured.run(`alter publication ${SLOT} set (publish = 'insert, update')`)
      await captured.run('delete from t where id = 1')
      await captured.run(`alter publication ${SLOT} set (publish = 'insert, update, delete, truncate')`)
      await captured.level()
      expect((await captured.rows('t')).length).toBe(1000)
      await captured.stop()
      await captured.start({ resnapshot: true })
      await captured.level()
      expect((await captured.rows('t')).length).toBe(999)
    }))

  test('a log that is behind the slot is refused', () =>
    withCaptured(async (captured, url) => {
      await captured.stop()
      await captured.run(`insert into t values (2000, 'lost')`)
      await whenFree(url, `select pg_replication_slot_advance('${SLOT}', pg_current_wal_lsn())`)
      await expect(captured.start()).rejects.toMatchObject({
        code: 'LOG_BEHIND_SLOT',
        detail: expect.stringContaining('lost'),
      })
      await captured.start({ resnapshot: true })
      await captured.level()
      expect((await captured.rows('t')).length).toBe(1001)
    }))

  test('a table, or a column, that the snapshot did not have is read while changes are streamed', () =>
    withCaptured(async (captured, url) => {
      await captured.stop()
      await captured.run(
        `create table u as select * from t where id < 10`,
        'alter table u add primary key (id)',
        `alter table t add more text default 'm'`,
      )
      const db = source(url)
      const tables = [
        db.table('t', { key: 'id', row: row.extend({ more: z.string().nullable() }) }),
        db.table('u', { key: 'id', row }),
      ]
      captured.redefine(db, tables)
      const { end } = (await captured.start()).log
      await until(() => captured.connector.status().state === 'streaming')
      await captured.level()
      expect((await captured.rows('u')).length).toBe(9)
      expect((await captured.rows('t'))[0]).toEqual({ id: 1, note: 'note 1', more: 'm' })
      const later = (await captured.records()).filter(({ position }) => position > end && position)
      const kinds = new Set(later.map(({ topic, op }) => `${topic} ${op}`))
      expect([...kinds].sort()).toEqual(['db.t update', 'db.u insert', 'mainstem.sources event'])
    }))

  test('a slot that another connection uses is waited for, then refused with its pid', () =>
    withCaptured(async (captured, url) => {
      await captured.stop()
      const other = new pg.Client({ connectionString: url, ...({ replication: 'database' } as object) })
      other.on('error', () => {})
      await other.connect()
      void other
        .query(`START_REPLICATION SLOT "${SLOT}" LOGICAL 0/0 (proto_version '1', publication_names '${SLOT}')`)
        .catch(() => {})
      const { pid } = await until(async () => {
        const slot = await query<{ pid: number | null }>(
          url,
          `select active_pid as pid from pg_replication_slots where slot_name = '${SLOT}'`,
        )
        return slot.pid ? { pid: slot.pid } : undefined
      })
      await captured.start()
      expect((await until(() => captured.event('source-waiting'))).waitingFor).toContain(`pid ${pid}`)
      await until(() => captured.connector.status().state === 'failed')
      expect(captured.connector.status().error).toMatchObject({
        code: 'SOURCE_SLOT_IN_USE',
        hint: expect.stringContaining(`pg_terminate_backend(${pid})`),
      })
      await query(url, `select pg_terminate_backend(${pid})`)
    }))

  test.each(['ENOSPC', 'EIO'])(
    'a disk that fails with %s for a while loses and doubles nothing, in snapshot and stream',
    code =>
      withCaptured(async captured => {
        const disk = new SimulatedDisk()
        captured.fileSystem = disk
        let failing = 0
        disk.fault = operation => {
          if (failing === 0 || (operation !== 'write' && operation !== 'datasync')) return undefined
          failing--
          return systemError(code)
        }
        captured.onEvent = event => {
          if (event.event === 'snapshot-progress') failing = captured.events.length < 10 ? 3 : 0
        }
        await captured.start()
        await captured.level()
        expect((await captured.rows('t')).length).toBe(1000)
        for (let n = 0; n < 4; n++) {
          await captured.run(`update t set note = 'round ${n}'`)
          failing = 2
          await captured.run('update t set id = -id where id % 10 = 0', 'update t set id = -id where id < 0')
        }
        await captured.level()
        expect((await captured.rows('t')).map(each => each['note'])).toEqual(Array(1000).fill('round 3'))
        // Want of room is waited for, a failure is tried again.
        if (code === 'ENOSPC') expect(captured.event('source-paused')?.waitingFor).toContain('room')
        else expect(captured.event('source-retrying')).toMatchObject({ code: 'LOG_FAILED' })
      }, false),
  )

  test('a snapshot that was interrupted is read again, with no row twice', () =>
    withCaptured(async (captured, url) => {
      await captured.run(`insert into t select n, repeat('x', 100) from generate_series(1001, 100000) n`)
      await captured.start()
      await until(() => captured.event('snapshot-progress'))
      await query(
        url,
        `select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy (%' and pid <> pg_backend_pid() and datname = current_database()`,
      )
      await captured.run('delete from t where id < 500', `update t set note = 'u' where id = 700`)
      await captured.level()
      expect((await captured.rows('t')).length).toBe(99_501)
    }, false))
})

test('another server behind the url is refused, and a server that is down is waited for', async () => {
  const first = await openTestPostgres()
  const url = first.url()
  let current = url
  const db = source('', { url: { env: 'MAINSTEM_TEST_URL', fallback: undefined } })
  process.env['MAINSTEM_TEST_URL'] = current
  const captured = new Captured(db, url, plain(db))
  try {
    await captured.run(...SETUP)
    await captured.start()
    await captured.level()
    await first.restart('immediate')
    await captured.run(`insert into t values (2000, 'after the crash')`)
    await captured.level()
    await captured.stop()
    await first.stop()
    await captured.start()
    await until(() => captured.connector.status().state === 'retrying')
    expect(captured.connector.status().error).toMatchObject({ code: 'SOURCE_UNREACHABLE' })
    await captured.stop()
    await using second = await openTestPostgres()
    current = second.url()
    process.env['MAINSTEM_TEST_URL'] = current
    await withClient(current, async client => {
      for (const statement of SETUP) await client.query(statement)
    })
    await expect(captured.start()).rejects.toMatchObject({ code: 'SOURCE_SYSTEM_CHANGED' })
    await captured.stop()
  } finally {
    await captured.close()
    await first.stop()
  }
})
