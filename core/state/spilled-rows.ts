// Uncommitted writes of a table store that are too many for memory: a store of their own beside it, that nothing makes durable
// and that is thrown away when they are committed, or when the store is opened again.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'
import { openTable, STORE_OPTIONS } from './lmdb-options.ts'

const PREFIX = 'uncommitted-'
/** The first byte of a stored value. */
const REMOVED = 0
const PRESENT = 1
/** Rows of one transaction: their pages are in memory until it ends. */
export const SLICE_ROWS = 4_000

export type Rows = ReadonlyMap<string, ReadonlyMap<string, Buffer | null>>

/** Takes away what stores in `folder` left there. */
export function removeSpilled(folder: string): void {
  for (const name of readdirSync(folder))
    if (name.startsWith(PREFIX)) rmSync(join(folder, name), { recursive: true, force: true })
}

export class SpilledRows {
  readonly #path: string
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #tables = new Map<string, Database<Buffer, Buffer>>()

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

  /** Adds rows over those that are there; visible all at once at the end. */
  async add(rows: Rows): Promise<void> {
    for (const [name, writes] of rows) {
      if (writes.size === 0) continue
      const table = this.#table(name)
      for (const slice of slices(writes)) {
        await this.#root.batch(() => {
          for (const [id, value] of slice) table.put(Buffer.from(id, 'latin1'), stored(value))
        })
      }
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

  #table(name: string): Database<Buffer, Buffer> {
    let table = this.#tables.get(name)
    if (!table) {
      table = openTable(this.#root, name)
      this.#tables.set(name, table)
    }
    return table
  }
}

function stored(value: Buffer | null): Buffer {
  if (value === null) return Buffer.of(REMOVED)
  const bytes = Buffer.allocUnsafe(value.length + 1)
  bytes[0] = PRESENT
  value.copy(bytes, 1)
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
