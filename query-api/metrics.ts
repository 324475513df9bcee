// Metrics for Prometheus, by prom-client: gauges of what statuses say, read when they are asked for; requests; and what the process itself
// is, which is measured once, however many servers it has. Requests are counted by a number each, and only some are timed: hearing of the
// end of each answer would cost a point read a tenth of its time.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ErrorCode, SourceState } from '../core/index.ts'
import type { SourceRates, SourceWire } from './rates.ts'
import type { Reads } from './reads.ts'

type Labels = Readonly<Record<string, string>>
/** Those without a value are left out. */
type Samples = Iterable<readonly [labels: Labels, value: number | null | undefined]>

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
/** Seconds. A row is answered in well under a millisecond, a read that waits in seconds. */
const BUCKETS = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60]

const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1_000)

let ofProcess: Registry | undefined

/** Memory, processor time, the event loop's lag, garbage collection. */
function processRegistry(): Registry {
  if (ofProcess) return ofProcess
  ofProcess = new Registry()
  collectDefaultMetrics({ register: ofProcess })
  return ofProcess
}

/** One in so many requests of a call is timed, the first one too. */
const SAMPLED = 16

interface Call {
  readonly method: string
  readonly route: string
  count: number
}

/**
 * Counts a request, begun at `startedMs`, by default now. Where its time is measured, it gives what is to be called at the end of its answer.
 */
export type RequestCount = (startedMs?: number) => ((status: number) => void) | undefined

export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE
  readonly #registry = new Registry()
  readonly #process = processRegistry()
  readonly #durations: Histogram<'method' | 'route' | 'status'>
  readonly #calls: Call[] = []
  readonly #problems = new Map<ErrorCode, number>()

  constructor(reads: Reads, rates: SourceRates) {
    this.#addSources(() => [...reads.sources.values()].map(source => rates.wire(source)))
    this.#addLog(reads)
    this.#addViews(reads)
    this.#counter('mainstem_http_requests_total', 'Requests by call.', ['method', 'route'], () =>
      this.#calls.filter(({ count }) => count > 0).map(({ method, route, count }) => [{ method, route }, count]),
    )
    this.#counter(
      'mainstem_http_problems_total',
      'Answers that are problems, by code; absent rows are none.',
      ['code'],
      () => [...this.#problems].map(([code, count]) => [{ code }, count]),
    )
    this.#durations = new Histogram({
      name: 'mainstem_http_request_duration_seconds',
      help: `From a request to the end of its answer, of one in ${SAMPLED} of each call.`,
      labelNames: ['method', 'route', 'status'],
      buckets: BUCKETS,
      registers: [this.#registry],
    })
  }

  /** Counts the requests of routes; to be called before they are added. */
  watch(server: FastifyInstance): void {
    server.addHook('onRoute', route => {
      const call: Call = { method: String(route.method), route: route.url, count: 0 }
      this.#calls.push(call)
      const hook = (_: FastifyRequest, reply: FastifyReply, done: () => void) => {
        const { raw } = reply
        const ended = this.#count(call)
        if (ended) raw.once('close', () => ended(raw.statusCode))
        done()
      }
      route.onRequest = [hook, ...[route.onRequest ?? []].flat()] as NonNullable<typeof route.onRequest>
    })
  }

  /** Counts requests of a route that are answered in its place; to be called after it was added. */
  counterOf(method: string, url: string): RequestCount {
    const call = this.#calls.find(each => each.method === method && each.route === url)!
    return startedMs => this.#count(call, startedMs)
  }

  #count(call: Call, startedMs?: number): ReturnType<RequestCount> {
    if (call.count++ % SAMPLED !== 0) return undefined
    const fromMs = startedMs ?? performance.now()
    const { method, route } = call
    return status => this.#durations.observe({ method, route, status }, (performance.now() - fromMs) / 1_000)
  }

  /** An answer is a problem. */
  problem(code: ErrorCode): void {
    this.#problems.set(code, (this.#problems.get(code) ?? 0) + 1)
  }

  /** All metrics in the text format. */
  async text(): Promise<string> {
    const process = await this.#process.metrics()
    // What is not known has no sample: prom-client writes it as no number is written.
    return `${await this.#registry.metrics()}\n${process.replace(/^.* Nan$\n?/gm, '')}`
  }

  #gauge(name: string, help: string, labelNames: readonly string[], samples: () => Samples): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        if (labelNames.length === 0) this.remove()
        for (const [labels, value] of samples()) if (value !== null && value !== undefined) this.set(labels, value)
      },
    })
  }

  #counter(
    name: string,
    help: string,
    labelNames: readonly string[],
    samples: () => readonly (readonly [Labels, number])[],
  ): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, count] of samples()) this.inc(labels, count)
      },
    })
  }

  #addSources(sources: () => readonly SourceWire[]): void {
    const gauge = (name: string, help: string, value: (source: SourceWire) => number | null | undefined) =>
      this.#gauge(`mainstem_source_${name}`, help, ['source'], () =>
        sources().map(source => [{ source: source.name }, value(source)]),
      )
    this.#gauge(
      'mainstem_source_state',
      '1 for the state that a source is in.',
      ['source', 'technology', 'state'],
      () =>
        sources().flatMap(({ name, technology, state }) =>
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
    this.#counter('mainstem_source_changes_total', 'Row changes and events streamed since the start.', ['source'], () =>
      sources().map(({ name, changes }) => [{ source: name }, changes]),
    )
    gauge('changes_per_second', 'The same, in a second, of the last ten.', source => source.changesPerSecond)
    gauge('parked', 'Rows and events that their contracts refused.', source => source.parked)
    gauge('snapshot_rows', 'Rows that the snapshot under way has read.', ({ snapshot }) => snapshot?.rows)
    gauge('snapshot_rows_estimated', 'Rows that it is to read, about.', ({ snapshot }) => snapshot?.rowsEstimated)
    gauge('snapshot_rows_per_second', 'Rows that it reads in a second.', ({ snapshot }) => snapshot?.rowsPerSecond)
    this.#gauge('mainstem_source_error', '1 for the error that a source has now.', ['source', 'code'], () =>
      sources().flatMap(({ name, error }) => (error ? [[{ source: name, code: error.code }, 1] as const] : [])),
    )
  }

  #addLog({ log }: Reads): void {
    const one = (name: string, help: string, value: () => number | null) =>
      this.#gauge(`mainstem_log_${name}`, help, [], () => [[{}, value()]])
    this.#gauge('mainstem_log_state', '1 for the state that the log is in.', ['state'], () => {
      const { state } = log.status()
      return LOG_STATES.map(each => [{ state: each }, each === state ? 1 : 0] as const)
    })
    one('end', 'Position of the last durable record.', () => log.status().end)
    one('bytes', 'Bytes of its segment files.', () => log.status().bytes)
    one('bytes_left', 'Bytes that it still takes, where that is bounded.', () => log.status().bytesLeft)
    one('segments', 'Its segment files.', () => log.status().segments)
  }

  #addViews(reads: Reads): void {
    const views = () => [...reads.engine.views.values()].map(live => ({ live, status: live.status() }))
    type Each = ReturnType<typeof views>[number]
    const gauge = (name: string, help: string, value: (view: Each) => number | null | undefined) =>
      this.#gauge(`mainstem_view_${name}`, help, ['view'], () =>
        views().map(view => [{ view: view.live.name }, value(view)]),
      )
    this.#gauge('mainstem_view_state', '1 for the state that a view is in.', ['view', 'state'], () =>
      views().flatMap(({ live, status }) =>
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
}
