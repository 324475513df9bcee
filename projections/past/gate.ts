// How much of the past is read at a time: a few at once, some waiting, the rest refused.
import { fail } from '../../core/index.ts'

export class Gate {
  readonly #most: number
  readonly #waitingMost: number
  #running = 0
  readonly #waiting: (() => void)[] = []
  #idle: (() => void)[] = []

  constructor(most: number, waitingMost: number) {
    this.#most = most
    this.#waitingMost = waitingMost
  }

  /** Waits for its turn; what is returned ends it. @throws OVERLOADED; the signal's reason */
  async enter(signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted()
    if (this.#running >= this.#most) await this.#wait(signal)
    else this.#running++
    let left = false
    return () => {
      if (left) return
      left = true
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running--
      if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve()
    }
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const leave = await this.enter(signal)
    try {
      return await work()
    } finally {
      leave()
    }
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.length >= this.#waitingMost)
      throw fail('OVERLOADED', 'too many reads of the past are waiting', {
        detail: `${this.#waitingMost} at a time is the limit`,
      })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const enter = () => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }
    const abort = () => {
      this.#waiting.splice(this.#waiting.indexOf(enter), 1)
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', abort, { once: true })
    this.#waiting.push(enter)
    return promise
  }
}
