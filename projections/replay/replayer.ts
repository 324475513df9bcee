// Replay: folds the log anew beside the live views, from its beginning or from rows of a savepoint or kept checkpoint, compares at a
// cut, and puts what came out in the place of live rows that differ, at one later cut at which both are level. Views that fold each
// other are replayed together: what one passes on was made of its rows as they were. Live views go on to be read and folded until
// then; equal rows are not touched.
import {
  asMainstemError,
  type FileSystem,
  fail,
  isMainstemError,
  Job,
  type JobStatus,
  type MainstemError,
  orAborted,
} from '../../core/index.ts'
import type { Base, Bases } from '../base/bases.ts'
import type { Progress } from '../engine.ts'
import { type Exchanging, foldsViews, Refold } from '../refold.ts'
import type { KeyId } from '../state/keys.ts'
import { unknownView } from '../unknown-view.ts'
import type { RefoldHost, VerifiedView } from '../verifier.ts'
import type { FoldedView } from '../view.ts'
import type { Refolded } from './replacement.ts'

/** Rows that differ and can be exchanged; they are named in memory, and exchanged in one go. */
const DIFFERENCES_MAX = 1_000_000
/** Bases that are named where none can be taken; the earliest. */
const POSITIONS_MAX = 20

export interface ReplayReport {
  /** The cut at which rows were compared. */
  readonly position: number
  /** Position at which the fold began. */
  readonly from: number
  /** Whose rows it began with; null: none, at the log's beginning. */
  readonly base: ReplayBase | null
  /** Folded from there to the cut. */
  readonly records: number
  readonly seconds: number
  /** The view, and those that it folds or that fold it. */
  readonly views: readonly VerifiedView[]
  /** The cut at which live rows were exchanged; null where none differed, or that was not wanted. */
  readonly switchedAt: number | null
}

/** The rows with which a replay begins; they are taken as they are. */
export interface ReplayBase {
  readonly kind: Base['kind']
  /** Of a savepoint. */
  readonly name: string | null
  readonly position: number
}

export interface ReplayStatus extends JobStatus<ReplayReport, Progress> {
  /** The view of the one that runs, or of the last one. */
  readonly view: string | null
}

export interface ReplayOptions {
  /** Where to begin: with the nearest savepoint or kept checkpoint at or before this position. Default 0: the log's beginning. */
  readonly from?: number
  /** Only compares. Default false. */
  readonly dryRun?: boolean
}

/** Replays a view. One at a time. */
export interface Replays {
  /**
   * Resolves when it runs.
   * @throws VIEW_UNKNOWN, VIEW_STOPPED, OVERLOADED while another one runs, SHUTTING_DOWN, REPLAY_BASE_MISSING, REPLAY_UNSUPPORTED
   */
  start(view: string, options?: ReplayOptions): Promise<ReplayStatus>
  status(): ReplayStatus
}

/** What replays need of the engine. */
export interface ReplayHost extends RefoldHost, Exchanging {
  readonly fs: FileSystem
  readonly bases: Bases
  /** From now on, which is a cut, rows of these views are kept as they are before they change; none are kept of others. */
  keepChanged(views: readonly string[]): void
  /**
   * Puts rows in the place of the live ones, at the cut that is now; resolves when that is done.
   * @param from position of the rows with which the replay began
   * @throws STATE_TOO_LARGE and others: the view has stopped
   */
  replace(refolded: readonly Refolded[], from: number): Promise<void>
  /** Writes a checkpoint with all that has happened so far. @throws CHECKPOINT_FAILED */
  checkpoint(): Promise<void>
}

/** The keys of rows that are to be exchanged, by view. */
class Differing {
  readonly #ids = new Map<string, Set<KeyId>>()

  add(view: string, id: KeyId): void {
    const ids = this.#ids.get(view) ?? new Set()
    this.#ids.set(view, ids)
    // What is beyond will not be exchanged.
    if (ids.size <= DIFFERENCES_MAX) ids.add(id)
  }

  of(view: string): ReadonlySet<KeyId> {
    return this.#ids.get(view) ?? new Set()
  }
}

export class Replayer implements Replays {
  readonly #host: ReplayHost
  readonly #job = new Job<ReplayReport, Progress>('a replay')
  #starting = false
  #refold: Refold | undefined
  #view: string | null = null

  constructor(host: ReplayHost) {
    this.#host = host
  }

