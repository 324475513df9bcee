// A range as lines of JSON, as many as there are, in bounded memory: of the past from one fold, at one cut; of the present page by page,
// each at a cut of its own. A last line ends it, so that one that was cut short is noticed.
import type { At, RangeQuery, RangeRow } from '../projections/index.ts'
import { planRange } from '../projections/index.ts'
import type { AgeLimit } from './age-waits.ts'
import { RANGE_PAGE_MAX } from './limits.ts'
import { readRange } from './ranges.ts'
import type { Freshness, Reads, ServedView } from './reads.ts'
import { freshnessJson } from './routes-reads.ts'
import type { Viewer } from './security/viewer.ts'

export const NDJSON_TYPE = 'application/x-ndjson; charset=utf-8'

export const rowJson = ({ writeKey, writeValue }: ServedView, { key, value }: RangeRow): string =>
  `{"key":${writeKey(key)},"value":${writeValue(value)}}`

export interface LinesOptions {
  /** Rows to give; undefined: all there are. */
  readonly limit: number | undefined
  readonly at: At | undefined
  readonly timeoutMs: number
  readonly sources: boolean
  readonly age: AgeLimit | undefined
  readonly viewer: Viewer | undefined
  /** Ends what is done before the first line. */
  readonly signal: AbortSignal
}

/** Resolves when the first rows are read: what is wrong until then is an answer of its own. @throws as `readRange` */
export async function rangeLines(
  reads: Reads,
  served: ServedView,
  query: RangeQuery,
  options: LinesOptions,
): Promise<AsyncIterable<string>> {
  return options.at === undefined
    ? live(reads, served, query, options)
    : past(reads, served, query, options, options.at)
}

const linesOf = (served: ServedView, rows: readonly RangeRow[]): string =>
  rows.map(row => `${rowJson(served, row)}\n`).join('')

/** @param from position of the first page, where that is another one */
const endLine = (freshness: Freshness, rows: number, from?: string): string => {
  const since = from === undefined || from === freshness.position ? '' : `,"from":"${from}"`
  return `{"end":true,"rows":${rows},${freshnessJson(freshness)}${since}}\n`
}

async function live(
  reads: Reads,
  served: ServedView,
  query: RangeQuery,
  { limit = Number.POSITIVE_INFINITY, timeoutMs, sources, age, viewer, signal }: LinesOptions,
): Promise<AsyncIterable<string>> {
  const { live } = served
  const page = (cursor: string | undefined, done: number) =>
    readRange(
      reads,
      live,
      cursor === undefined ? query : { ...query, cursor },
      { most: Math.min(RANGE_PAGE_MAX, limit - done), timeoutMs, age },
      viewer,
    )
  signal.throwIfAborted()
  const first = await page(query.cursor, 0)
  return (async function* () {
    let done = 0
    let read = first
    for (;;) {
      done += read.rows.length
      if (read.rows.length > 0) yield linesOf(served, read.rows)
      if (read.cursor === null || done >= limit) break
      read = await page(read.cursor, done)
    }
    const positions = sources ? await reads.sourcePositions([live], read.position) : undefined
    const freshness = reads.freshness([live], { ...read, ...(positions ? { sources: positions } : {}) })
    yield endLine(freshness, done, String(first.position))
  })()
}

async function past(
  reads: Reads,
  served: ServedView,
  query: RangeQuery,
  { limit = Number.POSITIVE_INFINITY, sources, viewer, signal }: LinesOptions,
  at: At,
): Promise<AsyncIterable<string>> {
  const { live } = served
  const filter = viewer?.filter(live)
  const { range } = planRange(live, query)
  const rows = await reads.engine.past.rangeRows(live.name, range, at, { signal })
  return (async function* () {
    let done = 0
    try {
      for await (const batch of rows) {
        const seen = filter === undefined ? batch : batch.filter(({ key, value }) => filter(value, key))
        const taken = seen.slice(0, limit - done)
        done += taken.length
        if (taken.length > 0) yield linesOf(served, taken)
        if (done >= limit) break
      }
    } finally {
      rows.close()
    }
    const positions = sources ? await reads.sourcePositions([live], rows.position) : undefined
    const { position, final } = rows
    const freshness = reads.freshness([live], {
      position,
      final,
      past: true,
      ...(positions ? { sources: positions } : {}),
    })
    yield endLine(freshness, done)
  })()
}
