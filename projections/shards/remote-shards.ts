// All shards behind channels, as the coordinator sees them: a slice has ended when all have ended it, an answer is given out
// when all have reached its cut, so that nothing that is told ever goes back. A view that stops in one shard stops in all.
import {
  type AnyRow,
  ByteReader,
  createRowCodec,
  errorOf,
  fail,
  type MainstemError,
  type RowCodec,
  reportOf,
} from '../../core/index.ts'
import type { ApplicationParts } from '../application.ts'
import type { CutRead, RowRequest } from '../engine.ts'
import type { RecordedChanges } from '../feed/recorder.ts'
import { allFacts, type IndexFacts } from '../indexes/view-indexes.ts'
import { type Refolded, replacementsOf } from '../replay/replacement.ts'
import { type DeadLetterEntry, inOrder } from '../skip/dead-letters.ts'
import { GROUP_SHIFT, groupsOf, ownersOf } from '../state/key-groups.ts'
import type { KeyId } from '../state/keys.ts'
import { StateMemory } from '../state/memory.ts'
import { FoldedView } from '../view.ts'
import type { Folding } from './folding.ts'
import type { FromShard, RowsRead, ShardChannel, ViewFacts } from './messages.ts'
import { RemoteMember } from './remote-member.ts'
import { differentCuts, RemoteRanges } from './remote-ranges.ts'
import type { Scheduler } from './scheduler.ts'
import type { ShardStart, SliceEnd } from './shard.ts'

/** Keys asked for and not answered: more are refused. */
const KEYS_PENDING_MAX = 1_000_000
/** What slices under way may take when all is to end. */
const HALT_MS_MAX = 3_000

type Ended = Extract<FromShard, { type: 'at' }>
type Stands = Extract<FromShard, { type: 'stands' }>

/** What shards have been told that they answer with how their views stand. */
interface Settling extends PromiseWithResolvers<readonly RecordedChanges[]> {
  readonly stand: (Stands | undefined)[]
}

interface Slice extends PromiseWithResolvers<SliceEnd> {
  readonly ends: (Ended | undefined)[]
}

type Place = { readonly read: Read; readonly at: number; readonly view: number; readonly id: KeyId }

/** Rows asked for in one turn. */
interface Batch {
  readonly reads: Read[]
  /** By shard that is asked: which rows of which reads. */
  readonly places: Map<number, Place[]>
  answers: number
  position: number
}

interface Read extends PromiseWithResolvers<RowsAtPosition> {
  readonly rows: (AnyRow | undefined)[]
}

export type RowsAtPosition = Omit<CutRead, 'final'>

export interface RemoteShardsOptions {
  readonly channels: readonly ShardChannel[]
  readonly parts: ApplicationParts
  readonly scheduler: Scheduler
  /** Told once, when a shard has ended or cannot go on. */
  readonly onFailed: (error: MainstemError) => void
}

export class RemoteShards implements Folding {
  readonly views: readonly FoldedView[]
  readonly slicesAhead = 2
  /** Of this thread: nothing of the shards' rows. */
  readonly memory = new StateMemory()
  readonly #options: RemoteShardsOptions
  readonly members: readonly RemoteMember[]
  readonly #codecs: readonly RowCodec[]
  readonly #owners: Uint8Array
  readonly #slices: Slice[] = []
  /** Slices that each shard has ended and that have not been by all. */
  readonly #ahead: number[]
  #facts: readonly (readonly ViewFacts[])[] = []
  #complete: ReadonlySet<string> = new Set()
  #position = 0
  #nextExpiryMs = Number.POSITIVE_INFINITY
  #scanned = 0
  #generation = 0
  #asking: Batch = newBatch()
  #keysPending = 0
  readonly #asked = new Map<number, Batch>()
  readonly ranges: RemoteRanges
  readonly #letters = new Map<number, PromiseWithResolvers<readonly DeadLetterEntry[]>>()
  /** Answered as of a cut that not all have reached. */
  #early: Batch[] = []
  #nextId = 0
  #settling: Settling | undefined
  #closed = false
  #halting: (() => void) | undefined
  #failure: MainstemError | undefined

