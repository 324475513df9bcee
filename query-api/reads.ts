// The read service, for HTTP and for clients in this process: waits for tokens, waits for a cut, then reads
// synchronously. Everything of one answer is read between two yields, so it is of one position.
import { fail, type Log, type SourceConnector, type ValueType } from '../core/index.ts'
import type { Engine, LiveView } from '../projections/index.ts'
import { AgeTracker } from './age.ts'
import { compileWriter, type JsonWriter, wireTypes } from './json-writer.ts'
import { AGE_SAMPLE_MS } from './limits.ts'
import { shuttingDown, type WaitFor, Waits } from './waits.ts'

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
}

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
  /** Reads that wait for a cut: an engine that stops amidst a transaction never gives it. */
  readonly #cutting = new Set<(reason: Error) => void>()
  #closed = false

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
    throw fail('VIEW_UNKNOWN', `there is no view '${name.slice(0, 100)}'`, {
      detail: `the application has ${[...this.engine.views.keys()].join(', ') || 'no views'}`,
    })
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

  /** True when reads may be done now, before the next await. */
  get atCut(): boolean {
    return this.engine.atCut
  }

  /**
   * Waits for a cut. The engine may be amidst its next transaction again before the caller's turn comes:
   * `while (!reads.atCut) await reads.cut()`, and read without a further await.
   * @throws SHUTTING_DOWN
   */
  cut(): Promise<void> {
    if (this.#closed) return Promise.reject(shuttingDown())
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#cutting.add(reject)
    this.engine
      .cut()
      .then(resolve, reject)
      .finally(() => this.#cutting.delete(reject))
    return promise
  }

  /** How fresh the views are, together, at this moment. */
  freshness(views: readonly LiveView[]): Freshness {
    const sources = views.length === 1 ? (views[0]?.sources ?? []) : [...new Set(views.flatMap(view => view.sources))]
    return {
      position: String(this.engine.position),
      ageMs: this.#ages.ageMs(sources),
      final: views.every(view => view.final),
    }
  }

  /** The answer of one row as JSON text, undefined where it is absent; to be called at a cut. */
  rowJson(served: ServedView, key: unknown): string | undefined {
    const row = served.live.get(key)
    if (row === undefined) return undefined
    const { live } = served
    return `{"key":${served.writeKey(key)},"value":${served.writeValue(row)},"position":"${this.engine.position}","ageMs":${this.#ages.ageMs(live.sources)},"final":${live.final}}`
  }

  /** Ends every waiting read with SHUTTING_DOWN, and refuses further ones. */
  close(): void {
    this.#closed = true
    clearInterval(this.#sampler)
    this.#waits.close()
    for (const reject of this.#cutting) reject(shuttingDown())
  }
}

/** Opens the read service of one running application. `close()` ends waiting reads. */
export const openReads = (options: ReadsOptions): Reads => new Reads(options)

/** A view's key as a described value: one column's type, or an object of the columns. */
export function keyType({ key }: Pick<LiveView, 'key'>): ValueType {
  const first = key.columns[0]
  return key.single && first ? first.type : { kind: 'object', fields: key.columns }
}
