// Everything that can be checked before anything is read: the server's settings, rights, tables against their contracts.
import { fail, type MainstemError, textOf } from '../../core/index.ts'
import { checkColumns } from '../connector/contract-columns.ts'
import { throwProblems } from '../connector/problems.ts'
import type { CheckedTable } from '../connector/technology.ts'
import { type CatalogColumn, type CatalogTable, missingTable, readTables, tryToRead } from './catalog.ts'
import { checkType } from './compatibility.ts'
import { type Client, errorNumberOf, quoteTable } from './connection.ts'
import { checkOutboxes, type MariadbOutbox } from './outbox.ts'
import { inDatabase, type Setup, type SetupTable } from './setup.ts'

/** A captured table with what the server's catalog says of it. */
export interface MariadbTable extends CheckedTable {
  readonly setup: SetupTable
  readonly catalog: CatalogTable
}

export interface Checked {
  readonly identity: Readonly<Record<string, string>>
  readonly tables: readonly MariadbTable[]
  readonly outboxes: readonly MariadbOutbox[]
}

/** @throws SOURCE_…, CONTRACT_…: the first problem; `data.problems` holds all of them */
export async function preflight(setup: Setup, sql: Client): Promise<Checked> {
  const problems: MainstemError[] = []
  const image = await checkServer(setup, sql, problems)
  await checkRights(setup, sql, problems)
  const tables = await checkTables(setup, sql, image, problems)
  const outboxes = await checkOutboxes(setup, sql, problems)
  throwProblems(problems)
  return { identity: { technology: setup.flavour }, tables, outboxes }
}

interface Variables {
  readonly version: string
  readonly logBin: number
  readonly format: string
  readonly image: string
  readonly serverId: number
}

async function checkServer(setup: Setup, sql: Client, problems: MainstemError[]): Promise<string> {
  const { source, flavour } = setup
  const [server] = await sql.query<Variables>(
    `select version() as version, @@log_bin as logBin, @@global.binlog_format as format,
            @@global.binlog_row_image as image, @@global.server_id as serverId`,
  )
  if (!server) throw fail('SOURCE_PROTOCOL', `source ${source} does not answer as ${flavour} does`)
  const isMariadb = /mariadb/i.test(server.version)
  if (isMariadb !== (flavour === 'mariadb')) {
    throw fail('SOURCE_VERSION', `source ${source} is not declared as what it is`, {
      detail: `the server's version is ${server.version}`,
      hint: isMariadb ? `declare it with mariadb('${source}', …)` : `declare it with mysql('${source}', …)`,
    })
  }
  const [major = 0, minor = 0] = server.version.split('.').map(Number)
  if (major * 100 + minor < (isMariadb ? 1_006 : 800)) {
    throw fail('SOURCE_VERSION', `cannot stream from ${source}`, {
      detail: `the server's version is ${server.version}`,
      hint: 'MariaDB since 10.6 and MySQL since 8.0 are supported',
    })
  }
  const wrong = (detail: string, hint: string) =>
    problems.push(fail('SOURCE_BINLOG_SETTINGS', `cannot stream from ${source}`, { detail, hint }))
  if (server.logBin !== 1) {
    wrong(
      'the server writes no binary log (log_bin is OFF)',
      'put log_bin = binlog into its configuration and restart it',
    )
    return server.image
  }
  if (server.serverId === 0) wrong('server_id is 0', 'SET GLOBAL server_id = 1, and the same in its configuration')
  if (server.format !== 'ROW') {
    wrong(
      `binlog_format is ${server.format}: statements are logged rather than rows`,
      'SET GLOBAL binlog_format = ROW, the same in the configuration, and let clients connect anew',
    )
  }
  const [metadata] = await sql.query<{ value: string }>('select @@global.binlog_row_metadata as value')
  if (metadata?.value !== 'FULL') {
    wrong(
      `binlog_row_metadata is ${metadata?.value}: changes do not say which columns they are of`,
      'SET GLOBAL binlog_row_metadata = FULL, and the same in its configuration',
    )
  }
  if (!isMariadb) await checkMysql(sql, wrong)
  return server.image
}

async function checkMysql(sql: Client, wrong: (detail: string, hint: string) => void): Promise<void> {
  const [server] = await sql.query<{ gtid: string; options: string }>(
    'select @@global.gtid_mode as gtid, @@global.binlog_row_value_options as options',
  )
  if (server?.gtid !== 'ON') {
    wrong(`gtid_mode is ${server?.gtid}`, 'set enforce_gtid_consistency = ON and gtid_mode = ON on the server')
  }
  if (server?.options !== '') {
    wrong(
      `binlog_row_value_options is ${server?.options}: changes have parts of JSON values only`,
      "SET GLOBAL binlog_row_value_options = ''",
    )
  }
}

