// The checkpoints of an engine, in the coordinator's thread: plans a start, has shards load what it keeps and write what changed.
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import {
  errorOf,
  type FileSystem,
  type Held,
  isMainstemError,
  type LogFacts,
  type MainstemError,
  nodeFileSystem,
} from '../../core/index.ts'
import { withReplay } from '../base/code-history.ts'
import { migrationOf } from '../migrate.ts'
import { type Savepoint, unusable } from '../savepoint/savepoint-file.ts'
import { type ContinuedFrom, factsOf, planStart, type ViewPlan } from '../start-plan.ts'
import type { FoldedView } from '../view.ts'
import { cannotCheckpoint } from './failure.ts'
import { type Checkpoint, readManifest, type ViewCheckpoint } from './manifest.ts'
import type { CheckpointMember, LoadReport } from './member.ts'
import type { RowFile } from './part.ts'
import { corrupt } from './row-file-reader.ts'
import { addHashes, type RowsHash } from './row-hash.ts'
import { type CheckpointStore, openCheckpointStore, type ViewFactsSaved } from './store.ts'

/** Code changes over which a view was continued that are remembered. */
const CONTINUED_MAX = 100

/** What views that nobody has open need of the log: all after their last checkpoint. None where the checkpoints are of another log. */
export async function viewsHeld(
  path: string,
  logId: string,
  fs: FileSystem = nodeFileSystem,
): Promise<readonly Held[]> {
  const manifest = await readManifest(fs, path)
  if (typeof manifest !== 'object' || manifest.logId !== logId) return []
  const views = manifest.checkpoints[0]?.views ?? {}
  return Object.entries(views).map(([view, { position }]) => ({ name: `view ${view}`, position }))
}

export interface CheckpointsOptions {
  readonly fs: FileSystem
  readonly path: string
  readonly log: LogFacts
  /** The shards among which the key groups are divided. */
  readonly members: readonly CheckpointMember[]
  readonly fingerprint: string
  /** What views are to begin with, in place of the newest checkpoint. It is of this log. */
  readonly savepoint?: Savepoint | undefined
}

/** Where a start begins. */
interface Begin {
  readonly folder: string
  readonly views: Readonly<Record<string, ViewCheckpoint>>
  readonly complete: readonly string[]
}

/** A view whose rows are loaded. */
interface Kept {
  readonly view: FoldedView
  readonly saved: ViewCheckpoint
  /** Whether they are stored in the form that the view has. */
  readonly asStored: boolean
}

export class Checkpoints {
  readonly #options: CheckpointsOptions
  readonly #store: CheckpointStore
  /** What the views are now, beside their rows; the generation is that of the last checkpoint. */
  readonly #facts = new Map<string, Omit<ViewFactsSaved, 'generation'>>()
  /** Views whose rows the newest checkpoint has, or has had when this began. */
  readonly #saved = new Set<string>()

  private constructor(options: CheckpointsOptions, store: CheckpointStore) {
    this.#options = options
    this.#store = store
  }

  static async open(options: CheckpointsOptions): Promise<Checkpoints> {
    const { fs, path, log } = options
    return new Checkpoints(options, await openCheckpointStore({ fs, path, logId: log.id }))
  }

  /** What is wrong with the manifest: there are no checkpoints then. */
  get damage(): MainstemError | undefined {
    return this.#store.damage
  }

  set recordsPerSecond(value: number) {
    this.#store.recordsPerSecond = value
  }

