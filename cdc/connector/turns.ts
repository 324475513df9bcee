// What is to be done between two transactions of a stream: one after the other, each when the stream is far enough.

interface Turn<P> {
  /** Not before the stream has taken all up to here. */
  readonly after: P | undefined
  readonly run: () => Promise<void>
  readonly end: (reason: unknown) => void
}

export class Turns<P> {
  readonly #waiting: Turn<P>[] = []
  #ended: { readonly reason: unknown } | undefined

  get count(): number {
    return this.#waiting.length
  }

  /** @returns what `task` gives, when its turn has come; rejects with the reason of `end` where it never comes */
  add<T>(after: P | undefined, task: () => Promise<T>): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended.reason)
    return new Promise((resolve, reject) => {
      const run = () => task().then(resolve, reject)
      this.#waiting.push({ after, run, end: reject })
    })
  }

  /** The next one whose place `isTaken`. */
  next(isTaken: (position: P) => boolean): (() => Promise<void>) | undefined {
    const at = this.#waiting.findIndex(({ after }) => after === undefined || isTaken(after))
    return at < 0 ? undefined : this.#waiting.splice(at, 1)[0]?.run
  }

  /** There will be no more turns. */
  end(reason: unknown): void {
    this.#ended ??= { reason }
    for (const { end } of this.#waiting.splice(0)) end(reason)
  }
}
