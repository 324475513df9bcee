// What one open connector is made of: the definition's options with the tables of the application that opened it.
import { createHash } from 'node:crypto'
import type { CapturedTable, CapturedTopic, SourceContext, SourceEvent } from '../../core/index.ts'
import { messageBytesOf } from '../connector/message-limit.ts'
import { type DeclaredOutbox, outboxesOf } from '../connector/outbox-table.ts'
import { databaseIn, type MariadbTarget } from './connection.ts'

export interface MariadbOptions {
  /** Connection string: `mariadb://user:password@host:port/database`; `env('BILLING_URL')` keeps it out of the code. */
  readonly url: MariadbTarget['url']
  /**
   * What this source is called among the server's replicas: 1 to 4,294,967,295, and no other replica's (or another
   * application's) number. Default: made from the names of application and source.
   */
  readonly serverId?: number
  /** The password, where the url has none: `secretFile('/run/secrets/billing')`. */
  readonly password?: MariadbTarget['password']
  /**
   * TLS: true checks the server's certificate and its name; `{ mode, ca, cert, key, serverName }` says more, false is without. Default: as
   * the url's `sslmode` says (disable, verify-ca, no-verify; any other is verify-full) with `sslrootcert`, `sslcert`, `sslkey`; else none.
   */
  readonly tls?: MariadbTarget['tls']
  /** A row or event of more mebibytes is refused, since it is held in memory. 1 to 500, default 256. */
  readonly messageMiBMax?: number
}

/** MariaDB and MySQL differ in what counts transactions and in how a snapshot finds its place. */
export type Flavour = 'mariadb' | 'mysql'

export interface TableName {
  readonly database: string
  readonly name: string
}

export interface SetupTable extends CapturedTable {
  /** `database` is '' for the one that the url names. */
  readonly in: TableName
}

export interface SetupOutbox extends DeclaredOutbox {
  readonly in: TableName
}

export interface Setup {
  readonly source: string
  readonly flavour: Flavour
  readonly target: MariadbTarget
  readonly serverId: number
  readonly messageBytesMax: number
  readonly tables: readonly SetupTable[]
  readonly topics: readonly CapturedTopic[]
  readonly outboxes: readonly SetupOutbox[]
  readonly onEvent: (event: SourceEvent) => void
}

export const targetOf = (source: string, options: MariadbOptions): MariadbTarget => ({
  source,
  url: options.url,
  ...(options.password === undefined ? {} : { password: options.password }),
  ...(options.tls === undefined ? {} : { tls: options.tls }),
})

/** Stable, and unlikely to be another's; never one of the small numbers that people give to servers. */
export function serverIdOf(application: string, source: string): number {
  const hash = createHash('sha256').update(`${application}/${source}`).digest().readUInt32BE(0)
  return 0x4000_0000 + (hash % 0x8000_0000)
}

export function createSetup(source: string, flavour: Flavour, options: MariadbOptions, context: SourceContext): Setup {
  const { topics = [] } = context
  return {
    source,
    flavour,
    target: targetOf(source, options),
    serverId: options.serverId ?? serverIdOf(context.application, source),
    messageBytesMax: messageBytesOf(source, options.messageMiBMax),
    tables: context.tables.map(table => ({ ...table, in: tableName(table.table.table) })),
    topics,
    outboxes: outboxesOf(topics).map(outbox => ({ ...outbox, in: tableName(outbox.origin.table) })),
    onEvent: context.onEvent,
  }
}

function tableName(text: string): TableName {
  const dot = text.indexOf('.')
  return dot < 0 ? { database: '', name: text } : { database: text.slice(0, dot), name: text.slice(dot + 1) }
}

/** A table or an outbox by its whole name. */
export const inDatabase = (
  { target }: Pick<Setup, 'target'>,
  { in: named }: { readonly in: TableName },
): TableName => ({
  database: named.database || databaseIn(target),
  name: named.name,
})
