// A conversation between two threads, or two parts of one, as a small port: messages are plain data (what `structuredClone`
// takes), arrive whole and in the order in which they were posted, and never throw at who posts them.
import type { MessagePort, Transferable } from 'node:worker_threads'

export interface Channel<Sent = unknown, Received = unknown> {
  /** What is posted after the end is dropped. @param transfer buffers that go over instead of being copied; they are empty here then */
  post(message: Sent, transfer?: readonly ArrayBuffer[]): void
  /**
   * To be called once. What came before waits for it.
   * @param onClose told once, when the other side has closed or its thread has ended
   */
  listen(onMessage: (message: Received) => void, onClose?: () => void): void
  /** Ends both sides; what was posted before arrives still. Closing twice does nothing. */
  close(): void
}

/** @param port its own; nobody else listens to it */
export function portChannel<Sent = unknown, Received = unknown>(port: MessagePort): Channel<Sent, Received> {
  let closed = false
  let ended = false
  let onEnded: (() => void) | undefined
  // From now on: the other side may have closed before anybody listens here.
  port.on('close', () => {
    ended = true
    if (!closed) onEnded?.()
  })
  return {
    post: (message, transfer = []) => {
      if (!closed && !ended) port.postMessage(message, [...transfer] as Transferable[])
    },
    listen: (onMessage, onClose) => {
      port.on('message', (message: Received) => {
        if (!closed) onMessage(message)
      })
      onEnded = onClose
      if (ended && !closed) queueMicrotask(() => onClose?.())
    },
    close: () => {
      closed = true
      port.close()
    },
  }
}

/** When a message is handed over: `deliver` hands over the next one of its direction, whichever it is called for. */
export type Schedule = (deliver: () => void) => void

/**
 * The two ends of a channel within one thread. Messages are cloned, as between threads.
 * @param schedule default: at the end of the turn
 */
export function channelPair<A = unknown, B = unknown>(
  schedule: Schedule = deliver => void setImmediate(deliver),
): readonly [Channel<A, B>, Channel<B, A>] {
  const left = new PairEnd<A, B>(schedule)
  const right = new PairEnd<B, A>(schedule)
  left.other = right
  right.other = left
  return [left, right]
}

interface Listener<Received> {
  readonly onMessage: (message: Received) => void
  readonly onClose: (() => void) | undefined
}

class PairEnd<Sent, Received> implements Channel<Sent, Received> {
  readonly #schedule: Schedule
  other!: PairEnd<Received, Sent>
  #closed = false
  /** On their way here; null: the end. */
  readonly #coming: ({ readonly message: Received } | null)[] = []
  #listener: Listener<Received> | undefined

  constructor(schedule: Schedule) {
    this.#schedule = schedule
  }

  post(message: Sent, transfer: readonly ArrayBuffer[] = []): void {
    if (this.#closed) return
    this.other.#arrive({ message: structuredClone(message, { transfer: [...transfer] }) })
  }

  listen(onMessage: (message: Received) => void, onClose?: () => void): void {
    this.#listener = { onMessage, onClose }
    for (const _ of this.#coming) this.#schedule(() => this.#deliver())
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.other.#arrive(null)
  }

  #arrive(event: { readonly message: Received } | null): void {
    this.#coming.push(event)
    if (this.#listener) this.#schedule(() => this.#deliver())
  }

  #deliver(): void {
    const event = this.#coming.shift()
    if (event === undefined || this.#closed) return
    if (event) {
      this.#listener?.onMessage(event.message)
      return
    }
    this.#closed = true
    this.#listener?.onClose?.()
  }
}
