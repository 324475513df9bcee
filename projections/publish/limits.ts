// Every bound of publishing, with its unit and why.

/** What a publisher puts into one batch, unless one cause alone emitted more: as much as a block of the log holds. */
export const PUBLISH_BATCH_BYTES = 1024 * 1024
/** Emitted and not published: from here on folding pauses, so that memory is bounded while the log is slower, or full. */
export const UNPUBLISHED_BYTES_MAX = 16 * 1024 * 1024
/** After an append that failed for another reason than room: as long until the first new attempt, twice as long each time. */
export const RETRY_MS_MIN = 50
export const RETRY_MS_MAX = 5_000
