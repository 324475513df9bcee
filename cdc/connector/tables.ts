// The current rows of captured tables, out of the mirror. They are read between two transactions, when all before is durable: never
// a part of a transaction, and nothing that the log could lose.
import {
  type AnyRow,
  type CapturedTable,
  fail,
  type Mirror,
  type MirrorTable,
  type ObjectContract,
  type SourceTables,
  type TableRows,
} from '../../core/index.ts'
import { durable } from './between.ts'
import type { Stream } from './stream.ts'
import type { Technology } from './technology.ts'

/** Captured tables by their names, `orders` or `shop.orders`; all of them where none is named. @throws TABLE_UNKNOWN */
export function tablesNamed(
  source: string,
  tables: readonly CapturedTable[],
  names: readonly string[] = [],
): readonly CapturedTable[] {
  if (names.length === 0) return tables
  return names.map(name => {
    const found = tables.find(({ table }) => table.table === name || table.name === name)
    if (found) return found
    throw fail('TABLE_UNKNOWN', `source ${source} captures no table '${name}'`, {
      detail: `it captures ${tables.map(({ table }) => table.table).join(', ')}`,
    })
  })
}

export interface TablesHost<P> {
  readonly technology: Technology<P>
  /** What streams now. @throws NOT_READY */
  streaming(): { readonly stream: Stream<P>; readonly mirror: Mirror }
}

export class Tables<P> implements SourceTables {
  readonly contracts: ReadonlyMap<string, ObjectContract>
  readonly #host: TablesHost<P>

  constructor(host: TablesHost<P>) {
    this.#host = host
    this.contracts = new Map(host.technology.tables.map(({ table, contract }) => [table.table, contract]))
  }

  get(table: string, keys: readonly Buffer[]): Promise<TableRows> {
    return this.#read(table, async mirrored =>
      keys.map(key => {
        const stored = mirrored.find(key)
        return stored && mirrored.row(stored)
      }),
    )
  }

  page(table: string, after: Buffer | undefined, limit: number): Promise<TableRows> {
    return this.#read(table, async (mirrored, commit) => {
      await commit()
      const rows: AnyRow[] = []
      for (const row of mirrored.rowsAfter(after)) if (rows.push(row) >= limit) break
      return rows
    })
  }

  async #read(
    table: string,
    read: (mirrored: MirrorTable, commit: () => Promise<void>) => Promise<TableRows['rows']>,
  ): Promise<TableRows> {
    const { technology, streaming } = this.#host
    const { stream, mirror } = streaming()
    const contract = this.contracts.get(table)
    if (!contract) throw new Error(`${technology.source} has no table ${table}`)
    return stream.between(async pipeline => {
      await durable({ technology, pipeline })
      const rows = await read(mirror.table(contract.name), () => mirror.commit(pipeline.position))
      return { rows, position: pipeline.position }
    })
  }
}
