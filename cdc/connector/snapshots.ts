// The snapshots beside one stream: goes on with what the log says is under way, and does what it is told. Each command is a
// record before it is answered, so that it holds after a kill.
import {
  type ControlState,
  fail,
  type MainstemError,
  type Reading,
  reportOf,
  type SnapshotCommand,
  type SnapshotProgress,
} from '../../core/index.ts'
import { type Control, nextTable, unread } from './control.ts'
import { LiveSnapshot, type LiveSnapshotOptions } from './live-snapshot.ts'
import { Progress } from './progress.ts'
import { tablesNamed } from './tables.ts'

export interface SnapshotsOptions<P> extends LiveSnapshotOptions<P> {
  readonly onEnded: () => void
}

export class Snapshots<P> {
  readonly #options: SnapshotsOptions<P>
  readonly #control: Control
  #progress: Progress | undefined
  #running: LiveSnapshot<P> | undefined
  #closed = false
  readonly #over = Promise.withResolvers<never>()
  /** Commands follow each other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: SnapshotsOptions<P>) {
    this.#options = options
    this.#control = options.control
    this.#over.promise.catch(() => {})
    const { reading } = this.#control.state
    if (reading) this.#progress = this.#progressOf(reading)
  }

  /** The snapshot under way, or that waits to go on. */
  get progress(): SnapshotProgress | null {
    return this.#progress?.now ?? null
  }

  /** Whether the source lacks rows until it is over. */
  get isNeeded(): boolean {
    return this.#control.state.phase !== 'snapshot-ended'
  }

  /** Whether what the source committed before may still be missing, and not only in tables that came later. */
  get isIncomplete(): boolean {
    const { phase, reading } = this.#control.state
    return (
      phase !== 'snapshot-ended' &&
      reading !== null &&
      reading.tables.some(({ why, done }) => why === 'snapshot' && !done)
    )
  }

