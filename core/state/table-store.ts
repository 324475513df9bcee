// Tables of key → bytes on disk (LMDB), for mirrors and checkpoints. Memory is bounded by what is not yet committed:
// writes are kept in an overlay that reads see at once, and go to disk in one transaction at `commit()`, all or nothing.
// What is lost in a crash is what was not committed; owners store the log position they stand at and catch up from the log.
import { mkdirSync } from 'node:fs'
import { type Database, open, type RootDatabase } from 'lmdb'
import { asMainstemError } from '../errors.ts'

/** Most tables one store can hold; LMDB wants it named at open. */
const TABLES_MAX = 1_024
const META = 'mainstem.meta'

export type StoredEntry = readonly [key: Buffer, value: Buffer]

/** The writes of one commit: key bytes as latin1 → value, or null for removed. */
type Overlay = Map<string, Map<string, Buffer | null>>

/** Opens, or makes, the store in folder `path`. One process at a time (the data folder's lock sees to that). */
export function openTableStore(path: string): TableStore {
  mkdirSync(path, { recursive: true })
  const root = open<Buffer, Buffer>({
    path,
    keyEncoding: 'binary',
    encoding: 'binary',
    maxDbs: TABLES_MAX,
    cache: false,
    noSubdir: false,
  })
  return new TableStore(root)
}

export class TableStore {
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #tables = new Map<string, Database<Buffer, Buffer>>()
  readonly #meta: Database<unknown, string>
  #open: Overlay = new Map()
  #committing: Overlay | undefined
  #metaWrites = new Map<string, unknown>()
  #tail: Promise<void> = Promise.resolve()
  #pending = 0

  constructor(root: RootDatabase<Buffer, Buffer>) {
    this.#root = root
    this.#meta = root.openDB<unknown, string>({ name: META, encoding: 'json', cache: false })
  }

  /** Writes since the last commit. */
  get pending(): number {
    return this.#pending
  }

  /** The value under `key`, committed or not. Valid until the next call that yields. */
  get(table: string, key: Buffer): Buffer | undefined {
    const id = key.toString('latin1')
    const open = this.#open.get(table)?.get(id)
    if (open !== undefined) return open ?? undefined
    const committing = this.#committing?.get(table)?.get(id)
    if (committing !== undefined) return committing ?? undefined
    return this.#table(table).getBinary(key)
  }

  put(table: string, key: Buffer, value: Buffer): void {
    this.#write(table, key, value)
  }

  remove(table: string, key: Buffer): void {
    this.#write(table, key, null)
  }

  #write(table: string, key: Buffer, value: Buffer | null): void {
    let rows = this.#open.get(table)
    if (!rows) {
      rows = new Map()
      this.#open.set(table, rows)
    }
    rows.set(key.toString('latin1'), value)
    this.#pending++
  }

  /** Stores a small JSON value with the next commit. */
  setMeta(name: string, value: unknown): void {
    this.#metaWrites.set(name, value)
  }

  /** A committed JSON value. */
  meta(name: string): unknown {
    return this.#meta.get(name)
  }

  /** All entries in key order, as of the last commit; call `commit()` first to see everything. */
  *entries(table: string): Iterable<StoredEntry> {
    for (const { key, value } of this.#table(table).getRange({})) yield [key, value]
  }

  /** Makes everything written so far durable in one transaction. Calls queue; each takes what stands when its turn comes. */
  commit(): Promise<void> {
    const done = this.#tail.then(() => this.#commitNow())
    this.#tail = done.catch(() => {})
    return done
  }

  async #commitNow(): Promise<void> {
    const overlay = this.#open
    const meta = this.#metaWrites
    if (overlay.size === 0 && meta.size === 0) return
    this.#open = new Map()
    this.#metaWrites = new Map()
    this.#pending = 0
    this.#committing = overlay
    try {
      await this.#root.batch(() => {
        for (const [name, rows] of overlay) {
          const table = this.#table(name)
          for (const [id, value] of rows) {
            const key = Buffer.from(id, 'latin1')
            if (value === null) table.remove(key)
            else table.put(key, value)
          }
        }
        for (const [name, value] of meta) this.#meta.put(name, value)
      })
    } catch (error) {
      throw asMainstemError(error, 'LOG_FULL', 'cannot write the table store')
    } finally {
      this.#committing = undefined
    }
  }

  /** Empties a table at once, committed rows and pending writes. */
  async clear(table: string): Promise<void> {
    this.#open.delete(table)
    await this.#table(table).clearAsync()
  }

  async close(): Promise<void> {
    await this.#tail
    await this.#root.flushed
    await this.#root.close()
  }

  #table(name: string): Database<Buffer, Buffer> {
    let table = this.#tables.get(name)
    if (!table) {
      table = this.#root.openDB<Buffer, Buffer>({
        name: `t.${name}`,
        keyEncoding: 'binary',
        encoding: 'binary',
        cache: false,
      })
      this.#tables.set(name, table)
    }
    return table
  }
}
