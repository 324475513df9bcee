// The life of a source: runs attempts one after the other, and says at any time where it is and what it
// waits for. Retriable failures are retried for ever, with growing pauses; permanent ones leave it `failed`. Where the log has no
// room it is paused until the log says that there is some again.
import { setTimeout as wait } from 'node:timers/promises'
import {
  type DropReport,
  fail,
  type Log,
  type LogTopic,
  type MainstemError,
  type Mirror,
  type ParkedEntry,
  type ParkedRetried,
  type ParkedRetry,
  reportOf,
  type SnapshotCommand,
  type SnapshotProgress,
  type SourceConnector,
  type SourceState,
  type SourceStatus,
} from '../../core/index.ts'
import { type AttemptHost, type Captured, loggedPosition, runAttempt } from './attempt.ts'
import { Audits } from './audits.ts'
import { Level } from './level.ts'
import { Nudger } from './nudger.ts'
import type { Progress } from './progress.ts'
import { redriveParked } from './redrive.ts'
import { RetentionGuard } from './retention.ts'
import type { Snapshots } from './snapshots.ts'
import { STOPPED, type Stream } from './stream.ts'
import { Tables } from './tables.ts'
import type { Probe, Technology } from './technology.ts'
import { Waiters } from './waiters.ts'

const RETRY_FIRST_MS = 100
const RETRY_MAX_MS = 10_000
const PARKED_KEPT_MAX = 1_000

export const announceWaiting = <P>({ onEvent, source }: Technology<P>, reason: string | null): void => {
  if (reason) onEvent({ event: 'source-waiting', source, waitingFor: reason })
}

export interface ConnectorParts<P> {
  readonly technology: Technology<P>
  readonly log: Log
  readonly controlTopic: LogTopic
  readonly eventsTopic: LogTopic
  readonly resnapshot: boolean
  readonly mirror: Mirror
  readonly openMirror: () => Promise<Mirror>
}

export class Connector<P> implements SourceConnector {
  readonly name: string
  readonly audits: Audits<P>
  readonly tables: Tables<P>
  readonly #parts: ConnectorParts<P>
  readonly #waiters: Waiters<P>
  readonly #probe: Probe<P>
  readonly #stopping = new AbortController()
  #mirror: Mirror
  #mirrorClosed = false
  #resnapshot: boolean
  #running: Promise<void> | undefined
  #state: SourceState = 'connecting'
  #waitingFor: string | null = null
  /** What it waits for where the log has no room. */
  #pausedFor: string | null = null
  #error: MainstemError | undefined
  #lastError: SourceStatus['lastError'] = null
  /** A snapshot that stands still, and what makes it go on beside the stream. */
  #snapshot: { readonly progress: Progress; readonly interrupt: () => void } | undefined
  #snapshots: Snapshots<P> | undefined
  #stream: Stream<P> | undefined
  #captured: Captured | undefined
  #changesBefore = 0
  #complete: P
  #position: number
  #server: P | undefined
  readonly #level: Level<P>
  #retryMs = RETRY_FIRST_MS
  readonly #nudger: Nudger
  readonly #guard: RetentionGuard<P>

