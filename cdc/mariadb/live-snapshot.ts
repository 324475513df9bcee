// Reads tables while their changes are streamed: each reading is a consistent snapshot, of which MariaDB says at which GTID it
// stands. MySQL does not: there, what was committed while it was opened counts as not seen, and the stream has it. Nothing is
// written to the server, and nothing is locked.
import { fail, formatMinorUnits, minorUnitsOf, textOf } from '../../core/index.ts'
import { coreOf } from '../connector/columns.ts'
import type { CheckedTable, Chunk, ChunkEnd, LiveReader, OnRow, Place } from '../connector/technology.ts'
import { type Client, connect, errorNumberOf, quoteName, quoteTable } from './connection.ts'
import type { GtidPosition, GtidPositions } from './gtid.ts'
import { type KeyColumn, keyColumns, literalOf } from './key-literals.ts'
import { serverPosition } from './lost.ts'
import type { MariadbTable } from './preflight.ts'
import type { Setup } from './setup.ts'
import { beginSnapshot, TableReader } from './snapshot.ts'
import { UNKNOWN_TYPE } from './types.ts'

/** A connection for each reading: the rows are taken from its socket. */
export class LiveTableReader implements LiveReader<GtidPosition> {
  readonly #setup: Setup
  readonly #positions: GtidPositions
  #reader: TableReader | undefined

  constructor(setup: Setup, positions: GtidPositions) {
    this.#setup = setup
    this.#positions = positions
  }

  async begin(): Promise<Place<GtidPosition>> {
    const client: Client = await connect(this.#setup.target)
    try {
      const { seen, watermark } = await this.#place(client)
      this.#reader = new TableReader(client, this.#setup.messageBytesMax)
      const positions = this.#positions
      return { watermark, hasSeen: transaction => seen.includes(positions.parse(transaction)) }
    } catch (error) {
      client.end()
      throw error
    }
  }

  async #place(client: Client): Promise<{ readonly seen: GtidPosition; readonly watermark: GtidPosition }> {
    if (this.#setup.flavour === 'mariadb') {
      const position = await beginSnapshot(this.#setup, client, this.#positions)
      return { seen: position, watermark: position }
    }
    const seen = await serverPosition(this.#setup, client, this.#positions)
    await client.query('start transaction with consistent snapshot, read only')
    return { seen, watermark: await serverPosition(this.#setup, client, this.#positions) }
  }

  get #begun(): TableReader {
    if (!this.#reader) throw fail('INTERNAL', 'a reading has not begun')
    return this.#reader
  }

  read(chunk: Chunk, onRow: OnRow): Promise<ChunkEnd> {
    return this.#begun.read(chunk, onRow)
  }

  async readKeys(table: CheckedTable, keys: readonly Buffer[], onRow: OnRow): Promise<void> {
    const { contract } = table.setup
    const columns = keyColumns(
      contract.key.columns.map(({ name }) => name),
      (table as MariadbTable).catalog.columns,
    )
    const scales = columns.map(({ name }) => minorUnitsOf(coreOf(contract.schema.shape[name]!).core)?.scale)
    const tuples = keys.map(bytes => {
      const key = contract.key.decode(bytes)
      const literals = columns.map((column, n) => {
        const value = contract.key.single ? key : (key as Readonly<Record<string, unknown>>)[column.name]
        return keyLiteral(column, value, scales[n])
      })
      return `(${literals.join(', ')})`
    })
    const where = `(${columns.map(({ name }) => quoteName(name)).join(', ')}) in (${tuples.join(', ')})`
    await this.#begun.read({ table, after: null, rowsWanted: Number.MAX_SAFE_INTEGER, where }, onRow)
  }

  async end(): Promise<void> {
    this.close()
  }

  pause(): void {
    this.#reader?.pause()
  }

  resume(): void {
    this.#reader?.resume()
  }

  destroy(): void {
    this.#reader?.destroy()
  }

  close(): void {
    this.#reader?.close()
    this.#reader = undefined
  }
}

/** A contract's value of a key's column as a literal. A label of an enum or set is compared as the text that it is. */
function keyLiteral(column: KeyColumn, value: unknown, scale: number | undefined): string {
  if (value instanceof Uint8Array) return literalOf(column, Buffer.from(value))
  const isLabel = column.type.class === 'enum' || column.type.class === 'set'
  return literalOf(isLabel ? { ...column, type: UNKNOWN_TYPE } : column, Buffer.from(keyText(value, scale)))
}

function keyText(value: unknown, scale: number | undefined): string {
  if (scale !== undefined) return formatMinorUnits(BigInt(value as number | bigint), scale)
  if (value instanceof Date) return value.toISOString().replace('T', ' ').replace('Z', '')
  return typeof value === 'boolean' ? String(Number(value)) : String(value)
}

/** @throws SNAPSHOT_INVALID */
export async function checkCondition(setup: Setup, table: CheckedTable, where: string): Promise<void> {
  const { catalog } = table as MariadbTable
  const sql = await connect(setup.target)
  try {
    // An expression by its place: not a way to another query.
    await sql.query(`explain select coalesce((${where}\n), false) from ${quoteTable(catalog)} where (${where}\n)`)
  } catch (error) {
    if (errorNumberOf(error) === 0) throw error
    throw fail('SNAPSHOT_INVALID', `the condition does not fit ${table.setup.table.table}`, {
      detail: textOf(error),
      hint: `write what follows WHERE, in SQL of its columns: ${catalog.columns.map(column => column.name).join(', ')}`,
    })
  } finally {
    sql.end()
  }
}
