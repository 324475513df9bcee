// Reads the tables that exist and the contracts that hold them exactly: for `mainstem init --from`.
import type { Introspection } from '../connector/contract-source.ts'
import { readTables, tableNames } from './catalog.ts'
import { suggest } from './compatibility.ts'
import { connect, databaseIn } from './connection.ts'

/** Reads all tables of the url's database. @throws SOURCE_UNREACHABLE, SOURCE_AUTHENTICATION */
export async function introspectMariadb(url: string): Promise<Introspection & { technology: 'mariadb' | 'mysql' }> {
  const target = { source: '', url }
  const database = databaseIn(target)
  const sql = await connect({ ...target, source: database || 'database' })
  try {
    const [server] = await sql.query<{ version: string }>('select version() as version')
    const isMariadb = /mariadb/i.test(server?.version ?? '')
    const tables = await readTables(sql, await tableNames(sql, database), isMariadb)
    return {
      technology: isMariadb ? 'mariadb' : 'mysql',
      database,
      tables: tables.map(table => ({
        schema: 'public',
        name: table.name,
        key: table.keys[0] ?? [],
        // What is computed when it is read is not logged.
        columns: table.columns
          .filter(column => !column.virtual)
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
    sql.end()
  }
}
