// Who waits until the views have passed a position.
interface Waiter {
  readonly position: number
  readonly resolve: () => void
}

export class PositionWaiters {
  readonly #waiters = new Set<Waiter>()

  /** Resolves when `wake` is called with that position or a later one. @throws the signal's reason when aborted */
  wait(position: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const abort = () => {
        this.#waiters.delete(waiter)
        reject(signal.reason)
      }
      const waiter: Waiter = {
        position,
        resolve: () => {
          signal.removeEventListener('abort', abort)
          resolve()
        },
      }
      signal.addEventListener('abort', abort, { once: true })
      this.#waiters.add(waiter)
    })
  }

  wake(position: number): void {
    for (const waiter of this.#waiters) {
      if (waiter.position > position) continue
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
  }
}
