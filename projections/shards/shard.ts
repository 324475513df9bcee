// One shard: folds the log into the rows of the keys that it owns, slice by slice, transaction by transaction. What it is asked
// for, it answers as of the end of a transaction. It knows nothing of reads over HTTP, or of why a slice ends where it does.
// Alone it folds all views in one pass, and what they pass on to each other at once. One of several makes a pass for each rank
// of views, and exchanges with the others what goes from one rank to the next; the result is the same.
import {
  asMainstemError,
  type LogBlock,
  type LogReader,
  type MainstemError,
  type ReadableLog,
} from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import { ChangeRecorder, type RecordedChanges } from '../feed/recorder.ts'
import type { RecordInfo } from '../handler-context.ts'
import { ShardIndexes } from '../indexes/shard-indexes.ts'
import type { IndexFacts } from '../indexes/view-indexes.ts'
import type { Emitted } from '../publish/emissions.ts'
import { ChangedSince } from '../replay/changed-since.ts'
import { type Refolded, type Replacement, replacementsOf, replaceRows } from '../replay/replacement.ts'
import type { DeadLetterEntry } from '../skip/dead-letters.ts'
import { ALL_GROUPS, groupsOf, type KeyGroups, ownersOf } from '../state/key-groups.ts'
import { StateMemory } from '../state/memory.ts'
import { FoldedView } from '../view.ts'
import { connectViews, ranksOf } from '../view-graph.ts'
import { Completeness } from './completeness.ts'
import { Exchange, type PeerChannel } from './exchange.ts'
import type { Folding } from './folding.ts'
import { Pass, type Readers } from './pass.ts'
import { type Scheduler, Turns } from './scheduler.ts'

/** Transactions of a slice whose lag is measured. */
const COMMITS_MAX = 1_000

export interface ShardOptions {
  readonly log: Pick<ReadableLog, 'read' | 'base'>
  readonly parts: ApplicationParts
  readonly scheduler: Scheduler
  /** Longest run without a yield, milliseconds. */
  readonly sliceMs: number
  readonly stateBytesMax?: number | undefined
  /** Which of how many it is, and how it reaches the others. Default: the only one, whose rows are read in this thread. */
  readonly among?: Among
}

export interface Among {
  readonly shard: number
  /** To each of the shards; none to this one. */
  readonly peers: readonly (PeerChannel | undefined)[]
}

/** Where a shard begins. */
export interface ShardStart {
  readonly position: number
  /** Sources whose snapshot was complete there. */
  readonly complete: readonly string[]
  /** Position after which transactions are of this process's time. */
  readonly measuredFrom: number
  /** Of the log's base, now. */
  readonly generation: number
  /** Of each projection that emits: what is caused up to there is published. */
  readonly publishedUpTo: ReadonlyMap<string, number>
}

/** Where a slice ended. */
export interface SliceEnd {
  /** Of the last whole transaction: what reads see. */
  readonly position: number
  /** Of the last block. */
  readonly scanned: number
  /** When sources committed what it made visible, microseconds since 1970: of transactions that did not wait for this process. */
  readonly commitTimesUs: readonly number[]
  /** Of the log's base that was read. */
  readonly generation: number
  /** What handlers emitted. */
  readonly emitted: readonly Emitted[]
  /** Net changes of rows of the views that are fed. */
  readonly changes: readonly RecordedChanges[]
  /** What it took. */
  readonly ms: number
}

const NO_BLOCKS: readonly LogBlock[] = []

export class Shard implements Folding {
  readonly slicesAhead = 1
  readonly #options: ShardOptions
  readonly #turns: Turns
  readonly #passes: readonly Pass[]
  readonly #exchange: Exchange | undefined
  readonly views: readonly FoldedView[]
  readonly #expiring: readonly FoldedView[]
  readonly memory: StateMemory
  readonly indexes: ShardIndexes
  readonly complete = new Completeness()
  #position = 0
  #scanned = 0
  /** Lag is measured of transactions after it. */
  #measuredFrom = 0
  #commitTimesUs: number[] = []
  #reader: LogReader | undefined
  /** Blocks that have been read, and the next of them to be folded. */
  #blocks = NO_BLOCKS
  #next = 0
  #inTransaction = false
  #cutWaiters: (() => void)[] = []
  /** By view. */
  #changed: ReadonlyMap<string, ChangedSince> = new Map()
  readonly #info: RecordInfo = { position: 0, timeMs: 0 }
  readonly #recorder = new ChangeRecorder(this.#info)

