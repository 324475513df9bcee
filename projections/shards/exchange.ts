// Changes of rows on their way to views that fold them under keys of their own, which other shards may own. Slice by slice and
// rank by rank each shard tells each other what its rows' net changes are, and gets theirs: when all have come, views of the
// next rank fold them, in the order in which one shard would: by the transaction that caused them, then by the view that passed
// them on, then by its rows' keys. A change goes only to the owners of the keys to which it goes.
import {
  type AnyRow,
  ByteReader,
  ByteWriter,
  type Channel,
  createRowCodec,
  enterHandlers,
  fail,
  leaveHandlers,
  type RowCodec,
} from '../../core/index.ts'
import type { RecordInfo } from '../handler-context.ts'
import type { InputKey, Route } from '../route.ts'
import { GROUP_SHIFT, ownersOf } from '../state/key-groups.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'
import { ranksOf } from '../view-graph.ts'

/** What one shard tells another at the end of a rank of a slice. */
export interface ExchangedChanges {
  readonly bytes: Uint8Array
}

export type PeerChannel = Channel<ExchangedChanges, ExchangedChanges>

/** The net change of a row by a transaction. */
interface Change {
  readonly cause: number
  /** Place of its view among all. */
  readonly view: number
  readonly id: KeyId
  /** The key's bytes, whose order is that of its view's rows. */
  readonly key: Uint8Array
  readonly before: AnyRow | null
  readonly after: AnyRow | null
}

/** A view that is folded by views. */
interface Passing {
  readonly number: number
  readonly view: FoldedView
  readonly codec: RowCodec
  /** By rank of their views, the routes that fold it. */
  readonly routes: ReadonlyMap<number, readonly Route[]>
}

const BEFORE = 1
const AFTER = 2

export interface ExchangeOptions {
  /** To each of the shards; none to this one. */
  readonly peers: readonly (PeerChannel | undefined)[]
  readonly views: readonly FoldedView[]
  /** Says which transaction is ending. */
  readonly info: RecordInfo
}

export class Exchange {
  readonly #info: RecordInfo
  readonly #peers: readonly (Peer | undefined)[]
  readonly #owners: Uint8Array
  readonly #passing: readonly (Passing | undefined)[]
  /** By rank of the views that are to fold them. */
  readonly #inbox: Change[][]
  readonly #wanted = new Set<number>()

