// What exit codes mean.

/** What a script can tell from an exit code. */
export const EXIT = {
  ok: 0,
  /** The application, or the command itself, answered with an error; its code is on stderr. */
  failed: 1,
  /** The command was not understood. */
  usage: 2,
  /** No application answers at the URL. */
  unreachable: 3,
} as const
