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
import { Span } from '../contract/index.ts'
import { fail, textOf } from '../errors.ts'
import { openTable, STORE_OPTIONS, TABLES_MAX, type Table } from './lmdb-options.ts'
import { hashOf, RowWrites } from './row-writes.ts'
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
  readonly rows: RowWrites
}

/** The writes of one commit. */
interface Overlay {
  readonly tables: Map<string, TableWrites>
  readonly meta: Map<string, unknown>
  /** Older rows of it, on disk. */
  spilled?: SpilledRows
}

const emptyOverlay = (): Overlay => ({ tables: new Map(), meta: new Map() })

/** Memory of committed rows that is kept for the next ones: of so many overlays, each of at most so many bytes. */
const SPARE_MAX = 3
const SPARE_BYTES_MAX = 16 * 1024 * 1024

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
  readonly #tables = new Map<string, Table>()
  readonly #meta: Database<unknown, string>
  #open: Overlay = emptyOverlay()
  /** Not yet on disk, oldest first: more than one where commits wait for each other, or failed. */
  #sealed: readonly Overlay[] = []
  #tail: Promise<void> = Promise.resolve()
  #pending = 0
  #pendingBytes = 0
  #spills = 0
  readonly #spare: RowWrites[] = []
  readonly #found = new Span()

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

  /** The value under `key`, committed or not: a copy. */
  get(table: string, key: Buffer): Buffer | undefined {
    return this.look(table, key)?.copy()
  }

  /** The same where it stands: valid until the next call, of any kind. */
  look(table: string, key: Buffer): Span | undefined {
    const hash = hashOf(key)
    const open = this.#lookIn(this.#open, table, key, hash)
    if (open !== undefined) return open ?? undefined
    for (let n = this.#sealed.length - 1; n >= 0; n--) {
      const overlay = this.#sealed[n]!
      const sealed = this.#lookIn(overlay, table, key, hash)
      if (sealed !== undefined) return sealed ?? undefined
      if (overlay.tables.get(table)?.cleared) return undefined
    }
    return this.#lookCommitted(this.#table(table), key)
  }

  /** What an overlay says of a row: null where it was removed, undefined where it says nothing. */
  #lookIn(overlay: Overlay, table: string, key: Buffer, hash: number): Span | null | undefined {
    const rows = overlay.tables.get(table)?.rows
    const row = rows ? rows.find(key, hash) : -1
    if (rows && row >= 0) return rows.isRemoved(row) ? null : this.#found.set(rows.bytes, rows.from(row), rows.to(row))
    const spilled = overlay.spilled?.get(table, key)
    return spilled ? this.#found.set(spilled, 0, spilled.length) : spilled
  }

  #lookCommitted(table: Table, key: Buffer): Span | undefined {
    const bytes = table.getBinaryFast(key) as (Buffer & { readonly isGlobal?: boolean }) | undefined
    if (!bytes) return undefined
    // Its one buffer for values, which is longer than the value, has properties that make every access to its bytes slow.
    const size = bytes.isGlobal ? (table as unknown as { readonly lastSize: number }).lastSize : bytes.length
    const plain = bytes.isGlobal ? plainOf(bytes) : bytes
    return this.#found.set(plain, 0, size)
  }

  /** Copies both. @param value of which the part from `from` to `to` is the value */
  put(table: string, key: Buffer, value: Buffer, from = 0, to = value.length): void {
    this.#writes(table).put(key, hashOf(key), value, from, to)
    this.#pending++
    this.#pendingBytes += key.length + to - from
  }

  remove(table: string, key: Buffer): void {
    this.#writes(table).remove(key, hashOf(key))
    this.#pending++
    this.#pendingBytes += key.length
  }

  #writes(table: string): RowWrites {
    const writes = this.#open.tables.get(table)
    if (writes) return writes.rows
    // Opened now: making a table is a transaction of its own, which inside a commit would hold it up.
    this.#table(table)
    const rows = this.#spare.pop() ?? new RowWrites()
    this.#open.tables.set(table, { cleared: false, rows })
    return rows
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
      for (const [name, { rows }] of overlay.tables) await overlay.spilled.add(name, rows)
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

  /** Keys of rows that were written and are not committed, removed ones too; some come twice. What is written meanwhile does not come. */
  *writtenKeys(table: string): Iterable<Buffer> {
    const inMemory: Buffer[] = []
    for (const { tables } of [...this.#sealed, this.#open]) {
      const rows = tables.get(table)?.rows
      for (let row = 0; rows && row < rows.size; row++) inMemory.push(Buffer.from(rows.key(row)))
    }
    for (const { spilled } of [...this.#sealed, this.#open])
      if (spilled) for (const [key] of spilled.entries(table)) yield key
    yield* inMemory
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
    clearing.tables.set(table, { cleared: true, rows: new RowWrites() })
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
    for (const { tables, spilled } of overlays) {
      for (const { rows } of tables.values()) this.#keep(rows)
      await spilled?.remove()
    }
  }

  #keep(rows: RowWrites): void {
    if (this.#spare.length >= SPARE_MAX || rows.capacity > SPARE_BYTES_MAX) return
    rows.clear()
    this.#spare.push(rows)
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

  /** In one transaction where that takes little of a turn, otherwise in several, the last of which has the JSON values. */
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
            writeRows(table, rows, rows.ordered())
          }
          writeMeta()
        })
        continue
      }
      for (const [name, { cleared, rows }] of tables) {
        const table = this.#table(name)
        if (cleared) await this.#root.batch(() => table.clearAsync())
        const order = rows.ordered()
        for (let at = 0; at < order.length; at += SLICE_ROWS)
          await this.#root.batch(() => writeRows(table, rows, order.subarray(at, at + SLICE_ROWS)))
      }
      await this.#root.batch(writeMeta)
    }
  }

  async close(): Promise<void> {
    await this.#tail
    for (const { spilled } of [...this.#sealed, this.#open]) await spilled?.remove()
    await this.#root.close()
  }

  #table(name: string): Table {
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

function write(table: Table, key: Buffer, value: Buffer | null): void {
  if (value === null) table.remove(key)
  else table.put(key, value)
}

/** Writes some rows in this order: from where they stand, which stays as it is until they are on disk. */
function writeRows(table: Table, rows: RowWrites, order: Uint32Array): void {
  for (const row of order) {
    if (rows.isRemoved(row)) table.remove(rows.key(row))
    else table.put(rows.key(row), rows.bytes.subarray(rows.from(row), rows.to(row)))
  }
}

let global: { readonly of: Buffer; readonly plain: Buffer } | undefined

/** The same memory, as a buffer like any other. */
function plainOf(bytes: Buffer): Buffer {
  if (global?.of !== bytes) global = { of: bytes, plain: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
  return global.plain
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
