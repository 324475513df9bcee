// Where a fold of a part of the log can begin: kept checkpoints and savepoints that hold the rows of the views at one position.
import { dirname } from 'node:path'
import type { Log, SourceTable } from '../../core/index.ts'
import type { Checkpoint, ViewCheckpoint } from '../checkpoint/manifest.ts'
import { migrationOf } from '../migrate.ts'
import type { ProjectionDefinition } from '../projection.ts'
import type { Savepoint } from '../savepoint/savepoint-file.ts'
import { type ContinuedFrom, stateDigest } from '../start-plan.ts'
import type { FoldedView } from '../view.ts'
import { codeHistoryOf, isOwn } from './code-history.ts'

/** One of them. */
export interface Base {
  readonly kind: 'checkpoint' | 'savepoint'
  /** Of a savepoint. */
  readonly name: string | null
  readonly position: number
  /** Tells it from another one whose files have the same names. */
  readonly identity: string
  readonly folder: string
  /** Sources whose snapshot was complete there. */
  readonly complete: readonly string[]
  readonly views: Readonly<Record<string, ViewCheckpoint>>
}

/** What bases need of the engine. */
export interface BasesHost {
  readonly log: Log
  readonly fingerprint: string
  /** Folder of the checkpoints. */
  readonly path: string
  /** Checkpoints that can be restored. */
  kept(): readonly Checkpoint[]
  /** Savepoints of this log. */
  savepoints(): Promise<readonly Savepoint[]>
  continued(view: string): readonly ContinuedFrom[]
  foldsWhatIsLeft(view: string): boolean
}

/** What is to be folded from a base. */
export interface BaseRequest {
  /** Models of the views whose rows are wanted. */
  readonly views: readonly FoldedView[]
  /** Models of these and of all that they fold. */
  readonly closure: readonly FoldedView[]
  /** The greatest position at which it may stand. */
  readonly upTo: number
  /** Whether nothing is missing between there and what was asked for. */
  readonly isEnd: boolean
  /** Bases that turned out not to be readable. */
  readonly without: ReadonlySet<string>
}

export class Bases {
  readonly #host: BasesHost
  readonly #digests = new WeakMap<FoldedView, string>()

  constructor(host: BasesHost) {
    this.#host = host
  }

  /** All there are, those at later positions first. */
  async all(): Promise<readonly Base[]> {
    const { path, kept, savepoints } = this.#host
    const checkpoints = kept().map(
      ({ id, position, complete, views }): Base => ({
        kind: 'checkpoint',
        name: null,
        position,
        identity: `checkpoint ${id}`,
        folder: path,
        complete,
        views,
      }),
    )
    const named = (await savepoints()).map(({ name, position, madeAt, complete, path: file, ...savepoint }): Base => {
      const files = [savepoint.file]
      const views = Object.entries(savepoint.views).map(([view, saved]) => [view, { ...saved, files }] as const)
      const identity = `savepoint ${name} ${madeAt}`
      const folder = dirname(file)
      return { kind: 'savepoint', name, position, identity, folder, complete, views: Object.fromEntries(views) }
    })
    // Of two at one position the one with a name: it stays for longer.
    return [...named, ...checkpoints].sort((a, b) => b.position - a.position)
  }

  /** Whether rows of the views, as they were there, are to be had at exactly this position. */
  async standsAt(position: number, views: readonly FoldedView[]): Promise<boolean> {
    return (await this.all()).some(base => base.position === position && this.#isOf(base, views))
  }

  /** The one that is nearest: the rows are there at `upTo` itself, or this code can fold on from there. */
  async nearest({ views, closure, upTo, isEnd, without }: BaseRequest): Promise<Base | undefined> {
    const usable = (base: Base) =>
      base.position === upTo && isEnd
        ? this.#isOf(base, views)
        : base.position <= upTo && this.#isOf(base, closure) && this.#foldsOn(base, closure, upTo)
    return (await this.all()).find(base => !without.has(base.identity) && usable(base))
  }

  /** Those from which all these views can be folded on to the log's end, at later positions first. */
  async foldedOn(views: readonly FoldedView[]): Promise<readonly Base[]> {
    return (await this.all()).filter(base => this.canFoldOn(base, views))
  }

  /** Whether it is one of them, as the log is now. */
  canFoldOn(base: Base, views: readonly FoldedView[]): boolean {
    const { end } = this.#host.log
    return base.position <= end && this.#isOf(base, views) && this.#foldsOn(base, views, end)
  }

  /** Whether the rows of all these views stand there as they were. */
  #isOf(base: Base, views: readonly FoldedView[]): boolean {
    const { fingerprint, log, continued, foldsWhatIsLeft } = this.#host
    return views.every(view => {
      const saved = base.views[view.name]
      if (saved === undefined || !this.#has(base, view)) return false
      if (foldsWhatIsLeft(view.name) && saved.generation !== log.base.generation) return false
      return isOwn(saved, continued(view.name), fingerprint)
    })
  }

  /** Whether it has rows of the view, in a form that can be read. One that had stopped stands elsewhere. */
  #has(base: Base, view: FoldedView): boolean {
    const saved = base.views[view.name]
    if (saved?.position !== base.position) return false
    const { state } = saved.facts
    return state === this.#digest(view) || migrationOf(view, state) !== undefined
  }

  #digest(view: FoldedView): string {
    const known = this.#digests.get(view) ?? stateDigest(view.key, view.value, view.storedFields)
    this.#digests.set(view, known)
    return known
  }

  #foldsOn(base: Base, closure: readonly FoldedView[], upTo: number): boolean {
    const { continued, fingerprint } = this.#host
    return (
      closure.every(({ name }) => codeHistoryOf(continued(name), fingerprint).floor <= base.position) &&
      this.#isWhole(base, closure, upTo)
    )
  }

  /** Whether the log behind it is what the live views folded. */
  #isWhole(base: Base, views: readonly FoldedView[], upTo: number): boolean {
    const { log, foldsWhatIsLeft } = this.#host
    return views.every(({ name, definition }) => {
      const isSameBase = base.views[name]!.generation === log.base.generation
      return topicsOf(definition).every(({ topic, changes }) => {
        const { trimmedTo = 0, compactedTo = 0 } = log.base.topics.get(topic) ?? {}
        const gone = changes ? Math.max(trimmedTo, compactedTo) : trimmedTo
        if (gone > base.position && !foldsWhatIsLeft(name)) return false
        // Rows of a compacted table come where they changed last, without what was before.
        return compactedTo <= base.position || (isSameBase && upTo >= compactedTo)
      })
    })
  }
}

function topicsOf({ ons }: ProjectionDefinition): readonly { readonly topic: string; readonly changes: boolean }[] {
  return ons.flatMap(({ input }) => {
    if (input.kind === 'projection') return []
    const changes = input.kind === 'changes'
    const topic = changes ? (input as unknown as { table: SourceTable }).table.name : input.name
    return [{ topic, changes }]
  })
}
