// One table of a snapshot that stands still: its rows are appended in batches as they come. Where the mirror is empty they need
// not be looked up; otherwise only what differs becomes records, deletions included: rows that still bear an older epoch
// at the end are gone.
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  applyParked,
  ByteReader,
  ByteWriter,
  type Log,
  MIRROR_COMMITS_MAX,
  type Mirror,
  type MirrorTable,
  placeParked,
  Recorder,
} from '../../core/index.ts'
import { advanced, type Control } from './control.ts'
import type { Image } from './image.ts'
import type { Pipeline } from './pipeline.ts'
import type { RowReader } from './rows.ts'
import { Slice } from './slice.ts'
import type { CheckedTable, ChunkReader, Technology } from './technology.ts'
import { announceParked } from './transactions.ts'

/** As many as the mirror commits at once. */
const BATCH_ROWS = 2_000
const BATCH_BYTES = 1024 * 1024
/** Rows after which the log notes how far the table was read: what a kill makes be read again. */
const CHUNK_ROWS = 100_000
/** Batches on their way to disk before the reading is paused. */
const IN_FLIGHT_MAX = 6

export interface TableCopyOptions<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly mirror: Mirror
  readonly control: Control
  readonly pipeline: Pipeline<P>
  readonly table: CheckedTable
  /** Where the tables stood as they are read. */
  readonly position: P
  /** The mirror may know the rows, or one key may come twice. Rows are then written to its overlay at once. */
  readonly lookUp: boolean
  /** The mirror may hold rows that are gone. */
  readonly sweep: boolean
  readonly untilRoom: () => Promise<void>
  /** What happens beside the reading has failed. */
  readonly onError: (error: unknown) => void
  readonly checkFailed: () => void
  readonly onRows: (rows: number) => void
}

export class TableCopy<P> {
  readonly #options: TableCopyOptions<P>
  readonly #mirrored: MirrorTable
  readonly #recorder: Recorder
  readonly #slice = new Slice()
  #batch: ReturnType<Log['batch']>
  #writes = new ByteWriter()
  #rowsInBatch = 0
  #rows = 0
  /** Batches on their way to disk. */
  #open = 0
  #flushing = false
  #resting = false
  /** Keys that were parked before and that the snapshot has not shown yet. */
  readonly #parkedUnseen: Set<string>

  constructor(options: TableCopyOptions<P>) {
    const { log, mirror, table } = options
    this.#options = options
    this.#mirrored = mirror.table(table.setup.contract.name)
    this.#batch = log.batch()
    this.#recorder = new Recorder(mirror, this.#batch)
    this.#parkedUnseen = new Set([...this.#mirrored.parked()].map(entry => entry.key))
  }

  /** Reads the table. Resolves when all is durable and mirrored. */
  async run(reader: ChunkReader): Promise<void> {
    const { table, sweep } = this.#options
    let after: string | null = null
    do {
      await this.#options.untilRoom()
      const chunk = { table, after, rowsWanted: CHUNK_ROWS, where: null }
      const { until } = await reader.read(chunk, (rows, image) => this.#onRow(reader, rows, image))
      // Where the sweep is still to come, the last chunk is not said to be read.
      if (until !== null || !sweep) this.#endBatch({ until, done: until === null })
      after = until
    } while (after !== null)
    if (sweep) await this.#sweep()
    await this.#drain()
    await this.#options.mirror.commit(this.#options.pipeline.position)
  }

  /** What has come is appended, although the table is not read to its end. */
  async stop(): Promise<void> {
    if (this.#rowsInBatch > 0) this.#endBatch()
    await this.#drain()
  }

  #onRow(reader: ChunkReader, rows: RowReader, image: Image): void {
    this.#options.checkFailed()
    this.#take(rows, image)
    if (this.#rowsInBatch >= BATCH_ROWS || this.#batch.bytes >= BATCH_BYTES) {
      this.#endBatch()
      this.#holdBack(reader)
    }
    if (this.#slice.isSpent && !this.#resting) this.#rest(reader)
  }

  #take(reader: RowReader, image: Image): void {
    this.#rows++
    this.#rowsInBatch++
    const mirrored = this.#mirrored
    const value = this.#recorder.begin(mirrored)
    const key = reader.write(value, image)
    if (!key) {
      this.#refuse(reader, image)
    } else if (this.#options.lookUp) {
      this.#recorder.upsert(mirrored, key, value, undefined, () => reader.refused(image))
    } else {
      try {
        this.#batch.change(mirrored.topic, undefined, mirrored.written(value))
      } catch {
        this.#refuse(reader, image)
        return
      }
      const writes = this.#writes
      writes.varint(key.length)
      writes.raw(key)
      writes.varint(value.at)
      writes.span(value.buffer, 0, value.at)
    }
  }

  #refuse(reader: RowReader, image: Image): void {
    const refused = reader.refused(image)
    this.#parkedUnseen.delete(refused.keyText)
    if (this.#options.lookUp) this.#recorder.seenRefused(this.#mirrored, refused)
    else this.#recorder.parkLater(this.#mirrored, 'insert', refused)
  }

  /** @param read that with this batch a chunk is read to its end */
  #endBatch(read?: { readonly until: string | null; readonly done: boolean }): void {
    const { technology, log, lookUp, pipeline } = this.#options
    const { source, positions, onEvent } = technology
    const position = positions.format(this.#options.position)
    const batch = this.#batch
    const writes = this.#writes
    const parked = this.#recorder.takeParked()
    const onRecorded = read ? this.#record(batch, read) : undefined
    this.#options.onRows(this.#rowsInBatch)
    this.#batch = log.batch()
    this.#recorder.use(this.#batch)
    this.#writes = new ByteWriter(writes.at)
    this.#rowsInBatch = 0
    if (batch.count === 0) return
    this.#open++
    pipeline.append(batch, { source, position, snapshot: true }, this.#options.position, appended => {
      this.#open--
      this.#write(writes)
      if (lookUp) placeParked(parked, position, appended.first)
      else for (const { table, row, index } of parked) applyParked(table, row, position, appended.first + index)
      announceParked(source, parked, position, onEvent)
      onRecorded?.()
      const { mirror } = this.#options
      if (!lookUp && mirror.isDue) mirror.commit(pipeline.position).catch(this.#options.onError)
    })
  }

  /** Writes rows of an appended batch into the mirror. */
  #write({ buffer, at: end }: ByteWriter): void {
    const reader = new ByteReader(buffer)
    const next = (): number => {
      const length = reader.varint()
      reader.at += length
      return reader.at - length
    }
    while (reader.at < end) {
      const key = buffer.subarray(next(), reader.at)
      this.#mirrored.putStored(key, buffer, next(), reader.at)
    }
  }

