// The checkpoints of an engine whose views are all in this thread: plans a start, loads what it keeps, writes what changed.
import { type FileSystem, type Held, type Log, type MainstemError, nodeFileSystem } from '../../core/index.ts'
import { type Scheduler, Turns } from '../shards/scheduler.ts'
import { LettersSink, lettersName } from '../skip/letters-file.ts'
import { type ContinuedFrom, factsOf, planStart, type ViewPlan } from '../start-plan.ts'
import { ALL_GROUPS } from '../state/key-groups.ts'
import type { StateMemory } from '../state/memory.ts'
import type { FoldedView } from '../view.ts'
import { loadRows, type RowsWanted, ViewRows } from './load.ts'
import { readManifest, type ViewCheckpoint } from './manifest.ts'
import { CheckpointPart } from './part.ts'
import { corrupt } from './row-file-reader.ts'
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
  readonly log: Log
  readonly views: readonly FoldedView[]
  readonly memory: StateMemory
  readonly fingerprint: string
  readonly scheduler: Scheduler
  /** Longest run without a yield to the event loop. */
  readonly sliceMs: number
}

export class Checkpoints {
  readonly #options: CheckpointsOptions
  readonly #store: CheckpointStore
  readonly #part: CheckpointPart
  /** What the views are now, beside their rows; the generation is that of the last checkpoint. */
  readonly #facts = new Map<string, Omit<ViewFactsSaved, 'generation'>>()
  /** Views whose rows the newest checkpoint has, or has had when this began. */
  readonly #saved = new Set<string>()

