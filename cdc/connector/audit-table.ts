// One table of an audit: read from the database and from the mirror, summed by parts; of the parts that differ, by keys.
import {
  type AnyRow,
  type AuditMismatch,
  type AuditProgress,
  type AuditRequest,
  ByteWriter,
  type MirrorTable,
  type TableAudit,
} from '../../core/index.ts'
import { ChunkSums, rowHash } from './chunk-sums.ts'
import type { Image } from './image.ts'
import type { MirrorRows } from './mirror-at.ts'
import { Pace } from './pace.ts'
import type { RowReader } from './rows.ts'
import type { CheckedTable, ChunkReader } from './technology.ts'

/** Keys that are named in a report, of each table. */
const KEYS_MAX = 1_000
/** Rows of parts that differ whose hashes are held at a time; the first ones with their values. */
const GROUP_ROWS = 500_000
const FIRST_GROUP_ROWS = 50_000
/** Keys that are repaired at a time: one more reading of the table for so many. */
const REPAIR_ROWS = 5_000
const PROGRESS_EVERY_MS = 250

/** Rows as the database has them, by the bytes of their keys; null where it has none. */
export type Rows = ReadonlyMap<string, AnyRow | null>

/** How far the audit is, over all tables. */
export class Telling {
  readonly #tell: (progress: AuditProgress) => void
  readonly #startedMs = performance.now()
  readonly #rowsEstimated: number
  #toldMs = 0
  #rows = 0

  constructor(tables: readonly CheckedTable[], tell: (progress: AuditProgress) => void) {
    this.#tell = tell
    this.#rowsEstimated = tables.reduce((sum, table) => sum + table.rowsEstimated, 0)
  }

  row(table: string): void {
    this.#rows++
    if (this.#rows % 256 !== 1) return
    const now = performance.now()
    if (now - this.#toldMs < PROGRESS_EVERY_MS) return
    this.#toldMs = now
    const seconds = Math.max((now - this.#startedMs) / 1_000, 0.001)
    this.#tell({
      table,
      rows: this.#rows,
      rowsEstimated: Math.max(this.#rows, this.#rowsEstimated),
      rowsPerSecond: Math.round(this.#rows / seconds),
    })
  }
}

/** A key whose rows are not equal. */
interface Difference {
  readonly key: Buffer
  readonly kind: AuditMismatch['kind']
  readonly columns: readonly string[]
}

export class TableComparison {
  readonly #table: CheckedTable
  readonly #mirrored: MirrorTable
  readonly #rows: MirrorRows
  readonly #reader: ChunkReader
  readonly #request: AuditRequest
  readonly #telling: Telling
  readonly #signal: AbortSignal
  readonly #sums: ChunkSums
  /** Keys whose row the contract refuses: what the mirror has of them is what was accepted before. */
  readonly #refused = new Set<string>()
  readonly #unknownRefused: string[] = []
  readonly #differences: Difference[] = []
  #parked = 0
  #differing = 0
  /** Those to be repaired. */
  readonly #differingKeys: string[] = []

  constructor(
    table: CheckedTable,
    mirrored: MirrorTable,
    rows: MirrorRows,
    reader: ChunkReader,
    request: AuditRequest,
    telling: Telling,
    signal: AbortSignal,
  ) {
    this.#table = table
    this.#mirrored = mirrored
    this.#rows = rows
    this.#reader = reader
    this.#request = request
    this.#telling = telling
    this.#signal = signal
    this.#sums = new ChunkSums(table.rowsEstimated)
  }

  async run(): Promise<TableAudit> {
    const sums = this.#sums
    const known = new Set(this.#rows.parkedKeys())
    await this.#readSource(
      (key, row) => sums.add('source', key, row),
      (key, keyText) => {
        this.#parked++
        if (key) this.#refused.add(key.toString('latin1'))
        if (!known.has(keyText)) this.#unknownRefused.push(keyText)
      },
    )
    await this.#readMirror((key, row) => sums.add('mirror', key, row))
    const groups = sums.differing(FIRST_GROUP_ROWS, GROUP_ROWS)
    for (const [n, group] of groups.entries()) await this.#compare(group, n === 0)
    return this.#audit()
  }

  #audit(): TableAudit {
    const sums = this.#sums
    const { key } = this.#mirrored.contract
    const named = this.#differences
      .toSorted((a, b) => a.key.compare(b.key))
      .map(({ key: bytes, ...rest }) => ({ key: key.format(key.decode(bytes)), ...rest }))
    const refused = this.#unknownRefused.map(text => ({ key: text, kind: 'missing' as const, columns: [] }))
    return {
      table: this.#table.setup.table.table,
      rows: sums.rows('source'),
      mirrorRows: sums.rows('mirror'),
      parked: this.#parked,
      chunks: sums.chunks,
      chunksDiffering: sums.chunksDiffering,
      hash: sums.hash('source'),
      mirrorHash: sums.hash('mirror'),
      mismatches: this.#differing + refused.length,
      keys: [...named, ...refused].slice(0, KEYS_MAX),
    }
  }

  /** Rows as the mirror would store them. */
  async #readSource(
    onRow: (key: Buffer, row: Buffer) => void,
    onRefused: (key: Buffer | undefined, keyText: string) => void,
  ): Promise<void> {
    const name = this.#table.setup.table.table
    const pace = new Pace(this.#reader, this.#request.rowsPerSecondMax)
    const writer = new ByteWriter()
    const take = (reader: RowReader, image: Image) => {
      writer.at = 0
      const key = reader.write(writer, image)
      if (key) onRow(key, writer.buffer.subarray(0, writer.at))
      else {
        const { key: bytes, keyText } = reader.refused(image)
        onRefused(bytes, keyText)
      }
      this.#telling.row(name)
      pace.row()
    }
    let after: string | null = null
    do {
      const { until } = await this.#reader.read(
        { table: this.#table, after, rowsWanted: Number.MAX_SAFE_INTEGER, where: null },
        take,
      )
      after = until
      this.#signal.throwIfAborted()
    } while (after !== null)
  }

  #readMirror(onRow: (key: Buffer, row: Buffer) => void): Promise<void> {
    const refused = this.#refused
    return this.#rows.each(this.#signal, (key, row) => {
      if (refused.size === 0 || !refused.has(key.toString('latin1'))) onRow(key, row)
    })
  }