  constructor(parts: ConnectorParts<P>) {
    const { technology } = parts
    this.name = technology.source
    this.#parts = parts
    this.#waiters = new Waiters(technology.positions)
    this.#probe = technology.openProbe()
    this.#nudger = new Nudger({
      isAwaited: () => this.#waiters.count > 0 && !this.#stopping.signal.aborted,
      isIdle: () => this.#state === 'streaming' && this.#stream?.isIdle === true,
      nudge: () => this.#probe.nudge(),
    })
    this.#level = new Level(technology.positions, this.#probe, position => this.#onServer(position))
    this.#guard = new RetentionGuard({
      ...parts,
      position: () => technology.positions.format(this.#complete),
      onExceeded: error => this.#giveUp(error),
    })
    this.#mirror = parts.mirror
    this.#resnapshot = parts.resnapshot
    this.#complete = loggedPosition(parts.log, technology)
    this.#position = parts.log.end
    this.tables = new Tables({
      technology,
      streaming: () => ({ stream: this.#streaming(), mirror: this.#mirror }),
    })
    this.audits = new Audits({
      technology,
      log: parts.log,
      streaming: () => {
        const { control } = this.#mirror
        return { stream: this.#streaming(), mirror: this.#mirror, known: { control, logged: this.#complete } }
      },
      reached: (position, signal) => this.#reached(position, signal),
    })
  }

  start(): void {
    if (!this.#running) this.#guard.start()
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        if (this.#mirrorClosed) await this.#reopenMirror()
        this.#state = 'connecting'
        await runAttempt(this.#host())
      } catch (error) {
        if (signal.aborted || error === STOPPED) break
        if (!(await this.#onFailure(error))) return
      } finally {
        this.#level.stop()
        // A query that hangs on a dead connection ends with it.
        void this.#probe.end()
        this.#changesBefore += this.#stream?.changes ?? 0
        this.#stream = undefined
        this.#snapshot = undefined
        this.#snapshots = undefined
      }
    }
    this.#state = 'stopped'
  }

  #host(): AttemptHost<P> {
    const { technology, log, controlTopic, eventsTopic } = this.#parts
    const { signal } = this.#stopping
    return {
      technology,
      log,
      controlTopic,
      eventsTopic,
      mirror: this.#mirror,
      resnapshot: this.#resnapshot,
      signal,
      onWaiting: reason => this.#setWaiting(reason),
      nudge: () => this.#probe.nudge(),
      onSnapshot: (progress, interrupt) => {
        this.#snapshot = progress ? { progress, interrupt } : undefined
        if (progress) this.#state = 'snapshotting'
      },
      onSnapshotDone: () => {
        this.#resnapshot = false
        this.#beginAnew()
      },
      onStream: (stream, snapshots, captured) => {
        this.#stream = stream
        this.#snapshots = snapshots
        this.#captured = captured
      },
      onSnapshotEnded: () => this.#onComplete(this.#complete, log.end),
      onStreaming: () => this.#onStreaming(),
      onComplete: (complete, position) => this.#onComplete(complete, position),
      onServer: position => this.#onServer(position),
      onPaused: paused => this.#setPaused(paused ? (log.pressure ?? ROOM) : null),
    }
  }

  /** Reads nothing more: the server is about to forget what was not read. */
  async #giveUp(error: MainstemError): Promise<void> {
    await this.#end()
    this.#error = error
    this.#waitingFor = null
    this.#state = 'failed'
  }

  #setWaiting(reason: string | null): void {
    if (reason === this.#waitingFor) return
    this.#waitingFor = reason
    announceWaiting(this.#parts.technology, reason)
  }

  #setPaused(waitingFor: string | null): void {
    const before = this.#pausedFor
    this.#pausedFor = waitingFor
    if ((before === null) === (waitingFor === null)) return
    const { onEvent } = this.#parts.technology
    if (waitingFor === null) onEvent({ event: 'source-resumed', source: this.name })
    else onEvent({ event: 'source-paused', source: this.name, waitingFor })
  }

  #onStreaming(): void {
    this.#state = 'streaming'
    this.#setWaiting(null)
    this.#error = undefined
    const { log, technology } = this.#parts
    this.#onComplete(loggedPosition(log, technology), log.end)
    this.#level.start()
    const { onEvent, positions } = technology
    onEvent({ event: 'streaming', source: this.name, position: positions.format(this.#complete) })
    this.#snapshots?.start()
  }

  /** A server that was failed over or restored may be behind where the log was: what was reached on the other is not reached on it. */
  #beginAnew(): void {
    const { log, technology } = this.#parts
    this.#complete = loggedPosition(log, technology)
    this.#server = undefined
    this.#level.beginAnew()
  }

  #onComplete(complete: P, position: number): void {
    if (!this.#includes(this.#complete, complete)) {
      this.#complete = complete
      this.#retryMs = RETRY_FIRST_MS
    }
    this.#position = position
    if (!this.#snapshots?.isIncomplete) this.#waiters.reached(this.#complete, position)
    this.#level.completeTo(this.#complete)
  }

  #includes(complete: P, wanted: P): boolean {
    return this.#parts.technology.positions.includes(complete, wanted)
  }

  #onServer(position: P): void {
    if (this.#server === undefined || !this.#includes(this.#server, position)) this.#server = position
  }

  /** Waits before the next attempt; false where there must not be one. */
  async #onFailure(cause: unknown): Promise<boolean> {
    const error = this.#parts.technology.explain(cause)
    this.#error = error
    this.#lastError = { ...reportOf(error), at: new Date().toISOString() }
    // Its overlay may hold rows of transactions that never reached the log.
    await this.#closeMirror()
    const { onEvent } = this.#parts.technology
    const { code, message, detail } = error
    if (code === 'LOG_FULL') return this.#untilTaken(error)
    if (!isRetriable(error)) {
      this.#state = 'failed'
      this.#waitingFor = null
      onEvent({ event: 'source-failed', source: this.name, ...reportOf(error) })
      return false
    }
    this.#state = 'retrying'
    const delayMs = Math.round(this.#retryMs * (0.5 + Math.random() / 2))
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS)
    this.#waitingFor = `${message}${detail ? ` (${detail})` : ''}`
    onEvent({ event: 'source-retrying', source: this.name, code, message, ...(detail ? { detail } : {}), delayMs })
    await wait(delayMs, undefined, { signal: this.#stopping.signal }).catch(() => {})
    return !this.#stopping.signal.aborted
  }

  /** Waits until the log would take what it refused; false where the connector was stopped meanwhile. */
  async #untilTaken({ detail, data }: MainstemError): Promise<boolean> {
    const { log } = this.#parts
    const { signal } = this.#stopping
    this.#state = 'connecting'
    this.#waitingFor = null
    this.#setPaused(log.pressure ?? `${ROOM}${detail ? `: ${detail}` : ''}`)
    await log.room({ bytes: Number(data?.['wantedBytes'] ?? 0), signal }).catch(() => {})
    // Otherwise the next attempt begins paused, and is said to go on when it does.
    if (log.pressure === null) this.#setPaused(null)
    return !signal.aborted
  }

  async #reopenMirror(): Promise<void> {
    this.#mirror = await this.#parts.openMirror()
    this.#mirrorClosed = false
    this.#position = this.#parts.log.end
    this.#complete = loggedPosition(this.#parts.log, this.#parts.technology)
  }

  async #closeMirror(): Promise<void> {
    if (this.#mirrorClosed) return
    this.#mirrorClosed = true
    this.#parkedCount = this.#mirror.parkedCount
    this.#parkedLast = this.#mirror.parked(PARKED_KEPT_MAX)
    await this.audits.interrupt()
    await this.#mirror.close()
  }

  /** What was parked when the mirror was last open: shown while it is closed between two attempts. */
  #parkedCount = 0
  #parkedLast: readonly ParkedEntry[] = []

  status(): SourceStatus {
    const { technology, log } = this.#parts
    const { positions } = technology
    const position = this.#includes(positions.origin, this.#complete) ? undefined : this.#complete
    const server = this.#server
    const error = this.#error
    const paused = this.#pausedFor !== null && PAUSABLE.has(this.#state)
    const snapshot = this.#snapshot?.progress.now ?? this.#snapshots?.progress ?? null
    // Rows that were there before are still missing, although changes come already.
    const state = this.#state === 'streaming' && this.#snapshots?.isNeeded ? 'snapshotting' : this.#state
    return {
      name: this.name,
      technology: technology.name,
      state: paused ? 'paused' : state,
      waitingFor: paused ? (log.pressure ?? this.#pausedFor) : (this.#waitingFor ?? this.#resumeHint(snapshot)),
      position: position === undefined ? (log.mark(this.name)?.position ?? null) : positions.format(position),
      serverPosition: server === undefined ? null : positions.format(server),
      lagBytes: server === undefined || position === undefined ? null : positions.bytesBetween(position, server),
      ageMs: this.#level.ageMs,
      snapshot,
      changes: this.#changesBefore + (this.#stream?.changes ?? 0),
      parked: this.#mirrorClosed ? this.#parkedCount : this.#mirror.parkedCount,
      walHeldBytes: this.#guard.heldBytes,
      walHeldBytesMax: technology.retention?.bytesMax ?? null,
      slot: technology.slot,
      publication: technology.publication,
      tables: [
        ...technology.tables.map(table => table.table.name),
        ...(technology.topics ?? []).map(each => each.topic.name),
      ],
      error: error ? reportOf(error) : null,
      lastError: this.#lastError,
    }
  }

  #resumeHint(snapshot: SnapshotProgress | null): string | null {
    if (!snapshot?.paused || !this.#snapshots?.isNeeded) return null
    return `its snapshot, which is paused: mainstem snapshot ${this.name} --resume`
  }

  async snapshot(command: SnapshotCommand): Promise<SnapshotProgress | null> {
    const { name } = this
    if (this.#state === 'streaming' && this.#snapshots) return this.#snapshots.command(command)
    const snapshot = this.#snapshot
    if (snapshot) {
      if (command.do === 'start') throw fail('SNAPSHOT_RUNNING', `all of ${name} is being read`)
      if (command.do === 'cancel') throw fail('SNAPSHOT_NEEDED', `the log of ${name} still lacks rows that it reads`)
      if (command.do === 'pause') snapshot.interrupt()
      return { ...snapshot.progress.now, paused: command.do === 'pause' }
    }
    if (this.#state === 'failed' && command.do === 'start' && !command.tables?.length && !command.where) {
      await this.#running
      this.#resnapshot = true
      this.#error = undefined
      this.#state = 'connecting'
      this.#running = this.#run()
      return null
    }
    throw fail('NOT_READY', `source ${name} is ${this.#state}`, {
      ...(this.#waitingFor ? { detail: `it waits for ${this.#waitingFor}` } : {}),
      hint:
        this.#state === 'failed'
          ? `its snapshot of all tables is the repair: mainstem snapshot ${name}`
          : 'try again when it streams',
    })
  }

  parked(limit: number): readonly ParkedEntry[] {
    return this.#mirrorClosed ? this.#parkedLast.slice(0, limit) : this.#mirror.parked(limit)
  }

  async retryParked(request: ParkedRetry): Promise<ParkedRetried> {
    const stream = this.#streaming()
    const { technology, log } = this.#parts
    const captured = this.#captured
    if (!captured) throw fail('INTERNAL', 'a stream without its tables')
    const parts = { technology, log, mirror: this.#mirror, captured, giveUp: stream.giveUp }
    return stream.between(pipeline => redriveParked({ ...parts, pipeline }, request))
  }

  /** @throws NOT_READY */
  #streaming(): Stream<P> {
    const stream = this.#state === 'streaming' ? this.#stream : undefined
    if (stream) return stream
    const { state, waitingFor } = this.status()
    throw fail('NOT_READY', `source ${this.name} does not stream`, {
      detail: `it is ${state}${waitingFor ? `, waiting for ${waitingFor}` : ''}`,
    })
  }

  checkPosition(position: string): void {
    this.#parts.technology.positions.parse(position)
  }

  reached(position: string, signal: AbortSignal): Promise<number> {
    return this.#reached(this.#parts.technology.positions.parse(position), signal)
  }

  async #reached(wanted: P, signal: AbortSignal): Promise<number> {
    // Nor before a snapshot that is still to begin: what it is to mend could be what the reader asks for.
    const settled = this.#state !== 'snapshotting' && !this.#resnapshot && !this.#snapshots?.isIncomplete
    if (settled && this.#includes(this.#complete, wanted)) return this.#position
    this.#stream?.ping()
    this.#nudger.start()
    return this.#waiters.wait(wanted, signal)
  }

  async stop(): Promise<void> {
    await this.#end()
    await this.#guard.stop()
    if (this.#state !== 'failed') this.#state = 'stopped'
  }

  async #end(): Promise<void> {
    const stream = this.#stream
    this.#stopping.abort()
    this.#nudger.stop()
    await stream?.stop()
    await this.#running?.catch(() => {})
    await this.#closeMirror()
    this.#level.stop()
    await this.#probe.end()
  }

  async drop(): Promise<DropReport> {
    await this.stop()
    return this.#parts.technology.drop()
  }
}

const ROOM = 'room in the log'
/** What goes on when there is room again; a failure says more. */
const PAUSABLE: ReadonlySet<SourceState> = new Set(['connecting', 'snapshotting', 'streaming'])

/** In use was waited for already. */
const isRetriable = (error: MainstemError): boolean => error.retriable && error.code !== 'SOURCE_SLOT_IN_USE'
