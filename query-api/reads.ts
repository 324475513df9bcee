// The read service, for HTTP and for clients in this process: waits for tokens, then reads at one cut, without a promise where
// the rows are in this thread. Whatever gives rows to a client goes through here, where they are left out that it may not see.
import { type AnyRow, fail, type Log, type SourceConnector, type ValueType } from '../core/index.ts'
import {
  type At,
  type CutRead,
  type Engine,
  type Lineage,
  type LineageOptions,
  type LiveView,
  type PastOptions,
  type RowRequest,
  unknownView,
} from '../projections/index.ts'
import { AgeTracker } from './age.ts'
import { type AgeLimit, AgeWaits, youngEnough } from './age-waits.ts'
import { compileWriter, type JsonWriter, wireTypes } from './json-writer.ts'
import { AGE_SAMPLE_MS } from './limits.ts'
import { SeenRows, type ShownRows } from './security/seen-rows.ts'
import type { RowFilter, Viewer } from './security/viewer.ts'
import { type SubscriptionLimits, Subscriptions } from './subscriptions/subscriptions.ts'
import { tryBeforeWait, type WaitFor, Waits } from './waits.ts'

export interface ReadsOptions<L extends Log = Log> {
  readonly engine: Engine
  readonly log: L
  readonly sources: ReadonlyMap<string, SourceConnector>
  /** A monotone clock, milliseconds. Default: `performance.now`. */
  readonly nowMs?: () => number
  /** Bounds of subscriptions. */
  readonly subscriptions?: SubscriptionLimits
}

/** What every answer says besides its values. */
export interface Freshness {
  /** Position of the cut, as text. */
  readonly position: string
  /** Milliseconds for which changes may have happened that are not in it; null while not known (never level since the start). */
  readonly ageMs: number | null
  /** False while a source's snapshot is not complete: rows may be missing. */
  readonly final: boolean
  /** Where asked for: of each source that reaches what was read, up to where it is in the cut (an LSN, a GTID). */
  readonly sources?: SourcePositions
}

/** Source → its own position. */
export type SourcePositions = Readonly<Record<string, string>>

/** A view with what reading it over HTTP needs, compiled once. */
export interface ServedView {
  readonly live: LiveView
  readonly writeKey: JsonWriter
  readonly writeValue: JsonWriter
  /** What the header `mainstem-types` says of its values. */
  readonly types: Readonly<Record<string, string>>
}

export class Reads<L extends Log = Log> {
  readonly engine: Engine
  readonly log: L
  readonly sources: ReadonlyMap<string, SourceConnector>
  readonly #ages: AgeTracker
  readonly #waits: Waits
  readonly #ageWaits = new AgeWaits(views => this.freshness(views).ageMs)
  readonly #served = new Map<LiveView, ServedView>()
  readonly #sampler: NodeJS.Timeout
  readonly subscriptions: Subscriptions

  constructor(options: ReadsOptions<L>) {
    this.engine = options.engine
    this.log = options.log
    this.sources = options.sources
    this.#ages = new AgeTracker({ ...options, nowMs: options.nowMs ?? (() => performance.now()) })
    this.#waits = new Waits(options)
    this.subscriptions = new Subscriptions(this, options.subscriptions)
    this.#sampler = setInterval(() => this.#ages.sample(), AGE_SAMPLE_MS)
    this.#sampler.unref()
  }

  /** @throws VIEW_UNKNOWN */
  view(name: string): ServedView {
    const live = this.engine.views.get(name)
    if (live) return this.#served.get(live) ?? this.#serve(live)
    throw unknownView(name, this.engine.views.keys())
  }

