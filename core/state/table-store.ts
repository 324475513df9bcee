// Tables of key → bytes on disk (LMDB), for mirrors and checkpoints. Memory is bounded by what is not yet committed:
// writes are kept in an overlay that reads see at once. `commit()` seals the overlay as it stands at the call, and writes it:
// few rows in one LMDB transaction, many in several, so that no turn of the event loop is long, the last of which has the JSON
// values. So a crash leaves the values of one commit, and maybe some rows of the next: who owns the rows writes those again. A
// sealed overlay leaves memory only when it is all on disk: if that fails (a full disk), reads go on seeing it, and the next
// commit writes it again, in order. Writes that are more than memory should hold until their commit can be spilled
// (`spilled-rows.ts`).
// What a crash loses is what was not committed; owners store the log position they stand at and catch up from the log.
import { closeSync, existsSync, mkdirSync, openSync, readSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'
import { fail, textOf } from '../errors.ts'
import { openTable, STORE_OPTIONS, TABLES_MAX } from './lmdb-options.ts'
import { sortedWrites } from './sorted-writes.ts'
import { removeSpilled, SLICE_ROWS, SpilledRows, slices } from './spilled-rows.ts'

const META = 'mainstem.meta'

export type StoredEntry = readonly [key: Buffer, value: Buffer]

/** Tables as they were when they were frozen. */
export interface FrozenTables {
  /** All entries of a table in key order. A buffer is valid up to the next entry. */
  entries(table: string): Iterable<StoredEntry>
  close(): void
}

interface TableWrites {
  /** The table is emptied before the rows are written. */
  readonly cleared: boolean
  /** Key bytes as latin1 → value, or null for removed. */
  readonly rows: Map<string, Buffer | null>
}

/** The writes of one commit. */
interface Overlay {
  readonly tables: Map<string, TableWrites>
  readonly meta: Map<string, unknown>
  /** Older rows of it, on disk. */
  spilled?: SpilledRows
}

const emptyOverlay = (): Overlay => ({ tables: new Map(), meta: new Map() })

/** LMDB's magic number in its first page, after the page's header. */
const MAGIC = 0xbeefc0de
const MAGIC_AT = 24

/**
 * Opens, or makes, the store in folder `path`. One process at a time (the data folder's lock sees to that).
 * @throws DATA_DIR_INVALID where the file there is something else
 */
export function openTableStore(path: string): TableStore {
  mkdirSync(path, { recursive: true })
  checkFile(join(path, 'data.mdb'))
  removeSpilled(path)
  const root = open<Buffer, Buffer>({
    ...STORE_OPTIONS,
    path,
  })
  return new TableStore(root, path)
}

/**
 * A committed JSON value of the store in folder `path`, read without changing it; undefined where the store or the value is not there.
 * @throws DATA_DIR_INVALID where the file there is something else
 */
export async function readStoreMeta(path: string, name: string): Promise<unknown> {
  const file = join(path, 'data.mdb')
  if (!existsSync(file)) return undefined
  checkFile(file)
  const root = open<Buffer, Buffer>({
    path,
    keyEncoding: 'binary',
    noSubdir: false,
    maxDbs: TABLES_MAX,
    readOnly: true,
  })
  try {
    return metaOf(root).get(name)
  } finally {
    await root.close()
  }
}

const metaOf = (root: RootDatabase<Buffer, Buffer>): Database<unknown, string> =>
  root.openDB<unknown, string>({ name: META, encoding: 'json', cache: false })

/** LMDB trusts the file that it maps: one that is not its own would end the process without a word. */
function checkFile(file: string): void {
  if (!existsSync(file)) return
  const start = Buffer.alloc(MAGIC_AT + 4)
  const descriptor = openSync(file, 'r')
  const read = readSync(descriptor, start, 0, start.length, 0)
  closeSync(descriptor)
  if (read === 0 || (read === start.length && start.readUInt32LE(MAGIC_AT) === MAGIC)) return
  throw fail('DATA_DIR_INVALID', `${file} is damaged`, {
    detail: 'it does not begin as a store does',
    hint: `remove the folder ${dirname(file)}: it is made again from the log`,
  })
}

export class TableStore {
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #path: string
  readonly #tables = new Map<string, Database<Buffer, Buffer>>()
  readonly #meta: Database<unknown, string>
  #open: Overlay = emptyOverlay()
  /** Not yet on disk, oldest first: more than one where commits wait for each other, or failed. */
  #sealed: readonly Overlay[] = []
  #tail: Promise<void> = Promise.resolve()
  #pending = 0
  #pendingBytes = 0
  #spills = 0

  constructor(root: RootDatabase<Buffer, Buffer>, path: string) {
    this.#root = root
    this.#path = path
    this.#meta = metaOf(root)
  }

  /** Writes in memory since the last call of `commit`. */
  get pending(): number {
    return this.#pending
  }

  /** What they have, without what keeping them costs. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** The value under `key`, committed or not. */
  get(table: string, key: Buffer): Buffer | undefined {
    const id = key.toString('latin1')
    const open = rowOf(this.#open, table, id, key)
    if (open !== undefined) return open ?? undefined
    for (let n = this.#sealed.length - 1; n >= 0; n--) {
      const overlay = this.#sealed[n]!
      const sealed = rowOf(overlay, table, id, key)
      if (sealed !== undefined) return sealed ?? undefined
      if (overlay.tables.get(table)?.cleared) return undefined
    }
    return this.#table(table).getBinary(key)
  }

  /** Keeps `value` itself until it is on disk: neither may be changed after the call. */
  put(table: string, key: Buffer, value: Buffer): void {
    this.#write(table, key, value)
  }

  remove(table: string, key: Buffer): void {
    this.#write(table, key, null)
  }

  #write(table: string, key: Buffer, value: Buffer | null): void {
    let writes = this.#open.tables.get(table)
    if (!writes) {
      // Opened now: making a table is a transaction of its own, which inside a commit would hold it up.
      this.#table(table)
      writes = { cleared: false, rows: new Map() }
      this.#open.tables.set(table, writes)
    }
    writes.rows.set(key.toString('latin1'), value)
    this.#pending++
    this.#pendingBytes += key.length + (value?.length ?? 0)
  }

  /**
   * Moves the writes since the last commit from memory to the disk; they stay uncommitted, and are found as before. Nothing may be
   * written before it resolves. @throws LOG_FULL, LOG_FAILED
   */
  async spill(): Promise<void> {
    // One at a time: what is spilled already, and being committed, is as much as the disk should hold of it.
    if (this.#sealed.some(({ spilled }) => spilled)) await this.#tail
    const overlay = this.#open
    try {
      overlay.spilled ??= new SpilledRows(this.#path, ++this.#spills)
      await overlay.spilled.add(new Map([...overlay.tables].map(([name, { rows }]) => [name, rows])))
    } catch (error) {
      throw await storeError(error, this.#path)
    }
    for (const { rows } of overlay.tables.values()) rows.clear()
    this.#pending = 0
    this.#pendingBytes = 0
  }

  /** True where some of what was written since the last call of `commit` was spilled. */
  get isSpilled(): boolean {
    return this.#open.spilled !== undefined
  }

  /** Keys of rows that were written and spilled, and are not committed. */
  *spilledKeys(table: string): Iterable<Buffer> {
    for (const { spilled } of [...this.#sealed, this.#open])
      if (spilled) for (const [key] of spilled.entries(table)) yield key
  }

  /** How many rows of a table are committed. */
  count(table: string): number {
    return (this.#table(table).getStats() as { readonly entryCount: number }).entryCount
  }

  /** Whether a row with this key is committed, whatever was written since. */
  isCommitted(table: string, key: Buffer): boolean {
    return this.#table(table).doesExist(key)
  }

  /** Stores a small JSON value with the next commit. */
  setMeta(name: string, value: unknown): void {
    this.#open.meta.set(name, value)
  }

  /** A committed JSON value. */
  meta(name: string): unknown {
    return this.#meta.get(name)
  }

  /** All entries in key order, or those after a key, as of the last commit; call `commit()` first to see everything. */
  *entries(table: string, after?: Buffer): Iterable<StoredEntry> {
    for (const { key, value } of this.#table(table).getRange(after ? { start: after } : {}))
      if (!after?.equals(key)) yield [key, value]
  }

  /** What is committed now, whatever is committed later. The file grows by what is replaced while it is open. */
  freeze(): FrozenTables {
    this.#root.resetReadTxn()
    const transaction = this.#root.useReadTransaction()
    const table = (name: string) => this.#table(name)
    return {
      *entries(name) {
        for (const { key, value } of table(name).getRange({ transaction })) yield [key, value]
      },
      close: () => transaction.done(),
    }
  }

  /**
   * Makes what was written before the call durable; what is written after it belongs to the next.
   * @throws LOG_FULL, LOG_FAILED: nothing is lost then, the next commit tries again
   */
  commit(): Promise<void> {
    if (this.#open.tables.size > 0 || this.#open.meta.size > 0) this.#sealed = [...this.#sealed, this.#open]
    this.#open = emptyOverlay()
    this.#pending = 0
    this.#pendingBytes = 0
    return this.#flush()
  }

  /** Empties a table: what was committed and what was written before the call. Commits that, and no other table's writes. */
  clear(table: string): Promise<void> {
    if (this.#open.spilled) throw fail('INTERNAL', 'a table was cleared while writes are spilled')
    this.#table(table)
    this.#pending -= this.#open.tables.get(table)?.rows.size ?? 0
    this.#open.tables.delete(table)
    const clearing = emptyOverlay()
    clearing.tables.set(table, { cleared: true, rows: new Map() })
    this.#sealed = [...this.#sealed, clearing]
    return this.#flush()
  }

  /** Commits follow each other. */
  #flush(): Promise<void> {
    const upTo = this.#sealed[this.#sealed.length - 1]
    const done = this.#tail.then(() => this.#commitTo(upTo))
    this.#tail = done.catch(() => {})
    return done
  }

  async #commitTo(upTo: Overlay | undefined): Promise<void> {
    const overlays = upTo ? this.#sealed.slice(0, this.#sealed.indexOf(upTo) + 1) : []
    if (overlays.length === 0) return
    try {
      let at = 0
      for (const [n, { spilled }] of overlays.entries()) {
        if (!spilled) continue
        // What came before it is older.
        if (n > at) await this.#writeAll(overlays.slice(at, n))
        await this.#commitSpilled(spilled)
        at = n
      }
      await this.#writeAll(overlays.slice(at))
      // The commit is visible now; this is when it is on disk.
      await this.#root.flushed
    } catch (error) {
      throw await storeError(error, this.#path)
    }
    this.#sealed = this.#sealed.slice(overlays.length)
    for (const { spilled } of overlays) await spilled?.remove()
  }

  async #commitSpilled(spilled: SpilledRows): Promise<void> {
    for (const name of spilled.names) {
      const table = this.#table(name)
      for (const slice of slices(spilled.entries(name))) {
        await this.#root.batch(() => {
          for (const [key, value] of slice) write(table, key, value)
        })
      }
    }
  }

  /** In one transaction where that takes little of a turn, otherwise in several, by key, the last of which has the JSON values. */
  async #writeAll(overlays: readonly Overlay[]): Promise<void> {
    for (const overlay of overlays) {
      const { tables, meta } = overlay
      const writeMeta = () => {
        for (const [name, value] of meta) this.#meta.put(name, value)
      }
      if (rowsIn(overlay) <= SLICE_ROWS) {
        await this.#root.batch(() => {
          for (const [name, { cleared, rows }] of tables) {
            const table = this.#table(name)
            if (cleared) table.clearAsync()
            for (const [id, value] of rows) write(table, Buffer.from(id, 'latin1'), value)
          }
          writeMeta()
        })
        continue
      }
      for (const [name, { cleared, rows }] of tables) {
        const table = this.#table(name)
        if (cleared) await this.#root.batch(() => table.clearAsync())
        for (const slice of slices(await sortedWrites(rows))) {
          await this.#root.batch(() => {
            for (const [id, value] of slice) write(table, Buffer.from(id, 'latin1'), value)
          })
        }
      }
      await this.#root.batch(writeMeta)
    }
  }

  async close(): Promise<void> {
    await this.#tail
    for (const { spilled } of [...this.#sealed, this.#open]) await spilled?.remove()
    await this.#root.close()
  }

  #table(name: string): Database<Buffer, Buffer> {
    let table = this.#tables.get(name)
    if (!table) {
      table = openTable(this.#root, `t.${name}`)
      this.#tables.set(name, table)
    }
    return table
  }
}

function rowsIn({ tables }: Overlay): number {
  let count = 0
  for (const { rows } of tables.values()) count += rows.size
  return count
}

function write(table: Database<Buffer, Buffer>, key: Buffer, value: Buffer | null): void {
  if (value === null) table.remove(key)
  else table.put(key, value)
}

/** What an overlay says of a row: null where it was removed, undefined where it says nothing. */
function rowOf(overlay: Overlay, table: string, id: string, key: Buffer): Buffer | null | undefined {
  const row = overlay.tables.get(table)?.rows.get(id)
  return row === undefined && overlay.spilled ? overlay.spilled.get(table, key) : row
}

/** Below this, a commit that failed is taken to have failed for want of space. */
const ROOM_BYTES = 16 * 1024 * 1024

/** lmdb rejects with a pointer to the error proper; a write cut short by a full disk is 'Input/output error' to LMDB. */
async function storeError(error: unknown, path: string): Promise<Error> {
  let cause = error
  if (error instanceof Error && 'commitError' in error && error.commitError instanceof Promise) {
    cause = await error.commitError.catch((reason: unknown) => reason)
  }
  const text = textOf(cause)
  const { bavail, bsize } = statfsSync(path)
  if (bavail * bsize < ROOM_BYTES || /No space left|quota exceeded/i.test(text)) {
    return fail('LOG_FULL', 'no room for the table store', { detail: `${path}: ${text}`, cause })
  }
  return fail('LOG_FAILED', 'cannot write the table store', { detail: `${path}: ${text}`, cause })
}
