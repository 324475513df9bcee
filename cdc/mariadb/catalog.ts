// What the server says of itself and of tables: columns and types, what identifies a row, changes that its log leaves out.
import { fail, type MainstemError } from '../../core/index.ts'
import { didYouMean } from '../connector/did-you-mean.ts'
import { type Client, quoteTable } from './connection.ts'
import { inDatabase, type Setup, type TableName } from './setup.ts'
import { type ColumnType, type TypeRow, typeOf } from './types.ts'

export interface CatalogColumn {
  readonly name: string
  readonly type: ColumnType
  readonly nullable: boolean
  /** Computed when read: not in the binary log. */
  readonly virtual: boolean
}

export interface CatalogTable extends TableName {
  /** BASE TABLE, VIEW, SEQUENCE, SYSTEM VERSIONED … */
  readonly kind: string
  readonly engine: string
  readonly rowsEstimated: number
  readonly columns: readonly CatalogColumn[]
  /** Columns of unique indexes that cannot hold NULL, the primary key first. */
  readonly keys: readonly (readonly string[])[]
  readonly hasPrimaryKey: boolean
  /** Foreign keys by which a change of another table changes this one's rows inside the engine, unlogged. */
  readonly cascades: readonly string[]
  /** Columns of other tables whose change (ON UPDATE CASCADE …) does the same. */
  readonly follows: readonly Followed[]
}

export interface Followed extends TableName {
  readonly column: string
}

interface ColumnRow extends TypeRow {
  readonly database: string
  readonly table: string
  readonly name: string
  readonly nullable: 'YES' | 'NO'
  readonly extra: string
}

const COLUMNS = `
  select table_schema as \`database\`, table_name as \`table\`, column_name as name, data_type as dataType,
         column_type as columnType, character_set_name as charset,
         coalesce(numeric_precision, datetime_precision) as \`precision\`, numeric_scale as scale,
         character_maximum_length as length, is_nullable as nullable, extra as extra
    from information_schema.columns where (table_schema, table_name) in (?) order by table_schema, table_name, ordinal_position`

const TABLES = `
  select table_schema as \`database\`, table_name as name, table_type as kind, coalesce(engine, '') as engine,
         coalesce(table_rows, 0) as \`rows\`
    from information_schema.tables where (table_schema, table_name) in (?) order by table_schema, table_name`

const KEYS = `
  select table_schema as \`database\`, table_name as \`table\`, index_name as \`index\`, column_name as name,
         sub_part as prefix, nullable as nullable
    from information_schema.statistics where non_unique = 0 and (table_schema, table_name) in (?)
   order by index_name <> 'PRIMARY', index_name, seq_in_index`

const CASCADES = `
  select constraint_schema as \`database\`, table_name as \`table\`, constraint_name as name,
         delete_rule as \`delete\`, referenced_table_name as parent
    from information_schema.referential_constraints
   where (constraint_schema, table_name) in (?) and delete_rule in ('CASCADE', 'SET NULL', 'SET DEFAULT')`

const FOLLOWS = `
  select k.constraint_schema as \`database\`, k.table_name as \`table\`, k.referenced_table_schema as parentDatabase,
         k.referenced_table_name as parent, k.referenced_column_name as \`column\`
    from information_schema.key_column_usage k join information_schema.referential_constraints r
      on r.constraint_schema = k.constraint_schema and r.constraint_name = k.constraint_name and r.table_name = k.table_name
   where (k.constraint_schema, k.table_name) in (?) and r.update_rule in ('CASCADE', 'SET NULL', 'SET DEFAULT')`

/** MariaDB's JSON is text with a check. */
const JSON_CHECKS = `
  select constraint_schema as \`database\`, table_name as \`table\`, check_clause as clause
    from information_schema.check_constraints where (constraint_schema, table_name) in (?) and check_clause like 'json_valid(%'`

interface InTable {
  readonly database: string
  readonly table: string
}

interface KeyRow extends InTable {
  readonly index: string
  readonly name: string | null
  readonly prefix: number | null
  readonly nullable: string
}

