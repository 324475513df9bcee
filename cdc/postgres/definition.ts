// `postgres('shop', …)`: a declaration. It opens nothing and loads no driver.
import type { z } from 'zod'
import {
  checkName,
  checkRetain,
  compileContract,
  type DropReport,
  fail,
  type KeyColumns,
  type Retain,
  type SourceConnector,
  type SourceContext,
  type SourceDefinition,
  type SourceTable,
  type Table,
  type Upcaster,
  upcastable,
} from '../../core/index.ts'
import { createSetup, namesOf, type PostgresOptions, targetOf } from './setup.ts'

/** A PostgreSQL database as a source of tables. */
export interface PostgresSource<N extends string = string> extends SourceDefinition {
  readonly name: N
  /**
   * Declares a captured table.
   * @param table its name in the database, exactly as the catalog has it: `orders`, or `sales.orders` of another schema
   * @param contract `row`: the columns wanted, each with its schema; `key`: the column, or columns, that identify a row;
   * `retain`: how much history is kept (default: all); older changes are compacted, no row is ever lost
   * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
   */
  table<const T extends string, Z extends z.ZodObject, const K extends KeyColumns<z.output<Z>>>(
    table: T,
    contract: { readonly key: K; readonly row: Z; readonly retain?: Retain },
  ): PostgresTable<`${N}.${T}`, Z, K>
}

/** A captured table. `Next` is what its next `.upcast` has to give. */
export interface PostgresTable<N extends string, Z extends z.ZodObject, K, Next = z.output<Z>>
  extends Table<N, Z, K>,
    SourceTable {
  readonly name: N
  readonly row: Z
  readonly key: K
  /** Says how change records written under an older contract are read: as `topic(…).upcast`. @throws DEFINITION_INVALID */
  upcast<Old extends z.ZodObject>(
    version: number,
    row: Old,
    how: Upcaster<z.output<Old>, Next>,
  ): PostgresTable<N, Z, K, z.output<Old>>
}

/**
 * Declares a PostgreSQL database (15 to 18) whose tables are captured by logical replication.
 * @param name durable: topics, slot and tokens are named by it
 * @throws DEFINITION_INVALID
 * @example
 * const shop = postgres('shop', { url: env('SHOP_URL') })
 * const customers = shop.table('customers', { key: 'id', row: z.object({ id: z.int(), name: z.string() }) })
 */
export function postgres<const N extends string>(name: N, options: PostgresOptions): PostgresSource<N> {
  checkName('source', name)
  const source: PostgresSource<N> = {
    kind: 'source',
    name,
    technology: 'postgres',
    table: (table, contract) => declareTable(source, table, contract) as never,
    open: context => openSource(name, options, context),
    drop: application => dropSource(name, options, application),
  }
  return source
}

function declareTable(
  source: PostgresSource,
  table: string,
  contract: { readonly key: unknown; readonly row: z.ZodObject; readonly retain?: Retain },
): object {
  if (table === '' || table.length > 127) throw fail('DEFINITION_INVALID', `'${table}' is not a table name`)
  const name = `${source.name}.${table}`
  compileContract(name, 'table', contract.row, contract.key)
  const { row, key, retain } = contract
  checkRetain(name, retain)
  const declared = { kind: 'table', name, source, table, row, key, ...(retain ? { retain } : {}) }
  const withChanges = <D extends object>(table: D): D =>
    Object.assign(table, { changes: { kind: 'changes', name, table } })
  return upcastable(withChanges(declared), withChanges)
}

async function openSource(name: string, options: PostgresOptions, context: SourceContext): Promise<SourceConnector> {
  const { PostgresTechnology } = await import('./technology.ts')
  const { openConnector } = await import('../connector/connector.ts')
  return openConnector(new PostgresTechnology(createSetup(name, options, context)), context)
}

async function dropSource(name: string, options: PostgresOptions, application: string): Promise<DropReport> {
  const { dropFromServer } = await import('./drop.ts')
  return dropFromServer(name, targetOf(name, options), namesOf(name, options, application))
}
