// Declaring a database and its captured tables, whatever the technology: pure, it opens nothing and loads no driver.
import type { z } from 'zod'
import {
  checkName,
  checkRetain,
  compileContract,
  fail,
  type KeyColumns,
  type Retain,
  type SourceDefinition,
  type SourceTable,
  type Table,
  type Upcaster,
  upcastable,
} from '../../core/index.ts'

/** A database as a source of tables. */
export interface DatabaseSource<N extends string = string> extends SourceDefinition {
  readonly name: N
  /**
   * Declares a captured table.
   * @param table its name in the database, exactly as the catalog has it: `orders`, or `sales.orders` of another schema
   * (MariaDB, MySQL: of another database)
   * @param contract `row`: the columns wanted, each with its schema; `key`: the column, or columns, that identify a row;
   * `retain`: how much history is kept (default: all); older changes are compacted, no row is ever lost
   * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
   */
  table<const T extends string, Z extends z.ZodObject, const K extends KeyColumns<z.output<Z>>>(
    table: T,
    contract: { readonly key: K; readonly row: Z; readonly retain?: Retain },
  ): DatabaseTable<`${N}.${T}`, Z, K>
}

/** A captured table. `Next` is what its next `.upcast` has to give. */
export interface DatabaseTable<N extends string, Z extends z.ZodObject, K, Next = z.output<Z>>
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
  ): DatabaseTable<N, Z, K, z.output<Old>>
}

/** @throws DEFINITION_INVALID */
export function declareSource<const N extends string>(
  name: N,
  technology: string,
  run: Pick<SourceDefinition, 'open' | 'drop'>,
): DatabaseSource<N> {
  checkName('source', name)
  const source: DatabaseSource<N> = {
    kind: 'source',
    name,
    technology,
    table: (table, contract) => declareTable(source, table, contract) as never,
    ...run,
  }
  return source
}

function declareTable(
  source: SourceDefinition,
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
