import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { minorUnits } from '../../../core/index.ts'
import { createMariadbDatabase, type MariadbServer, withMariadb } from '../../support/mariadb.ts'
import { SERVERS } from './servers.ts'
import { Captured, source, until } from './support.ts'

const row = z.object({ id: z.int32(), name: z.string() })

/** Where they differ. */
const OF = {
  MariaDB: { noMetadata: "'NO_LOG'", monitor: 'binlog monitor', more: [], gtid: String.raw`0-1-\d+` },
  MySQL: {
    noMetadata: "'MINIMAL'",
    monitor: 'replication client',
    more: ['reload on *.*'],
    gtid: String.raw`[0-9a-f-]{36}:1-\d+`,
  },
}

describe.each(SERVERS)('what is checked of a $name before anything is read', ({ name: kind, isMissing, open }) => {
  describe.skipIf(isMissing())('of its own', () => {
    const { noMetadata, monitor, more, gtid } = OF[kind]
    let server: MariadbServer
    beforeAll(async () => {
      server = await open()
    })
    afterAll(() => server?.stop())

    async function refusal(captured: Captured): Promise<unknown> {
      return captured.open().then(
        () => 'opened',
        error => error,
      )
    }

    async function captured(...statements: string[]): Promise<Captured> {
      const url = await createMariadbDatabase(server)
      const db = source(url)
      const made = new Captured(db, url, [db.table('t', { key: 'id', row })])
      await made.run(
        ...(statements.length > 0 ? statements : ['create table t (id int primary key, name varchar(50) not null)']),
      )
      return made
    }

    test.each([
      ['binlog_format', "'STATEMENT'", "'ROW'", 'SET GLOBAL binlog_format = ROW'],
      ['binlog_row_metadata', noMetadata, "'FULL'", 'SET GLOBAL binlog_row_metadata = FULL'],
    ])('%s that cannot be streamed', async (name, wrong, right, hint) => {
      const made = await captured()
      try {
        await made.run(`set global ${name} = ${wrong}`)
        expect(await refusal(made)).toMatchObject({
          code: 'SOURCE_BINLOG_SETTINGS',
          hint: expect.stringContaining(hint),
        })
      } finally {
        await made.run(`set global ${name} = ${right}`)
        await made.close()
      }
    })

    test('all problems of tables and contracts at once', async () => {
      const made = await captured(
        'create table t (nr int primary key, name varchar(50) not null)',
        'create table nokey (id int, name varchar(50))',
        'create table prices (id int primary key, price decimal(10, 4), at datetime, virt int as (id + 1) virtual)',
        'create table parent (id int primary key)',
        'create table child (id int primary key, name varchar(5) not null, p int, constraint of_parent foreign key (p) references parent (id) on delete cascade)',
        'create view v as select * from prices',
      )
      const db = source(made.url)
      const prices = z.object({ id: z.int32(), price: minorUnits(2), at: z.iso.datetime(), virt: z.int32() })
      made.redefine(db, [
        db.table('t', { key: 'id', row }),
        db.table('tt', { key: 'id', row }),
        db.table('nokey', { key: 'id', row }),
        db.table('prices', { key: 'id', row: prices }),
        db.table('child', { key: 'id', row }),
        db.table('v', { key: 'id', row: z.object({ id: z.int32() }) }),
      ])
      try {
        const error = (await refusal(made)) as { data: { problems: { code: string; message: string; hint: string }[] } }
        expect(error.data.problems.map(({ code, message }) => `${code} ${message}`)).toEqual([
          "CONTRACT_COLUMN_MISSING db.t has no column 'id'",
          'CONTRACT_KEY_MISMATCH db.t is not identified by id',
          "CONTRACT_TABLE_MISSING db has no table 'tt'",
          'CONTRACT_KEY_MISMATCH nothing identifies a row of db.nokey',
          'CONTRACT_TYPE_LOSSY db.prices.price has 4 digits after the point',
          'CONTRACT_TYPE_MISMATCH db.prices.at does not hold such values',
          "CONTRACT_COLUMN_MISSING db.prices does not log column 'virt'",
          'SOURCE_CASCADE_UNLOGGED db.child is changed by a foreign key, which is not logged',
          'CONTRACT_TABLE_MISSING db.v is not an ordinary table',
        ])
        expect(error.data.problems[2]?.hint).toBe('did you mean t?')
      } finally {
        await made.close()
      }
    })

    test('a user with the least rights that are documented can capture; with fewer it is told which are missing', async () => {
      const made = await captured()
      const url = new URL(made.url)
      const limited = (grants: string[]) =>
        withMariadb(server.url(), async root => {
          await root.query('drop user if exists limited@127.0.0.1')
          await root.query("create user limited@127.0.0.1 identified by 'its password'")
          for (const grant of grants) await root.query(`grant ${grant} to limited@127.0.0.1`)
        })
      url.username = 'limited'
      url.password = 'its password'
      const db = source(url.href)
      made.redefine(db, [db.table('t', { key: 'id', row })])
      const database = url.pathname.slice(1)
      const replicate = `replication slave, ${monitor} on *.*`
      try {
        await limited([`select on ${database}.*`])
        expect(await refusal(made)).toMatchObject({
          code: 'SOURCE_PERMISSION',
          hint: expect.stringContaining(`GRANT REPLICATION SLAVE, ${monitor.toUpperCase()} ON *.*`),
        })
        await limited([replicate, `insert on ${database}.*`])
        expect(await refusal(made)).toMatchObject({ code: 'SOURCE_PERMISSION', message: 'db.t cannot be read' })
        await limited([replicate, ...more, `select on ${database}.*`])
        await made.run("insert into t values (1, 'in the snapshot')")
        await made.start()
        await made.level()
        await made.run("insert into t values (2, 'in the stream')")
        await made.level()
        expect(await made.rows('t')).toHaveLength(2)
        expect(JSON.stringify(made.connector.status())).not.toContain('its password')
        await made.stop()
        url.password = 'wrong'
        const other = source(url.href)
        made.redefine(other, [other.table('t', { key: 'id', row })])
        const error = await refusal(made)
        expect(error).toMatchObject({ code: 'SOURCE_AUTHENTICATION' })
        expect(JSON.stringify(error)).not.toContain('wrong')
      } finally {
        await made.close()
      }
    })

    test('binary logs that were purged before they were read: what is lost is named, reading again mends it', async () => {
      const made = await captured()
      try {
        await made.start()
        await made.run("insert into t values (1, 'read')")
        await made.level()
        await made.stop()
        await made.run(
          "insert into t values (2, 'lost')",
          'flush binary logs',
          "insert into t values (3, 'there')",
          'flush binary logs',
        )
        const logs = () =>
          withMariadb(
            made.url,
            async root => (await root.query('show binary logs'))[0] as unknown as { Log_name: string }[],
          )
        const last = (await logs()).at(-1)?.Log_name
        // A log that a connection still reads, though it is gone, is kept.
        await until(async () => {
          await made.run(`purge binary logs to '${last}'`)
          return (await logs())[0]?.Log_name === last
        })
        expect(await refusal(made)).toMatchObject({
          code: 'SOURCE_CHANGES_LOST',
          hint: expect.stringContaining('--resnapshot db'),
          detail: expect.stringMatching(
            new RegExp(`the log ends at ${gtid}, the oldest binary log begins behind ${gtid}`),
          ),
        })
        await made.start({ resnapshot: true })
        await made.level()
        expect(await made.rows('t')).toHaveLength(3)
      } finally {
        await made.close()
      }
    })

    test('a server whose log was begun anew is another server', async () => {
      const made = await captured()
      try {
        await made.start()
        await made.level()
        await made.stop()
        await made.run('reset master', "insert into t values (4, 'of another history')")
        expect(await refusal(made)).toMatchObject({
          code: 'SOURCE_SYSTEM_CHANGED',
          hint: expect.stringContaining('--resnapshot db'),
        })
        await made.start({ resnapshot: true })
        await made.level()
        expect(await made.rows('t')).toEqual([{ id: 4, name: 'of another history' }])
      } finally {
        await made.close()
      }
    })
  })
})
