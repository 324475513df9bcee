// A replica takes the primary's place behind the same address: what the log has and it has too is gone on from; where it lacks some of
// that the source says so, and is repaired.
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type CuttingProxy, openCuttingProxy } from '../../support/cutting-proxy.ts'
import { createMariadbDatabase, type MariadbServer, withMariadb } from '../../support/mariadb.ts'
import { SERVERS } from './servers.ts'
import { Captured, source, until } from './support.ts'

/** What was committed is there after a crash, and can be followed. */
const DURABLE = { 'innodb-flush-log-at-trx-commit': '1' }
const row = z.object({ id: z.int32(), note: z.string() })

describe.each(SERVERS)('behind the address of a $name', ({ name: kind, isMissing, open }) => {
  describe.skipIf(isMissing())('a replica that takes its place', () => {
    const closing: AsyncDisposable[] = []
    afterEach(async () => {
      for (const each of closing.splice(0).reverse()) await each[Symbol.asyncDispose]()
    })

    const on = (server: MariadbServer, ...statements: string[]) =>
      withMariadb(server.url(), async client => {
        for (const statement of statements) await client.query(statement)
      })

    const follow = (replica: MariadbServer, primary: MariadbServer) =>
      on(
        replica,
        // One that was a primary before goes on from what it has.
        ...(kind === 'MySQL' ? [] : ['set global gtid_slave_pos = @@global.gtid_binlog_pos']),
        `change master to master_host = '127.0.0.1', master_port = ${primary.port}, master_user = 'root', ${kind === 'MySQL' ? 'master_auto_position = 1' : 'master_use_gtid = slave_pos'}`,
        'start slave',
      )

    const promote = (replica: MariadbServer) => on(replica, 'stop slave', 'reset slave all')

    async function caughtUp(replica: MariadbServer, primary: MariadbServer): Promise<void> {
      const variable = kind === 'MySQL' ? '@@global.gtid_executed' : '@@global.gtid_binlog_pos'
      const ask = (server: MariadbServer, sql: string) =>
        withMariadb(server.url(), async client => ((await client.query(sql))[0] as { value: unknown }[])[0]?.value)
      const end = await ask(primary, `select ${variable} as value`)
      const wait = kind === 'MySQL' ? 'wait_for_executed_gtid_set' : 'master_gtid_wait'
      expect(Number(await ask(replica, `select ${wait}('${end}', 20) as value`))).toBe(0)
    }

    const rows = (captured: Captured) =>
      withMariadb(captured.url, async client => {
        const [found] = await client.query('select id, note from t order by cast(id as char)')
        return (found as { id: unknown; note: string }[]).map(({ id, note }) => ({ id: Number(id), note }))
      })

    async function replicated() {
      const servers = await Promise.all(
        ['1', '2'].map(id => open({ ...DURABLE, 'server-id': id, 'log-slave-updates': 'ON' })),
      )
      closing.push(...servers)
      const [primary, replica] = servers as [MariadbServer, MariadbServer]
      await follow(replica, primary)
      const url = await createMariadbDatabase(primary)
      const proxy = await openCuttingProxy(url)
      closing.push(proxy)
      const db = source(proxy.url)
      const captured = new Captured(db, proxy.url, [db.table('t', { key: 'id', row })])
      closing.push({ [Symbol.asyncDispose]: () => captured.close() })
      await captured.run(
        'create table t (id int primary key, note varchar(40) not null)',
        "insert into t values (1, 'one'), (2, 'two'), (3, 'three')",
      )
      await captured.start()
      await captured.level()
      return { captured, proxy, primary, replica }
    }

    /** The primary writes what the replica never gets, dies, and the replica writes before the source comes to it. */
    async function diverge(
      { captured, proxy }: { captured: Captured; proxy: CuttingProxy },
      primary: MariadbServer,
      replica: MariadbServer,
      [lost, unseen]: readonly [number, number],
    ): Promise<void> {
      await caughtUp(replica, primary)
      await promote(replica)
      for (let n = 0; n < lost; n++) await captured.run(`insert into t values (${1_000 + n}, 'never replicated')`)
      await captured.level()
      await primary.stop()
      const database = new URL(captured.url).pathname.slice(1)
      for (let n = 0; n < unseen; n++) await on(replica, `insert into ${database}.t values (${2_000 + n}, 'unseen')`)
      proxy.forwardTo(replica.url())
    }

    test('is gone on with where the log ends; where it lacks what the log has it is read again, and no reader is answered early', async () => {
      const { captured, proxy, primary, replica } = await replicated()
      await captured.run("update t set note = 'on the primary' where id = 1")
      await captured.level()
      await caughtUp(replica, primary)
      await primary.restart('SIGKILL')
      await promote(replica)
      await follow(primary, replica)
      proxy.forwardTo(replica.url())
      await captured.run("update t set note = 'on the replica' where id = 2", "insert into t values (4, 'four')")
      await captured.level()
      expect(await captured.rows('t')).toEqual(await rows(captured))
      expect(captured.event('source-failed')).toBeUndefined()
      expect(captured.events.filter(({ event }) => event === 'snapshot-started')).toHaveLength(1)

      await diverge({ captured, proxy }, replica, primary, [40, 5])
      expect(await until(() => captured.event('source-failed'))).toMatchObject({
        code: 'SOURCE_SYSTEM_CHANGED',
        detail: expect.stringMatching(/^the log has its transactions up to .+, the server ends at .+/),
        hint: expect.stringContaining('mainstem snapshot db'),
      })
      await captured.connector.snapshot({ do: 'start' })
      await until(() => captured.connector.status().state === 'streaming')
      for (let n = 1; n <= 10; n++) {
        await captured.run(`update t set note = 'round ${n}' where id = 3`)
        await captured.level()
        expect((await captured.rows('t')).find(({ id }) => id === 3)).toEqual({ id: 3, note: `round ${n}` })
      }
      expect(await captured.rows('t')).toEqual(await rows(captured))
    })

    // Sets of MySQL say whose a transaction is, wherever it stands.
    test.skipIf(kind === 'MySQL')('is told from the primary by what it has, however far it is', async () => {
      const { captured, proxy, primary, replica } = await replicated()
      await diverge({ captured, proxy }, primary, replica, [5, 40])
      expect(await until(() => captured.event('source-failed'))).toMatchObject({
        code: 'SOURCE_CHANGES_LOST',
        hint: expect.stringContaining('mainstem snapshot db'),
      })
      await captured.connector.snapshot({ do: 'start' })
      await until(() => captured.connector.status().state === 'streaming')
      await captured.level()
      expect(await captured.rows('t')).toEqual(await rows(captured))
    })
  })
})
