// A second fold of the log, up to a cut, into rows of its own, compared with the live ones as they are at that cut: live views go
// on, both take turns, and live rows are read before they change.
import { type FileSystem, type LogBlock, type MainstemError, reportOf } from '../core/index.ts'
import type { ApplicationParts } from './application.ts'
import { loadAll } from './base/base-rows.ts'
import type { Base } from './base/bases.ts'
import { RowComparison } from './compare-rows.ts'
import type { Progress } from './engine.ts'
import type { RecordInfo } from './handler-context.ts'
import { historyGone, reorderedHistory } from './history.ts'
import { lastTouch } from './last-touch.ts'
import { commitTimeOf, RecordFolder } from './record-folder.ts'
import type { CutRows } from './rows-at-cut.ts'
import { Turns } from './shards/scheduler.ts'
import type { KeyId } from './state/keys.ts'
import type { StateMemory } from './state/memory.ts'
import type { RefoldHost, VerifiedView, VerifyReport } from './verifier.ts'
import { FoldedView } from './view.ts'
import { connectViews } from './view-graph.ts'

/** The live views are watched from the cut on; before it the second fold comes as near to them as this many records. */
const NEAR_RECORDS = 10_000
/** Records folded without a turn for others, where both must stand at one place. */
const LEVEL_RECORDS_MAX = 2_000
/** Records after which rows that left are let go. */
const RECORDS_PER_DRAIN = 8_192

export type OnDifference = (view: string, id: KeyId) => void

export interface RefoldOptions {
  readonly names: readonly string[]
  readonly signal: AbortSignal
  /** Told of each key whose rows differ. */
  readonly onDifference?: OnDifference
  /** Called at the cut at which rows are compared: live views stand there. */
  readonly onCut?: () => void
  /** Position with whose rows it begins: `load` is to be called first. Default 0: the log's beginning. */
  readonly from?: number
}

/** What is missing is folded, and what is done at a cut. */
export interface Exchanging {
  /** Of the live views. */
  position(): number
  /** Calls back at the next cut, before anything else can happen. @throws why there is none any more */
  atCut<T>(work: () => T): Promise<Awaited<T>>
}

/** One view's comparison, where it can be compared. */
interface Begun {
  readonly refolded: FoldedView
  readonly rows: CutRows | undefined
  readonly comparison: RowComparison | undefined
  readonly failure: () => MainstemError | undefined
}

/** One such fold. */
export class Refold {
  readonly #host: RefoldHost
  readonly #names: readonly string[]
  readonly #signal: AbortSignal
  readonly #aborted: Promise<never>
  readonly #info: RecordInfo = { position: 0, timeMs: 0 }
  readonly #views: FoldedView[]
  readonly #memory: StateMemory
  readonly #records: RecordFolder
  readonly #reader
  readonly #turns: Turns
  readonly #startedMs: number
  /** The log's end at the start: live views are to be there at least. */
  readonly #end: number
  #watched: ReadonlyMap<string, CutRows> = new Map()
  readonly #onDifference: OnDifference
  readonly #onCut: () => void
  /** Blocks that have been read and not folded. */
  #blocks: LogBlock[] = []
  #position: number
  readonly #from: number
  #sinceDrain = 0

