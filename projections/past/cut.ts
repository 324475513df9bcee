// Where transactions end: a position is of a transaction, and what is read is as of the last one that had ended there.
import { blocksOf, cutAt, type Log } from '../../core/index.ts'
import type { Pace } from './pace.ts'

/** Places that are remembered: where a transaction ended does not change. */
const CUTS_MAX = 1_000

export class Cuts {
  readonly #log: Log
  readonly #known = new Map<number, number>()

  constructor(log: Log) {
    this.#log = log
  }

  /** The greatest end of a transaction at or before a position; 0 where none is. */
  async at(position: number, pace: Pace): Promise<number> {
    const known = this.#known.get(position)
    if (known !== undefined) return known
    const log = this.#log
    // All that is durable is whole.
    const cut = position >= log.end ? log.end : await cutAt(blocksOf(log), position, pace)
    // Removed history may have taken the ends of transactions with it.
    if (position <= log.base.changedTo) return cut
    this.#known.set(position, cut)
    const [oldest] = this.#known.keys()
    if (this.#known.size > CUTS_MAX && oldest !== undefined) this.#known.delete(oldest)
    return cut
  }
}
