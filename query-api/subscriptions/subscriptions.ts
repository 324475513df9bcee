// The service of subscriptions, for HTTP and for clients in this process: a hub for each view that somebody subscribes to, where a new
// subscriber begins, and what has to be looked after by the clock. A snapshot and the changes after it join without a gap: the
// hub has all changes from before the snapshot's first row is read.
import { type AnyRow, fail, type MainstemError } from '../../core/index.ts'
import {
  HEARTBEAT_MS,
  PEERS_LOOK_MS,
  PROGRESS_MS,
  RING_BYTES_MAX,
  RING_KEPT_MS,
  STALL_MS_MAX,
  SUBSCRIPTIONS_MAX,
  UNSENT_BYTES_MAX,
} from '../limits.ts'
import type { Reads, ServedView } from '../reads.ts'
import { shuttingDown, type WaitFor } from '../waits.ts'
import { Events, type Mark } from './events.ts'
import { Peers } from './peers.ts'
import { parseResumeToken, type ResumeToken } from './resume-token.ts'
import type { Selection, Wanted } from './selection.ts'
import { Snapshot, type SnapshotPart } from './snapshot.ts'
import { type Membership, type Subscriber, ViewHub } from './view-hub.ts'

export interface SubscriptionLimits {
  /** At the same time. Default 15,000. */
  readonly subscriptionsMax?: number
  /** What is kept of a view's recent changes, about. Default 32 MiB. */
  readonly ringBytesMax?: number
  /** For how long after its last subscriber has left, milliseconds. Default 60,000. */
  readonly ringKeptMs?: number
  /** What is written to a client that has not taken it. Default 256 KiB. */
  readonly unsentBytesMax?: number
  /** How often subscribers are told how far the view is, milliseconds. Default 1,000. */
  readonly progressMs?: number
  /** How often a quiet connection is shown to be there. Default 15,000. */
  readonly heartbeatMs?: number
  /** For how long a client may take nothing, milliseconds; then its connection is cut. Default 60,000. */
  readonly stallMsMax?: number
  /** How often it is looked for clients that have gone without a word, milliseconds. Default 15,000. */
  readonly peersLookMs?: number
}

export interface SubscriptionRequest extends Omit<WaitFor, 'after'> {
  readonly served: ServedView
  readonly wanted: Wanted
  /** Tokens to wait for before the snapshot is read. */
  readonly after: readonly string[]
  /** Id of the last event that came to the client. */
  readonly lastEventId: string | undefined
}

/** Who is told by the clock, too, how far its hub is. */
export interface Clocked extends Subscriber {
  tick(nowMs: number, mark: Mark): void
}

/** A view's hub and what belongs to it. */
interface Hub {
  readonly hub: ViewHub<Clocked>
  readonly events: Events
  /** Subscriptions that are open, or about to be. */
  uses: number
  idle: NodeJS.Timeout | undefined
}

/** A subscription that is about to begin: nothing has been sent. */
export interface Opened {
  readonly events: Events
  readonly selection: Selection
  /** Undefined: it goes on where the client was. */
  readonly snapshot: SnapshotPart | undefined
  /** Whether what the client knows is out of date. */
  readonly reset: boolean
  /** The next part of the snapshot. @returns 'overflow' where the client has taken too long @throws why there is none */
  more(): Promise<SnapshotPart | 'overflow'>
  /** Begins to tell changes. After the last part of the snapshot has been given. @throws why there are none */
  join(subscriber: Clocked): Membership
  /** Of changes. */
  keyOf(key: string): unknown
  rowOf(bytes: Uint8Array): AnyRow
  /** Calls this where the service ends before it does. */
  onEnded(ended: (error: MainstemError) => void): void
  /** It does not begin after all, or has ended. */
  close(): void
}

