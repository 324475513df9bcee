// Where transactions end: a position is of a transaction, and what is read is as of the last one that had ended there.
import type { Log } from '../../core/index.ts'
import type { Pace } from './pace.ts'

/** How far to look back for the end of a transaction, records: first the one at hand, then this many times more. */
const LOOK_BACK_FACTOR = 64

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
    const cut = await cutAt(this.#log, position, pace)
    // Removed history may have taken the ends of transactions with it.
    if (position <= this.#log.base.changedTo) return cut
    this.#known.set(position, cut)
    const [oldest] = this.#known.keys()
    if (this.#known.size > CUTS_MAX && oldest !== undefined) this.#known.delete(oldest)
    return cut
  }
}

async function cutAt(log: Log, position: number, pace: Pace): Promise<number> {
  // All that is durable is whole.
  if (position >= log.end) return log.end
  for (let back = 1; ; back *= LOOK_BACK_FACTOR) {
    const after = Math.max(0, position - back)
    const found = await lastEnd(log, after, position, pace)
    if (found !== undefined || after === 0) return found ?? 0
  }
}

async function lastEnd(log: Log, after: number, upTo: number, pace: Pace): Promise<number | undefined> {
  const reader = log.read(after)
  let found: number | undefined
  try {
    for (;;) {
      const blocks = await reader.ready()
      if (blocks.length === 0) return found
      for (const { count, end, last } of blocks) {
        if (end > upTo) return found
        if (last && count > 0) found = end
        if (end === upTo && count > 0) return found
      }
      if (pace.due) await pace.rest()
    }
  } finally {
    reader.close()
  }
}
