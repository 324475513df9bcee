// Reads of the past: what is asked for, at which cut, and what is known of it already. What it takes is bounded: so many at a time,
// so much memory, so many records; each may be ended.
import { type AnyRow, createRowCodec, fail, type MainstemError } from '../../core/index.ts'
import { sourcesByView } from '../application.ts'
import type { CutRead, RowRequest, ViewRow } from '../engine.ts'
import type { EntryRange } from '../indexes/entry-range.ts'
import { mergedRows, type RowsOfShard } from '../indexes/merge.ts'
import type { RangeRead, RangeRequest } from '../indexes/range-read.ts'
import { KEY_ORDER } from '../indexes/view-indexes.ts'
import type { Scheduler } from '../shards/scheduler.ts'
import type { KeyId } from '../state/keys.ts'
import { StateMemory } from '../state/memory.ts'
import { unknownView } from '../unknown-view.ts'
import { FoldedView } from '../view.ts'
import { CompleteAt } from './complete-at.ts'
import { Cuts } from './cut.ts'
import { atAhead } from './errors.ts'
import { Gate } from './gate.ts'
import { Histories } from './histories.ts'
import { LineageObserver, type StepsFound, type StepsWanted, stepsOf } from './lineage.ts'
import { Pace } from './pace.ts'
import type { At, AtCut, Lineage, LineageOptions, LineageStep, Past, PastOptions, RangeRows, ViewRows } from './past.ts'
import { type FoldsHost, PastFolds, setOf, type Work } from './past-folds.ts'
import { rowsInOrder } from './range-rows.ts'
import { foldedRows, liveRows } from './rows.ts'
import { TouchIndex } from './touch-index.ts'

/** Folded at the same time; each may take a quarter of the memory that the live views leave. */
const AT_ONCE_MAX = 2
const EXPORTS_MAX = 2
/** Of the present in an order: what changes is held for each. */
const ORDERS_MAX = 8
const WAITING_MAX = 256
const ALL_BY_KEY: EntryRange = { index: KEY_ORDER, from: undefined, to: undefined, descending: false }
/** What reads of the past need of the engine. */
export interface PastHost extends FoldsHost {
  /** Folder of the touch index. */
  readonly path: string
  /** Of the live views: what they leave is used. */
  readonly memory: StateMemory
  readonly scheduler: Scheduler
  readonly sliceMs: number
  readonly folded: readonly FoldedView[]
  /** Whether their rows are in this thread. */
  readonly rowsHere: boolean
  readonly position: number
  /** Calls back at the next cut. @throws why views do not go on */
  whenAtCut<T>(begin: () => T): Promise<Awaited<T>>
  /** Rows of a view in an order as they are at the cut that is now, of each shard. */
  openOrder(view: FoldedView, range: EntryRange): readonly RowsOfShard[]
  /** @throws VIEW_REBUILDING, VIEW_STOPPED */
  checkReadable(view: string): void
  isComplete(source: string): boolean
  /** Where a savepoint of this log stands. @throws SAVEPOINT_UNKNOWN, SAVEPOINT_NAME_INVALID, SAVEPOINT_UNUSABLE */
  savepointPosition(name: string): Promise<number>
}

/** What was read, and, where it was saved there, sources whose snapshot was complete. */
interface Found {
  readonly rows: readonly (AnyRow | undefined)[]
  readonly complete: readonly string[] | undefined
}

export class PastReads implements Past {
  readonly #host: PastHost
  readonly #sources: ReadonlyMap<string, readonly string[]>
  /** For keys and routes: nothing is folded into them. */
  readonly #models: ReadonlyMap<string, FoldedView>
  readonly #folds: PastFolds
  readonly #histories = new Histories()
  readonly #complete: CompleteAt
  readonly #cuts: Cuts
  readonly #gate = new Gate(AT_ONCE_MAX, WAITING_MAX)
  readonly #exports = new Gate(EXPORTS_MAX, WAITING_MAX)
  readonly #orders = new Gate(ORDERS_MAX, WAITING_MAX)
  readonly #stopping = new AbortController()

