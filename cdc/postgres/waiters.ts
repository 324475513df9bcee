// Readers that wait until the source is complete through an LSN.

interface Waiter {
  readonly lsn: bigint
  readonly resolve: (position: number) => void
}

export class Waiters {
  #waiting: Waiter[] = []
  #lowest: bigint | undefined

  get count(): number {
    return this.#waiting.length
  }

  wait(lsn: bigint, signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const onAbort = () => {
        this.#waiting = this.#waiting.filter(each => each !== waiter)
        this.#lowest = lowestOf(this.#waiting)
        reject(signal.reason)
      }
      const waiter: Waiter = {
        lsn,
        resolve: position => {
          signal.removeEventListener('abort', onAbort)
          resolve(position)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiter)
      if (this.#lowest === undefined || lsn < this.#lowest) this.#lowest = lsn
    })
  }

  reached(complete: bigint, position: number): void {
    if (this.#lowest === undefined || complete < this.#lowest) return
    const done = this.#waiting.filter(waiter => waiter.lsn <= complete)
    this.#waiting = this.#waiting.filter(waiter => waiter.lsn > complete)
    this.#lowest = lowestOf(this.#waiting)
    for (const waiter of done) waiter.resolve(position)
  }
}

const lowestOf = (waiting: readonly Waiter[]): bigint | undefined =>
  waiting.reduce<bigint | undefined>((least, { lsn }) => (least === undefined || lsn < least ? lsn : least), undefined)
