// Reading many rows of a view in order: what the client in the application's own process and the one over HTTP have in common.
import type { Answer, ReadOptions } from './client/client.ts'

/** A row with its key. */
export interface Entry<K, V> {
  readonly key: K
  readonly value: V
}

/** Some rows at one cut. */
export interface Page<K, V> extends Answer<readonly Entry<K, V>[]> {
  /** Where the next page begins: behind the last row of this one, whatever has changed meanwhile. Undefined: there are no more. */
  readonly cursor?: string
}

/**
 * Rows in order, to be had page by page, or one by one with `for await`, which asks for pages as it goes. Each page is at a cut of
 * its own, all of them at one with `at`. A row that does not change meanwhile comes exactly once.
 */
export interface Rows<K, V> extends AsyncIterable<Entry<K, V>> {
  /**
   * @param cursor that of the page before. Default: the first page
   * @throws CURSOR_INVALID when it is of another view, index, order or range; INDEX_BUILDING; as `get`
   */
  page(cursor?: string): Promise<Page<K, V>>
}

export interface RowsOptions extends ReadOptions {
  /** Default `asc`. */
  readonly order?: 'asc' | 'desc'
  /** Most rows: of a page 1 to 1,000, default 100; of an iteration in all, default all there are. */
  readonly limit?: number
}

/** The beginning of a key: of a text its first characters, of a key of several fields its leading ones. */
export type KeyPrefix<K> = K extends string
  ? string
  : K extends Date | Uint8Array
    ? never
    : K extends object
      ? Partial<K>
      : never

/** A range of keys, in the order of keys. */
export interface KeyRange<K> {
  /** The first key, inclusive. Default: from the beginning. */
  readonly from?: K
  /** The last key, inclusive. Default: to the end. */
  readonly to?: K
  /** Only keys that begin so; not together with `from` and `to`. */
  readonly prefix?: KeyPrefix<K>
}