  #progressOf(reading: Reading): Progress {
    const { technology, tables } = this.#options
    return new Progress(technology.source, reading, tables, technology.onEvent)
  }

  /** Goes on with what is under way; to be called when the stream runs. */
  start(): void {
    const { reading } = this.#control.state
    if (!reading || reading.paused || this.#running || this.#closed) return
    this.#progress ??= this.#progressOf(reading)
    this.#say('snapshot-started')
    this.#begin(this.#progress)
  }

  #begin(progress: Progress): void {
    const running = new LiveSnapshot(this.#options, progress)
    this.#running = running
    running.run().then(
      () => this.#afterRun(running),
      error => this.#afterRun(running, this.#options.technology.explain(error)),
    )
  }

  #afterRun(running: LiveSnapshot<P>, error?: MainstemError): void {
    if (this.#running !== running || this.#closed) return
    this.#running = undefined
    this.#queue(async () => {
      const { reading } = this.#control.state
      if (!reading) return
      if (error) await this.#pause(reading, error)
      else if (!nextTable(reading)) await this.#finish()
    }).catch(() => {})
  }

  async #finish(): Promise<void> {
    const { source, onEvent } = this.#options.technology
    const { rows, seconds } = this.#progress?.total ?? { rows: 0, seconds: 0 }
    await this.#record({ ...this.#control.state, phase: 'snapshot-ended', reading: null })
    this.#progress = undefined
    onEvent({ event: 'snapshot-ended', source, rows, seconds })
    this.#options.onEnded()
  }

  /** @throws TABLE_UNKNOWN, SNAPSHOT_INVALID, SNAPSHOT_RUNNING, SNAPSHOT_NOT_RUNNING, SNAPSHOT_NEEDED */
  command(command: SnapshotCommand): Promise<SnapshotProgress | null> {
    return this.#queue(async () => {
      if (command.do === 'start') await this.#startOf(command)
      else await this.#change(command.do)
      return this.progress
    })
  }

  #queue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => {})
    return done
  }

  async #startOf({ tables, where }: Extract<SnapshotCommand, { do: 'start' }>): Promise<void> {
    const { technology, tables: all } = this.#options
    const named = tablesNamed(
      technology.source,
      all.map(({ setup }) => setup),
      tables,
    )
    const wanted = all.filter(({ setup }) => named.includes(setup))
    const condition = where?.trim() ? where : null
    for (const table of condition === null ? [] : wanted)
      await this.#options.session.checkCondition(table, condition ?? '')
    const { state } = this.#control
    const names = wanted.map(({ setup }) => setup.contract.name)
    const before = state.reading?.tables ?? []
    const busy = before.find(({ table, done }) => names.includes(table) && !done)
    if (busy) throw fail('SNAPSHOT_RUNNING', `${busy.table} is being read already`)
    const epoch = state.epoch + 1
    const others = before.filter(({ table }) => !names.includes(table))
    const reading = { paused: false, tables: [...others, ...unread(names, 'asked', epoch, condition)] }
    await this.#interrupt()
    await this.#record({ ...this.#control.state, epoch, reading: this.#merged(reading) })
    this.#restart()
  }

  /** What was read meanwhile is kept. */
  #merged(reading: Reading): Reading {
    const now = this.#control.state.reading?.tables ?? []
    return {
      ...reading,
      tables: reading.tables.map(
        each => now.find(({ table, epoch }) => table === each.table && epoch === each.epoch) ?? each,
      ),
    }
  }

  async #change(what: 'pause' | 'resume' | 'cancel'): Promise<void> {
    const { source, onEvent } = this.#options.technology
    const { reading, phase } = this.#control.state
    if (!reading) throw fail('SNAPSHOT_NOT_RUNNING', `source ${source} has no snapshot under way`)
    if (what === 'resume') {
      if (!reading.paused && this.#running) return
      await this.#record({ ...this.#control.state, reading: { ...reading, paused: false } })
      onEvent({ event: 'snapshot-resumed', source })
      this.#restart()
      return
    }
    if (what === 'cancel' && phase !== 'snapshot-ended')
      throw fail('SNAPSHOT_NEEDED', `the log of ${source} still lacks rows that this snapshot reads`)
    await this.#interrupt()
    if (what === 'pause') {
      await this.#pause(this.#control.state.reading ?? reading, null)
      return
    }
    await this.#record({ ...this.#control.state, reading: null })
    this.#progress = undefined
    onEvent({ event: 'snapshot-cancelled', source })
  }

  async #pause(reading: Reading, error: MainstemError | null): Promise<void> {
    const { source, onEvent } = this.#options.technology
    const paused = { ...reading, paused: true }
    await this.#record({ ...this.#control.state, reading: paused })
    this.#progress ??= this.#progressOf(paused)
    this.#progress.paused = true
    this.#progress.error = error
    onEvent({ event: 'snapshot-paused', source, error: error && reportOf(error) })
  }

  /** Ends what runs, between two chunks. */
  async #interrupt(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.stop()
  }

  #restart(): void {
    const { reading } = this.#control.state
    if (reading) this.#progress = this.#progressOf(reading)
    this.start()
  }

  /** Resolves when the record is durable. */
  #record(state: ControlState): Promise<void> {
    const { stream, log } = this.#options
    const durable = Promise.withResolvers<void>()
    const appended = stream.between(async () => {
      const batch = log.batch()
      const onRecorded = this.#control.record(batch, state)
      stream.append(batch, [], () => {
        onRecorded()
        durable.resolve()
      })
    })
    return Promise.race([appended.then(() => durable.promise), this.#over.promise])
  }

  #say(event: 'snapshot-started'): void {
    const { source, onEvent } = this.#options.technology
    const progress = this.#progress?.now
    if (progress) onEvent({ event, source, tables: progress.tables, rowsEstimated: progress.rowsEstimated })
  }

  async close(): Promise<void> {
    this.#closed = true
    const { source } = this.#options.technology
    this.#over.reject(fail('NOT_READY', `source ${source} has stopped streaming`, { hint: 'try again' }))
    await this.#interrupt()
  }
}
