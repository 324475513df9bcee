// All subscriptions to one view. Each is a place in the ring of recent changes: one that is level gets a change in the turn in which it
// comes, found by what it selects; one that is behind (it has just come, or its client is slow) goes on from the ring as fast as its
// client takes it. So nothing is queued per client, and a client that is too slow for the ring is told so, while all others go on.
// Guarantees: after the cut at which a subscriber begins it gets each change that it selects once, in order, or `overflow`.
import {
  type AnyRow,
  asMainstemError,
  ByteReader,
  createRowCodec,
  type MainstemError,
  type RowCodec,
} from '../../core/index.ts'
import type { ChangeFeeds, RowChange, ViewFollower, ViewFollowing } from '../../projections/index.ts'
import { SLICE_MS } from '../limits.ts'
import type { ServedView } from '../reads.ts'
import { ChangeRing, type RingChange } from './change-ring.ts'
import { BY_KEY, type Selection, type Selector } from './selection.ts'

/** What a change is for who selects rows: there is one now, or no more. */
export type Told = 'row' | 'gone'

/** Who is told. None of these is called within another one. */
export interface Subscriber {
  readonly selection: Selection
  /** Takes a change, or does not: then it says `goOn` when it can, which is after the next `flush`. */
  take(change: RingChange, told: Told): boolean
  /** All that it was given in this turn is to be sent. */
  flush(): void
  /** It has all up to the place where the hub is. */
  level(): void
  /** It is too slow, or there were too many changes at once: it is told nothing more. */
  overflow(): void
  /** Nobody is told anything more. */
  ended(error: MainstemError): void
}

/** A subscriber's place. */
export interface Membership {
  /** Takes changes again. */
  goOn(): void
  /** Whether it has all changes up to where the hub is. */
  readonly isLevel: boolean
  leave(): void
}

/** Changes between two looks at the clock. */
const CHANGES_PER_LOOK = 256

class Member<S extends Subscriber> implements Membership {
  readonly hub: ViewHub<S>
  readonly subscriber: S
  /** Number of the last change that it has, or that it did not select. */
  at: number
  isLevel = false
  dirty = false

  constructor(hub: ViewHub<S>, subscriber: S, at: number) {
    this.hub = hub
    this.subscriber = subscriber
    this.at = at
  }

  goOn(): void {
    this.hub.goOn(this)
  }

  leave(): void {
    this.hub.leave(this)
  }
}

/** Those of one kind, by what they select. */
interface Group<S extends Subscriber> {
  readonly selector: Selector
  readonly byText: Map<string, Set<Member<S>>>
}

export interface HubOptions {
  readonly served: ServedView
  readonly changes: ChangeFeeds
  readonly ringBytesMax: number
  /** The view goes on no more. */
  readonly onEnded: () => void
}

export class ViewHub<S extends Subscriber = Subscriber> implements ViewFollower {
  readonly served: ServedView
  /** Names this ring: others have other numbers. */
  readonly epoch = Math.random().toString(36).slice(2, 10)
  readonly ring: ChangeRing
  readonly #options: HubOptions
  readonly #codec: RowCodec
  readonly #members = new Set<Member<S>>()
  readonly #groups = new Map<string, Group<S>>()
  /** Those that are behind and can take changes. */
  readonly #behind = new Set<Member<S>>()
  #pumping = false
  #dirty: Member<S>[] = []
  /** As they were before and after a change. */
  #looked: readonly { readonly bytes: Uint8Array; readonly row: AnyRow }[] = []
  #following: ViewFollowing | undefined
  #position = 0
  #passed: { readonly position: number; readonly resolve: () => void }[] = []
  #error: MainstemError | undefined

  private constructor(options: HubOptions) {
    this.#options = options
    this.served = options.served
    this.ring = new ChangeRing(options.ringBytesMax)
    this.#codec = createRowCodec(options.served.live.value)
  }

