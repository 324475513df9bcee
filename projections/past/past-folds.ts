// Which views and keys have to be folded again for an answer, from where, and no more. A key of a view is made of the records that
// the touch index names; where a view folds another, of the rows of that one which ever went to the key. Which these are is
// learnt by folding the other one in full, once. A fold begins with rows of the nearest checkpoint or savepoint, where that
// saves something; where they are those of the cut itself, there is nothing to fold.
import { type FileSystem, fail, isMainstemError, type Log } from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import { type BaseRows, loadAll, loadKeys } from '../base/base-rows.ts'
import type { Base, Bases } from '../base/bases.ts'
import { codeHistoryOf } from '../base/code-history.ts'
import { RowLookup } from '../checkpoint/lookup.ts'
import type { ProjectionDefinition } from '../projection.ts'
import type { ContinuedFrom } from '../start-plan.ts'
import type { StateMemory } from '../state/memory.ts'
import { FoldedView } from '../view.ts'
import { Evaluation, type EvaluationObserver } from './evaluation.ts'
import { Feeds, type Span } from './feeds.ts'
import { checkHorizon as checkInputHorizon } from './horizon.ts'
import type { Pace } from './pace.ts'
import { restricted, type TakesKey } from './restrict.ts'
import type { TouchIndex } from './touch-index.ts'

/** Records that go to the keys of one read. */
const TOUCHES_MAX = 1_000_000
/** Of so many, a fold from the beginning is a matter of milliseconds, and tells what any other read of the key needs. */
const TOUCHES_FEW = 256
/** Records of the log for a view that is folded in full. */
const RECORDS_MAX = 50_000_000
/** Records behind a base that are looked through rather than indexed. */
const RECORDS_NEAR = 100_000

/** What folds of the past need of the engine. */
export interface FoldsHost {
  readonly log: Log
  readonly parts: ApplicationParts
  readonly fingerprint: string
  readonly fs: FileSystem
  readonly bases: Bases
  /** Where other code handed a view over, oldest first. */
  continued(view: string): readonly ContinuedFrom[]
  foldsWhatIsLeft(view: string): boolean
}

/** One answer's own: until when it works, and with what. */
export interface Work {
  readonly pace: Pace
  readonly cut: number
  /** Whether the cut is known to be the last one: no history was removed between there and what was asked for. */
  readonly isEnd: boolean
  readonly memory: StateMemory
}

/** Rows at the cut, some or all. */
export interface Held {
  readonly views: ReadonlyMap<string, FoldedView>
  /** Whether an observer was told of every record from the beginning. */
  readonly observed: boolean
  /** Sources whose snapshot was complete; undefined where that has to be found out. */
  readonly complete: readonly string[] | undefined
  /** Lets all rows go. */
  end(): void
}

type Hashes = ReadonlySet<number>
type Keys = ReadonlyMap<string, Hashes>

/** Which keys of which views are folded, and which views in full. */
interface Wanted {
  readonly keys: Map<string, Set<number>>
  readonly full: Set<string>
}

export class PastFolds {
  readonly #host: FoldsHost
  readonly #definitions: ReadonlyMap<string, ProjectionDefinition>
  /** For keys and routes: nothing is folded into them. */
  readonly #models: ReadonlyMap<string, FoldedView>
  readonly #index: TouchIndex
  readonly #feeds = new Feeds()
  readonly #lookup: RowLookup

  constructor(host: FoldsHost, models: ReadonlyMap<string, FoldedView>, index: TouchIndex) {
    this.#host = host
    this.#definitions = new Map(host.parts.projections.map(definition => [definition.name, definition]))
    this.#models = models
    this.#index = index
    this.#lookup = new RowLookup(host.fs, host.log.id)
  }

  /** The definitions of views and of all that they fold, in order. */
  closure(views: Iterable<string>): readonly ProjectionDefinition[] {
    const wanted = new Set(views)
    const all = this.#host.parts.projections
    for (const { name, ons } of all.toReversed())
      if (wanted.has(name)) for (const { input } of ons) wanted.add(input.name)
    return all.filter(({ name }) => wanted.has(name))
  }

