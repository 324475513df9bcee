// Rows in order, page by page: an iteration asks for the next page when the one before has been taken.
import type { Entry, Page, Rows } from '../rows.ts'

/** Rows of the pages that an iteration asks for. */
const PAGE_ROWS = 500

/**
 * @param ask for one page
 * @param limit of the rows of an iteration in all, and of a page that is asked for by itself
 */
export function rowsByPage<K, V>(
  ask: (cursor: string | undefined, limit: number | undefined) => Promise<Page<K, V>>,
  limit: number | undefined,
): Rows<K, V> {
  return {
    page: cursor => ask(cursor, limit),
    async *[Symbol.asyncIterator](): AsyncGenerator<Entry<K, V>> {
      let left = limit ?? Number.POSITIVE_INFINITY
      let cursor: string | undefined
      while (left > 0) {
        const page = await ask(cursor, Math.min(left, PAGE_ROWS))
        yield* page.value
        left -= page.value.length
        cursor = page.cursor
        if (cursor === undefined) return
      }
    },
  }
}
