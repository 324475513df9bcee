// Verification: folds the log once more, up to a cut, into rows of its own, and compares them with the live ones as they are at
// that cut. Live views go on: both take turns, and live rows are read before they change. What it takes of memory is half of
// what the live views leave; one that does not fit is not verified, and the others are.
import {
  asMainstemError,
  type ErrorReport,
  fail,
  type Log,
  type LogBlock,
  type MainstemError,
  reportOf,
} from '../core/index.ts'
import type { ApplicationParts } from './application.ts'
import { RowComparison, type RowDifference } from './compare-rows.ts'
import type { Progress } from './engine.ts'
import type { RecordInfo } from './handler-context.ts'
import { historyGone, reorderedHistory } from './history.ts'
import { lastTouch } from './last-touch.ts'
import { commitTimeOf, RecordFolder } from './record-folder.ts'
import { RowsAtCut } from './rows-at-cut.ts'
import { type Scheduler, Turns } from './shards/scheduler.ts'
import type { StateMemory } from './state/memory.ts'
import { unknownView } from './unknown-view.ts'
import { FoldedView } from './view.ts'
import { connectViews } from './view-graph.ts'

/** The live views are watched from the cut on; before it the second fold comes as near to them as this many records. */
const NEAR_RECORDS = 10_000
/** Records after which rows that left are let go. */
const RECORDS_PER_DRAIN = 8_192
const RECORDS_PER_CLOCK_LOOK = 128

export interface VerifiedView {
  readonly view: string
  /** Null where it could not be verified: `error` says why. */
  readonly equal: boolean | null
  /** Live rows at the cut. */
  readonly rows: number
  /** 16 hex digits: of all rows, whatever their order, as checkpoints have it. Null where not verified. */
  readonly hash: string | null
  readonly refoldedHash: string | null
  /** Keys whose rows differ. */
  readonly differences: number
  /** Of the smallest key in order of key bytes. */
  readonly first:
    | (RowDifference & {
        /** Of the last record that went to the key; null where that cannot be told. */ readonly lastRecord:
          | number
          | null
      })
    | null
  readonly error: ErrorReport | null
}

export interface VerifyReport {
  /** The cut. */
  readonly position: number
  /** Records folded for all views. */
  readonly records: number
  readonly seconds: number
  readonly views: readonly VerifiedView[]
}

export interface VerifyStatus {
  readonly state: 'idle' | 'running' | 'done' | 'failed'
  readonly progress: Progress | null
  /** Of the last one that ended. */
  readonly report: VerifyReport | null
  /** Why the last one failed as a whole. */
  readonly error: ErrorReport | null
}

/** What a verification needs of the engine whose views it verifies. */
export interface VerifyHost {
  readonly log: Log
  readonly parts: ApplicationParts
  readonly folded: readonly FoldedView[]
  readonly memory: StateMemory
  readonly scheduler: Scheduler
  readonly sliceMs: number
  readonly position: number
  readonly atCut: boolean
  cut(): Promise<void>
  waitFor(position: number, signal: AbortSignal): Promise<void>
}

export class Verifier {
  readonly #host: VerifyHost
  #abort = new AbortController()
  #stopped = false
  #running: Promise<void> | undefined
  #refold: Refold | undefined
  #report: VerifyReport | null = null
  #error: ErrorReport | null = null

  constructor(host: VerifyHost) {
    this.#host = host
  }

