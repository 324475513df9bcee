// What a running source can be told of its snapshots.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { openApplication } from '../../../bin/open-application.ts'
import { application, count, projection } from '../../../projections/index.ts'
import { mainstem } from '../../support/mainstem-process.ts'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int(), note: z.string() })
const ROWS = 20_000

describe('snapshots of a running source', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await openTestPostgres()
  })
  afterAll(() => server?.stop())

  async function withCaptured(use: (captured: Captured) => Promise<void>): Promise<void> {
    const url = await createDatabase(server)
    const db = source(url)
    const captured = new Captured(db, url, [db.table('t', { key: 'id', row }), db.table('u', { key: 'id', row })])
    try {
      await captured.run(
        'create table t (id int primary key, note text not null)',
        'create table u (id int primary key, note text not null)',
        `insert into t select n, 'note ' || n from generate_series(1, ${ROWS}) n`,
        `insert into u select n, 'note ' || n from generate_series(1, 100) n`,
      )
      await use(captured)
    } finally {
      await captured.close()
    }
  }

  const streams = (captured: Captured) =>
    until(
      () => captured.connector.status().state === 'streaming' && captured.connector.status().snapshot === null,
      60_000,
    )

  test('is paused, stays so over a restart, goes on with what was not read, and makes no record where nothing differs', () =>
    withCaptured(async captured => {
      await captured.start()
      await streams(captured)
      const { end } = captured.log
      captured.onEvent = event => {
        if (event.event === 'snapshot-started') void captured.connector.snapshot({ do: 'pause' })
      }
      await captured.connector.snapshot({ do: 'start' })
      await until(() => captured.event('snapshot-paused'))
      captured.onEvent = () => {}
      const { snapshot } = captured.connector.status()
      expect(snapshot).toMatchObject({ paused: true, tables: 2, tablesDone: 0, error: null, secondsLeft: null })
      expect(snapshot?.rows).toBeLessThan(ROWS)
      await captured.run(`update t set note = 'meanwhile' where id = 1`)
      await captured.level()
      await captured.restart()
      await until(() => captured.connector.status().state === 'streaming')
      expect(captured.connector.status().snapshot).toMatchObject({ paused: true, rows: snapshot?.rows })
      await captured.connector.snapshot({ do: 'resume' })
      await streams(captured)
      const later = (await captured.records()).filter(({ position, op }) => position > end && op !== 'event')
      expect(later.map(({ op, after }) => [op, after])).toEqual([['update', { id: 1, note: 'meanwhile' }]])
    }))

  test('is cancelled, but not where views would lack rows; what is not one is refused', () =>
    withCaptured(async captured => {
      captured.onEvent = event => {
        if (event.event === 'snapshot-started') void captured.connector.snapshot({ do: 'pause' })
      }
      await captured.start()
      await until(() => captured.event('streaming'))
      captured.onEvent = () => {}
      const { connector } = captured
      expect(connector.status()).toMatchObject({
        state: 'snapshotting',
        waitingFor: expect.stringContaining('mainstem snapshot db --resume'),
        snapshot: { paused: true },
      })
      await expect(connector.snapshot({ do: 'cancel' })).rejects.toMatchObject({ code: 'SNAPSHOT_NEEDED' })
      await expect(connector.snapshot({ do: 'start', tables: ['t'] })).rejects.toMatchObject({
        code: 'SNAPSHOT_RUNNING',
      })
      await connector.snapshot({ do: 'resume' })
      await streams(captured)
      expect((await captured.rows('t')).length).toBe(ROWS)
      await expect(connector.snapshot({ do: 'pause' })).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_RUNNING' })
      await expect(connector.snapshot({ do: 'start', tables: ['v'] })).rejects.toMatchObject({
        code: 'TABLE_UNKNOWN',
        detail: expect.stringContaining('t, u'),
      })
      for (const where of ['nothing = 1', 'true) union select (true', 'id = 1; select 1', 'id']) {
        await expect(connector.snapshot({ do: 'start', where })).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' })
      }
      await connector.snapshot({ do: 'start', tables: ['t'] })
      await connector.snapshot({ do: 'pause' })
      await connector.snapshot({ do: 'cancel' })
      expect(connector.status()).toMatchObject({ state: 'streaming', snapshot: null })
      expect(captured.event('snapshot-cancelled')).toBeDefined()
    }))

  test('mends what differs: all of a table with what is gone, or only what a condition says', () =>
    withCaptured(async captured => {
      await captured.start()
      await streams(captured)
      // As if the stream had missed it.
      await captured.run(
        `set session_replication_role = 'replica'`,
        'alter publication mainstem_test_db drop table t',
        'delete from t where id <= 10',
        `update t set note = 'lost' where id between 11 and 30`,
        `insert into t values (50000, 'lost')`,
        'alter publication mainstem_test_db add table t',
      )
      await captured.level()
      const { end } = captured.log
      await captured.connector.snapshot({ do: 'start', tables: ['db.t'], where: 'id between 1 and 20' })
      await streams(captured)
      expect((await captured.rows('t')).filter(each => each['note'] === 'lost').length).toBe(10)
      await captured.connector.snapshot({ do: 'start', tables: ['t'] })
      await streams(captured)
      const rows = await captured.rows('t')
      expect(rows.length).toBe(ROWS - 10 + 1)
      expect(rows.filter(each => each['note'] === 'lost').length).toBe(21)
      const later = (await captured.records()).filter(({ position, op }) => position > end && op !== 'event')
      expect(later.length).toBe(10 + 20 + 1)
    }))

  test('a condition that fails on a row pauses it with the reason; the stream goes on', () =>
    withCaptured(async captured => {
      await captured.start()
      await streams(captured)
      await captured.connector.snapshot({ do: 'start', tables: ['t'], where: '1 / (id - 5000) > 0' })
      const { error } = await until(() => captured.event('snapshot-paused'))
      expect(error).toMatchObject({ code: 'SOURCE_PROTOCOL' })
      await captured.run(`insert into u values (1000, 'goes on')`)
      await captured.level()
      expect((await captured.rows('u')).length).toBe(101)
      expect(captured.connector.status()).toMatchObject({ state: 'streaming', snapshot: { paused: true, error } })
      await captured.connector.snapshot({ do: 'cancel' })
    }))

  test('a source that failed because its slot is gone is repaired by it, without a restart', () =>
    withCaptured(async captured => {
      await captured.start()
      await streams(captured)
      await captured.run(
        `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'mainstem_test_db'`,
      )
      await until(async () => {
        await captured
          .run(
            `select pg_drop_replication_slot('mainstem_test_db')`,
            `insert into t values (50000, 'while nobody saw')`,
          )
          .catch(() => {})
        return captured.connector.status().state === 'failed'
      })
      expect(captured.connector.status().error).toMatchObject({
        code: 'SOURCE_SLOT_LOST',
        hint: expect.stringContaining('mainstem snapshot db'),
      })
      await expect(captured.connector.snapshot({ do: 'pause' })).rejects.toMatchObject({ code: 'NOT_READY' })
      await captured.connector.snapshot({ do: 'start' })
      await streams(captured)
      await captured.level()
      expect((await captured.rows('t')).length).toBe(ROWS + 1)
    }))

  test('the command line starts, conditions, pauses, resumes and cancels it, and says how it ended', async () => {
    const url = await createDatabase(server)
    await withClient(url, client =>
      client.query(
        `create table t (id int primary key, note text not null); insert into t select n, 'note' from generate_series(1, ${ROWS}) n`,
      ),
    )
    const db = source(url)
    const counts = projection('counts', { key: z.string(), state: z.object({ rows: z.int32() }) }).on(
      db.table('t', { key: 'id', row }),
      each => each.note,
      { rows: count() },
    )
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-snapshot-'))
    const app = await openApplication(application('snapshots', { views: [counts] }), {
      dataDir: folder,
      listen: { port: 0 },
    })
    const snapshot = async (...args: string[]) => {
      const { code, stdout, stderr } = await mainstem(['snapshot', 'db', ...args, '--url', app.url ?? '', '--json'])
      return {
        code,
        json: code === 2 || stdout === '' ? undefined : JSON.parse(stdout.trim().split('\n').at(-1) ?? ''),
        stderr,
      }
    }
    try {
      const connector = app.sources.get('db')!
      await until(() => connector.status().state === 'streaming' && connector.status().snapshot === null)
      expect((await snapshot('none')).stderr).toContain('TABLE_UNKNOWN')
      expect((await snapshot('--pause', '--cancel')).stderr).toContain('REQUEST_INVALID')
      expect((await snapshot('--pause')).stderr).toContain('SNAPSHOT_NOT_RUNNING')
      expect(await snapshot('t', '--where', 'id <= 10')).toMatchObject({
        code: 0,
        json: { source: 'db', snapshot: null },
      })
      // A row on which the condition fails: it pauses itself there.
      const stuck = await snapshot('t', '--where', `1 / (id - ${ROWS}) <= 0`)
      expect(stuck).toMatchObject({ code: 1, json: { snapshot: { paused: true, error: { code: 'SOURCE_PROTOCOL' } } } })
      expect(await snapshot('--pause')).toMatchObject({ code: 0, json: { snapshot: { paused: true, error: null } } })
      const { stdout } = await mainstem(['sources', '--url', app.url ?? '', '--json'])
      expect(JSON.parse(stdout)).toMatchObject({ sources: [{ name: 'db', snapshot: { paused: true, tables: 1 } }] })
      expect((await snapshot('--resume')).code).toBe(1)
      await withClient(url, client => client.query(`delete from t where id = ${ROWS}`))
      expect(await snapshot('--resume')).toMatchObject({ code: 0, json: { snapshot: null } })
      expect((await snapshot('--where', `1 / (id - ${ROWS - 1}) <= 0`)).code).toBe(1)
      expect(await snapshot('--cancel')).toMatchObject({ code: 0, json: { snapshot: null } })
      expect(connector.status()).toMatchObject({ state: 'streaming', snapshot: null })
      expect(await snapshot('--no-wait')).toMatchObject({ code: 0, json: { snapshot: { tables: 1 } } })
      await until(() => connector.status().snapshot === null)
      await connector.drop()
    } finally {
      await app.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
