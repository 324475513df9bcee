// From a transaction in PostgreSQL to who waits for it, at an open loop of 500 transactions a second: to the answer of a read that waits for
// its LSN, and to a subscriber by server-sent events, both of the same transactions. Times run from before a transaction is sent, so
// that its commit is in them; those from its commit's answer are figures.
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { Database } from '../cdc/database.ts'
import { inOpenLoop, type Noted, readNote, writeNote } from '../cdc/noted.ts'
import { SOURCE } from '../cdc/orders-app.ts'
import { capture, startOurs } from '../cdc/ours.ts'
import { median } from '../harness.ts'
import { check, type Part, scaled } from '../log-data.ts'
import { type Latencies, LatencyCounts, latenciesOf } from './latencies.ts'
import { getJson } from './orders.ts'

const TRANSACTIONS_PER_SECOND = 500
const ROUNDS = 5
const WARMUP_SECONDS = 2
const SECONDS = scaled(8)
const CLIENTS = 12
/** Rows that are written, and subscribed to. */
const KEYS = 1_000
/** How long the last changes may take. */
const PATIENCE_MS = 10_000

/** A name for what is measured, told from where it is measured to. */
const READER = 'a waiting read'
const SUBSCRIBER = 'a subscriber'

type Measured = Readonly<Record<string, Latencies>>

export async function waits(folder: string, say: (what: string) => void): Promise<Part> {
  const dataDir = join(folder, 'waits')
  await using database = await Database.open()
  say('snapshot')
  await capture(database, { mode: 'snapshot', dataDir })
  const server = startOurs(database, { mode: 'serve', dataDir, position: await database.lsn() })
  const runs: Measured[] = []
  try {
    const [url] = (await once(createInterface({ input: server.stdout! }), 'line')) as [string]
    // Until then the view is being made.
    await getJson(`${url}/v1/views/orders/rows/1?after=${SOURCE}:${await database.lsn()}&timeoutMs=60000`)
    for (let round = 1; round <= ROUNDS; round++) {
      say(`round ${round} of ${ROUNDS}`)
      runs.push(await load(database, url))
    }
  } finally {
    const exited = once(server, 'exit')
    server.stdin?.end()
    await exited
  }
  const figures: Record<string, number> = { 'waits: transactions/s': TRANSACTIONS_PER_SECOND }
  const of = (name: string, figure: keyof Latencies) => median(runs.map(run => run[name]![figure]))
  for (const name of Object.keys(runs[0]!))
    for (const figure of ['p50Ms', 'p99Ms'] as const)
      figures[`waits, ${name}: ms, ${figure.slice(0, -2)}`] = of(name, figure)
  const one = { unit: 'ms', atMost: true, equal: true } as const
  const name = `from before a transaction to ${READER}`
  return {
    goals: [
      { name: 'commit to waiting reader p50', value: of(name, 'p50Ms'), goal: 3, ...one },
      { name: 'commit to waiting reader p99', value: of(name, 'p99Ms'), goal: 15, ...one },
    ],
    figures,
  }
}

/** When notes have come to a subscriber. */
class Subscriber {
  readonly #cameMs = new Map<string, number>()
  readonly #answer: IncomingMessage
  #rest = ''

  private constructor(answer: IncomingMessage) {
    this.#answer = answer
    answer.setEncoding('utf8').on('data', (piece: string) => this.#take(piece))
  }

  /** Resolves when its snapshot has begun. */
  static async open(url: string): Promise<Subscriber> {
    const keys = Array.from({ length: KEYS }, (_, n) => `keys=${n + 1}`).join('&')
    const request = get(`${url}/v1/views/orders/subscribe?${keys}`, { agent: false })
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    check(answer.statusCode === 200, `a subscription was answered ${answer.statusCode}`)
    return new Subscriber(answer)
  }

  #take(piece: string): void {
    const nowMs = performance.now()
    const text = this.#rest + piece
    const end = text.lastIndexOf('\n\n') + 2
    this.#rest = text.slice(end < 2 ? 0 : end)
    if (end >= 2)
      for (const [, note] of text.slice(0, end).matchAll(/"note":"([^"]*)"/g)) this.#cameMs.set(note!, nowMs)
  }

  /** When a note came; undefined where it has not. */
  cameMs(note: string): number | undefined {
    return this.#cameMs.get(note)
  }

  close(): void {
    this.#answer.destroy()
  }
}

interface Read extends Noted {
  readonly answeredMs: number
}

async function load(database: Database, url: string): Promise<Measured> {
  const pool = new pg.Pool({ connectionString: database.server.url(), max: CLIENTS })
  const agent = new Agent({ keepAlive: true })
  const subscriber = await Subscriber.open(url)
  const one = async (n: number): Promise<Read> => {
    const id = 1 + (n % KEYS)
    const written = await writeNote(pool, id, n)
    const path = `/v1/views/orders/rows/${id}?after=${SOURCE}:${written.lsn}`
    return { ...written, answeredMs: await readNote(agent, url + path, written) }
  }
  const count = (WARMUP_SECONDS + SECONDS) * TRANSACTIONS_PER_SECOND
  const reads = await inOpenLoop(count, TRANSACTIONS_PER_SECOND, one)
  const all = reads.slice(WARMUP_SECONDS * TRANSACTIONS_PER_SECOND)
  const patientMs = performance.now() + PATIENCE_MS
  while (all.some(({ note }) => subscriber.cameMs(note) === undefined) && performance.now() < patientMs) await pause(5)
  check(
    all.every(({ note }) => subscriber.cameMs(note) !== undefined),
    'a change has not come to its subscriber',
  )
  const counted = (msOf: (one: Read) => number): Latencies => {
    const counts = new LatencyCounts()
    for (const one of all) counts.add(msOf(one))
    return latenciesOf(counts.entries())
  }
  const measured = {
    [`from before a transaction to ${READER}`]: counted(one => one.answeredMs - one.startMs),
    [`from a commit's answer to ${READER}`]: counted(one => one.answeredMs - one.committedMs),
    [`from before a transaction to ${SUBSCRIBER}`]: counted(one => subscriber.cameMs(one.note)! - one.startMs),
  }
  subscriber.close()
  agent.destroy()
  await pool.end()
  return measured
}
