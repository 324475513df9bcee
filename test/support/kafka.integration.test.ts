// The Kafka that tests and benches run against is a real one, and leaves nothing behind.
import { existsSync } from 'node:fs'
import path from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, it } from 'vitest'
import { isKafkaMissing, openKafka } from './kafka.ts'

describe.skipIf(await isKafkaMissing())('a Kafka for tests', () => {
  it('keeps what is produced, is gone after it was closed, and its folder too', async () => {
    const server = await openKafka()
    const kafka = new Kafka({ brokers: [...server.brokers], logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    const producer = kafka.producer()
    await Promise.all([admin.connect(), producer.connect()])
    await admin.createTopics({ topics: [{ topic: 'orders', numPartitions: 1 }] })
    await producer.send({
      topic: 'orders',
      messages: [
        { key: '1', value: 'placed' },
        { key: '2', value: 'paid' },
      ],
    })
    expect(await admin.fetchTopicOffsets('orders')).toMatchObject([{ partition: 0, offset: '2' }])
    expect(existsSync(path.join(server.dataDir, 'orders-0', '00000000000000000000.log'))).toBe(true)
    await Promise.all([producer.disconnect(), admin.disconnect()])

    await server.close()
    await server.close()

    expect(existsSync(server.dataDir)).toBe(false)
    expect(() => process.kill(server.pid, 0)).toThrow('ESRCH')
  })
})
