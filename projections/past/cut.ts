// Where transactions end: a position is of a transaction, and what is read is as of the last one that had ended there.
import type { Log } from '../../core/index.ts'
import type { Pace } from './pace.ts'

/** How far to look back for the end of a transaction, records: first the one at hand, then this many times more. */
const LOOK_BACK_FACTOR = 64

/** The greatest end of a transaction at or before a position; 0 where none is. */
export async function cutAt(log: Log, position: number, pace: Pace): Promise<number> {
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
