import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  channelPair,
  compileContract,
  type EmbeddedLog,
  type FollowChannel,
  type FollowerChannel,
  followLog,
  openEmbeddedLog,
} from '../../../../core/index.ts'
import { FOLLOW_WINDOW } from '../../../../core/log/limits.ts'
import { follow } from '../../../support/following.ts'
import { batchesIn } from '../../../support/log-batches.ts'
import { allRecords, appendMarkers, markersContract, recordsOf } from '../../../support/log-records.ts'
import { SimulatedDisk } from '../../../support/simulated-disk.ts'

const notes = compileContract('notes', 'topic', z.object({ id: z.int(), text: z.string() }), 'id')
const later = compileContract('notes', 'topic', notes.schema.extend({ size: z.int().default(3) }), 'id')
const code = (code: string) => expect.objectContaining({ code })

async function open(segmentBytesMax = 1_000_000): Promise<[EmbeddedLog, SimulatedDisk]> {
  const fileSystem = new SimulatedDisk()
  return [await openEmbeddedLog({ path: '/log', fileSystem, segmentBytesMax }), fileSystem]
}

describe('a followed log', () => {
  it('has topics that the log has registered, also those that come later, by the contract of who reads', async () => {
    const [log, disk] = await open()
    const followed = await follow(log, disk)
    expect(followed.id).toBe(log.id)
    await expect(followed.topic(notes)).rejects.toThrow(code('TOPIC_UNKNOWN'))
    const topic = await log.topic(notes)
    expect(await followed.topic(notes)).toMatchObject({ id: topic.id, contract: notes })
    await expect(followed.topic(later)).rejects.toThrow(code('CONTRACT_CHANGED'))
    const other = compileContract('notes', 'topic', notes.schema, 'text')
    await expect(followed.topic(other)).rejects.toThrow(code('CONTRACT_CHANGED'))
    const batch = log.batch()
    batch.event(topic, { id: 1, text: 'one' })
    await batch.commit()
    await log.topic(later)
    await followed.refresh()
    await expect(followed.topic(notes)).rejects.toThrow(code('CONTRACT_CHANGED'))
    const [block] = await readyBlocks(followed)
    // A contract that is no longer the newest gives way to what is stored.
    expect(recordsOf([block!])[0]?.after).toEqual({ id: 1, text: 'one', size: 3 })
    expect((await followed.topic(later)).contract).toBe(later)
    expect(followed.topics().map(({ name }) => name)).toEqual(['notes'])
    await log.close()
  })

  it('wakes readers that wait, and says nothing of what is not durable', async () => {
    const [log, disk] = await open()
    const followed = await follow(log, disk)
    const topic = await log.topic(markersContract)
    const reader = followed.read(0)
    expect(await reader.ready()).toEqual([])
    const next = reader.next()
    await appendMarkers(log, topic, 1, 3)
    expect(batchesIn((await next)!).map(({ records }) => records.length)).toEqual([3])
    disk.fault = operation => (operation === 'datasync' ? new Error('no') : undefined)
    await expect(appendMarkers(log, topic, 2, 3)).rejects.toThrow(code('LOG_FAILED'))
    await followed.refresh()
    expect([followed.end, await reader.ready()]).toEqual([3, []])
    disk.fault = () => undefined
    await appendMarkers(log, topic, 3, 1)
    expect(recordsOf((await reader.next())!)).toMatchObject([{ position: 4, after: { batch: 3 } }])
    await log.close()
    expect(await reader.next()).toBeUndefined()
  })

  it('reads small blocks from messages and larger ones from the file', async () => {
    const [log, disk] = await open(10_000_000)
    const opened: string[] = []
    const counting = new Proxy(disk, {
      get: (target, name) => {
        if (name !== 'open') return Reflect.get(target, name, target)
        return (path: string, mode: 'read') => {
          opened.push(path)
          return target.open(path, mode)
        }
      },
    })
    const topic = await log.topic(markersContract)
    const followed = await follow(log, counting)
    const reader = followed.read(0)
    for (let n = 1; n <= 5; n++) {
      await appendMarkers(log, topic, n, 3)
      await reader.next()
    }
    expect(opened).toEqual([])
    for (let n = 6; n <= 12; n++) await appendMarkers(log, topic, n, 3, n % 2 ? 'x'.repeat(40_000) : '')
    await followed.refresh()
    const blocks = await readyBlocks(followed, reader)
    expect(batchesIn(blocks).map(({ mark }) => Number(mark?.position))).toEqual([6, 7, 8, 9, 10, 11, 12])
    expect(opened).not.toEqual([])
    await log.close()
  })

  it('is told no more than it takes in, and then all of it', async () => {
    const [log, disk] = await open(20_000)
    const topic = await log.topic(markersContract)
    const waiting: (() => void)[] = []
    const [there, here]: readonly [FollowChannel, FollowerChannel] = channelPair(deliver => waiting.push(deliver))
    log.follow(there)
    const opening = followLog(here, { fileSystem: disk })
    for (let n = 0; n < 200; n++) await appendMarkers(log, topic, n, 2, 'f'.repeat(500))
    await log.sealed()
    expect(waiting.length).toBeLessThanOrEqual(FOLLOW_WINDOW)
    const deliverAll = () => {
      for (const deliver of waiting.splice(0)) deliver()
      setImmediate(deliverAll).unref()
    }
    deliverAll()
    const followed = await opening
    await followed.refresh()
    expect(recordsOf(await readyBlocks(followed))).toEqual(await allRecords(log))
    await log.close()
    await followed.closed
  })

  it('ends alone when it closes, and with the log', async () => {
    const [log, disk] = await open()
    const topic = await log.topic(markersContract)
    await appendMarkers(log, topic, 1, 1)
    const [one, two] = [await follow(log, disk), await follow(log, disk)]
    const [reading, other] = [one.read(0), two.read(1)]
    const waiting = other.next()
    await one.close()
    expect(await reading.ready()).toEqual([])
    for (const call of [() => one.read(0), () => one.refresh(), () => one.topic(markersContract)])
      await expect((async () => call())()).rejects.toThrow(code('LOG_CLOSED'))
    await appendMarkers(log, topic, 2, 1)
    expect(recordsOf((await waiting)!)).toMatchObject([{ position: 2 }])
    const last = other.next()
    await log.close()
    expect(await last).toBeUndefined()
    await two.closed
    expect(() => log.follow(channelPair()[0] as FollowChannel)).toThrow(code('LOG_CLOSED'))
    const [there, here]: readonly [FollowChannel, FollowerChannel] = channelPair()
    there.close()
    await expect(followLog(here, { fileSystem: disk })).rejects.toThrow(code('LOG_CLOSED'))
  })
})

async function readyBlocks(log: Pick<EmbeddedLog, 'read'>, reader = log.read(0)) {
  const blocks = []
  for (let more = await reader.ready(); more.length > 0; more = await reader.ready()) blocks.push(...more)
  return blocks
}
