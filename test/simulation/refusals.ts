// What a simulated engine may refuse, by the codes of its errors: anything else ends the simulation.
/** Answers that are not: a process that ends or folds anew. */
export const NO_ANSWER: ReadonlySet<string> = new Set([
  'VIEW_REBUILDING',
  'SHUTTING_DOWN',
  'LOG_CLOSED',
  'AT_GONE',
  'AT_AHEAD',
  'OVERLOADED',
])
/** What the log's disk may refuse. */
export const REFUSED: readonly string[] = ['LOG_FAILED']

/** Why a second fold may fail: the process ends, its disk fails, there is no such base. */
export const FOLD_FAILURES: ReadonlySet<string> = new Set([
  'SHUTTING_DOWN',
  'CHECKPOINT_FAILED',
  'SAVEPOINT_FAILED',
  'REPLAY_BASE_MISSING',
  'VIEW_HISTORY_GONE',
  'NOT_READY',
])

export const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')