  constructor(options: RemoteShardsOptions) {
    this.#options = options
    const { channels, parts } = options
    this.views = parts.projections.map(each => new FoldedView(each, { position: 0, timeMs: 0 }, this.memory))
    this.members = channels.map((channel, shard) => new RemoteMember(groupsOf(shard, channels.length), channel))
    this.#codecs = this.views.map(view => createRowCodec(view.value))
    this.ranges = new RemoteRanges(this, options, error => this.#fail(error))
    this.#owners = ownersOf(options.channels.length)
    this.#ahead = options.channels.map(() => 0)
    for (const [shard, channel] of options.channels.entries()) {
      channel.listen(
        message => this.#hear(shard, message),
        () => this.#fail(fail('SHARD_FAILED', `shard ${shard} has ended`)),
      )
    }
  }

  get position(): number {
    return this.#position
  }

  isComplete(source: string): boolean {
    return this.#complete.has(source)
  }

  stateBytes(view: FoldedView): number {
    const number = this.views.indexOf(view)
    return this.#facts.reduce((sum, facts) => sum + facts[number]!.bytes, 0)
  }

  indexesOf(view: FoldedView): readonly IndexFacts[] {
    const number = this.views.indexOf(view)
    return view.indexes.map((_, n) => allFacts(this.#facts.map(facts => facts[number]!.indexes[n]!)))
  }

  get nextExpiryMs(): number {
    return this.#nextExpiryMs
  }

  skipped(view: FoldedView): { readonly count: number; readonly total: number } | null {
    const number = this.views.indexOf(view)
    const parts = this.#facts.flatMap(facts => facts[number]!.skipped ?? [])
    if (parts.length === 0) return view.deadLetters?.figures ?? null
    const sum = (of: 'count' | 'total') => parts.reduce((all, each) => all + each[of], 0)
    return { count: sum('count'), total: sum('total') }
  }

  async deadLetters(view: FoldedView): Promise<readonly DeadLetterEntry[]> {
    if (this.#failure) throw this.#failure
    if (this.#closed) throw shuttingDown()
    const number = this.views.indexOf(view)
    const parts = this.#options.channels.map(channel => {
      const id = this.#nextId++
      const waiter = Promise.withResolvers<readonly DeadLetterEntry[]>()
      this.#letters.set(id, waiter)
      channel.post({ type: 'letters', id, view: number })
      return waiter.promise
    })
    return (await Promise.all(parts)).flat().sort(inOrder)
  }

  get generation(): number {
    return this.#generation
  }

  get completeSources(): readonly string[] {
    return [...this.#complete]
  }

  get inTransaction(): boolean {
    return this.#scanned > this.#position
  }

  async begin(start: ShardStart): Promise<void> {
    this.#position = this.#scanned = start.position
    this.#generation = start.generation
    this.#complete = new Set(start.complete)
    const views = this.views.map(({ position, error }) => ({ position, error: error && reportOf(error) }))
    const settled = this.#settled()
    for (const channel of this.#options.channels) channel.post({ type: 'begin', start, views })
    await settled
  }

  run(to: number, serving: boolean): Promise<SliceEnd> {
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#closed) return Promise.reject(shuttingDown())
    const slice: Slice = {
      ...Promise.withResolvers<SliceEnd>(),
      ends: this.#options.channels.map(() => undefined),
    }
    this.#slices.push(slice)
    for (const channel of this.#options.channels) channel.post({ type: 'run', to, serving })
    return slice.promise
  }

  #hear(shard: number, message: FromShard): void {
    switch (message.type) {
      case 'at': {
        const slice = this.#slices[this.#ahead[shard]!++]!
        slice.ends[shard] = message
        if (slice === this.#slices[0]) this.#endSlice(slice)
        return
      }
      case 'rows':
        this.#takeRows(shard, message)
        return
      case 'facts':
        this.#facts = this.#facts.map((facts, n) => (n === shard ? message.views : facts))
        return
      case 'found':
      case 'ordered':
        this.ranges.hear(shard, message)
        return
      case 'letters':
        this.#letters.get(message.id)?.resolve(message.letters)
        this.#letters.delete(message.id)
        return
      case 'stands':
        this.#settle(shard, message)
        return
      case 'failed':
        this.#fail(errorOf(message.error))
        return
      default:
        this.members[shard]!.hear(message)
    }
  }

  #endSlice(slice: Slice): void {
    const ends = slice.ends.flatMap(end => end ?? [])
    const [first] = ends
    if (first === undefined || ends.length < slice.ends.length) return
    this.#slices.shift()
    for (const shard of this.#ahead.keys()) this.#ahead[shard]!--
    const { position, scanned, commitTimesUs } = first.end
    if (ends.some(({ end }) => end.position !== position || end.scanned !== scanned)) {
      this.#fail(fail('INTERNAL', 'shards have folded different transactions'))
      return
    }
    this.#takeAllFacts(ends)
    if (first.complete) this.#complete = new Set(first.complete)
    this.#position = position
    this.#scanned = scanned
    // Of what the oldest base gave nothing is of a newer one.
    this.#generation = Math.min(...ends.map(({ end }) => end.generation))
    const emitted = ends.flatMap(({ end }) => end.emitted)
    const changes = ends.flatMap(({ end }) => end.changes)
    slice.resolve({
      position,
      scanned,
      commitTimesUs,
      emitted,
      changes,
      generation: this.#generation,
      ms: Math.max(...ends.map(({ end }) => end.ms)),
    })
    const early = this.#early
    this.#early = []
    for (const batch of early) this.#deliver(batch)
    this.ranges.passed()
  }

  /** @param shards what each of them says */
  #takeAllFacts(shards: readonly Pick<Ended, 'views' | 'nextExpiryMs'>[]): void {
    this.#facts = shards.map(({ views }) => views)
    this.#nextExpiryMs = Math.min(...shards.map(({ nextExpiryMs }) => nextExpiryMs))
    for (const [n, view] of this.views.entries())
      this.#takeFacts(
        view,
        shards.map(({ views }) => views[n]!),
      )
  }

  #takeFacts(view: FoldedView, facts: readonly ViewFacts[]): void {
    if (view.error) return
    const stopped = facts.flatMap(each => each.stopped ?? []).sort((a, b) => a.position - b.position)[0]
    if (stopped === undefined) {
      view.size = facts.reduce((sum, { rows }) => sum + rows, 0)
      view.position = Math.max(view.position, this.#position)
      return
    }
    view.position = stopped.position
    this.stopView(view, errorOf(stopped.error))
  }

  /** Reads rows of one cut. All that is asked for in one turn goes with one message to each shard. */
  read(requests: readonly RowRequest[]): Promise<RowsAtPosition> {
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#closed) return Promise.reject(shuttingDown())
    if (this.#keysPending + requests.length > KEYS_PENDING_MAX)
      return Promise.reject(fail('OVERLOADED', 'too many rows are being read'))
    const batch = this.#asking
    if (batch.reads.length === 0) void this.#options.scheduler.yield().then(() => this.#ask())
    const read: Read = { ...Promise.withResolvers<RowsAtPosition>(), rows: requests.map(() => undefined) }
    batch.reads.push(read)
    this.#keysPending += requests.length
    for (const [at, { view: name, key }] of requests.entries()) {
      const view = this.views.findIndex(each => each.name === name)
      const id = this.views[view]?.idOf(key)
      if (id === undefined) continue
      const shard = this.#owners[this.views[view]!.table.keys.hashOf(id) >>> GROUP_SHIFT]!
      const places = batch.places.get(shard) ?? []
      batch.places.set(shard, places)
      places.push({ read, at, view, id })
    }
    return read.promise
  }

  #ask(): void {
    const batch = this.#asking
    this.#asking = newBatch()
    batch.position = this.#position
    if (batch.places.size === 0) {
      this.#deliver(batch)
      return
    }
    const id = this.#nextId++
    this.#asked.set(id, batch)
    for (const [shard, places] of batch.places) {
      const [views, keys] = [places.map(({ view }) => view), places.map(place => place.id)]
      this.#options.channels[shard]!.post({ type: 'read', id, views, keys })
    }
  }

  #takeRows(shard: number, { id, position, bytes }: RowsRead): void {
    const batch = this.#asked.get(id)
    if (batch === undefined) return
    if (batch.answers > 0 && batch.position !== position) {
      this.#fail(differentCuts())
      return
    }
    batch.position = position
    const reader = new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    for (const { read, at, view } of batch.places.get(shard)!)
      if (reader.u8() === 1) read.rows[at] = this.#codecs[view]!.decode(reader)
    if (++batch.answers < batch.places.size) return
    this.#asked.delete(id)
    if (position > this.#position) this.#early.push(batch)
    else this.#deliver(batch)
  }

  #deliver({ reads, position }: Batch): void {
    for (const { rows, resolve } of reads) {
      this.#keysPending -= rows.length
      resolve({ position, rows })
    }
  }

  keepChanged(views: readonly string[]): void {
    for (const channel of this.#options.channels) channel.post({ type: 'keep', views })
  }

  feed(views: readonly string[]): void {
    for (const channel of this.#options.channels) channel.post({ type: 'feed', views })
  }

  replace(refolded: readonly Refolded[]): Promise<readonly RecordedChanges[]> {
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#closed) return Promise.reject(shuttingDown())
    const { channels } = this.#options
    const parts = replacementsOf(refolded, this.#owners, channels.length)
    const settled = this.#settled()
    for (const [shard, channel] of channels.entries()) {
      const replacements = parts[shard]!
      const buffers = replacements.map(({ rows }) => rows.buffer as ArrayBuffer)
      channel.post({ type: 'replace', replacements }, buffers)
    }
    return settled
  }

  /** Resolves when all have answered what they are told next. */
  #settled(): Promise<readonly RecordedChanges[]> {
    if (this.#failure) return Promise.reject(this.#failure)
    const settling = {
      ...Promise.withResolvers<readonly RecordedChanges[]>(),
      stand: this.#options.channels.map(() => undefined),
    }
    this.#settling = settling
    return settling.promise
  }

  #settle(shard: number, message: Stands): void {
    const settling = this.#settling
    if (settling === undefined) return
    settling.stand[shard] = message
    const stand = settling.stand.flatMap(each => each ?? [])
    if (stand.length < settling.stand.length) return
    this.#settling = undefined
    this.#takeAllFacts(stand)
    settling.resolve(stand.flatMap(({ changes }) => changes))
  }

  stopView(view: FoldedView, error: MainstemError): void {
    view.stop(error)
    for (const channel of this.#options.channels)
      channel.post({ type: 'stop', view: view.name, error: reportOf(error) })
  }

  stopViews(error: MainstemError): void {
    for (const view of this.views) view.stop(error)
    for (const channel of this.#options.channels)
      channel.post({ type: 'stop', view: undefined, error: reportOf(error) })
  }

  #fail(error: MainstemError): void {
    if (this.#failure || this.#closed) return
    this.#failure = error
    this.#end(error)
    this.#options.onFailed(error)
  }

  /** Ends whatever is waited for. */
  #end(error: MainstemError): void {
    for (const member of this.members) member.end(error)
    for (const { reject } of this.#slices.splice(0)) reject(error)
    for (const batch of [this.#asking, ...this.#asked.values(), ...this.#early])
      for (const { reject } of batch.reads) reject(error)
    for (const { reject } of this.#letters.values()) reject(error)
    this.#letters.clear()
    this.ranges.end(error)
    this.#settling?.reject(error)
    this.#settling = undefined
    this.#asking = newBatch()
    this.#asked.clear()
    this.#early = []
    this.#keysPending = 0
  }

  /** They end by themselves, since what they fold is there; unless a handler never returns. */
  halt(): void {
    const stuck = () => this.#fail(fail('SHUTTING_DOWN', 'a shard did not end in time'))
    this.#halting = this.#options.scheduler.after(HALT_MS_MAX, stuck)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#halting?.()
    this.#end(shuttingDown())
    for (const channel of this.#options.channels) channel.close()
  }
}

const newBatch = (): Batch => ({ reads: [], places: new Map(), answers: 0, position: 0 })
const shuttingDown = (): MainstemError => fail('SHUTTING_DOWN', 'the application is shutting down')
