// The sample's two servers: started, filled, and with a role for mainstem that is no superuser.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { openPostgresServer, type PostgresServer } from '../support/postgres-server.ts'
import { createBilling, createShop, type SampleSizes } from './schema.ts'

export const SOURCES = ['shop', 'billing'] as const
export type SourceName = (typeof SOURCES)[number]

/** Connections of the workload, of the audit, and one to spare. */
const CONNECTIONS_MAX = 8

export interface SampleDatabase {
  readonly name: SourceName
  readonly server: PostgresServer
  /** As the administrator. */
  readonly pool: pg.Pool
  /** As the role that mainstem uses: it may log in and replicate, and owns the tables. */
  readonly url: string
  readonly rows: number
  /** Seconds that starting and filling took. */
  readonly seconds: number
}

/** Starts one server and fills its database. Close it with `close`. */
export async function openSampleDatabase(name: SourceName, sizes: SampleSizes): Promise<SampleDatabase> {
  const startedMs = performance.now()
  const server = await openPostgresServer()
  try {
    const url = await createOwner(server, name)
    const rows = await fill(name, url, sizes)
    const pool = new pg.Pool({ connectionString: server.url(name), max: CONNECTIONS_MAX })
    // A connection that breaks while idle (the server stops) is no news.
    pool.on('error', () => undefined)
    return { name, server, pool, url, rows, seconds: (performance.now() - startedMs) / 1000 }
  } catch (error) {
    await server.stop()
    throw error
  }
}

export async function closeSampleDatabase({ server, pool }: SampleDatabase): Promise<void> {
  // Together: a pool waits for the queries that still run, and the server ends those.
  await Promise.all([server.stop(), pool.end()])
}

/** Creates the database and the role that owns it; gives the role's connection string. */
async function createOwner(server: PostgresServer, database: string): Promise<string> {
  const password = randomBytes(12).toString('hex')
  await withClient(server.url(), async client => {
    await client.query(`create role mainstem login replication nosuperuser password '${password}'`)
    await client.query(`create database ${database} owner mainstem`)
  })
  const url = new URL(server.url(database))
  url.username = 'mainstem'
  url.password = password
  return url.href
}

async function fill(name: SourceName, url: string, sizes: SampleSizes): Promise<number> {
  return withClient(url, async client => {
    await (name === 'shop' ? createShop(client, sizes) : createBilling(client, sizes))
    // So that the server can say how many rows a snapshot will have.
    await client.query('analyze')
    const { rows } = await client.query<{ rows: string | null }>(
      `select sum(reltuples)::bigint as rows from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`,
    )
    return Number(rows[0]?.rows ?? 0)
  })
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  // What breaks the connection rejects the query that runs on it.
  client.on('error', () => undefined)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

/** Everything committed so far lies before it. */
export async function currentLsn(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn')
  return rows[0]!.lsn
}
