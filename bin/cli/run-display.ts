// Lines for people about a running application: what happened, and on a terminal one line at the bottom that moves.
import type { WriteStream } from 'node:tty'
import type { RunEvent, StatusEvent } from './run-events.ts'
import { byteSize, duration, formatTable } from './table.ts'

const BAR_CELLS = 20
/** A contract that does not fit refuses a whole table: its rows must not scroll everything else away. */
const PARKED_LINES_MAX = 5

const count = (value: number): string => value.toLocaleString('en-US')
const ms = (value: number | null): string =>
  value === null ? '–' : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`

/** `shop.orders: email added, total is numeric(12,2)`. */
function schemaText({
  topic,
  added,
  dropped,
  renamed,
  altered,
}: Extract<RunEvent, { event: 'schema-changed' }>): string {
  const parts = [
    ...added.map(name => `${name} added`),
    ...dropped.map(name => `${name} dropped`),
    ...renamed.map(({ from, to }) => `${from} is now ${to}`),
    ...altered.map(({ name, to }) => `${name} is ${to}`),
  ]
  return `${topic}: ${parts.join(', ')}`
}

/** `████████░░░░  62%  1.4 s left`. */
export function progressBar(done: number, total: number, perSecond: number): string {
  const share = total > 0 ? Math.min(1, done / total) : 0
  const cells = Math.round(share * BAR_CELLS)
  const left = perSecond > 0 && total > done ? `  ${duration(((total - done) / perSecond) * 1_000)} left` : ''
  return `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)} ${String(Math.round(share * 100)).padStart(3)}%${left}`
}

const FLUSHING: ReadonlySet<RunEvent['event']> = new Set(['status', 'snapshot-ended', 'stopping'])

export class RunDisplay {
  readonly #out: WriteStream
  #moving = false
  /** Source → its snapshot: rows read of each table. */
  readonly #snapshots = new Map<
    string,
    { readonly rowsEstimated: number; readonly tables: Map<string, number>; readonly startedMs: number }
  >()

  /** Rows refused since the last second began, by topic. */
  readonly #parked = new Map<string, { readonly source: string; readonly rows: number }>()

  constructor(out: WriteStream) {
    this.#out = out
  }

  readonly show = (event: RunEvent): void => {
    // Once a second, and before what ends a part of the work.
    if (FLUSHING.has(event.event)) for (const line of this.#parkedRest()) this.#print(line)
    const line = this.#lineOf(event)
    if (line !== undefined) this.#print(line)
  }

  /** A line between those of events. */
  say(line: string): void {
    this.#print(line)
  }

  #print(line: string): void {
    if (this.#moving) this.#out.write('\r\x1b[K')
    this.#moving = false
    this.#out.write(`${line}\n`)
  }

  /** The first few rows of a run of refused ones, each with its line; the others are counted, and listed on request. */
  #parkedLine(event: Extract<RunEvent, { event: 'parked' }>): string | undefined {
    const seen = this.#parked.get(event.topic)
    this.#parked.set(event.topic, { source: event.source, rows: (seen?.rows ?? 0) + 1 })
    if ((seen?.rows ?? 0) >= PARKED_LINES_MAX) return undefined
    return `  RECORD_REFUSED 1 row of ${event.topic} is parked, the stream goes on: key ${event.key}, ${event.position}: ${event.error}`
  }

  #parkedRest(): string[] {
    if (this.#parked.size === 0) return []
    const lines = [...this.#parked].flatMap(([topic, { source, rows }]) =>
      rows > PARKED_LINES_MAX
        ? [`  RECORD_REFUSED ${count(rows - PARKED_LINES_MAX)} more of ${topic} → mainstem parked ${source}`]
        : [],
    )
    this.#parked.clear()
    return lines
  }

  /** A line that the next one replaces; only where there is a terminal to move in. */
  #move(line: string): undefined {
    if (!this.#out.isTTY) return undefined
    this.#out.write(`\r\x1b[K${line.slice(0, this.#out.columns - 1)}`)
    this.#moving = true
    return undefined
  }

  #lineOf(event: RunEvent): string | undefined {
    switch (event.event) {
      case 'listening':
        return `  listening on ${event.url}   try: curl ${event.url}/v1/views`
      case 'snapshot-started':
        this.#snapshots.set(event.source, {
          rowsEstimated: event.rowsEstimated,
          tables: new Map(),
          startedMs: performance.now(),
        })
        return `  ${event.source}: snapshot of ${event.tables} tables, about ${count(event.rowsEstimated)} rows`
      case 'snapshot-progress':
        return this.#snapshotProgress(event)
      case 'snapshot-ended':
        this.#snapshots.delete(event.source)
        return `  ${event.source}: ${count(event.rows)} rows in ${event.seconds.toFixed(1)} s (${count(Math.round(event.rows / Math.max(event.seconds, 0.001)))} rows/s)`
      case 'snapshot-paused':
        this.#snapshots.delete(event.source)
        return event.error
          ? failure(
              `${event.source}: the snapshot is paused: ${event.error.code} ${event.error.message}`,
              event.error.detail,
              `then: mainstem snapshot ${event.source} --resume`,
            )
          : `  ${event.source}: the snapshot is paused; it goes on with: mainstem snapshot ${event.source} --resume`
      case 'snapshot-resumed':
        return `  ${event.source}: the snapshot goes on`
      case 'snapshot-cancelled':
        this.#snapshots.delete(event.source)
        return `  ${event.source}: the snapshot is cancelled`
      case 'streaming':
        return `  ${event.source}: streaming from ${event.position}`
      case 'outbox-waits':
        return `  ${event.source}: rows of ${event.topic} cannot be deleted: ${event.message}`
      case 'source-waiting':
        return `  ${event.source}: waiting for ${event.waitingFor}`
      case 'source-paused':
        return `  ${event.source}: paused, waiting for ${event.waitingFor}`
      case 'source-resumed':
        return `  ${event.source}: reads on`
      case 'schema-changed':
        return `  ${event.source}: ${schemaText(event)} at ${event.position}`
      case 'source-behind':
        return `  ${event.source}: the server has kept ${byteSize(event.bytes)} of its log for it`
      case 'source-log-held':
        return `  ${event.source}: the server keeps ${byteSize(event.bytes)} of its log for it${event.bytesMax === null ? '' : `, at most ${byteSize(event.bytesMax)}`}`
      case 'source-log-read':
        return `  ${event.source}: the server keeps ${byteSize(event.bytes)} of its log for it again`
      case 'source-retrying':
        return `  ${event.source}: ${event.code} ${event.message}${event.detail ? ` (${event.detail})` : ''}; again in ${(event.delayMs / 1000).toFixed(1)} s`
      case 'source-failed':
        return failure(`${event.source}: ${event.code} ${event.message}`, event.detail, event.hint)
      case 'parked':
        return this.#parkedLine(event)
      case 'view-stopped':
        return failure(`view ${event.view} stopped: ${event.code} ${event.message}`, event.detail, event.hint)
      case 'start-plan':
        return isWorthALine(event) ? planLines(event) : undefined
      case 'rebuild-started':
        return `  folding ${event.views.join(', ')} anew from ${count(event.records)} records`
      case 'rebuild-ended':
        return `  folded ${count(event.records)} records in ${duration(event.seconds * 1_000)}`
      case 'checkpoint-failed':
        return `  checkpoint failed: ${event.message}`
      case 'checkpoint-damaged':
        return failure(`${event.code} ${event.message}`, event.detail, event.hint)
      case 'log':
        return `  log: ${event.what} ${event.detail}`
      case 'status':
        return this.#move(statusLine(event))
      case 'stopping':
        return '  stopping …'
      case 'stopped':
        return '  stopped'
      case 'checkpoint-started':
      case 'checkpoint-ended':
      case 'handover':
        return undefined
    }
  }

  #snapshotProgress(event: Extract<RunEvent, { event: 'snapshot-progress' }>): undefined {
    this.#snapshots.get(event.source)?.tables.set(event.table, event.rows)
    const bars = [...this.#snapshots].map(([source, { rowsEstimated, tables, startedMs }]) => {
      const rows = [...tables.values()].reduce((sum, each) => sum + each, 0)
      const perSecond = rows / Math.max((performance.now() - startedMs) / 1000, 0.001)
      return `${source} ${progressBar(rows, rowsEstimated, perSecond)}`
    })
    return this.#move(`  ${bars.join('   ')}`)
  }
}