  constructor(host: PastHost) {
    this.#host = host
    const { log, parts, fs, path, fingerprint } = host
    this.#sources = sourcesByView(parts)
    const none = new StateMemory(0)
    const views = parts.projections.map(each => new FoldedView(each, { position: 0, timeMs: 0 }, none))
    this.#models = new Map(views.map(view => [view.name, view]))
    const index = new TouchIndex({ log, views, fs, path, fingerprint })
    this.#folds = new PastFolds(host, this.#models, index)
    this.#complete = new CompleteAt(log, index)
    this.#cuts = new Cuts(log)
  }

  read(requests: readonly RowRequest[], at: At, { signal }: PastOptions = {}): Promise<CutRead> {
    const views = requests.map(({ view }) => view)
    return this.#gate.run(async () => {
      const work = await this.#begin(at, views, signal)
      const [first, ...more] = requests
      const { rows, complete } =
        first !== undefined && more.length === 0
          ? await this.#readOne(first, work)
          : await this.#readAll(requests, work)
      return { rows, ...(await this.#atCut(views, work, complete)) }
    }, this.#signal(signal))
  }

  async #readOne({ view, key }: RowRequest, work: Work): Promise<Found> {
    const id = this.#idOf(view, key)
    const known = this.#histories.upTo(view, id, work.cut)
    if (known !== undefined) return { rows: [known.at(-1)?.after ?? undefined], complete: undefined }
    const observer = new LineageObserver({ view, id, before: 0, field: undefined, limit: 0 }, this.#models)
    const held = await this.#folds.rows(new Map([[view, new Set([this.#hashOf(view, key)])]]), work, observer)
    try {
      if (held.observed) this.#keep(view, id, observer, work)
      return { rows: [held.views.get(view)!.get(key)], complete: held.complete }
    } finally {
      held.end()
    }
  }

  #keep(view: string, id: KeyId, { whole }: LineageObserver, { cut }: Work): void {
    // Where rows go by themselves, the last record does not say what is there.
    const expires = this.#folds.closure([view]).some(({ name }) => this.#models.get(name)?.expires)
    if (whole !== undefined && !expires) this.#histories.keep(view, id, { steps: whole, upTo: cut })
  }

  async #readAll(requests: readonly RowRequest[], work: Work): Promise<Found> {
    const keys = new Map<string, Set<number>>()
    for (const { view, key } of requests) setOf(keys, view).add(this.#hashOf(view, key))
    const held = await this.#folds.rows(keys, work)
    try {
      return { rows: requests.map(({ view, key }) => held.views.get(view)!.get(key)), complete: held.complete }
    } finally {
      held.end()
    }
  }

