// Rows in order, page by page: an iteration asks for the next page when the one before has been taken. The same for both clients.
import { RANGE_PAGE_DEFAULT, RANGE_PAGE_MAX } from '../limits.ts'
import type { Entry, Page, Rows } from '../rows.ts'
import { invalid } from './client-error.ts'

/** Rows of the pages that an iteration asks for. */
const PAGE_ROWS = 500

export interface RowsSource<K, V> {
  /** @param most rows of the page */
  page(cursor: string | undefined, most: number): Promise<Page<K, V>>
  /** Rows of the past, all at one cut, for an iteration. Undefined: the present is read, by pages. */
  readonly past: ((most: number) => AsyncIterable<Entry<K, V>>) | undefined
  /** Of the rows of an iteration in all, and of a page that is asked for by itself. */
  readonly limit: number | undefined
}

/** @throws REQUEST_INVALID for a limit that is none */
export function rowsByPage<K, V>({ page, past, limit }: RowsSource<K, V>): Rows<K, V> {
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0))
    throw invalid(`a limit of ${limit} is not valid`, 'a whole number above 0')
  const most = limit ?? Number.POSITIVE_INFINITY
  return {
    async page(cursor) {
      if (limit !== undefined && limit > RANGE_PAGE_MAX)
        throw invalid(`a page of ${limit} rows is too long`, `at most ${RANGE_PAGE_MAX}`)
      return page(cursor, limit ?? RANGE_PAGE_DEFAULT)
    },
    [Symbol.asyncIterator]: () => (past ? past(most) : pages(page, most))[Symbol.asyncIterator](),
  }
}

async function* pages<K, V>(ask: RowsSource<K, V>['page'], most: number): AsyncGenerator<Entry<K, V>> {
  let cursor: string | undefined
  for (let left = most; left > 0; ) {
    const page: Page<K, V> = await ask(cursor, Math.min(left, PAGE_ROWS))
    yield* page.value
    left -= page.value.length
    cursor = page.cursor
    if (cursor === undefined) return
  }
}