  /** @throws VIEW_STOPPED, SHUTTING_DOWN */
  static async open<S extends Subscriber>(options: HubOptions): Promise<ViewHub<S>> {
    const hub = new ViewHub<S>(options)
    hub.#following = await options.changes.follow(options.served.live.name, hub)
    hub.#position = Math.max(hub.#position, hub.#following.position)
    return hub
  }

  /** All changes up to there have come. */
  get position(): number {
    return this.#position
  }

  get members(): Iterable<{ readonly subscriber: S }> {
    return this.#members
  }

  /** Resolves when the changes up to a position have come. */
  passed(position: number): Promise<void> {
    if (this.#error) return Promise.reject(this.#error)
    if (position <= this.#position) return Promise.resolve()
    return new Promise(resolve => this.#passed.push({ position, resolve }))
  }

  /** @param at number of the last change that it has @throws why there are no more changes */
  join(subscriber: S, at: number): Membership {
    if (this.#error) throw this.#error
    const member = new Member(this, subscriber, at)
    const { selector, texts } = subscriber.selection
    const group = this.#groups.get(selector.name) ?? { selector, byText: new Map<string, Set<Member<S>>>() }
    this.#groups.set(selector.name, group)
    for (const text of texts) {
      const members = group.byText.get(text)
      if (members) members.add(member)
      else group.byText.set(text, new Set([member]))
    }
    this.#members.add(member)
    this.goOn(member)
    return member
  }

  leave(member: Member<S>): void {
    if (!this.#members.delete(member)) return
    this.#behind.delete(member)
    member.isLevel = false
    const { selector, texts } = member.subscriber.selection
    const group = this.#groups.get(selector.name)!
    for (const text of texts) {
      const members = group.byText.get(text)
      members?.delete(member)
      if (members?.size === 0) group.byText.delete(text)
    }
    if (group.byText.size === 0) this.#groups.delete(selector.name)
  }

  goOn(member: Member<S>): void {
    if (member.isLevel || !this.#members.has(member)) return
    this.#behind.add(member)
    this.#pump()
  }

  changed(changes: readonly RowChange[], position: number): void {
    for (const change of changes) {
      const kept = this.ring.push(change)
      for (const group of this.#groups.values()) this.#tell(group, kept)
    }
    this.#come(position)
  }

  lost(position: number): void {
    this.ring.lose(position)
    for (const member of [...this.#members]) this.#overflow(member)
    this.#come(position)
  }

  ended(error: MainstemError): void {
    this.end(error)
    this.#options.onEnded()
  }

  #come(position: number): void {
    this.#position = position
    const dirty = this.#dirty
    this.#dirty = []
    for (const member of dirty) {
      member.dirty = false
      member.subscriber.flush()
    }
    if (this.#passed.length === 0) return
    const passed = this.#passed
    this.#passed = passed.filter(waiter => waiter.position > position)
    for (const waiter of passed) if (waiter.position <= position) waiter.resolve()
  }

  #tell({ selector, byText }: Group<S>, change: RingChange): void {
    const after = change.after && selector.textOf(change.key, () => this.#decoded(change.after!))
    const before = change.before && selector.textOf(change.key, () => this.#decoded(change.before!))
    if (after !== undefined) for (const member of byText.get(after) ?? []) this.#give(member, change, 'row')
    if (before === undefined || before === after) return
    for (const member of byText.get(before) ?? [])
      if (after === undefined || !member.subscriber.selection.texts.has(after)) this.#give(member, change, 'gone')
  }

  /** To one that is level, and selects the row as it is, or as it was. */
  #give(member: Member<S>, change: RingChange, told: Told): void {
    if (!member.isLevel) return
    const { subscriber } = member
    const seen = subscriber.selection.sees === undefined ? told : this.#seen(member, change)
    if (seen === undefined) return
    if (!subscriber.take(change, seen)) {
      member.isLevel = false
      member.at = change.number - 1
    }
    if (member.dirty) return
    member.dirty = true
    this.#dirty.push(member)
  }

  /** What a member is told, where not all may see all; one whose rows nobody can judge is told nothing more. */
  #seen(member: Member<S>, change: RingChange): Told | undefined {
    try {
      return this.told(member.subscriber.selection, change)
    } catch (error) {
      this.leave(member)
      member.subscriber.ended(asMainstemError(error))
      return undefined
    }
  }

  /**
   * What a change is for a selection; undefined: nothing.
   * @param upTo how far it goes: to this entry of its order. Default: all of it @throws POLICY_FAILED
   */
  told({ selector, texts, sees }: Selection, { key, before, after }: RingChange, upTo?: string): Told | undefined {
    const selects = (bytes: Uint8Array | undefined): boolean => {
      if (bytes === undefined) return false
      const row = () => this.#decoded(bytes)
      const text = selector.textOf(key, row)
      if (text === undefined || !texts.has(text)) return false
      if (upTo !== undefined && selector.entryOf(key, row) > upTo) return false
      return sees === undefined || sees(row(), this.keyOf(key))
    }
    return selects(after) ? 'row' : selects(before) ? 'gone' : undefined
  }

  /** A row of a change, for looking at: the same one for all who look at it one after the other. */
  #decoded(bytes: Uint8Array): AnyRow {
    const known = this.#looked.find(each => each.bytes === bytes)
    if (known) return known.row
    const row = this.rowOf(bytes)
    this.#looked = [{ bytes, row }, ...this.#looked.slice(0, 1)]
    return row
  }

  rowOf(bytes: Uint8Array): AnyRow {
    return this.#codec.decode(new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)))
  }

  keyOf(key: string): unknown {
    return this.served.live.key.decode(Buffer.from(key, 'latin1'))
  }

  /** Those that are behind take turns. */
  #pump(): void {
    if (this.#pumping) return
    const endMs = performance.now() + SLICE_MS
    for (const member of this.#behind) {
      this.#behind.delete(member)
      // One that is not done comes again after the others.
      if (!this.#catchUp(member)) this.#behind.add(member)
      if (performance.now() < endMs) continue
      this.#pumping = true
      setImmediate(() => {
        this.#pumping = false
        this.#pump()
      })
      return
    }
  }

  /** Gives some of what a member has missed; false where there is more, and it takes it. */
  #catchUp(member: Member<S>): boolean {
    const { ring } = this
    const { subscriber } = member
    if (!ring.holdsAfter(member.at)) {
      this.#overflow(member)
      return true
    }
    const { selection } = subscriber
    const to = selection.selector === BY_KEY ? ring.newest : Math.min(ring.newest, member.at + CHANGES_PER_LOOK)
    for (const change of this.#missed(selection, member.at, to)) {
      const told = this.#seen(member, change)
      if (!this.#members.has(member)) return true
      if (told !== undefined && !subscriber.take(change, told)) {
        subscriber.flush()
        return true
      }
      member.at = change.number
    }
    member.at = to
    subscriber.flush()
    if (to < ring.newest) return false
    member.isLevel = true
    subscriber.level()
    return true
  }

  /** Changes that a selection may want, after one number and up to another. */
  *#missed({ selector, texts }: Selection, after: number, to: number): Generator<RingChange> {
    if (selector === BY_KEY) {
      const found: number[] = []
      for (const key of texts)
        for (let n = this.ring.newestOf(key); n > after; n = this.ring.at(n)!.earlier) if (n <= to) found.push(n)
      for (const number of found.sort((a, b) => a - b)) yield this.ring.at(number)!
      return
    }
    for (let number = after + 1; number <= to; number++) yield this.ring.at(number)!
  }

  #overflow(member: Member<S>): void {
    this.leave(member)
    member.subscriber.overflow()
  }

  /** Ends all subscriptions. */
  end(error: MainstemError): void {
    if (this.#error) return
    this.#error = error
    this.#following?.end()
    for (const { resolve } of this.#passed.splice(0)) resolve()
    for (const member of [...this.#members]) {
      this.leave(member)
      member.subscriber.ended(error)
    }
  }
}
