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

export interface SchemasOptions {
  readonly source: string
  readonly mirror: Mirror
  readonly topic: LogTopic
}

export class Schemas {
  readonly #options: SchemasOptions
  /** Said, and not recorded yet. */
  readonly #said = new Map<string, readonly SchemaColumn[]>()

  constructor(options: SchemasOptions) {
    this.#options = options
  }

  /** The server says what columns a table has from here on. */
  say(table: string, columns: readonly SchemaColumn[]): void {
    this.#said.set(table, columns)
  }

  /** Adds what changed to the batch of a transaction that ends at `position`. Gives what to tell once it is durable. */
  record(batch: Batch, position: string): readonly SourceEvent[] {
    if (this.#said.size === 0) return []
    const { source, mirror, topic } = this.#options
    const events: SourceEvent[] = []
    for (const [table, after] of this.#said) {
      const before = mirror.schemas.get(table) ?? null
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
    return events
  }
}
