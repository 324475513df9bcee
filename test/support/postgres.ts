// PostgreSQL servers for tests, each with its own folder and port. `embedded` is the newest version, out of npm;
// `system` is an older one that the machine has (or not: then its tests are skipped and say so, and fail where CI=true).

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import pg from 'pg'
import { openPostgresServer, type PostgresServer } from '../../samples/support/postgres-server.ts'

export type { PostgresServer } from '../../samples/support/postgres-server.ts'

export type PostgresVersion = 'embedded' | 'system'

/** The oldest supported version first: what differs between versions differs most there. */
const SYSTEM_FOLDERS = ['15', '16', '17'].map(version => `/usr/lib/postgresql/${version}/bin`)

export interface TestPostgresOptions {
  /** Default `embedded`. */
  readonly version?: PostgresVersion
  readonly settings?: Readonly<Record<string, string>>
  /** Where to keep the data; it stays. Default: a temporary folder. */
  readonly dataDir?: string
}

/** A server without fsync, for one test file. Close it in `afterAll`. */
export async function openTestPostgres(options: TestPostgresOptions = {}): Promise<PostgresServer> {
  const { version = 'embedded', ...rest } = options
  if (version === 'embedded') return openPostgresServer({ ...rest, fsync: false })
  const binFolder = findSystemFolder()
  if (binFolder === undefined) throw new Error(MISSING)
  return openPostgresServer({ ...rest, fsync: false, binFolder })
}

const MISSING = `no system PostgreSQL in ${SYSTEM_FOLDERS.join(', ')} (apt-get install postgresql)`

function findSystemFolder(): string | undefined {
  return SYSTEM_FOLDERS.find(folder => existsSync(`${folder}/postgres`))
}

/**
 * For `describe.skipIf(isMissing('system'))`. Says why something is left out; where CI=true nothing is left out, and
 * opening the missing server fails.
 */
export function isMissing(version: PostgresVersion): boolean {
  if (version === 'embedded' || findSystemFolder() !== undefined || process.env['CI'] === 'true') return false
  process.stderr.write(`skipped: ${MISSING}\n`)
  return true
}

/** A new, empty database on the server; gives the superuser's connection string for it. */
export async function createDatabase(server: PostgresServer, prefix = 'test'): Promise<string> {
  const name = `${prefix}_${randomBytes(4).toString('hex')}`
  await withClient(server.url(), client => client.query(`create database ${client.escapeIdentifier(name)}`))
  return server.url(name)
}

export interface LimitedRole {
  readonly name: string
  readonly password: string
  /** The connection string of the same database for this role. */
  readonly url: string
}

/**
 * A role as a careful administrator would give it: no superuser; may log in, replicate, and create tables and
 * publications in this one database. It owns what it creates.
 */
export async function createLimitedRole(databaseUrl: string, prefix = 'limited'): Promise<LimitedRole> {
  const name = `${prefix}_${randomBytes(4).toString('hex')}`
  const password = randomBytes(8).toString('hex')
  const url = new URL(databaseUrl)
  await withClient(databaseUrl, async client => {
    const role = client.escapeIdentifier(name)
    const database = client.escapeIdentifier(decodeURIComponent(url.pathname.slice(1)))
    await client.query(`create role ${role} login replication nosuperuser password ${client.escapeLiteral(password)}`)
    await client.query(`grant create on database ${database} to ${role}`)
    await client.query(`grant usage, create on schema public to ${role}`)
  })
  url.username = name
  url.password = password
  return { name, password, url: url.href }
}

/** Connects, runs `use`, and closes, also when it throws. */
export async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
