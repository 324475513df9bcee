// What a client knows that folds rows and changes into a picture of its own: so that a snapshot that comes again says which rows have gone,
// and nobody who reads changes has to start over.

export class KnownKeys {
  /** Key by its text. */
  #known = new Map<string, unknown>()
  /** While a snapshot comes again: those that it has not shown yet. */
  #unseen: Map<string, unknown> | undefined

  row(text: string, key: unknown): void {
    this.#known.set(text, key)
    this.#unseen?.delete(text)
  }

  gone(text: string): void {
    this.#known.delete(text)
    this.#unseen?.delete(text)
  }

  /** A snapshot comes. */
  reset(): void {
    this.#unseen = new Map(this.#known)
  }

  /** It has come: the keys of rows that are there no more. */
  settled(): unknown[] {
    const unseen = this.#unseen
    this.#unseen = undefined
    if (unseen === undefined) return []
    for (const text of unseen.keys()) this.#known.delete(text)
    return [...unseen.values()]
  }
}