  lineage(view: string, key: unknown, options: LineageOptions): Promise<Lineage> {
    const { at, limit, before = Number.POSITIVE_INFINITY, field, signal } = options
    return this.#gate.run(async () => {
      const work = await this.#begin(at ?? { position: this.#host.position }, [view], signal)
      const found = await this.#steps(view, key, { before, field, limit }, work)
      const steps = await this.#sequenced(found.steps, work.pace)
      return { ...found, steps, ...(await this.#atCut([view], work, undefined)) }
    }, this.#signal(signal))
  }

  async #sequenced(steps: readonly LineageStep[], pace: Pace): Promise<readonly LineageStep[]> {
    const { log } = this.#host
    const found: LineageStep[] = []
    for (const step of steps) {
      const { position } = step
      const known = position > log.base.changedTo
      found.push({ ...step, sequence: known ? position - (await this.#cuts.at(position - 1, pace)) : null })
    }
    return found
  }

  async #steps(view: string, key: unknown, wanted: StepsWanted, work: Work): Promise<StepsFound> {
    const id = this.#idOf(view, key)
    const known = this.#histories.upTo(view, id, work.cut)
    if (known !== undefined) return stepsOf(known, wanted)
    const keys = new Map([[view, new Set([this.#hashOf(view, key)])]])
    const observer = new LineageObserver({ view, id, ...wanted }, this.#models)
    await this.#folds.observe(keys, work, observer)
    this.#keep(view, id, observer, work)
    return observer.result()
  }

  range({ view, range, most, signal }: RangeRequest, at: At): Promise<RangeRead> {
    return this.#gate.run(async () => {
      const { held, found, cut } = await this.#inOrder(view, range, at, signal)
      try {
        const page = found.page(most)
        return { ...cut, ...page }
      } finally {
        held.end()
      }
    }, this.#signal(signal))
  }

  async rangeRows(
    view: string,
    range: EntryRange,
    at: At | undefined,
    { signal }: PastOptions = {},
  ): Promise<RangeRows> {
    this.#check(view)
    if (at === undefined) return this.#liveOrder(view, range, signal)
    const leave = await this.#exports.enter(this.#signal(signal))
    try {
      const { held, found, cut, pace } = await this.#inOrder(view, range, at, signal)
      const close = () => {
        held.end()
        leave()
      }
      return { ...cut, close, [Symbol.asyncIterator]: () => found.all(pace, close) }
    } catch (error) {
      leave()
      throw error
    }
  }

  /** Folds a view, and puts its rows in order. */
  async #inOrder(view: string, range: EntryRange, at: At, signal: AbortSignal | undefined) {
    const work = await this.#begin(at, [view], signal)
    const held = await this.#folds.whole(view, work)
    try {
      const found = await rowsInOrder(held.views.get(view)!, range, work)
      return { held, found, cut: await this.#atCut([view], work, held.complete), pace: work.pace }
    } catch (error) {
      held.end()
      throw error
    }
  }

  async rows(view: string, at: At | undefined, { signal }: PastOptions = {}): Promise<ViewRows> {
    this.#check(view)
    const host = this.#host
    if (at === undefined && !host.rowsHere) return this.#liveOrder(view, ALL_BY_KEY, signal)
    const leave = await this.#exports.enter(this.#signal(signal))
    try {
      if (at === undefined) return await this.#liveRows(view, leave, signal)
      const work = await this.#begin(at, [view], signal)
      const held = await this.#folds.whole(view, work)
      const end = () => {
        held.end()
        leave()
      }
      try {
        return foldedRows(held, view, await this.#atCut([view], work, held.complete), work.pace, end)
      } catch (error) {
        end()
        throw error
      }
    } catch (error) {
      leave()
      throw error
    }
  }

  #liveRows(name: string, leave: () => void, signal: AbortSignal | undefined): Promise<ViewRows> {
    return this.#host.whenAtCut(() => {
      const { view, cut } = this.#now(name)
      return liveRows(view, cut, this.#pace(signal), leave)
    })
  }

  async #liveOrder(name: string, range: EntryRange, signal: AbortSignal | undefined): Promise<ViewRows> {
    const ends = this.#signal(signal)
    const leave = await this.#orders.enter(ends)
    try {
      return await this.#host.whenAtCut(() => {
        const { view, cut } = this.#now(name)
        const shards = this.#host.openOrder(view, range)
        const close = () => {
          for (const shard of shards) shard.end()
          leave()
        }
        return {
          ...cut,
          rows: view.size,
          close,
          [Symbol.asyncIterator]: () => this.#ordered(view, shards, range, ends, close),
        }
      })
    } catch (error) {
      leave()
      throw error
    }
  }

  async *#ordered(
    view: FoldedView,
    shards: readonly RowsOfShard[],
    range: EntryRange,
    signal: AbortSignal,
    close: () => void,
  ): AsyncGenerator<readonly ViewRow[]> {
    try {
      for await (const rows of mergedRows(shards, range, view.key, createRowCodec(view.value))) {
        signal.throwIfAborted()
        yield rows
        // Whoever takes them has done so by now: others have their turn before the next ones.
        await this.#host.scheduler.yield()
      }
    } finally {
      close()
    }
  }

  /** A view at the cut that is now. */
  #now(name: string): { readonly view: FoldedView; readonly cut: AtCut } {
    const host = this.#host
    host.checkReadable(name)
    const sources = this.#sources.get(name) ?? []
    const cut = { position: host.position, final: sources.every(source => host.isComplete(source)) }
    return { view: host.folded.find(view => view.name === name)!, cut }
  }

  /** Ends all that runs, and takes no more. An export ends when its reader looks again. */
  async stop(): Promise<void> {
    this.#stopping.abort(fail('SHUTTING_DOWN', 'the application is shutting down'))
    await this.#gate.idle()
  }

  #signal(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#stopping.signal]) : this.#stopping.signal
  }

