// What columns captured tables have, as the log knows it: the first time that a server says so, and whenever it says otherwise, a
// record stands in the batch of the transaction from which on it is so.
import {
  type Batch,
  type LogTopic,
  type Mirror,
  recordSourceEvent,
  type SchemaColumn,
  type SourceEvent,
  schemaChange,
} from '../../core/index.ts'
import type { ColumnRename } from './technology.ts'

export interface SchemasOptions {
  readonly source: string
  readonly mirror: Mirror
  readonly topic: LogTopic
}

export class Schemas {
  readonly #options: SchemasOptions
  /** Said, and not recorded yet. */
  readonly #said = new Map<string, readonly SchemaColumn[]>()

  /** Of those, in order. */
  readonly #renamed = new Map<string, ColumnRename[]>()

  constructor(options: SchemasOptions) {
    this.#options = options
  }

  /** The server says what columns a table has from here on, and which of them have other names. */
  say(table: string, columns: readonly SchemaColumn[], renamed: readonly ColumnRename[]): void {
    this.#said.set(table, columns)
    this.#renamed.set(table, [...(this.#renamed.get(table) ?? []), ...renamed])
  }

  /** Adds what changed to the batch of a transaction that ends at `position`. Gives what to tell once it is durable. */
  record(batch: Batch, position: string): readonly SourceEvent[] {
    if (this.#said.size === 0) return []
    const { source, mirror, topic } = this.#options
    const events: SourceEvent[] = []
    for (const [table, columns] of this.#said) {
      const before = mirror.schemas.get(table) ?? null
      const after = numbered(columns, before ?? [], this.#renamed.get(table) ?? [])
      const change = before && schemaChange(before, after)
      if (before && !change) continue
      mirror.schemas.set(table, after)
      const event = change ? 'schema-changed' : 'schema'
      recordSourceEvent(batch, topic, {
        source,
        event,
        position,
        table,
        before: before && [...before],
        after: [...after],
      })
      if (change) events.push({ event: 'schema-changed', source, topic: table, position, ...change })
    }
    this.#said.clear()
    this.#renamed.clear()
    return events
  }
}

/** Where the server does not number columns they are numbered here, in the order in which they came: one that is renamed keeps its own. */
function numbered(
  columns: readonly SchemaColumn[],
  before: readonly SchemaColumn[],
  renamed: readonly ColumnRename[],
): readonly SchemaColumn[] {
  if (columns.some(({ number }) => number !== null)) return columns
  const numbers = new Map(before.map(({ name, number }) => [name, number]))
  let last = Math.max(0, ...before.map(({ number }) => number ?? 0))
  const oldName = (name: string) => renamed.reduceRight((now, { from, to }) => (now === to ? from : now), name)
  return columns.map(column => ({ ...column, number: numbers.get(oldName(column.name)) ?? ++last }))
}
