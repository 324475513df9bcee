// Which rows of one view have ever gone to a key of another that folds it: learnt by a fold of the first in full, kept so that the
// next read folds only those. As hashes of keys: what else has such a hash is folded along, and changes nothing.

/** Hashes kept, over all keys: 8 bytes each, about. */
const HASHES_MAX = 1_000_000

/** Positions in (from, upTo]. */
export interface Span {
  readonly from: number
  readonly upTo: number
}

interface Known {
  /** Position after which it is known. */
  readonly from: number
  /** Position up to which it is known. */
  readonly upTo: number
  /** By the view that is folded. */
  readonly hashes: ReadonlyMap<string, ReadonlySet<number>>
  readonly size: number
}

export class Feeds {
  /** The least recently used first. */
  readonly #known = new Map<string, Known>()
  #size = 0

  /** Of several keys of a view together; undefined where it is not known of each for positions in (from, upTo]. */
  of(
    view: string,
    hashes: ReadonlySet<number>,
    { from, upTo }: Span,
  ): ReadonlyMap<string, ReadonlySet<number>> | undefined {
    const together = new Map<string, Set<number>>()
    for (const hash of hashes) {
      const name = `${view} ${hash}`
      const known = this.#known.get(name)
      if (known === undefined || known.upTo < upTo || known.from > from) return undefined
      this.#known.delete(name)
      this.#known.set(name, known)
      for (const [input, feeding] of known.hashes) {
        const into = together.get(input) ?? new Set()
        together.set(input, into)
        for (const each of feeding) into.add(each)
      }
    }
    return together
  }

  learn(view: string, hash: number, { from, upTo }: Span, hashes: ReadonlyMap<string, ReadonlySet<number>>): void {
    const name = `${view} ${hash}`
    this.#forget(name)
    const size = 1 + [...hashes.values()].reduce((sum, each) => sum + each.size, 0)
    this.#known.set(name, { from, upTo, hashes, size })
    this.#size += size
    for (const oldest of this.#known.keys()) {
      if (this.#size <= HASHES_MAX || oldest === name) return
      this.#forget(oldest)
    }
  }

  #forget(name: string): void {
    this.#size -= this.#known.get(name)?.size ?? 0
    this.#known.delete(name)
  }
}
