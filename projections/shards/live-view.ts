// A view as reads see it.
import { type AnyRow, fail, type KeyCodec, type ObjectType, reportOf } from '../../core/index.ts'
import type { LiveView, LocalView, Progress, ViewCheckpointStatus, ViewState, ViewStatus } from '../engine.ts'
import type { IndexShape } from '../indexes/index-shape.ts'
import type { Policy } from '../policy.ts'
import type { ContinuedFrom, ViewPlan } from '../start-plan.ts'
import type { FoldedView } from '../view.ts'
import type { Folding } from './folding.ts'

/** What a view needs to know of its engine. */
export interface EngineState {
  readonly position: number
  readonly rebuilding: boolean
  readonly catchingUp: boolean
  isComplete(source: string): boolean
  progress(): Progress
  readonly plans: ReadonlyMap<string, ViewPlan>
  continued(view: FoldedView): readonly ContinuedFrom[]
  /** What the newest checkpoint says of a view. */
  checkpointOf(view: FoldedView): ViewCheckpointStatus | undefined
  readonly folding: Pick<Folding, 'stateBytes' | 'skipped' | 'indexesOf'>
  /** In words, what its events wait for to be published; null where nothing does. */
  publishingWaitsFor(view: FoldedView): string | null
}

export class ReadView implements LiveView {
  readonly #view: FoldedView
  readonly #engine: EngineState
  readonly #fingerprint: string
  readonly sources: readonly string[]

  constructor(view: FoldedView, sources: readonly string[], fingerprint: string, engine: EngineState) {
    this.#view = view
    this.sources = sources
    this.#fingerprint = fingerprint
    this.#engine = engine
  }

  get name(): string {
    return this.#view.name
  }

  get key(): KeyCodec {
    return this.#view.key
  }

  get value(): ObjectType {
    return this.#view.value
  }

  get policy(): Policy | undefined {
    return this.#view.definition.rowPolicy
  }

  get indexes(): readonly IndexShape[] {
    return this.#view.indexes
  }

  get final(): boolean {
    for (const source of this.sources) if (!this.#engine.isComplete(source)) return false
    return true
  }

  check(): void {
    const { error } = this.#view
    if (error) {
      throw fail('VIEW_STOPPED', `view '${this.name}' has stopped`, {
        detail: `${error.code}: ${error.message}${error.detail ? ` (${error.detail})` : ''}`,
        ...(error.hint ? { hint: error.hint } : {}),
      })
    }
    if (this.#engine.rebuilding) {
      const { done, total } = this.#engine.progress()
      throw fail('VIEW_REBUILDING', `view '${this.name}' is being rebuilt`, { detail: `${done} of ${total} records` })
    }
  }

  #state(): ViewState {
    if (this.#view.error) return 'stopped'
    if (this.#engine.rebuilding) return 'rebuilding'
    if (this.#engine.catchingUp) return 'catching-up'
    return this.final ? 'live' : 'snapshotting'
  }

  #waitingFor(state: ViewState): string | null {
    const publishing = state === 'stopped' ? null : this.#engine.publishingWaitsFor(this.#view)
    if (publishing !== null) return publishing
    switch (state) {
      case 'live':
        return null
      case 'stopped':
        return 'a mended projection'
      case 'snapshotting':
        return `the snapshot of ${this.sources.filter(source => !this.#engine.isComplete(source)).join(', ')}`
      default:
        return `records up to ${this.#engine.progress().total}`
    }
  }

  status(): ViewStatus {
    const state = this.#state()
    const { error } = this.#view
    const { view: _, ...plan } = this.#engine.plans.get(this.name)!
    const checkpoint = this.#engine.checkpointOf(this.#view)
    return {
      name: this.name,
      status: state,
      waitingFor: this.#waitingFor(state),
      rows: this.#view.size,
      stateBytes: this.#engine.folding.stateBytes(this.#view),
      position: error ? this.#view.position : this.#engine.position,
      fingerprint: this.#fingerprint,
      inputs: this.#view.routes.map(route => route.input),
      indexes: this.#engine.folding.indexesOf(this.#view).map((facts, n) => ({
        fields: this.#view.definition.indexes[n]!,
        state: facts.error ? 'failed' : facts.progress ? 'building' : 'ready',
        ...facts,
      })),
      progress: state === 'rebuilding' || state === 'catching-up' ? this.#engine.progress() : null,
      plan,
      continued: this.#engine.continued(this.#view),
      deadLetters: this.#engine.folding.skipped(this.#view),
      checkpoint: checkpoint ? { position: checkpoint.position, rows: checkpoint.rows, hash: checkpoint.hash } : null,
      error: error ? reportOf(error) : null,
    }
  }
}

/** A view whose rows are in this thread. */
export class LocalReadView extends ReadView implements LocalView {
  readonly #rows: FoldedView

  constructor(view: FoldedView, sources: readonly string[], fingerprint: string, engine: EngineState) {
    super(view, sources, fingerprint, engine)
    this.#rows = view
  }

  get(key: unknown): AnyRow | undefined {
    this.check()
    return this.#rows.get(key)
  }
}
