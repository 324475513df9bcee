// Everything that can be checked before anything is changed on the server or in the log. All problems of a source are
// found before the first is reported, so that one run names them all.
import { fail, type MainstemError } from '../../core/index.ts'
import { checkColumns } from '../connector/contract-columns.ts'
import { didYouMean } from '../connector/did-you-mean.ts'
import { throwProblems } from '../connector/problems.ts'
import type { CheckedTable } from '../connector/technology.ts'
import { type CatalogColumn, type CatalogTable, identityColumns, nearbyTables, readTables } from './catalog.ts'
import { checkType } from './compatibility.ts'
import { type Client, connect, connectionError, quoteTable } from './connection.ts'
import { checkOutboxes, type PgOutbox } from './outbox.ts'
import { checkPublication, type Published } from './publication.ts'
import type { Setup, SetupTable } from './setup.ts'
import { identify, readTimelines, type Timelines } from './successor.ts'

const VERSION_MIN = 140_000
const FAILOVER_VERSION_MIN = 170_000

/** A captured table with what the server's catalog says of it. */
export interface PgTable extends CheckedTable {
  readonly setup: SetupTable
  readonly catalog: CatalogTable
}

export interface Checked {
  readonly identity: Readonly<Record<string, string>>
  readonly timelines: Timelines
  readonly tables: readonly PgTable[]
  readonly outboxes: readonly PgOutbox[]
}

/** @throws SOURCE_…, CONTRACT_…: the first problem; `data.problems` holds all of them */
export async function preflight(setup: Setup, sql: Client): Promise<Checked> {
  const problems: MainstemError[] = []
  const server = await checkServer(setup, sql, problems)
  const { identity, timelines } = server ? await identifySystem(setup, server, problems) : UNKNOWN
  const tables = await checkTables(setup, sql, problems)
  const outboxes = await checkOutboxes(setup, sql, problems)
  const all = tables.length === setup.tables.length && outboxes.length === setup.outboxes.length
  if (all) problems.push(...(await checkPublication(setup, sql, publishedOf(tables, outboxes))))
  throwProblems(problems)
  return { identity, timelines, tables, outboxes }
}

const UNKNOWN: Pick<Checked, 'identity' | 'timelines'> = { identity: {}, timelines: new Map() }

/** All that the publication has to hold. */
export const publishedOf = (tables: readonly PgTable[], outboxes: readonly PgOutbox[]): readonly Published[] => [
  ...tables.map(({ setup, catalog }) => ({
    topic: setup.contract.name,
    columns: Object.keys(setup.contract.schema.shape),
    catalog,
  })),
  ...outboxes.map(({ captured, catalog, reader }) => ({
    topic: captured.topic.name,
    columns: reader.columns,
    catalog,
  })),
]

interface ServerRow {
  readonly version: number
  readonly wal_level: string
  readonly slots_max: number
  readonly slots: number
  readonly own_slot: boolean
  readonly standby: boolean
  readonly database: string
  readonly user: string
}

