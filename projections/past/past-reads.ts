// Reads of the past: which views and keys have to be folded again for an answer, and no more. A key of a view is made of the
// records that the touch index names; where a view folds another, of the rows of that one which ever went to the key. Which
// these are is learnt by folding the other one in full, once. What it takes is bounded: so many at a time, so much memory,
// so many records; each may be ended.
import { type AnyRow, type FileSystem, fail, type Log, type MainstemError } from '../../core/index.ts'
import { type ApplicationParts, sourcesByView } from '../application.ts'
import type { CutRead, RowRequest } from '../engine.ts'
import type { ProjectionDefinition } from '../projection.ts'
import type { Scheduler } from '../shards/scheduler.ts'
import type { KeyId } from '../state/keys.ts'
import { StateMemory } from '../state/memory.ts'
import { unknownView } from '../unknown-view.ts'
import { FoldedView } from '../view.ts'
import { CompleteAt } from './complete-at.ts'
import { Cuts } from './cut.ts'
import { atAhead } from './errors.ts'
import { Evaluation, type EvaluationObserver } from './evaluation.ts'
import { Feeds } from './feeds.ts'
import { Gate } from './gate.ts'
import { Histories } from './histories.ts'
import { checkHorizon } from './horizon.ts'
import { LineageObserver, type StepsFound, type StepsWanted, stepsOf } from './lineage.ts'
import { Pace } from './pace.ts'
import type { At, AtCut, Lineage, LineageOptions, Past, PastOptions, ViewRows } from './past.ts'
import { restricted, type TakesKey } from './restrict.ts'
import { foldedRows, liveRows } from './rows.ts'
import { TouchIndex } from './touch-index.ts'

/** Folded at the same time; each may take a quarter of the memory that the live views leave. */
const AT_ONCE_MAX = 2
const EXPORTS_MAX = 2
const WAITING_MAX = 256
/** Records that go to the keys of one read. */
const TOUCHES_MAX = 1_000_000
/** Records of the log for a view that is folded in full. */
const RECORDS_MAX = 50_000_000

/** What reads of the past need of the engine. */
export interface PastHost {
  readonly log: Log
  readonly parts: ApplicationParts
  readonly fingerprint: string
  readonly fs: FileSystem
  /** Folder of the touch index. */
  readonly path: string
  /** Of the live views: what they leave is used. */
  readonly memory: StateMemory
  readonly scheduler: Scheduler
  readonly sliceMs: number
  readonly folded: readonly FoldedView[]
  /** Whether their rows are in this thread. Where they are in several, the present is folded like the past. */
  readonly rowsHere: boolean
  readonly position: number
  readonly atCut: boolean
  cut(): Promise<void>
  /** @throws VIEW_REBUILDING, VIEW_STOPPED */
  checkReadable(view: string): void
  isComplete(source: string): boolean
  continuedTo(view: string): number
  foldsWhatIsLeft(view: string): boolean
  /** Where a savepoint of this log stands. @throws SAVEPOINT_UNKNOWN, SAVEPOINT_NAME_INVALID, SAVEPOINT_UNUSABLE */
  savepointPosition(name: string): Promise<number>
}

type Hashes = ReadonlySet<number>

/** Which keys of which views are folded, and which views in full. */
interface Wanted {
  readonly keys: Map<string, Set<number>>
  readonly full: Set<string>
}

/** One answer's own: until when it works, and with what. */
interface Work {
  readonly pace: Pace
  readonly cut: number
  readonly memory: StateMemory
}

export class PastReads implements Past {
  readonly #host: PastHost
  readonly #definitions: ReadonlyMap<string, ProjectionDefinition>
  readonly #sources: ReadonlyMap<string, readonly string[]>
  /** For keys and routes: nothing is folded into them. */
  readonly #models: ReadonlyMap<string, FoldedView>
  readonly #index: TouchIndex
  readonly #feeds = new Feeds()
  readonly #histories = new Histories()
  readonly #complete: CompleteAt
  readonly #cuts: Cuts
  readonly #gate = new Gate(AT_ONCE_MAX, WAITING_MAX)
  readonly #exports = new Gate(EXPORTS_MAX, WAITING_MAX)
  readonly #stopping = new AbortController()