export class Subscriptions {
  readonly #reads: Reads
  readonly #limits: Required<SubscriptionLimits>
  readonly #hubs = new Map<ServedView, Promise<Hub>>()
  /** Of those over HTTP. */
  readonly peers: Peers
  /** What ends those that are open, also before they are told changes. */
  readonly #ends = new Set<(error: MainstemError) => void>()
  #open = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(reads: Reads, limits: SubscriptionLimits = {}) {
    this.#reads = reads
    this.#limits = {
      subscriptionsMax: SUBSCRIPTIONS_MAX,
      ringBytesMax: RING_BYTES_MAX,
      ringKeptMs: RING_KEPT_MS,
      unsentBytesMax: UNSENT_BYTES_MAX,
      progressMs: PROGRESS_MS,
      heartbeatMs: HEARTBEAT_MS,
      stallMsMax: STALL_MS_MAX,
      peersLookMs: PEERS_LOOK_MS,
      ...limits,
    }
    this.peers = new Peers(this.#limits)
  }

  get limits(): Required<SubscriptionLimits> {
    return this.#limits
  }

  /** How many there are. */
  get open(): number {
    return this.#open
  }

  /**
   * Prepares a subscription: waits for tokens, begins to follow the view, reads the snapshot's first rows.
   * @throws TOKEN_MALFORMED, TOKEN_OTHER_LOG, VIEW_STOPPED, VIEW_REBUILDING, NOT_REACHED, OVERLOADED, SHUTTING_DOWN
   */
  async prepare(request: SubscriptionRequest): Promise<Opened> {
    const { served, lastEventId } = request
    const token =
      lastEventId === undefined ? undefined : parseResumeToken(lastEventId, this.#reads.log.id, served.live.name)
    if (this.#closed) throw shuttingDown()
    if (this.#open >= this.#limits.subscriptionsMax) {
      const detail = `${this.#limits.subscriptionsMax} at a time is the limit`
      throw fail('OVERLOADED', 'there are too many subscriptions', { detail, hint: 'try again later' })
    }
    this.#open++
    try {
      return await this.#prepare(request, token)
    } catch (error) {
      this.#open--
      throw error
    }
  }

  async #prepare(request: SubscriptionRequest, token: ResumeToken | undefined): Promise<Opened> {
    const { served, after, timeoutMs, signal } = request
    // A client is not told of a time before the one that it knows, also after a restart.
    const tokens = token ? [...after, String(token.position)] : after
    await this.#reads.wait({ after: tokens, timeoutMs, signal }, [served.live])
    served.live.check()
    const each = await this.#use(served)
    try {
      return await this.#begin(each, request, token)
    } catch (error) {
      this.#leave(each)
      throw error
    }
  }

  async #begin(each: Hub, request: SubscriptionRequest, token: ResumeToken | undefined): Promise<Opened> {
    const { hub, events } = each
    const { served, wanted, timeoutMs, signal } = request
    const resumes = token !== undefined && token.epoch === hub.epoch && hub.ring.holdsAfter(token.number)
    const snapshot = new Snapshot({ reads: this.#reads, served, hub, wanted, timeoutMs })
    const first = resumes ? undefined : await snapshot.next(signal)
    // Nothing came before the first part.
    if (first === 'overflow') throw tooSlow()
    let open = true
    let onEnded: ((error: MainstemError) => void) | undefined
    return {
      events,
      selection: wanted.selection,
      snapshot: first,
      reset: token !== undefined && !resumes,
      more: () => snapshot.next(),
      join: subscriber => hub.join(subscriber, resumes ? token.number : snapshot.at),
      keyOf: key => hub.keyOf(key),
      rowOf: bytes => hub.rowOf(bytes),
      onEnded: ended => {
        onEnded = ended
        this.#ends.add(ended)
      },
      close: () => {
        if (!open) return
        open = false
        if (onEnded) this.#ends.delete(onEnded)
        this.#open--
        this.#leave(each)
      },
    }
  }

  async #use(served: ServedView): Promise<Hub> {
    const known = this.#hubs.get(served)
    const opening = known ?? this.#openHub(served)
    if (!known) this.#hubs.set(served, opening)
    const each = await opening
    each.uses++
    clearTimeout(each.idle)
    return each
  }

  /** A hub that nobody uses stays for a while, for those who come back. */
  #leave(each: Hub): void {
    if (--each.uses > 0) return
    each.idle = setTimeout(() => {
      this.#hubs.delete(each.hub.served)
      each.hub.end(shuttingDown())
    }, this.#limits.ringKeptMs).unref()
  }

  #openHub(served: ServedView): Promise<Hub> {
    const forget = () => {
      this.#hubs.delete(served)
    }
    const opening = ViewHub.open<Clocked>({
      served,
      changes: this.#reads.engine.changes,
      ringBytesMax: this.#limits.ringBytesMax,
      onEnded: forget,
    }).then((hub): Hub => ({ hub, events: new Events(this.#reads, hub), uses: 0, idle: undefined }))
    opening.catch(forget)
    this.#timer ??= setInterval(() => void this.#tick(), this.#limits.progressMs).unref()
    return opening
  }

  async #tick(): Promise<void> {
    for (const opening of [...this.#hubs.values()]) {
      const each = await opening.catch(() => undefined)
      if (!each) continue
      const nowMs = performance.now()
      const mark = each.events.mark()
      for (const { subscriber } of each.hub.members) subscriber.tick(nowMs, mark)
    }
  }

  /** Ends all of them, and refuses further ones. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    this.peers.close()
    for (const end of this.#ends) end(shuttingDown())
    for (const opening of this.#hubs.values())
      void opening.then(
        ({ hub, idle }) => {
          clearTimeout(idle)
          hub.end(shuttingDown())
        },
        () => {},
      )
    this.#hubs.clear()
  }
}

export const tooSlow = () =>
  fail('SUBSCRIBER_TOO_SLOW', 'changes come faster than this client takes them', {
    hint: 'connect again with the id of the last event (Last-Event-ID): a reset and a fresh snapshot come then',
  })
