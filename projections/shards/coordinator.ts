// The coordinator: says how far shards fold, slice by slice, and is the engine that reads and operations see: start plan,
// progress, waiting readers, lag, checkpoints.
// Guarantees: a read sees whole transactions only; a restart continues at the last checkpoint and folds the same records.
import { dirname, join } from 'node:path'
import {
  asMainstemError,
  fail,
  isMainstemError,
  type Log,
  type MainstemError,
  nodeFileSystem,
  reportOf,
} from '../../core/index.ts'
import { Checkpoints } from '../checkpoint/checkpoints.ts'
import type { Checkpoint } from '../checkpoint/manifest.ts'
import type { CheckpointMember } from '../checkpoint/member.ts'
import type { CutRead, Engine, EngineStatus, LiveView, Progress, RowRequest, ViewCheckpointStatus } from '../engine.ts'
import type { EngineEvent, EngineOptions } from '../engine-options.ts'
import { LogClock } from '../expiry/log-clock.ts'
import { Feeds } from '../feed/feeds.ts'
import { historyGone, ViewHolds } from '../history.ts'
import type { RangeRead, RangeRequest } from '../indexes/range-read.ts'
import type { Past } from '../past/past.ts'
import { Publishing } from '../publish/publishing.ts'
import type { Replayer } from '../replay/replayer.ts'
import { schemasOf } from '../savepoint/savepoint-file.ts'
import { Savepoints } from '../savepoint/savepoints.ts'
import { DeadLetterDesk } from '../skip/redrive.ts'
import { begunAnew, type ContinuedFrom, type ViewPlan, wholePlan } from '../start-plan.ts'
import { unknownView } from '../unknown-view.ts'
import type { Verifier } from '../verifier.ts'
import type { FoldedView } from '../view.ts'
import { CatchingUp } from './catching-up.ts'
import { type CheckpointCut, CheckpointRuns } from './checkpoint-runs.ts'
import { CutWaiters } from './cut-waiters.ts'
import type { CoordinatorParts, Folding } from './folding.ts'
import { LagMeter } from './lag-meter.ts'
import { LogEnd } from './log-end.ts'
import { placesInPast } from './past-places.ts'
import { PositionWaiters } from './position-waiters.ts'
import { type RowExchange, rowExchange } from './row-exchange.ts'
import { realScheduler, type Scheduler } from './scheduler.ts'
import type { SliceEnd } from './shard.ts'
import { REBUILD_SLICE_MS, SLICE_MS, SliceSize } from './slice-size.ts'

const CHECKPOINT_INTERVAL_MS = 1_000

/** A slice that has been asked for. */
interface Slice {
  readonly from: number
  readonly ended: Promise<SliceEnd>
}

/** Taken before the purity guards wrap the global one. */
const wallClockMs = Date.now

export abstract class Coordinator implements Engine {
  readonly #options: EngineOptions
  readonly #scheduler: Scheduler
  readonly #sliceMs: number
  readonly #log: Log
  readonly #folding: Folding
  readonly #members: readonly CheckpointMember[]
  readonly #room: CoordinatorParts['room']
  /** Undefined until it is loaded. */
  #checkpoints: Checkpoints | undefined
  readonly #logEnd: LogEnd
  readonly #sliceSize = new SliceSize()
  readonly #publishing: Publishing
  readonly #clock: LogClock
  readonly #lag = new LagMeter()
  readonly #waiters = new PositionWaiters()
  abstract readonly views: ReadonlyMap<string, LiveView>
  /** By view, what the start did with it. */
  readonly plans = new Map<string, ViewPlan>()
  abstract readonly verifier: Pick<Verifier, 'start' | 'status' | 'cancel' | 'stop'>
  readonly deadLetters: DeadLetterDesk
  abstract readonly replayer: Pick<Replayer, 'start' | 'status' | 'cancel' | 'stop'>
  readonly savepoints: Savepoints
  readonly changes: Feeds
  abstract readonly past: Past & { stop(): Promise<void> }
  /** Slices that have been asked for, and not passed. */
  readonly #under: Slice[] = []
  /** Woken when no slice is under way and no transaction, or when there is nothing more to come. */
  readonly #cutWaiters = new CutWaiters()
  #stopping = false
  #ended = false
  #catchingUp: CatchingUp
  #running: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  readonly #checkpointRuns: CheckpointRuns
  #loaded = false
  #reported = new Set<string>()
  #failure: MainstemError | undefined
  #holds: ViewHolds | undefined

