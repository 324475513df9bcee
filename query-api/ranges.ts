// Ranges of rows for who may see all of them, or some: a cursor names the last row of its page, seen or not, so those of clients that a
// policy is for are sealed; they are good as long as this process.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { fail } from '../core/index.ts'
import {
  type At,
  type LiveView,
  type PlannedRange,
  planRange,
  type RangeQuery,
  type RangeRead,
  type ViewRow,
} from '../projections/index.ts'
import type { AgeLimit } from './age-waits.ts'
import type { Reads } from './reads.ts'
import type { RowFilter, Viewer } from './security/viewer.ts'

export interface RangeOptions {
  /** Rows of the page. */
  readonly most: number
  /** The past that is read; undefined: the present. */
  readonly at?: At | undefined
  /** How long to wait for an order that is being built, milliseconds. Default 5,000. */
  readonly timeoutMs?: number | undefined
  /** How old the page may be. */
  readonly age?: AgeLimit | undefined
  readonly signal?: AbortSignal | undefined
}

export interface RangePage {
  readonly rows: readonly ViewRow[]
  /** Null where there are no more. */
  readonly cursor: string | null
  readonly position: number
  readonly final: boolean
  readonly past: boolean
}

/**
 * A page of rows in order, at one cut. Where a policy hides rows it may have fewer than were asked for, and still a cursor.
 * @throws NO_INDEX, CURSOR_INVALID, INDEX_BUILDING, VIEW_TOO_OLD, VIEW_STOPPED, VIEW_REBUILDING, FORBIDDEN; with `at` as reads of the past
 */
export async function readRange(
  reads: Reads,
  live: LiveView,
  query: RangeQuery,
  options: RangeOptions,
  viewer: Viewer | undefined,
): Promise<RangePage> {
  const filter = viewer?.filter(live)
  const { range, cursorAfter } = planOf(live, query, filter)
  const { most, at, timeoutMs, age, signal } = options
  const { engine } = reads
  const request = { view: live.name, range, most, timeoutMs, signal }
  const now = () => engine.range(request)
  const limited = age && { ...age, ...(signal ? { signal } : {}) }
  const present = () => (limited ? reads.readYoung(now, [live], limited) : now())
  const read: RangeRead = await (at === undefined ? present() : engine.past.range(request, at))
  const { position, final, next } = read
  const cursor = next === undefined ? null : cursorAfter(next)
  const page = { position, final, past: at !== undefined }
  if (filter === undefined) return { ...page, rows: read.rows, cursor }
  const rows = read.rows.filter(({ key, value }) => filter(value, key))
  return { ...page, rows, cursor: cursor === null ? null : sealed(cursor) }
}

/** @param filter of who asks: its cursors are sealed @throws NO_INDEX, CURSOR_INVALID, REQUEST_INVALID */
export const planOf = (live: LiveView, query: RangeQuery, filter: RowFilter | undefined): PlannedRange =>
  planRange(
    live,
    filter === undefined || query.cursor === undefined ? query : { ...query, cursor: unsealed(query.cursor) },
  )

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16
const secret = randomBytes(32)

function sealed(cursor: string): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, secret, nonce)
  const text = Buffer.concat([cipher.update(cursor, 'latin1'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url')
}

/** @throws CURSOR_INVALID */
function unsealed(cursor: string): string {
  try {
    const bytes = Buffer.from(cursor, 'base64url')
    const decipher = createDecipheriv(CIPHER, secret, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
    decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString(
      'latin1',
    )
  } catch (error) {
    throw fail('CURSOR_INVALID', 'the cursor is not of this process, view, range and order', { cause: error })
  }
}