  /** Rows of some keys. @param observer of a fold from the beginning, if there is one @throws AT_GONE, AT_TOO_FAR, STATE_TOO_LARGE, VIEW_STOPPED */
  rows(keys: Keys, work: Work, observer?: EvaluationObserver): Promise<Held> {
    const fold = async (base: Base | undefined) => {
      if (base?.position === work.cut) return this.#saved(base, keys, work)
      if (base === undefined || (await this.#isShort(keys, work)))
        return this.#evaluate(keys, work, undefined, observer)
      return this.#evaluate(keys, work, base)
    }
    return this.#ofOneHistory(() => this.#fromBase([...keys.keys()], work, fold))
  }

  /** All rows of a view. @throws as `rows` */
  whole(view: string, work: Work): Promise<Held> {
    const fold = async (base: Base | undefined) => {
      if (base?.position === work.cut) return this.#saved(base, new Map([[view, undefined]]), work)
      const definitions = this.closure([view])
      return this.#folding(definitions, work, base, async evaluation => {
        if (base) await loadAll(this.#baseRows(base, work), [...evaluation.views.values()])
        await evaluation.foldTo(work.cut, RECORDS_MAX)
      })
    }
    return this.#ofOneHistory(() => this.#fromBase([view], work, fold))
  }

  /** History that was removed while it was read is in one part of what was found and missing in the other: it is read again. */
  async #ofOneHistory(read: () => Promise<Held>): Promise<Held> {
    const { log } = this.#host
    for (;;) {
      const { generation } = log.base
      const isSame = () => log.base.generation === generation
      try {
        const held = await read()
        if (isSame()) return held
        held.end()
      } catch (error) {
        if (isSame()) throw error
      }
    }
  }

