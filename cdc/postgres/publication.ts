// The publication: which tables the server streams. Created, or completed, where the user may; otherwise the SQL that an
// administrator has to run is in the error.
import { fail, type MainstemError } from '../../core/index.ts'
import { type CatalogTable, onlyTable } from './catalog.ts'
import { type Client, quoteName, quoteTable, sqlStateOf } from './connection.ts'
import type { Setup } from './setup.ts'

/** A table whose changes the publication is to hold. */
export interface Published {
  readonly topic: string
  /** Those that are read. */
  readonly columns: readonly string[]
  readonly catalog: CatalogTable
}

/** The publication has to hold generated columns. */
const needsGenerated = (tables: readonly Published[]): boolean =>
  tables.some(({ catalog, columns }) =>
    catalog.columns.some(({ name, generated }) => generated && columns.includes(name)),
  )

interface PublicationRow {
  readonly via_root: boolean
  readonly complete: boolean
  /** It publishes stored generated columns. */
  readonly generated: boolean
  readonly is_owner: boolean
  readonly owner: string
}

interface PublishedRow {
  readonly schema: string
  readonly name: string
  readonly columns: string[] | null
  readonly filter: string | null
}

interface Publication extends PublicationRow {
  readonly published: readonly PublishedRow[]
}

async function readPublication(sql: Client, name: string): Promise<Publication | undefined> {
  const { rows } = await sql.query<PublicationRow>(
    `select pubviaroot as via_root, pubinsert and pubupdate and pubdelete and pubtruncate as complete,
            coalesce(to_jsonb(p) ->> 'pubgencols' = 's', false) as generated,
            pg_has_role(pubowner, 'USAGE') as is_owner, pg_get_userbyid(pubowner)::text as owner
       from pg_publication p where pubname = $1`,
    [name],
  )
  const row = rows[0]
  if (!row) return undefined
  // Column lists and row filters came with version 15: through JSON, absent columns are null.
  const published = await sql.query<PublishedRow>(
    `select t.schemaname::text as schema, t.tablename::text as name, to_jsonb(t) ->> 'rowfilter' as filter,
            case when to_jsonb(t) ? 'attnames' then array(select jsonb_array_elements_text(to_jsonb(t) -> 'attnames')) end as columns
       from pg_publication_tables t where t.pubname = $1`,
    [name],
  )
  return { ...row, published: published.rows }
}

const find = (publication: Publication, table: CatalogTable): PublishedRow | undefined =>
  publication.published.find(row => row.schema === table.schema && row.name === table.name)

/** What stands in the way of publishing the tables. */
export async function checkPublication(
  setup: Setup,
  sql: Client,
  tables: readonly Published[],
): Promise<MainstemError[]> {
  const publication = await readPublication(sql, setup.publication)
  if (!publication) return checkCreatable(setup, sql, tables)
  const name = quoteName(setup.publication)
  const refuse = (detail: string, hint: string) => [
    fail('SOURCE_PERMISSION', `publication ${setup.publication} does not publish all of ${setup.source}`, {
      detail,
      hint,
    }),
  ]
  if (!publication.complete) {
    return refuse(
      'it leaves out inserts, updates, deletes or truncates',
      `ALTER PUBLICATION ${name} SET (publish = 'insert, update, delete, truncate')`,
    )
  }
  if (!publication.via_root && tables.some(table => table.catalog.partitioned) && !publication.is_owner) {
    return refuse(
      'it publishes partitions, not their table',
      `ALTER PUBLICATION ${name} SET (publish_via_partition_root = true)`,
    )
  }
  if (!publication.generated && needsGenerated(tables) && !publication.is_owner) {
    return refuse(
      'it leaves out generated columns',
      `ALTER PUBLICATION ${name} SET (publish_generated_columns = stored)`,
    )
  }
  for (const { catalog, columns } of tables) {
    const row = find(publication, catalog)
    const isPlain = (column: string) => catalog.columns.some(({ name, generated }) => name === column && !generated)
    if (row?.filter)
      return refuse(`it filters rows of ${quoteTable(catalog)}`, 'remove the filter, or name another publication')
    const hidden = columns.filter(column => isPlain(column) && row?.columns && !row.columns.includes(column))
    if (hidden.length > 0) {
      return refuse(
        `it leaves out ${hidden.join(', ')} of ${quoteTable(catalog)}`,
        'publish the column, or leave it out of the contract',
      )
    }
  }
  const missing = tables.filter(({ catalog }) => !find(publication, catalog)).map(table => table.catalog)
  if (missing.length > 0 && !(publication.is_owner && missing.every(table => table.isOwner))) {
    return refuse(
      `${missing.map(quoteTable).join(', ')} is not in it`,
      `as ${publication.owner}: ${addSql(setup.publication, missing)}`,
    )
  }
  return []
}

