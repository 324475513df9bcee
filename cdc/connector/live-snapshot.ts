// Snapshots beside streaming: tables are read in chunks, each of them diffed against the mirror and appended as one batch with how
// far the table is read. It is exact without a lock and without a write to the source (after DBLog, https://arxiv.org/abs/2010.12597):
//
// Before a chunk is read, a window is opened in which the stream notes the keys it touches. The chunk says where in the stream
// it stands. When the stream has passed that place, keys touched by transactions that the chunk has not seen are left
// out, for there the stream is newer; all else of the chunk is merged between two transactions. Rows that no chunk has
// shown may be gone: they are asked for by their keys, in chunks again.
import { setTimeout as wait } from 'node:timers/promises'
import {
  isMainstemError,
  type Log,
  type Mirror,
  type MirrorTable,
  Recorder,
  type TableReading,
} from '../../core/index.ts'
import { ChunkRows } from './chunk-rows.ts'
import { advanced, type Control, nextTable } from './control.ts'
import { untilRoom } from './log-room.ts'
import type { Progress } from './progress.ts'
import type { Stream } from './stream.ts'
import type { CheckedTable, LiveReader, Place, Session, Technology } from './technology.ts'
import type { Window } from './window.ts'

const CHUNK_ROWS_FIRST = 500
const CHUNK_ROWS_MIN = 100
const CHUNK_ROWS_MAX = 20_000
const CHUNK_BYTES = 8 * 1024 * 1024
/** The stream is held while a chunk is merged: about so long. */
const MERGE_MS = 25
const NUDGE_AFTER_MS = 10
const NUDGE_EVERY_MS = 200
/** Keys of rows that no chunk has shown, asked for at once. */
const KEYS_WANTED = 2_000
/** Keys looked at in one turn of the event loop. */
const KEYS_SLICE = 500
/** A parked row may be touched each time that it is asked for. */
const PARKED_ROUNDS = 3
const AGAIN_AFTER_MS = 50
const RETRY_AFTER_MS = 1_000
/** A command that the server refuses would be refused again. */
const RETRIED: ReadonlySet<string> = new Set(['SOURCE_UNREACHABLE', 'SOURCE_SLOTS_EXHAUSTED'])

export interface LiveSnapshotOptions<P> {
  readonly technology: Technology<P>
  readonly session: Session<P>
  readonly stream: Stream<P>
  readonly log: Log
  readonly mirror: Mirror
  readonly control: Control
  readonly tables: readonly CheckedTable[]
  /** Makes an idle server show how far it is. */
  readonly nudge: () => Promise<void>
  readonly onPaused: (paused: boolean) => void
  readonly signal: AbortSignal
}

/** Reads one table after the other. Whoever changes what is to be read stops it first: `stop`, then a new one. */
export class LiveSnapshot<P> {
  readonly #options: LiveSnapshotOptions<P>
  readonly #progress: Progress
  readonly #recorder: Recorder
  readonly #stopping = new AbortController()
  readonly #signal: AbortSignal
  #reader: LiveReader<P> | undefined
  #rowsWanted = CHUNK_ROWS_FIRST
  #running: Promise<void> | undefined
  #window: Window | undefined

  constructor(options: LiveSnapshotOptions<P>, progress: Progress) {
    this.#options = options
    this.#progress = progress
    this.#recorder = new Recorder(options.mirror, options.log.batch())
    this.#signal = AbortSignal.any([options.signal, this.#stopping.signal])
  }

  /** Reads until all is read, or it is stopped. @throws what it cannot get over by trying again */
  run(): Promise<void> {
    this.#running ??= this.#run()
    return this.#running
  }

