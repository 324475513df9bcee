// Uncommitted writes of a table store that are too many for memory: a store of their own beside it, that nothing makes durable
// and that is thrown away when they are committed, or when the store is opened again.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { openTable, STORE_OPTIONS, type Table } from './lmdb-options.ts'
import type { RowWrites } from './row-writes.ts'

const PREFIX = 'uncommitted-'
/** The first byte of a stored value. */
const REMOVED = 0
const PRESENT = 1
/** Rows of one transaction: their pages are in memory until it ends. */
export const SLICE_ROWS = 4_000

/** Takes away what stores in `folder` left there. */
export function removeSpilled(folder: string): void {
  for (const name of readdirSync(folder))
    if (name.startsWith(PREFIX)) rmSync(join(folder, name), { recursive: true, force: true })
}

export class SpilledRows {
  readonly #path: string
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #tables = new Map<string, Table>()

  /** @param n of those in `folder`, which may be there at the same time */
  constructor(folder: string, n: number) {
    this.#path = join(folder, `${PREFIX}${n}`)
    rmSync(this.#path, { recursive: true, force: true })
    this.#root = open<Buffer, Buffer>({
      ...STORE_OPTIONS,
      path: this.#path,
      // Nobody reads it after a crash.
      noSync: true,
      // Changed pages are the file's, which the system may write out, and no memory of this process.
      useWritemap: true,
    })
  }

  /** Adds rows of a table over those that are there. */
  async add(name: string, rows: RowWrites): Promise<void> {
    if (rows.size === 0) return
    const table = this.#table(name)
    const order = rows.ordered()
    for (let at = 0; at < order.length; at += SLICE_ROWS) {
      await this.#root.batch(() => {
        for (const row of order.subarray(at, at + SLICE_ROWS)) table.put(rows.key(row), stored(rows, row))
      })
    }
  }

  /** The row written under a key: null where it was removed, undefined where nothing was written. */
  get(name: string, key: Buffer): Buffer | null | undefined {
    const found = this.#tables.get(name)?.getBinary(key)
    return found && writtenIn(found)
  }

  get names(): readonly string[] {
    return [...this.#tables.keys()]
  }

  /** In key order. */
  *entries(name: string): Iterable<readonly [key: Buffer, value: Buffer | null]> {
    const table = this.#tables.get(name)
    if (table) for (const { key, value } of table.getRange({})) yield [key, writtenIn(value)]
  }

  async remove(): Promise<void> {
    await this.#root.close()
    rmSync(this.#path, { recursive: true, force: true })
  }

  #table(name: string): Table {
    let table = this.#tables.get(name)
    if (!table) {
      table = openTable(this.#root, name)
      this.#tables.set(name, table)
    }
    return table
  }
}

function stored(rows: RowWrites, row: number): Buffer {
  if (rows.isRemoved(row)) return Buffer.of(REMOVED)
  const [from, to] = [rows.from(row), rows.to(row)]
  const bytes = Buffer.allocUnsafe(to - from + 1)
  bytes[0] = PRESENT
  rows.bytes.copy(bytes, 1, from, to)
  return bytes
}

const writtenIn = (bytes: Buffer): Buffer | null => (bytes[0] === REMOVED ? null : bytes.subarray(1))

/** Parts of an iterable, each of as many items as one transaction takes. */
export function* slices<T>(items: Iterable<T>): Iterable<readonly T[]> {
  let slice: T[] = []
  for (const item of items) {
    slice.push(item)
    if (slice.length < SLICE_ROWS) continue
    yield slice
    slice = []
  }
  if (slice.length > 0) yield slice
}