async function checkCreatable(setup: Setup, sql: Client, tables: readonly Published[]): Promise<MainstemError[]> {
  const { rows } = await sql.query<{ may: boolean }>(
    `select has_database_privilege(current_database(), 'CREATE') as may`,
  )
  const foreign = tables.filter(({ catalog }) => !catalog.isOwner).map(table => table.catalog)
  if (rows[0]?.may && foreign.length === 0) return []
  const reason =
    foreign.length > 0
      ? `it does not own ${foreign.map(quoteTable).join(', ')}`
      : 'it has no CREATE privilege on the database'
  return [
    fail('SOURCE_PERMISSION', `source ${setup.source} may not create its publication`, {
      detail: reason,
      hint: `as an administrator: ${createSql(setup.publication, tables)}`,
    }),
  ]
}

const list = (tables: readonly CatalogTable[]): string => tables.map(onlyTable).join(', ')
function createSql(name: string, tables: readonly Published[]): string {
  const of = tables.length > 0 ? ` FOR TABLE ${list(tables.map(({ catalog }) => catalog))}` : ''
  const options = [
    'publish_via_partition_root = true',
    ...(needsGenerated(tables) ? ['publish_generated_columns = stored'] : []),
  ]
  return `CREATE PUBLICATION ${quoteName(name)}${of} WITH (${options.join(', ')})`
}
const addSql = (name: string, tables: readonly CatalogTable[]): string =>
  `ALTER PUBLICATION ${quoteName(name)} ADD TABLE ${list(tables)}`

/** The tables that the server does not stream, or not whole: all of them where there is no publication. */
export async function unpublishedTables(setup: Setup, sql: Client, tables: readonly Published[]): Promise<string[]> {
  const publication = await readPublication(sql, setup.publication)
  const isPublished = (table: Published): boolean =>
    publication !== undefined &&
    find(publication, table.catalog) !== undefined &&
    (publication.generated || !needsGenerated([table]))
  const missing = tables.filter(table => !isPublished(table))
  return missing.map(({ topic }) => topic)
}

/** Creates the publication, or adds the tables that it lacks. */
export async function ensurePublication(setup: Setup, sql: Client, tables: readonly Published[]): Promise<void> {
  const publication = await readPublication(sql, setup.publication)
  if (!publication) {
    await sql.query(createSql(setup.publication, tables)).catch(error => {
      // Somebody was quicker; what it publishes was checked, or will be at the next start.
      if (sqlStateOf(error) !== '42710') throw error
    })
    return
  }
  const missing = tables.map(({ catalog }) => catalog).filter(table => !find(publication, table))
  if (missing.length > 0) await sql.query(addSql(setup.publication, missing))
  if (!publication.via_root && tables.some(({ catalog }) => catalog.partitioned)) {
    await sql.query(`ALTER PUBLICATION ${quoteName(setup.publication)} SET (publish_via_partition_root = true)`)
  }
  if (!publication.generated && needsGenerated(tables)) {
    await sql.query(`ALTER PUBLICATION ${quoteName(setup.publication)} SET (publish_generated_columns = stored)`)
  }
}

/** Drops the publication if it is this user's; false where there is nothing to drop. */
export async function dropPublication(sql: Client, name: string): Promise<boolean> {
  const publication = await readPublication(sql, name)
  if (!publication?.is_owner) return false
  await sql.query(`DROP PUBLICATION IF EXISTS ${quoteName(name)}`)
  return true
}
