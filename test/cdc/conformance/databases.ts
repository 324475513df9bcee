// The databases that every scenario of this folder runs over, each on a real server.
import mysql from 'mysql2/promise'
import pg from 'pg'
import { postgres, writeToken as postgresToken } from '../../../cdc/index.ts'
import { mariadb, writeToken as mariadbToken, mysql as mysqlSource } from '../../../cdc/mariadb/index.ts'
import type { SourceDefinition, SourceTable } from '../../../core/index.ts'
import {
  createMariadbDatabase,
  isMariadbMissing,
  type MariadbServer,
  openTestMariadb,
  withMariadb,
} from '../../support/mariadb.ts'
import { isMysqlMissing, MYSQL_URL, openTestMysql } from '../../support/mysql.ts'
import { createDatabase, isMissing, openTestPostgres, withClient } from '../../support/postgres.ts'
import { CapturedSource } from '../captured.ts'

export type DatabaseName = 'embedded PostgreSQL' | 'system PostgreSQL' | 'MariaDB' | 'MySQL'
export type Source = ReturnType<typeof mariadb<'db'>>
export type DatabaseRow = Readonly<Record<string, unknown>>

/** One connection for SQL. */
export interface SqlSession {
  query(sql: string): Promise<readonly DatabaseRow[]>
  end(): Promise<void>
}

export interface TestServer extends AsyncDisposable {
  /** A new, empty database; its url. */
  createDatabase(): Promise<string>
  /** Stops hard (as a crash does, or a failing machine) and starts again. Undefined where the server is somebody else's. */
  readonly crash: (() => Promise<void>) | undefined
}

/** What the scenarios need of a database beside a server: declarations, and where its SQL differs. */
export interface Dialect {
  readonly name: DatabaseName
  source(url: string): Source
  connect(url: string): Promise<SqlSession>
  token(url: string): Promise<string>
  /** `(…) s`, with a column `n` from 1 to `count`. */
  series(count: number): string
  /** A point in time with milliseconds. */
  readonly timestamp: string
  /** Ends the connections by which changes are read. */
  cutStream(url: string): Promise<void>
}

export interface Database extends Dialect {
  isMissing(): boolean
  open(): Promise<TestServer>
}

const postgresDialect = {
  source: (url: string): Source => postgres('db', { url }),
  async connect(url: string): Promise<SqlSession> {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    return { query: async sql => (await client.query<DatabaseRow>(sql)).rows, end: () => client.end() }
  },
  token: (url: string) => withClient(url, client => postgresToken(client, { name: 'db' })),
  series: (count: number) => `generate_series(1, ${count}) s(n)`,
  timestamp: 'timestamptz(3)',
  async cutStream(url: string): Promise<void> {
    await withClient(url, client => client.query('select pg_terminate_backend(pid) from pg_stat_replication'))
  },
}

function postgresServer(name: 'embedded' | 'system'): Database {
  return {
    ...postgresDialect,
    name: `${name} PostgreSQL`,
    isMissing: () => isMissing(name),
    async open() {
      const server = await openTestPostgres({ version: name })
      return {
        createDatabase: () => createDatabase(server),
        crash: () => server.restart('immediate'),
        [Symbol.asyncDispose]: () => server.stop(),
      }
    },
  }
}

function mariadbDialect(technology: 'mariadb' | 'mysql'): Omit<Dialect, 'name'> {
  return {
    source: url => (technology === 'mysql' ? mysqlSource('db', { url }) : mariadb('db', { url })),
    async connect(url) {
      const client = await mysql.createConnection({ uri: url.replace(/^mariadb:/, 'mysql:'), timezone: 'Z' })
      client.on('error', () => {})
      return {
        query: async sql => (await client.query(sql))[0] as unknown as readonly DatabaseRow[],
        end: () => client.end(),
      }
    },
    token: url => withMariadb(url, client => mariadbToken(client, { name: 'db', technology })),
    series: count =>
      technology === 'mysql'
        ? `(select n from json_table(concat('[0', repeat(',0', ${count - 1}), ']'), '$[*]' columns (n for ordinality)) j) s`
        : `(select seq as n from seq_1_to_${count}) s`,
    timestamp: 'timestamp(3) null',
    async cutStream(url) {
      await withMariadb(url, async client => {
        const [dumps] = await client.query<mysql.RowDataPacket[]>(
          "select id from information_schema.processlist where command like 'Binlog Dump%'",
        )
        for (const { id } of dumps) await client.query(`kill ${Number(id)}`).catch(() => {})
      })
    },
  }
}

const DURABLE = { 'sync-binlog': '1', 'innodb-flush-log-at-trx-commit': '1' }

const mariadbServer: Database = {
  ...mariadbDialect('mariadb'),
  name: 'MariaDB',
  isMissing: isMariadbMissing,
  open: async () => ownServer(await openTestMariadb(DURABLE)),
}

const mysqlServer: Database = {
  ...mariadbDialect('mysql'),
  name: 'MySQL',
  isMissing: isMysqlMissing,
  open: async () => (MYSQL_URL ? serverAt(MYSQL_URL) : ownServer(await openTestMysql(DURABLE))),
}

const ownServer = (server: MariadbServer): TestServer => ({
  createDatabase: () => createMariadbDatabase(server),
  crash: () => server.restart('SIGKILL'),
  [Symbol.asyncDispose]: () => server.stop(),
})

function serverAt(administrator: string): TestServer {
  const url = (database = ''): string => {
    const named = new URL(administrator)
    named.pathname = `/${database}`
    return named.href
  }
  return {
    createDatabase: () => createMariadbDatabase({ url }),
    crash: undefined,
    [Symbol.asyncDispose]: async () => {},
  }
}

export const DATABASES: readonly Database[] = [
  postgresServer('embedded'),
  postgresServer('system'),
  mariadbServer,
  mysqlServer,
]

export const databaseNamed = (name: string): Database => {
  const database = DATABASES.find(each => each.name === name)
  if (!database) throw new Error(`no database is called ${name}`)
  return database
}

export class Captured extends CapturedSource {
  readonly #dialect: Dialect

  constructor(
    dialect: Dialect,
    source: SourceDefinition,
    url: string,
    tables: readonly SourceTable[],
    folder?: string,
  ) {
    super(source, url, tables, folder)
    this.#dialect = dialect
  }

  async run(...statements: readonly string[]): Promise<void> {
    await this.#use(async session => {
      for (const statement of statements) await session.query(statement)
    })
  }

  query(sql: string): Promise<readonly DatabaseRow[]> {
    return this.#use(session => session.query(sql))
  }

  async #use<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
    const session = await this.#dialect.connect(this.url)
    try {
      return await work(session)
    } finally {
      await session.end()
    }
  }

  protected token(): Promise<string> {
    return this.#dialect.token(this.url)
  }
}