  private constructor(options: CheckpointsOptions, store: CheckpointStore) {
    const { fs, path, log, views, scheduler, sliceMs, memory } = options
    this.#options = options
    this.#store = store
    this.#part = new CheckpointPart({
      fs,
      folder: path,
      logId: log.id,
      shard: 0,
      groups: ALL_GROUPS,
      views,
      scheduler,
      sliceMs,
      take: bytes => (bytes > 0 ? memory.take(bytes) : memory.release(-bytes, 0)),
    })
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
    const { log, fingerprint } = this.#options
    const { latest, foundLogId: logId, fault, recordsPerSecond } = this.#store
    const saved = latest?.views ?? {}
    return planStart({ views, log, fingerprint, saved, logId, fault, continueFrom, recordsPerSecond })
  }

  /**
   * Loads the views' rows and positions as planned. A stopped view is left as it is on disk. Returns the sources whose snapshot was complete.
   * @throws CHECKPOINT_CORRUPT: views hold a part of their rows then, and are to be reset; `discard` leads to an older checkpoint
   */
  async load(views: readonly FoldedView[], plans: readonly ViewPlan[]): Promise<readonly string[]> {
    const { latest } = this.#store
    const kept: { readonly rows: ViewRows; readonly view: FoldedView; readonly saved: ViewCheckpoint }[] = []
    this.#saved.clear()
    for (const [n, view] of views.entries()) {
      const { plan } = plans[n]!
      const saved = plan === 'new' || plan === 'rebuild' ? undefined : latest?.views[view.name]
      this.#facts.set(view.name, this.#factsOf(view, plan, saved))
      if (saved === undefined) continue
      this.#saved.add(view.name)
      if (view.error) continue
      view.position = saved.position
      kept.push({ rows: new ViewRows(this.#part.views[n]!), view, saved })
    }
    await this.#loadRows(new Map(kept.map(({ rows, view, saved }) => [view.name, { sink: rows, files: saved.files }])))
    await this.#loadLetters(kept)
    for (const { rows, view, saved } of kept) {
      // Where the rows are more than the memory limit, the view stops; with more memory the next start goes on from them.
      if (rows.error) view.stop(rows.error)
      else this.#checkLoaded(rows, view, saved)
    }
    const continued = plans.filter(({ plan }) => plan === 'continue').map(({ view }) => view)
    if (continued.length > 0) await this.#restate(continued)
    if (kept.length === views.length && kept.every(({ rows }) => !rows.error))
      this.#resume(kept.map(({ saved }) => saved))
    return latest?.complete ?? []
  }

  async #loadLetters(kept: readonly { readonly view: FoldedView; readonly saved: ViewCheckpoint }[]): Promise<void> {
    const sinks = kept.flatMap(({ view, saved: { files } }) =>
      view.deadLetters ? [{ view, sink: new LettersSink(view.deadLetters), files }] : [],
    )
    if (sinks.length === 0) return
    await this.#loadRows(new Map(sinks.map(({ view, sink, files }) => [lettersName(view.name), { sink, files }])))
    for (const { view, sink } of sinks) if (sink.error) view.stop(sink.error)
  }

  async #loadRows(wanted: ReadonlyMap<string, RowsWanted>): Promise<void> {
    const { fs, path: folder, log, scheduler, sliceMs } = this.#options
    const turns = new Turns(scheduler, sliceMs)
    await loadRows({ fs, folder, logId: log.id, groups: ALL_GROUPS, turns }, wanted)
  }

  #checkLoaded(rows: ViewRows, view: FoldedView, saved: ViewCheckpoint): void {
    rows.end()
    const part = this.#part.views.find(each => each.view === view)!
    const { rows: count, hash } = part.sums.total()
    if (count === saved.rows && hash === saved.hash) return
    const detail = `${count} rows of '${view.name}' with hash ${hash}, expected ${saved.rows} with ${saved.hash}`
    throw corrupt(saved.files.map(({ name }) => name).join(', ') || view.name, detail)
  }

  /** What is known of a view from here on; where the code that folded it before ended is written down. */
  #factsOf(
    view: FoldedView,
    plan: ViewPlan['plan'],
    saved: ViewCheckpoint | undefined,
  ): Omit<ViewFactsSaved, 'generation'> {
    const { fingerprint, log } = this.#options
    const facts = { ...factsOf(view, log), contracts: { ...factsOf(view, log).contracts } }
    const before = saved?.continued ?? []
    if (plan !== 'continue' || saved === undefined) return { fingerprint, facts, continued: before }
    const handedOver = { position: saved.position, fingerprint: saved.fingerprint }
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

  /** Goes on with the file of the newest checkpoint, where it has all rows of all views. */
  #resume(saved: readonly ViewCheckpoint[]): void {
    const [file, ...others] = saved[0]?.files ?? []
    if (file === undefined || others.length > 0) return
    if (file.groups.from !== ALL_GROUPS.from || file.groups.to !== ALL_GROUPS.to) return
    if (saved.some(({ files }) => files.length !== 1 || files[0]!.name !== file.name || files[0]!.bytes !== file.bytes))
      return
    this.#part.resume(file)
    this.#store.resume()
  }

  /** The newest checkpoint is damaged: the one before is the newest now. Its views are empty, and plans are to be made anew. */
  discard(): void {
    const { latest } = this.#store
    if (latest !== undefined) this.#store.discard(latest)
    for (const part of this.#part.views) part.drop()
  }

  /** Where a view's rows were last written. */
  position(view: FoldedView): number | undefined {
    return this.#saved.has(view.name) ? this.#store.latest?.views[view.name]?.position : undefined
  }

  /** Where other code handed the view over, oldest first. */
  continued({ name }: FoldedView): readonly ContinuedFrom[] {
    return this.#facts.get(name)?.continued ?? []
  }

  /**
   * Writes what has changed, as of this call: the caller is at a cut. Folding goes on meanwhile: a row that is about to
   * change is written first (copy on write), the others between other work. Resolves when all of it is on disk.
   * @param generation of the log's base from which they were folded
   * @param published resolves when all that they emitted up to here is in the log: a restart from here does not emit it again
   * @throws what the disk threw: the next one writes all rows; and what `published` throws
   */
  async write(
    position: number,
    complete: readonly string[],
    generation: number,
    published: Promise<void>,
  ): Promise<void> {
    const store = this.#store
    const request = store.request()
    this.#part.begin(request)
    try {
      const report = await this.#part.finish()
      await published
      const views = Object.fromEntries([...this.#facts].map(([name, facts]) => [name, { ...facts, generation }]))
      await store.commit({ request, position, parts: [report], complete, views })
      for (const [name, { error }] of Object.entries(report.views)) if (error === null) this.#saved.add(name)
    } catch (error) {
      store.failed()
      throw error
    }
  }

  close(): Promise<void> {
    return this.#part.close()
  }
}