  #pace(signal: AbortSignal | undefined): Pace {
    return new Pace(this.#host.scheduler, this.#host.sliceMs, this.#signal(signal))
  }

  #check(view: string): void {
    if (this.#models.has(view)) return
    throw unknownView(view, this.#models.keys())
  }

  #hashOf(view: string, key: unknown): number {
    return this.#models.get(view)!.table.keys.hashOf(this.#idOf(view, key))
  }

  #idOf(view: string, key: unknown) {
    return this.#models.get(view)!.table.keys.idOf(key)
  }

  async #begin(at: At, views: readonly string[], signal: AbortSignal | undefined): Promise<Work> {
    for (const view of views) this.#check(view)
    const pace = this.#pace(signal)
    const { cut, isEnd } = await this.#cutOf(at, views, pace)
    for (const view of views) this.#checkStopped(view, cut)
    return { pace, cut, isEnd, memory: this.#host.memory.half().half() }
  }

  async #cutOf(at: At, views: readonly string[], pace: Pace): Promise<Pick<Work, 'cut' | 'isEnd'>> {
    const { log, bases } = this.#host
    const position = await this.#positionOf(at)
    if ('savepoint' in at) return { cut: position, isEnd: true }
    if (position > log.base.changedTo) return { cut: await this.#cuts.at(position, pace), isEnd: true }
    // The ends of transactions may be gone with removed history: what is saved stands at one.
    const models = views.map(view => this.#models.get(view)!)
    if (await bases.standsAt(position, models)) return { cut: position, isEnd: true }
    const cut = await this.#cuts.at(position, pace)
    return { cut, isEnd: cut === position }
  }

  async #positionOf(at: At): Promise<number> {
    const { log } = this.#host
    if ('savepoint' in at) return this.#host.savepointPosition(at.savepoint)
    if ('position' in at) {
      if (at.position > log.end) throw atAhead(`position ${at.position}`, log.end)
      return at.position
    }
    if (at.timeMs > Date.now()) throw atAhead(new Date(at.timeMs).toISOString(), log.end)
    return log.positionAt(at.timeMs)
  }

  /** A view that has stopped has no rows from there on. */
  #checkStopped(name: string, cut: number): void {
    const live = this.#host.folded.find(view => view.name === name)
    const error: MainstemError | undefined = live?.error
    if (live && error && error.code !== 'SHUTTING_DOWN' && cut > live.position) {
      this.#folds.checkHorizon([name], { cut })
      throw fail('VIEW_STOPPED', `view '${name}' has stopped at position ${live.position}`, {
        detail: `${error.code}: ${error.message}${error.detail ? ` (${error.detail})` : ''}`,
        hint: 'read at that position or before it',
      })
    }
  }

  /** @param complete sources whose snapshot was complete there, where that is known */
  async #atCut(views: readonly string[], { cut, pace }: Work, complete: readonly string[] | undefined): Promise<AtCut> {
    const sources = [...new Set(views.flatMap(view => this.#sources.get(view) ?? []))]
    if (complete !== undefined) return { position: cut, final: sources.every(source => complete.includes(source)) }
    return { position: cut, final: await this.#complete.of(sources, cut, pace) }
  }
}
