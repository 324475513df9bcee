// The snapshot of a source: its tables read by COPY inside the slot's exported snapshot, appended in chunks. The first one
// takes every row; a later one (after an interruption, or a repair) is diffed against the mirror, so that only what
// differs becomes records, deletions included: rows that still bear an older epoch at the end are gone.
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  applyParked,
  type Log,
  MIRROR_COMMIT_ROWS,
  MIRROR_COMMITS_MAX,
  type Mirror,
  type MirrorTable,
  placeParked,
  Recorder,
  type SourceEvent,
} from '../../core/index.ts'
import { untilRoom } from '../connector/log-room.ts'
import { Pipeline } from '../connector/pipeline.ts'
import type { RowReader } from '../connector/rows.ts'
import { Slice } from '../connector/slice.ts'
import { onlyTable } from './catalog.ts'
import { createRowReader } from './columns.ts'
import { type Client, quoteName, socketOf } from './connection.ts'
import { copyOut, readCopyRow } from './copy.ts'
import { formatLsn, lsnPositions } from './lsn.ts'
import { Tuple } from './pgoutput.ts'
import type { CheckedTable } from './preflight.ts'

import { announceParked } from './transactions.ts'

/** As many as the mirror commits at once. */
const CHUNK_ROWS = MIRROR_COMMIT_ROWS
const CHUNK_BYTES = 1024 * 1024
/** Chunks on their way to disk before the socket is paused. */
const CHUNKS_IN_FLIGHT_MAX = 6
const PROGRESS_EVERY_MS = 250

export interface SnapshotProgress {
  readonly rows: number
  readonly rowsEstimated: number
  readonly rowsPerSecond: number
}

export interface SnapshotOptions {
  readonly source: string
  readonly log: Log
  readonly mirror: Mirror
  readonly tables: readonly CheckedTable[]
  readonly consistentPoint: bigint
  /** The mirror is empty and no key can come twice: rows need not be looked up. */
  readonly first: boolean
  readonly onEvent: (event: SourceEvent) => void
  readonly onProgress: (progress: SnapshotProgress) => void
  readonly onPaused: (paused: boolean) => void
  readonly signal: AbortSignal
}

export class SnapshotReader {
  readonly #options: SnapshotOptions
  readonly #recorder: Recorder
  readonly #pipeline: Pipeline<bigint>
  readonly #startedMs = performance.now()
  readonly #rowsEstimated: number
  #batch: ReturnType<Log['batch']>
  #writes: [key: Buffer, value: Buffer][] = []
  #rowsInChunk = 0
  #rows = 0
  #progressMs = 0
  #error: unknown
  readonly #failed = new AbortController()
  #client: Client | undefined
  /** The current table's rows are looked up in the mirror, and so written to its overlay at once. */
  #lookUp = false
  #flushing = false
  readonly #slice = new Slice()
  #resting = false
  /** Keys that were parked before and that a diffed snapshot has not shown yet. */
  #parkedUnseen = new Set<string>()

