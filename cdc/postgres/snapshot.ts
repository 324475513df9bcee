// Reads tables by COPY in a transaction that has its snapshot already, chunk by chunk. A chunk of a whole table is a range of its
// blocks: that needs no index and no sort, and a row that nobody touches stays where it is. A row that moves to a block that was
// read already was touched, and so the stream has it. Where a table is rewritten (VACUUM FULL, CLUSTER) its rows move untouched:
// then it is read from its beginning. Rows of a condition are read in the order of the key instead, and tables of which only some
// columns may be read.
import type { RowReader } from '../connector/rows.ts'
import type { CheckedTable, Chunk, ChunkEnd, ChunkReader, OnRow } from '../connector/technology.ts'
import { type CatalogTable, onlyTable } from './catalog.ts'
import { createRowReader } from './columns.ts'
import { type Client, type PostgresTarget, quoteName, socketOf } from './connection.ts'
import { copyOut, readCopyRow } from './copy.ts'
import { watchLocks } from './lock-watch.ts'
import { Tuple } from './pgoutput.ts'
import type { PgTable } from './preflight.ts'

/** Blocks of a chunk at most, however few rows are in them. */
const BLOCKS_MAX = 16_384
/** As long as nothing is known of a table. */
const ROWS_PER_BLOCK = 50

/** Which files hold a table, and the blocks of the largest of them. */
const STORAGE = `
  select left(md5(string_agg(format('%s:%s', t.id, pg_relation_filenode(t.id)), ',' order by t.id)), 8) as files,
         coalesce(max(pg_relation_size(t.id)), 0) / current_setting('block_size')::int as blocks
    from (select $1::oid as id where not exists (select from pg_partitioned_table where partrelid = $1)
          union select relid from pg_partition_tree($1) where isleaf) t`

interface Storage {
  readonly files: string
  readonly blocks: number
}

/** How the rows of a table come out of COPY. */
interface Shape {
  readonly columns: string
  readonly reader: RowReader
  readonly tuple: Tuple
}

export class CopyReader implements ChunkReader {
  protected readonly client: Client
  readonly #target: PostgresTarget
  readonly #onWaiting: (reason: string | null) => void
  readonly #shapes = new Map<CheckedTable, Shape>()
  readonly #blocksSeen = new Map<CheckedTable, boolean>()
  /** Of the last chunk of each table. */
  readonly #rowsPerBlock = new Map<CheckedTable, number>()

  constructor(target: PostgresTarget, client: Client, onWaiting: (reason: string | null) => void) {
    this.client = client
    this.#target = target
    this.#onWaiting = onWaiting
  }

