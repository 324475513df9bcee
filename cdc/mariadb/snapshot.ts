// Reading tables as they stood at one GTID. MariaDB tells the binary log's place of a consistent snapshot by itself; MySQL does not,
// so its tables are locked for the moment in which the snapshot is opened.
import { type CapturedTopic, fail, type RawValues } from '../../core/index.ts'
import { Image, NULL } from '../connector/image.ts'
import { RowReader } from '../connector/rows.ts'
import type { CheckedTopic, Chunk, ChunkEnd, ChunkReader, OnRow, Snapshot } from '../connector/technology.ts'
import { compileColumn, type Form, textForm } from './columns.ts'
import { type Client, connect, connectionError, quoteName, quoteTable } from './connection.ts'
import type { GtidPosition, GtidPositions } from './gtid.ts'
import { behindCode, hexCode, keyColumns, orderCode } from './key-literals.ts'
import { serverPosition } from './lost.ts'
import { type MariadbOutbox, readOutbox } from './outbox.ts'
import type { MariadbTable } from './preflight.ts'
import { RowSocket, readTextRow } from './result-rows.ts'
import type { Setup } from './setup.ts'
import { UNKNOWN_TYPE } from './types.ts'

/** @throws SOURCE_UNREACHABLE, SOURCE_PERMISSION */
export async function openSnapshot(
  setup: Setup,
  positions: GtidPositions,
  outboxOf: (topic: CapturedTopic) => MariadbOutbox | undefined,
): Promise<Snapshot<GtidPosition>> {
  const client = await connect(setup.target)
  try {
    const position = await beginSnapshot(setup, client, positions)
    return new OpenSnapshot(setup, positions, position, client, outboxOf)
  } catch (error) {
    client.end()
    throw connectionError(setup.source, error)
  }
}

/** A snapshot belongs to its connection: others see the same only where nothing was committed meanwhile. Else they take turns. */
class OpenSnapshot implements Snapshot<GtidPosition> {
  readonly position: GtidPosition
  readonly #setup: Setup
  readonly #positions: GtidPositions
  readonly #client: Client
  readonly #reader: TableReader
  readonly #outboxOf: (topic: CapturedTopic) => MariadbOutbox | undefined
  #readers = 0
  #turn: Promise<unknown> = Promise.resolve()

  constructor(
    setup: Setup,
    positions: GtidPositions,
    position: GtidPosition,
    client: Client,
    outboxOf: (topic: CapturedTopic) => MariadbOutbox | undefined,
  ) {
    this.#setup = setup
    this.#outboxOf = outboxOf
    this.#positions = positions
    this.position = position
    this.#client = client
    this.#reader = new TableReader(client, setup.messageBytesMax)
  }

  async openReader(): Promise<ChunkReader> {
    const own = this.#readers++ === 0 ? undefined : await this.#another()
    return own ?? this.#shared()
  }

