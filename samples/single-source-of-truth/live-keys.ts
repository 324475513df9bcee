// The keys that one lane of the workload may touch. Lanes share none, so their transactions never wait for each other,
// and a key taken for a transaction cannot be taken again before it ends.

/** How many deleted keys are remembered, to be inserted again. */
const FREED_MAX = 1000

export class LiveKeys<K> {
  readonly #live: K[]
  readonly #freed: K[] = []
  readonly #makeFresh: () => K

  constructor(live: K[], makeFresh: () => K) {
    this.#live = live
    this.#makeFresh = makeFresh
  }

  get size(): number {
    return this.#live.length
  }

  /** Removes up to `count` random keys; `give` brings them back. */
  take(count: number, random: () => number): K[] {
    const live = this.#live
    const taken: K[] = []
    while (taken.length < count && live.length > 0) {
      const index = Math.floor(random() * live.length)
      const last = live.pop()!
      if (index === live.length) taken.push(last)
      else {
        taken.push(live[index]!)
        live[index] = last
      }
    }
    return taken
  }

  give(keys: readonly K[]): void {
    for (const key of keys) this.#live.push(key)
  }

  /** Keys that no row has: half of them deleted ones, as long as there are any. */
  fresh(count: number, random: () => number): K[] {
    return Array.from({ length: count }, () => {
      const reused = random() < 0.5 ? this.#freed.pop() : undefined
      return reused ?? this.#makeFresh()
    })
  }

  /** Takes note of keys that no row has any more. */
  free(keys: readonly K[]): void {
    for (const key of keys) if (this.#freed.length < FREED_MAX) this.#freed.push(key)
  }
}
