// Reads the tables that exist and the contracts that hold them exactly: for `mainstem init --from`.
import type { Introspection } from '../connector/contract-source.ts'
import { identityColumns, readAllTables } from './catalog.ts'
import { suggest } from './compatibility.ts'
import { connect } from './connection.ts'
import { targetOf } from './setup.ts'

/** What errors call it: of several databases it should be seen which one is meant, and never with its password. */
function databaseOf(url: string): string {
  const name = URL.canParse(url) ? new URL(url).pathname.slice(1) : ''
  return name || 'database'
}

/** Reads all tables of a database. @throws SOURCE_UNREACHABLE, SOURCE_AUTHENTICATION */
export async function introspect(url: string): Promise<Introspection> {
  const sql = await connect(targetOf(databaseOf(url), { url }))
  try {
    const { rows } = await sql.query<{ name: string }>('select current_database()::text as name')
    const tables = await readAllTables(sql)
    return {
      database: rows[0]?.name ?? '',
      tables: tables.map(table => ({
        schema: table.schema,
        name: table.name,
        key: identityColumns(table) ?? table.indexes.find(index => index.primary)?.columns ?? [],
        // Generated columns are not streamed.
        columns: table.columns
          .filter(column => !column.generated)
          .map(column => ({
            name: column.name,
            type: column.type.name,
            nullable: column.nullable,
            schema: suggest(column.type) + (column.nullable ? '.nullable()' : ''),
          })),
        rowsEstimated: table.rowsEstimated,
      })),
    }
  } finally {
    await sql.end().catch(() => {})
  }
}