  async #another(): Promise<ChunkReader | undefined> {
    // To MySQL each begins with a lock of all tables: one is enough.
    if (this.#setup.flavour === 'mysql') return undefined
    const client = await connect(this.#setup.target)
    const position = await beginSnapshot(this.#setup, client, this.#positions)
    if (position.includes(this.position) && this.position.includes(position))
      return new TableReader(client, this.#setup.messageBytesMax)
    client.end()
    return undefined
  }

  async *readOutbox({ captured }: CheckedTopic): AsyncGenerator<readonly RawValues[]> {
    const outbox = this.#outboxOf(captured)
    if (outbox) yield* readOutbox(this.#reader, outbox)
  }

  #shared(): ChunkReader {
    const reader = this.#reader
    return {
      read: (chunk, onRow) => {
        const reading = this.#turn.then(() => reader.read(chunk, onRow))
        this.#turn = reading.catch(() => {})
        return reading
      },
      pause: () => reader.pause(),
      resume: () => reader.resume(),
      destroy: () => reader.destroy(),
      close: () => {},
    }
  }

  async close(): Promise<void> {
    this.#client.end()
  }
}

export async function beginSnapshot(setup: Setup, client: Client, positions: GtidPositions): Promise<GtidPosition> {
  if (setup.flavour === 'mysql') {
    await client.query('flush tables with read lock')
    await client.query('start transaction with consistent snapshot, read only')
    const position = await serverPosition(setup, client, positions)
    await client.query('unlock tables')
    return position
  }
  await client.query('start transaction with consistent snapshot')
  const rows = await client.query<{ Variable_name: string; Value: string }>("show status like 'binlog_snapshot_%'")
  const of = (name: string) => rows.find(row => row.Variable_name.toLowerCase() === name)?.Value
  const file = of('binlog_snapshot_file')
  const [row] = await client.query<{ position: string | null }>('select binlog_gtid_pos(?, ?) as position', [
    file,
    Number(of('binlog_snapshot_position')),
  ])
  if (!file || typeof row?.position !== 'string') {
    throw fail('SOURCE_PROTOCOL', `source ${setup.source} does not say where its snapshot is`, {
      detail: `binlog_snapshot_file is ${file ?? 'missing'}`,
    })
  }
  return positions.parse(row.position)
}

/** Reads by one connection, one table after the other. */
export class TableReader implements ChunkReader {
  readonly #client: Client
  readonly #socket: RowSocket
  readonly #image = new Image()

  constructor(client: Client, rowBytesMax: number) {
    this.#client = client
    this.#socket = new RowSocket(client.takeOver(), rowBytesMax)
  }

  async read({ table, after, rowsWanted, where }: Chunk, onRow: OnRow): Promise<ChunkEnd> {
    const { catalog, setup } = table as MariadbTable
    const { contract } = setup
    const names = Object.keys(contract.schema.shape)
    const columns = names.map(name => catalog.columns.find(column => column.name === name))
    const list = names.map((name, n) => selectCode(name, columns[n]?.type.class))
    const key = keyColumns(
      contract.key.columns.map(column => column.name),
      catalog.columns,
    )
    const isPart = after !== null || (Number.isFinite(rowsWanted) && rowsWanted < Number.MAX_SAFE_INTEGER)
    const image = this.#image
    image.reserve(names.length + key.length)
    const reader = textReader(table as MariadbTable)
    let rows = 0
    let last: string[] = []
    const order = key.map(orderCode).join(', ')
    const sql = isPart
      ? `select ${[...list, ...key.map(hexCode)].join(', ')} from ${quoteTable(catalog)}${whereCode([where, after === null ? null : behindCode(key, JSON.parse(after) as string[])])} order by ${order} limit ${rowsWanted}`
      : `select ${list.join(', ')} from ${quoteTable(catalog)}${whereCode([where])}`
    await this.#socket.query(sql, (bytes, start, end) => {
      readTextRow(bytes, start, end, image)
      rows++
      if (isPart && rows === rowsWanted) {
        last = key.map((_, n) =>
          bytes.toString('latin1', image.starts[names.length + n]!, image.ends[names.length + n]!),
        )
      }
      onRow(reader, image)
    })
    return { until: isPart && rows === rowsWanted ? JSON.stringify(last) : null }
  }

  /** Gives what reads the texts of each row; null is NULL. */
  texts(sql: string, onRow: (textAt: (n: number, raw: Form['raw']) => string | null) => void): Promise<void> {
    const image = this.#image
    const textAt = (n: number, raw: Form['raw']) =>
      image.kinds[n] === NULL ? null : raw(image.bytes, image.starts[n]!, image.ends[n]!)
    return this.#socket.query(sql, (bytes, start, end) => {
      readTextRow(bytes, start, end, image)
      onRow(textAt)
    })
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  close(): void {
    this.#client.end()
  }
}

/** A condition stands on lines of its own, so that a comment in it ends. */
function whereCode(conditions: readonly (string | null)[]): string {
  const given = conditions.filter(each => each !== null)
  return given.length === 0 ? '' : ` where ${given.map(each => `(${each}\n)`).join(' and ')}`
}

/** A float is shown with six digits, as a double with all of them; MySQL's CAST knows no double before 8.0.17. */
const selectCode = (name: string, typeClass: string | undefined): string =>
  typeClass === 'float' ? `${quoteName(name)} * 1e0` : quoteName(name)

/** Reads rows whose values are texts, one for each of the contract's columns. */
export function textReader({ setup, catalog }: MariadbTable): RowReader {
  const fields = Object.entries(setup.contract.schema.shape)
  const readers = fields.map(([name, schema]) => {
    const type = catalog.columns.find(column => column.name === name)?.type ?? UNKNOWN_TYPE
    return compileColumn(name, type, textForm(type), schema)
  })
  return new RowReader(
    setup.contract,
    readers,
    fields.map((_, n) => n),
  )
}
