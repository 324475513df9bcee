// A range as lines of JSON, as many as there are, in bounded memory, all at one cut: of the past from one fold, of the present while views
// go on. A last line ends it, so that one that was cut short is noticed.
import type { At, RangeQuery, ViewRow } from '../projections/index.ts'
import type { AgeLimit } from './age-waits.ts'
import { rowJson } from './export.ts'
import { RANGE_PAGE_MAX } from './limits.ts'
import { planOf, type RangePage, readRange } from './ranges.ts'
import type { Freshness, Reads, ServedView } from './reads.ts'
import { freshnessJson } from './routes-reads.ts'
import type { Viewer } from './security/viewer.ts'

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

export interface RangeLines extends AsyncIterable<string> {
  /** Ends it before all was read, also where nothing was. */
  close(): void
}

/** Resolves when the first rows are read: what is wrong until then is an answer of its own. @throws as `readRange` */
export async function rangeLines(
  reads: Reads,
  served: ServedView,
  query: RangeQuery,
  options: LinesOptions,
): Promise<RangeLines> {
  const { limit, timeoutMs, age, at, viewer, signal } = options
  if (at === undefined) {
    // It waits for an order that is being built, and for an answer that is young enough. A range that is a page is that page.
    const most = Math.min(RANGE_PAGE_MAX, limit ?? RANGE_PAGE_MAX)
    const page = await readRange(reads, served.live, query, { most, timeoutMs, age, signal }, viewer)
    if (page.cursor === null || page.rows.length === limit) {
      const lines = linesOfPage(reads, served, page, options)
      return { [Symbol.asyncIterator]: () => lines, close: () => {} }
    }
  }
  return linesOfAll(reads, served, query, options)
}

async function* linesOfPage(
  reads: Reads,
  served: ServedView,
  page: RangePage,
  { sources }: LinesOptions,
): AsyncGenerator<string> {
  if (page.rows.length > 0) yield linesOf(served, page.rows)
  yield endLine(await freshnessOf(reads, served, page, sources), page.rows.length)
}

async function freshnessOf(
  reads: Reads,
  { live }: ServedView,
  read: Parameters<Reads['freshness']>[1] & { readonly position: number },
  sources: boolean,
): Promise<Freshness> {
  return reads.freshness(
    [live],
    sources ? { ...read, sources: await reads.sourcePositions([live], read.position) } : read,
  )
}

const linesOf = (served: ServedView, rows: readonly ViewRow[]): string =>
  rows.map(row => `${rowJson(served, row)}\n`).join('')

const endLine = (freshness: Freshness, rows: number): string =>
  `{"end":true,"rows":${rows},${freshnessJson(freshness)}}\n`

async function linesOfAll(
  reads: Reads,
  served: ServedView,
  query: RangeQuery,
  { limit = Number.POSITIVE_INFINITY, at, sources, viewer, signal }: LinesOptions,
): Promise<RangeLines> {
  const { live } = served
  const filter = viewer?.filter(live)
  const { range } = planOf(live, query, filter)
  const rows = await reads.engine.past.rangeRows(live.name, range, at, { signal })
  const read = async function* () {
    let done = 0
    for await (const batch of rows) {
      const seen = filter === undefined ? batch : batch.filter(({ key, value }) => filter(value, key))
      const taken = seen.slice(0, limit - done)
      done += taken.length
      if (taken.length > 0) yield linesOf(served, taken)
      if (done >= limit) break
    }
    const { position, final } = rows
    yield endLine(await freshnessOf(reads, served, { position, final, past: at !== undefined }, sources), done)
  }
  return { [Symbol.asyncIterator]: read, close: () => rows.close() }
}