  #serve(live: LiveView): ServedView {
    const served: ServedView = {
      live,
      writeKey: compileWriter(keyType(live)),
      writeValue: compileWriter(live.value),
      types: wireTypes(live.value),
    }
    this.#served.set(live, served)
    return served
  }

  /**
   * Resolves when all that the tokens stand for is in every view; at once where there are none.
   * @param views that are read then: what waiting would not mend is said before it
   * @throws TOKEN_MALFORMED, TOKEN_OTHER_LOG at once; NOT_REACHED when the time is up; SHUTTING_DOWN; OVERLOADED; VIEW_STOPPED
   */
  async wait(wait: WaitFor, views: readonly LiveView[] = []): Promise<void> {
    if (wait.after.length === 0) return
    for (const view of views) tryBeforeWait(() => view.check())
    await this.#waits.wait(wait)
  }

  /**
   * Reads rows of one cut.
   * @param viewer who asks; undefined: whoever may see all
   * @throws VIEW_STOPPED, VIEW_REBUILDING; FORBIDDEN
   */
  read(requests: readonly RowRequest[], viewer: Viewer | undefined): CutRead | Promise<CutRead> {
    const filters = this.#filters(requests, viewer)
    const read = this.engine.read(requests)
    if (filters === undefined) return read
    return read instanceof Promise ? read.then(rows => seen(rows, requests, filters)) : seen(read, requests, filters)
  }

  /** Rows as they were. @throws as `Past.read`; FORBIDDEN */
  async readPast(
    requests: readonly RowRequest[],
    at: At,
    viewer: Viewer | undefined,
    options?: PastOptions,
  ): Promise<CutRead> {
    const filters = this.#filters(requests, viewer)
    const read = await this.engine.past.read(requests, at, options)
    return filters === undefined ? read : seen(read, requests, filters)
  }

  /** The records that made a row, those left out before or after which it may not be seen. @throws as `Past.lineage`; FORBIDDEN */
  async lineage(
    { live }: ServedView,
    key: unknown,
    viewer: Viewer | undefined,
    options: LineageOptions,
  ): Promise<Lineage> {
    const filter = viewer?.filter(live)
    const lineage = await this.engine.past.lineage(live.name, key, options)
    if (filter === undefined) return lineage
    const isSeen = (row: AnyRow | null) => row === null || filter(row, key)
    return { ...lineage, steps: lineage.steps.filter(({ before, after }) => isSeen(before) && isSeen(after)) }
  }

  /** All rows of a view that may be seen. @throws as `Past.rows`; FORBIDDEN */
  async rows(
    { live }: ServedView,
    at: At | undefined,
    viewer: Viewer | undefined,
    options?: PastOptions,
  ): Promise<ShownRows> {
    const filter = viewer?.filter(live)
    const rows = await this.engine.past.rows(live.name, at, options)
    return filter === undefined ? rows : new SeenRows(rows, filter)
  }

  /** By request; undefined where all may be seen. @throws FORBIDDEN, VIEW_UNKNOWN */
  #filters(
    requests: readonly RowRequest[],
    viewer: Viewer | undefined,
  ): readonly (RowFilter | undefined)[] | undefined {
    if (viewer === undefined) return undefined
    const filters = requests.map(({ view }) => viewer.filter(this.view(view).live))
    return filters.some(filter => filter !== undefined) ? filters : undefined
  }

  /**
   * Reads until the answer is young enough, at least once.
   * @throws VIEW_TOO_OLD naming what it waits for; SHUTTING_DOWN; OVERLOADED
   */
  async readYoung<T extends Pick<CutRead, 'position' | 'final'>>(
    read: () => T | Promise<T>,
    views: readonly LiveView[],
    { maxAgeMs, waitMs = 0, signal }: AgeLimit,
  ): Promise<T> {
    const untilMs = performance.now() + waitMs
    for (;;) {
      const cut = await read()
      const { ageMs } = this.freshness(views, cut)
      if (youngEnough(ageMs, maxAgeMs)) return cut
      if (performance.now() >= untilMs) throw this.#tooOld(views, ageMs, maxAgeMs)
      await this.#ageWaits.wait(views, maxAgeMs, untilMs, signal)
    }
  }

  #tooOld(views: readonly LiveView[], ageMs: number | null, maxAgeMs: number) {
    const { engine, log } = this
    const position = String(engine.position)
    const late = new Set(views.flatMap(view => view.sources))
    const waitingFor = [...late].flatMap(name => {
      const status = this.sources.get(name)?.status()
      if (!status || youngEnough(status.ageMs, maxAgeMs)) return []
      const { ageMs } = status
      return [{ source: name, ageMs, waitingFor: status.waitingFor ?? status.error?.message ?? status.state }]
    })
    const parts = waitingFor.map(each => `source ${each.source}: ${ageText(each.ageMs)} (${each.waitingFor})`)
    if (engine.position < log.end) parts.push(`the views: at ${position}, the log ends at ${log.end}`)
    return fail('VIEW_TOO_OLD', `the answer would be older than ${maxAgeMs} ms`, {
      detail: [`it is ${ageText(ageMs)}`, ...parts].join('; '),
      hint: 'ask again, give a larger maxAgeMs, or a timeoutMs to wait for so long',
      data: { ageMs, maxAgeMs, position, waitingFor },
    })
  }

  /**
   * How fresh an answer about views is: what was read of them, or, without that, how they are at this moment. The past has no age.
   */
  freshness(
    views: readonly LiveView[],
    read?: Pick<CutRead, 'position' | 'final'> & { readonly past?: boolean; readonly sources?: SourcePositions },
  ): Freshness {
    const sources = views.length === 1 ? (views[0]?.sources ?? []) : [...new Set(views.flatMap(view => view.sources))]
    const position = read?.position ?? this.engine.position
    return {
      position: String(position),
      ageMs: read?.past ? null : this.#ages.ageMs(sources, position),
      final: read?.final ?? views.every(view => view.final),
      ...(read?.sources ? { sources: read.sources } : {}),
    }
  }

  /**
   * The cut as a vector: for each source that reaches the views, the position up to which all of it, and nothing more, is in the log
   * up to there. A source of which nothing was read yet is missing.
   */
  async sourcePositions(views: readonly LiveView[], position: number): Promise<SourcePositions> {
    const marks = await this.log.marksAt(position)
    const positions: Record<string, string> = {}
    for (const name of new Set(views.flatMap(view => view.sources))) {
      const mark = marks.get(name)
      if (mark) positions[name] = mark.position
    }
    return positions
  }

  /** Reads that wait, for tokens or for a younger answer. */
  get waiting(): number {
    return this.#waits.size + this.#ageWaits.size
  }

  /** Ends every waiting read and every subscription with SHUTTING_DOWN, and refuses further ones. */
  close(): void {
    clearInterval(this.#sampler)
    this.#waits.close()
    this.#ageWaits.close()
    this.subscriptions.close()
  }
}

function seen(read: CutRead, requests: readonly RowRequest[], filters: readonly (RowFilter | undefined)[]): CutRead {
  const isSeen = (row: AnyRow, n: number) => filters[n]?.(row, requests[n]?.key) ?? true
  return { ...read, rows: read.rows.map((row, n) => (row !== undefined && isSeen(row, n) ? row : undefined)) }
}

const ageText = (ageMs: number | null): string => (ageMs === null ? 'of an age not known' : `${ageMs} ms old`)

/** Opens the read service of one running application. `close()` ends waiting reads. */
export const openReads = <L extends Log>(options: ReadsOptions<L>): Reads<L> => new Reads(options)

/** A view's key as a described value: one column's type, or an object of the columns. */
export function keyType({ key }: Pick<LiveView, 'key'>): ValueType {
  const first = key.columns[0]
  return key.single && first ? first.type : { kind: 'object', fields: key.columns }
}