/** Asking is the only way to know: rights may come through roles. */
async function checkRights({ source, flavour }: Setup, sql: Client, problems: MainstemError[]): Promise<void> {
  const monitor = flavour === 'mariadb' ? 'BINLOG MONITOR' : 'REPLICATION CLIENT'
  const [user] = await sql.query<{ name: string }>('select current_user() as name')
  const missing = (right: string, cause: unknown) =>
    fail('SOURCE_PERMISSION', `source ${source} does not let this user replicate`, {
      detail: textOf(cause),
      hint: `as an administrator: GRANT ${right} ON *.* TO ${user?.name ?? 'the user'}`,
    })
  try {
    await sql.query('show binary logs')
  } catch (error) {
    if (errorNumberOf(error) === 1227) problems.push(missing(`REPLICATION SLAVE, ${monitor}`, error))
    else if (errorNumberOf(error) !== 1381) throw error
  }
  const granted = await sql.query<Record<string, string>>('show grants')
  const text = granted.flatMap(row => Object.values(row)).join('\n')
  if (/REPLICATION SLAVE|ALL PRIVILEGES ON \*\.\*|^GRANT [^\n]*` TO /im.test(text)) return
  problems.push(missing('REPLICATION SLAVE', 'the user has no REPLICATION SLAVE privilege'))
}

async function checkTables(
  setup: Setup,
  sql: Client,
  image: string,
  problems: MainstemError[],
): Promise<MariadbTable[]> {
  const found = await readTables(
    sql,
    setup.tables.map(table => inDatabase(setup, table)),
    setup.flavour === 'mariadb',
  )
  const checked: MariadbTable[] = []
  for (const table of setup.tables) {
    const { database, name } = inDatabase(setup, table)
    const catalog = found.find(candidate => candidate.database === database && candidate.name === name)
    if (!catalog) {
      problems.push(await missingTable(setup, sql, { in: table.in, table: table.table.table }))
      continue
    }
    const wrong = checkTable(table, catalog, image)
    problems.push(...wrong)
    if (wrong.length === 0) problems.push(...(await checkAccess(table, catalog, sql)))
    // A key that the server keeps unique cannot come twice.
    checked.push({ setup: table, catalog, rowsEstimated: catalog.rowsEstimated, isKeyUnique: true })
  }
  return checked
}

/** The problems between a table's contract and the table. */
export function checkTable(table: SetupTable, catalog: CatalogTable, image: string): MainstemError[] {
  if (catalog.kind !== 'BASE TABLE') {
    return [
      fail('CONTRACT_TABLE_MISSING', `${table.table.name} is not an ordinary table`, {
        detail: `it is a ${catalog.kind.toLowerCase()}`,
        hint: 'capture the tables it is made of',
      }),
    ]
  }
  return [
    ...checkColumns(table, catalog.columns, unlogged, checkType),
    ...checkKey(table, catalog, image),
    ...checkCascades(table, catalog),
  ]
}

const unlogged = ({ virtual }: CatalogColumn) =>
  virtual
    ? {
        does: 'log',
        detail: 'it is computed when it is read, and not stored',
        hint: 'make it STORED, or leave it out of the contract and compute it in the projection',
      }
    : undefined

function checkKey(table: SetupTable, catalog: CatalogTable, image: string): MainstemError[] {
  const key = table.contract.key.columns.map(column => column.name)
  const isKey = (columns: readonly string[]) => columns.every(name => key.includes(name))
  // An update that logs changed columns only names its row by the primary key.
  const usable = image === 'FULL' || image === 'FULL_NODUP' ? catalog.keys : catalog.keys.slice(0, 1)
  if (usable.some(isKey)) return []
  const [first] = usable
  if (!first) {
    return [
      fail('CONTRACT_KEY_MISMATCH', `nothing identifies a row of ${table.table.name}`, {
        detail: 'the table has no primary key, and no unique index over columns that are NOT NULL',
        hint: `add one: ALTER TABLE ${quoteTable(catalog)} ADD COLUMN id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY`,
      }),
    ]
  }
  const columns = first.map(name => `'${name}'`).join(', ')
  return [
    fail('CONTRACT_KEY_MISMATCH', `${table.table.name} is not identified by ${key.join(', ')}`, {
      detail: `what identifies a row is ${usable.map(each => each.join(', ')).join(', or ')}`,
      hint: `write key: ${first.length === 1 ? columns : `[${columns}]`}`,
    }),
  ]
}

/** What the engine does by itself for a foreign key is in no binary log: rows would be changed, or vanish, without a word. */
const checkCascades = (table: SetupTable, catalog: CatalogTable): MainstemError[] =>
  catalog.cascades.map(cascade =>
    fail('SOURCE_CASCADE_UNLOGGED', `${table.table.name} is changed by a foreign key, which is not logged`, {
      detail: `foreign key ${cascade}`,
      hint: 'write ON DELETE RESTRICT and delete its rows before the parent, or by a trigger, whose changes are logged',
    }),
  )

async function checkAccess(table: SetupTable, catalog: CatalogTable, sql: Client): Promise<MainstemError[]> {
  try {
    await tryToRead(sql, catalog, Object.keys(table.contract.schema.shape))
    return []
  } catch (error) {
    const number = errorNumberOf(error)
    if (number !== 1142 && number !== 1143) throw error
    return [
      fail('SOURCE_PERMISSION', `${table.table.name} cannot be read`, {
        detail: textOf(error),
        hint: `as an administrator: GRANT SELECT ON ${quoteTable(catalog)} TO the source's user`,
      }),
    ]
  }
}