  constructor(options: ShardOptions) {
    const { parts, scheduler, sliceMs, stateBytesMax, among } = options
    this.#options = options
    this.#turns = new Turns(scheduler, sliceMs)
    const info = this.#info
    this.memory = new StateMemory(stateBytesMax)
    const owned = this.groups
    this.views = parts.projections.map(definition => new FoldedView(definition, info, this.memory, owned))
    this.indexes = new ShardIndexes({ views: this.views, memory: this.memory, scheduler, sliceMs })
    connectViews(this.views)
    this.#expiring = this.views.filter(view => view.expires)
    const ranks = ranksOf(this.views)
    if (among && among.peers.length > 1 && ranks.length > 1)
      this.#exchange = new Exchange({ peers: among.peers, views: this.views, info })
    this.#passes = (this.#exchange ? ranks : [this.views]).map((views, rank) => {
      return new Pass({ views, parts, info, turns: this.#turns, complete: rank === 0 ? this.complete : undefined })
    })
  }

  /** Begins after a position; views that stand further on pass over what they have folded. */
  begin({ position, complete, measuredFrom, publishedUpTo }: ShardStart): void {
    for (const { name, emissions } of this.views)
      emissions.publishedUpTo = publishedUpTo.get(name) ?? Number.POSITIVE_INFINITY
    this.#position = this.#scanned = position
    this.complete.begin(complete)
    this.#measuredFrom = measuredFrom
    // Rank by rank it holds blocks until the slice ends.
    this.#reader = this.#options.log.read(position, { lent: this.#exchange === undefined })
    this.indexes.serve(position >= measuredFrom)
  }

  /** Position of the last whole transaction. */
  get position(): number {
    return this.#position
  }

  get completeSources(): readonly string[] {
    return this.complete.sources
  }

  isComplete(source: string): boolean {
    return this.complete.has(source)
  }

  stateBytes(view: FoldedView): number {
    return view.table.bytes + this.indexes.bytes(view)
  }

  indexesOf(view: FoldedView): readonly IndexFacts[] {
    return this.indexes.facts(view)
  }

