// A file that is not removed while somebody may still open it.

export class Holds {
  #holds = 0
  #freed = Promise.withResolvers<void>()

  /** Said by who has the file open, or may open it: it is not removed before `release`. */
  hold(): void {
    this.#holds++
  }

  release(): void {
    if (--this.#holds > 0) return
    this.#freed.resolve()
    this.#freed = Promise.withResolvers()
  }

  get held(): boolean {
    return this.#holds > 0
  }

  /** Resolves when nobody holds the file. */
  async freed(): Promise<void> {
    while (this.#holds > 0) await this.#freed.promise
  }
}
