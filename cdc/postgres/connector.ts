// The life of a source: opens with checks, runs attempts one after the other, and says at any time where it is and what it
// waits for. Retriable failures are retried for ever, with growing pauses; permanent ones leave it `failed`. Where the log has no
// room it is paused until the log says that there is some again.
import { setTimeout as wait } from 'node:timers/promises'
import {
  asMainstemError,
  controlContract,
  type DropReport,
  type Log,
  type LogTopic,
  type MainstemError,
  type Mirror,
  openMirror,
  type ParkedEntry,
  reportOf,
  type SourceConnector,
  type SourceContext,
  type SourceState,
  type SourceStatus,
} from '../../core/index.ts'
import { Waiters } from '../connector/waiters.ts'
import { type Client, connect, connectionError, sqlStateOf } from './connection.ts'
import { dropFromServer } from './drop.ts'
import { watchLocks } from './lock-watch.ts'
import { formatLsn, lsnPositions, parseLsn } from './lsn.ts'
import { checkStart, loggedLsn, runSession, type SessionHost } from './session.ts'
import type { Setup } from './setup.ts'
import { slotInUse } from './slot.ts'
import type { SnapshotProgress } from './snapshot.ts'
import { type ReplicationStream, STOPPED } from './stream.ts'

const RETRY_FIRST_MS = 100
const RETRY_MAX_MS = 10_000
/** A waiting reader on an idle database makes the server write something after so long. */
const NUDGE_AFTER_MS = 50
const NUDGE_EVERY_MS = 500
const PARKED_KEPT_MAX = 1_000
/** How often the server is asked for the end of its log. */
const SAMPLE_EVERY_MS = 100
const SAMPLE_RETRY_MS = 5_000
const SERVER_LSN = `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                                 else pg_current_wal_flush_lsn() end)::text as lsn`

/** Opens the connector of a source. @throws SOURCE_…, CONTRACT_…, LOG_BEHIND_SLOT before anything is changed anywhere */
export async function openPostgresConnector(setup: Setup, context: SourceContext): Promise<PostgresConnector> {
  const { log, resnapshot } = context
  const controlTopic = await log.topic(controlContract())
  const openIt = () => openMirror({ path: context.mirrorPath, log, source: setup.source, tables: setup.tables })
  const mirror = await openIt()
  const connector = new PostgresConnector({ setup, log, controlTopic, resnapshot, mirror, openMirror: openIt })
  try {
    await checkOnce(setup, log, mirror, resnapshot)
    return connector
  } catch (error) {
    await connector.stop()
    throw error
  }
}

/** A database that is down matters only where nothing has been read from it yet: later the connector retries. */
async function checkOnce(setup: Setup, log: Log, mirror: Mirror, resnapshot: boolean): Promise<void> {
  let sql: Client | undefined
  try {
    const client = await connect(setup.target)
    sql = client
    await watchLocks(
      setup.target,
      client,
      reason => announceWaiting(setup, reason),
      () => checkStart({ setup, log, mirror, resnapshot }, client),
    )
  } catch (error) {
    const known = connectionError(setup.source, error)
    if (known.code === 'SOURCE_UNREACHABLE' && mirror.control.phase !== 'none') return
    throw known
  } finally {
    await sql?.end().catch(() => {})
  }
}

const announceWaiting = (setup: Setup, reason: string | null): void => {
  if (reason) setup.onEvent({ event: 'source-waiting', source: setup.source, waitingFor: reason })
}

interface ConnectorParts {
  readonly setup: Setup
  readonly log: Log
  readonly controlTopic: LogTopic
  readonly resnapshot: boolean
  readonly mirror: Mirror
  readonly openMirror: () => Promise<Mirror>
}

export class PostgresConnector implements SourceConnector {
  readonly name: string
  readonly #parts: ConnectorParts
  readonly #waiters = new Waiters(lsnPositions)
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
  #snapshot: SnapshotProgress | null = null
  #stream: ReplicationStream | undefined
  #changesBefore = 0
  #complete: bigint
  #position: number
  #server: bigint | undefined
  /** Where the server was, and when: once that is complete, the source was level then. */
  #sample: { readonly lsn: bigint; readonly atMs: number } | undefined
  #sampler: NodeJS.Timeout | undefined
  #sampling = false
  #sampleFromMs = 0
  #levelMs: number | undefined
  #retryMs = RETRY_FIRST_MS
  #nudger: NodeJS.Timeout | undefined
  #nudging = false
  #sql: Promise<Client> | undefined

