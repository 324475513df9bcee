// The snapshot of a source: its tables read as they stood at one position, appended in chunks. The first one
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
} from '../../core/index.ts'
import type { Image } from './image.ts'
import { untilRoom } from './log-room.ts'
import { Pipeline } from './pipeline.ts'
import type { RowReader } from './rows.ts'
import { Slice } from './slice.ts'
import type { CheckedTable, ChunkReader, Technology } from './technology.ts'
import { announceParked } from './transactions.ts'

/** As many as the mirror commits at once. */
const CHUNK_ROWS = MIRROR_COMMIT_ROWS
const CHUNK_BYTES = 1024 * 1024
/** Chunks on their way to disk before the reading is paused. */
const CHUNKS_IN_FLIGHT_MAX = 6
const PROGRESS_EVERY_MS = 250

export interface SnapshotProgress {
  readonly rows: number
  readonly rowsEstimated: number
  readonly rowsPerSecond: number
}

export interface SnapshotOptions<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly mirror: Mirror
  readonly tables: readonly CheckedTable[]
  /** Where the tables stood as they are read. */
  readonly position: P
  /** The mirror is empty and no key can come twice: rows need not be looked up. */
  readonly first: boolean
  readonly onProgress: (progress: SnapshotProgress) => void
  readonly onPaused: (paused: boolean) => void
  readonly signal: AbortSignal
}

export class SnapshotReader<P> {
  readonly #options: SnapshotOptions<P>
  readonly #recorder: Recorder
  readonly #pipeline: Pipeline<P>
  readonly #startedMs = performance.now()
  readonly #rowsEstimated: number
  #batch: ReturnType<Log['batch']>
  #writes: [key: Buffer, value: Buffer][] = []
  #rowsInChunk = 0
  #rows = 0
  #progressMs = 0
  #error: unknown
  readonly #failed = new AbortController()
  #reader: ChunkReader | undefined
  /** The current table's rows are looked up in the mirror, and so written to its overlay at once. */
  #lookUp = false
  #flushing = false
  readonly #slice = new Slice()
  #resting = false
  /** Keys that were parked before and that a diffed snapshot has not shown yet. */
  #parkedUnseen = new Set<string>()