  /** What a start is to do with these views; changes nothing. @throws VIEW_CANNOT_CONTINUE */
  plan(views: readonly FoldedView[], continueFrom: readonly string[]): readonly ViewPlan[] {
    const { log, fingerprint, savepoint } = this.#options
    const { foundLogId: logId, fault, recordsPerSecond } = this.#store
    const shared = { views, log, fingerprint, saved: this.#begin.views, continueFrom, recordsPerSecond }
    if (savepoint) return planStart({ ...shared, logId: savepoint.logId, savepoint: savepoint.name })
    return planStart({ ...shared, logId, fault })
  }

  /** What a start begins with: the savepoint that is wanted, or else the newest checkpoint. */
  get #begin(): Begin {
    const { savepoint, path } = this.#options
    if (savepoint === undefined) return { folder: path, views: {}, complete: [], ...this.#store.latest }
    const files = [savepoint.file]
    const views = Object.entries(savepoint.views).map(([name, view]) => [name, { ...view, files }] as const)
    return { folder: dirname(savepoint.path), views: Object.fromEntries(views), complete: savepoint.complete }
  }

  /**
   * Loads the views' rows and positions as planned. A stopped view is left as it is on disk. Returns the sources whose snapshot was complete.
   * @throws CHECKPOINT_CORRUPT: views hold a part of their rows then, and are to be reset; `discard` leads to an older checkpoint;
   * SAVEPOINT_UNUSABLE, MIGRATION_FAILED: nothing has changed on disk
   */
  async load(views: readonly FoldedView[], plans: readonly ViewPlan[]): Promise<readonly string[]> {
    const begin = this.#begin
    const kept: Kept[] = []
    this.#saved.clear()
    for (const [n, view] of views.entries()) {
      const { plan } = plans[n]!
      const saved = plan === 'new' || plan === 'rebuild' ? undefined : begin.views[view.name]
      const asStored = saved === undefined || migrationOf(view, saved.facts.state) === undefined
      this.#facts.set(view.name, this.#factsOf(view, plan, saved, !asStored))
      if (saved === undefined) continue
      this.#saved.add(view.name)
      if (view.error) continue
      view.position = saved.position
      kept.push({ view, saved, asStored })
    }
    const isWhole = kept.length === views.length && kept.every(({ asStored }) => asStored)
    const resumed = isWhole && !this.#options.savepoint ? this.#resumed(kept) : undefined
    await this.#loadKept(kept, begin.folder, resumed)
    if (this.#options.savepoint) this.#store.forget()
    else await this.#goOn(kept, plans, resumed)
    return begin.complete
  }

  async #loadKept(kept: readonly Kept[], folder: string, resumed: readonly RowFile[] | undefined): Promise<void> {
    const { members, savepoint } = this.#options
    const views = kept.map(({ view: { name }, saved: { files, facts } }) => ({ name, files, state: facts.state }))
    const loading = members.map((member, n) => member.load({ folder, views, resume: resumed?.[n] }))
    try {
      const reports = (await Promise.allSettled(loading)).map(result => {
        if (result.status === 'rejected') throw result.reason
        return result.value
      })
      for (const each of kept) endLoad(each, reports, folder)
    } catch (error) {
      if (savepoint && isMainstemError(error) && error.code === 'CHECKPOINT_CORRUPT')
        throw unusable(savepoint.path, error.detail ?? error.message, error)
      throw error
    }
  }

  /** The members' files of the newest checkpoint, where they hold all rows of all views, divided as they are now. */
  #resumed(kept: readonly Kept[]): readonly RowFile[] | undefined {
    const { members } = this.#options
    const files = kept[0]?.saved.files ?? []
    const isDivided = members.every(({ groups }, n) => isDeepStrictEqual(files[n]?.groups, groups))
    const areAll = kept.every(({ saved }) => isDeepStrictEqual(saved.files, files))
    return isDivided && areAll && files.length === members.length ? files : undefined
  }

