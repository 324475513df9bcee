// Synchronous replication: commits that wait for the source itself, and commits that are in the stream long before anybody sees them.
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int(), note: z.string() })
const ROWS = 50_000
const COMMITS = 11

const medianOf = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** Of a server where only those wait for a standby who say so. */
async function withCaptured(server: PostgresServer, use: (captured: Captured) => Promise<void>): Promise<void> {
  const url = await createDatabase(server)
  const db = source(url)
  const captured = new Captured(db, url, [db.table('t', { key: 'id', row })])
  try {
    await captured.run(
      'create table t (id int primary key, note text not null)',
      'create table other (id int primary key, note text not null)',
      `insert into t select n, 'note ' || n from generate_series(1, ${ROWS}) n`,
    )
    await use(captured)
  } finally {
    await captured.close()
  }
}

const standby = (name: string) => ({ synchronous_standby_names: name, synchronous_commit: 'local' })

const streams = (captured: Captured) =>
  until(
    () => captured.connector.status().state === 'streaming' && captured.connector.status().snapshot === null,
    60_000,
  )

const has = async (captured: Captured, id: number): Promise<boolean> =>
  (await captured.rows('t')).some(each => each['id'] === id)

/** Resolves when some session waits for what `query` says; gives its pid. */
const waits = (captured: Captured, query: string) =>
  until(() =>
    withClient(captured.url, async client => {
      const { rows } = await client.query<{ pid: number }>(`select pid from pg_stat_activity where ${query}`)
      return rows[0]?.pid
    }),
  )

describe.each(['embedded', 'system'] as const)('a source of the %s PostgreSQL that is the standby', version => {
  test.skipIf(isMissing(version))(
    'lets a commit return when the log has it, at once, also one of a table that nobody captures',
    async () => {
      await using server = await openTestPostgres({ version, settings: standby('"mainstem db"') })
      await withCaptured(server, async captured => {
        await captured.run(`alter database "${new URL(captured.url).pathname.slice(1)}" set synchronous_commit = on`)
        // It is listed before it has ever run: what it commits itself, its publication first of all, waits for no one.
        await captured.start()
        await streams(captured)
        let id = ROWS
        const commitsInto = async (table: string) => {
          const tookMs: number[] = []
          for (let n = 0; n < COMMITS; n++) {
            const sinceMs = performance.now()
            await captured.run(`insert into ${table} values (${++id}, 'synchronous')`)
            tookMs.push(performance.now() - sinceMs)
          }
          if (table === 't') expect(await has(captured, id)).toBe(true)
          return medianOf(tookMs)
        }
        // What is confirmed now and then takes 100 ms, and a second where there is nothing of ours.
        await expect.poll(() => commitsInto('t')).toBeLessThan(80)
        await expect.poll(() => commitsInto('other')).toBeLessThan(300)
        // All else goes on beside it.
        await captured.connector.snapshot({ do: 'start' })
        await streams(captured)
        expect((await captured.audit()).equal).toBe(true)
      })
    },
  )
})

test('a commit that is in the log long before it is visible is lost by none: neither stream, snapshot nor audit', async () => {
  await using server = await openTestPostgres({ settings: standby('absent') })
  await withCaptured(server, async captured => {
    /** Commits what is to be seen only when that which comes back has been called. */
    const hidden = async (id: number) => {
      const commit = captured.run(
        'set synchronous_commit = on',
        'begin',
        `insert into t values (${id}, 'hidden')`,
        `update t set note = 'changed by ${id}' where id = ${id - ROWS}`,
        `delete from t where id = ${id - 10_000}`,
        'commit',
      )
      const pid = await waits(captured, `wait_event = 'SyncRep'`)
      await until(() => has(captured, id))
      return async () => {
        await captured.run(`select pg_cancel_backend(${pid})`)
        await commit
      }
    }
    const expectSame = async () => {
      await captured.level()
      const { rows } = await withClient(captured.url, client => client.query('select id, note from t order by id'))
      expect((await captured.rows('t')).toSorted((a, b) => Number(a['id']) - Number(b['id']))).toEqual(rows)
    }
    await captured.start()
    await streams(captured)

    // Before a snapshot begins: that waits, and says for what.
    const show = await hidden(ROWS + 1)
    await captured.connector.snapshot({ do: 'start', tables: ['t'] })
    await until(() => captured.connector.status().waitingFor?.includes('began before the snapshot'))
    await show()
    await streams(captured)
    await expectSame()

    // In its midst: what does not see it is read again.
    await captured.connector.snapshot({ do: 'start', tables: ['t'] })
    await until(() => (captured.connector.status().snapshot?.rows ?? 0) > 0)
    await captured.connector.snapshot({ do: 'pause' })
    const showThen = await hidden(ROWS + 2)
    await captured.connector.snapshot({ do: 'resume' })
    await showThen()
    await streams(captured)
    await expectSame()

    // An audit waits for it, too.
    captured.events.length = 0
    const showLast = await hidden(ROWS + 3)
    const audit = captured.audit()
    await waits(captured, `query like 'CREATE_REPLICATION_SLOT%' and wait_event_type = 'Lock'`)
    await until(() => captured.event('source-waiting')?.waitingFor.includes('whose commit waits for a standby'))
    await showLast()
    expect((await audit).equal).toBe(true)
    await expectSame()
  })
})