type StartPlan = Extract<RunEvent, { event: 'start-plan' }>

const isWorthALine = ({ views, records }: StartPlan): boolean =>
  records > 0 || views.some(({ plan }) => plan !== 'unchanged' && plan !== 'new')

/** What a start does with each view. */
export function planLines({ views, records, estimatedSeconds }: StartPlan): string {
  const lines = formatTable(views, [
    { text: ({ view }) => view },
    { text: ({ plan, from }) => (plan === 'continue' || plan === 'savepoint' ? `${plan} from ${count(from)}` : plan) },
    { text: view => (view.records > 0 ? `${count(view.records)} records` : ''), align: 'right' },
    { text: ({ why }) => why ?? '' },
  ])
  if (records > 0)
    lines.push(`  to read: ${count(records)} records, once for all views, about ${duration(estimatedSeconds * 1_000)}`)
  return lines.join('\n')
}

function statusLine(event: StatusEvent): string {
  if (event.progress) {
    const { done, total, recordsPerSecond } = event.progress
    return `  catching up ${progressBar(done, total, recordsPerSecond)}   ${count(done)} of ${count(total)}   ${count(recordsPerSecond)} records/s`
  }
  const sources = event.sources.map(source => `${source.name} ${source.state}`).join(', ')
  return `  log ${count(event.logEnd)}   views ${count(event.position)}   ${count(event.recordsPerSecond)} records/s   commit → visible p50 ${ms(event.lagP50Ms)} p99 ${ms(event.lagP99Ms)}   ${sources}`
}

const failure = (first: string, detail: string | undefined, hint: string | undefined): string =>
  [`  ${first}.`, ...(detail ? [`    ${detail}`] : []), ...(hint ? [`    → ${hint}`] : [])].join('\n')
