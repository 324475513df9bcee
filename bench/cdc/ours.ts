// Our side of `bench cdc`: what a process is told that captures the orders, and what it says.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { check } from '../log-data.ts'
import type { Read } from './database.ts'
import type { TechnologyName } from './orders-app.ts'

export interface CapturedDatabase {
  readonly technology: TechnologyName
  readonly url: string
}

export interface Told {
  readonly dataDir: string
  /** snapshot: ends when all rows are durable; drain: when all up to `position` is; serve: when its stdin does. */
  readonly mode: 'snapshot' | 'drain' | 'serve'
  /** Of the source. */
  readonly position?: string
  /** Reads all of the log, and not only what it appended. */
  readonly all?: boolean
  /** Removes its slot when it has ended. */
  readonly drop?: boolean
}

/** What a side took, from the start of its engine to the last record durable, or delivered. */
export interface Captured extends Read {
  readonly seconds: number
  /** Of all its threads. */
  readonly cpuSeconds: number
  /** Anonymous memory of the process: ours at most, the peer's at the end. */
  readonly anonBytes: number
  /** Resident, at most. */
  readonly maxRssBytes: number
}

export function startOurs({ technology, url }: CapturedDatabase, told: Told): ChildProcess {
  return spawn(
    process.execPath,
    [join(import.meta.dirname, 'capture-child.ts'), JSON.stringify({ technology, ...told })],
    {
      env: { ...process.env, MAINSTEM_BENCH_URL: url },
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
}

/** Runs a process to its end and gives its last line. */
export async function capture(database: CapturedDatabase, told: Told): Promise<Captured> {
  const child = startOurs(database, told)
  const exited = once(child, 'exit')
  let last = ''
  for await (const line of createInterface({ input: child.stdout! })) last = line
  const [code] = (await exited) as [number | null]
  check(code === 0, `the process that captures ended with ${code}`)
  return JSON.parse(last) as Captured
}

/** A side came to what the database has. */
export function checkRead(side: string, { events, hash }: Read, expected: Read): void {
  check(
    events === expected.events && hash === expected.hash,
    `${side} read ${events} of ${expected.events} rows or changes, or others`,
  )
}
