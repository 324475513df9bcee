// Metrics for Prometheus, in its text format: gauges of what statuses say, read when they are asked for. Nothing is counted here.
// https://prometheus.io/docs/instrumenting/exposition_formats/
import type { SourceState } from '../core/index.ts'
import type { SourceRates, SourceWire } from './rates.ts'
import type { Reads } from './reads.ts'

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

type Labels = Readonly<Record<string, string>>

class Exposition {
  readonly #lines: string[] = []

  /** @param samples those without a value are left out */
  add(
    name: string,
    type: 'gauge' | 'counter',
    help: string,
    samples: readonly (readonly [labels: Labels, value: number | null | undefined])[],
  ): void {
    const known = samples.filter(([, value]) => value !== null && value !== undefined)
    if (known.length === 0) return
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
    for (const [labels, value] of known) {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)
      this.#lines.push(`${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`)
    }
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`
  }
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')

const STATES: readonly SourceState[] = [
  'connecting',
  'snapshotting',
  'streaming',
  'paused',
  'retrying',
  'failed',
  'stopped',
]
const LOG_STATES = ['open', 'limited', 'full', 'failed', 'closed'] as const
const VIEW_STATES = ['live', 'snapshotting', 'catching-up', 'rebuilding', 'stopped'] as const

const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1_000)

/** All metrics of a running application. */
export function metricsText(reads: Reads, rates: SourceRates): string {
  const exposition = new Exposition()
  addSources(
    exposition,
    [...reads.sources.values()].map(source => rates.wire(source)),
  )
  addLog(exposition, reads)
  addViews(exposition, reads)
  return exposition.text()
}

function addSources(exposition: Exposition, sources: readonly SourceWire[]): void {
  const gauge = (name: string, help: string, value: (source: SourceWire) => number | null | undefined) =>
    exposition.add(
      `mainstem_source_${name}`,
      'gauge',
      help,
      sources.map(source => [{ source: source.name }, value(source)]),
    )
  exposition.add(
    'mainstem_source_state',
    'gauge',
    '1 for the state that a source is in.',
    sources.flatMap(({ name, technology, state }) =>
      STATES.map(each => [{ source: name, technology, state: each }, each === state ? 1 : 0] as const),
    ),
  )
  gauge('waiting', '1 while a source waits for something, which GET /v1/sources names.', ({ waitingFor }) =>
    waitingFor === null ? 0 : 1,
  )
  gauge('lag_bytes', "Bytes of the server's log that are not in the log yet.", source => source.lagBytes)
  gauge('lag_seconds', 'Time since a source was level with its server.', ({ ageMs }) => seconds(ageMs))
  gauge('wal_held_bytes', 'What the server keeps of its log for a source.', source => source.walHeldBytes)
  gauge('wal_held_bytes_max', 'Beyond it the server is told to forget.', source => source.walHeldBytesMax)
  exposition.add(
    'mainstem_source_changes_total',
    'counter',
    'Row changes and events streamed since the start.',
    sources.map(({ name, changes }) => [{ source: name }, changes]),
  )
  gauge('changes_per_second', 'The same, in a second, of the last ten.', source => source.changesPerSecond)
  gauge('parked', 'Rows and events that their contracts refused.', source => source.parked)
  gauge('snapshot_rows', 'Rows that the snapshot under way has read.', ({ snapshot }) => snapshot?.rows)
  gauge('snapshot_rows_estimated', 'Rows that it is to read, about.', ({ snapshot }) => snapshot?.rowsEstimated)
  gauge('snapshot_rows_per_second', 'Rows that it reads in a second.', ({ snapshot }) => snapshot?.rowsPerSecond)
  exposition.add(
    'mainstem_source_error',
    'gauge',
    '1 for the error that a source has now.',
    sources.flatMap(({ name, error }) => (error ? [[{ source: name, code: error.code }, 1] as const] : [])),
  )
}

function addLog(exposition: Exposition, { log }: Reads): void {
  const { state, end, bytes, bytesLeft, segments } = log.status()
  const one = (name: string, help: string, value: number | null) =>
    exposition.add(`mainstem_log_${name}`, 'gauge', help, [[{}, value]])
  exposition.add(
    'mainstem_log_state',
    'gauge',
    '1 for the state that the log is in.',
    LOG_STATES.map(each => [{ state: each }, each === state ? 1 : 0] as const),
  )
  one('end', 'Position of the last durable record.', end)
  one('bytes', 'Bytes of its segment files.', bytes)
  one('bytes_left', 'Bytes that it still takes, where that is bounded.', bytesLeft)
  one('segments', 'Its segment files.', segments)
}

function addViews(exposition: Exposition, reads: Reads): void {
  const views = [...reads.engine.views.values()].map(live => ({ live, status: live.status() }))
  type Each = (typeof views)[number]
  const gauge = (name: string, help: string, value: (view: Each) => number | null | undefined) =>
    exposition.add(
      `mainstem_view_${name}`,
      'gauge',
      help,
      views.map(view => [{ view: view.live.name }, value(view)]),
    )
  exposition.add(
    'mainstem_view_state',
    'gauge',
    '1 for the state that a view is in.',
    views.flatMap(({ live, status }) =>
      VIEW_STATES.map(each => [{ view: live.name, state: each }, each === status.status ? 1 : 0] as const),
    ),
  )
  gauge('rows', 'Rows of a view.', ({ status }) => status.rows)
  gauge('state_bytes', 'What they take in memory.', ({ status }) => status.stateBytes)
  gauge('position', 'Position of the last record applied.', ({ status }) => status.position)
  gauge('age_seconds', 'Time for which changes may have happened that a view does not show.', ({ live, status }) =>
    status.status === 'stopped' ? null : seconds(reads.freshness([live]).ageMs),
  )
  gauge('dead_letters', 'Calls that a view has skipped, waiting.', ({ status }) => status.deadLetters?.count)
}
