// Transactions of a source → batches of the log, whole.
import {
  type Appended,
  type Batch,
  type EventInput,
  type Log,
  type LogTopic,
  type Mirror,
  type MirrorTable,
  type ParkedEvent,
  type ParkedRow,
  type PlacedParked,
  placeParked,
  Recorder,
  type SourceEvent,
} from '../../core/index.ts'
import { type Captured, Changes, type OldKind } from './changes.ts'
import type { Image } from './image.ts'
import type { Pipeline } from './pipeline.ts'
import type { Positions } from './positions.ts'
import { Schemas } from './schemas.ts'
import { Window } from './window.ts'

/** Of the last transactions the names are kept: some may not be visible yet to who reads the tables. */
const RECENT_MAX = 8_192

/** Encoded records of one transaction in memory; more of them go to a file. */
const SPILL_BYTES = 4 * 1024 * 1024

export interface TransactionsOptions<P> {
  readonly source: string
  readonly positions: Positions<P>
  readonly log: Log
  readonly mirror: Mirror
  readonly pipeline: Pipeline<P>
  /** Of what happened to sources. */
  readonly eventsTopic: LogTopic
  readonly onEvent: (event: SourceEvent) => void
}

export class Transactions<P> {
  readonly #options: TransactionsOptions<P>
  readonly #recorder: Recorder
  readonly #rows: Changes
  readonly schemas: Schemas
  #batch: ReturnType<Log['batch']> | undefined
  #transaction = ''
  #skip = false
  readonly #recent: string[] = []
  #recentAt = 0
  inTransaction = false
  /** Row changes of captured tables, and events, so far. */
  changes = 0
  /** Of them, events by topic. */
  readonly events = new Map<string, number>()
  #parkedEvents: ParkedEvent[] = []

  constructor(options: TransactionsOptions<P>) {
    this.#options = options
    this.#recorder = new Recorder(options.mirror, options.log.batch())
    this.#rows = new Changes(this.#recorder)
    const { source, mirror, eventsTopic } = options
    this.schemas = new Schemas({ source, mirror, topic: eventsTopic })
  }

  begin(transaction: string, skip: boolean): void {
    this.inTransaction = true
    this.#transaction = transaction
    this.#skip = skip
    this.#batch = undefined
    this.#rows.window?.begin(transaction)
  }

  /** From here on the touched keys of a table are noted, in place of another one's. */
  openWindow(table: MirrorTable): Window {
    this.#rows.window = new Window(table, this.#transaction)
    return this.#rows.window
  }

  /** Unless another one was opened since. */
  closeWindow(window: Window): void {
    if (this.#rows.window === window) this.#rows.window = undefined
  }

  /** The last transactions that were taken, the present one among them. */
  recent(): readonly string[] {
    return this.inTransaction ? [...this.#recent, this.#transaction] : [...this.#recent]
  }

  /** What no transaction says, but a snapshot, between two of them. */
  append(batch: Batch, parked: readonly PlacedParked[], at: P, onDone?: (appended: Appended) => void): void {
    const { source, positions, pipeline } = this.#options
    const position = positions.format(at)
    pipeline.append(batch, { source, position, snapshot: true }, at, appended => {
      this.#announce(parked, [], position, appended.first)
      onDone?.(appended)
    })
  }

  commit(to: P, commitTimeUs?: number): void {
    const { source, pipeline, positions } = this.#options
    const batch = this.#batch
    this.inTransaction = false
    this.#batch = undefined
    const transaction = this.#transaction
    if (transaction !== '') this.#recent[this.#recentAt++ % RECENT_MAX] = transaction
    if (!batch || batch.count === 0) {
      if (!this.#skip) pipeline.passed(to)
      return
    }
    const position = positions.format(to)
    const parked = this.#recorder.takeParked()
    const parkedEvents = this.#parkedEvents
    if (parkedEvents.length > 0) this.#parkedEvents = []
    const events = this.schemas.record(batch, position)
    const mark = {
      source,
      position,
      ...(transaction === '' ? {} : { transaction }),
      ...(commitTimeUs === undefined ? {} : { commitTimeUs }),
    }
    const quiet = parked.length + parkedEvents.length + events.length === 0
    pipeline.append(
      batch,
      mark,
      to,
      quiet
        ? undefined
        : appended => {
            for (const event of events) this.#options.onEvent(event)
            this.#announce(parked, parkedEvents, position, appended.first)
          },
    )
  }

  /** True where the transaction at hand has become larger than memory should hold: `spill` before the next change. */
  get isLarge(): boolean {
    const batch = this.#batch
    return batch !== undefined && (batch.memoryBytes >= SPILL_BYTES || this.#options.mirror.isLarge)
  }

  /** Nothing may be recorded meanwhile. @throws LOG_FULL, LOG_FAILED */
  async spill(): Promise<void> {
    const { mirror } = this.#options
    if (this.#batch && this.#batch.memoryBytes >= SPILL_BYTES) await this.#batch.spill()
    if (mirror.isLarge) await mirror.spill()
  }

  /** Gives up a transaction of which the end did not come. */
  async discard(): Promise<void> {
    await this.#batch?.discard()
  }

  #announce(parked: readonly PlacedParked[], events: readonly ParkedEvent[], position: string, first: number): void {
    const { source, onEvent } = this.#options
    placeParked(parked, position, first)
    for (const { events: of, row, index } of events) of.place(row, position, first + index)
    const all = [...parked, ...events.map(({ events: table, row, index }) => ({ table, row, index }))]
    announceParked(source, all, position, onEvent)
  }

  /** Whether the change counts; then there is a batch for it. */
  #take(): boolean {
    if (this.#skip) return false
    this.changes++
    if (!this.#batch) {
      this.#batch = this.#options.log.batch()
      this.#recorder.use(this.#batch)
    }
    return true
  }

  insert(captured: Captured, after: Image): void {
    if (this.#take()) this.#rows.insert(captured, after)
  }

  update(captured: Captured, oldKind: OldKind, before: Image, after: Image): void {
    if (this.#take()) this.#rows.update(captured, oldKind, before, after)
  }

  delete(captured: Captured, before: Image): void {
    if (this.#take()) this.#rows.delete(captured, before)
  }

  event(topic: string, input: EventInput): void {
    if (!this.#take()) return
    this.events.set(topic, (this.events.get(topic) ?? 0) + 1)
    const refused = this.#options.mirror.events.get(topic)?.record(this.#batch!, input)
    if (refused) this.#parkedEvents.push(refused)
  }

  /** Every row of the tables is deleted. Yields between slices, so nothing else may be recorded meanwhile. */
  async truncate(tables: readonly MirrorTable[], nextSlice: () => Promise<void>): Promise<void> {
    const next = async () => {
      await nextSlice()
      if (this.isLarge) await this.spill()
    }
    for (const mirrored of tables) if (this.#take()) await this.#rows.truncate(mirrored, next)
  }
}

export function announceParked(
  source: string,
  parked: readonly { readonly table: { readonly name: string }; readonly row: ParkedRow }[],
  position: string,
  onEvent: (event: SourceEvent) => void,
): void {
  for (const { table, row } of parked) {
    onEvent({ event: 'parked', source, topic: table.name, key: row.key, position, error: row.error })
  }
}
