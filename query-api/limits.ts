// Every bound of the read API, with its unit and why.

export const HOST_DEFAULT = '127.0.0.1'
export const PORT_DEFAULT = 7070

/** A request's body. What is larger belongs into several atomic appends. */
export const BODY_BYTES_MAX = 1024 * 1024
/** What a client may choose as a key of an append. */
export const IDEMPOTENCY_KEY_CHARS_MAX = 200
/** For so long an append is not made twice under its key: a week, in which whoever tries again has given up. */
export const IDEMPOTENCY_KEY_KEPT_MS = 7 * 24 * 3_600_000
/** Keys of one lookup, or reads of one cut: together they hold the shard for well under a slice (2 ms). */
export const KEYS_MAX = 1_000
/** What is said where they are more. @param what they are keys of */
export const tooMany = (count: number, what = 'keys') =>
  ({ title: `${count} ${what} are too many`, hint: `give at most ${KEYS_MAX} at a time` }) as const
/** Rows of one page of a range: as with a lookup, a shard gives them in well under a slice. */
export const RANGE_PAGE_DEFAULT = 100
export const RANGE_PAGE_MAX = 1_000
/** Tokens that one read may wait for: one per source, and some. */
export const TOKENS_MAX = 32
/** How long a read waits for its tokens. */
export const TIMEOUT_MS_DEFAULT = 5_000
export const TIMEOUT_MS_MAX = 60_000
/** The oldest answer that a client may name: ten days. */
export const MAX_AGE_MS_MAX = 10 * 24 * 3_600_000
/** Reads that wait for a token at the same time; each holds a socket, a timer and a promise. */
export const WAITING_READS_MAX = 10_000
/** Records of one page of the log. */
export const LOG_PAGE_DEFAULT = 100
export const LOG_PAGE_MAX = 1_000
/** Steps of one page of a lineage. */
export const LINEAGE_DEFAULT = 100
export const LINEAGE_MAX = 1_000
/** A client that takes nothing of its answer for so long has gone. */
export const STALL_MS_MAX = 60_000
/** A connection on which nothing is said is asked so often whether its other end is there; ten times without an answer end it. */
export const KEEP_ALIVE_PROBE_MS = 15_000
/** How long one request may look for records of a sparse topic before it answers with what it has. */
export const LOG_SCAN_MS_MAX = 250
/** A page ends early when its JSON is as long as this (characters): a thousand records may be a thousand times 1 MiB. */
export const LOG_PAGE_CHARS_MAX = 4 * 1024 * 1024
/** A scan lets other requests in after this time. */
export const SLICE_MS = 2
/** A request's head, its URL included: as many keys as a subscription takes, each of up to some 55 characters. */
export const HEAD_BYTES_MAX = 64 * 1024
/** Connections at a time: each costs a socket and some 10 KiB, and a subscriber holds one. */
export const CONNECTIONS_MAX = 20_000
/** What a client has for sending a request's head, and all of it: who sends a byte a second does not hold a connection for ever. */
export const HEADERS_TIMEOUT_MS = 20_000
export const REQUEST_TIMEOUT_MS = 60_000
/** How often connections are looked through for those that took longer. */
export const CONNECTIONS_CHECK_MS = 5_000
/** How long a browser may remember what an origin may do. */
export const CORS_MAX_AGE_SECONDS = 600
/** What close() gives to requests in flight. */
export const CLOSE_MS_MAX = 5_000
/** How often the end of the log is noted, to tell how old a view is that lags behind it. */
export const AGE_SAMPLE_MS = 20
/** Samples kept; when more would be needed (a long rebuild) every second one goes. */
export const AGE_SAMPLES_MAX = 1_024
/** A source's status is asked at most this often. */
export const SOURCE_STATUS_MS = 1
/** A part that has work, does not advance for this long and does not say what it waits for is dead. */
export const STUCK_MS = 60_000
export const HEALTH_SAMPLE_MS = 1_000
/** Subscriptions at the same time; each holds a connection, and some are left for all else. */
export const SUBSCRIPTIONS_MAX = 15_000
/** Recent changes of a view that somebody subscribes to, for those who are slower than others or were away: about so many bytes. */
export const RING_BYTES_MAX = 32 * 1024 * 1024
/** They are kept for so long after the last subscriber has left. */
export const RING_KEPT_MS = 60_000
/** What is written to a client and not taken by it: beyond, it is behind, and goes on from the recent changes when it has taken all. */
export const UNSENT_BYTES_MAX = 256 * 1024
/** How often the kernel is asked which subscribers answer nothing any more. */
export const PEERS_LOOK_MS = 15_000
/** What a client has to take the last that it is told: why its request is none, that the server ends. Then its connection is cut. */
export const LAST_WORD_MS_MAX = 1_000
/** A subscription to which nothing else was said for so long is told how far it is. */
export const PROGRESS_MS = 1_000
/** Where there is nothing to tell, a comment keeps proxies from ending the connection. */
export const HEARTBEAT_MS = 15_000
/** How soon a client connects again: at random between these, so that not all come at once. */
export const RETRY_MS_MIN = 500
export const RETRY_MS_MAX = 3_000
