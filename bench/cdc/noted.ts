// Transactions that each leave a note of their own in a row, sent in an open loop, and readers over HTTP who wait for one.
import { type Agent, get } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { check } from '../log-data.ts'

export interface Noted {
  readonly note: string
  /** Position of the server's log behind the transaction. */
  readonly lsn: string
  /** Before it was sent, and when it was answered: `performance.now()`. */
  readonly startMs: number
  readonly committedMs: number
}

/** @param prefix what tells its note from those of others that are written at the same moment */
export async function writeNote(pool: pg.Pool, id: number, prefix: string | number | undefined): Promise<Noted> {
  const note = `${prefix}.${process.hrtime.bigint()}`
  const startMs = performance.now()
  // Separate statements, one message: the last one's answer is what a client would take as its token.
  const results = (await pool.query(
    `begin; update shop.orders set note = '${note}' where order_id = ${id}; commit; select pg_current_wal_insert_lsn()::text as lsn`,
  )) as unknown as readonly pg.QueryResult<{ lsn: string }>[]
  return { note, lsn: results.at(-1)!.rows[0]!.lsn, startMs, committedMs: performance.now() }
}

/** Gets an answer that must have the note. @returns when it came: `performance.now()` */
export async function readNote(agent: Agent, url: string, { note }: Noted): Promise<number> {
  const body = await answer(agent, url)
  const answeredMs = performance.now()
  check(body.includes(note), `a reader got ${body} instead of ${note}`)
  return answeredMs
}

function answer(agent: Agent, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, response => {
      let body = ''
      response.setEncoding('utf8').on('data', part => {
        body += part
      })
      response.on('end', () => resolve(body)).on('error', reject)
    }).on('error', reject)
  })
}

/** Begins so many a second, whether those before have ended or not. @param count of all @param one is given its number, from 0 on */
export async function inOpenLoop<T>(count: number, perSecond: number, one: (n: number) => Promise<T>): Promise<T[]> {
  const startMs = performance.now()
  const running: Promise<T>[] = []
  for (let n = 0; n < count; n++) {
    const dueMs = startMs + (n * 1_000) / perSecond
    if (dueMs > performance.now() + 1) await pause(dueMs - performance.now())
    running.push(one(n))
  }
  return Promise.all(running)
}
