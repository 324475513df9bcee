// What the server keeps of its log for a source that does not read: measured, told, and bounded where the source says so; and not
// kept at all because of tables that nobody writes to.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Captured, type Source, source, until } from './support.ts'

const MIB = 1024 * 1024
const row = z.object({ id: z.int(), note: z.string() })
const SETUP = [
  'create table t (id int primary key, note text not null)',
  'create table other (id int primary key, note text not null)',
  `insert into t values (1, 'one')`,
]
const tables = (db: Source) => [db.table('t', { key: 'id', row })]
/** About so many MiB of WAL of a table that nobody captures. */
const elsewhere = (mib: number) =>
  `insert into other select i, repeat(md5(i::text), 32) from generate_series(1, ${mib * 900}) i on conflict (id) do update set note = excluded.note`

describe('the log that a server keeps for a source', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await openTestPostgres({ settings: { max_wal_size: '1GB' } })
  })
  afterAll(() => server?.stop())

  async function capture(options: Parameters<typeof source>[1], use: (captured: Captured) => Promise<void>) {
    const url = await createDatabase(server)
    const db = source(url, options)
    const captured = new Captured(db, url, tables(db))
    captured.logOptions = { bytesMax: 1_000_000, freeBytesMin: 0, roomCheckMs: 50 }
    try {
      await captured.run(...SETUP)
      await captured.start()
      await captured.level()
      await use(captured)
    } finally {
      await captured.close()
    }
  }

  /** Fills the log until sources pause. */
  async function pause(captured: Captured): Promise<void> {
    for (let id = 100; captured.connector.status().state !== 'paused'; id++) {
      await captured.run(`insert into t values (${id}, repeat('x', 100000))`)
      if (captured.log.pressure === null) await captured.level()
    }
  }

  const slots = (captured: Captured) =>
    withClient(captured.url, async client => {
      const { rows } = await client.query(
        'select slot_name from pg_replication_slots where database = current_database()',
      )
      return rows.length
    })

  test('shows in the status, and an event tells of much and of little again', async () => {
    await capture({ walHeldBytesAlarm: 20 * MIB }, async captured => {
      expect(captured.connector.status().walHeldBytesMax).toBeNull()
      await until(() => captured.connector.status().walHeldBytes !== null)
      await pause(captured)
      await captured.run(elsewhere(40))
      const { bytes, bytesMax } = (await until(() => captured.event('source-log-held')))!
      expect(bytes).toBeGreaterThan(20 * MIB)
      expect(bytesMax).toBeNull()
      expect(captured.connector.status()).toMatchObject({ state: 'paused', walHeldBytes: expect.any(Number) })
      expect(captured.event('source-log-read')).toBeUndefined()
      await captured.stop()
      captured.logOptions = {}
      await captured.start()
      await captured.level()
      await captured.run('checkpoint', 'select pg_switch_wal()', elsewhere(1))
      await until(() => (captured.connector.status().walHeldBytes ?? 1e12) < 20 * MIB)
    })
  })

  test('is given up beyond the limit, also while the source is paused, and reading again is the repair', async () => {
    await capture({ walHeldBytesMax: 30 * MIB }, async captured => {
      await pause(captured)
      await captured.run(elsewhere(15))
      await captured.run(`insert into t values (7, 'seven')`)
      expect(await slots(captured)).toBe(1)
      await captured.run(elsewhere(45))
      const failed = await until(() => captured.event('source-failed'))
      expect(failed).toMatchObject({ code: 'SOURCE_SLOT_LOST', hint: expect.stringContaining('--resnapshot db') })
      expect(failed.detail).toContain(`the limit is ${30 * MIB}`)
      expect(captured.event('source-log-held')).toBeDefined()
      expect(captured.connector.status()).toMatchObject({
        state: 'failed',
        walHeldBytes: null,
        walHeldBytesMax: 30 * MIB,
        error: { code: 'SOURCE_SLOT_LOST' },
      })
      expect(await slots(captured)).toBe(0)
      const released = (await captured.records()).filter(record => record.after?.['event'] === 'log-released')
      expect(released.map(record => record.after)).toMatchObject([
        { source: 'db', position: captured.connector.status().position, detail: failed.detail },
      ])
      await captured.stop()
      captured.logOptions = {}
      await expect(captured.open()).rejects.toMatchObject({ code: 'SOURCE_SLOT_LOST' })
      await captured.stop()
      await captured.start({ resnapshot: true })
      await captured.level()
      expect((await captured.rows('t')).find(found => found['id'] === 7)).toEqual({ id: 7, note: 'seven' })
    })
  })

  test('is told at the start, with what came while nobody read; beyond the limit it is given up then, too', async () => {
    await capture({ walHeldBytesMax: 30 * MIB }, async captured => {
      captured.logOptions = {}
      await captured.restart()
      await captured.level()
      await captured.stop()
      await captured.run(elsewhere(45), `insert into t values (8, 'eight')`)
      captured.events.length = 0
      // What comes first, the end of all that was kept or the limit, is nobody's to say; that it was too much is told in any case.
      await captured.start()
      const behind = await until(() => captured.event('source-behind'))
      expect(behind.bytes).toBeGreaterThan(30 * MIB)
      expect(await until(() => captured.event('source-failed'))).toMatchObject({ code: 'SOURCE_SLOT_LOST' })
      expect(await slots(captured)).toBe(0)
    })
  })

  test('is little while only tables that nobody captures are written to', async () => {
    await capture({ walHeldBytesMax: 60 * MIB }, async captured => {
      // More in all than the limit.
      for (let round = 0; round < 4; round++) {
        await captured.run(elsewhere(20), 'checkpoint')
        await captured.level()
        // The server moves what it keeps when it has been told twice.
        await until(async () => {
          await captured.run(`select pg_log_standby_snapshot()`)
          const { rows } = await withClient(captured.url, client =>
            client.query<{ held: string }>(
              `select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::text as held from pg_replication_slots where database = current_database()`,
            ),
          )
          return Number(rows[0]?.held) < 20 * MIB
        })
      }
      expect(captured.connector.status().state).toBe('streaming')
      expect(captured.event('source-failed')).toBeUndefined()
    })
  })

  test('a limit that is no number is refused', () => {
    const db = source('postgres://nobody@localhost/none', { walHeldBytesMax: 0 })
    const context = { application: 'test', tables: [], mirrorPath: '', resnapshot: false, onEvent: () => {} }
    return expect(db.open({ ...context, log: undefined as never })).rejects.toMatchObject({
      code: 'DEFINITION_INVALID',
    })
  })
})