  /** Folds some keys from the beginning, and tells of each record. @throws as `rows` */
  async observe(keys: Keys, work: Work, observer: EvaluationObserver): Promise<void> {
    ;(await this.#ofOneHistory(() => this.#observe(keys, work, observer))).end()
  }

  async #observe(keys: Keys, work: Work, observer: EvaluationObserver): Promise<Held> {
    this.checkHorizon([...keys.keys()], work)
    // Views in full first, so that nothing has to be: once for each of the views in between.
    for (let left = this.#definitions.size; this.#wanted(keys, spanOf(work)).full.size > 0; left--) {
      if (left === 0)
        throw fail('AT_TOO_FAR', 'too many rows of other views have gone to the row whose lineage is asked for')
      ;(await this.#evaluate(keys, work, undefined)).end()
    }
    return this.#evaluate(keys, work, undefined, observer)
  }

  /** Does the work from the nearest base; one that cannot be read, or went meanwhile, is passed over. */
  async #fromBase<T>(views: readonly string[], work: Work, run: (base: Base | undefined) => Promise<T>): Promise<T> {
    const without = new Set<string>()
    const named = (names: readonly string[]) => names.map(name => this.#models.get(name)!)
    const closure = named(this.closure(views).map(({ name }) => name))
    for (;;) {
      const base = await this.#host.bases.nearest({
        views: named(views),
        closure,
        upTo: work.cut,
        isEnd: work.isEnd,
        without,
      })
      if (base === undefined) this.checkHorizon(views, work)
      try {
        return await run(base)
      } catch (error) {
        if (base === undefined || !isMainstemError(error) || error.code !== 'CHECKPOINT_CORRUPT') throw error
        without.add(base.identity)
      }
    }
  }

  /** @throws AT_GONE where they cannot be folded from the beginning */
  checkHorizon(views: readonly string[], { cut }: Pick<Work, 'cut'>): void {
    const { log, fingerprint, continued, foldsWhatIsLeft } = this.#host
    const continuedTo = (view: string) => {
      const { floor, fromStart } = codeHistoryOf(continued(view), fingerprint)
      return fromStart ? 0 : floor
    }
    checkInputHorizon(this.closure(views), { log, from: 0, cut, continuedTo, foldsWhatIsLeft })
  }

  /** Whether a fold from the beginning is possible, and a matter of few records. */
  async #isShort(keys: Keys, work: Work): Promise<boolean> {
    const wanted = this.#wanted(keys, spanOf(work))
    if (wanted.full.size > 0 || !this.#index.covers(wanted.keys.keys(), work.cut)) return false
    try {
      this.checkHorizon([...keys.keys()], work)
      await this.#index.positions(wanted.keys, { after: 0, upTo: work.cut, most: TOUCHES_FEW }, work.pace)
      return true
    } catch (error) {
      const code = isMainstemError(error) ? error.code : undefined
      if (code === 'AT_GONE' || code === 'AT_TOO_FAR') return false
      throw error
    }
  }

  /** Rows of the base itself, of some keys of views, or all. */
  async #saved(base: Base, wanted: ReadonlyMap<string, Hashes | undefined>, work: Work): Promise<Held> {
    const info = { position: base.position, timeMs: 0 }
    const views = new Map(
      [...wanted.keys()].map(name => [name, new FoldedView(this.#definitions.get(name)!, info, work.memory)] as const),
    )
    const end = () => {
      for (const view of views.values()) view.table.drop()
    }
    try {
      await this.#load(base, views, wanted, work)
      return { views, observed: false, complete: base.complete, end }
    } catch (error) {
      end()
      throw error
    }
  }

  /** @param wanted keys of views; of those that are not in it, all rows */
  async #load(
    base: Base,
    views: ReadonlyMap<string, FoldedView>,
    wanted: ReadonlyMap<string, Hashes | undefined>,
    work: Work,
  ): Promise<void> {
    const some = new Map<FoldedView, Hashes>()
    for (const [name, view] of views) {
      const hashes = wanted.get(name)
      if (hashes !== undefined) some.set(view, hashes)
    }
    const all = [...views.values()].filter(view => !some.has(view))
    const options = this.#baseRows(base, work)
    await loadKeys(options, this.#lookup, some)
    if (all.length > 0) await loadAll(options, all)
  }

  #baseRows(base: Base, { pace, memory }: Work): BaseRows {
    const { fs, log } = this.#host
    const turns = {
      get over() {
        return pace.due
      },
      next: () => pace.rest(),
    }
    return { fs, logId: log.id, base, memory, turns }
  }

  async #folding(
    definitions: readonly ProjectionDefinition[],
    { pace, memory }: Work,
    base: Base | undefined,
    fold: (evaluation: Evaluation) => Promise<void>,
  ): Promise<Held> {
    const { log, parts } = this.#host
    const evaluation = new Evaluation(definitions, parts, { log, memory, pace, from: base?.position ?? 0 })
    try {
      await fold(evaluation)
      const observed = evaluation.observed && base === undefined
      return { views: evaluation.views, observed, complete: undefined, end: () => evaluation.end() }
    } catch (error) {
      evaluation.end()
      throw error
    }
  }

  /** What has to be folded for some keys of some views. */
  #wanted(keys: Keys, span: Span): Wanted {
    const wanted: Wanted = { keys: new Map(), full: new Set() }
    for (const [view, hashes] of keys) this.#want(view, hashes, span, wanted)
    for (const view of wanted.full) wanted.keys.delete(view)
    return wanted
  }

  #want(view: string, hashes: Hashes, span: Span, wanted: Wanted): void {
    for (const hash of hashes) setOf(wanted.keys, view).add(hash)
    const inputs = this.#inputViews(view)
    if (inputs.length === 0) return
    const feeds = this.#feeds.of(view, hashes, span)
    if (feeds === undefined) for (const { name } of this.closure(inputs)) wanted.full.add(name)
    else for (const input of inputs) this.#want(input, feeds.get(input) ?? new Set(), span, wanted)
  }

  #inputViews(view: string): readonly string[] {
    const ons = this.#definitions.get(view)?.ons ?? []
    return ons.flatMap(({ input }) => (input.kind === 'projection' ? [input.name] : []))
  }

  /** Folds what is wanted up to the cut. */
  #evaluate(keys: Keys, work: Work, base: Base | undefined, observer?: EvaluationObserver): Promise<Held> {
    const { cut, pace } = work
    const span = spanOf(work, base)
    const wanted = this.#wanted(keys, span)
    const learning = new Learning(wanted, this.#models)
    let position = () => 0
    const definitions = this.closure(wanted.keys.keys()).map(definition => {
      const hashes = wanted.keys.get(definition.name)
      if (hashes === undefined) return definition
      return restricted(
        definition,
        this.#takes(definition.name, hashes, learning, () => position(), observer),
      )
    })
    return this.#folding(definitions, work, base, async evaluation => {
      position = () => evaluation.info.position
      if (base) await this.#load(base, evaluation.views, wanted.keys, work)
      const target = observer && evaluation.views.get(observer.view)
      if (target) observer.begin(target)
      if (wanted.full.size > 0 || this.#isNear(wanted, span)) await evaluation.foldTo(cut, RECORDS_MAX)
      else {
        const range = { after: span.from, upTo: cut, most: TOUCHES_MAX }
        await evaluation.foldAt(await this.#index.positions(wanted.keys, range, pace), observer)
        await evaluation.expireAt(cut)
      }
      learning.done(this.#feeds, span)
    })
  }

  /** Whether looking through all records behind a base is less than to index the log up to there. */
  #isNear({ keys }: Wanted, { from, upTo }: Span): boolean {
    return from > 0 && upTo - from <= RECORDS_NEAR && !this.#index.covers(keys.keys(), upTo)
  }

  #takes(
    view: string,
    hashes: Hashes,
    learning: Learning,
    position: () => number,
    observer: EvaluationObserver | undefined,
  ): TakesKey {
    const model = this.#models.get(view)!
    return (key, on, inputKey) => {
      const id = model.idOf(key)
      // The view says what comes of it, as it did then.
      if (id === undefined) return true
      const hash = model.table.keys.hashOf(id)
      if (!hashes.has(hash)) return false
      learning.note(view, hash, on, inputKey)
      observer?.goes(view, key, on, inputKey, position())
      return true
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

  done(feeds: Feeds, span: Span): void {
    for (const [view, byHash] of this.#learnt)
      for (const [hash, hashes] of byHash) feeds.learn(view, hash, span, hashes)
  }
}

const spanOf = ({ cut }: Work, base?: Base): Span => ({ from: base?.position ?? 0, upTo: cut })

export function setOf<K>(sets: Map<K, Set<number>>, key: K): Set<number> {
  const known = sets.get(key) ?? new Set()
  sets.set(key, known)
  return known
}