  /** Finds the keys of some chunks whose rows are not equal. */
  async #compare(chunks: ReadonlySet<number>, keepRows: boolean): Promise<void> {
    const sums = this.#sums
    const source = new Map<string, number | Buffer>()
    await this.#readSource(
      (key, row) => {
        if (chunks.has(sums.chunkOf(key)))
          source.set(key.toString('latin1'), keepRows ? Buffer.from(row) : rowHash(key, row))
      },
      () => {},
    )
    await this.#readMirror((key, row) => {
      if (!chunks.has(sums.chunkOf(key))) return
      const id = key.toString('latin1')
      const other = source.get(id)
      source.delete(id)
      if (other === undefined) this.#differs(key, 'extra')
      else if (typeof other === 'number' ? other !== rowHash(key, row) : !row.equals(other))
        this.#differs(key, 'differs', typeof other === 'number' ? [] : this.#columns(row, other))
    })
    for (const id of source.keys()) this.#differs(Buffer.from(id, 'latin1'), 'missing')
  }

  #differs(key: Buffer, kind: AuditMismatch['kind'], columns: readonly string[] = []): void {
    this.#differing++
    const kept = Buffer.from(key)
    if (this.#request.repair) this.#differingKeys.push(kept.toString('latin1'))
    if (this.#differences.length < KEYS_MAX) this.#differences.push({ key: kept, kind, columns })
  }

  /** The database's rows of all keys that differ, some at a time. */
  async *differing(): AsyncIterable<Rows> {
    for (let at = 0; at < this.#differingKeys.length; at += REPAIR_ROWS) {
      const rows = new Map<string, AnyRow | null>(
        this.#differingKeys.slice(at, at + REPAIR_ROWS).map(key => [key, null]),
      )
      await this.#readSource(
        (key, row) => {
          const id = key.toString('latin1')
          if (rows.has(id)) rows.set(id, this.#mirrored.rowOf(Buffer.from(row)))
        },
        () => {},
      )
      yield rows
    }
  }

  #columns(a: Buffer, b: Buffer): readonly string[] {
    const [rowA, rowB] = [this.#mirrored.rowOf(a), this.#mirrored.rowOf(b)]
    const text = (value: unknown) => (typeof value === 'bigint' ? `${value}n` : JSON.stringify(value, bigints))
    return Object.keys(rowB).filter(name => text(rowA[name]) !== text(rowB[name]))
  }
}

const bigints = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value)
