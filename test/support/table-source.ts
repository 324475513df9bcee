// Tables without a database: the test itself appends their change records, as a connector would. For tests of projections,
// whose only input is the log.
import type { z } from 'zod'
import {
  type AnyRow,
  type AnyTable,
  contractOfTable,
  type KeyColumns,
  type Log,
  type LogTopic,
  type SourceConnector,
  type SourceDefinition,
  type Table,
} from '../../core/index.ts'

export interface TableSource<N extends string = string> extends SourceDefinition {
  table<const T extends string, Z extends z.ZodObject, const K extends KeyColumns<z.output<Z>>>(
    table: T,
    contract: { key: K; row: Z },
  ): Table<`${N}.${T}`, Z, K>
}

/** A source whose tables are written by `Writer`. */
export function tableSource<const N extends string = 'test'>(name = 'test' as N): TableSource<N> {
  const source: TableSource<N> = {
    kind: 'source',
    name,
    technology: 'test',
    open: () => Promise.reject(new Error('tests append by themselves')) as Promise<SourceConnector>,
    drop: async () => ({ source: name, dropped: [] }),
    table: (table, contract) => {
      const made = { kind: 'table', name: `${name}.${table}`, table, source, ...contract }
      const changes = { kind: 'changes', name: `${name}.${table}.changes`, table: made }
      return Object.assign(made, { changes }) as never
    },
  }
  return source
}

export type TestOp =
  | { op: 'insert'; table: AnyTable; after: AnyRow }
  | { op: 'update'; table: AnyTable; before: AnyRow; after: AnyRow }
  | { op: 'delete'; table: AnyTable; before: AnyRow }

/** Appends change records as transactions. */
export class Writer {
  readonly #log: Log
  readonly #topics: ReadonlyMap<string, LogTopic>

  constructor(log: Log, topics: ReadonlyMap<string, LogTopic>) {
    this.#log = log
    this.#topics = topics
  }

  /** One transaction; gives the position of its last record. */
  async transaction(ops: readonly TestOp[]): Promise<number> {
    const batch = this.#log.batch()
    for (const each of ops) {
      const topic = this.#topics.get(each.table.name)
      if (!topic) throw new Error(`no topic ${each.table.name}`)
      if (each.op === 'insert') batch.insert(topic, each.after)
      else if (each.op === 'update') batch.update(topic, each.before, each.after)
      else batch.delete(topic, each.before)
    }
    return (await batch.commit({ source: 'test', position: '1', commitTimeUs: 1_700_000_000_000_000 })).last
  }
}

/** Registers tables in a log. */
export async function registerTables(log: Log, tables: readonly AnyTable[]): Promise<Writer> {
  const topics = new Map<string, LogTopic>()
  for (const table of tables) topics.set(table.name, await log.topic(contractOfTable(table)))
  return new Writer(log, topics)
}
