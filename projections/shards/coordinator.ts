// The coordinator: says how far shards fold, slice by slice, and is the engine that reads and operations see: start plan,
// progress, waiting readers, lag, checkpoints.
// Guarantees: a read sees whole transactions only; a restart continues at the last checkpoint and folds the same records.
import {
  asMainstemError,
  describeError,
  fail,
  installPurityGuards,
  isMainstemError,
  type Log,
  type MainstemError,
  nodeFileSystem,
  reportOf,
} from '../../core/index.ts'
import { sourcesByView } from '../application.ts'
import { Checkpoints } from '../checkpoint/checkpoints.ts'
import type { CutRead, EngineStatus, LocalEngine, Progress, RowRequest } from '../engine.ts'
import type { EngineEvent, EngineOptions } from '../engine-options.ts'
import { historyGone, ViewHolds } from '../history.ts'
import { type PastHost, PastReads } from '../past/past-reads.ts'
import { Publishing } from '../publish/publishing.ts'
import type { ContinuedFrom, ViewPlan } from '../start-plan.ts'
import { unknownView } from '../unknown-view.ts'
import { Verifier, type VerifyHost } from '../verifier.ts'
import type { FoldedView } from '../view.ts'
import { CatchingUp } from './catching-up.ts'
import { LagMeter } from './lag-meter.ts'
import { LocalReadView } from './live-view.ts'
import { LogEnd } from './log-end.ts'
import { PositionWaiters } from './position-waiters.ts'
import { realScheduler, type Scheduler } from './scheduler.ts'
import { Shard, type SliceEnd } from './shard.ts'
import { SliceSize } from './slice-size.ts'

const SLICE_MS = 2
/** Of a slice while nobody may read. */
const REBUILD_SLICE_MS = 50
/** From one checkpoint's start to the next: this many times what it took. */
const CHECKPOINT_REST = 10
const CHECKPOINT_INTERVAL_MS = 1_000

/** Opens the views of an application over its log: loads the last checkpoint and begins to fold. @throws DEFINITION_INVALID, VIEW_CANNOT_CONTINUE */
export async function openEngine(options: EngineOptions): Promise<LocalEngine> {
  installPurityGuards()
  const coordinator = new Coordinator(options)
  await coordinator.load().catch(async error => {
    await coordinator.stop()
    throw error
  })
  coordinator.start()
  return coordinator
}

class Coordinator implements LocalEngine {
  readonly #options: EngineOptions
  readonly #scheduler: Scheduler
  readonly #sliceMs: number
  readonly #log: Log
  readonly #shard: Shard
  /** Undefined until it is loaded. */
  #checkpoints: Checkpoints | undefined
  readonly #logEnd: LogEnd
  readonly #sliceSize = new SliceSize()
  readonly #publishing: Publishing
  readonly #lag = new LagMeter()
  readonly #waiters = new PositionWaiters()
  readonly views: ReadonlyMap<string, LocalReadView>
  /** By view, what the start did with it. */
  readonly plans = new Map<string, ViewPlan>()
  readonly verifier: Verifier
  readonly past: PastReads
  #catchingUp: CatchingUp
  #running: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #checkpointing: Promise<void> | undefined
  #checkpointPosition = -1
  #checkpointDueMs = 0
  #loaded = false
  #reported = new Set<string>()
  #failure: MainstemError | undefined
  #abandoned = false
  #holds: ViewHolds | undefined

  constructor(options: EngineOptions) {
    this.#options = options
    this.#scheduler = options.scheduler ?? realScheduler
    this.#sliceMs = options.sliceMs ?? SLICE_MS
    this.#log = options.log
    this.#logEnd = new LogEnd(options.log)
    const { log, parts, stateBytesMax } = options
    this.#shard = new Shard({ log, parts, stateBytesMax, scheduler: this.#scheduler, sliceMs: this.#sliceMs })
    this.#publishing = new Publishing(log, parts.projections, (name, error) => this.#cannotPublish(name, error))
    this.#catchingUp = new CatchingUp(this.#scheduler, 0, 0, false)
    this.verifier = new Verifier(this.#verifyHost())
    this.past = new PastReads(this.#pastHost())
    const sources = sourcesByView(parts)
    this.views = new Map(
      this.#shard.views.map(view => [
        view.name,
        new LocalReadView(view, sources.get(view.name) ?? [], options.fingerprint, this),
      ]),
    )
  }

