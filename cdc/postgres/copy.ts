// COPY … TO STDOUT in text form: rows as the server sends them, one per message, into the same cursor that the stream uses.
import { type Image, NULL, VALUE } from '../connector/image.ts'
import type { Client } from './connection.ts'

const TAB = 9
const NEWLINE = 10
const BACKSLASH = 92
const LETTER_N = 78

/** What pg's client calls of a query of one's own (its `Submittable`). */
class CopyQuery {
  readonly #sql: string
  readonly #onRow: (row: Buffer) => void
  readonly #done: (error?: unknown) => void

  constructor(sql: string, onRow: (row: Buffer) => void, done: (error?: unknown) => void) {
    this.#sql = sql
    this.#onRow = onRow
    this.#done = done
  }

  submit(connection: { query(sql: string): void }): void {
    connection.query(this.#sql)
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    this.#onRow(chunk)
  }

  handleError(error: unknown): void {
    this.#done(error)
  }

  handleReadyForQuery(): void {
    this.#done()
  }

  handleCommandComplete(): void {}
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
}

/**
 * Runs `copy (…) to stdout`. `onRow` is called for each row while the socket is read; the bytes are valid only during the
 * call. What it throws ends the copy.
 */
export function copyOut(client: Client, sql: string, onRow: (row: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let failed = false
    const guarded = (row: Buffer) => {
      if (failed) return
      try {
        onRow(row)
      } catch (error) {
        failed = true
        reject(error)
      }
    }
    client.query(new CopyQuery(sql, guarded, error => (error ? reject(error) : resolve())) as never)
  })
}

/** Reads a row of COPY's text form: columns between tabs, `\N` for NULL, backslash escapes. */
export function readCopyRow(row: Buffer, tuple: Image): void {
  const end = row[row.length - 1] === NEWLINE ? row.length - 1 : row.length
  if (row.includes(BACKSLASH)) {
    readEscapedRow(row, end, tuple)
    return
  }
  let column = 0
  let start = 0
  for (let at = 0; at <= end; at++) {
    if (at !== end && row[at] !== TAB) continue
    tuple.kinds[column] = VALUE
    tuple.starts[column] = start
    tuple.ends[column] = at
    column++
    start = at + 1
  }
  tuple.bytes = row
  tuple.count = column
}

function readEscapedRow(row: Buffer, end: number, tuple: Image): void {
  const bytes = Buffer.allocUnsafe(end)
  let out = 0
  let column = 0
  let start = 0
  let isNull = false
  const finish = () => {
    tuple.kinds[column] = isNull ? NULL : VALUE
    tuple.starts[column] = start
    tuple.ends[column] = out
    column++
    start = out
    isNull = false
  }
  for (let at = 0; at < end; at++) {
    const byte = row[at]!
    if (byte === TAB) finish()
    else if (byte !== BACKSLASH) bytes[out++] = byte
    else {
      const next = row[++at]!
      if (next === LETTER_N && out === start) isNull = true
      else bytes[out++] = ESCAPES[next] ?? next
    }
  }
  finish()
  tuple.bytes = bytes
  tuple.count = column
}

/** The letters of \b \f \n \r \t \v. */
const ESCAPES: Readonly<Record<number, number>> = { 98: 8, 102: 12, 110: 10, 114: 13, 116: 9, 118: 11 }
