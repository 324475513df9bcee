// The read service, for HTTP and for clients in this process: waits for tokens, then reads at one cut, without a promise where
// the rows are in this thread.
import type { Log, SourceConnector, ValueType } from '../core/index.ts'
import { type CutRead, type Engine, type LiveView, type RowRequest, unknownView } from '../projections/index.ts'
import { AgeTracker } from './age.ts'
import { compileWriter, type JsonWriter, wireTypes } from './json-writer.ts'
import { AGE_SAMPLE_MS } from './limits.ts'
import { type WaitFor, Waits } from './waits.ts'

export interface ReadsOptions {
  readonly engine: Engine
  readonly log: Log
  readonly sources: ReadonlyMap<string, SourceConnector>
  /** A monotone clock, milliseconds. Default: `performance.now`. */
  readonly nowMs?: () => number
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

export class Reads {
  readonly engine: Engine
  readonly log: Log
  readonly sources: ReadonlyMap<string, SourceConnector>
  readonly #ages: AgeTracker
  readonly #waits: Waits
  readonly #served = new Map<LiveView, ServedView>()
  readonly #sampler: NodeJS.Timeout

  constructor(options: ReadsOptions) {
    this.engine = options.engine
    this.log = options.log
    this.sources = options.sources
    this.#ages = new AgeTracker({ ...options, nowMs: options.nowMs ?? (() => performance.now()) })
    this.#waits = new Waits(options)
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
   * Resolves when all that the tokens stand for is in every view.
   * @throws TOKEN_MALFORMED, TOKEN_OTHER_LOG at once; NOT_REACHED when the time is up; SHUTTING_DOWN; OVERLOADED
   */
  wait(wait: WaitFor): Promise<void> {
    return this.#waits.wait(wait)
  }

  /** Reads rows of one cut. @throws VIEW_STOPPED, VIEW_REBUILDING */
  read(requests: readonly RowRequest[]): CutRead | Promise<CutRead> {
    return this.engine.read(requests)
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

  /** Ends every waiting read with SHUTTING_DOWN, and refuses further ones. */
  close(): void {
    clearInterval(this.#sampler)
    this.#waits.close()
  }
}

/** Opens the read service of one running application. `close()` ends waiting reads. */
export const openReads = (options: ReadsOptions): Reads => new Reads(options)

/** A view's key as a described value: one column's type, or an object of the columns. */
export function keyType({ key }: Pick<LiveView, 'key'>): ValueType {
  const first = key.columns[0]
  return key.single && first ? first.type : { kind: 'object', fields: key.columns }
}
