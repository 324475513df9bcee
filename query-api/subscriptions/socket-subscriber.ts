// A subscriber over HTTP. Its head is sent by Node's server; what follows goes to the socket itself, since the bytes of an event are the
// same for all: the answer has no chunks and ends with its connection. What the client does not take stays in the ring, not here.
import type { Socket } from 'node:net'
import { asMainstemError, type MainstemError } from '../../core/index.ts'
import { LAST_WORD_MS_MAX } from '../limits.ts'
import type { Viewer } from '../security/viewer.ts'
import type { RingChange } from './change-ring.ts'
import { HEARTBEAT, lastEvent, type Mark, resetEvent } from './events.ts'
import type { SnapshotPart } from './snapshot.ts'
import { type Clocked, type Opened, type SubscriptionLimits, tooSlow } from './subscriptions.ts'
import type { Membership, Told } from './view-hub.ts'

export interface SocketSubscriberOptions {
  readonly opened: Opened
  readonly socket: Socket
  readonly limits: Required<SubscriptionLimits>
  /** Progress says up to where each source is. */
  readonly sources: boolean
  /** Who reads; undefined where nobody is asked. */
  readonly viewer: Viewer | undefined
  /** Ends the answer when all is sent. */
  readonly end: () => void
}

export class SocketSubscriber implements Clocked {
  readonly selection
  readonly #options: SocketSubscriberOptions
  readonly #socket: Socket
  #pending: Buffer[] = []
  #pendingBytes = 0
  /** It has not taken a change: it goes on when its client has taken what was sent. */
  #refused = false
  /** When something was sent last, and when the client began not to take it. */
  #saidMs = performance.now()
  #stalledMs: number | undefined
  /** The last position that it was told. */
  #progress = -1
  #membership: Membership | undefined
  #ending = false

  constructor(options: SocketSubscriberOptions) {
    this.#options = options
    this.#socket = options.socket
    this.selection = options.opened.selection
    this.#socket.on('drain', this.#drained)
    this.#socket.once('close', this.#closed)
    options.opened.onEnded(error => this.ended(error))
  }

  /** Sends the snapshot, and begins. */
  begin(): void {
    const { snapshot, reset } = this.#options.opened
    if (snapshot === undefined) {
      this.#join()
      return
    }
    if (reset) this.#write(resetEvent(snapshot.position))
    this.#begin(snapshot).catch(error => this.ended(asMainstemError(error)))
  }

  async #begin(first: SnapshotPart): Promise<void> {
    const { opened } = this.#options
    for (let part: SnapshotPart | 'overflow' = first; part !== 'overflow'; part = await opened.more()) {
      if (this.#ending || this.#isOver()) return
      const sent = this.#send(opened.events.part(part))
      if (part.last) {
        this.#join()
        return
      }
      await sent
    }
    this.overflow()
  }

  #join(): void {
    try {
      this.#membership = this.#options.opened.join(this)
    } catch (error) {
      this.ended(asMainstemError(error))
    }
  }

  /** Sends a part of the snapshot; resolves when the client has taken it, but for a little, or has gone. */
  async #send(part: Buffer): Promise<void> {
    const sent = new Promise<void>(resolve => this.#write(part, () => resolve()))
    if (this.#socket.writableLength <= this.#options.limits.unsentBytesMax) return
    const timer = this.#cutIn(this.#options.limits.stallMsMax)
    await sent
    clearTimeout(timer)
  }

  take(change: RingChange, told: Told): boolean {
    const { limits, opened } = this.#options
    if (this.#socket.writableLength + this.#pendingBytes > limits.unsentBytesMax) {
      this.#refused = true
      return false
    }
    const bytes = opened.events.change(change, told)
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    return true
  }

  flush(): void {
    const pending = this.#pending
    if (this.#refused) {
      // Whatever goes last says when the client has taken all before it.
      if (pending.length === 0) pending.push(HEARTBEAT)
      this.#refused = false
      this.#stalledMs ??= performance.now()
      this.#write(Buffer.concat(pending), this.#taken)
    } else if (pending.length > 0) this.#write(pending.length === 1 ? pending[0]! : Buffer.concat(pending))
    this.#pending = []
    this.#pendingBytes = 0
  }

  #write(bytes: Buffer, taken?: () => void): void {
    if (bytes.length === 0) {
      taken?.()
      return
    }
    this.#saidMs = performance.now()
    if (!this.#socket.write(bytes, taken) && this.#socket.writableLength > 0) this.#stalledMs ??= this.#saidMs
  }

  level(): void {
    this.#tell(this.#options.opened.events.mark())
  }

  #tell(mark: Mark): void {
    const { opened, sources } = this.#options
    this.#progress = mark.position
    if (!sources) {
      this.#write(mark.bytes())
      return
    }
    opened.events.withSources(mark).then(
      bytes => {
        if (!this.#ending && this.#membership?.isLevel !== false) this.#write(bytes)
      },
      error => this.ended(error),
    )
  }

  tick(nowMs: number, mark: Mark): void {
    const { limits } = this.#options
    if (this.#isOver()) return
    if (this.#stalledMs !== undefined) {
      if (nowMs - this.#stalledMs > limits.stallMsMax) this.#socket.destroy()
      return
    }
    const quietMs = nowMs - this.#saidMs
    if (quietMs < limits.progressMs || !this.#membership?.isLevel) return
    if (mark.position !== this.#progress) this.#tell(mark)
    else if (quietMs >= limits.heartbeatMs) this.#write(HEARTBEAT)
  }

  /** Whether who reads may do so no more; then it is told so. */
  #isOver(): boolean {
    const over = this.#options.viewer?.over(Date.now())
    if (over) this.ended(over)
    return over !== undefined
  }

  overflow(): void {
    this.#end('overflow', tooSlow(), this.#options.limits.stallMsMax)
  }

  ended(error: MainstemError): void {
    // When the server ends, nobody holds it up.
    const { stallMsMax } = this.#options.limits
    this.#end('end', error, error.code === 'SHUTTING_DOWN' ? Math.min(LAST_WORD_MS_MAX, stallMsMax) : stallMsMax)
  }

  /** @param takenMsMax what the client has to take it */
  #end(name: 'overflow' | 'end', error: MainstemError, takenMsMax: number): void {
    if (this.#ending) return
    this.#ending = true
    this.#membership?.leave()
    this.#pending = []
    this.#pendingBytes = 0
    this.#write(lastEvent(name, error))
    this.#options.end()
    // One that takes nothing does not get it either.
    if (this.#socket.writableLength === 0) return
    const timer = this.#cutIn(takenMsMax)
    this.#socket.once('close', () => clearTimeout(timer))
  }

  #cutIn(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#socket.destroy(), ms).unref()
  }

  readonly #drained = (): void => {
    this.#stalledMs = undefined
  }

  readonly #taken = (): void => {
    this.#stalledMs = undefined
    if (!this.#ending) this.#membership?.goOn()
  }

  readonly #closed = (): void => {
    this.#ending = true
    this.#membership?.leave()
    this.#options.opened.close()
  }
}
