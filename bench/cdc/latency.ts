// From a transaction to an HTTP answer that shows it, at an open loop of 500 transactions a second, each waited for by a reader of its own.
// The load comes from this process; the connector, its store and its HTTP server are another one, on both sides. Times run from before
// the transaction is sent, so its commit is in them; and from its commit's answer, as a figure.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { median } from '../harness.ts'
import { type Part, scaled } from '../log-data.ts'
import { Peers, whyNoPeers } from '../peers.ts'
import { Database, ROWS } from './database.ts'
import { debeziumServer, SLOT } from './debezium.ts'
import { inOpenLoop, readNote, writeNote } from './noted.ts'
import { SOURCE } from './orders-app.ts'
import { capture, startOurs } from './ours.ts'

const ROUNDS = 3
const TRANSACTIONS_PER_SECOND = 500
const SECONDS = scaled(20)
const WARMUP_SECONDS = 3
const CLIENTS = 12
/** Debezium's own default is 500 ms; this is as quick as it gets. */
const POLL_MS = 1

interface Latencies {
  /** Milliseconds from before each transaction to its answer, in ascending order. */
  readonly fromStart: readonly number[]
  readonly fromCommit: readonly number[]
}

/** The path of a row as it is after a write, and the note that the answer must have. */
type PathOf = (id: number, note: string, lsn: string) => string

export async function latency(folder: string, say: (what: string) => void): Promise<Part> {
  const reason = whyNoPeers()
  await using peers = reason === undefined ? await Peers.open(folder) : undefined
  const dataDir = join(folder, 'latency')
  await using database = await Database.open()
  say('snapshot')
  await capture(database, { mode: 'snapshot', dataDir })
  if (peers) await database.createSlot(SLOT)
  const runs = new Map<string, Latencies[]>()
  const measure = async (side: string, process: ChildProcess, pathOf: PathOf) => {
    try {
      const [line] = (await once(createInterface({ input: process.stdout! }), 'line')) as [string]
      const url = line.startsWith('http') ? line : `http://127.0.0.1:${line}`
      runs.set(side, [...(runs.get(side) ?? []), await load(database, url, pathOf)])
    } finally {
      const exited = once(process, 'exit')
      process.stdin?.end()
      await exited
    }
  }
  const ours = async () => {
    const child = startOurs(database, { mode: 'serve', dataDir, position: await database.lsn() })
    await measure('mainstem', child, (id, _, lsn) => `/v1/views/orders/rows/${id}?after=${SOURCE}:${lsn}`)
  }
  const theirs = async (side: string, pollMs?: number) => {
    await database.advanceSlot(SLOT)
    await measure(side, await debeziumServer(peers!, folder, database, pollMs), (id, note) => `/${id}?${note}`)
  }
  const quickest = `Debezium, poll interval ${POLL_MS} ms`
  for (let round = 1; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`)
    await ours()
    if (peers) await theirs(quickest, POLL_MS)
    if (peers && round === 1) await theirs('Debezium')
  }
  const of = (side: string, share: number, from: keyof Latencies = 'fromStart') =>
    median((runs.get(side) ?? []).map(run => quantile(run[from], share)))
  const one = { unit: 'ms', atMost: true, equal: null } as const
  const ratio = { name: 'p99 vs Debezium plus a store plus HTTP', goal: 1, unit: '×', atMost: true } as const
  const figures: Record<string, number> = { 'transactions/s': TRANSACTIONS_PER_SECOND }
  for (const side of runs.keys()) {
    for (const share of [0.5, 0.99]) {
      figures[`${side}: ms from before a transaction to its answer, p${share * 100}`] = of(side, share)
      figures[`${side}: ms from a commit's answer to the row's, p${share * 100}`] = of(side, share, 'fromCommit')
    }
  }
  return {
    goals: [
      { name: 'commit to HTTP-visible p50', value: of('mainstem', 0.5), goal: 3, ...one },
      { name: 'commit to HTTP-visible p99', value: of('mainstem', 0.99), goal: 15, ...one },
      reason === undefined
        ? { ...ratio, value: of('mainstem', 0.99) / of(quickest, 0.99), equal: true }
        : { ...ratio, value: null, equal: null, skipped: reason },
    ],
    figures,
  }
}

const quantile = (ascending: readonly number[], share: number): number =>
  ascending[Math.floor((ascending.length - 1) * share)] ?? Number.NaN

async function load(database: Database, url: string, pathOf: PathOf): Promise<Latencies> {
  const pool = new pg.Pool({ connectionString: database.server.url(), max: CLIENTS })
  const agent = new Agent({ keepAlive: true })
  const fromStart: number[] = []
  const fromCommit: number[] = []
  const count = (WARMUP_SECONDS + SECONDS) * TRANSACTIONS_PER_SECOND
  const one = async (n: number) => {
    const id = 1 + (n % ROWS)
    const written = await writeNote(pool, id, database.server.pid)
    const answeredMs = await readNote(agent, url + pathOf(id, written.note, written.lsn), written)
    if (n < WARMUP_SECONDS * TRANSACTIONS_PER_SECOND) return
    fromStart.push(answeredMs - written.startMs)
    fromCommit.push(answeredMs - written.committedMs)
  }
  // The other side may not have begun to stream yet.
  await one(0)
  await inOpenLoop(count - 1, TRANSACTIONS_PER_SECOND, n => one(n + 1))
  agent.destroy()
  await pool.end()
  const ascending = (values: number[]) => values.sort((a, b) => a - b)
  return { fromStart: ascending(fromStart), fromCommit: ascending(fromCommit) }
}
