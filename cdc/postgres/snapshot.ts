// Reads tables by COPY, in a transaction that has its snapshot already.
import type { CheckedTable, Chunk, ChunkEnd, ChunkReader, OnRow } from '../connector/technology.ts'
import { onlyTable } from './catalog.ts'
import { createRowReader } from './columns.ts'
import { type Client, type PostgresTarget, quoteName, socketOf } from './connection.ts'
import { copyOut, readCopyRow } from './copy.ts'
import { watchLocks } from './lock-watch.ts'
import { Tuple } from './pgoutput.ts'
import type { PgTable } from './preflight.ts'

export class CopyReader implements ChunkReader {
  readonly #target: PostgresTarget
  readonly #client: Client
  readonly #onWaiting: (reason: string | null) => void

  constructor(target: PostgresTarget, client: Client, onWaiting: (reason: string | null) => void) {
    this.#target = target
    this.#client = client
    this.#onWaiting = onWaiting
  }

  async read({ table }: Chunk, onRow: OnRow): Promise<ChunkEnd> {
    const { setup, catalog } = ofPostgres(table)
    const columns = catalog.columns.filter(column => column.name in setup.contract.schema.shape)
    const sql = `copy (select ${columns.map(column => quoteName(column.name)).join(', ')} from ${onlyTable(catalog)}) to stdout`
    const reader = createRowReader(setup.contract, columns)
    const tuple = tupleOf(columns.length)
    await watchLocks(this.#target, this.#client, this.#onWaiting, () =>
      copyOut(this.#client, sql, row => {
        readCopyRow(row, tuple)
        onRow(reader, tuple)
      }),
    )
    return { until: null }
  }

  pause(): void {
    socketOf(this.#client).pause()
  }

  resume(): void {
    socketOf(this.#client).resume()
  }

  destroy(): void {
    socketOf(this.#client).destroy()
  }

  close(): void {
    void this.#client.end().catch(() => {})
  }
}

/** With room for so many columns. */
function tupleOf(columns: number): Tuple {
  const tuple = new Tuple()
  tuple.read(Buffer.from([columns >> 8, columns & 0xff, ...Array.from({ length: columns }, () => 0x6e)]), 0)
  return tuple
}

/** Every checked table of a session comes from its own `check`. */
const ofPostgres = (table: CheckedTable): PgTable => table as PgTable