  /** Ends it between two chunks. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#reader?.destroy()
    await this.#running?.catch(() => {})
  }

  async #run(): Promise<void> {
    try {
      await this.#retried(() => this.#options.session.settle(this.#signal))
      for (let next = this.#next(); next; next = this.#next()) await this.#readTable(next)
    } catch (error) {
      if (!this.#signal.aborted && !this.#options.stream.isEnded) throw error
    } finally {
      if (this.#window) this.#options.stream.transactions.closeWindow(this.#window)
      this.#reader?.close()
      this.#reader = undefined
    }
  }

  #next(): TableReading | undefined {
    this.#signal.throwIfAborted()
    return nextTable(this.#options.control.state.reading)
  }

  /** A connection that was lost is made again. */
  async #retried<T>(work: () => Promise<T>): Promise<T> {
    const { technology, stream } = this.#options
    for (;;) {
      try {
        return await work()
      } catch (error) {
        this.#reader?.close()
        this.#reader = undefined
        this.#signal.throwIfAborted()
        if (stream.isEnded || !RETRIED.has(technology.explain(error).code)) throw error
        await wait(RETRY_AFTER_MS, undefined, { signal: this.#signal })
      }
    }
  }

  async #readTable(begun: TableReading): Promise<void> {
    const { tables, mirror } = this.#options
    const table = tables.find(({ setup }) => setup.contract.name === begun.table)
    // It is captured no more: there is nothing to keep it level with.
    if (!table) return this.#advance({ ...begun, done: true })
    const mirrored = mirror.table(begun.table)
    // Rows whose key is refused cannot be asked for: they are gone if a reading of the whole table does not show them.
    const keyless = new Set(begun.until === null && begun.where === null ? keylessOf(mirrored) : [])
    this.#rowsWanted = CHUNK_ROWS_FIRST
    let reading: TableReading = begun
    for (let isLast = false; !isLast; ) {
      const { until: after, where } = reading
      const rows = new ChunkRows()
      const rowsWanted = this.#rowsWanted
      const read = await this.#inWindow(mirrored, reader => reader.read({ table, after, rowsWanted, where }, rows.take))
      if (!read) continue
      const { until } = read.result
      const next = {
        ...reading,
        until: until ?? after,
        rows: reading.rows + rows.count,
        done: until === null && where !== null,
      }
      if (!(await this.#merge(mirrored, read, rows, [], next))) continue
      for (const text of rows.keyless) keyless.delete(text)
      this.#progress.add(table, rows.count)
      reading = next
      isLast = until === null
    }
    if (!reading.done) {
      await this.#askForUnseen(table, mirrored, reading.epoch)
      await this.#finish(mirrored, { ...reading, done: true }, keyless)
    }
    this.#progress.finish(table)
  }

  /** Reads in a window; undefined where it has to be done again. */
  async #inWindow<R>(
    mirrored: MirrorTable,
    read: (reader: LiveReader<P>) => Promise<R>,
  ): Promise<Reading<P, R> | undefined> {
    const { log, onPaused, stream, session } = this.#options
    await untilRoom(log, onPaused, this.#signal)
    this.#signal.throwIfAborted()
    return this.#retried(async () => {
      this.#reader ??= await session.openLiveReader()
      this.#signal.throwIfAborted()
      const window = stream.transactions.openWindow(mirrored)
      this.#window = window
      const before = stream.transactions.recent()
      const place = await this.#reader.begin()
      // What was streamed before the window opened, and yet is not seen, has touched keys that nobody has noted.
      const isEarly = before.some(transaction => !place.hasSeen(transaction))
      if (!isEarly) {
        window.place(transaction => place.hasSeen(transaction))
        const result = await read(this.#reader)
        await this.#reader.end()
        return { window, place, result }
      }
      await this.#reader.end()
      await wait(AGAIN_AFTER_MS, undefined, { signal: this.#signal })
      return undefined
    })
  }

  /**
   * Merges a chunk when the stream has got to where it stands; false where it has to be read again.
   * @param missing keys that were asked for and have no row
   */
  async #merge(
    mirrored: MirrorTable,
    { window, place }: Reading<P, unknown>,
    rows: ChunkRows,
    missing: readonly Buffer[],
    next: TableReading | undefined,
  ): Promise<boolean> {
    const { stream, log } = this.#options
    const merging = async (): Promise<boolean> => {
      const fromMs = performance.now()
      stream.transactions.closeWindow(window)
      if (window.isVoid || this.#signal.aborted) return false
      const batch = log.batch()
      this.#recorder.use(batch)
      await rows.merge(mirrored, this.#recorder, window, stream.nextSlice)
      for (const key of missing) this.#remove(mirrored, key, window)
      const onRecorded = next && this.#record(batch, next)
      if (batch.count > 0) stream.append(batch, this.#recorder.takeParked(), onRecorded)
      this.#adapt(rows, performance.now() - fromMs)
      return true
    }
    const merged = stream.between(
      () =>
        merging().catch(error => {
          // The mirror has what the log has not.
          stream.giveUp(error)
          throw error
        }),
      place.watermark,
    )
    if (await this.#nudged(merged, place)) return true
    this.#signal.throwIfAborted()
    this.#rowsWanted = Math.max(Math.round(this.#rowsWanted / 2), CHUNK_ROWS_MIN)
    await wait(AGAIN_AFTER_MS, undefined, { signal: this.#signal })
    return false
  }

  #remove(mirrored: MirrorTable, key: Buffer, window: Window): void {
    if (window.has(key, '')) return
    this.#recorder.deleteKey(mirrored, key)
    const { key: codec } = mirrored.contract
    const text = codec.format(codec.decode(key))
    if (mirrored.findParked(text)) this.#recorder.parkedGone(mirrored, text, 'deleted')
  }

  /** On an idle server the stream gets nowhere by itself. */
  async #nudged<R>(work: Promise<R>, { watermark }: Place<P>): Promise<R> {
    const { stream, nudge } = this.#options
    if (stream.hasTaken(watermark)) return this.#unlessStopped(work)
    stream.ping()
    let timer = setTimeout(function again() {
      if (stream.isIdle && !stream.hasTaken(watermark)) void nudge()
      timer = setTimeout(again, NUDGE_EVERY_MS)
    }, NUDGE_AFTER_MS)
    try {
      return await this.#unlessStopped(work)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Whoever stops it does not wait for the stream. */
  #unlessStopped<R>(work: Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(this.#signal.reason)
      if (this.#signal.aborted) return onAbort()
      this.#signal.addEventListener('abort', onAbort, { once: true })
      work.then(resolve, reject).finally(() => this.#signal.removeEventListener('abort', onAbort))
    })
  }

  #adapt(rows: ChunkRows, mergeMs: number): void {
    if (rows.count === 0) return
    const byTime = (rows.count * MERGE_MS) / Math.max(mergeMs, 1)
    const byBytes = CHUNK_BYTES / Math.max(rows.bytes / rows.count, 1)
    const most = Math.min(byTime, byBytes, 4 * this.#rowsWanted, CHUNK_ROWS_MAX)
    this.#rowsWanted = Math.max(Math.round(most), CHUNK_ROWS_MIN)
  }

  #record(batch: ReturnType<Log['batch']>, next: TableReading): (() => void) | undefined {
    const { control } = this.#options
    const { reading } = control.state
    if (!reading) return undefined
    return control.record(batch, { ...control.state, reading: advanced(reading, next) })
  }

  #advance(next: TableReading): Promise<void> {
    const { stream, log } = this.#options
    return stream.between(async () => {
      const batch = log.batch()
      stream.append(batch, [], this.#record(batch, next))
    })
  }

  // -- rows that no chunk has shown

  async #askForUnseen(table: CheckedTable, mirrored: MirrorTable, epoch: number): Promise<void> {
    const { nextSlice } = this.#options.stream
    for await (const keys of unseenOf(mirrored, epoch, nextSlice)) await this.#ask(table, mirrored, keys)
    // The stream may have brought parts of rows that were not here yet.
    let parked: readonly Buffer[] = [...mirrored.parked()].flatMap(({ key }) => bytesOf(mirrored, key) ?? [])
    for (let round = 0; parked.length > 0 && round < PARKED_ROUNDS; round++) {
      const again: Buffer[] = []
      for (let at = 0; at < parked.length; at += KEYS_WANTED)
        again.push(...(await this.#ask(table, mirrored, parked.slice(at, at + KEYS_WANTED))))
      parked = again
    }
  }

  /** Gives those keys of which the stream was newer. */
  async #ask(table: CheckedTable, mirrored: MirrorTable, keys: readonly Buffer[]): Promise<readonly Buffer[]> {
    for (;;) {
      const rows = new ChunkRows()
      const read = await this.#inWindow(mirrored, reader => reader.readKeys(table, keys, rows.take))
      if (!read || !(await this.#merge(mirrored, read, rows, rows.missing(keys), undefined))) continue
      return keys.filter(key => read.window.has(key, ''))
    }
  }

  #finish(mirrored: MirrorTable, next: TableReading, keyless: ReadonlySet<string>): Promise<void> {
    const { stream, log } = this.#options
    return stream.between(async () => {
      const batch = log.batch()
      this.#recorder.use(batch)
      for (const text of keyless) if (mirrored.findParked(text)) this.#recorder.parkedGone(mirrored, text, 'deleted')
      stream.append(batch, this.#recorder.takeParked(), this.#record(batch, next))
    })
  }
}

interface Reading<P, R> {
  readonly window: Window
  readonly place: Place<P>
  readonly result: R
}

/** Keys of rows that were last seen before an epoch, some at a time. */
async function* unseenOf(
  mirrored: MirrorTable,
  epoch: number,
  nextSlice: () => Promise<void>,
): AsyncGenerator<readonly Buffer[]> {
  let keys: Buffer[] = []
  let count = 0
  for (const key of mirrored.keys()) {
    const stored = mirrored.find(key)
    if (stored && mirrored.epochOf(stored) < epoch) keys.push(key)
    if (++count % KEYS_SLICE === 0) await nextSlice()
    if (keys.length < KEYS_WANTED) continue
    yield keys
    keys = []
  }
  if (keys.length > 0) yield keys
}

const keylessOf = (mirrored: MirrorTable): readonly string[] =>
  [...mirrored.parked()].flatMap(({ key }) => (bytesOf(mirrored, key) ? [] : [key]))

/** The bytes of a parked row's key; undefined where the contract refuses it. */
function bytesOf({ contract }: MirrorTable, text: string): Buffer | undefined {
  try {
    return contract.key.encode(contract.key.parse(text))
  } catch (error) {
    if (isMainstemError(error)) return undefined
    throw error
  }
}
