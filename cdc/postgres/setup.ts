// What one open connector is made of: the definition's options with the names and tables of the application that opened it.
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type CapturedTable, type CapturedTopic, fail, type SourceContext, type SourceEvent } from '../../core/index.ts'
import { messageBytesOf } from '../connector/message-limit.ts'
import { type DeclaredOutbox, outboxesOf } from '../connector/outbox-table.ts'
import type { Retention } from '../connector/technology.ts'
import type { TableName } from './catalog.ts'
import type { PostgresTarget } from './connection.ts'

export interface PostgresOptions {
  /** Connection string: `postgres://user:password@host:port/database`; `env('SHOP_URL')` keeps it out of the code. */
  readonly url: PostgresTarget['url']
  /** The replication slot. Default `mainstem_<application>_<source>`. */
  readonly slot?: string
  /** The publication: created if missing, and never dropped when named here. Default: the slot's name. */
  readonly publication?: string
  /**
   * Has standbys keep the slot too, so that a promoted one is gone on with, without a loss: PostgreSQL since 17, with
   * `sync_replication_slots` on the standby, and `synchronized_standby_slots` on the primary. Default false: reading again is the repair.
   */
  readonly failover?: boolean
  /**
   * Bytes of its write-ahead log that the server may keep because this source has not read them. Beyond, the slot is dropped, rather
   * than that the server's disk fills: the source fails with SOURCE_SLOT_LOST and has to be read again. Default: no limit.
   */
  readonly walHeldBytesMax?: number
  /** From so many on the event `source-log-held` tells. Default: half of `walHeldBytesMax`, or 1 GiB. */
  readonly walHeldBytesAlarm?: number
  /** A row, or a change of one, of more mebibytes is refused, since it is held in memory. 1 to 500, default 256. */
  readonly messageMiBMax?: number
  /** The schema of tables named without one. Default `public`. */
  readonly schema?: string
  /** The password, where the url has none: `secretFile('/run/secrets/shop')`. Default: `PGPASSWORD`, `PGPASSFILE`, `~/.pgpass`. */
  readonly password?: PostgresTarget['password']
  /**
   * TLS: true checks the server's certificate and its name; `{ mode, ca, cert, key, serverName }` says more, false is without. Default: as
   * the url's `sslmode` says (disable, verify-ca, no-verify; any other is verify-full) with `sslrootcert`, `sslcert`, `sslkey`; else none.
   */
  readonly tls?: PostgresTarget['tls']
}

export interface Setup {
  readonly source: string
  readonly target: PostgresTarget
  readonly slot: string
  readonly publication: string
  readonly isPublicationOurs: boolean
  /** Standbys keep the slot, too. */
  readonly failover: boolean
  readonly schema: string
  readonly tables: readonly SetupTable[]
  readonly retention: Retention
  readonly topics: readonly CapturedTopic[]
  readonly outboxes: readonly SetupOutbox[]
  /** A folder of its own, for transactions that are sent while they run. */
  readonly spoolPath: string
  readonly onEvent: (event: SourceEvent) => void
}

export interface SetupTable extends CapturedTable {
  readonly pg: TableName
}

export interface SetupOutbox extends DeclaredOutbox {
  readonly pg: TableName
}

const NAME_MAX = 63
const WAL_HELD_ALARM_BYTES = 1024 * 1024 * 1024

/** Names on the server: lower-case letters, digits and _; a longer one ends in a hash of all of it. */
export function serverName(application: string, source: string): string {
  const name = `mainstem_${application}_${source}`.toLowerCase().replace(/[^a-z0-9_]/g, '_')
  if (name.length <= NAME_MAX) return name
  return `${name.slice(0, NAME_MAX - 9)}_${createHash('sha256').update(name).digest('hex').slice(0, 8)}`
}

export function namesOf(source: string, options: PostgresOptions, application: string) {
  const slot = options.slot ?? serverName(application, source)
  // A publication that the application names is somebody's own: it is used, never dropped.
  return { slot, publication: options.publication ?? slot, isPublicationOurs: options.publication === undefined }
}

export const targetOf = (source: string, options: PostgresOptions): PostgresTarget => ({
  source,
  url: options.url,
  messageBytesMax: messageBytesOf(source, options.messageMiBMax),
  ...(options.password === undefined ? {} : { password: options.password }),
  ...(options.tls === undefined ? {} : { tls: options.tls }),
})

export function createSetup(source: string, options: PostgresOptions, context: SourceContext): Setup {
  const schema = options.schema ?? 'public'
  const { topics = [] } = context
  return {
    source,
    target: targetOf(source, options),
    ...namesOf(source, options, context.application),
    failover: options.failover ?? false,
    schema,
    tables: context.tables.map(table => ({ ...table, pg: tableName(table.table.table, schema) })),
    retention: retentionOf(source, options),
    topics,
    outboxes: outboxesOf(topics).map(outbox => ({ ...outbox, pg: tableName(outbox.origin.table, schema) })),
    spoolPath: join(context.mirrorPath, 'spool'),
    onEvent: context.onEvent,
  }
}

function retentionOf(source: string, options: PostgresOptions): Retention {
  const bytesMax = options.walHeldBytesMax ?? null
  const alarmBytes = options.walHeldBytesAlarm ?? (bytesMax === null ? WAL_HELD_ALARM_BYTES : bytesMax / 2)
  for (const [name, value] of Object.entries({ walHeldBytesMax: bytesMax ?? 1, walHeldBytesAlarm: alarmBytes }))
    if (!(value > 0)) throw fail('DEFINITION_INVALID', `${name} of source ${source} is not a number above 0`)
  return { alarmBytes, bytesMax }
}

function tableName(text: string, schema: string): TableName {
  const dot = text.indexOf('.')
  return dot < 0 ? { schema, name: text } : { schema: text.slice(0, dot), name: text.slice(dot + 1) }
}
