// Captured tables that leave the stream without a word. PostgreSQL streams no DDL: a table that is dropped and made again, or renamed, is
// another one to it, which the publication does not hold, and one that is taken out of the publication is just silent. So the catalog is
// asked now and then whether the tables are still those that were checked.
import { fail, type MainstemError } from '../../core/index.ts'
import { repair } from '../connector/start.ts'
import { type Client, quoteTable } from './connection.ts'
import type { Published } from './publication.ts'
import type { Setup } from './setup.ts'

const LOOK_EVERY_MS = 2_000
/** Looks in a row that find a table unpublished: somebody may be about to put it back. One that is gone is gone at once. */
const UNPUBLISHED_LOOKS = 3

const STANDING = `
  select w.oid::text as oid,
         exists (select from pg_publication_tables p where p.pubname = $4 and p.schemaname = w.schema and p.tablename = w.name) as published
    from unnest($1::oid[], $2::text[], $3::text[]) w(oid, schema, name)
    join pg_class c on c.oid = w.oid and c.relname = w.name
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = w.schema`

export class TableWatch {
  readonly #setup: Setup
  readonly #sql: Client
  readonly #tables: readonly Published[]
  readonly #onLost: (error: MainstemError) => void
  readonly #unpublished = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  /** @param onLost is told once */
  constructor(setup: Setup, sql: Client, tables: readonly Published[], onLost: (error: MainstemError) => void) {
    this.#setup = setup
    this.#sql = sql
    this.#tables = tables
    this.#onLost = onLost
  }

  start(): void {
    if (this.#tables.length > 0) this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    const standing = await this.#standing().catch(() => undefined)
    if (!standing) return
    for (const { topic, catalog } of this.#tables) {
      const published = standing.get(catalog.oid)
      const looks = published === false ? (this.#unpublished.get(topic) ?? 0) + 1 : 0
      this.#unpublished.set(topic, looks)
      if (published !== undefined && looks < UNPUBLISHED_LOOKS) continue
      this.stop()
      const { source, publication } = this.#setup
      this.#onLost(
        fail('SOURCE_TABLE_REPLACED', `changes of ${topic} come no more`, {
          detail:
            published === undefined
              ? `${quoteTable(catalog)} was dropped, renamed, or made again`
              : `${quoteTable(catalog)} is no longer in publication ${publication}`,
          hint: repair(source),
        }),
      )
      return
    }
  }

  /** Tables that stand as they were checked → whether they are published. */
  async #standing(): Promise<ReadonlyMap<string, boolean>> {
    const catalogs = this.#tables.map(({ catalog }) => catalog)
    const { rows } = await this.#sql.query<{ oid: string; published: boolean }>(STANDING, [
      catalogs.map(({ oid }) => oid),
      catalogs.map(({ schema }) => schema),
      catalogs.map(({ name }) => name),
      this.#setup.publication,
    ])
    return new Map(rows.map(({ oid, published }) => [oid, published]))
  }
}
