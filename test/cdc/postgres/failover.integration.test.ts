// A standby takes the primary's place behind the same address: the source notices, says what was lost, and is repaired.
import pg from 'pg'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { PostgresOptions } from '../../../cdc/postgres/index.ts'
import { type CuttingProxy, openCuttingProxy } from '../../support/cutting-proxy.ts'
import { isMissing, openTestPostgres, withClient } from '../../support/postgres.ts'
import { openReplicatedPostgres, type ReplicatedPostgres, STANDBY_SLOT } from '../../support/standby.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int(), note: z.string() })

describe.each(['embedded', 'system'] as const)('behind the address of a %s PostgreSQL', version => {
  describe.skipIf(isMissing(version))('a promoted standby', () => {
    const closing: AsyncDisposable[] = []
    afterEach(async () => {
      for (const each of closing.splice(0).reverse()) await each[Symbol.asyncDispose]()
    })

    async function streaming(
      servers: ReplicatedPostgres,
      options: Partial<PostgresOptions> = {},
    ): Promise<{ captured: Captured; proxy: CuttingProxy }> {
      closing.push(servers)
      await servers.openStandby()
      const proxy = await openCuttingProxy(servers.primary.url())
      closing.push(proxy)
      const db = source(proxy.url, options)
      const captured = new Captured(db, proxy.url, [db.table('t', { key: 'id', row })])
      closing.push({ [Symbol.asyncDispose]: () => captured.close() })
      await captured.run(
        'create table t (id int primary key, note text not null)',
        `insert into t select n, 'note ' || n from generate_series(1, 500) n`,
      )
      await captured.start()
      await captured.level()
      return { captured, proxy }
    }

    const inTable = (captured: Captured) =>
      withClient(captured.url, async client => (await client.query('select id, note from t order by id::text')).rows)

    test('that has all is waited for, but no place to go on from: its slot is gone; read again, nothing is lost, doubled or stale', async () => {
      const servers = await openReplicatedPostgres(version)
      const { captured, proxy } = await streaming(servers)
      await captured.run(`update t set note = 'on the primary' where id <= 10`)
      await captured.level()
      await servers.caughtUp()
      await servers.primary.stop()
      proxy.forwardTo(servers.standby.url())
      await until(() => captured.connector.status().error?.detail?.includes('read-only standby'))
      expect(captured.connector.status()).toMatchObject({ state: 'retrying', error: { code: 'SOURCE_UNREACHABLE' } })
      await servers.promote()
      await captured.run(
        `update t set note = 'unseen' where id between 5 and 15`,
        'delete from t where id between 20 and 25',
        `insert into t values (1000, 'unseen')`,
      )
      const failed = await until(() => captured.event('source-failed'))
      expect(failed).toMatchObject({
        code: 'SOURCE_SYSTEM_CHANGED',
        message: 'source db was failed over to a standby, or restored',
        detail: expect.stringMatching(
          /^its timeline was 1 and is 2, which began at [0-9A-F]+\/[0-9A-F]+; slot mainstem_test_db did not come along: changes after [0-9A-F]+\/[0-9A-F]+ are lost$/,
        ),
        hint: expect.stringContaining('mainstem snapshot db'),
      })
      const { end } = captured.log
      await captured.connector.snapshot({ do: 'start' })
      await until(() => captured.connector.status().state === 'streaming')
      await captured.run(`insert into t values (1001, 'streamed')`, 'delete from t where id = 1')
      await captured.level()
      expect(await captured.rows('t')).toEqual(await inTable(captured))
      const ops = (await captured.records()).filter(each => each.position > end && each.op !== 'event')
      // 11 rows were changed, 6 deleted, 1 inserted unseen; one of each came by the stream.
      expect(
        ops
          .map(({ op }) => op)
          .sort()
          .join(),
      ).toBe([...Array(7).fill('delete'), ...Array(2).fill('insert'), ...Array(11).fill('update')].join())
      await captured.restart()
      await captured.level()
      expect(await captured.rows('t')).toEqual(await inTable(captured))
    })

    test('that lacks what the log has is told as such; read again, the log has what the standby has, and no reader is answered early', async () => {
      const servers = await openReplicatedPostgres(version)
      const { captured, proxy } = await streaming(servers)
      await servers.caughtUp()
      await servers.closeStandby()
      // Much more than what comes afterwards: the log is far ahead of all that the standby will write.
      await captured.run(
        `update t set note = 'never replicated' where id <= 10`,
        `insert into t values (2000, 'never replicated')`,
        `insert into t select 3000 + n, repeat('x', 1000) from generate_series(1, 5000) n`,
      )
      await captured.level()
      await servers.primary.stop()
      await servers.openStandby()
      await servers.promote()
      proxy.forwardTo(servers.standby.url())
      const failed = await until(() => captured.event('source-failed'))
      expect(failed).toMatchObject({
        code: 'SOURCE_SYSTEM_CHANGED',
        detail: expect.stringMatching(
          /^its timeline was 1 and is 2, which began at ([0-9A-F]+\/[0-9A-F]+): what the log has from there to [0-9A-F]+\/[0-9A-F]+ is not in it, and changes since then are lost$/,
        ),
      })
      await captured.connector.snapshot({ do: 'start' })
      await until(() => captured.connector.status().state === 'streaming')
      for (let n = 1; n <= 10; n++) {
        await captured.run(`update t set note = 'round ${n}' where id = 7`)
        await captured.level()
        expect((await captured.rows('t')).find(({ id }) => id === 7)).toEqual({ id: 7, note: `round ${n}` })
      }
      expect(await captured.rows('t')).toEqual(await inTable(captured))
      await until(() => captured.connector.status().lagBytes === 0)
      await until(() => (captured.connector.status().ageMs ?? Number.POSITIVE_INFINITY) < 2_000)
    })

    test.skipIf(version === 'embedded')('can have the slot only where its version keeps one', async context => {
      await using server = await openTestPostgres({ version })
      const db = source(server.url(), { failover: true })
      const captured = new Captured(db, server.url(), [db.table('t', { key: 'id', row })])
      try {
        await captured.run('create table t (id int primary key, note text not null)')
        const error = await captured.open().then(
          () => undefined,
          caught => caught,
        )
        if (error === undefined) return context.skip('the PostgreSQL of this system is a newer one')
        expect(error).toMatchObject({ code: 'SOURCE_VERSION', detail: expect.stringContaining('since 17') })
      } finally {
        await captured.close()
      }
    })

    test.skipIf(version === 'system')('that has the slot, too, is gone on with by itself, over restarts', async () => {
      const servers = await openReplicatedPostgres(version, { synchronized_standby_slots: STANDBY_SLOT })
      const { captured, proxy } = await streaming(servers, { failover: true })
      const slots = async (url: string) =>
        withClient(url, async client => {
          const { rows } = await client.query(
            'select failover, synced and not temporary as ready from pg_replication_slots where slot_name = $1',
            ['mainstem_test_db'],
          )
          return rows[0]
        })
      expect(await slots(servers.primary.url())).toEqual({ failover: true, ready: false })
      // As one that was made before.
      await captured.stop()
      const client = new pg.Client({
        connectionString: servers.primary.url(),
        ...({ replication: 'database' } as object),
      })
      await client.connect()
      await until(() => client.query('ALTER_REPLICATION_SLOT mainstem_test_db (FAILOVER false)').catch(() => undefined))
      await client.end()
      await captured.start()
      await until(async () => (await slots(servers.primary.url()))?.failover)
      await captured.run(`update t set note = 'on the primary' where id <= 10`)
      await captured.level()
      // What `sync_replication_slots` does by itself, at times of its own. It takes the slot over once that has passed where the
      // standby stands.
      await until(async () => {
        await withClient(servers.primary.url(), client => client.query('select pg_log_standby_snapshot()'))
        await servers.caughtUp()
        await withClient(servers.standby.url(), client => client.query('select pg_sync_replication_slots()'))
        return (await slots(servers.standby.url()))?.ready
      })
      await captured.run(`update t set note = 'just before' where id = 11`)
      await captured.level()
      await servers.caughtUp()
      await servers.primary.stop()
      await servers.promote()
      proxy.forwardTo(servers.standby.url())
      await captured.run(
        `update t set note = 'on the other' where id between 5 and 15`,
        'delete from t where id = 20',
        `insert into t values (1000, 'on the other')`,
      )
      await captured.level()
      expect(await captured.rows('t')).toEqual(await inTable(captured))
      expect(captured.event('source-failed')).toBeUndefined()
      expect(captured.events.filter(({ event }) => event === 'snapshot-started')).toHaveLength(1)
      const records = (await captured.records()).length
      await captured.restart()
      await captured.run(`update t set note = 'after a restart' where id = 1`)
      await captured.level()
      const control = (await captured.records()).filter(({ topic }) => topic === 'mainstem.sources').at(-1)
      expect(control?.after).toMatchObject({ event: 'snapshot-ended', identity: { timeline: '2' } })
      expect((await captured.records()).length).toBe(records + 1)
    })
  })
})
