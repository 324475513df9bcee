// Who waits for a cut: a moment at which no slice is under way, and no transaction.

export class CutWaiters {
  #waiting: (() => void)[] = []

  get some(): boolean {
    return this.#waiting.length > 0
  }

  /** Calls back at the next cut, in the turn in which it comes: what shards are asked next is behind it. @param isNow it is now */
  wait<T>(isNow: boolean, begin: () => T): Promise<Awaited<T>> {
    return new Promise((resolve, reject) => {
      const atCut = () => void new Promise<T>(done => done(begin())).then(resolve as (value: T) => void, reject)
      if (isNow) atCut()
      else this.#waiting.push(atCut)
    })
  }

  wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const begin of waiting) begin()
  }
}