  #verifyHost(): VerifyHost {
    const shard = this.#shard
    return {
      log: this.#log,
      parts: this.#options.parts,
      folded: shard.views,
      memory: shard.memory,
      scheduler: this.#scheduler,
      sliceMs: this.#sliceMs,
      get position() {
        return shard.position
      },
      get atCut() {
        return !shard.inTransaction
      },
      cut: () => shard.cut(),
      waitFor: (position, signal) => this.waitFor(position, signal),
    }
  }

  #pastHost(): PastHost {
    const { fingerprint, path, acceptHistoryGone = [] } = this.#options
    const { generation } = this.#log.base
    const live = (name: string) => this.#shard.views.find(view => view.name === name)!
    return Object.assign(this.#verifyHost(), {
      fingerprint,
      fs: nodeFileSystem,
      path: `${path}-past`,
      checkReadable: (view: string) => this.views.get(view)!.check(),
      isComplete: (source: string) => this.isComplete(source),
      continuedTo: (view: string) => this.continued(live(view)).at(-1)?.position ?? 0,
      foldsWhatIsLeft: (view: string) =>
        acceptHistoryGone.includes(view) &&
        this.plans.get(view)?.from === 0 &&
        generation === this.#log.base.generation,
    })
  }

  async load(): Promise<void> {
    const { views, memory } = this.#shard
    const { path, fingerprint, fs = nodeFileSystem } = this.#options
    const [log, scheduler, sliceMs] = [this.#log, this.#scheduler, this.#sliceMs]
    const checkpoints = await Checkpoints.open({ fs, path, log, views, memory, fingerprint, scheduler, sliceMs })
    this.#checkpoints = checkpoints
    if (checkpoints.damage) this.#emit({ event: 'checkpoint-damaged', ...reportOf(checkpoints.damage) })
    const complete = await this.#loadCheckpoint(checkpoints)
    this.#holds = new ViewHolds(this.#log, views)
    const positions = views.filter(view => !view.error).map(view => view.position)
    const from = positions.length > 0 ? Math.min(...positions) : this.#log.end
    this.#begin(from, from === 0 ? [] : complete)
    this.#loaded = true
  }

  /** Loads the newest checkpoint that is not damaged. Returns the sources whose snapshot was complete there. */
  async #loadCheckpoint(checkpoints: Checkpoints): Promise<readonly string[]> {
    const { views } = this.#shard
    for (;;) {
      const plans = this.#plan(checkpoints)
      try {
        return await checkpoints.load(views, plans)
      } catch (error) {
        if (!isMainstemError(error) || error.code !== 'CHECKPOINT_CORRUPT') throw error
        this.#emit({ event: 'checkpoint-damaged', ...reportOf(error) })
        checkpoints.discard()
        for (const view of views) view.reset()
      }
    }
  }

  #plan(checkpoints: Checkpoints): readonly ViewPlan[] {
    const { views } = this.#shard
    const plans = checkpoints.plan(views, this.#options.continueFrom ?? [])
    for (const plan of plans) this.plans.set(plan.view, plan)
    const records = Math.max(0, ...plans.map(plan => plan.records))
    const estimatedSeconds = Math.max(0, ...plans.map(plan => plan.estimatedSeconds))
    this.#emit({ event: 'start-plan', views: plans, records, estimatedSeconds })
    const { acceptHistoryGone = [] } = this.#options
    for (const [n, view] of views.entries()) view.position = plans[n]!.from
    for (const view of views) {
      const gone = acceptHistoryGone.includes(view.name) ? undefined : historyGone(view, this.#log)
      if (gone) view.stop(gone)
    }
    return plans
  }

  #begin(from: number, complete: readonly string[]): void {
    const target = this.#log.end
    const anew = this.#anew()
    this.#catchingUp = new CatchingUp(this.#scheduler, from, target, anew.length > 0)
    this.#shard.begin(from, complete, target, this.#publishing.publishedUpTo)
    for (const view of this.#shard.views) this.#reportStopped(view)
    if (this.rebuilding) this.#emit({ event: 'rebuild-started', views: anew, records: target - from })
  }

  /** Views that begin anew. */
  #anew(): readonly string[] {
    return this.#shard.views.flatMap(({ name, error }) => {
      const plan = this.plans.get(name)?.plan
      return !error && (plan === 'new' || plan === 'rebuild') ? [name] : []
    })
  }

  start(): void {
    this.#running = this.#run().catch(error => this.#fail(error))
    this.#timer = setInterval(
      () => this.#checkpointIfDue(),
      this.#options.checkpointIntervalMs ?? CHECKPOINT_INTERVAL_MS,
    )
    this.#timer.unref()
  }

  /** In the background checkpoints take a tenth of the time at most: while much changes, fewer and larger ones. */
  #checkpointIfDue(): void {
    if (this.#scheduler.nowMs() >= this.#checkpointDueMs) void this.checkpoint().catch(() => {})
  }

  async #run(): Promise<void> {
    let scanned = this.#shard.position
    for (;;) {
      const logEnd = await this.#logEnd.beyond(scanned)
      if (logEnd === undefined) return
      // A rebuild ends exactly at its target: beyond it, rows are read.
      const most = this.rebuilding ? this.#catchingUp.target : logEnd
      const to = Math.min(most, scanned + this.#sliceSize.records)
      const end = await this.#shard.run(to, !this.rebuilding)
      if (end === undefined) return
      const wishedMs = this.rebuilding ? REBUILD_SLICE_MS : this.#sliceMs
      this.#sliceSize.measured(end.scanned - scanned, end.ms, wishedMs)
      scanned = end.scanned
      this.#passed(end)
      if (this.#publishing.full) await this.#publishing.room()
    }
  }

  /** A slice has been folded. */
  #passed({ position, commitTimesUs }: SliceEnd): void {
    for (const view of this.#shard.views) if (view.error) this.#reportStopped(view)
    this.#publishing.take(this.#shard.takeEmissions())
    for (const commitTimeUs of commitTimesUs) this.#lag.record(commitTimeUs)
    this.#endCatchingUp(position)
    this.#waiters.wake(position)
  }

  #endCatchingUp(position: number): void {
    const wasRebuilding = this.rebuilding
    const ended = this.#catchingUp.passed(position)
    if (ended === undefined) return
    const { records, seconds, measured } = ended
    if (measured && this.#checkpoints) this.#checkpoints.recordsPerSecond = Math.round(records / seconds)
    if (wasRebuilding) this.#emit({ event: 'rebuild-ended', records, seconds })
  }

  #reportStopped(view: FoldedView): void {
    if (this.#reported.has(view.name) || !view.error) return
    this.#reported.add(view.name)
    this.#emit({ event: 'view-stopped', view: view.name, ...reportOf(view.error) })
  }

  #cannotPublish(name: string, error: MainstemError): void {
    const view = this.#shard.views.find(each => each.name === name)
    view?.stop(error)
    if (view) this.#reportStopped(view)
  }

  /** The scan itself failed (a corrupt block, an unreadable file): every view stops here and says so. */
  #fail(error: unknown): void {
    this.#failure = asMainstemError(error)
    this.verifier.cancel(this.#failure)
    this.#shard.stopViews(this.#failure)
    for (const view of this.#shard.views) this.#reportStopped(view)
  }

  #emit(event: EngineEvent): void {
    this.#options.onEvent?.(event)
  }

  get position(): number {
    return this.#shard.position
  }

  read(requests: readonly RowRequest[]): CutRead {
    let final = true
    const rows = requests.map(({ view, key }) => {
      const live = this.views.get(view)
      if (!live) throw unknownView(view, this.views.keys())
      final &&= live.final
      return live.get(key)
    })
    return { position: this.position, rows, final }
  }

  waitFor(position: number, signal: AbortSignal): Promise<void> {
    if (position <= this.position) return Promise.resolve()
    return this.#waiters.wait(position, signal)
  }

  isComplete(source: string): boolean {
    return this.#shard.complete.has(source)
  }

  get rebuilding(): boolean {
    return this.#catchingUp.rebuilding
  }

  get catchingUp(): boolean {
    return this.#catchingUp.underWay
  }

  progress(): Progress {
    return this.#catchingUp.progress(this.position)
  }

  continued(view: FoldedView): readonly ContinuedFrom[] {
    return this.#checkpoints?.continued(view) ?? []
  }

  publishingWaitsFor({ name }: FoldedView): string | null {
    return this.#publishing.waitingFor(name)
  }

  status(): EngineStatus {
    return {
      position: this.position,
      logEnd: this.#log.end,
      checkpointPosition: Math.max(this.#checkpointPosition, 0),
      recordsPerSecond: this.#catchingUp.recordsPerSecond(this.position),
      progress: this.catchingUp ? this.progress() : null,
      lag: this.#lag.recent(),
    }
  }

  lagTotal(): EngineStatus['lag'] {
    return this.#lag.total()
  }

  checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpointNow().finally(() => {
      this.#checkpointing = undefined
    })
    return this.#checkpointing
  }

  async #checkpointNow(): Promise<void> {
    const shard = this.#shard
    // The scan may begin a transaction between the cut and this continuation: half of it must not be in a checkpoint.
    do await shard.cut()
    while (shard.inTransaction && !this.#abandoned)
    const { position } = shard
    const checkpoints = this.#checkpoints
    if (!checkpoints || position === this.#checkpointPosition || this.#failure || this.#abandoned) return
    const startedMs = this.#scheduler.nowMs()
    this.#emit({ event: 'checkpoint-started', position })
    try {
      this.#publishing.take(shard.takeEmissions())
      const published = this.#publishing.durableThrough(position)
      published.catch(() => {})
      await checkpoints.write(position, shard.complete.sources, shard.generation, published)
      this.#holds?.update(view => checkpoints.position(view))
      this.#checkpointPosition = position
      const ms = this.#scheduler.nowMs() - startedMs
      this.#checkpointDueMs = startedMs + ms * CHECKPOINT_REST
      this.#emit({ event: 'checkpoint-ended', position, ms })
    } catch (error) {
      this.#emit({ event: 'checkpoint-failed', message: describeError(error) })
      throw error
    }
    for (const view of shard.views) this.#reportStopped(view)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.past.stop()
    await this.verifier.stop()
    this.#publishing.release()
    this.#logEnd.close()
    this.#shard.close()
    await this.#running
    this.#publishing.take(this.#shard.takeEmissions())
    await this.#publishing.stop()
    if (this.#shard.inTransaction) {
      // First, because a checkpoint may be waiting for a cut that does not come any more: the last one stands.
      this.#abandoned = true
      this.#shard.stopViews(fail('SHUTTING_DOWN', 'the application is shutting down'))
    }
    await this.#checkpointing?.catch(() => {})
    if (this.#loaded && !this.#abandoned) await this.checkpoint().catch(() => {})
    this.#holds?.release()
    await this.#checkpoints?.close()
  }
}