async function checkServer(setup: Setup, sql: Client, problems: MainstemError[]): Promise<ServerRow | undefined> {
  const { rows } = await sql.query<ServerRow>(
    `select current_setting('server_version_num')::int as version, current_setting('wal_level') as wal_level,
            current_setting('max_replication_slots')::int as slots_max,
            (select count(*)::int from pg_replication_slots) as slots,
            exists (select from pg_replication_slots where slot_name = $1) as own_slot,
            pg_is_in_recovery() as standby, current_database()::text as database, current_user::text as user`,
    [setup.slot],
  )
  const server = rows[0]
  if (!server) throw fail('SOURCE_PROTOCOL', `source ${setup.source} does not answer as PostgreSQL does`)
  const cannot = `cannot stream from ${setup.source}`
  if (server.version < VERSION_MIN) {
    problems.push(
      fail('SOURCE_VERSION', cannot, {
        detail: `the server's version is ${server.version}`,
        hint: 'PostgreSQL 15 to 18 are supported',
      }),
    )
    return undefined
  }
  if (server.standby) {
    problems.push(
      // It may be about to be promoted: that is waited for.
      fail('SOURCE_UNREACHABLE', cannot, {
        detail: 'the server is a read-only standby',
        hint: "give the primary's address",
      }),
    )
    return undefined
  }
  if (setup.failover && server.version < FAILOVER_VERSION_MIN) {
    problems.push(
      fail('SOURCE_VERSION', `slots of ${setup.source} cannot be kept on standbys`, {
        detail: `the server's version is ${server.version}; PostgreSQL does so since 17`,
        hint: 'leave out failover: a promoted standby is then read again',
      }),
    )
  }
  if (server.wal_level !== 'logical') {
    problems.push(
      fail('SOURCE_WAL_LEVEL', cannot, {
        detail: `wal_level is '${server.wal_level}'; change capture needs 'logical'`,
        hint: 'run ALTER SYSTEM SET wal_level = logical and restart the server; on RDS set rds.logical_replication = 1',
      }),
    )
  }
  if (!server.own_slot && server.slots >= server.slots_max) {
    problems.push(
      fail('SOURCE_SLOTS_EXHAUSTED', cannot, {
        detail: `all ${server.slots_max} replication slots are taken`,
        hint: 'drop one that nobody uses (select * from pg_replication_slots), or raise max_replication_slots',
      }),
    )
  }
  return server
}

/** Opens a replication connection, the only way to know that it is allowed, and asks which cluster this is. */
async function identifySystem(setup: Setup, server: ServerRow, problems: MainstemError[]): Promise<typeof UNKNOWN> {
  let client: Client | undefined
  try {
    client = await connect(setup.target, 'replication')
    const { system, timeline } = await identify(client)
    const timelines = await readTimelines(client, timeline)
    return { identity: { system, timeline, database: server.database }, timelines }
  } catch (error) {
    const known = connectionError(setup.source, error, 'replication')
    if (known.code !== 'SOURCE_PERMISSION') throw known
    problems.push(
      fail('SOURCE_PERMISSION', known.message, {
        ...(known.detail ? { detail: known.detail } : {}),
        hint: `as a superuser: ALTER ROLE "${server.user}" REPLICATION; on RDS: GRANT rds_replication TO "${server.user}"`,
      }),
    )
    return UNKNOWN
  } finally {
    await client?.end().catch(() => {})
  }
}

async function checkTables(setup: Setup, sql: Client, problems: MainstemError[]): Promise<PgTable[]> {
  const found = await readTables(
    sql,
    setup.tables.map(table => table.pg),
  )
  const checked: PgTable[] = []
  for (const table of setup.tables) {
    const catalog = found.find(candidate => candidate.schema === table.pg.schema && candidate.name === table.pg.name)
    if (!catalog) {
      problems.push(await missingTable(setup, sql, table))
      continue
    }
    const { rowsEstimated, replicaIdentity } = catalog
    // With FULL any column may be the declared key.
    checked.push({ setup: table, catalog, rowsEstimated, isKeyUnique: replicaIdentity !== 'f' })
    problems.push(...checkTable(table, catalog))
  }
  return checked
}

async function missingTable(setup: Setup, sql: Client, table: SetupTable): Promise<MainstemError> {
  const names = await nearbyTables(sql)
  const near = didYouMean(table.table.table, names)
  return fail('CONTRACT_TABLE_MISSING', `${setup.source} has no table '${table.table.table}'`, {
    detail: `looked for ${quoteTable(table.pg)}; there is ${names.slice(0, 12).join(', ') || 'no table'}`,
    hint: near ? `did you mean ${near}?` : "name tables of other schemas 'schema.table'; names are case-sensitive",
  })
}

