// A source that is behind, or held up, says so.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int(), note: z.string() })

describe('a PostgreSQL source that is behind', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await openTestPostgres()
  })
  afterAll(() => server?.stop())

  async function withCaptured(use: (captured: Captured, url: string) => Promise<void>) {
    const url = await createDatabase(server)
    const db = source(url)
    const captured = new Captured(db, url, [db.table('t', { key: 'id', row })])
    try {
      await captured.run('create table t (id int primary key, note text not null)')
      await captured.start()
      await captured.level()
      await use(captured, url)
    } finally {
      await captured.close()
    }
  }

  // The stream's keepalives say how far the stream has got: while it was behind, they made it look level.
  test('lag and age count what the stream has not sent yet', () =>
    withCaptured(async (captured, url) => {
      const pid = await withClient(url, async client => {
        const { rows } = await client.query(
          `select active_pid as pid from pg_replication_slots where slot_name = 'mainstem_test_db'`,
        )
        return Number(rows[0].pid)
      })
      await until(() => captured.connector.status().ageMs !== null)
      process.kill(pid, 'SIGSTOP')
      try {
        await captured.run(`insert into t select n, repeat('x', 100) from generate_series(10001, 12000) n`)
        await until(() => (captured.connector.status().lagBytes ?? 0) > 100_000)
        await until(() => (captured.connector.status().ageMs ?? 0) > 500)
      } finally {
        process.kill(pid, 'SIGCONT')
      }
      await captured.level()
      await until(() => captured.connector.status().lagBytes === 0 && (captured.connector.status().ageMs ?? 1e9) < 500)
    }))

  test('a locked table holds up a start, which names who holds the lock', () =>
    withCaptured(async (captured, url) => {
      await captured.stop()
      const locker = new pg.Client(url)
      await locker.connect()
      try {
        await locker.query('begin; lock table t in access exclusive mode')
        const { rows } = await locker.query('select pg_backend_pid() as pid')
        const started = captured.start()
        await until(() =>
          captured.events.some(
            event => event.event === 'source-waiting' && event.waitingFor.includes(`pid ${rows[0].pid} `),
          ),
        )
        await locker.query('commit')
        await started
        await captured.run(`insert into t values (7000, 'after the lock')`)
        await captured.level()
        expect((await captured.rows('t')).length).toBe(1)
      } finally {
        await locker.end()
      }
    }))
})
