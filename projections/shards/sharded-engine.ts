// The engine of several shards behind channels, wherever they run.
import { installPurityGuards, nodeFileSystem } from '../../core/index.ts'
import { sourcesByView } from '../application.ts'
import type { CutRead, Engine, RowRequest } from '../engine.ts'
import type { EngineOptions } from '../engine-options.ts'
import { indexBuilding, RANGE_TIMEOUT_MS, type RangeRead, type RangeRequest } from '../indexes/range-read.ts'
import { PastReads } from '../past/past-reads.ts'
import { Replayer } from '../replay/replayer.ts'
import { type SavedIn, SavedRows } from '../savepoint/saved-rows.ts'
import { unknownView } from '../unknown-view.ts'
import { type RefoldHost, type RowsOfCut, Verifier } from '../verifier.ts'
import type { FoldedView } from '../view.ts'
import { Coordinator } from './coordinator.ts'
import type { ShardCrew } from './crew.ts'
import { ReadView } from './live-view.ts'
import { RemoteShards } from './remote-shards.ts'
import { realScheduler, rest, type Scheduler } from './scheduler.ts'
import { SLICE_MS } from './slice-size.ts'

/** After so long shards are asked again whose order was not level. */
const BEHIND_MS = 5
const NEVER = new AbortController().signal

/**
 * Opens the views of an application over shards that stand ready. Closing the engine closes them.
 * @throws DEFINITION_INVALID, VIEW_CANNOT_CONTINUE
 */
export async function openShardedEngine(options: EngineOptions, crew: ShardCrew): Promise<Engine> {
  installPurityGuards()
  const coordinator: ShardedCoordinator = new ShardedCoordinator(options, crew, error =>
    coordinator.shardsFailed(error),
  )
  await coordinator.open()
  return coordinator
}

class ShardedCoordinator extends Coordinator {
  override readonly views: ReadonlyMap<string, ReadView>
  override readonly verifier: Verifier
  override readonly replayer: Replayer
  override readonly past: PastReads
  readonly #shards: RemoteShards
  readonly #crew: ShardCrew
  readonly #scheduler: Scheduler

  constructor(options: EngineOptions, crew: ShardCrew, onFailed: (error: Error) => void) {
    const { parts, fingerprint, scheduler = realScheduler } = options
    const shards = new RemoteShards({ channels: crew.channels, parts, scheduler, onFailed })
    super({ options, folding: shards, members: shards.members })
    this.#shards = shards
    this.#crew = crew
    this.#scheduler = scheduler
    const sources = sourcesByView(parts)
    this.views = new Map(
      shards.views.map(view => [view.name, new ReadView(view, sources.get(view.name) ?? [], fingerprint, this)]),
    )
    const { log, sliceMs = SLICE_MS, path, fs = nodeFileSystem } = options
    const host = (name: string): RefoldHost => ({
      log,
      parts,
      folded: shards.views,
      memory: shards.memory,
      scheduler,
      sliceMs,
      waitFor: (position, signal) => this.waitFor(position, signal),
      rowsAtCut: (_, refolded, turns, atCut) =>
        this.#savedRows({ fs, folder: `${path}-verify`, turns }, name, refolded, atCut),
    })
    this.verifier = new Verifier(host('verify'))
    const places = this.placesInPast(shards.views)
    this.replayer = new Replayer({ ...host('replay'), fs, bases: places.bases, ...this.exchange() })
    this.past = new PastReads({
      ...places,
      log,
      parts,
      scheduler,
      sliceMs,
      memory: shards.memory,
      folded: shards.views,
      rowsHere: false,
      get position() {
        return shards.position
      },
      whenAtCut: begin => this.whenAtCut(begin),
      openOrder: (view, range) => shards.ranges.orders.open(view, range),
    })
  }

  /** The shards' rows are written to a file: what is compared is what they hold in memory, at one cut. */
  async #savedRows(
    where: Omit<SavedIn, 'savepoint'>,
    name: string,
    refolded: readonly FoldedView[],
    atCut: () => void,
  ): Promise<RowsOfCut> {
    const { fs, folder } = where
    const savepoint = await this.savepoints.temporary(folder, name, atCut)
    const views = refolded.filter(({ name }) => savepoint.views[name] !== undefined)
    let left = views.length
    const end = () => {
      if (--left === 0) void fs.remove(savepoint.path).catch(() => {})
    }
    const rows = new Map(views.map(view => [view.name, new SavedRows({ ...where, savepoint }, view, end)]))
    return { position: savepoint.position, rows }
  }

  shardsFailed(error: Error): void {
    this.fail(error)
  }

  override async read(requests: readonly RowRequest[]): Promise<CutRead> {
    const views = [...new Set(requests.map(({ view }) => view))].map(name => {
      const view = this.views.get(name)
      if (!view) throw unknownView(name, this.views.keys())
      return view
    })
    for (const view of views) view.check()
    const { position, rows } = await this.#shards.read(requests)
    // One that has stopped meanwhile has no rows.
    for (const view of views) view.check()
    return { position, rows, final: views.every(view => view.final) }
  }

  override async range({
    view: name,
    range,
    most,
    timeoutMs = RANGE_TIMEOUT_MS,
    signal,
  }: RangeRequest): Promise<RangeRead> {
    const view = this.views.get(name)
    if (!view) throw unknownView(name, this.views.keys())
    const folded = this.#shards.views.find(each => each.name === name)!
    const endMs = this.#scheduler.nowMs() + timeoutMs
    for (;;) {
      view.check()
      const read = await this.#shards.ranges.read(folded, range, most)
      view.check()
      if (!('behind' in read)) return { ...read, final: view.final }
      if (this.#scheduler.nowMs() >= endMs) throw indexBuilding(view, range.index, read.behind)
      // Having been asked, the shards work on it.
      await rest(this.#scheduler, BEHIND_MS, signal ?? NEVER)
    }
  }

  override async stop(): Promise<void> {
    await super.stop()
    await this.#crew.close()
  }
}
