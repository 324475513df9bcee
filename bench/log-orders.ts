// The orders events: appended in batches as validated objects, and as bytes that are encoded already; then sealed, measured
// against NDJSON, and scanned by columns and by records. What scans give is compared with sums made while appending.
import { join } from 'node:path'
import { z } from 'zod'
import { ByteWriter, compileContract, openEmbeddedLog, type ScanPart } from '../core/index.ts'
import { interleave, median, ROUNDS } from './harness.ts'
import {
  appendEvents,
  BATCH,
  check,
  folderBytes,
  inFolder,
  type Order,
  orderSource,
  ordersContract,
  type Part,
  scaled,
  sealAll,
} from './log-data.ts'
import { kafkaSizes } from './log-kafka.ts'

/** Per round, one of which is for warming up. */
const APPENDED = scaled(700_000, BATCH)
const ORDERS = APPENDED * (ROUNDS + 1)
/** A scan of all takes well below a second: several of them make one round. */
const SCANS_PER_ROUND = 2

class Sums {
  customers = 0
  cents = 0
  times = 0
  paidCents = 0
  paid = 0
  ndjsonBytes = 0
}

export const ordersPart = (): Promise<Part> =>
  inFolder(async folder => {
    const path = join(folder, 'orders')
    const sums = new Sums()
    const appended = await appendOrders(path, join(folder, 'bytes'), sums)
    const sealSeconds = await sealAll(path)
    const sealedBytes = await folderBytes(path)
    const scanned = await scanOrders(path, sums)
    const ratio = sealedBytes / sums.ndjsonBytes
    return {
      goals: [
        ...appended.goals,
        ...scanned.goals,
        { name: 'size vs NDJSON', value: ratio, goal: 0.3, unit: '×', atMost: true, equal: null },
      ],
      figures: {
        ...appended.figures,
        ...scanned.figures,
        'size: events': ORDERS,
        'size: bytes/event sealed (columns, rows by key, indexes; zstd)': sealedBytes / ORDERS,
        'size: NDJSON bytes/event': sums.ndjsonBytes / ORDERS,
        ...(await kafkaFigures(folder, sealedBytes)),
        'seal: seconds for what was not sealed while appending': sealSeconds,
      },
    }
  })

async function kafkaFigures(folder: string, sealedBytes: number): Promise<Part['figures']> {
  const sizes = await kafkaSizes(folder, ORDERS, encode)
  if (typeof sizes === 'string') return { "size: Kafka's log": `skipped: ${sizes}` }
  const { json, rows } = sizes
  return {
    "size: Kafka's log, JSON values, no compression, bytes/event": json.log / ORDERS,
    "size: Kafka's log, our row bytes as values, no compression, bytes/event": rows.log / ORDERS,
    "size: Kafka's index files, bytes/event (JSON values)": json.indexes / ORDERS,
    "size: Kafka's index files, bytes/event (row bytes)": rows.indexes / ORDERS,
    "size: sealed, indexes and all, to Kafka's log with JSON values": sealedBytes / (json.log + json.indexes),
    "size: sealed, indexes and all, to Kafka's log with our row bytes": sealedBytes / (rows.log + rows.indexes),
  }
}

async function appendOrders(path: string, bytesPath: string, sums: Sums): Promise<Part> {
  await using log = await openEmbeddedLog({ path })
  await using bytesLog = await openEmbeddedLog({ path: bytesPath })
  const orders = await log.topic(ordersContract)
  const blobs = await bytesLog.topic(bytesContract)
  const source = orderSource()
  const rates: Record<'objects' | 'bytes', number[]> = { objects: [], bytes: [] }
  const measure = async (of: 'objects' | 'bytes', round: number, run: () => Promise<void>) => {
    const startedMs = performance.now()
    await run()
    if (round > 0) rates[of].push(APPENDED / ((performance.now() - startedMs) / 1000))
  }
  for (let round = 0; round <= ROUNDS; round++) {
    const objects = Array.from({ length: APPENDED }, source)
    const encoded = objects.map(order => ({ id: order.order_id, bytes: encode(order) }))
    for (const order of objects) add(sums, order)
    await measure('objects', round, () =>
      appendEvents(log, APPENDED, (batch, n) => batch.event(orders, ordersContract.parse(objects[n]))),
    )
    await measure('bytes', round, () => appendEvents(bytesLog, APPENDED, (batch, n) => batch.event(blobs, encoded[n]!)))
    // Not to be measured with the next round.
    await Promise.all([log.sealed(), bytesLog.sealed()])
  }
  check(log.end === ORDERS && bytesLog.end === ORDERS, 'not all was appended')
  const [objects, bytes] = [median(rates.objects), median(rates.bytes)]
  return {
    goals: [
      { name: 'append batch', value: objects, goal: 400_000, unit: 'events/s', equal: null },
      { name: 'append bytes', value: bytes, goal: 1_000_000, unit: 'events/s', equal: null },
    ],
    figures: {
      'append batch: events per round': APPENDED,
      'append batch: events per batch, 16 batches on their way': BATCH,
      'append batch: events/s by round': rates.objects.map(Math.round).join(' '),
      'append bytes: what': 'the encoded bytes of the same orders, in a topic of an int key and one bytes field',
      'append bytes: events/s by round': rates.bytes.map(Math.round).join(' '),
    },
  }
}