  constructor(parts: ConnectorParts) {
    this.name = parts.setup.source
    this.#parts = parts
    this.#mirror = parts.mirror
    this.#resnapshot = parts.resnapshot
    this.#complete = loggedLsn(parts.log, this.name)
    this.#position = parts.log.end
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        if (this.#mirrorClosed) await this.#reopenMirror()
        this.#state = 'connecting'
        await runSession(this.#host())
      } catch (error) {
        if (signal.aborted || error === STOPPED) break
        if (!(await this.#onFailure(error))) return
      } finally {
        clearInterval(this.#sampler)
        // A query that hangs on a dead connection ends with it.
        void this.#endQueries()
        this.#changesBefore += this.#stream?.changes ?? 0
        this.#stream = undefined
        this.#snapshot = null
      }
    }
    this.#state = 'stopped'
  }

  #host(): SessionHost {
    const { setup, log, controlTopic } = this.#parts
    const { signal } = this.#stopping
    return {
      setup,
      log,
      controlTopic,
      mirror: this.#mirror,
      resnapshot: this.#resnapshot,
      signal,
      onWaiting: reason => this.#setWaiting(reason),
      onSnapshot: progress => {
        this.#snapshot = progress
        if (progress) this.#state = 'snapshotting'
      },
      onSnapshotDone: () => {
        this.#resnapshot = false
      },
      onStream: stream => {
        this.#stream = stream
      },
      onStreaming: () => this.#onStreaming(),
      onComplete: (complete, position) => this.#onComplete(complete, position),
      onServer: lsn => this.#onServer(lsn),
      onPaused: paused => this.#setPaused(paused ? (log.pressure ?? ROOM) : null),
    }
  }

  #setWaiting(reason: string | null): void {
    if (reason === this.#waitingFor) return
    this.#waitingFor = reason
    announceWaiting(this.#parts.setup, reason)
  }

  #setPaused(waitingFor: string | null): void {
    const before = this.#pausedFor
    this.#pausedFor = waitingFor
    if ((before === null) === (waitingFor === null)) return
    const { onEvent } = this.#parts.setup
    if (waitingFor === null) onEvent({ event: 'source-resumed', source: this.name })
    else onEvent({ event: 'source-paused', source: this.name, waitingFor })
  }

  #onStreaming(): void {
    this.#state = 'streaming'
    this.#setWaiting(null)
    this.#error = undefined
    const { log, setup } = this.#parts
    this.#onComplete(loggedLsn(log, this.name), log.end)
    clearInterval(this.#sampler)
    this.#sampler = setInterval(() => void this.#askServer(), SAMPLE_EVERY_MS)
    this.#sampleFromMs = 0
    void this.#askServer()
    setup.onEvent({ event: 'streaming', source: this.name, position: formatLsn(this.#complete) })
  }

  /** What the stream says of the server is how far the stream has got, not how much is still to come. */
  async #askServer(): Promise<void> {
    const atMs = performance.now()
    if (this.#sampling || atMs < this.#sampleFromMs || this.#stopping.signal.aborted) return
    this.#sampling = true
    const rows = await this.#query<{ lsn: string | null }>(SERVER_LSN)
    this.#sampling = false
    const lsn = rows?.[0]?.lsn
    if (!lsn) {
      this.#sampleFromMs = atMs + SAMPLE_RETRY_MS
      return
    }
    this.#onServer(parseLsn(lsn))
    this.#sample ??= { lsn: parseLsn(lsn), atMs }
    this.#level()
  }

  #onComplete(complete: bigint, position: number): void {
    if (complete > this.#complete) {
      this.#complete = complete
      this.#retryMs = RETRY_FIRST_MS
    }
    this.#position = position
    this.#waiters.reached(this.#complete, position)
    this.#level()
  }

  #onServer(lsn: bigint): void {
    if (this.#server === undefined || lsn > this.#server) this.#server = lsn
  }

  #level(): void {
    const sample = this.#sample
    if (sample === undefined || this.#complete < sample.lsn) return
    this.#levelMs = sample.atMs
    this.#sample = undefined
  }

  /** Waits before the next attempt; false where there must not be one. */
  async #onFailure(cause: unknown): Promise<boolean> {
    const error = this.#explain(cause)
    this.#error = error
    // Its overlay may hold rows of transactions that never reached the log.
    await this.#closeMirror()
    const { onEvent } = this.#parts.setup
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

  #explain(cause: unknown): MainstemError {
    const state = sqlStateOf(cause)
    if (state === '55006') {
      const pid = /PID (\d+)/.exec(String(cause))?.[1]
      return slotInUse(this.name, this.#parts.setup.slot, pid ? Number(pid) : null)
    }
    if (cause instanceof Error && cause.name === 'MainstemError') return asMainstemError(cause)
    // A SQLSTATE has five characters; Node's own codes (ECONNRESET) have more.
    if (state.length === 5 && !/^(08|53|57|28|3D)/.test(state)) {
      return asMainstemError(cause, 'SOURCE_PROTOCOL', `source ${this.name} refused a command (${state})`)
    }
    return state || /onnection|timeout/.test(String(cause)) ? connectionError(this.name, cause) : asMainstemError(cause)
  }

  async #reopenMirror(): Promise<void> {
    this.#mirror = await this.#parts.openMirror()
    this.#mirrorClosed = false
    this.#position = this.#parts.log.end
    this.#complete = loggedLsn(this.#parts.log, this.name)
  }

  async #closeMirror(): Promise<void> {
    if (this.#mirrorClosed) return
    this.#mirrorClosed = true
    this.#parkedCount = this.#mirror.parkedCount
    this.#parkedLast = this.#mirror.parked(PARKED_KEPT_MAX)
    await this.#mirror.close()
  }

  /** What was parked when the mirror was last open: shown while it is closed between two attempts. */
  #parkedCount = 0
  #parkedLast: readonly ParkedEntry[] = []

  status(): SourceStatus {
    const { setup, log } = this.#parts
    const position = this.#complete > 0n ? this.#complete : undefined
    const server = this.#server
    const error = this.#error
    const paused = this.#pausedFor !== null && PAUSABLE.has(this.#state)
    return {
      name: this.name,
      technology: 'postgres',
      state: paused ? 'paused' : this.#state,
      waitingFor: paused ? (log.pressure ?? this.#pausedFor) : this.#waitingFor,
      position: position === undefined ? (log.mark(this.name)?.position ?? null) : formatLsn(position),
      serverPosition: server === undefined ? null : formatLsn(server),
      lagBytes: server === undefined || position === undefined ? null : Math.max(0, Number(server - position)),
      ageMs: this.#levelMs === undefined ? null : Math.round(performance.now() - this.#levelMs),
      snapshot: this.#snapshot,
      changes: this.#changesBefore + (this.#stream?.changes ?? 0),
      parked: this.#mirrorClosed ? this.#parkedCount : this.#mirror.parkedCount,
      slot: setup.slot,
      publication: setup.publication,
      tables: setup.tables.map(table => table.table.name),
      error: error ? reportOf(error) : null,
    }
  }

  parked(limit: number): readonly ParkedEntry[] {
    return this.#mirrorClosed ? this.#parkedLast.slice(0, limit) : this.#mirror.parked(limit)
  }

  checkPosition(position: string): void {
    parseLsn(position)
  }

  async reached(position: string, signal: AbortSignal): Promise<number> {
    const lsn = parseLsn(position)
    // Nor before a snapshot that is still to begin: what it is to mend could be what the reader asks for.
    const settled = this.#state !== 'snapshotting' && !this.#resnapshot
    if (settled && lsn <= this.#complete) return this.#position
    this.#stream?.ping()
    this.#nudger ??= setTimeout(() => this.#nudge(), NUDGE_AFTER_MS)
    return this.#waiters.wait(lsn, signal)
  }

  /** On an idle database the server shows its progress only when something is written. */
  #nudge(): void {
    this.#nudger = undefined
    if (this.#waiters.count === 0 || this.#stopping.signal.aborted) return
    this.#nudger = setTimeout(() => this.#nudge(), NUDGE_EVERY_MS)
    this.#nudger.unref()
    if (this.#state === 'streaming' && this.#stream?.isIdle && !this.#nudging) {
      this.#nudging = true
      void this.#emitMessage().finally(() => {
        this.#nudging = false
      })
    }
  }

  async #emitMessage(): Promise<void> {
    await this.#query(`select pg_logical_emit_message(true, 'mainstem', '')`)
  }

  /** Undefined where it fails: the next one connects anew; if the database is gone the stream finds out by itself. */
  async #query<R extends object>(text: string): Promise<readonly R[] | undefined> {
    try {
      this.#sql ??= connect(this.#parts.setup.target)
      return (await (await this.#sql).query<R>(text)).rows
    } catch {
      await this.#endQueries()
      return undefined
    }
  }

  async #endQueries(): Promise<void> {
    const sql = this.#sql
    this.#sql = undefined
    await sql?.then(client => client.end()).catch(() => {})
  }

  async stop(): Promise<void> {
    const stream = this.#stream
    this.#stopping.abort()
    clearTimeout(this.#nudger)
    await stream?.stop()
    await this.#running?.catch(() => {})
    await this.#closeMirror()
    clearInterval(this.#sampler)
    await this.#endQueries()
    if (this.#state !== 'failed') this.#state = 'stopped'
  }

  async drop(): Promise<DropReport> {
    await this.stop()
    return dropFromServer(this.name, this.#parts.setup.target, this.#parts.setup)
  }
}

const ROOM = 'room in the log'
/** What goes on when there is room again; a failure says more. */
const PAUSABLE: ReadonlySet<SourceState> = new Set(['connecting', 'snapshotting', 'streaming'])

/** In use was waited for already. */
const isRetriable = (error: MainstemError): boolean => error.retriable && error.code !== 'SOURCE_SLOT_IN_USE'
