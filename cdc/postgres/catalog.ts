// What the server's catalog says of tables: columns and types, what identifies a row, who may do what.
import { type Client, quoteTable } from './connection.ts'
import { loadTypes, type PgType } from './types.ts'

export interface TableName {
  readonly schema: string
  readonly name: string
}

export interface CatalogColumn {
  readonly name: string
  /** Stays when it is renamed. */
  readonly number: number
  readonly type: PgType
  readonly typeId: number
  readonly typeModifier: number
  readonly nullable: boolean
  readonly generated: boolean
  /** The server can stream it: not what is generated, but for stored columns from version 18 on. */
  readonly streamable: boolean
  readonly selectable: boolean
}

export interface CatalogIndex {
  readonly columns: readonly string[]
  readonly primary: boolean
  readonly identity: boolean
}

export interface CatalogTable extends TableName {
  readonly oid: string
  readonly partitioned: boolean
  /** r(ordinary), p(artitioned), v(iew), m(aterialised), f(oreign) … */
  readonly kind: string
  readonly persistence: string
  readonly replicaIdentity: string
  readonly owner: string
  readonly isOwner: boolean
  readonly rowSecurity: boolean
  readonly rowsEstimated: number
  readonly columns: readonly CatalogColumn[]
  readonly indexes: readonly CatalogIndex[]
}

interface TableRow {
  readonly oid: string
  readonly schema: string
  readonly name: string
  readonly kind: string
  readonly persistence: string
  readonly identity: string
  readonly owner: string
  readonly is_owner: boolean
  readonly row_security: boolean
  readonly rows: string
}

interface ColumnRow {
  readonly oid: string
  readonly number: number
  readonly name: string
  readonly type_id: string
  readonly type_modifier: number
  readonly type_name: string
  readonly not_null: boolean
  readonly generated: boolean
  readonly streamable: boolean
  readonly selectable: boolean
}

interface IndexRow {
  readonly oid: string
  readonly primary: boolean
  readonly identity: boolean
  readonly columns: string[]
}

const TABLES = `
  select c.oid::text, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
         c.relpersistence::text as persistence, c.relreplident::text as identity,
         pg_get_userbyid(c.relowner)::text as owner, pg_has_role(c.relowner, 'USAGE') as is_owner,
         row_security_active(c.oid) as row_security,
         case when c.relkind = 'p'
           then (select coalesce(sum(greatest(l.reltuples, 0)), 0) from pg_partition_tree(c.oid) t join pg_class l on l.oid = t.relid and t.isleaf)
           -- A table that was never analysed says -1 or 0: then about a hundred bytes a row, of what lies on disk.
           when c.reltuples <= 0 and c.relkind = 'r' then pg_relation_size(c.oid) / 100
           else greatest(c.reltuples, 0) end::text as rows
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p', 'v', 'm', 'f')`

const COLUMNS = `
  select a.attrelid::text as oid, a.attnum as number, a.attname::text as name, a.atttypid::text as type_id, a.atttypmod as type_modifier,
         format_type(a.atttypid, a.atttypmod) as type_name, a.attnotnull as not_null, a.attgenerated <> '' as generated,
         a.attgenerated = '' or (a.attgenerated = 's' and current_setting('server_version_num')::int >= 180000) as streamable,
         has_column_privilege(a.attrelid, a.attnum, 'SELECT') as selectable
    from pg_attribute a where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum`

const INDEXES = `
  select i.indrelid::text as oid, i.indisprimary as primary, i.indisreplident as identity,
         array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(number, place)
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
                where k.place <= i.indnkeyatts order by k.place) as columns
    from pg_index i where i.indrelid = any($1::oid[]) and i.indisunique and i.indimmediate and i.indisvalid
                                                      and i.indpred is null and i.indexprs is null`

/** The tables with these names that exist, in no particular order. */
export async function readTables(client: Client, names: readonly TableName[]): Promise<CatalogTable[]> {
  const { rows } = await client.query<TableRow>(
    `${TABLES} and (n.nspname::text, c.relname::text) in (select * from unnest($1::text[], $2::text[]))`,
    [names.map(name => name.schema), names.map(name => name.name)],
  )
  return completeTables(client, rows)
}

/** All tables of the user's own that could be captured. */
export async function readAllTables(client: Client): Promise<CatalogTable[]> {
  const { rows } = await client.query<TableRow>(
    `${TABLES} and c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition
       and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%' order by 2, 3`,
  )
  return completeTables(client, rows)
}

async function completeTables(client: Client, rows: readonly TableRow[]): Promise<CatalogTable[]> {
  const ids = rows.map(row => row.oid)
  const columns = (await client.query<ColumnRow>(COLUMNS, [ids])).rows
  const indexes = (await client.query<IndexRow>(INDEXES, [ids])).rows
  const resolve = await loadTypes(client, [...new Set(columns.map(column => Number(column.type_id)))])
  return rows.map(row => ({
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    kind: row.kind,
    partitioned: row.kind === 'p',
    persistence: row.persistence,
    replicaIdentity: row.identity,
    owner: row.owner,
    isOwner: row.is_owner,
    rowSecurity: row.row_security,
    rowsEstimated: Math.round(Number(row.rows)),
    columns: columns.filter(column => column.oid === row.oid).map(column => toColumn(column, resolve)),
    indexes: indexes.filter(index => index.oid === row.oid),
  }))
}

function toColumn(row: ColumnRow, resolve: Awaited<ReturnType<typeof loadTypes>>): CatalogColumn {
  const typeId = Number(row.type_id)
  return {
    name: row.name,
    number: row.number,
    type: resolve({ typeId, modifier: row.type_modifier, name: row.type_name }),
    typeId,
    typeModifier: row.type_modifier,
    nullable: !row.not_null,
    generated: row.generated,
    streamable: row.streamable,
    selectable: row.selectable,
  }
}

/** The columns that updates and deletes name a row by; undefined where the whole old row is sent, [] where nothing is. */
export function identityColumns(table: CatalogTable): readonly string[] | undefined {
  switch (table.replicaIdentity) {
    case 'f':
      return undefined
    case 'd':
      return table.indexes.find(index => index.primary)?.columns ?? []
    case 'i':
      return table.indexes.find(index => index.identity)?.columns ?? []
    default:
      return []
  }
}

/** Names of tables that look like the missing one, for a hint. */
export async function nearbyTables(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select case when n.nspname = 'public' then c.relname::text else n.nspname || '.' || c.relname end as name
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
      order by 1 limit 500`,
  )
  return rows.map(row => row.name)
}

/** How SELECT and publications name the table's own rows, without those of tables that inherit from it. */
export const onlyTable = (table: CatalogTable): string => `${table.partitioned ? '' : 'only '}${quoteTable(table)}`
