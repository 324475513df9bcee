// Health: ready when every view is live and every source streams; alive while each part advances or names what it waits
// for. A lag figure looks healthy while its reader is dead, so aliveness is judged by progress seen over time.
import type { Log, SourceConnector, SourceStatus } from '../core/index.ts'
import type { Engine, LiveView } from '../projections/index.ts'
import { STUCK_MS } from './limits.ts'

export interface HealthParts {
  readonly engine: Pick<Engine, 'position' | 'views'>
  readonly log: Pick<Log, 'end' | 'status'>
  readonly sources: ReadonlyMap<string, SourceConnector>
  /** A monotone clock, milliseconds. Default: `performance.now`. */
  readonly nowMs?: () => number
  /** The age of a view, and how old one may be that counts as ready. Default: as old as it likes. */
  readonly lag?: { readonly ageMs: (view: LiveView) => number | null; readonly readyMs: number }
}

/** A part that is not as it should be. */
export interface Ailing {
  /** `log`, `source shop`, `view accounts`, `engine`, `shards`. */
  readonly part: string
  readonly state: string
  readonly waitingFor: string | null
  readonly code?: string
}

interface Progress {
  mark: string
  sinceMs: number
}

export class HealthMonitor {
  readonly #parts: HealthParts
  readonly #nowMs: () => number
  readonly #progress = new Map<string, Progress>()

  constructor(parts: HealthParts) {
    this.#parts = parts
    this.#nowMs = parts.nowMs ?? (() => performance.now())
    this.observe()
  }

  /** Notes how far each part is; to be called about once a second. */
  observe(): void {
    const { engine, sources } = this.#parts
    for (const [name, source] of sources) this.#note(`source ${name}`, progressOf(source.status()))
    // Within one large transaction the position stands; rows come and go.
    let rows = 0
    for (const view of engine.views.values()) rows += view.status().rows
    this.#note('engine', `${engine.position} ${rows}`)
  }

  #note(part: string, mark: string): void {
    const known = this.#progress.get(part)
    if (!known) this.#progress.set(part, { mark, sinceMs: this.#nowMs() })
    else if (known.mark !== mark) {
      known.mark = mark
      known.sinceMs = this.#nowMs()
    }
  }

  #draining = false

  /** Not ready from now on, and alive. */
  drain(): void {
    this.#draining = true
  }

  #stuckMs(part: string): number {
    return this.#nowMs() - (this.#progress.get(part)?.sinceMs ?? this.#nowMs())
  }

  /** What keeps the application from being ready; empty when it is. */
  awaited(): readonly Ailing[] {
    const { engine, log, sources } = this.#parts
    const awaited: Ailing[] = []
    if (this.#draining) awaited.push({ part: 'server', state: 'shutting down', waitingFor: 'a new start' })
    const { state, waitingFor } = log.status()
    if (state !== 'open') awaited.push({ part: 'log', state, waitingFor: state === 'failed' ? REOPENING : waitingFor })
    for (const [name, source] of sources) {
      const status = source.status()
      if (status.state !== 'streaming') awaited.push(ailingSource(name, status))
    }
    for (const view of engine.views.values()) {
      const { status, waitingFor, error } = view.status()
      if (status === 'live') {
        awaited.push(...this.#tooOld(view))
        continue
      }
      const code = error ? { code: error.code } : {}
      awaited.push({
        part: `view ${view.name}`,
        state: status,
        waitingFor: waitingFor ?? error?.message ?? null,
        ...code,
      })
    }
    return awaited
  }

  #tooOld(view: LiveView): readonly Ailing[] {
    const { lag } = this.#parts
    const ageMs = lag?.ageMs(view) ?? null
    if (!lag || (ageMs !== null && ageMs <= lag.readyMs)) return []
    const state = ageMs === null ? 'of unknown age' : `${ageMs} ms old`
    return [{ part: `view ${view.name}`, state, waitingFor: `records and sources: ${lag.readyMs} ms at most` }]
  }

  /** Parts that have work, do not advance and do not say why; empty while the application is alive. */
  stuck(): readonly Ailing[] {
    this.observe()
    const { engine, log, sources } = this.#parts
    const stuck: Ailing[] = []
    if (log.status().state === 'closed') stuck.push({ part: 'log', state: 'closed', waitingFor: null })
    for (const [name, source] of sources) {
      const status = source.status()
      const named = status.waitingFor !== null || status.error !== null || status.state === 'stopped'
      const level = status.state === 'streaming' && status.ageMs !== null && status.ageMs < STUCK_MS
      if (!named && !level && this.#stuckMs(`source ${name}`) > STUCK_MS) stuck.push(ailingSource(name, status))
    }
    // A view that waits for its sources' snapshots still gets what is in the log; only stopped views need nothing more.
    const views = [...engine.views.values()]
    const folding = views.some(view => view.status().status !== 'stopped')
    // Nobody folds any more, and a start would: from the last checkpoint.
    const ended = views.map(view => view.status().error).find(error => error?.code === 'SHARD_FAILED')
    if (ended) stuck.push({ part: 'shards', state: ended.message, waitingFor: 'a new start', code: ended.code })
    // What emits waits for room in the log, which says so itself.
    const paused = log.status().state !== 'open'
    if (folding && !paused && engine.position < log.end && this.#stuckMs('engine') > STUCK_MS) {
      stuck.push({ part: 'engine', state: `at ${engine.position} of ${log.end}`, waitingFor: null })
    }
    return stuck
  }
}

const REOPENING = 'the log to be reopened after an I/O error'

const progressOf = (status: SourceStatus): string =>
  `${status.state} ${status.position} ${status.serverPosition} ${status.changes} ${status.snapshot?.rows}`

function ailingSource(name: string, { state, waitingFor, error, snapshot }: SourceStatus): Ailing {
  const rows =
    state === 'snapshotting' && snapshot
      ? `its snapshot: ${snapshot.rows} of about ${snapshot.rowsEstimated} rows`
      : null
  return {
    part: `source ${name}`,
    state,
    waitingFor: waitingFor ?? error?.message ?? rows,
    ...(error ? { code: error.code } : {}),
  }
}

/** `source shop is snapshotting (waits for …); view accounts is …` */
export const ailingText = (parts: readonly Ailing[]): string =>
  parts.map(each => `${each.part} is ${each.state}${each.waitingFor ? ` (${each.waitingFor})` : ''}`).join('; ')
