// Connections: drivers are loaded when the first one opens, sessions are set so that values have one text form, and every
// failure becomes an error of ours that never shows a password.
import type { Socket } from 'node:net'
import type { Client, ClientConfig } from 'pg'
import { fail, type MainstemError, readSetting, type Setting, textOf } from '../../core/index.ts'
import { type TlsOptions, tlsError, tlsOptions } from '../connector/tls.ts'
import { connectionUrl } from './url.ts'

export type { Client } from 'pg'

export interface PostgresTarget {
  readonly source: string
  readonly url: string | Setting
  readonly password?: string | Setting
  readonly tls?: boolean | TlsOptions
  /** What a row, or a change, may take. */
  readonly messageBytesMax: number
}

const CONNECT_TIMEOUT_MS = 10_000

/** One text form of every value, on every server. */
const SESSION = [
  "set datestyle = 'ISO, MDY'",
  "set timezone = 'UTC'",
  "set intervalstyle = 'postgres'",
  'set extra_float_digits = 3',
  "set bytea_output = 'hex'",
  "set client_encoding = 'UTF8'",
  // The walsender reads past row-level security; a snapshot that silently misses rows would differ from it.
  'set row_security = off',
  'set statement_timeout = 0',
  'set lock_timeout = 0',
  'set idle_in_transaction_session_timeout = 0',
  // Where the source is a synchronous standby, what it commits itself would wait for itself.
  'set synchronous_commit = local',
  // Since version 17; a long COPY is one transaction.
  "select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'",
].join('; ')

/** @throws SOURCE_SETTING_MISSING, SOURCE_UNREACHABLE where the url is not one of PostgreSQL */
export function clientConfig(target: PostgresTarget): ClientConfig {
  const { source } = target
  const url = connectionUrl(source, readSetting(target.url, `source ${source}`))
  const password =
    target.password === undefined ? undefined : readSetting(target.password, `the password of source ${source}`)
  const tls = target.tls ?? url.tls
  return {
    connectionString: url.text(password),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    application_name: `mainstem ${source}`,
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { ssl: tlsOptions(tls, source) }),
    ...(url.negotiation === undefined ? {} : { sslnegotiation: url.negotiation }),
  }
}

/** @throws SOURCE_UNREACHABLE, SOURCE_AUTHENTICATION, SOURCE_PERMISSION, SOURCE_SETTING_MISSING */
export async function connect(target: PostgresTarget, mode: 'sql' | 'replication' = 'sql'): Promise<Client> {
  const config = clientConfig(target)
  const { default: pg } = await import('pg')
  let client: Client | undefined
  try {
    client = new pg.Client(mode === 'replication' ? { ...config, ...REPLICATION } : config)
    // Without a listener a connection lost between two queries would end the process.
    client.on('error', () => {})
    await client.connect()
    await client.query(SESSION)
    return client
  } catch (error) {
    await client?.end().catch(() => {})
    throw connectionError(target.source, error, mode)
  }
}

/** pg's types leave out the option that its own protocol knows. */
const REPLICATION: ClientConfig = { replication: 'database' } as ClientConfig

export const prepareSession = (client: Client): Promise<unknown> => client.query(SESSION)

export const sqlStateOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

/** What a failed connection or query means. */
export function connectionError(source: string, error: unknown, mode: 'sql' | 'replication' = 'sql'): MainstemError {
  const state = sqlStateOf(error)
  const detail = textOf(error)
  if (error instanceof Error && error.name === 'MainstemError') return error as MainstemError
  if (
    state === '28P01' ||
    (state.startsWith('28') && mode === 'sql') ||
    /SASL|password must be a string/.test(detail)
  ) {
    return fail('SOURCE_AUTHENTICATION', `source ${source} does not let this user in`, {
      detail,
      hint: "check user and password in the source's url, and the server's pg_hba.conf",
      cause: error,
    })
  }
  if (state === '42501' || state.startsWith('28')) {
    return fail('SOURCE_PERMISSION', `source ${source} does not let this user replicate`, {
      detail,
      hint: 'as a superuser: ALTER ROLE … REPLICATION (on RDS: GRANT rds_replication TO …), and allow the user in pg_hba.conf',
      cause: error,
    })
  }
  if (state === '53300') {
    return fail('SOURCE_SLOTS_EXHAUSTED', `source ${source} has no connection left`, {
      detail,
      hint: mode === 'replication' ? 'raise max_wal_senders' : 'raise max_connections',
      cause: error,
    })
  }
  const tls = tlsError(source, error)
  if (tls) return tls
  return fail('SOURCE_UNREACHABLE', `source ${source} cannot be reached`, {
    detail: state && !detail.includes(state) ? `${detail} (${state})` : detail,
    hint:
      state === '3D000'
        ? 'check the name of the database in the url'
        : 'check that the server runs and that host and port are right',
    cause: error,
  })
}

/** An identifier as SQL takes it, whatever is in it. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`

export const quoteTable = (table: { readonly schema: string; readonly name: string }): string =>
  `${quoteName(table.schema)}.${quoteName(table.name)}`

/** The only use of pg's inner connection: to pause and resume the socket, and to read what comes by COPY from it. */
interface InnerConnection {
  readonly stream: Socket
}

export function socketOf(client: unknown): Socket {
  const { connection } = client as { connection: InnerConnection }
  return connection.stream
}

export const processIdOf = (client: unknown): number => (client as { processID: number | null }).processID ?? 0