  async start(view: string, { from = 0, dryRun = false }: ReplayOptions = {}): Promise<ReplayStatus> {
    this.#job.checkOpen()
    const names = this.#family(view)
    this.#check(names)
    this.#job.checkFree()
    if (this.#starting) throw fail('OVERLOADED', 'a replay is running', { hint: 'wait until it has ended' })
    this.#starting = true
    try {
      // Whoever asks is told at once where it cannot begin.
      if (from > 0) await this.#baseAt(names, from, new Set())
    } finally {
      this.#starting = false
    }
    this.#check(names)
    this.#view = view
    this.#job.start(async ({ signal }) => {
      try {
        return await this.#run(names, from, dryRun, signal)
      } finally {
        this.#host.keepChanged([])
        this.#refold?.end()
        this.#refold = undefined
      }
    })
    return this.status()
  }

  /** @throws SHUTTING_DOWN, VIEW_STOPPED */
  #check(names: readonly string[]): void {
    this.#job.checkOpen()
    for (const { name, error } of this.#live(names)) {
      if (error)
        throw fail('VIEW_STOPPED', `view '${name}' has stopped`, {
          detail: error.message,
          hint: 'it is folded anew when it is mended',
          cause: error,
        })
    }
  }

  async #run(names: readonly string[], upTo: number, dryRun: boolean, signal: AbortSignal): Promise<ReplayReport> {
    const differing = new Differing()
    const { refold, base } = await this.#begun(names, upTo, differing, signal)
    const from = base?.position ?? 0
    const begun = { from, base: base && { kind: base.kind, name: base.name, position: from } }
    const { position, records, seconds, views } = await refold.run()
    const compared = { position, ...begun, records, seconds, views }
    const failed = views.find(({ error }) => error !== null)?.error
    if (failed) throw fail(failed.code as MainstemError['code'], failed.message, failed)
    const count = views.reduce((sum, { differences }) => sum + differences, 0)
    if (dryRun || views.every(({ equal }) => equal)) return { ...compared, switchedAt: null }
    if (count > DIFFERENCES_MAX)
      throw fail('REPLAY_UNSUPPORTED', 'too many rows differ to be exchanged at one cut', {
        detail: `${count}; the limit is ${DIFFERENCES_MAX}`,
        hint: 'remove the checkpoints and start again: the view is then folded anew',
      })
    return { ...compared, switchedAt: await this.#switch(refold, differing, from, signal) }
  }

  /** A fold that holds the rows of the base, where it is to begin with one; a base that cannot be read is passed over. */
  async #begun(
    names: readonly string[],
    upTo: number,
    differing: Differing,
    signal: AbortSignal,
  ): Promise<{ refold: Refold; base: Base | null }> {
    const onDifference = (view: string, id: KeyId) => differing.add(view, id)
    const onCut = () => this.#host.keepChanged(names.filter(name => this.#foldsViews(name)))
    const begin = (from: number) => {
      const refold = new Refold(this.#host, { names, signal, onDifference, onCut, from })
      this.#refold = refold
      return refold
    }
    const without = new Set<string>()
    while (upTo > 0) {
      const base = await this.#baseAt(names, upTo, without)
      signal.throwIfAborted()
      const refold = begin(base.position)
      try {
        // The log is held now: what was removed before that is known.
        if (!this.#host.bases.canFoldOn(base, this.#live(names)))
          throw fail('CHECKPOINT_CORRUPT', 'history behind it went')
        await refold.load(this.#host.fs, base)
        return { refold, base }
      } catch (error) {
        if (!isMainstemError(error) || error.code !== 'CHECKPOINT_CORRUPT') throw error
        refold.end()
        this.#refold = undefined
        without.add(base.identity)
      }
    }
    return { refold: begin(0), base: null }
  }

  /** The nearest base at or before a position. @throws REPLAY_BASE_MISSING */
  async #baseAt(names: readonly string[], upTo: number, without: ReadonlySet<string>): Promise<Base> {
    const bases = await this.#host.bases.foldedOn(this.#live(names))
    const usable = bases.filter(({ identity }) => !without.has(identity))
    const nearest = usable.find(({ position }) => position <= upTo)
    if (nearest) return nearest
    const there = usable.slice(-POSITIONS_MAX).reverse()
    const named = there.map(({ kind, name, position }) => `${position} (${kind}${name === null ? '' : ` ${name}`})`)
    throw fail(
      'REPLAY_BASE_MISSING',
      `no rows are kept at or before position ${upTo} with which a replay could begin`,
      {
        detail: named.length > 0 ? `there are some at ${named.join(', ')}` : 'there are none at later positions either',
        data: { positions: there.map(({ position }) => String(position)) },
      },
    )
  }

  #foldsViews(name: string): boolean {
    return this.#host.folded.some(view => view.name === name && foldsViews(view))
  }

  #live(names: readonly string[]): readonly FoldedView[] {
    return this.#host.folded.filter(({ name }) => names.includes(name))
  }

  /** Exchanges rows at one cut, and writes a checkpoint that has them; gives the position of the cut. */
  async #switch(refold: Refold, differing: Differing, from: number, signal: AbortSignal): Promise<number> {
    const host = this.#host
    const { position, taken } = await refold.takeWhenLevel(host, views => {
      const refolded = [...views.values()].map(view => ({ view, ids: differing.of(view.name) }))
      return { exchanged: host.replace(refolded, from) }
    })
    await taken.exchanged
    // What it publishes may wait for room in the log; a stop does not.
    await orAborted(host.checkpoint(), signal).catch(error => {
      const { code, message, hint } = asMainstemError(error)
      throw fail(code, 'rows were exchanged, and cannot be kept', {
        detail: `at position ${position}; a crash before the next checkpoint loses it. ${message}`,
        ...(hint ? { hint } : {}),
        cause: error,
      })
    })
    return position
  }

  /** The view, and all that are tied to it by folding each other. @throws VIEW_UNKNOWN */
  #family(view: string): readonly string[] {
    const { projections } = this.#host.parts
    if (!projections.some(({ name }) => name === view))
      throw unknownView(
        view,
        projections.map(({ name }) => name),
      )
    const family = new Set([view])
    for (let before = 0; before < family.size; ) {
      before = family.size
      for (const { name, ons } of projections) {
        const inputs = ons.flatMap(({ input }) => (input.kind === 'projection' ? [input.name] : []))
        if (family.has(name) || inputs.some(input => family.has(input)))
          for (const each of [name, ...inputs]) family.add(each)
      }
    }
    return [...family]
  }

  status(): ReplayStatus {
    return { ...this.#job.status(), view: this.#view, progress: this.#refold?.progress() ?? null }
  }

  /** Ends a running one: the live views do not go on. */
  cancel(reason: MainstemError): void {
    this.#job.cancel(reason)
  }

  /** Ends a running one, and takes no more. */
  stop(): Promise<void> {
    return this.#job.stop()
  }
}
