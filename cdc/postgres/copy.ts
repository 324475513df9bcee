// COPY … TO STDOUT in text form: rows as the server sends them, one per message, into the same cursor that the stream uses.
import { type Image, NULL, VALUE } from '../connector/image.ts'
import type { Client } from './connection.ts'
import { type OnCopyData, takeCopyData } from './copy-data.ts'

const TAB = 9
const NEWLINE = 10
const BACKSLASH = 92
const LETTER_N = 78

/** What pg's client calls of a query of one's own (its `Submittable`). */
class CopyQuery {
  readonly #sql: string
  readonly #begin: () => void
  readonly #done: (error?: unknown) => void

  constructor(sql: string, begin: () => void, done: (error?: unknown) => void) {
    this.#sql = sql
    this.#begin = begin
    this.#done = done
  }

  submit(connection: { query(sql: string): void }): void {
    this.#begin()
    connection.query(this.#sql)
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
export function copyOut(client: Client, sql: string, rowBytesMax: number, onRow: OnCopyData): Promise<void> {
  return new Promise((resolve, reject) => {
    let failed = false
    let end = () => {}
    const guarded: OnCopyData = (bytes, from, to) => {
      if (failed) return
      try {
        onRow(bytes, from, to)
      } catch (error) {
        failed = true
        reject(error)
      }
    }
    const begin = () => {
      end = takeCopyData(client, rowBytesMax, guarded)
    }
    const done = (error?: unknown) => {
      end()
      if (error) reject(error)
      else resolve()
    }
    client.query(new CopyQuery(sql, begin, done) as never)
  })
}

/** Reads a row of COPY's text form: columns between tabs, `\N` for NULL, backslash escapes. */
export function readCopyRow(bytes: Buffer, from: number, to: number, tuple: Image): void {
  const end = bytes[to - 1] === NEWLINE ? to - 1 : to
  let column = 0
  let start = from
  for (let at = from; at < end; at++) {
    const byte = bytes[at]
    if (byte === BACKSLASH) {
      readEscapedRow(bytes, from, end, tuple)
      return
    }
    if (byte !== TAB) continue
    tuple.kinds[column] = VALUE
    tuple.starts[column] = start
    tuple.ends[column] = at
    column++
    start = at + 1
  }
  tuple.kinds[column] = VALUE
  tuple.starts[column] = start
  tuple.ends[column] = end
  tuple.bytes = bytes
  tuple.count = column + 1
}

function readEscapedRow(row: Buffer, from: number, end: number, tuple: Image): void {
  const bytes = Buffer.allocUnsafe(end - from)
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
  for (let at = from; at < end; at++) {
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
