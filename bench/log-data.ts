// What the benches of the log share: sizes, the orders events, appending in batches, sealing all of a log.
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, type LogEvent, type LogTopic, openEmbeddedLog } from '../core/index.ts'
import type { Goal } from './harness.ts'

/** 1 is the size that the goals speak of; less makes a quick look. */
const SCALE = Number(process.env['MAINSTEM_BENCH_SCALE'] ?? 1)
if (!(SCALE > 0)) throw new RangeError('MAINSTEM_BENCH_SCALE is not a number above 0')

/** `n` at full scale; a multiple of `step`, which it is at least. */
export const scaled = (n: number, step = 1): number => Math.max(1, Math.round((n * SCALE) / step)) * step

export const BATCH = 1_000
/** Batches that are on their way at a time. */
const IN_FLIGHT = 16

export interface Part {
  readonly goals: readonly Goal[]
  readonly figures: Readonly<Record<string, number | string>>
}

export const STATUSES = ['placed', 'paid', 'shipped', 'cancelled'] as const

export interface Order extends Record<string, unknown> {
  order_id: number
  customer_id: number
  status: (typeof STATUSES)[number]
  amount_cents: number
  updated_at: number
}

export const ordersContract = compileContract(
  'orders',
  'topic',
  z.object({
    order_id: z.int(),
    customer_id: z.int(),
    status: z.enum(STATUSES),
    amount_cents: z.int(),
    updated_at: z.int(),
  }),
  'order_id',
)

export const CUSTOMERS = 100_000

/** Orders in a row, the same ones each time: random customers (0 to one below `customers`), amounts and states. */
export function orderSource(customers = CUSTOMERS): () => Order {
  let seed = 42
  const random = () => {
    seed = (seed + 0x6d2b79f5) >>> 0
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
  let n = 0
  return () => {
    const customer_id = random() % customers
    const amount_cents = random() % 100_000
    const status = STATUSES[random() % 4] ?? 'placed'
    const order_id = n++
    return { order_id, customer_id, status, amount_cents, updated_at: 1_700_000_000_000 + order_id }
  }
}

/** Calls back in a folder that is gone afterwards. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'mainstem-bench-log-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Appends `count` events in batches of 1,000, some of them on their way at a time; resolves when all are durable. */
export async function appendEvents(
  log: EmbeddedLog,
  count: number,
  add: (batch: ReturnType<EmbeddedLog['batch']>, n: number) => void,
): Promise<void> {
  const commits: Promise<unknown>[] = []
  for (let from = 0; from < count; from += BATCH) {
    const batch = log.batch()
    for (let n = from; n < Math.min(count, from + BATCH); n++) add(batch, n)
    commits.push(batch.commit())
    if (commits.length >= IN_FLIGHT) await commits.at(-IN_FLIGHT)
  }
  await Promise.all(commits)
}

/** Seals all that a closed log holds but one event, written so that the last segment ends; gives the seconds it took. */
export async function sealAll(path: string): Promise<number> {
  let failed = ''
  const onEvent = (event: LogEvent) => {
    if (event.event === 'log-seal-failed') failed = event.message
  }
  await using log = await openEmbeddedLog({ path, segmentBytesMax: 1, onEvent })
  const end: LogTopic = await log.topic(compileContract('end', 'topic', z.object({ id: z.int() }), 'id'))
  const startedMs = performance.now()
  const batch = log.batch()
  batch.event(end, { id: 0 })
  await batch.commit()
  await log.sealed()
  check(failed === '', `sealing failed: ${failed}`)
  return (performance.now() - startedMs) / 1000
}

/** Bytes of all files in a folder. */
export async function folderBytes(path: string): Promise<number> {
  const names = await readdir(path)
  const sizes = await Promise.all(names.map(async name => (await stat(join(path, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

export function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`the bench found what must not be: ${what}`)
}
