// Connections: mysql2 is loaded when the first one opens, and does authentication, TLS and SQL. For the binary log and for
// snapshots the socket is then taken over (`takeOver`), so that bytes are decoded once, by us. Every failure becomes an error of
// ours that never shows a password.
import { createConnection, isIP, type Socket } from 'node:net'
import type { ConnectionOptions } from 'mysql2'
import type { Connection, RowDataPacket } from 'mysql2/promise'
import { fail, type MainstemError, readSetting, type Setting, textOf } from '../../core/index.ts'
import { type TlsOptions, tlsError, tlsInUrl, tlsOptions } from '../connector/tls.ts'

export interface MariadbTarget {
  readonly source: string
  readonly url: string | Setting
  readonly password?: string | Setting
  readonly tls?: boolean | TlsOptions
}

const CONNECT_TIMEOUT_MS = 10_000
const PORT = 3306

/** Times in UTC, texts in UTF-8, and no time after which the server gives up on a client that decodes slowly. */
const SESSION = [
  "set names utf8mb4, time_zone = '+00:00', net_write_timeout = 3600, net_read_timeout = 3600, wait_timeout = 86400",
  // A snapshot must see what is there, and say what it cannot.
  'set session transaction isolation level repeatable read',
]

/** A connection for SQL. */
export interface Client {
  /** Rows as objects; values are texts, numbers within 2^53, null. */
  query<R extends object>(sql: string, values?: readonly unknown[]): Promise<readonly R[]>
  /** The thread's number on the server. */
  readonly threadId: number
  /** The socket, with nobody else reading it. The client cannot be used for SQL any more. */
  takeOver(): Socket
  /** Says goodbye; does not wait and does not throw. */
  end(): void
}

export function databaseIn(target: MariadbTarget): string {
  return decodeURIComponent(parseUrl(target).pathname.slice(1))
}

/** What follows each % is the number of a character. */
function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

function parseUrl({ source, url }: MariadbTarget): URL {
  const text = readSetting(url, `source ${source}`)
  if (/^(mariadb|mysql):\/\//i.test(text) && URL.canParse(text)) {
    const parsed = new URL(text)
    if ([parsed.username, parsed.password, parsed.pathname].every(isEncoded)) return parsed
  }
  // Without the text itself: it may hold a password.
  throw fail('SOURCE_UNREACHABLE', `the url of source ${source} is not one of MariaDB or MySQL`, {
    hint: 'write mariadb://user:password@host:port/database (mysql:// for MySQL), with % in a name or password as %25',
  })
}

/** @throws SOURCE_SETTING_MISSING, SOURCE_UNREACHABLE where the url is not one of MariaDB or MySQL */
export function clientConfig(target: MariadbTarget): ConnectionOptions {
  const { source } = target
  const url = parseUrl(target)
  const password =
    target.password === undefined
      ? decodeURIComponent(url.password)
      : readSetting(target.password, `the password of source ${source}`)
  const database = decodeURIComponent(url.pathname.slice(1))
  const host = url.hostname.replace(/^\[|\]$/g, '') || 'localhost'
  const port = url.port ? Number(url.port) : PORT
  return {
    host,
    port,
    user: decodeURIComponent(url.username),
    password,
    ...(database ? { database } : {}),
    connectTimeout: CONNECT_TIMEOUT_MS,
    enableKeepAlive: true,
    charset: 'utf8mb4',
    timezone: 'Z',
    supportBigNumbers: true,
    dateStrings: true,
    // The server may not ask for files of this machine.
    flags: ['-LOCAL_FILES', '-COMPRESS'],
    ...secured(target.tls ?? tlsInUrl(url), source, host, port),
  }
}

