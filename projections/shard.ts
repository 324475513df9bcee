// The shard: one scan of the log feeds all views in step, transaction by transaction; checkpoints at cuts; answers reads.
// Guarantees: a read sees whole transactions only; a restart continues at the last checkpoint and folds the same records.
import {
  type AnyRow,
  asMainstemError,
  CONTROL_TOPIC,
  describeError,
  type ErrorReport,
  fail,
  installPurityGuards,
  type Log,
  type LogBlock,
  type LogReader,
  type MainstemError,
  openTableStore,
  type RecordCursor,
  reportOf,
} from '../core/index.ts'
import { type ApplicationParts, sourcesByView } from './application.ts'
import { Checkpoints, yieldToEventLoop } from './checkpoint.ts'
import type { Engine, EngineStatus, LiveView, Progress } from './engine.ts'
import type { RecordInfo } from './handler-context.ts'
import { historyGone, ViewHolds } from './history.ts'
import { LagMeter } from './lag-meter.ts'
import { PositionWaiters } from './position-waiters.ts'
import { RecordFolder } from './record-folder.ts'
import { ShardView } from './shard-view.ts'
import type { ContinuedFrom, ViewPlan } from './start-plan.ts'
import { StateMemory } from './state/memory.ts'
import { Verifier, type VerifyHost } from './verifier.ts'
import { FoldedView } from './view.ts'

const SLICE_MS = 2
/** Records folded between two looks at the clock. */
const RECORDS_PER_CLOCK_LOOK = 256
/** From one checkpoint's start to the next: this many times what it took. */
const CHECKPOINT_REST = 10
/** A catching up of fewer says little of the rate. */
const RECORDS_TO_MEASURE = 100_000

export type EngineEvent =
  | {
      /** What a start does with each view, told before it begins. */
      readonly event: 'start-plan'
      readonly views: readonly ViewPlan[]
      /** Positions of the log that are read, once for all views. */
      readonly records: number
      readonly estimatedSeconds: number
    }
  | { readonly event: 'checkpoint-started'; readonly position: number }
  | { readonly event: 'checkpoint-ended'; readonly position: number; readonly ms: number }
  | { readonly event: 'checkpoint-failed'; readonly message: string }
  | ({ readonly event: 'view-stopped'; readonly view: string } & ErrorReport)
  | { readonly event: 'rebuild-started'; readonly views: readonly string[]; readonly records: number }
  | { readonly event: 'rebuild-ended'; readonly records: number; readonly seconds: number }

export interface EngineOptions {
  readonly log: Log
  readonly parts: ApplicationParts
  /** Folder of the checkpoints. */
  readonly path: string
  readonly fingerprint: string
  /** Milliseconds between checkpoints while anything changes. Default 1,000. */
  readonly checkpointIntervalMs?: number
  /** Longest run without a yield to the event loop, so that reads and sources stay alive; milliseconds, default 2. */
  readonly sliceMs?: number
  /**
   * Bytes that the rows of all views may take; a view that would go beyond stops with STATE_TOO_LARGE. Strings, nested values
   * and maps count by estimate, and may take three fifths of V8's heap. Default: three fifths of the memory of the machine or container.
   */
  readonly stateBytesMax?: number
  /** Views that fold what is left where the history of their topics was removed; others are stopped there. Default none. */
  readonly acceptHistoryGone?: readonly string[]
  /** Views that keep their checkpoint although their code changed. Default none. */
  readonly continueFrom?: readonly string[]
  readonly onEvent?: (event: EngineEvent) => void
}

/** Opens the views of an application over its log: loads the last checkpoint and begins to fold. @throws DEFINITION_INVALID, VIEW_CANNOT_CONTINUE */
export async function openEngine(
  options: EngineOptions,
): Promise<Engine & { lagTotal(): ReturnType<LagMeter['total']> }> {
  installPurityGuards()
  const shard = new Shard(options)
  await shard.load().catch(async error => {
    await shard.stop()
    throw error
  })
  shard.start()
  return shard
}

