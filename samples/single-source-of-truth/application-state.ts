// What an application's event lines say, put together: where its sources are, and its last figures.
import type { RunEvent, StatusEvent } from '../../bin/cli/run-events.ts'

/** The event lines of `mainstem run --json`, and what happens to the process itself. */
export type ProcessEvent =
  | RunEvent
  | { readonly event: 'spawned'; readonly pid: number | undefined }
  | { readonly event: 'killed' }

export interface SourceProgress {
  state: 'starting' | 'snapshot' | 'handover' | 'streaming'
  /** Of all its tables. */
  rows: number
  rowsEstimated: number
  rowsPerSecond: number
  /** Rows read of each table. */
  tables: Map<string, number>
}

export interface SnapshotFigures {
  readonly rows: number
  readonly seconds: number
}

export class ApplicationState {
  readonly sources: ReadonlyMap<string, SourceProgress>
  /** Where it listens; kept when the process is killed. */
  url: string | undefined
  listening = false
  /** Between a checkpoint's start and its end. */
  checkpointing = false
  /** The last figures of the present process. */
  status: StatusEvent | undefined
  /** Rows and wall time of the last process that took all its snapshots to the end. */
  snapshot: SnapshotFigures | undefined
  #snapshotStartedMs: number | undefined

  constructor(sources: readonly string[]) {
    this.sources = new Map(sources.map(name => [name, starting()]))
  }

  /** Every source streams. */
  get streaming(): boolean {
    return [...this.sources.values()].every(source => source.state === 'streaming')
  }

  /** No source has a snapshot to begin, or to complete before it streams. */
  get snapshotsEnded(): boolean {
    return [...this.sources.values()].every(({ state }) => state === 'handover' || state === 'streaming')
  }

  /** Rows that the present process has read in snapshots. */
  get snapshotRows(): number {
    return [...this.sources.values()].reduce((sum, source) => sum + source.rows, 0)
  }

  /** How much of the snapshots under way is read, 0 to 1; undefined while none is. */
  get snapshotShare(): number | undefined {
    const started = [...this.sources.values()].filter(source => source.rowsEstimated > 0)
    if (started.length === 0) return undefined
    const estimated = started.reduce((sum, source) => sum + source.rowsEstimated, 0)
    return this.snapshotRows / estimated
  }

  apply(event: ProcessEvent): void {
    switch (event.event) {
      case 'spawned':
        for (const source of this.sources.values()) Object.assign(source, starting())
        this.listening = false
        this.checkpointing = false
        this.status = undefined
        this.#snapshotStartedMs = undefined
        return
      case 'listening':
        this.url = event.url
        this.listening = true
        return
      case 'checkpoint-started':
      case 'checkpoint-ended':
      case 'checkpoint-failed':
        this.checkpointing = event.event === 'checkpoint-started'
        return
      case 'status':
        this.status = event
        return
      case 'snapshot-started':
      case 'snapshot-progress':
      case 'snapshot-ended':
      case 'handover':
      case 'streaming':
        this.#applyToSource(event)
    }
  }

  #applyToSource(event: SourceStep): void {
    const source = this.sources.get(event.source)
    if (source === undefined) return
    // The rest of a snapshot that was cut short is read beside the stream.
    const besideStream = source.state === 'streaming' ? source.state : undefined
    switch (event.event) {
      case 'snapshot-started':
        this.#snapshotStartedMs ??= performance.now()
        Object.assign(source, starting(), { state: besideStream ?? 'snapshot', rowsEstimated: event.rowsEstimated })
        return
      case 'snapshot-progress':
        source.tables.set(event.table, event.rows)
        source.rows = [...source.tables.values()].reduce((sum, rows) => sum + rows, 0)
        source.rowsEstimated = Math.max(source.rowsEstimated, source.rows)
        source.rowsPerSecond = event.rowsPerSecond
        return
      case 'snapshot-ended':
        Object.assign(source, {
          state: besideStream ?? 'handover',
          rows: event.rows,
          rowsEstimated: event.rows,
        })
        this.#measureSnapshot()
        return
      case 'handover':
      case 'streaming':
        source.state = event.event
    }
  }

  #measureSnapshot(): void {
    const sources = [...this.sources.values()]
    if (this.#snapshotStartedMs === undefined || sources.some(source => source.state === 'snapshot')) return
    // Two snapshots run at the same time; their wall time is from the first one's start to the last one's end.
    this.snapshot = {
      rows: this.snapshotRows,
      seconds: (performance.now() - this.#snapshotStartedMs) / 1000,
    }
  }
}

type SourceStep = Extract<
  ProcessEvent,
  { event: 'snapshot-started' | 'snapshot-progress' | 'snapshot-ended' | 'handover' | 'streaming' }
>

const starting = (): SourceProgress => ({
  state: 'starting',
  rows: 0,
  rowsEstimated: 0,
  rowsPerSecond: 0,
  tables: new Map(),
})