  get nextExpiryMs(): number {
    let next = Number.POSITIVE_INFINITY
    for (const view of this.#expiring) next = Math.min(next, view.nextExpiryMs)
    return next
  }

  skipped({ deadLetters }: FoldedView): { readonly count: number; readonly total: number } | null {
    return deadLetters?.figures ?? null
  }

  async deadLetters(view: FoldedView): Promise<readonly DeadLetterEntry[]> {
    return view.deadLetters?.entries() ?? []
  }

  keepChanged(views: readonly string[]): void {
    for (const kept of this.#changed.values()) kept.end()
    const wanted = this.views.filter(({ name, error }) => views.includes(name) && !error)
    this.#changed = new Map(wanted.map(view => [view.name, new ChangedSince(view)]))
  }

  feed(views: readonly string[]): void {
    this.#recorder.feed(this.views.filter(({ name, error }) => views.includes(name) && !error))
  }

  async replace(refolded: readonly Refolded[]): Promise<readonly RecordedChanges[]> {
    return this.takeReplacements(replacementsOf(refolded, ownersOf(1), 1)[0]!)
  }

  /** The same with what is this shard's. */
  takeReplacements(replacements: readonly Replacement[]): readonly RecordedChanges[] {
    this.#info.position = this.#position
    for (const replacement of replacements) {
      const view = this.views.find(({ name }) => name === replacement.view)
      if (view === undefined || view.error) continue
      try {
        replaceRows(view, replacement, this.#changed.get(view.name))
      } catch (error) {
        view.stop(asMainstemError(error))
      }
    }
    this.keepChanged([])
    return this.#recorder.take()
  }

  /** Whose keys it owns. */
  get groups(): KeyGroups {
    const { among } = this.#options
    return among ? groupsOf(among.shard, among.peers.length) : ALL_GROUPS
  }

  /** Of the log's base that is read. */
  get generation(): number {
    return (this.#reader ?? this.#options.log.base).generation
  }

  /** True between the first record of a transaction and its end: rows are in between then. */
  get inTransaction(): boolean {
    return this.#inTransaction
  }

  /** Resolves at the end of the running transaction, if there is one. The next may have begun when the caller's turn comes. */
  cut(): Promise<void> {
    if (!this.#inTransaction) return Promise.resolve()
    return new Promise(resolve => this.#cutWaiters.push(resolve))
  }

  /**
   * Takes what handlers have emitted, at the end of a slice or at a cut: of the transactions that have ended, and of a large one
   * what all its blocks so far but the last record caused.
   */
  takeEmissions(): readonly Emitted[] {
    const before = this.#inTransaction ? this.#scanned : Number.POSITIVE_INFINITY
    return this.views.flatMap(({ name, emissions }) => {
      const taken = emissions.take(before)
      return taken.length > 0 ? [{ projection: name, emissions: taken }] : []
    })
  }

  /**
   * Folds up to the first end of a block that is at `to` or beyond it, or as far as it came when it was halted.
   * @param serving whether rows are read meanwhile, and until the next call: a large transaction then leaves them as they were until its end
   */
  async run(to: number, serving: boolean): Promise<SliceEnd> {
    const turns = this.#turns
    const startedMs = turns.scheduler.nowMs()
    this.#commitTimesUs = []
    this.indexes.serve(serving)
    const readers: Readers = serving ? (this.#options.among ? 'between-slices' : 'in-turns') : 'none'
    await (this.#exchange ? this.#runByRank(this.#exchange, to, readers) : this.#runAlone(to, readers))
    if (this.#next === this.#blocks.length) {
      this.#blocks = NO_BLOCKS
      this.#next = 0
    }
    // What views that were made anew end with may be read.
    this.indexes.serve(serving || this.#position >= this.#measuredFrom)
    const keepingUp = this.indexes.keepUp()
    if (keepingUp) await keepingUp
    return {
      position: this.#position,
      scanned: this.#scanned,
      commitTimesUs: this.#commitTimesUs,
      generation: this.generation,
      emitted: this.takeEmissions(),
      changes: this.#recorder.take(),
      ms: turns.scheduler.nowMs() - startedMs,
    }
  }

  /** Folds the blocks of a slice one after the other. */
  async #runAlone(to: number, readers: Readers): Promise<void> {
    const [pass] = this.#passes
    while (this.#scanned < to) {
      const block = this.#blocks[this.#next] ?? (await this.#read())
      if (block === undefined) return
      this.#next++
      this.#inTransaction = true
      const folding = pass!.fold(block, readers)
      if (folding) await folding
      this.#scanned = block.end
      if (block.last) {
        if (pass!.large || this.#cutWaiters.length > 0) await pass!.endInTurns(block, () => this.#ended(block))
        else {
          pass!.end(block)
          this.#ended(block)
        }
      }
      if (this.#turns.over) await this.#turns.next()
    }
  }

  /** Folds all blocks of a slice, rank by rank. */
  async #runByRank(exchange: Exchange, to: number, readers: Readers): Promise<void> {
    const blocks: LogBlock[] = []
    while (this.#scanned < to) {
      const block = this.#blocks[this.#next] ?? (await this.#read())
      if (block === undefined) return
      this.#next++
      this.#scanned = block.end
      blocks.push(block)
    }
    for (const [rank, pass] of this.#passes.entries()) {
      if (rank > 0) await exchange.step()
      const changes = exchange.changesFor(rank)
      for (const block of blocks) {
        await pass.fold(block, readers)
        if (block.last) {
          pass.beginEnd(block)
          while (changes.fold(block.end)) if (this.#turns.over) await this.#turns.next()
          if (pass.large) await pass.endInTurns(block, () => {})
          else pass.end(block)
        }
        if (this.#turns.over) await this.#turns.next()
      }
    }
    for (const block of blocks) if (block.last) this.#ended(block)
    const newest = blocks.at(-1)
    if (newest) this.#inTransaction = !newest.last
  }

  async #read(): Promise<LogBlock | undefined> {
    this.#blocks = (await this.#reader?.next()) ?? NO_BLOCKS
    this.#next = 0
    return this.#blocks[0]
  }

  /** All views have ended a transaction. */
  #ended({ mark, count, end }: LogBlock): void {
    this.complete.endTransaction(end)
    this.#position = end
    this.#inTransaction = false
    if (mark?.commitTimeUs !== undefined && !mark.snapshot && count > 0 && end > this.#measuredFrom) {
      // Not of those that waited for a snapshot.
      const measured = mark.commitTimeUs >= this.complete.sinceUs(mark.source)
      if (measured && this.#commitTimesUs.length < COMMITS_MAX) this.#commitTimesUs.push(mark.commitTimeUs)
    }
    this.#wakeCutWaiters()
  }

  #wakeCutWaiters(): void {
    if (this.#cutWaiters.length > 0) for (const resolve of this.#cutWaiters.splice(0)) resolve()
  }

  stopView(view: FoldedView, error: MainstemError): void {
    view.stop(error)
  }

  /** Stops all views. A transaction that was cut short leaves rows in between: nobody may read them. */
  stopViews(error: MainstemError): void {
    for (const view of this.views) view.stop(error)
    this.#inTransaction = false
    this.#wakeCutWaiters()
  }

  /** Ends a slice that waits for the log. */
  halt(): void {
    this.#reader?.close()
  }

  /** Ends one too that waits for other shards. */
  async close(): Promise<void> {
    this.halt()
    this.indexes.close()
    this.#exchange?.close()
  }
}
