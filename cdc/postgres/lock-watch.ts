// Catalog queries, CREATE PUBLICATION and COPY wait for whoever has locked a table: a migration that nobody committed, a
// VACUUM FULL. Who waits long says for whom.
import { setTimeout as wait } from 'node:timers/promises'
import { type Client, connect, type PostgresTarget, processIdOf } from './connection.ts'
import { findBlockers } from './slot.ts'

const PATIENCE_MS = 2_000
const WATCH_EVERY_MS = 1_000

/**
 * Runs `work`, which uses `client`.
 * @param onWaiting is told whose locks hold it up, each time that changes, and null when nothing does any more
 */
export async function watchLocks<T>(
  target: PostgresTarget,
  client: Client,
  onWaiting: (reason: string | null) => void,
  work: () => Promise<T>,
): Promise<T> {
  const done = new AbortController()
  const watching = watch(target, processIdOf(client), onWaiting, done.signal)
  try {
    return await work()
  } finally {
    done.abort()
    await watching
  }
}

async function watch(
  target: PostgresTarget,
  pid: number,
  onWaiting: (reason: string | null) => void,
  done: AbortSignal,
): Promise<void> {
  let said: string | null = null
  const say = (reason: string | null) => {
    if (reason !== said) onWaiting(reason)
    said = reason
  }
  let sql: Client | undefined
  try {
    await wait(PATIENCE_MS, undefined, { signal: done })
    sql = await connect(target)
    for (;;) {
      const blockers = await findBlockers(sql, pid)
      if (done.aborted) break
      say(blockers ? `${blockers}, which has locked a table` : null)
      await wait(WATCH_EVERY_MS, undefined, { signal: done })
    }
  } catch {
    // Either the work is done, or the server does not answer: then the work finds that out itself.
  } finally {
    say(null)
    void sql?.end().catch(() => {})
  }
}