const bytesContract = compileContract(
  'bytes',
  'topic',
  z.object({ id: z.int(), bytes: z.instanceof(Uint8Array) }),
  'id',
)

const writer = new ByteWriter(256)

function encode(order: Order): Uint8Array {
  writer.at = 0
  ordersContract.codec.encode(writer, order)
  return writer.copy()
}

function add(sums: Sums, order: Order): void {
  sums.customers += order.customer_id
  sums.cents += order.amount_cents
  sums.times += order.updated_at - 1_700_000_000_000
  if (order.status === 'paid') {
    sums.paid++
    sums.paidCents += order.amount_cents
  }
  sums.ndjsonBytes += JSON.stringify(order).length + 1
}

async function scanOrders(path: string, sums: Sums): Promise<Part> {
  await using log = await openEmbeddedLog({ path })
  const orders = await log.topic(ordersContract)
  const times = (run: () => Promise<void>) => async () => {
    for (let n = 0; n < SCANS_PER_ROUND; n++) await run()
    return ''
  }
  const columns = async () => {
    let [customers, cents, times] = [0, 0, 0]
    for await (const batch of log.scan(orders)) {
      for (const part of batch.parts) {
        customers += sumOf(part.column('customer_id'))
        cents += sumOf(part.column('amount_cents'))
        times += sumOf(part.column('updated_at'), 1_700_000_000_000)
      }
    }
    check(customers === sums.customers && cents === sums.cents && times === sums.times, 'columns have other sums')
  }
  const accessor = log.accessor<Order>(['customer_id', 'status', 'amount_cents'])
  const records = async () => {
    let [customers, paidCents, paid] = [0, 0, 0]
    for await (const batch of log.scan(orders)) {
      accessor.reset(batch)
      while (accessor.next()) {
        const { record } = accessor
        customers += record.customer_id
        if (record.status === 'paid') {
          paid++
          paidCents += record.amount_cents
        }
      }
    }
    check(customers === sums.customers && paid === sums.paid && paidCents === sums.paidCents, 'records have other sums')
  }
  const units = ORDERS * SCANS_PER_ROUND
  const { perSecond, perCpuSecond } = await interleave([
    { name: 'columns', units, run: times(columns) },
    { name: 'accessor', units, run: times(records) },
  ])
  const { columns: byColumns = 0, accessor: byRecords = 0 } = perSecond
  return {
    goals: [
      { name: 'scan columns', value: byColumns, goal: 20_000_000, unit: 'records/s', equal: null },
      { name: 'scan accessor', value: byRecords, goal: 5_000_000, unit: 'records/s', equal: null },
    ],
    figures: {
      'scan: records per round': units,
      'scan columns: records per CPU second': perCpuSecond['columns'] ?? 0,
      'scan accessor: records per CPU second': perCpuSecond['accessor'] ?? 0,
      'scan: results': 'equal to sums made while appending, in each round',
    },
  }
}

function sumOf(column: ReturnType<ScanPart['column']>, less = 0): number {
  if (column.kind !== 'numbers') throw new TypeError('expected a column of numbers')
  const { values } = column
  let sum = 0
  for (let n = 0; n < values.length; n++) sum += values[n]! - less
  return sum
}