  constructor(options: SnapshotOptions<P>) {
    this.#options = options
    this.#batch = options.log.batch()
    this.#recorder = new Recorder(options.mirror, this.#batch)
    this.#rowsEstimated = options.tables.reduce((sum, table) => sum + table.rowsEstimated, 0)
    this.#pipeline = new Pipeline({
      positions: options.technology.positions,
      logged: options.position,
      position: options.log.end,
      onDurable: () => {},
      onError: error => this.#onError(error),
    })
  }

  readonly #onError = (error: unknown): void => {
    this.#error ??= error
    this.#failed.abort()
    // A reading that is paused would never end.
    this.#reader?.destroy()
  }

  get progress(): SnapshotProgress {
    const seconds = Math.max((performance.now() - this.#startedMs) / 1_000, 0.001)
    const rowsEstimated = Math.max(this.#rowsEstimated, this.#rows)
    return { rows: this.#rows, rowsEstimated, rowsPerSecond: Math.round(this.#rows / seconds) }
  }

  /** Reads all tables. Resolves when all is durable and mirrored. */
  async read(reader: ChunkReader): Promise<SnapshotProgress> {
    this.#reader = reader
    const end = () => reader.destroy()
    this.#options.signal.addEventListener('abort', end, { once: true })
    try {
      for (const table of this.#options.tables) {
        await this.#untilRoom()
        await this.#readTable(reader, table)
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

  async #readTable(reader: ChunkReader, table: CheckedTable): Promise<void> {
    const { contract } = table.setup
    const name = table.setup.table.name
    const mirrored = this.#options.mirror.table(contract.name)
    this.#lookUp = !this.#options.first || !table.isKeyUnique
    this.#parkedUnseen = new Set([...mirrored.parked()].map(entry => entry.key))
    let rows = 0
    await reader.read({ table, after: null, rowsWanted: Number.MAX_SAFE_INTEGER }, (rowReader, image) => {
      if (this.#error) throw this.#error
      this.#take(mirrored, rowReader, image)
      rows++
      if (this.#rowsInChunk >= CHUNK_ROWS || this.#batch.bytes >= CHUNK_BYTES) {
        this.#endChunk(mirrored)
        this.#holdBack(mirrored, reader)
        this.#report(name, rows, table.rowsEstimated)
      }
      if (this.#slice.isSpent && !this.#resting) this.#rest(reader)
    })
    if (this.#rowsInChunk > 0) this.#endChunk(mirrored)
    this.#report(name, rows, rows, true)
    await this.#drain()
    await this.#options.mirror.commit(this.#pipeline.position)
  }

  #take(mirrored: MirrorTable, reader: RowReader, image: Image): void {
    this.#rows++
    this.#rowsInChunk++
    const row = reader.read(image)
    const key = row && reader.keyBytes(row)
    if (!row || !key) {
      this.#refuse(mirrored, reader, image)
    } else if (this.#lookUp) {
      this.#recorder.upsert(mirrored, key, row, undefined, () => reader.refused(image))
    } else {
      try {
        this.#batch.insert(mirrored.topic, row)
        this.#writes.push([key, mirrored.encode(row, this.#recorder.epoch)])
      } catch {
        this.#refuse(mirrored, reader, image)
      }
    }
  }

  #refuse(mirrored: MirrorTable, reader: RowReader, image: Image): void {
    const refused = reader.refused(image)
    this.#parkedUnseen.delete(refused.keyText)
    if (this.#lookUp) this.#recorder.seenRefused(mirrored, refused)
    else this.#recorder.parkLater(mirrored, 'insert', refused)
  }

  #endChunk(mirrored: MirrorTable): void {
    const { technology, log } = this.#options
    const { source, positions, onEvent } = technology
    const position = positions.format(this.#options.position)
    const batch = this.#batch
    const writes = this.#writes
    const parked = this.#recorder.takeParked()
    const lookUp = this.#lookUp
    this.#batch = log.batch()
    this.#recorder.use(this.#batch)
    this.#writes = []
    this.#rowsInChunk = 0
    if (batch.count === 0) return
    this.#pipeline.append(batch, { source, position, snapshot: true }, this.#options.position, appended => {
      for (const [key, value] of writes) mirrored.put(key, value, false)
      if (lookUp) placeParked(parked, position, appended.first)
      else for (const { table, row, index } of parked) applyParked(table, row, position, appended.first + index)
      announceParked(source, parked, position, onEvent)
      const { mirror } = this.#options
      if (!lookUp && mirror.pending >= MIRROR_COMMIT_ROWS) mirror.commit(this.#pipeline.position).catch(this.#onError)
    })
  }

  /** Pauses the reading while too much is on its way to the disk, or the mirror's overlay has to be committed. */
  #holdBack(mirrored: MirrorTable, reader: ChunkReader): void {
    const { mirror } = this.#options
    const inFlight = this.#pipeline.count >= CHUNKS_IN_FLIGHT_MAX || mirror.commits >= MIRROR_COMMITS_MAX
    const full = inFlight || this.#options.log.pressure !== null
    if (this.#flushing || !(full || (this.#lookUp && mirror.pending >= MIRROR_COMMIT_ROWS))) return
    this.#flushing = true
    reader.pause()
    this.#flush(mirrored)
      .catch(this.#onError)
      .finally(() => {
        this.#flushing = false
        if (!this.#resting) reader.resume()
      })
  }

  /** Lets others have the event loop, then reads on. */
  #rest(reader: ChunkReader): void {
    this.#resting = true
    reader.pause()
    setImmediate(() => {
      this.#resting = false
      if (!this.#flushing) reader.resume()
    })
  }

  async #flush(mirrored: MirrorTable): Promise<void> {
    // The rows of what was received already come within this turn.
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
    const { technology, onProgress } = this.#options
    const { onEvent, source } = technology
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
