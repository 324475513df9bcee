// Whose rows a view has: made by this code from the log's beginning, or taken over from other code. From that follows
// which parts of its past can be folded again, and which rows of checkpoints and savepoints were its own.
import { isDeepStrictEqual } from 'node:util'
import type { ViewCheckpoint } from '../checkpoint/manifest.ts'
import type { ContinuedFrom } from '../start-plan.ts'

export interface CodeHistory {
  /** Position from which on this code folded what the view has. */
  readonly floor: number
  /** Whether a fold of the log from its beginning by this code gives what the view has. */
  readonly fromStart: boolean
}

/** @param continued oldest first */
export function codeHistoryOf(continued: readonly ContinuedFrom[], fingerprint: string): CodeHistory {
  const floor = continued.findLast(each => each.fingerprint !== fingerprint || each.migrated)?.position
  return { floor: floor ?? 0, fromStart: floor === undefined }
}

/** Whether saved rows are what the live view had there, or would have had. @param continued of the live view */
export function isOwn(
  { position, fingerprint: made, continued: before }: ViewCheckpoint,
  continued: readonly ContinuedFrom[],
  fingerprint: string,
): boolean {
  const [saved, live] = [codeHistoryOf(before, made), codeHistoryOf(continued, fingerprint)]
  if (made === fingerprint && saved.fromStart && live.fromStart) return true
  if (live.fromStart || !isDeepStrictEqual(before, continued.slice(0, before.length))) return false
  const next = continued[before.length]
  return next === undefined ? made === fingerprint : made === next.fingerprint && position <= next.position
}
