// A log followed from another thread: how long after a commit its blocks are there, and how fast it is read, beside a reader of the log itself.
import { once } from 'node:events'
import { join } from 'node:path'
import { MessageChannel, Worker } from 'node:worker_threads'
import { type EmbeddedLog, openEmbeddedLog, portChannel, type ReadableLog } from '../core/index.ts'
import { median, ROUNDS } from './harness.ts'
import { appendEvents, check, inFolder, orderSource, ordersContract, type Part, scaled, sealAll } from './log-data.ts'

const EVENTS = scaled(2_000_000)
const COMMITS = scaled(2_000)
const WORKER = new URL('./log-follow-worker.ts', import.meta.url)

export interface Read {
  readonly records: number
  readonly ms: number
}

/** Steps over all records there are. */
export async function readAll(log: ReadableLog): Promise<Read> {
  const startedMs = performance.now()
  const reader = log.read(0)
  let records = 0
  for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready()) {
    for (const block of blocks) for (const cursor = block.records(); cursor.next(); ) records++
  }
  reader.close()
  return { records, ms: performance.now() - startedMs }
}

async function follower(log: EmbeddedLog, watch: boolean): Promise<Worker> {
  const { port1, port2 } = new MessageChannel()
  log.follow(portChannel(port1))
  const worker = new Worker(WORKER, { workerData: { port: port2, watch }, transferList: [port2], execArgv: [] })
  await once(worker, 'message')
  return worker
}

export const following = (): Promise<Part> =>
  inFolder(async folder => {
    const path = join(folder, 'log')
    const latency = await latencies(join(folder, 'latency'))
    const hot = await openEmbeddedLog({ path, seal: false })
    const topic = await hot.topic(ordersContract)
    const next = orderSource()
    await appendEvents(hot, EVENTS, batch => batch.event(topic, next()))
    const hotRates = await rates(hot)
    await hot.close()
    await sealAll(path)
    await using log = await openEmbeddedLog({ path })
    const sealedRates = await rates(log)
    return {
      goals: [
        { name: 'commit to follower p50', value: latency.p50, goal: 0.3, unit: 'ms (at most)', equal: null },
        { name: 'follower vs own reader, sealed', value: sealedRates.ratio, goal: 0.9, unit: '×', equal: true },
      ],
      figures: {
        'follow: commit to own reader p50, ms': latency.own,
        'follow: commit to follower p50, ms': latency.p50,
        'follow: commit to follower p99, ms': latency.p99,
        'follow: hot, own reader, records/s': hotRates.own,
        'follow: hot, follower, records/s': hotRates.there,
        'follow: sealed, own reader, records/s': sealedRates.own,
        'follow: sealed, follower, records/s': sealedRates.there,
      },
    }
  })

async function latencies(path: string): Promise<{ own: number; p50: number; p99: number }> {
  const log = await openEmbeddedLog({ path })
  const topic = await log.topic(ordersContract)
  const next = orderSource()
  const worker = await follower(log, true)
  const told = once(worker, 'message') as Promise<[readonly (readonly [number, bigint])[]]>
  const reader = log.read(0)
  const committed: bigint[] = []
  const own: number[] = []
  for (let n = 0; n < COMMITS; n++) {
    const batch = log.batch()
    batch.event(topic, next())
    const ready = reader.next()
    const { last } = await batch.commit()
    committed[last] = process.hrtime.bigint()
    await ready
    own.push(Number(process.hrtime.bigint() - committed[last]) / 1e6)
  }
  reader.close()
  await log.close()
  const [seen] = await told
  check(seen.length === COMMITS, `the follower has seen ${seen.length} blocks of ${COMMITS}`)
  // Its start is not of interest.
  const ms = seen.slice(100).map(([end, at]) => Number(at - committed[end]!) / 1e6)
  await worker.terminate()
  const sorted = ms.toSorted((a, b) => a - b)
  return { own: median(own), p50: median(ms), p99: sorted[Math.floor(sorted.length * 0.99)]! }
}

/** Both in turn, records a second. */
async function rates(log: EmbeddedLog): Promise<{ own: number; there: number; ratio: number }> {
  const worker = await follower(log, false)
  const own: number[] = []
  const there: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const here = await readAll(log)
    worker.postMessage('read')
    const [read] = (await once(worker, 'message')) as [Read]
    check(read.records === here.records && here.records >= EVENTS, `${read.records} records, not ${here.records}`)
    if (round === 0) continue
    own.push((here.records / here.ms) * 1_000)
    there.push((read.records / read.ms) * 1_000)
  }
  await worker.terminate()
  return { own: median(own), there: median(there), ratio: median(there) / median(own) }
}
