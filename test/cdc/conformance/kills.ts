// A process that captures is killed (SIGKILL) again and again while the database is written to: in the snapshot, at the hand-over,
// in the stream. In the end the log, folded record by record, must be what stands in the tables, each transaction in one piece; and
// of an outbox, whose rows are deleted meanwhile, it must have each event once, in order.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { Random } from '../../support/random.ts'
import { until } from '../captured.ts'
import type { Captured, Database } from './databases.ts'
import { orders, outboxTables, paid } from './outboxes.ts'
import { brokenTransactions, capture, fill, setup, tablesByLog, tablesNow } from './tables.ts'
import { transact } from './work.ts'

const ROWS = 10_000
/** Events that stand in the outbox before. */
const EVENTS = 500
/** Between transactions: what is written has to be read, too, by a process that is killed all the time. */
const PAUSE_MS = 3
/** After which event, and within how many milliseconds of it, the process is killed. */
const MOMENTS = [
  ['snapshot-started', 40],
  ['snapshot-started', 250],
  ['snapshot-progress', 100],
  ['snapshot-ended', 10],
  ['streaming', 20],
  ['streaming', 300],
  ['streaming', 800],
] as const

export interface KillReport {
  readonly kills: number
  readonly transactions: number
  readonly broken: readonly string[]
  readonly byLog: unknown
  readonly now: unknown
}

/** Runs the capturing process until it says `event` (or ends that part without it), and kills it some milliseconds later. */
async function runAndKill(name: string, url: string, folder: string, event: string, afterMs: number): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'kill-child.ts'), name, url, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  // One that was killed in its stream streams at once the next time.
  for await (const line of createInterface({ input: child.stdout })) if (line === event || line === 'streaming') break
  await wait(afterMs)
  child.kill('SIGKILL')
  const [code, signal] = await exited
  if (signal !== 'SIGKILL') throw new Error(`the capturing process ended by itself: ${code ?? signal}`)
}

/** Gives the numbers of the transactions that were committed. Each has an event. */
async function work(captured: Captured, database: Database, seed: number, isStopped: () => boolean): Promise<number[]> {
  const random = new Random(seed)
  const session = await database.connect(captured.url)
  const committed: number[] = []
  for (let number = 1; !isStopped(); number++) {
    if (await transact(session, random, number, paid(EVENTS + number, 'n'))) committed.push(number)
    await wait(PAUSE_MS)
  }
  await session.end()
  return committed
}

const eventsByLog = async (captured: Captured): Promise<unknown[]> =>
  (await captured.records()).flatMap(({ topic, after }) => (topic === 'db.outbox' ? [after?.['order_id']] : []))

const rowsLeft = async (captured: Captured): Promise<number> =>
  Number((await captured.query('select count(*) as n from outbox'))[0]?.['n'])

export async function killRepeatedly(
  database: Database,
  url: string,
  seed: number,
  kills: number,
): Promise<KillReport> {
  const captured = capture(database, url, undefined, db => [orders(db, { keep: false })])
  const random = new Random(seed)
  let stopped = false
  try {
    await captured.run(
      ...setup(database),
      ...outboxTables(database),
      fill(database, ROWS),
      `insert into outbox (aggregateid, type, payload) select n, 'Paid', '{"note": "n"}' from ${database.series(EVENTS)}`,
    )
    const working = work(captured, database, seed + 1, () => stopped)
    for (let n = 0; n < kills; n++) {
      // The first ones hit the snapshot, of which there is only one.
      const [event, withinMs] = n < 4 ? MOMENTS[n]! : MOMENTS[4 + (n % 3)]!
      await runAndKill(database.name, url, captured.folder, event, random.int(withinMs))
    }
    await captured.start()
    await until(() => captured.connector.status().state === 'streaming', 60_000)
    stopped = true
    const committed = await working
    await captured.level(60_000)
    await until(async () => (await rowsLeft(captured)) === 0, 60_000)
    const before = Array.from({ length: EVENTS }, (_, n) => n + 1)
    return {
      kills,
      transactions: committed.length,
      broken: await brokenTransactions(captured),
      byLog: { ...(await tablesByLog(captured)), events: await eventsByLog(captured) },
      now: { ...(await tablesNow(captured)), events: [...before, ...committed.map(number => EVENTS + number)] },
    }
  } finally {
    stopped = true
    await captured.close()
  }
}