  /** What follows from where the newest checkpoint was loaded. */
  async #goOn(kept: readonly Kept[], plans: readonly ViewPlan[], resumed: unknown): Promise<void> {
    // Of what is migrated, the rows on disk are still of the former form.
    const stored = kept.filter(({ asStored }) => asStored).map(({ view }) => view.name)
    const continued = plans.filter(({ plan, view }) => plan === 'continue' && stored.includes(view))
    if (continued.length > 0) await this.#restate(continued.map(({ view }) => view))
    if (resumed !== undefined && kept.every(({ view }) => !view.error)) this.#store.resume()
  }

  /** What is known of a view from here on; where what it had before ended is written down. */
  #factsOf(
    view: FoldedView,
    plan: ViewPlan['plan'],
    saved: ViewCheckpoint | undefined,
    isMigrated: boolean,
  ): Omit<ViewFactsSaved, 'generation'> {
    const { fingerprint, log, savepoint } = this.#options
    const facts = factsOf(view, log)
    const before = saved?.continued ?? []
    if (saved === undefined || plan === 'unchanged') return { fingerprint, facts, continued: before }
    const handedOver = {
      position: saved.position,
      fingerprint: saved.fingerprint,
      ...(isMigrated ? { migrated: true as const } : {}),
      ...(savepoint ? { savepoint: savepoint.name } : {}),
    }
    return { fingerprint, facts, continued: [...before, handedOver].slice(-CONTINUED_MAX) }
  }

  /** Before anything is folded: a crash must not cost that views were continued. */
  async #restate(names: readonly string[]): Promise<void> {
    const views = this.#store.latest?.views ?? {}
    const stated = names.map(
      name => [name, { ...this.#facts.get(name)!, generation: views[name]!.generation }] as const,
    )
    await this.#store.restate(Object.fromEntries(stated))
  }

  /** The newest checkpoint is damaged: the one before is the newest now. Its views are empty, and plans are to be made anew. */
  discard(): void {
    const { latest } = this.#store
    if (latest !== undefined) this.#store.discard(latest)
    for (const member of this.#options.members) member.reset()
  }

  /** What the newest checkpoint says of a view; undefined where it has none of it. */
  of({ name }: FoldedView): ViewCheckpoint | undefined {
    return this.#saved.has(name) ? this.#store.latest?.views[name] : undefined
  }

  /** Those that can be restored, newest first. */
  get kept(): readonly Checkpoint[] {
    return this.#store.kept
  }

  /** Where other code handed the view over, oldest first. */
  continued({ name }: FoldedView): readonly ContinuedFrom[] {
    return this.#facts.get(name)?.continued ?? []
  }

  /** A replay has exchanged rows of these views at this cut; it began with rows of `from`. */
  replayed(names: readonly string[], position: number, from: number): void {
    for (const name of names) {
      const known = this.#facts.get(name)
      if (known === undefined) continue
      const replay = { position, fingerprint: this.#options.fingerprint, replayedFrom: from }
      this.#facts.set(name, { ...known, continued: withReplay(known.continued, replay).slice(-CONTINUED_MAX) })
    }
  }

  /**
   * Writes what has changed, as of this call: the caller is at a cut. Folding goes on meanwhile: a row that is about to
   * change is written first (copy on write), the others between other work. Resolves when all of it is on disk.
   * @param generation of the log's base from which they were folded
   * @param published resolves when all that they emitted up to here is in the log: a restart from here does not emit it again
   * @param full writes all rows, into new files
   * @throws CHECKPOINT_FAILED: the next one writes all rows; and what `published` throws
   */
  async write(
    position: number,
    complete: readonly string[],
    generation: number,
    published: Promise<void>,
    full = false,
  ): Promise<Checkpoint> {
    const store = this.#store
    const next = store.request()
    const request = { ...next, full: full || next.full }
    // All at the same cut: that of this call. So is what the views are: a replay may exchange rows meanwhile.
    const views = Object.fromEntries([...this.#facts].map(([name, facts]) => [name, { ...facts, generation }]))
    const writing = Promise.allSettled(this.#options.members.map(member => member.write(request)))
    try {
      const parts = (await writing).map(result => {
        if (result.status === 'rejected') throw result.reason
        return result.value
      })
      await published
      const checkpoint = await store.commit({ request, position, parts, complete, views })
      for (const name of this.#facts.keys())
        if (parts.every(part => part.views[name]?.error === null)) this.#saved.add(name)
      return checkpoint
    } catch (error) {
      store.failed()
      throw cannotCheckpoint(error)
    }
  }
}

/** @throws CHECKPOINT_CORRUPT, MIGRATION_FAILED */
function endLoad({ view, saved }: Kept, reports: readonly LoadReport[], folder: string): void {
  const files = saved.files.map(({ name }) => join(folder, name)).join(', ')
  const hashes: RowsHash[] = []
  for (const report of reports) {
    const found = report[view.name]!
    if ('hash' in found) hashes.push(found)
    else if (found.error.code === 'STATE_TOO_LARGE') view.stop(errorOf(found.error))
    else if (found.error.code === 'MIGRATION_FAILED') throw errorOf(found.error)
    else throw corrupt(files, found.error.detail ?? found.error.message)
  }
  // With more memory the next start goes on from its rows.
  if (view.error) return
  const { rows, hash } = addHashes(hashes)
  if (rows === saved.rows && hash === saved.hash) return
  throw corrupt(files, `${rows} rows of '${view.name}' with hash ${hash}, expected ${saved.rows} with ${saved.hash}`)
}
