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
  // What was replayed from the log's beginning is this code's own, whoever had made it before.
  const anew = continued.findLastIndex(each => each.replayedFrom === 0 && each.fingerprint === fingerprint)
  const since = continued.slice(anew + 1)
  const floor = since.findLast(each => each.fingerprint !== fingerprint || each.migrated)?.position
  return { floor: floor ?? 0, fromStart: floor === undefined }
}

/** Whether saved rows are what the live view had there, or would have had. @param continued of the live view */
export function isOwn(
  { position, fingerprint: made, continued: before }: ViewCheckpoint,
  continued: readonly ContinuedFrom[],
  fingerprint: string,
): boolean {
  if (wasMended(position, before, continued)) return false
  const [saved, live] = [codeHistoryOf(before, made), codeHistoryOf(continued, fingerprint)]
  if (made === fingerprint && saved.fromStart && live.fromStart) return true
  const [former, all] = [handedOver(before), handedOver(continued)]
  if (live.fromStart || !isDeepStrictEqual(former, all.slice(0, former.length))) return false
  const next = all[former.length]
  return next === undefined ? made === fingerprint : made === next.fingerprint && position <= next.position
}

const handedOver = (continued: readonly ContinuedFrom[]) => continued.filter(each => each.replayedFrom === undefined)

/** Whether a replay has exchanged rows since: those that were saved may be the ones that were not right. */
function wasMended(position: number, before: readonly ContinuedFrom[], continued: readonly ContinuedFrom[]): boolean {
  return continued.some(
    each =>
      each.replayedFrom !== undefined &&
      each.replayedFrom < position &&
      position <= each.position &&
      !before.some(known => isDeepStrictEqual(known, each)),
  )
}

/** What is on record once a replay has exchanged rows; it stands for those before it that began no earlier. */
export function withReplay(
  continued: readonly ContinuedFrom[],
  replay: { readonly position: number; readonly fingerprint: string; readonly replayedFrom: number },
): readonly ContinuedFrom[] {
  return [
    ...continued.filter(each => each.replayedFrom === undefined || each.replayedFrom < replay.replayedFrom),
    replay,
  ]
}
