// The peers alone: each over the same 5 M orders, its result compared with a plain fold. MAINSTEM_BENCH_SCALE=0.1 for a
// quick look.
import { join } from 'node:path'
import type { BenchResult } from './harness.ts'
import { check, inFolder, orderSource, scaled } from './log-data.ts'
import { writeLines, writeRecords } from './orders-data.ts'
import { type PeerRun, Peers, whyNoPeers } from './peers.ts'
import { ordersWork } from './replay/orders.ts'
import { resultOf } from './replay/work.ts'

const EVENTS = scaled(5_000_000)
const LARGE_CACHE_BYTES = 256 * 2 ** 20

export async function run(): Promise<BenchResult> {
  const reason = whyNoPeers()
  if (reason !== undefined) return { goals: [], figures: { peers: `skipped: ${reason}` } }
  return inFolder(async folder => {
    const ndjson = { format: 'ndjson', input: join(folder, 'orders.ndjson'), events: EVENTS } as const
    const binary = { format: 'binary', input: join(folder, 'orders.bin'), events: EVENTS } as const
    await writeLines(ndjson.input, orderSource(), EVENTS)
    await writeRecords(binary.input, orderSource(), EVENTS)
    const { hash } = await resultOf(ordersWork.expected(EVENTS))
    const figures: Record<string, number | string> = { events: EVENTS }
    const add = (name: string, peer: PeerRun) => {
      check(peer.events === EVENTS && peer.hash === hash, `${name} has another result`)
      figures[`${name}: events/s`] = peer.measuredEvents / peer.seconds
      figures[`${name}: events per CPU second`] = peer.measuredEvents / peer.cpuSeconds
      if (peer.brokerCpuSeconds > 0)
        figures[`${name}: CPU seconds of the broker to its own`] = peer.brokerCpuSeconds / peer.cpuSeconds
      figures[`${name}: MiB of memory at most`] = peer.maxRssBytes / 2 ** 20
    }
    await using peers = await Peers.open(folder)
    add('Flink, hashmap, usual reader, NDJSON', await peers.flink({ ...ndjson, reader: 'usual', backend: 'hashmap' }))
    add('Flink, hashmap, best reader, NDJSON', await peers.flink({ ...ndjson, reader: 'best', backend: 'hashmap' }))
    add('Flink, hashmap, best reader, binary', await peers.flink({ ...binary, reader: 'best', backend: 'hashmap' }))
    add('Flink, RocksDB, best reader, NDJSON', await peers.flink({ ...ndjson, reader: 'best', backend: 'rocksdb' }))

    const topic = 'orders'
    await peers.load(topic, ndjson.input, 'ndjson')
    const streams = { topic, format: 'ndjson', events: EVENTS } as const
    const [usual, best] = [{ ...streams, reader: 'usual' } as const, { ...streams, reader: 'best' } as const]
    add('Kafka Streams, in memory, usual serdes', await peers.streams({ ...usual, backend: 'memory' }))
    add('Kafka Streams, in memory, best serdes', await peers.streams({ ...best, backend: 'memory' }))
    add('Kafka Streams, RocksDB, best serdes', await peers.streams({ ...best, backend: 'rocksdb' }))
    const cached = { ...best, backend: 'memory', cacheBytes: LARGE_CACHE_BYTES } as const
    add('Kafka Streams, in memory, best serdes, 256 MiB cache', await peers.streams(cached))
    return { goals: [], figures }
  })
}
