// Work on the same files that must not overlap: one after the other, in the order of asking.

export class Turns {
  #last: Promise<void> = Promise.resolve()

  /** Runs when all that was asked for before has ended. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.then(
      () => {},
      () => {},
    )
    return done
  }
}