  constructor({ options, folding, members, room }: CoordinatorParts) {
    const { log } = options
    this.#options = options
    this.#scheduler = options.scheduler ?? realScheduler
    this.#sliceMs = options.sliceMs ?? SLICE_MS
    this.#log = log
    this.#logEnd = new LogEnd(log)
    this.#folding = folding
    this.#members = members
    this.#room = room
    this.#publishing = new Publishing(log, this.#scheduler, options.parts.projections, (name, error) =>
      this.#cannotPublish(name, error),
    )
    this.#clock = new LogClock(log, this.#scheduler, options.wallClockMs ?? wallClockMs, () => this.position >= log.end)
    this.deadLetters = new DeadLetterDesk(log, async name => {
      const view = folding.views.find(each => each.name === name)
      if (view === undefined) throw unknownView(name, this.views.keys())
      return folding.deadLetters(view)
    })
    this.changes = new Feeds({ folding, atCut: begin => this.whenAtCut(begin) })
    this.#catchingUp = new CatchingUp(this.#scheduler, 0, 0, false)
    this.#checkpointRuns = new CheckpointRuns({
      scheduler: this.#scheduler,
      atCut: begin => this.#atCut(begin),
      emit: event => this.#emit(event),
    })
    const { path, fs = nodeFileSystem } = options
    this.savepoints = new Savepoints({
      fs,
      folder: join(dirname(path), 'savepoints'),
      checkpoints: path,
      logId: log.id,
      schemas: schemasOf(folding.views),
      checkpoint: atCut => this.#checkpointRuns.whole(atCut),
    })
  }

  abstract read(requests: readonly RowRequest[]): CutRead | Promise<CutRead>
  abstract range(request: RangeRequest): RangeRead | Promise<RangeRead>

  protected placesInPast(views: readonly FoldedView[]) {
    return placesInPast(this, this.#options, views, () => this.#checkpoints?.kept ?? [])
  }

  /** What replays need, beside rows at a cut. */
  protected exchange(): RowExchange {
    return rowExchange({
      folding: this.#folding,
      checkpoints: this.#checkpointRuns,
      atCut: begin => this.whenAtCut(begin),
      replayed: (names, from) => this.#checkpoints?.replayed(names, this.position, from),
      replaced: changes => {
        this.#lookAtViews()
        this.changes.passed(this.position, changes)
      },
    })
  }

  /** Loads what there is and begins. */
  async open(): Promise<void> {
    await this.#load().catch(async error => {
      await this.stop()
      throw error
    })
    this.#start()
  }

  async #load(): Promise<void> {
    const { views } = this.#folding
    const complete = await this.#loadCheckpoint()
    this.#holds = new ViewHolds(this.#log, views)
    const positions = views.filter(view => !view.error).map(view => view.position)
    const from = positions.length > 0 ? Math.min(...positions) : this.#log.end
    await this.#begin(from, from === 0 ? [] : complete)
    this.#loaded = true
  }

  /** Loads the newest checkpoint that is not damaged. Returns the sources whose snapshot was complete there. */
  async #loadCheckpoint(): Promise<readonly string[]> {
    const { path, fingerprint, savepoint, fs = nodeFileSystem } = this.#options
    const [log, members, { views }] = [this.#log, this.#members, this.#folding]
    const checkpoints = await Checkpoints.open({ fs, path, log, members, fingerprint, savepoint })
    this.#checkpoints = checkpoints
    if (checkpoints.damage) this.#emit({ event: 'checkpoint-damaged', ...reportOf(checkpoints.damage) })
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
    const { continueFrom = [], acceptHistoryGone = [] } = this.#options
    const { views } = this.#folding
    const plans = checkpoints.plan(views, continueFrom)
    for (const plan of plans) this.plans.set(plan.view, plan)
    this.#emit(wholePlan(plans))
    for (const [n, view] of views.entries()) view.position = plans[n]!.from
    for (const view of views) {
      const gone = acceptHistoryGone.includes(view.name) ? undefined : historyGone(view, this.#log)
      if (gone) view.stop(gone)
    }
    return plans
  }

  async #begin(from: number, complete: readonly string[]): Promise<void> {
    const target = this.#log.end
    const anew = begunAnew(this.#folding.views, this.plans)
    this.#catchingUp = new CatchingUp(this.#scheduler, from, target, anew.length > 0)
    const { publishedUpTo } = this.#publishing
    const { generation } = this.#log.base
    await this.#folding.begin({ position: from, complete, measuredFrom: target, generation, publishedUpTo })
    this.#lookAtViews()
    if (this.rebuilding) this.#emit({ event: 'rebuild-started', views: anew, records: target - from })
  }

  #start(): void {
    this.#running = this.#run().catch(error => this.fail(error))
    this.#timer = setInterval(
      () => this.#checkpointRuns.ifDue(),
      this.#options.checkpointIntervalMs ?? CHECKPOINT_INTERVAL_MS,
    )
    this.#timer.unref()
  }

  async #run(): Promise<void> {
    try {
      await this.#giveSlices()
    } finally {
      this.#ended = true
      this.#cutWaiters.wake()
    }
  }

  async #giveSlices(): Promise<void> {
    const folding = this.#folding
    const under = this.#under
    let asked = folding.position
    let ending = false
    for (;;) {
      // A rebuild ends exactly at its target: beyond it, rows are read.
      const most = this.rebuilding ? this.#catchingUp.target : this.#log.end
      // Whoever wants a cut gets it when no slice is under way; amidst a transaction, block by block to its end.
      const wanted = this.#cutWaiters.some
      ending ||= this.#stopping
      if (under.length > 0 && (ending || wanted || under.length === folding.slicesAhead || asked >= most)) {
        const end = await under[0]!.ended
        asked = Math.max(asked, end.scanned)
        this.#passed(under.shift()!, end)
        continue
      }
      if (wanted && !folding.inTransaction) {
        this.#cutWaiters.wake()
        continue
      }
      if (ending) return
      if (this.#publishing.full) await this.#publishing.room()
      // Rows that are about to change are written first: a slow disk holds folding up, not memory.
      await this.#room?.()
      const logEnd = await this.#logEnd.beyond(asked)
      if (logEnd === undefined) {
        ending = true
        continue
      }
      const records = wanted ? 1 : this.#sliceSize.records
      const to = Math.min(this.rebuilding ? most : logEnd, asked + records)
      const ended = folding.run(to, !this.rebuilding)
      // It is looked at when its turn comes.
      ended.catch(() => {})
      under.push({ from: asked, ended })
      asked = to
    }
  }

  /** A slice has been folded. */
  #passed({ from }: Slice, { position, scanned, commitTimesUs, emitted, changes, ms }: SliceEnd): void {
    this.#sliceSize.measured(scanned - from, ms, this.rebuilding ? REBUILD_SLICE_MS : this.#sliceMs)
    this.#lookAtViews()
    this.changes.passed(position, changes)
    this.#publishing.take(emitted.filter(({ projection }) => !this.#reported.has(projection)))
    for (const commitTimeUs of commitTimesUs) this.#lag.record(commitTimeUs)
    this.#endCatchingUp(position)
    this.#waiters.wake(position)
  }

  #lookAtViews(): void {
    for (const view of this.#folding.views) this.#reportStopped(view)
    this.#clock.due(this.#folding.nextExpiryMs)
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
    this.changes.stopped(view)
    this.#emit({ event: 'view-stopped', view: view.name, ...reportOf(view.error) })
  }

  #cannotPublish(name: string, error: MainstemError): void {
    const view = this.#folding.views.find(each => each.name === name)
    if (view === undefined) return
    this.#folding.stopView(view, error)
    this.#reportStopped(view)
  }

  /** The scan itself failed (a corrupt block, an unreadable file, a shard that died): every view stops here and says so. */
  protected fail(error: unknown): void {
    if (this.#failure) return
    this.#failure = asMainstemError(error)
    this.verifier.cancel(this.#failure)
    this.replayer.cancel(this.#failure)
    this.#folding.stopViews(this.#failure)
    for (const view of this.#folding.views) this.#reportStopped(view)
  }

  #emit(event: EngineEvent): void {
    this.#options.onEvent?.(event)
  }

  get position(): number {
    return this.#folding.position
  }

  waitFor(position: number, signal: AbortSignal): Promise<void> {
    if (position <= this.position) return Promise.resolve()
    return this.#waiters.wait(position, signal)
  }

  isComplete(source: string): boolean {
    return this.#folding.isComplete(source)
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

  checkpointOf(view: FoldedView): ViewCheckpointStatus | undefined {
    return this.#checkpoints?.of(view)
  }

  get folding(): Folding {
    return this.#folding
  }

  publishingWaitsFor({ name }: FoldedView): string | null {
    return this.#publishing.waitingFor(name)
  }

  status(): EngineStatus {
    return {
      position: this.position,
      logEnd: this.#log.end,
      checkpointPosition: Math.max(this.#checkpointRuns.position, 0),
      recordsPerSecond: this.#catchingUp.recordsPerSecond(this.position),
      progress: this.catchingUp ? this.progress() : null,
      lag: this.#lag.recent(),
    }
  }

  lagTotal(): EngineStatus['lag'] {
    return this.#lag.total()
  }

  checkpoint(): Promise<void> {
    return this.#checkpointRuns.now()
  }

  /** Calls back at the next cut. @throws why views do not go on */
  protected whenAtCut<T>(begin: () => T): Promise<Awaited<T>> {
    return this.#atCut(cut => {
      if (cut === undefined) throw this.#failure ?? fail('SHUTTING_DOWN', 'the application is shutting down')
      return begin()
    })
  }

  #atCut<T>(begin: (cut: CheckpointCut | undefined) => T): Promise<Awaited<T>> {
    const isNow = this.#ended || (this.#under.length === 0 && !this.#folding.inTransaction)
    return this.#cutWaiters.wait(isNow, () => {
      const checkpoints = this.#checkpoints
      if (!checkpoints || this.#failure || this.#folding.inTransaction) return begin(undefined)
      return begin({ position: this.position, write: full => this.#write(checkpoints, full) })
    })
  }

  async #write(checkpoints: Checkpoints, full: boolean): Promise<Checkpoint> {
    const { position, completeSources, generation, views } = this.#folding
    const published = this.#publishing.durableThrough(position)
    published.catch(() => {})
    const made = await checkpoints.write(position, completeSources, generation, published, full)
    this.#holds?.update(view => checkpoints.of(view)?.position)
    for (const view of views) this.#reportStopped(view)
    return made
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.savepoints.stop()
    await this.past.stop()
    await this.verifier.stop()
    await this.replayer.stop()
    await this.#clock.stop()
    this.#stopping = true
    this.#publishing.release()
    this.#logEnd.close()
    this.#folding.halt()
    await this.#running
    await this.#publishing.stop()
    await this.#checkpointRuns.ended()
    if (this.#loaded) await this.checkpoint().catch(() => {})
    // A transaction that was cut short leaves rows in between: nobody may read them, and the last checkpoint stands.
    if (this.#folding.inTransaction) this.#folding.stopViews(fail('SHUTTING_DOWN', 'the application is shutting down'))
    this.#holds?.release()
    await this.#folding.close()
  }
}