  constructor(options: SnapshotOptions) {
    this.#options = options
    this.#batch = options.log.batch()
    this.#recorder = new Recorder(options.mirror, this.#batch)
    this.#rowsEstimated = options.tables.reduce((sum, table) => sum + table.catalog.rowsEstimated, 0)
    this.#pipeline = new Pipeline({
      positions: lsnPositions,
      logged: options.consistentPoint,
      position: options.log.end,
      onDurable: () => {},
      onError: error => this.#onError(error),
    })
  }

  readonly #onError = (error: unknown): void => {
    this.#error ??= error
    this.#failed.abort()
    // A copy whose socket is paused would never end.
    if (this.#client) socketOf(this.#client).destroy()
  }

  get progress(): SnapshotProgress {
    const seconds = Math.max((performance.now() - this.#startedMs) / 1_000, 0.001)
    const rowsEstimated = Math.max(this.#rowsEstimated, this.#rows)
    return { rows: this.#rows, rowsEstimated, rowsPerSecond: Math.round(this.#rows / seconds) }
  }

  /** Reads all tables on a connection whose transaction has the snapshot. Resolves when all is durable and mirrored. */
  async read(client: Client): Promise<SnapshotProgress> {
    this.#client = client
    const end = () => socketOf(client).destroy()
    this.#options.signal.addEventListener('abort', end, { once: true })
    try {
      for (const table of this.#options.tables) {
        await this.#untilRoom()
        await this.#readTable(client, table)
        if (!this.#options.first) await this.#sweep(this.#options.mirror.table(table.setup.contract.name))
      }
    } catch (error) {
      await this.#pipeline.settled()
      throw this.#error ?? error
    } finally {
      this.#options.signal.removeEventListener('abort', end)
    }
    await this.#options.mirror.commit(this.#pipeline.position)
    return this.progress
  }

  async #readTable(client: Client, { setup, catalog }: CheckedTable): Promise<void> {
    const { contract } = setup
    const columns = catalog.columns.filter(column => column.name in contract.schema.shape)
    const sql = `copy (select ${columns.map(column => quoteName(column.name)).join(', ')} from ${onlyTable(catalog)}) to stdout`
    const mirrored = this.#options.mirror.table(contract.name)
    const reader = createRowReader(contract, columns)
    const tuple = new Tuple()
    tuple.read(Buffer.from([columns.length >> 8, columns.length & 0xff, ...columns.map(() => 0x6e)]), 0)
    // With FULL any column may be the declared key, and then one key may come twice.
    this.#lookUp = !this.#options.first || catalog.replicaIdentity === 'f'
    this.#parkedUnseen = new Set([...mirrored.parked()].map(entry => entry.key))
    let rows = 0
    await copyOut(client, sql, row => {
      if (this.#error) throw this.#error
      readCopyRow(row, tuple)
      this.#take(mirrored, reader, tuple)
      rows++
      if (this.#rowsInChunk >= CHUNK_ROWS || this.#batch.bytes >= CHUNK_BYTES) {
        this.#endChunk(mirrored)
        this.#holdBack(mirrored, client)
        this.#report(setup.table.name, rows, catalog.rowsEstimated)
      }
      if (this.#slice.isSpent && !this.#resting) this.#rest(client)
    })
    if (this.#rowsInChunk > 0) this.#endChunk(mirrored)
    this.#report(setup.table.name, rows, rows, true)
    await this.#drain()
    await this.#options.mirror.commit(this.#pipeline.position)
  }

  #take(mirrored: MirrorTable, reader: RowReader, tuple: Tuple): void {
    this.#rows++
    this.#rowsInChunk++
    const row = reader.read(tuple)
    const key = row && reader.keyBytes(row)
    if (!row || !key) {
      this.#refuse(mirrored, reader, tuple)
    } else if (this.#lookUp) {
      this.#recorder.upsert(mirrored, key, row, undefined, () => reader.refused(tuple))
    } else {
      try {
        this.#batch.insert(mirrored.topic, row)
        this.#writes.push([key, mirrored.encode(row, this.#recorder.epoch)])
      } catch {
        this.#refuse(mirrored, reader, tuple)
      }
    }
  }

  #refuse(mirrored: MirrorTable, reader: RowReader, tuple: Tuple): void {
    const refused = reader.refused(tuple)
    this.#parkedUnseen.delete(refused.keyText)
    if (this.#lookUp) this.#recorder.seenRefused(mirrored, refused)
    else this.#recorder.parkLater(mirrored, 'insert', refused)
  }

  #endChunk(mirrored: MirrorTable): void {
    const { source, consistentPoint, log, onEvent } = this.#options
    const position = formatLsn(consistentPoint)
    const batch = this.#batch
    const writes = this.#writes
    const parked = this.#recorder.takeParked()
    const lookUp = this.#lookUp
    this.#batch = log.batch()
    this.#recorder.use(this.#batch)
    this.#writes = []
    this.#rowsInChunk = 0
    if (batch.count === 0) return
    this.#pipeline.append(batch, { source, position, snapshot: true }, consistentPoint, appended => {
      for (const [key, value] of writes) mirrored.put(key, value, false)
      if (lookUp) placeParked(parked, position, appended.first)
      else for (const { table, row, index } of parked) applyParked(table, row, position, appended.first + index)
      announceParked(source, parked, position, onEvent)
      const { mirror } = this.#options
      if (!lookUp && mirror.pending >= MIRROR_COMMIT_ROWS) mirror.commit(this.#pipeline.position).catch(this.#onError)
    })
  }

  /** Pauses the socket while too much is on its way to the disk, or the mirror's overlay has to be committed. */
  #holdBack(mirrored: MirrorTable, client: Client): void {
    const { mirror } = this.#options
    const inFlight = this.#pipeline.count >= CHUNKS_IN_FLIGHT_MAX || mirror.commits >= MIRROR_COMMITS_MAX
    const full = inFlight || this.#options.log.pressure !== null
    if (this.#flushing || !(full || (this.#lookUp && mirror.pending >= MIRROR_COMMIT_ROWS))) return
    this.#flushing = true
    socketOf(client).pause()
    this.#flush(mirrored)
      .catch(this.#onError)
      .finally(() => {
        this.#flushing = false
        if (!this.#resting) socketOf(client).resume()
      })
  }

  /** Lets others have the event loop, then reads on. */
  #rest(client: Client): void {
    this.#resting = true
    socketOf(client).pause()
    setImmediate(() => {
      this.#resting = false
      if (!this.#flushing) socketOf(client).resume()
    })
  }

  async #flush(mirrored: MirrorTable): Promise<void> {
    // The rows of what was read from the socket already come within this turn.
    await nextTurn()
    if (this.#lookUp) {
      if (this.#rowsInChunk > 0) this.#endChunk(mirrored)
      await this.#pipeline.settled()
      if (!this.#error) await this.#options.mirror.commit(this.#pipeline.position)
      await this.#untilRoom()
      return
    }
    await this.#pipeline.below(CHUNKS_IN_FLIGHT_MAX / 2)
    if (this.#options.mirror.commits >= MIRROR_COMMITS_MAX) await this.#options.mirror.committed()
    await this.#untilRoom()
  }

  #untilRoom(): Promise<void> {
    const { log, onPaused, signal } = this.#options
    return untilRoom(log, onPaused, AbortSignal.any([signal, this.#failed.signal]))
  }

  /** Rows that the snapshot did not show are gone. */
  async #sweep(mirrored: MirrorTable): Promise<void> {
    await this.#options.mirror.commit(this.#pipeline.position)
    const { epoch } = this.#recorder
    let count = 0
    for (const key of mirrored.keys()) {
      const stored = mirrored.find(key)
      if (stored && mirrored.epochOf(stored) < epoch) {
        this.#recorder.deleteKey(mirrored, key)
        this.#rowsInChunk++
      }
      if (this.#rowsInChunk >= CHUNK_ROWS) {
        this.#endChunk(mirrored)
        await this.#untilRoom()
      }
      if (++count % 500 === 0) await nextTurn()
    }
    for (const keyText of this.#parkedUnseen) {
      if (!mirrored.findParked(keyText)) continue
      this.#recorder.parkedGone(mirrored, keyText, 'deleted')
      this.#rowsInChunk++
    }
    if (this.#rowsInChunk > 0) this.#endChunk(mirrored)
    await this.#drain()
  }

  async #drain(): Promise<void> {
    await this.#pipeline.settled()
    if (this.#error) throw this.#error
  }

  #report(table: string, rows: number, estimated: number, force = false): void {
    const now = performance.now()
    if (!force && now - this.#progressMs < PROGRESS_EVERY_MS) return
    this.#progressMs = now
    const { onEvent, onProgress, source } = this.#options
    const { rowsPerSecond } = this.progress
    onProgress(this.progress)
    onEvent({
      event: 'snapshot-progress',
      source,
      table,
      rows,
      rowsEstimated: Math.max(rows, estimated),
      rowsPerSecond,
    })
  }
}