  constructor(host: RefoldHost, { names, signal, onDifference, onCut, from = 0 }: RefoldOptions) {
    this.#host = host
    this.#onDifference = onDifference ?? (() => {})
    this.#onCut = onCut ?? (() => {})
    this.#from = this.#position = from
    // Live views have a slice of their own between two of these, and whoever reads waits for both.
    this.#turns = new Turns(host.scheduler, host.sliceMs / 2)
    this.#startedMs = host.scheduler.nowMs()
    this.#names = names
    this.#signal = signal
    this.#aborted = new Promise((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    )
    this.#aborted.catch(() => {})
    const projections = withInputs(host.parts, names)
    this.#memory = host.memory.half()
    this.#views = projections.map(definition => new FoldedView(definition, this.#info, this.#memory))
    connectViews(this.#views)
    this.#records = new RecordFolder(this.#views, { ...host.parts, projections }, this.#info)
    this.#end = host.log.end
    this.#reader = host.log.read(from)
    for (const view of this.#views) view.position = from
    for (const view of this.#views) {
      const gone = historyGone(view, host.log) ?? reorderedHistory(view, this.#views, host.log)
      if (gone) view.stop(gone)
    }
  }

  progress(): Progress {
    const total = Math.max(this.#end, this.#position)
    const seconds = (this.#turns.scheduler.nowMs() - this.#startedMs) / 1_000
    const done = this.#position - this.#from
    const recordsPerSecond = Math.round(done / Math.max(seconds, 0.001))
    const secondsLeft = recordsPerSecond > 0 ? (total - this.#position) / recordsPerSecond : null
    return { done, total: total - this.#from, recordsPerSecond, secondsLeft }
  }

  /** Loads the rows with which it begins. @throws CHECKPOINT_CORRUPT, STATE_TOO_LARGE, MIGRATION_FAILED */
  async load(fs: FileSystem, base: Base): Promise<void> {
    const { log } = this.#host
    const turns = this.#turns
    const signal = this.#signal
    const next = async () => {
      await turns.next()
      signal.throwIfAborted()
    }
    const pauses = {
      get over() {
        return turns.over
      },
      next,
    }
    const views = this.#views.filter(view => !view.error)
    await loadAll({ fs, logId: log.id, base, memory: this.#memory, turns: pauses }, views)
  }

  async run(): Promise<VerifyReport> {
    const { log } = this.#host
    while (log.end - this.#position > NEAR_RECORDS) if (!(await this.#foldOn(Number.POSITIVE_INFINITY))) break
    const cut = await this.#watchAtCut()
    while (this.#position < cut) await this.#foldOn(cut)
    // All at once, so that rows about to change are compared and not kept.
    const begun = this.#names.map(name => this.#begin(name))
    for (const view of this.#views) if (!view.error && foldsViews(view)) this.#noteChanges(view)
    const views: VerifiedView[] = []
    for (const each of begun) views.push(await this.#compare(each, cut))
    return {
      position: cut,
      records: this.#position - this.#from,
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
    const taken = host.rowsAtCut(live, this.#views, this.#turns, this.#onCut)
    // Whoever aborts does not wait for it; its rows are let go when they come.
    taken.then(
      ({ rows }) => this.#signal.aborted && endAll(rows),
      () => {},
    )
    const { position, rows } = await Promise.race([taken, this.#aborted])
    this.#watched = rows
    this.#signal.throwIfAborted()
    return position
  }

  /** Folds the next blocks, no further than a position at which a batch ends; false where there are none. */
  async #foldOn(upTo: number): Promise<boolean> {
    if (this.#blocks.length === 0 && !(await this.#readAhead())) return false
    const blocks = this.#blocks
    let folded = 0
    try {
      for (; folded < blocks.length && this.#position < upTo; folded++) await this.#foldBlock(blocks[folded]!)
    } finally {
      blocks.splice(0, folded)
    }
    return true
  }

  /** Reads the next blocks; false where there are none. */
  async #readAhead(): Promise<boolean> {
    const blocks = await this.#reader.ready()
    this.#signal.throwIfAborted()
    this.#blocks.push(...blocks)
    return blocks.length > 0
  }

  async #foldBlock(block: LogBlock): Promise<void> {
    await this.#records.foldBlock(block, () => this.#turn())
    if (block.last) this.#endTransaction(block)
    await this.#turn()
  }

  /** Rows of views that fold views may come to differ when they have been compared, by what rows that differ pass on. */
  #noteChanges(view: FoldedView): void {
    view.changes.watch(row => {
      const id = view.table.idOf(row)
      if (!Number.isNaN(id)) this.#onDifference(view.name, id)
    })
  }

  /**
   * Folds on until it is level with the live views, and calls `take` there, before anything else can happen. What is missing at
   * a cut is then folded in one go: a few thousand records at most, since it has come near before. Gives the position.
   */
  async takeWhenLevel<T>(
    host: Exchanging,
    take: (refolded: ReadonlyMap<string, FoldedView>) => T,
  ): Promise<{ readonly position: number; readonly taken: T }> {
    const ahead = () => this.#blocks.at(-1)?.end ?? this.#position
    const missing = () => host.position() - this.#position
    for (;;) {
      while (missing() > LEVEL_RECORDS_MAX) await this.#foldOn(host.position())
      while (ahead() < host.position() && (await this.#readAhead()));
      const level = host.atCut(() => {
        this.#signal.throwIfAborted()
        if (ahead() < host.position() || missing() > LEVEL_RECORDS_MAX) return undefined
        this.#foldMissing(host.position())
        return { position: host.position(), taken: take(new Map(this.#views.map(view => [view.name, view]))) }
      })
      const ended = await Promise.race([level, this.#aborted])
      if (ended !== undefined) return ended
    }
  }

  /** Folds blocks that have been read, without a turn for others. @throws why a view has stopped */
  #foldMissing(upTo: number): void {
    for (let next = this.#blocks[0]; next && next.end <= upTo; next = this.#blocks[0]) {
      this.#records.beginTransaction(next)
      const cursor = next.records()
      while (cursor.next()) this.#records.fold(cursor, commitTimeOf(next))
      this.#records.flush()
      if (next.last) this.#endTransaction(next)
      this.#blocks.shift()
    }
    const failed = this.#views.find(view => view.error)
    if (failed?.error) throw failed.error
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
    const comparison =
      rows && !failure() ? new RowComparison(rows, refolded, id => this.#onDifference(name, id)) : undefined
    return { refolded, rows, comparison, failure }
  }

  async #compare({ refolded, rows, comparison, failure }: Begun, cut: number): Promise<VerifiedView> {
    const turn = () => this.#turn()
    const compared = await comparison?.run(turn)
    const deadLetterDifferences = refolded.deadLetters?.differences(rows?.letters ?? []) ?? 0
    rows?.end()
    const view = refolded.name
    const error = failure()
    if (compared === undefined || error) {
      const report = error ? reportOf(error) : null
      const unknown = { rows: 0, hash: null, refoldedHash: null, differences: 0, deadLetterDifferences: 0, first: null }
      return { view, equal: null, ...unknown, error: report }
    }
    const { first, ...counted } = compared
    const lastRecord = first ? await lastTouch(refolded, first.id, this.#host.log, cut, turn) : null
    const difference = first ? { ...first.difference, lastRecord } : null
    const equal = counted.differences === 0 && deadLetterDifferences === 0
    return { view, equal, ...counted, deadLetterDifferences, first: difference, error: null }
  }

  /** Lets everything go. */
  end(): void {
    endAll(this.#watched)
    this.#reader.close()
    for (const view of this.#views) view.table.drop()
  }
}

const endAll = (rows: ReadonlyMap<string, CutRows>): void => {
  for (const each of rows.values()) each.end()
}

/** Whether rows come to it by way of other views. */
export const foldsViews = ({ definition }: FoldedView): boolean =>
  definition.ons.some(({ input }) => input.kind === 'projection')

/** The named projections and all that they fold, in order. */
export function withInputs(
  { projections }: ApplicationParts,
  names: readonly string[],
): ApplicationParts['projections'] {
  const wanted = new Set(names)
  for (const { name, ons } of [...projections].reverse())
    if (wanted.has(name)) for (const { input } of ons) wanted.add(input.name)
  return projections.filter(({ name }) => wanted.has(name))
}
