// What a disk threw, as whoever asked for a checkpoint or a savepoint is told: with what to do about it.
import { fail, isFull, isMainstemError, type MainstemError, textOf } from '../../core/index.ts'

/** Of a checkpoint; errors of our own stay as they are. */
export function cannotCheckpoint(error: unknown): MainstemError {
  if (isMainstemError(error)) return error
  const parts = { detail: textOf(error), cause: error }
  if (!isFull(error)) return fail('CHECKPOINT_FAILED', 'cannot write a checkpoint', parts)
  const hint = 'free disk space: the next checkpoint is of all rows; until then a restart folds from the last one'
  return fail('CHECKPOINT_FAILED', 'no room for a checkpoint', { ...parts, hint })
}

/** Of a savepoint, of which nothing is left. */
export function cannotSave(error: unknown): MainstemError {
  if (isMainstemError(error)) return error
  const parts = { detail: textOf(error), cause: error }
  if (!isFull(error)) return fail('SAVEPOINT_FAILED', 'cannot write a savepoint', parts)
  return fail('SAVEPOINT_FAILED', 'no room for a savepoint', { ...parts, hint: 'free disk space and make it again' })
}
