// Readers that wait until the source is complete through a position.
import type { Positions } from './positions.ts'

interface Waiter<P> {
  readonly wanted: P
  readonly resolve: (position: number) => void
}

export class Waiters<P> {
  readonly #positions: Positions<P>
  #waiting: Waiter<P>[] = []

  constructor(positions: Positions<P>) {
    this.#positions = positions
  }

  get count(): number {
    return this.#waiting.length
  }

  wait(wanted: P, signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const onAbort = () => {
        this.#waiting = this.#waiting.filter(each => each !== waiter)
        reject(signal.reason)
      }
      const waiter: Waiter<P> = {
        wanted,
        resolve: position => {
          signal.removeEventListener('abort', onAbort)
          resolve(position)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiter)
    })
  }

  reached(complete: P, position: number): void {
    const waiting = this.#waiting
    if (waiting.length === 0 || !waiting.some(({ wanted }) => this.#positions.includes(complete, wanted))) return
    const done = waiting.filter(({ wanted }) => this.#positions.includes(complete, wanted))
    this.#waiting = waiting.filter(waiter => !done.includes(waiter))
    for (const waiter of done) waiter.resolve(position)
  }
}