  constructor(host: PastHost) {
    this.#host = host
    const { log, parts, fs, path, fingerprint } = host
    this.#definitions = new Map(parts.projections.map(definition => [definition.name, definition]))
    this.#sources = sourcesByView(parts)
    const none = new StateMemory(0)
    const views = parts.projections.map(each => new FoldedView(each, { position: 0, timeMs: 0 }, none))
    this.#models = new Map(views.map(view => [view.name, view]))
    this.#index = new TouchIndex({ log, views, fs, path, fingerprint })
    this.#complete = new CompleteAt(log, this.#index)
    this.#cuts = new Cuts(log)
  }

  read(requests: readonly RowRequest[], at: At, { signal }: PastOptions = {}): Promise<CutRead> {
    const views = requests.map(({ view }) => view)
    return this.#gate.run(async () => {
      const work = await this.#begin(at, views, signal)
      const [first, ...more] = requests
      const rows =
        first !== undefined && more.length === 0
          ? [await this.#readOne(first, work)]
          : await this.#readAll(requests, work)
      return { rows, ...(await this.#atCut(views, work)) }
    }, this.#signal(signal))
  }

  async #readOne({ view, key }: RowRequest, work: Work): Promise<AnyRow | undefined> {
    const id = this.#idOf(view, key)
    const known = this.#histories.upTo(view, id, work.cut)
    if (known !== undefined) return known.at(-1)?.after ?? undefined
    const observer = new LineageObserver({ view, id, before: 0, field: undefined, limit: 0 }, this.#models)
    const evaluation = await this.#evaluate(new Map([[view, new Set([this.#hashOf(view, key)])]]), work, observer)
    try {
      if (evaluation.observed) this.#keep(view, id, observer, work)
      return evaluation.views.get(view)!.get(key)
    } finally {
      evaluation.end()
    }
  }

  #keep(view: string, id: KeyId, { whole }: LineageObserver, { cut }: Work): void {
    // Where rows go by themselves, the last record does not say what is there.
    const expires = this.#closure([view]).some(({ name }) => this.#models.get(name)?.expires)
    if (whole !== undefined && !expires) this.#histories.keep(view, id, { steps: whole, upTo: cut })
  }

  async #readAll(requests: readonly RowRequest[], work: Work): Promise<(AnyRow | undefined)[]> {
    const keys = new Map<string, Set<number>>()
    for (const { view, key } of requests) setOf(keys, view).add(this.#hashOf(view, key))
    const evaluation = await this.#evaluate(keys, work)
    try {
      return requests.map(({ view, key }) => evaluation.views.get(view)!.get(key))
    } finally {
      evaluation.end()
    }
  }

  lineage(view: string, key: unknown, options: LineageOptions): Promise<Lineage> {
    const { at, limit, before = Number.POSITIVE_INFINITY, field, signal } = options
    return this.#gate.run(async () => {
      const work = await this.#begin(at ?? { position: this.#host.position }, [view], signal)
      const steps = await this.#steps(view, key, { before, field, limit }, work)
      return { ...steps, ...(await this.#atCut([view], work)) }
    }, this.#signal(signal))
  }

  async #steps(view: string, key: unknown, wanted: StepsWanted, work: Work): Promise<StepsFound> {
    const id = this.#idOf(view, key)
    const known = this.#histories.upTo(view, id, work.cut)
    if (known !== undefined) return stepsOf(known, wanted)
    const keys = new Map([[view, new Set([this.#hashOf(view, key)])]])
    await this.#learnFeeds(keys, work)
    const observer = new LineageObserver({ view, id, ...wanted }, this.#models)
    const evaluation = await this.#evaluate(keys, work, observer)
    evaluation.end()
    this.#keep(view, id, observer, work)
    return observer.result()
  }

  async rows(view: string, at: At | undefined, { signal }: PastOptions = {}): Promise<ViewRows> {
    this.#check(view)
    const leave = await this.#exports.enter(this.#signal(signal))
    try {
      const host = this.#host
      if (at === undefined && host.rowsHere) return await this.#liveRows(view, leave, signal)
      if (at === undefined) host.checkReadable(view)
      const work = await this.#begin(at ?? { position: host.position }, [view], signal)
      const evaluation = await this.#evaluateFully(view, work)
      const end = () => {
        evaluation.end()
        leave()
      }
      try {
        return foldedRows(evaluation, view, await this.#atCut([view], work), work.pace, end)
      } catch (error) {
        end()
        throw error
      }
    } catch (error) {
      leave()
      throw error
    }
  }

  async #liveRows(name: string, leave: () => void, signal: AbortSignal | undefined): Promise<ViewRows> {
    const host = this.#host
    while (!host.atCut) await host.cut()
    host.checkReadable(name)
    const sources = this.#sources.get(name) ?? []
    const cut = { position: host.position, final: sources.every(source => host.isComplete(source)) }
    return liveRows(host.folded.find(view => view.name === name)!, cut, this.#pace(signal), leave)
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
    if (this.#definitions.has(view)) return
    throw unknownView(view, this.#definitions.keys())
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
    const cut = await this.#cuts.at(await this.#positionOf(at), pace)
    const { continuedTo, foldsWhatIsLeft, log } = this.#host
    checkHorizon(this.#closure(views), { log, from: 0, cut, continuedTo, foldsWhatIsLeft })
    for (const view of views) this.#checkStopped(view, cut)
    return { pace, cut, memory: this.#host.memory.half().half() }
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
    if (live && error && error.code !== 'SHUTTING_DOWN' && cut > live.position)
      throw fail('VIEW_STOPPED', `view '${name}' has stopped at position ${live.position}`, {
        detail: `${error.code}: ${error.message}${error.detail ? ` (${error.detail})` : ''}`,
        hint: 'read at that position or before it',
      })
  }

  async #atCut(views: readonly string[], { cut, pace }: Work): Promise<AtCut> {
    const sources = [...new Set(views.flatMap(view => this.#sources.get(view) ?? []))]
    return { position: cut, final: await this.#complete.of(sources, cut, pace) }
  }

  /** The definitions of views and of all that they fold, in order. */
  #closure(views: Iterable<string>): readonly ProjectionDefinition[] {
    const wanted = new Set(views)
    const all = this.#host.parts.projections
    for (const { name, ons } of all.toReversed())
      if (wanted.has(name)) for (const { input } of ons) wanted.add(input.name)
    return all.filter(({ name }) => wanted.has(name))
  }

  #inputViews(view: string): readonly string[] {
    const ons = this.#definitions.get(view)?.ons ?? []
    return ons.flatMap(({ input }) => (input.kind === 'projection' ? [input.name] : []))
  }

  /** What has to be folded for some keys of some views. */
  #wanted(keys: ReadonlyMap<string, Hashes>, cut: number): Wanted {
    const wanted: Wanted = { keys: new Map(), full: new Set() }
    for (const [view, hashes] of keys) this.#want(view, hashes, cut, wanted)
    for (const view of wanted.full) wanted.keys.delete(view)
    return wanted
  }

  #want(view: string, hashes: Hashes, cut: number, wanted: Wanted): void {
    for (const hash of hashes) setOf(wanted.keys, view).add(hash)
    const inputs = this.#inputViews(view)
    if (inputs.length === 0) return
    const feeds = this.#feeds.of(view, hashes, cut)
    if (feeds === undefined) for (const { name } of this.#closure(inputs)) wanted.full.add(name)
    else for (const input of inputs) this.#want(input, feeds.get(input) ?? new Set(), cut, wanted)
  }

  /** Folds what is wanted up to the cut. */
  async #evaluate(keys: ReadonlyMap<string, Hashes>, work: Work, observer?: EvaluationObserver): Promise<Evaluation> {
    const wanted = this.#wanted(keys, work.cut)
    const learning = new Learning(wanted, this.#models)
    const definitions = this.#closure(wanted.keys.keys()).map(definition => {
      const hashes = wanted.keys.get(definition.name)
      if (hashes === undefined) return definition
      return restricted(
        definition,
        this.#takes(definition.name, hashes, learning, () => evaluation.info.position, observer),
      )
    })
    const { log, parts } = this.#host
    const evaluation = new Evaluation(definitions, parts, { log, memory: work.memory, pace: work.pace })
    try {
      const target = observer && evaluation.views.get(observer.view)
      if (target) observer.begin(target)
      if (wanted.full.size > 0) await evaluation.foldTo(work.cut, RECORDS_MAX)
      else {
        const range = { after: 0, upTo: work.cut, most: TOUCHES_MAX }
        await evaluation.foldAt(await this.#index.positions(wanted.keys, range, work.pace), observer)
        await evaluation.expireAt(work.cut)
      }
      learning.done(this.#feeds, work.cut)
      return evaluation
    } catch (error) {
      evaluation.end()
      throw error
    }
  }

  #takes(
    view: string,
    hashes: Hashes,
    learning: Learning,
    position: () => number,
    observer: EvaluationObserver | undefined,
  ): TakesKey {
    const { keys } = this.#models.get(view)!.table
    return (key, on, inputKey) => {
      const hash = keys.hashOf(keys.idOf(key))
      if (!hashes.has(hash)) return false
      learning.note(view, hash, on, inputKey)
      observer?.goes(view, key, on, inputKey, position())
      return true
    }
  }

  /** Folds in full what has to be, so that nothing has: once for each of the views in between. @throws AT_TOO_FAR */
  async #learnFeeds(keys: ReadonlyMap<string, Hashes>, work: Work): Promise<void> {
    for (let left = this.#definitions.size; this.#wanted(keys, work.cut).full.size > 0; left--) {
      if (left === 0)
        throw fail('AT_TOO_FAR', 'too many rows of other views have gone to the row whose lineage is asked for')
      const evaluation = await this.#evaluate(keys, work)
      evaluation.end()
    }
  }

  async #evaluateFully(view: string, { cut, pace, memory }: Work): Promise<Evaluation> {
    const { log, parts } = this.#host
    const evaluation = new Evaluation(this.#closure([view]), parts, { log, memory, pace })
    try {
      await evaluation.foldTo(cut, RECORDS_MAX)
      return evaluation
    } catch (error) {
      evaluation.end()
      throw error
    }
  }
}

/** Notes which rows of views that are folded in full go to the wanted keys of others. */
class Learning {
  readonly #models: ReadonlyMap<string, FoldedView>
  /** View → its key → what feeds it. Only of views that fold another. */
  readonly #learnt = new Map<string, Map<number, Map<string, Set<number>>>>()

  constructor({ keys, full }: Wanted, models: ReadonlyMap<string, FoldedView>) {
    this.#models = models
    if (full.size === 0) return
    for (const [view, hashes] of keys) {
      const folds = models.get(view)!.definition.ons.some(({ input }) => input.kind === 'projection')
      if (folds) this.#learnt.set(view, new Map([...hashes].map(hash => [hash, new Map()])))
    }
  }

  note(view: string, hash: number, on: number, inputKey: unknown): void {
    const feeds = this.#learnt.get(view)?.get(hash)
    const { kind, name } = this.#models.get(view)!.definition.ons[on]!.input
    if (!feeds || kind !== 'projection') return
    const { keys } = this.#models.get(name)!.table
    setOf(feeds, name).add(keys.hashOf(keys.idOf(inputKey)))
  }

  done(feeds: Feeds, upTo: number): void {
    for (const [view, byHash] of this.#learnt)
      for (const [hash, hashes] of byHash) feeds.learn(view, hash, upTo, hashes)
  }
}

function setOf<K>(sets: Map<K, Set<number>>, key: K): Set<number> {
  const known = sets.get(key) ?? new Set()
  sets.set(key, known)
  return known
}
