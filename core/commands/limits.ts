// Bounds of commands.

/** States of streams that are kept for the next command on them. */
export const STATES_BYTES_MAX = 32 * 1024 * 1024
/** Commands at a time, those that wait for others on their stream too. */
export const COMMANDS_MAX = 10_000
/** Events that one command may come to. */
export const EVENTS_PER_COMMAND_MAX = 10_000
