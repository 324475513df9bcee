// Every bound of sealed segments, with its unit and why.

/** A sealed block ends after the hot block that brings it to so many records: its columns are held whole when read. */
export const SEALED_RECORDS_FULL = 65_536
/** The same in bytes of hot records: long rows make shorter blocks, and `next()` of a reader stays near its 4 MiB. */
export const SEALED_PAYLOAD_BYTES_FULL = 3 * 1024 * 1024
/** What claims to be a longer block, section, page or footer is none: nothing is allocated for it. */
export const SEALED_BLOCK_BYTES_MAX = 256 * 1024 * 1024
/** Records of a sealed block: 65,536, unless one hot block alone has more, each of them at least 3 bytes. */
export const SEALED_BLOCK_RECORDS_MAX = 8 * 1024 * 1024
/** Distinct values of a column that are looked for; with more of them a dictionary saves little. */
export const HEAP_DICTIONARY_MAX = 32_768
/** A section below this is not worth compressing. */
export const COMPRESSED_FROM_BYTES = 128
/** Compression is kept where it leaves no more than this part. */
export const COMPRESSED_RATIO_MAX = 0.8
/** Rows of streams lie in pages of about so much: what the load of a short stream reads and unpacks, per segment. */
export const PAGE_BYTES_FULL = 16 * 1024
/** Streams per chunk of the key index: what a look-up reads. */
export const KEYS_PER_CHUNK = 8_192
/** Payload that one run of the key index covers: the rows of a run are held in memory while it is sorted. */
export const RUN_PAYLOAD_BYTES_FULL = 96 * 1024 * 1024
/** Records converted in one turn of the event loop: about a millisecond. */
export const SEAL_RECORDS_PER_TURN = 1_024
/** A section up to this is unpacked in one go, about a millisecond; a larger one by zlib's threads, which cost more in all. */
export const UNPACKED_AT_ONCE_BYTES_MAX = 1024 * 1024
/** Bytes checked and unpacked in one turn of the event loop: about a millisecond. */
export const UNPACKED_BYTES_PER_TURN = 512 * 1024
/** Values of columns made ready in one turn of the event loop: about a millisecond. */
export const UNPACKED_VALUES_PER_TURN = 256 * 1024
/** Sealed files held open, per log; the least recently used are closed, and opened again when needed. */
export const SEALED_FILES_OPEN_MAX = 128
/** What may be appended before the index of streams in the newest segment takes it in unasked: some ten milliseconds' work. */
export const HOT_KEYS_BEHIND_BYTES_MAX = 1024 * 1024
/** Pages and chunks of key indexes kept unpacked, per log. */
export const KEY_CACHE_BYTES_MAX = 128 * 1024 * 1024
/** Distinct streams of a run: a number of 21 bits beside the hash of 32 fits a float exactly. */
export const RUN_KEYS_MAX = 1 << 20