class Shard implements Engine {
  readonly #options: EngineOptions
  readonly #sliceMs: number
  readonly #log: Log
  readonly #folded: FoldedView[]
  readonly #records: RecordFolder
  readonly #checkpoints: Checkpoints
  readonly #lag = new LagMeter()
  readonly #complete = new Set<string>()
  /** Source → when the end of its snapshot was folded here. */
  readonly #completeSinceUs = new Map<string, number>()
  readonly #waiters = new PositionWaiters()
  readonly views: ReadonlyMap<string, LiveView>
  /** By view, what the start did with it. */
  readonly plans = new Map<string, ViewPlan>()
  #position = 0
  #reader: LogReader | undefined
  #running: Promise<void> = Promise.resolve()
  #inTransaction = false
  #cutWaiters: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined
  #checkpointing: Promise<void> | undefined
  #checkpointPosition = -1
  #checkpointDueMs = 0
  #loaded = false
  /** What the start found; until the log's end as it was then is reached. */
  #catchingUp = false
  #rebuilding = false
  /** Views that began anew. */
  #anew: readonly string[] = []
  #target = 0
  #startedFrom = 0
  #startedAtMs = 0
  #rate = { atMs: 0, position: 0, perSecond: 0 }
  #reported = new Set<string>()
  #failure: MainstemError | undefined
  #abandoned = false
  #holds: ViewHolds | undefined
  readonly verifier: Verifier

