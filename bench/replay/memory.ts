// Live bytes per key after garbage collection, against Flink's hashmap backend: a million customers of the orders, and the same
// with UUIDs for keys.
import { join } from 'node:path'
import type { Goal } from '../harness.ts'
import { check, type Order, type Part, scaled } from '../log-data.ts'
import { writeLines, writeRecords } from '../orders-data.ts'
import { Peers, whyNoPeers } from '../peers.ts'
import { inChild, sealedLog } from './ours.ts'
import { type Result, resultOf } from './work.ts'
import { WORKS, type WorkName } from './works.ts'

/** With five orders each, 99 % of the customers have one at least. */
const EVENTS = scaled(5_000_000, 1_000)

export interface MemoryMeasurement {
  readonly work: WorkName
  /** An application without events. */
  readonly emptyDir: string
  readonly dataDir: string
}

export interface MemoryMeasured extends Result {
  /** Live bytes more than with no events. */
  readonly grown: number
  /** What the engine itself says that its rows take. */
  readonly counted: number
}

const KINDS = [
  { work: 'many-orders', peer: 'orders', keys: 'int keys' },
  { work: 'uuid', peer: 'uuid', keys: 'UUID keys' },
] as const

export async function memory(folder: string, say: (what: string) => void): Promise<Part> {
  const name = 'memory per key vs Flink'
  const skipped = whyNoPeers()
  const goals: Goal[] = []
  const figures: Record<string, number | string> = {}
  await using peers = skipped === undefined ? await Peers.open(folder) : undefined
  for (const { work, peer, keys } of KINDS) {
    say(`${keys}: ours`)
    const dataDir = await sealedLog(folder, work, EVENTS)
    const emptyDir = join(folder, `${work}-empty`)
    const ours = await inChild<MemoryMeasured>('memory-child.ts', {
      work,
      emptyDir,
      dataDir,
    } satisfies MemoryMeasurement)
    const expected = await resultOf(WORKS[work].expected(EVENTS))
    check(ours.hash === expected.hash, `${keys}: our rows differ`)
    figures[`memory, ${keys}: bytes per key`] = ours.grown / ours.rows
    figures[`memory, ${keys}: bytes per key, as the engine counts them`] = ours.counted / ours.rows
    if (!peers) continue
    say(`${keys}: Flink`)
    const compact = work === 'many-orders'
    const input = join(folder, `${work}.input`)
    if (compact) await writeRecords(input, WORKS[work].source() as () => Order, EVENTS)
    else await writeLines(input, WORKS[work].source(), EVENTS)
    const theirs = await peers.flink({
      work: peer,
      input,
      format: compact ? 'binary' : 'ndjson',
      events: EVENTS,
      reader: 'best',
      backend: 'hashmap',
      heap: 'measured',
    })
    check(theirs.hash === expected.hash, `${keys}: Flink's rows differ`)
    figures[`memory, ${keys}: bytes per key in Flink's hashmap`] = theirs.stateBytes / theirs.rows
    const value = ours.grown / ours.rows / (theirs.stateBytes / theirs.rows)
    if (compact) goals.push({ name, value, goal: 0.5, unit: '×', atMost: true, equal: true })
    else figures[`memory, ${keys}: vs Flink: ×`] = value
  }
  if (skipped !== undefined) goals.push({ name, value: null, goal: 0.5, unit: '×', atMost: true, equal: null, skipped })
  return { goals, figures }
}