/** The tables with these names that exist, in the order of their names. */
export async function readTables(
  client: Client,
  names: readonly TableName[],
  isMariadb: boolean,
): Promise<CatalogTable[]> {
  if (names.length === 0) return []
  const values = [names.map(({ database, name }) => [database, name])]
  const tables = await client.query<TableName & { kind: string; engine: string; rows: number | string }>(TABLES, values)
  const columns = await client.query<ColumnRow>(COLUMNS, values)
  const keys = await client.query<KeyRow>(KEYS, values)
  const cascades = await client.query<InTable & { name: string; delete: string; parent: string }>(CASCADES, values)
  const follows = await client.query<InTable & { parentDatabase: string; parent: string; column: string }>(
    FOLLOWS,
    values,
  )
  const checks = isMariadb ? await client.query<InTable & { clause: string }>(JSON_CHECKS, values) : []
  return tables.map(table => {
    const own = <R extends InTable>(rows: readonly R[]): R[] =>
      rows.filter(row => row.database === table.database && row.table === table.name)
    const json = new Set(own(checks).map(({ clause }) => /^json_valid\(`(.*)`\)$/.exec(clause)?.[1] ?? ''))
    return {
      database: table.database,
      name: table.name,
      kind: table.kind,
      engine: table.engine,
      rowsEstimated: Number(table.rows),
      columns: own(columns).map(row => toColumn(row, json.has(row.name))),
      ...keysOf(own(keys)),
      follows: own(follows).map(({ parentDatabase, parent, column }) => ({
        database: parentDatabase,
        name: parent,
        column,
      })),
      cascades: own(cascades).map(({ name, parent, delete: rule }) => `${name} (ON DELETE ${rule} of ${parent})`),
    }
  })
}

const toColumn = (row: ColumnRow, isJson: boolean): CatalogColumn => ({
  name: row.name,
  type: typeOf({ ...row, isJson }),
  nullable: row.nullable === 'YES',
  virtual: /\bVIRTUAL\b/.test(row.extra),
})

/** A unique index over NULLs, over parts of columns, or over expressions does not identify rows. */
function keysOf(rows: readonly KeyRow[]): Pick<CatalogTable, 'keys' | 'hasPrimaryKey'> {
  const byIndex = Map.groupBy(rows, row => row.index)
  const keys = [...byIndex.values()]
    .filter(parts =>
      parts.every(({ name, prefix, nullable }) => name !== null && prefix === null && nullable !== 'YES'),
    )
    .map(parts => parts.map(({ name }) => name ?? ''))
  return { keys, hasPrimaryKey: byIndex.has('PRIMARY') }
}

/** All tables of a database that could be captured. */
export async function tableNames(client: Client, database: string): Promise<TableName[]> {
  return [
    ...(await client.query<TableName>(
      `select table_schema as \`database\`, table_name as name from information_schema.tables
        where table_schema = ? and table_type = 'BASE TABLE' order by table_name`,
      [database],
    )),
  ]
}

export async function missingTable(
  setup: Setup,
  sql: Client,
  table: { readonly in: TableName; readonly table: string },
): Promise<MainstemError> {
  const wanted = inDatabase(setup, table)
  const names = (await tableNames(sql, wanted.database)).map(each => each.name)
  const near = didYouMean(wanted.name, names)
  return fail('CONTRACT_TABLE_MISSING', `${setup.source} has no table '${table.table}'`, {
    detail: `looked for ${quoteTable(wanted)}; there is ${names.slice(0, 12).join(', ') || 'no table that this user may see'}`,
    hint: near
      ? `did you mean ${near}?`
      : "name tables of other databases 'database.table', and GRANT SELECT on them to the source's user",
  })
}

/** Whether the columns can be read: throws the server's error. */
export async function tryToRead(client: Client, table: TableName, columns: readonly string[]): Promise<void> {
  const list = columns.map(name => `\`${name.replaceAll('`', '``')}\``).join(', ')
  await client.query(`select ${list} from ${quoteTable(table)} limit 0`)
}

/** The server's collations: number → character set. */
export async function readCollations(client: Client, isMariadb: boolean): Promise<Map<number, string>> {
  // A collation of MariaDB's may belong to several character sets, each with a number of its own.
  const rows = await client.query<{ id: number | string; charset: string }>(
    isMariadb
      ? 'select id, character_set_name as charset from information_schema.collation_character_set_applicability where id is not null'
      : 'select id, character_set_name as charset from information_schema.collations where id is not null',
  )
  return new Map(rows.map(({ id, charset }) => [Number(id), charset]))
}
