// Replay: folds the log anew beside the live views, compares at a cut, and puts what came out in the place of live rows that
// differ, at one later cut at which both are level. Views that fold each other are replayed together: what one passes on was made of
// its rows as they were. Live views go on to be read and folded until then; equal rows are not touched.
import { asMainstemError, ByteWriter, type ErrorReport, fail, type MainstemError, reportOf } from '../../core/index.ts'
import type { Progress } from '../engine.ts'
import { Refold } from '../refold.ts'
import type { KeyId } from '../state/keys.ts'
import { unknownView } from '../unknown-view.ts'
import type { VerifiedView, VerifyHost } from '../verifier.ts'
import { takeRow } from './take-row.ts'

/** Rows that differ and can be exchanged; they are named in memory, and exchanged in one go. */
const DIFFERENCES_MAX = 1_000_000

export interface ReplayReport {
  /** The cut at which rows were compared. */
  readonly position: number
  readonly records: number
  readonly seconds: number
  /** The view, and those that it folds or that fold it. */
  readonly views: readonly VerifiedView[]
  /** The cut at which live rows were exchanged; null where none differed, or that was not wanted. */
  readonly switchedAt: number | null
}

export interface ReplayStatus {
  readonly state: 'idle' | 'running' | 'done' | 'failed'
  /** The view of the one that runs, or of the last one. */
  readonly view: string | null
  readonly progress: Progress | null
  /** Of the last one that ended. */
  readonly report: ReplayReport | null
  /** Why the last one failed. */
  readonly error: ErrorReport | null
}

export interface ReplayOptions {
  /** Position to begin with; 0: the log's beginning. */
  readonly from?: number
  /** Only compares. Default false. */
  readonly dryRun?: boolean
}

/** Replays a view. One at a time. */
export interface Replays {
  /** @throws VIEW_UNKNOWN, VIEW_STOPPED, OVERLOADED while another one runs, SHUTTING_DOWN, REPLAY_UNSUPPORTED */
  start(view: string, options?: ReplayOptions): ReplayStatus
  status(): ReplayStatus
}

export class Replayer implements Replays {
  readonly #host: VerifyHost
  #abort = new AbortController()
  #stopped = false
  #running: Promise<void> | undefined
  #refold: Refold | undefined
  #view: string | null = null
  #report: ReplayReport | null = null
  #error: ErrorReport | null = null

  constructor(host: VerifyHost) {
    this.#host = host
  }

  start(view: string, { from = 0, dryRun = false }: ReplayOptions = {}): ReplayStatus {
    if (this.#stopped) throw shuttingDown()
    const names = this.#family(view)
    if (from > 0)
      throw fail('REPLAY_UNSUPPORTED', `a replay from position ${from} is not possible`, {
        detail: 'nothing is kept that holds the rows as they were there',
        hint: 'replay from 0',
      })
    const stopped = this.#host.folded.find(({ name, error }) => names.includes(name) && error)
    if (stopped)
      throw fail('VIEW_STOPPED', `view '${stopped.name}' has stopped`, { hint: 'it is folded anew when it is mended' })
    if (this.#running) throw fail('OVERLOADED', 'a replay is running', { hint: 'wait until it has ended' })
    this.#report = this.#error = null
    this.#view = view
    this.#abort = new AbortController()
    this.#running = this.#run(names, dryRun)
      .then(
        report => {
          this.#report = report
        },
        error => {
          this.#error = reportOf(asMainstemError(error))
        },
      )
      .finally(() => {
        this.#refold?.end()
        this.#running = this.#refold = undefined
      })
    return this.status()
  }

  async #run(names: readonly string[], dryRun: boolean): Promise<ReplayReport> {
    const differing = new Map<string, KeyId[]>()
    let count = 0
    const refold = new Refold(this.#host, names, this.#abort.signal, (view, id) => {
      const ids = differing.get(view) ?? []
      differing.set(view, ids)
      if (++count <= DIFFERENCES_MAX) ids.push(id)
    })
    this.#refold = refold
    const { position, records, seconds, views } = await refold.run()
    const failed = views.find(({ error }) => error !== null)?.error
    if (failed) throw fail(failed.code as MainstemError['code'], failed.message, failed)
    if (dryRun || count === 0) return { position, records, seconds, views, switchedAt: null }
    if (count > DIFFERENCES_MAX)
      throw fail('REPLAY_UNSUPPORTED', 'too many rows differ to be exchanged at one cut', {
        detail: `${count}; the limit is ${DIFFERENCES_MAX}`,
        hint: 'remove the checkpoints and start again: the view is then folded anew',
      })
    return { position, records, seconds, views, switchedAt: await this.#switch(refold, differing) }
  }

  #switch(refold: Refold, differing: ReadonlyMap<string, readonly KeyId[]>): Promise<number> {
    const writer = new ByteWriter()
    return refold.takeWhenLevel(this.#host, refolded => {
      for (const [name, ids] of differing) {
        const live = this.#host.folded.find(view => view.name === name)!
        if (live.error) throw live.error
        for (const id of ids) takeRow(live, refolded.get(name)!, id, writer)
      }
    })
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
    const ended = this.#error ? 'failed' : this.#report ? 'done' : 'idle'
    return {
      state: this.#running ? 'running' : ended,
      view: this.#view,
      progress: this.#refold?.progress() ?? null,
      report: this.#report,
      error: this.#error,
    }
  }

  /** Ends a running one: the live views do not go on. */
  cancel(reason: MainstemError): void {
    this.#abort.abort(reason)
  }

  /** Ends a running one, and takes no more. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.cancel(shuttingDown())
    await this.#running
  }
}

const shuttingDown = () => fail('SHUTTING_DOWN', 'the application is shutting down')