/** mysql2 by itself does not check whose certificate it is shown; asked to, it checks for `host`, and for nothing where that is an address. */
function secured(
  tls: boolean | TlsOptions | undefined,
  source: string,
  host: string,
  port: number,
): Partial<ConnectionOptions> {
  const options = tls === undefined ? false : tlsOptions(tls, source)
  if (!options) return {}
  const { mode = 'verify-full', serverName } = typeof tls === 'object' ? tls : {}
  const { ca, cert, key, rejectUnauthorized } = options
  const name = serverName ?? host
  const ssl = {
    minVersion: 'TLSv1.2',
    rejectUnauthorized,
    verifyIdentity: mode === 'verify-full',
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
  return { host: name, stream: () => openSocket(host, port, name), ssl: ssl as NonNullable<ConnectionOptions['ssl']> }
}

/** `_host` is what Node checks a certificate against where no server name is asked for. */
function openSocket(host: string, port: number, name: string): Socket {
  const socket = createConnection({ host, port, keepAlive: true, noDelay: true })
  if (isIP(name) !== 0) Object.assign(socket, { _host: name })
  return socket
}

/** @throws SOURCE_UNREACHABLE, SOURCE_AUTHENTICATION, SOURCE_PERMISSION, SOURCE_SETTING_MISSING */
export async function connect(target: MariadbTarget): Promise<Client> {
  const config = clientConfig(target)
  const mysql2 = await import('mysql2/promise')
  let connection: Connection | undefined
  try {
    connection = await mysql2.createConnection(config)
    // Without a listener a connection lost between two queries would end the process.
    connection.on('error', () => {})
    for (const statement of SESSION) await connection.query(statement)
    return new SqlClient(connection)
  } catch (error) {
    connection?.destroy()
    throw connectionError(target.source, error)
  }
}

/** The only use of mysql2's inner connection: its socket, encrypted or not. */
interface Inner {
  readonly stream: Socket
  readonly threadId: number
}

class SqlClient implements Client {
  readonly #connection: Connection
  #taken: Socket | undefined

  constructor(connection: Connection) {
    this.#connection = connection
  }

  get #inner(): Inner {
    return (this.#connection as unknown as { readonly connection: Inner }).connection
  }

  get threadId(): number {
    return this.#inner.threadId
  }

  async query<R extends object>(sql: string, values: readonly unknown[] = []): Promise<readonly R[]> {
    const [rows] = await this.#connection.query<RowDataPacket[]>(sql, [...values])
    return (Array.isArray(rows) ? rows : []) as unknown as readonly R[]
  }

  takeOver(): Socket {
    const socket = this.#inner.stream
    socket.removeAllListeners('data')
    this.#taken = socket
    return socket
  }

  end(): void {
    if (this.#taken) this.#taken.destroy()
    else this.#connection.end().catch(() => this.#connection.destroy())
  }
}

/** The server's own number of an error (1045, 1236 …); 0 where it is not the server's. */
export const errorNumberOf = (error: unknown): number =>
  error instanceof Error && 'errno' in error && typeof error.errno === 'number' && error.errno > 0 ? error.errno : 0

const CREDENTIALS = new Set([1045, 1044, 1698, 3118, 1130, 4151, 1820, 1862])
const RIGHTS = new Set([1142, 1143, 1227, 1370, 1410])
const TOO_MANY = new Set([1040, 1203, 1226])

/** What a failed connection or query means. */
export function connectionError(source: string, error: unknown): MainstemError {
  if (error instanceof Error && error.name === 'MainstemError') return error as MainstemError
  const number = errorNumberOf(error)
  const detail = textOf(error)
  if (number === 1049) {
    return fail('SOURCE_UNREACHABLE', `source ${source} cannot be reached`, {
      detail,
      hint: 'check the name of the database in the url',
      cause: error,
    })
  }
  if (CREDENTIALS.has(number) || /Client does not support authentication protocol|auth/i.test(codeOf(error))) {
    return fail('SOURCE_AUTHENTICATION', `source ${source} does not let this user in`, {
      detail,
      hint: "check user and password in the source's url, and from which hosts the user may connect",
      cause: error,
    })
  }
  if (RIGHTS.has(number)) {
    return fail('SOURCE_PERMISSION', `source ${source} does not let this user do what is needed`, {
      detail,
      hint: "GRANT SELECT, REPLICATION SLAVE, BINLOG MONITOR (MySQL: REPLICATION CLIENT) ON *.* TO the source's user",
      cause: error,
    })
  }
  if (TOO_MANY.has(number)) {
    return fail('SOURCE_SLOTS_EXHAUSTED', `source ${source} has no connection left`, {
      detail,
      hint: 'raise max_connections',
      cause: error,
    })
  }
  const tls = tlsError(source, error) ?? noTls(source, error)
  if (tls) return tls
  return fail('SOURCE_UNREACHABLE', `source ${source} cannot be reached`, {
    detail,
    hint: 'check that the server runs and that host and port are right',
    cause: error,
  })
}

/** mysql2 puts codes of its own in the place of Node's. */
function noTls(source: string, error: unknown): MainstemError | undefined {
  const detail = textOf(error)
  switch (codeOf(error)) {
    case 'HANDSHAKE_NO_SSL_SUPPORT':
      return fail('SOURCE_TLS', `source ${source} offers no TLS`, {
        detail,
        hint: 'see that the server has TLS turned on',
        cause: error,
      })
    case 'HANDSHAKE_SSL_ERROR':
      return fail('SOURCE_TLS', `source ${source} and this side find no TLS connection`, {
        detail,
        hint: /altnames|does not match/i.test(detail)
          ? 'connect by a name that the certificate has, or give it: tls: { serverName }'
          : "give the PEM of the server's authority: tls: { ca: secretFile('…') }",
        cause: error,
      })
    default:
      return undefined
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

/** An identifier as SQL takes it, whatever is in it. */
export const quoteName = (name: string): string => `\`${name.replaceAll('`', '``')}\``

export const quoteTable = (table: { readonly database: string; readonly name: string }): string =>
  `${quoteName(table.database)}.${quoteName(table.name)}`