  async read(chunk: Chunk, onRow: OnRow): Promise<ChunkEnd> {
    if (chunk.where !== null) return this.#readByKey(chunk, chunk.where, onRow)
    const begunByKey = chunk.after?.startsWith('[') === true
    if (begunByKey || !(await this.#seesBlocks(chunk.table))) return this.#readByKey(chunk, 'true', onRow)
    return this.#readBlocks(chunk, onRow)
  }

  /** Who may read some columns only may not see in which block a row is. */
  async #seesBlocks(table: CheckedTable): Promise<boolean> {
    const known = this.#blocksSeen.get(table)
    if (known !== undefined) return known
    const sql = "select has_table_privilege($1::oid, 'SELECT') as sees"
    const { rows } = await this.client.query<{ sees: boolean }>(sql, [ofPostgres(table).catalog.oid])
    const sees = rows[0]?.sees === true
    this.#blocksSeen.set(table, sees)
    return sees
  }

  async #readBlocks({ table, after, rowsWanted }: Chunk, onRow: OnRow): Promise<ChunkEnd> {
    const { catalog } = ofPostgres(table)
    const { files, block } = after === null ? { ...(await this.#storage(catalog)), block: 0 } : placeOf(after)
    const perBlock = this.#rowsPerBlock.get(table) ?? ROWS_PER_BLOCK
    const count = Math.min(Math.max(Math.ceil(rowsWanted / perBlock), 1), BLOCKS_MAX)
    let rows = 0
    await this.copy(table, `where ctid >= '(${block},0)' and ctid < '(${block + count},0)'`, (reader, image) => {
      rows++
      onRow(reader, image)
    })
    this.#rowsPerBlock.set(table, Math.max(rows / count, 1))
    // COPY has locked the table: now nobody can rewrite it before the transaction ends.
    const now = await this.#storage(catalog)
    if (now.files !== files) return { until: placeText(now.files, 0) }
    // Blocks that came since hold nothing that was there before.
    return { until: block + count >= now.blocks ? null : placeText(files, block + count) }
  }

  async #storage({ oid }: CatalogTable): Promise<Storage> {
    const { rows } = await this.client.query<{ files: string | null; blocks: string }>(STORAGE, [oid])
    return { files: rows[0]?.files ?? '', blocks: Number(rows[0]?.blocks ?? 0) }
  }

  async #readByKey({ table, after, rowsWanted }: Chunk, where: string, onRow: OnRow): Promise<ChunkEnd> {
    const { setup } = ofPostgres(table)
    const key = setup.contract.key.columns.map(column => column.name)
    const names = key.map(quoteName).join(', ')
    const from =
      after === null
        ? ''
        : ` and (${names}) > (${(JSON.parse(after) as string[]).map(text => this.literal(text)).join(', ')})`
    const { columns } = this.#shapeOf(table)
    const places = key.map(name => columns.split(', ').indexOf(quoteName(name)))
    let rows = 0
    let last: string[] = []
    // A line of its own, so that a comment in the condition ends.
    const sql = `where (${where}\n)${from} order by ${names} limit ${rowsWanted}`
    await this.copy(table, sql, (reader, image) => {
      rows++
      if (rows === rowsWanted)
        last = places.map(place => image.bytes.toString('utf8', image.starts[place], image.ends[place]))
      onRow(reader, image)
    })
    return { until: rows < rowsWanted ? null : JSON.stringify(last) }
  }

  /** @param rest what follows `from` */
  protected async copy(table: CheckedTable, rest: string, onRow: OnRow): Promise<void> {
    const { columns, reader, tuple } = this.#shapeOf(table)
    const sql = `copy (select ${columns} from ${onlyTable(ofPostgres(table).catalog)} ${rest}) to stdout`
    await watchLocks(this.#target, this.client, this.#onWaiting, () =>
      copyOut(this.client, sql, this.#target.messageBytesMax, (bytes, from, to) => {
        readCopyRow(bytes, from, to, tuple)
        onRow(reader, tuple)
      }),
    )
  }

  protected literal(text: string): string {
    return this.client.escapeLiteral(text)
  }

  #shapeOf(table: CheckedTable): Shape {
    const known = this.#shapes.get(table)
    if (known) return known
    const { setup, catalog } = ofPostgres(table)
    const columns = catalog.columns.filter(column => column.name in setup.contract.schema.shape)
    const tuple = new Tuple()
    tuple.reserve(columns.length)
    const shape = {
      columns: columns.map(column => quoteName(column.name)).join(', '),
      reader: createRowReader(setup.contract, columns),
      tuple,
    }
    this.#shapes.set(table, shape)
    return shape
  }

  pause(): void {
    socketOf(this.client).pause()
  }

  resume(): void {
    socketOf(this.client).resume()
  }

  destroy(): void {
    socketOf(this.client).destroy()
  }

  close(): void {
    void this.client.end().catch(() => {})
  }
}

const placeText = (files: string, block: number): string => `${files}:${block}`

function placeOf(text: string): { readonly files: string; readonly block: number } {
  const [files = '', block = '0'] = text.split(':')
  return { files, block: Number(block) }
}

/** Every checked table of a session comes from its own `check`. */
export const ofPostgres = (table: CheckedTable): PgTable => table as PgTable