  #record(
    batch: ReturnType<Log['batch']>,
    read: { readonly until: string | null; readonly done: boolean },
  ): (() => void) | undefined {
    const { control } = this.#options
    const { reading } = control.state
    const table = reading?.tables.find(each => each.table === this.#mirrored.name)
    if (!reading || !table) return undefined
    const now = { ...table, ...read, rows: this.#rows }
    return control.record(batch, { ...control.state, reading: advanced(reading, now) })
  }

  /** Pauses the reading while too much is on its way to the disk, or the mirror's overlay has to be committed. */
  #holdBack(reader: ChunkReader): void {
    const { mirror, log, pipeline, lookUp, onError } = this.#options
    const inFlight = pipeline.count >= IN_FLIGHT_MAX || mirror.commits >= MIRROR_COMMITS_MAX
    const full = inFlight || log.pressure !== null
    if (this.#flushing || !(full || (lookUp && mirror.isDue))) return
    this.#flushing = true
    reader.pause()
    this.#flush()
      .catch(onError)
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

  async #flush(): Promise<void> {
    const { mirror, pipeline, lookUp, untilRoom } = this.#options
    // The rows of what was received already come within this turn.
    await nextTurn()
    if (lookUp) {
      if (this.#rowsInBatch > 0) this.#endBatch()
      await this.#drain()
      await mirror.commit(pipeline.position)
      await untilRoom()
      return
    }
    await pipeline.below(IN_FLIGHT_MAX / 2)
    if (mirror.commits >= MIRROR_COMMITS_MAX) await mirror.committed()
    await untilRoom()
  }

  /** Rows that the snapshot did not show are gone. */
  async #sweep(): Promise<void> {
    if (this.#rowsInBatch > 0) this.#endBatch()
    await this.#drain()
    const { mirror, pipeline, untilRoom } = this.#options
    await mirror.commit(pipeline.position)
    const mirrored = this.#mirrored
    const { epoch } = this.#recorder
    let count = 0
    for (const key of mirrored.keys()) {
      const stored = mirrored.find(key)
      if (stored && mirrored.epochOf(stored) < epoch) {
        this.#recorder.deleteKey(mirrored, key)
        this.#rowsInBatch++
      }
      if (this.#rowsInBatch >= BATCH_ROWS) {
        this.#endBatch()
        await untilRoom()
      }
      if (++count % 500 === 0) await nextTurn()
    }
    for (const keyText of this.#parkedUnseen) {
      if (!mirrored.findParked(keyText)) continue
      this.#recorder.parkedGone(mirrored, keyText, 'deleted')
    }
    this.#endBatch({ until: null, done: true })
  }

  async #drain(): Promise<void> {
    const { pipeline, checkFailed } = this.#options
    checkFailed()
    while (this.#open > 0) {
      // One more is durable, or refused.
      await pipeline.below(pipeline.count)
      checkFailed()
    }
  }
}