/** The problems between a table's contract and the table. */
export function checkTable(table: SetupTable, catalog: CatalogTable): MainstemError[] {
  if (catalog.kind !== 'r' && catalog.kind !== 'p') {
    return [
      fail('CONTRACT_TABLE_MISSING', `${table.table.name} is not a table`, {
        detail: 'it is a view or a foreign table',
        hint: 'capture the tables it is made of',
      }),
    ]
  }
  if (catalog.persistence !== 'p') {
    return [
      fail('CONTRACT_TABLE_MISSING', `${table.table.name} is unlogged`, {
        detail: 'its changes are not in the write-ahead log',
        hint: `ALTER TABLE ${quoteTable(catalog)} SET LOGGED`,
      }),
    ]
  }
  return [
    ...checkColumns(table, catalog.columns, unpublished, checkType),
    ...checkKey(table, catalog),
    ...checkAccess(table, catalog),
  ]
}

const unpublished = ({ streamable }: CatalogColumn) =>
  streamable
    ? undefined
    : {
        does: 'publish',
        detail: 'it is generated: PostgreSQL streams stored ones from version 18 on, virtual ones never',
        hint: 'leave it out of the contract and compute it in the projection',
      }

function checkKey(table: SetupTable, catalog: CatalogTable): MainstemError[] {
  const identity = identityColumns(catalog)
  const key = table.contract.key.columns.map(column => column.name)
  if (identity === undefined) return isUnique(catalog, key) ? [] : [notUnique(table, catalog, key)]
  if (identity.length > 0 && identity.length === key.length && identity.every(name => key.includes(name))) return []
  const full = isUnique(catalog, key) ? `, or run ALTER TABLE ${quoteTable(catalog)} REPLICA IDENTITY FULL` : ''
  if (identity.length === 0) {
    return [
      fail('CONTRACT_KEY_MISMATCH', `${table.table.name} does not say which row an update or delete means`, {
        detail: `its replica identity is ${catalog.replicaIdentity === 'n' ? 'NOTHING' : 'DEFAULT, and it has no primary key'}`,
        hint: `add a primary key${full}`,
      }),
    ]
  }
  const columns = identity.map(name => `'${name}'`).join(', ')
  return [
    fail('CONTRACT_KEY_MISMATCH', `${table.table.name} is not identified by ${key.join(', ')}`, {
      detail: `updates and deletes name a row by ${identity.join(', ')}`,
      hint: `write key: ${identity.length === 1 ? columns : `[${columns}]`}${full}`,
    }),
  ]
}

/** Whether an index sees to it, at every moment, that no two rows have the same key. */
const isUnique = (catalog: CatalogTable, key: readonly string[]): boolean =>
  catalog.indexes.some(({ columns }) => columns.length > 0 && columns.every(name => key.includes(name)))

/** Two rows of one key would be taken for one, and views be wrong without a word. */
function notUnique(table: SetupTable, catalog: CatalogTable, key: readonly string[]): MainstemError {
  const unique = catalog.indexes.map(({ columns }) => columns.join(', ')).filter(columns => columns !== '')
  return fail('CONTRACT_KEY_MISMATCH', `${table.table.name} may have several rows of one ${key.join(', ')}`, {
    detail:
      unique.length > 0
        ? `what identifies a row is ${unique.join(', or ')}`
        : 'no unique index, checked at once and over all rows, says what identifies a row',
    hint:
      unique.length > 0
        ? 'take that as the key'
        : `add a key: ALTER TABLE ${quoteTable(catalog)} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY`,
  })
}

function checkAccess(table: SetupTable, catalog: CatalogTable): MainstemError[] {
  const unreadable = catalog.columns.filter(column => column.name in table.contract.schema.shape && !column.selectable)
  if (unreadable.length > 0) {
    return [
      fail('SOURCE_PERMISSION', `${table.table.name} cannot be read`, {
        detail: `no SELECT privilege on ${unreadable.map(column => column.name).join(', ')}`,
        hint: `as its owner (${catalog.owner}): GRANT SELECT ON ${quoteTable(catalog)} TO the source's user, and USAGE on the schema`,
      }),
    ]
  }
  if (!catalog.rowSecurity) return []
  return [
    fail('SOURCE_PERMISSION', `${table.table.name} hides rows from this user`, {
      detail: 'row-level security applies, so a snapshot would miss rows that the stream has',
      hint: "as a superuser: ALTER ROLE … BYPASSRLS for the source's user",
    }),
  ]
}