  constructor(options: EngineOptions) {
    this.#options = options
    this.#sliceMs = options.sliceMs ?? SLICE_MS
    this.#log = options.log
    const info: RecordInfo = { position: 0, timeMs: 0 }
    const memory = new StateMemory(options.stateBytesMax)
    this.#folded = options.parts.projections.map(definition => new FoldedView(definition, info, memory))
    this.#checkpoints = new Checkpoints(openTableStore(options.path), options.log, options.fingerprint, this.#sliceMs)
    this.#records = new RecordFolder(this.#folded, options.parts, info)
    this.verifier = new Verifier(this.#verifyHost(memory))
    const sources = sourcesByView(options.parts)
    this.views = new Map(
      this.#folded.map(view => [
        view.name,
        new ShardView(view, sources.get(view.name) ?? [], options.fingerprint, this),
      ]),
    )
  }

  #verifyHost(memory: StateMemory): VerifyHost {
    const shard = this
    return {
      log: this.#log,
      parts: this.#options.parts,
      folded: this.#folded,
      memory,
      sliceMs: this.#sliceMs,
      get position() {
        return shard.#position
      },
      get atCut() {
        return shard.atCut
      },
      cut: () => this.cut(),
      waitFor: (position, signal) => this.waitFor(position, signal),
    }
  }

  async load(): Promise<void> {
    const plans = this.#checkpoints.plan(this.#folded, this.#options.continueFrom ?? [])
    for (const plan of plans) this.plans.set(plan.view, plan)
    const records = Math.max(0, ...plans.map(plan => plan.records))
    const estimatedSeconds = Math.max(0, ...plans.map(plan => plan.estimatedSeconds))
    this.#emit({ event: 'start-plan', views: plans, records, estimatedSeconds })
    const { acceptHistoryGone = [] } = this.#options
    for (const [n, view] of this.#folded.entries()) view.position = plans[n]!.from
    for (const view of this.#folded) {
      const gone = acceptHistoryGone.includes(view.name) ? undefined : historyGone(view, this.#log)
      if (gone) view.stop(gone)
    }
    for (const source of await this.#checkpoints.load(this.#folded, plans)) this.#complete.add(source)
    this.#holds = new ViewHolds(this.#log, this.#folded)
    const positions = this.#folded.filter(view => !view.error).map(view => view.position)
    this.#position = positions.length > 0 ? Math.min(...positions) : this.#log.end
    this.#startedFrom = this.#position
    this.#target = this.#log.end
    this.#anew = this.#folded.flatMap(({ name, error }) => {
      const plan = this.plans.get(name)?.plan
      return !error && (plan === 'new' || plan === 'rebuild') ? [name] : []
    })
    this.#catchingUp = this.#position < this.#target
    this.#rebuilding = this.#catchingUp && this.#anew.length > 0
    if (this.#position === 0) this.#complete.clear()
    this.#loaded = true
  }

  start(): void {
    this.#startedAtMs = performance.now()
    this.#rate = { atMs: this.#startedAtMs, position: this.#position, perSecond: 0 }
    for (const view of this.#folded) this.#reportStopped(view)
    if (this.#rebuilding)
      this.#emit({ event: 'rebuild-started', views: this.#anew, records: this.#target - this.#startedFrom })
    this.#reader = this.#log.read(this.#position)
    this.#running = this.#run(this.#reader).catch(error => this.#fail(error))
    const interval = this.#options.checkpointIntervalMs ?? 1_000
    this.#timer = setInterval(() => this.#checkpointIfDue(), interval)
    this.#timer.unref()
  }

  /** In the background checkpoints take a tenth of the time at most: while much changes, fewer and larger ones. */
  #checkpointIfDue(): void {
    if (performance.now() >= this.#checkpointDueMs) void this.checkpoint().catch(() => {})
  }

  async #run(reader: LogReader): Promise<void> {
    let sliceEndMs = performance.now() + this.#sliceMs
    for (;;) {
      const blocks = await reader.next()
      if (blocks === undefined) return
      for (const block of blocks) {
        const cursor = block.records()
        while (!this.#fold(cursor, block, sliceEndMs)) {
          await yieldToEventLoop()
          sliceEndMs = performance.now() + this.#sliceMs
        }
        if (block.last) {
          const awaited = this.#cutWaiters.length > 0
          this.#endTransaction(block)
          // Whoever waits for a cut gets it: without this turn the next transaction would be under way when they look.
          if (awaited) await yieldToEventLoop()
        }
        if (performance.now() > sliceEndMs) {
          await yieldToEventLoop()
          sliceEndMs = performance.now() + this.#sliceMs
        }
      }
    }
  }

  /** Folds records until the block ends (true) or the slice does (false). */
  #fold(cursor: RecordCursor, block: LogBlock, sliceEndMs: number): boolean {
    this.#inTransaction = true
    const commitTimeMs = block.mark?.commitTimeUs === undefined ? block.appendTimeMs : block.mark.commitTimeUs / 1000
    let left = RECORDS_PER_CLOCK_LOOK
    let done = true
    while (cursor.next()) {
      const folded = this.#records.fold(cursor, commitTimeMs)
      if (folded === 0 && cursor.topic.name === CONTROL_TOPIC) this.#foldControl(cursor.after())
      left -= Math.max(1, folded)
      if (left > 0) continue
      if (performance.now() > sliceEndMs) {
        done = false
        break
      }
      left = RECORDS_PER_CLOCK_LOOK
    }
    this.#records.flush()
    return done
  }

  /** Records of the system topic say which sources' snapshots are complete as of here. */
  #foldControl(value: AnyRow | null): void {
    const source = String(value?.['source'])
    if (value?.['event'] === 'snapshot-started') this.#complete.delete(source)
    if (value?.['event'] === 'snapshot-ended') {
      this.#complete.add(source)
      this.#completeSinceUs.set(source, Date.now() * 1_000)
    }
  }

  /** How long a transaction took to become visible; not of those that waited for a snapshot, or for this process to start. */
  #measureLag({ mark, count }: LogBlock, position: number): void {
    if (mark?.commitTimeUs === undefined || mark.snapshot || count === 0 || position <= this.#target) return
    if (mark.commitTimeUs >= (this.#completeSinceUs.get(mark.source) ?? 0)) this.#lag.record(mark.commitTimeUs)
  }

  #endTransaction(block: LogBlock): void {
    const position = block.end
    for (const view of this.#folded) {
      if (view.position < position) view.endTransaction(position)
      if (view.error) this.#reportStopped(view)
    }
    this.#position = position
    this.#inTransaction = false
    this.#measureLag(block, position)
    if (this.#catchingUp && position >= this.#target) this.#endCatchingUp()
    if (this.#cutWaiters.length > 0) for (const resolve of this.#cutWaiters.splice(0)) resolve()
    this.#waiters.wake(position)
  }

  #endCatchingUp(): void {
    this.#catchingUp = false
    const records = this.#target - this.#startedFrom
    const seconds = (performance.now() - this.#startedAtMs) / 1000
    if (records >= RECORDS_TO_MEASURE) this.#checkpoints.recordsPerSecond = Math.round(records / seconds)
    if (!this.#rebuilding) return
    this.#rebuilding = false
    this.#emit({ event: 'rebuild-ended', records, seconds })
  }

  #reportStopped(view: FoldedView): void {
    if (this.#reported.has(view.name) || !view.error) return
    this.#reported.add(view.name)
    this.#emit({ event: 'view-stopped', view: view.name, ...reportOf(view.error) })
  }

  /** The scan itself failed (a corrupt block, an unreadable file): every view stops here and says so. */
  #fail(error: unknown): void {
    this.#failure = asMainstemError(error)
    this.verifier.cancel(this.#failure)
    for (const view of this.#folded) {
      view.stop(this.#failure)
      this.#reportStopped(view)
    }
    this.#inTransaction = false
    for (const resolve of this.#cutWaiters.splice(0)) resolve()
  }

  #emit(event: EngineEvent): void {
    this.#options.onEvent?.(event)
  }

  get position(): number {
    return this.#position
  }

  /** True when reads see whole transactions only. */
  get atCut(): boolean {
    return !this.#inTransaction
  }

  cut(): Promise<void> {
    if (!this.#inTransaction) return Promise.resolve()
    return new Promise(resolve => this.#cutWaiters.push(resolve))
  }

  waitFor(position: number, signal: AbortSignal): Promise<void> {
    if (position <= this.#position) return Promise.resolve()
    return this.#waiters.wait(position, signal)
  }

  isComplete(source: string): boolean {
    return this.#complete.has(source)
  }

  get rebuilding(): boolean {
    return this.#rebuilding
  }

  get catchingUp(): boolean {
    return this.#catchingUp
  }

  progress(): Progress {
    const recordsPerSecond = this.#recordsPerSecond()
    const total = Math.max(this.#target, this.#position)
    const left = total - this.#position
    const secondsLeft = left === 0 ? 0 : recordsPerSecond > 0 ? left / recordsPerSecond : null
    return { done: this.#position, total, recordsPerSecond, secondsLeft }
  }

  continued(view: FoldedView): readonly ContinuedFrom[] {
    return this.#checkpoints.continued(view)
  }

  #recordsPerSecond(): number {
    const nowMs = performance.now()
    const rate = this.#rate
    if (nowMs - rate.atMs >= 1_000) {
      const perSecond = ((this.#position - rate.position) / (nowMs - rate.atMs)) * 1_000
      this.#rate = { atMs: nowMs, position: this.#position, perSecond }
    }
    return Math.round(this.#rate.perSecond)
  }

  status(): EngineStatus {
    return {
      position: this.#position,
      logEnd: this.#log.end,
      checkpointPosition: Math.max(this.#checkpointPosition, 0),
      recordsPerSecond: this.#recordsPerSecond(),
      progress: this.#catchingUp ? this.progress() : null,
      lag: this.#lag.recent(),
    }
  }

  lagTotal(): ReturnType<LagMeter['total']> {
    return this.#lag.total()
  }

  checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpointNow().finally(() => {
      this.#checkpointing = undefined
    })
    return this.#checkpointing
  }

  async #checkpointNow(): Promise<void> {
    // The scan may begin a transaction between the cut and this continuation: half of it must not be in a checkpoint.
    do await this.cut()
    while (this.#inTransaction && !this.#abandoned)
    const position = this.#position
    if (position === this.#checkpointPosition || this.#failure || this.#abandoned) return
    const startedMs = performance.now()
    this.#emit({ event: 'checkpoint-started', position })
    try {
      const { generation } = this.#reader ?? this.#log.base
      await this.#checkpoints.write(this.#folded, [...this.#complete], generation)
      this.#holds?.update(view => this.#checkpoints.position(view))
      this.#checkpointPosition = position
      const ms = performance.now() - startedMs
      this.#checkpointDueMs = startedMs + ms * CHECKPOINT_REST
      this.#emit({ event: 'checkpoint-ended', position, ms })
    } catch (error) {
      this.#emit({ event: 'checkpoint-failed', message: describeError(error) })
      throw error
    }
    for (const view of this.#folded) this.#reportStopped(view)
  }

  /** A transaction cut short by the stop leaves rows in between: nobody may read them, and the last checkpoint stands. */
  #abandonTransaction(): void {
    this.#abandoned = true
    const reason = fail('SHUTTING_DOWN', 'the application is shutting down')
    for (const view of this.#folded) view.stop(reason)
    for (const resolve of this.#cutWaiters.splice(0)) resolve()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.verifier.stop()
    this.#reader?.close()
    await this.#running
    // First, because a checkpoint may be waiting for a cut that does not come any more.
    if (this.#inTransaction) this.#abandonTransaction()
    await this.#checkpointing?.catch(() => {})
    if (this.#loaded && !this.#abandoned) await this.checkpoint().catch(() => {})
    this.#holds?.release()
    await this.#checkpoints.close()
  }
}
