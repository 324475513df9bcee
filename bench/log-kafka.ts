// The size of the same orders in Kafka's own log, measured: a real broker, a topic without compression, batches as a
// producer with default settings makes them under load (16 KiB), records keyed by order; then the files of its partition.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Kafka, logLevel, type Message, type Producer } from 'kafkajs'
import { whyNoJava } from '../test/support/java.ts'
import { openKafka } from '../test/support/kafka.ts'
import { check, type Order, orderSource } from './log-data.ts'

/** The Java producer's default batch.size. */
const BATCH_BYTES = 16_384
/** Of a batch of message format 2. */
const BATCH_HEADER_BYTES = 61
/** Of a record of this size: its length, attributes, time and offset deltas, lengths of key and value, no headers. */
const RECORD_OVERHEAD_BYTES = 9
const IN_FLIGHT = 16

export interface KafkaBytes {
  /** The segment files: what a reader reads. */
  readonly log: number
  /** Their offset and time indexes, as long as their content. */
  readonly indexes: number
}

export interface KafkaSizes {
  readonly json: KafkaBytes
  readonly rows: KafkaBytes
}

/** Sizes of the first `count` orders as JSON values and as `encode` gives them; a reason where Kafka cannot run. */
export async function kafkaSizes(
  folder: string,
  count: number,
  encode: (order: Order) => Uint8Array,
): Promise<KafkaSizes | string> {
  const reason = whyNoJava()
  if (reason !== undefined) return reason
  const dataDir = join(folder, 'kafka')
  const values = {
    json: (order: Order) => Buffer.from(JSON.stringify(order)),
    rows: (order: Order) => Buffer.from(encode(order)),
  }
  {
    await using server = await openKafka({ dataDir })
    const kafka = new Kafka({ brokers: [...server.brokers], logLevel: logLevel.ERROR })
    const [admin, producer] = [kafka.admin(), kafka.producer()]
    await Promise.all([admin.connect(), producer.connect()])
    for (const [topic, value] of Object.entries(values)) {
      await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
      await produce(producer, topic, count, value)
      const [partition] = await admin.fetchTopicOffsets(topic)
      check(partition?.offset === String(count), `Kafka has ${partition?.offset} of ${count} records`)
    }
    await Promise.all([producer.disconnect(), admin.disconnect()])
  }
  // The broker has shut down in order: no file is longer than its content.
  return { json: await bytesOf(join(dataDir, 'json-0')), rows: await bytesOf(join(dataDir, 'rows-0')) }
}

async function produce(producer: Producer, topic: string, count: number, value: (order: Order) => Buffer) {
  const source = orderSource()
  const sends: Promise<unknown>[] = []
  let messages: Message[] = []
  let bytes = BATCH_HEADER_BYTES
  const send = async () => {
    sends.push(producer.send({ topic, acks: 1, messages }))
    messages = []
    bytes = BATCH_HEADER_BYTES
    if (sends.length >= IN_FLIGHT) await sends.shift()
  }
  for (let n = 0; n < count; n++) {
    const order = source()
    const message = { key: String(order.order_id), value: value(order) }
    const size = message.key.length + message.value.length + RECORD_OVERHEAD_BYTES
    if (bytes + size > BATCH_BYTES) await send()
    messages.push(message)
    bytes += size
  }
  await send()
  await Promise.all(sends)
}

async function bytesOf(partition: string): Promise<KafkaBytes> {
  const sum = async (suffix: RegExp) => {
    const names = (await readdir(partition)).filter(name => suffix.test(name))
    const sizes = await Promise.all(names.map(async name => (await stat(join(partition, name))).size))
    return sizes.reduce((total, size) => total + size, 0)
  }
  return { log: await sum(/\.log$/), indexes: await sum(/\.(index|timeindex)$/) }
}