  /**
   * Begins a verification; `status` tells how it goes.
   * @param names of views; undefined: all
   * @throws VIEW_UNKNOWN, VIEW_STOPPED where all have, OVERLOADED while another one runs, SHUTTING_DOWN
   */
  start(names?: readonly string[]): VerifyStatus {
    if (this.#stopped) throw shuttingDown()
    const all = this.#host.folded.map(view => view.name)
    const unknown = names?.find(name => !all.includes(name))
    if (unknown !== undefined) throw unknownView(unknown, all)
    if (all.length > 0 && this.#host.folded.every(view => view.error))
      throw fail('VIEW_STOPPED', 'every view has stopped', { hint: 'GET /v1/views says why' })
    if (this.#running) throw fail('OVERLOADED', 'a verification is running', { hint: 'wait until it has ended' })
    this.#report = this.#error = null
    this.#abort = new AbortController()
    const refold = new Refold(this.#host, [...new Set(names ?? all)], this.#abort.signal)
    this.#refold = refold
    this.#running = refold
      .run()
      .then(
        report => {
          this.#report = report
        },
        error => {
          this.#error = reportOf(asMainstemError(error))
        },
      )
      .finally(() => {
        refold.end()
        this.#running = this.#refold = undefined
      })
    return this.status()
  }

  status(): VerifyStatus {
    const ended = this.#error ? 'failed' : this.#report ? 'done' : 'idle'
    return {
      state: this.#running ? 'running' : ended,
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

/** One view's comparison, where it can be compared. */
interface Begun {
  readonly refolded: FoldedView
  readonly rows: RowsAtCut | undefined
  readonly comparison: RowComparison | undefined
  readonly failure: () => MainstemError | undefined
}

/** One verification. */
class Refold {
  readonly #host: VerifyHost
  readonly #names: readonly string[]
  readonly #signal: AbortSignal
  readonly #aborted: Promise<never>
  readonly #info: RecordInfo = { position: 0, timeMs: 0 }
  readonly #views: FoldedView[]
  readonly #records: RecordFolder
  readonly #reader
  readonly #turns: Turns
  readonly #startedMs: number
  /** The log's end at the start: live views are to be there at least. */
  readonly #end: number
  readonly #watched = new Map<string, RowsAtCut>()
  #position = 0
  #sinceDrain = 0

  constructor(host: VerifyHost, names: readonly string[], signal: AbortSignal) {
    this.#host = host
    this.#turns = new Turns(host.scheduler, host.sliceMs)
    this.#startedMs = host.scheduler.nowMs()
    this.#names = names
    this.#signal = signal
    this.#aborted = new Promise((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    )
    this.#aborted.catch(() => {})
    const projections = withInputs(host.parts, names)
    const memory = host.memory.half()
    this.#views = projections.map(definition => new FoldedView(definition, this.#info, memory))
    connectViews(this.#views)
    this.#records = new RecordFolder(this.#views, { ...host.parts, projections }, this.#info)
    this.#end = host.log.end
    this.#reader = host.log.read(0)
    for (const view of this.#views) {
      const gone = historyGone(view, host.log) ?? reorderedHistory(view, this.#views, host.log)
      if (gone) view.stop(gone)
    }
  }

  progress(): Progress {
    const total = Math.max(this.#end, this.#position)
    const seconds = (this.#turns.scheduler.nowMs() - this.#startedMs) / 1_000
    const recordsPerSecond = Math.round(this.#position / Math.max(seconds, 0.001))
    const secondsLeft = recordsPerSecond > 0 ? (total - this.#position) / recordsPerSecond : null
    return { done: this.#position, total, recordsPerSecond, secondsLeft }
  }

  async run(): Promise<VerifyReport> {
    const { log } = this.#host
    while (log.end - this.#position > NEAR_RECORDS) if (!(await this.#foldOn(Number.POSITIVE_INFINITY))) break
    const cut = await this.#watchAtCut()
    while (this.#position < cut) await this.#foldOn(cut)
    // All at once, so that rows about to change are compared and not kept.
    const begun = this.#names.map(name => this.#begin(name))
    const views: VerifiedView[] = []
    for (const each of begun) views.push(await this.#compare(each, cut))
    return {
      position: cut,
      records: this.#position,
      seconds: (this.#turns.scheduler.nowMs() - this.#startedMs) / 1_000,
      views,
    }
  }

  /** Takes the live rows as they are now, at a cut that this fold has not passed. */
  async #watchAtCut(): Promise<number> {
    const host = this.#host
    const live = host.folded.filter(view => this.#names.includes(view.name) && !view.error)
    // While others are made anew, those that kept their checkpoint stand ahead of the cut.
    await host.waitFor(Math.max(this.#end, this.#position, ...live.map(view => view.position)), this.#signal)
    while (!host.atCut) await Promise.race([host.cut(), this.#aborted])
    this.#signal.throwIfAborted()
    for (const view of live) if (!view.error) this.#watched.set(view.name, new RowsAtCut(view))
    return host.position
  }

  /** Folds the next blocks, no further than a position at which a batch ends; false where there are none. */
  async #foldOn(upTo: number): Promise<boolean> {
    const blocks = await this.#reader.ready()
    this.#signal.throwIfAborted()
    for (const block of blocks) {
      if (this.#position >= upTo) break
      const timeMs = commitTimeOf(block)
      this.#records.beginTransaction(block)
      const cursor = block.records()
      let left = RECORDS_PER_CLOCK_LOOK
      while (cursor.next()) {
        left -= Math.max(1, this.#records.fold(cursor, timeMs))
        if (left > 0) continue
        left = RECORDS_PER_CLOCK_LOOK
        this.#records.flush()
        await this.#turn()
      }
      this.#records.flush()
      if (block.last) this.#endTransaction(block)
      await this.#turn()
    }
    return blocks.length > 0
  }

  #endTransaction(block: LogBlock): void {
    this.#sinceDrain += block.end - this.#position
    this.#position = block.end
    this.#records.endTransaction(block)
    if (this.#sinceDrain < RECORDS_PER_DRAIN) return
    this.#sinceDrain = 0
    // As after a checkpoint, which lets go of rows that left.
    for (const { changes, error } of this.#views) {
      if (error) continue
      changes.begin(() => {})
      while (changes.step());
    }
  }

  /** Lets others run when the slice is over. */
  async #turn(): Promise<void> {
    if (!this.#turns.over) return
    await this.#turns.next()
    this.#signal.throwIfAborted()
  }

  #begin(name: string): Begun {
    const live = this.#host.folded.find(view => view.name === name)!
    const refolded = this.#views.find(view => view.name === name)!
    const rows = this.#watched.get(name)
    const failure = () => live.error ?? refolded.error ?? rows?.error
    const comparison = rows && !failure() ? new RowComparison(live, rows, refolded) : undefined
    return { refolded, rows, comparison, failure }
  }

  async #compare({ refolded, rows, comparison, failure }: Begun, cut: number): Promise<VerifiedView> {
    const turn = () => this.#turn()
    const compared = await comparison?.run(turn)
    rows?.end()
    const view = refolded.name
    const error = failure()
    if (compared === undefined || error) {
      const report = error ? reportOf(error) : null
      return { view, equal: null, rows: 0, hash: null, refoldedHash: null, differences: 0, first: null, error: report }
    }
    const { first, ...counted } = compared
    const lastRecord = first ? await lastTouch(refolded, first.id, this.#host.log, cut, turn) : null
    const difference = first ? { ...first.difference, lastRecord } : null
    return { view, equal: counted.differences === 0, ...counted, first: difference, error: null }
  }

  /** Lets everything go. */
  end(): void {
    for (const rows of this.#watched.values()) rows.end()
    this.#reader.close()
    for (const view of this.#views) view.table.drop()
  }
}

/** The named projections and all that they fold, in order. */
function withInputs({ projections }: ApplicationParts, names: readonly string[]): ApplicationParts['projections'] {
  const wanted = new Set(names)
  for (const { name, ons } of [...projections].reverse())
    if (wanted.has(name)) for (const { input } of ons) wanted.add(input.name)
  return projections.filter(({ name }) => wanted.has(name))
}
