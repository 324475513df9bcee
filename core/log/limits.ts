// Every bound of the log, with its unit and why.

/** A block's records, at most, unless one record alone is larger: what a reader holds and decodes at a time. */
export const BLOCK_PAYLOAD_BYTES_MAX = 1024 * 1024 - 8 * 1024
/** From here on a block is closed after the record at hand, so that its buffer (1 MiB) need not grow for the next one. */
export const BLOCK_PAYLOAD_BYTES_FULL = BLOCK_PAYLOAD_BYTES_MAX - 64 * 1024
/** One encoded record: must fit in memory several times over. */
export const RECORD_BYTES_MAX = 16 * 1024 * 1024
/** A source mark: its strings are short, but a GTID set may take some KiB. */
export const MARK_BYTES_MAX = 1024 * 1024
/** A block with one record of the largest size and its mark; what claims to be longer is not a block. */
export const BLOCK_BYTES_MAX = RECORD_BYTES_MAX + MARK_BYTES_MAX + 64 * 1024
/** Values by which one event is indexed, over all its tags: under each its row stands again. Where one has more, searches of its segment read the columns. */
export const TAGS_OF_EVENT_MAX = 32
/** A segment file, before the next one begins; a group of batches may carry it beyond. */
export const SEGMENT_BYTES_MAX = 64 * 1024 * 1024
/** Where the log has a limit, so many segments make it up at least: only closed ones can be cleaned. But none is so small. */
const SEGMENTS_OF_LIMIT = 16
const SEGMENT_BYTES_MIN = 1024 * 1024

export const segmentBytesFor = (bytesMax = Number.POSITIVE_INFINITY): number =>
  Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, Math.floor(bytesMax / SEGMENTS_OF_LIMIT)))

/** What one write takes from the queue, unless one batch alone is larger: bounds the wait of a small append behind it. */
export const GROUP_BYTES_MAX = 8 * 1024 * 1024
/** One writev call; Linux takes no more than 2 GiB. */
export const WRITE_BYTES_MAX = 64 * 1024 * 1024
/** Blocks up to this size are copied into one buffer per write, so that their own buffers can be used again at once. */
export const SMALL_BLOCK_BYTES_MAX = 32 * 1024
/** Writers of small batches that are kept for reuse. */
export const POOLED_WRITERS_MAX = 256
/** The newest blocks, kept in memory for readers at the tail. */
export const TAIL_BYTES_MAX = 8 * 1024 * 1024
/** What a reader reads at a time, unless one block is larger. */
export const READ_BYTES = 1024 * 1024
/** What one `next()` of a reader gives, about. */
export const NEXT_BYTES_MAX = 4 * 1024 * 1024
/** Bytes between two entries of a segment's sparse index: what a seek reads and skips at most. */
export const INDEX_STRIDE_BYTES = 256 * 1024
/** What appends leave free on the log's volume: four segments, for what seals and compacts them, mirrors, checkpoints, databases. */
export const FREE_BYTES_MIN = 256 * 1024 * 1024
/** The same of a volume so small that 256 MiB would be much of it; and what sources leave above that. */
export const FREE_SHARE_MIN = 0.05
/** Sources pause when this share of the log's limit is used, and read on below the other: what is between is the application's. */
export const NEARLY_FULL_SHARE = 0.9
export const ROOMY_SHARE = 0.85
/** Bytes appended between two looks at the volume: what others write there is known that soon, for 50 µs each time. */
export const LOOK_BYTES = 1024 * 1024
/** While the log has no room, it looks again so often. */
export const ROOM_CHECK_MS = 1_000
/** Keys of compacted topics, while a cleaning looks for their newest records: about 2 million; of more it reads the log twice. */
export const CLEAN_KEYS_BYTES_MAX = 128 * 1024 * 1024
/** Checksummed in one turn of the event loop: about a millisecond. */
export const YIELD_BYTES = 2 * 1024 * 1024
/** Messages to a follower in another thread that it has not said to have seen; what changes meanwhile is one more. Each has this many bytes of blocks at most. */
export const FOLLOW_WINDOW = 16
/** It says so after so many: well before the window closes, and rarely enough to cost nothing. */
export const FOLLOW_SEEN_EVERY = 8
/** New blocks up to so many bytes are sent to followers: more of them are as quickly read from the file. */
export const FOLLOW_BLOCKS_BYTES_MAX = 64 * 1024