  constructor({ peers, views, info }: ExchangeOptions) {
    this.#info = info
    this.#peers = peers.map(channel => channel && new Peer(channel))
    this.#owners = ownersOf(peers.length)
    const ranks = ranksOf(views)
    this.#inbox = ranks.map(() => [])
    this.#passing = views.map((view, number) => {
      if (view.consumers.length === 0) return undefined
      view.outlet = (_, id, before, after) => this.#take(number, id, before, after)
      const routes = Map.groupBy(view.consumers, route => ranks.findIndex(rank => rank.includes(route.view)))
      return { number, view, codec: createRowCodec(view.value), routes }
    })
  }

  #take(number: number, id: KeyId, before: AnyRow | null, after: AnyRow | null): void {
    const passing = this.#passing[number]!
    const { view, codec } = passing
    const key = view.table.keys.bytesOf(id)
    const change: Change = { cause: this.#info.position, view: number, id, key, before, after }
    for (const shard of this.#ownersOf(passing, change)) {
      const peer = this.#peers[shard]
      if (peer === undefined) {
        this.#keep(passing, change)
        continue
      }
      const { writer } = peer
      writer.varint(change.cause)
      writer.varint(number)
      writer.bytes(key)
      writer.u8((before ? BEFORE : 0) | (after ? AFTER : 0))
      if (before) codec.encode(writer, before)
      if (after) codec.encode(writer, after)
    }
  }

  /** Those who own keys to which a change goes. */
  #ownersOf({ view }: Passing, change: Change): ReadonlySet<number> {
    const wanted = this.#wanted
    wanted.clear()
    const inputKey = inputKeyOf(view, change.id)
    for (const route of view.consumers) {
      if (route.view.error) continue
      try {
        enterHandlers(route.view)
        for (const row of [change.before, change.after]) if (row) this.#addOwners(route, row, inputKey)
      } catch {
        // Whoever folds it meets the same error, and stops the view: all do, as one shard would.
        for (let shard = 0; shard < this.#peers.length; shard++) wanted.add(shard)
      } finally {
        leaveHandlers()
      }
    }
    return wanted
  }

  #addOwners(route: Route, row: AnyRow, inputKey: InputKey): void {
    const keys = route.keysOf(row, inputKey)
    if (keys === null || keys === undefined) return
    const { keys: ids } = route.view.table
    for (const key of route.many && Array.isArray(keys) ? keys : [keys])
      this.#wanted.add(this.#owners[ids.hashOf(ids.idOf(key)) >>> GROUP_SHIFT]!)
  }

  #keep({ routes }: Passing, change: Change): void {
    for (const rank of routes.keys()) this.#inbox[rank]!.push(change)
  }

  /** Ends a rank of a slice: all that its views passed on goes to the others, and what theirs passed on has come. @throws SHARD_FAILED */
  async step(): Promise<void> {
    for (const peer of this.#peers) peer?.send()
    for (const peer of this.#peers) {
      if (peer === undefined) continue
      const { bytes } = await peer.next()
      this.#read(new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)), bytes.byteLength)
    }
  }

  #read(reader: ByteReader, end: number): void {
    while (reader.at < end) {
      const cause = reader.varint()
      const passing = this.#passing[reader.varint()]!
      const { view, codec, number } = passing
      const key = reader.bytes()
      const id = view.table.keys.idOf(view.key.decode(key))
      const there = reader.tag(BEFORE | AFTER)
      const before = there & BEFORE ? frozenWithin(codec.decode(reader)) : null
      const after = there & AFTER ? frozenWithin(codec.decode(reader)) : null
      this.#keep(passing, { cause, view: number, id, key, before, after })
    }
  }

  /** Puts the changes for a rank of a slice in order: `fold` gives them to its views transaction by transaction. */
  changesFor(rank: number): ChangeQueue {
    const changes = this.#inbox[rank]!
    this.#inbox[rank] = []
    changes.sort((a, b) => a.cause - b.cause || a.view - b.view || Buffer.compare(a.key, b.key))
    return new ChangeQueue(changes, rank, this.#passing)
  }

  close(): void {
    for (const peer of this.#peers) peer?.channel.close()
  }
}

/** The changes of a slice for the views of one rank. */
export class ChangeQueue {
  readonly #changes: readonly Change[]
  readonly #rank: number
  readonly #passing: readonly (Passing | undefined)[]
  #next = 0

  constructor(changes: readonly Change[], rank: number, passing: readonly (Passing | undefined)[]) {
    this.#changes = changes
    this.#rank = rank
    this.#passing = passing
  }

  /** Folds the next change that the transaction ending at `cause` has made; false where there is none. */
  fold(cause: number): boolean {
    const change = this.#changes[this.#next]
    if (change === undefined || change.cause > cause) return false
    this.#next++
    const { view, routes } = this.#passing[change.view]!
    const inputKey = inputKeyOf(view, change.id)
    for (const route of routes.get(this.#rank) ?? []) route.view.fold(route, change.before, change.after, inputKey)
    return true
  }
}

const inputKeyOf = ({ table }: FoldedView, id: KeyId): InputKey => ({ fromRow: () => table.keys.keyOf(id) })

/** As rows in place give them: what is nested cannot be changed. */
function frozenWithin(row: AnyRow): AnyRow {
  for (const value of Object.values(row)) freezeDeeply(value)
  return row
}

function freezeDeeply(value: unknown): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Date) return
  Object.freeze(value)
  for (const inner of value instanceof Map ? [...value.values()] : Object.values(value)) freezeDeeply(inner)
}

/** What goes to one other shard, and what comes from it. */
class Peer {
  readonly channel: PeerChannel
  readonly writer = new ByteWriter()
  readonly #come: ExchangedChanges[] = []
  #waiting: PromiseWithResolvers<ExchangedChanges> | undefined
  #closed = false

  constructor(channel: PeerChannel) {
    this.channel = channel
    channel.listen(
      changes => {
        if (this.#waiting === undefined) this.#come.push(changes)
        else this.#waiting.resolve(changes)
        this.#waiting = undefined
      },
      () => {
        this.#closed = true
        this.#waiting?.reject(gone())
      },
    )
  }

  send(): void {
    const bytes = Uint8Array.from(this.writer.buffer.subarray(0, this.writer.at))
    this.writer.at = 0
    this.channel.post({ bytes }, [bytes.buffer])
  }

  next(): Promise<ExchangedChanges> {
    const come = this.#come.shift()
    if (come) return Promise.resolve(come)
    if (this.#closed) return Promise.reject(gone())
    this.#waiting = Promise.withResolvers()
    return this.#waiting.promise
  }
}

const gone = () => fail('SHARD_FAILED', 'another shard has ended')
