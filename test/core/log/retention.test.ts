// How much history topics say they keep, and when the log removes the rest by itself.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { postgres } from '../../../cdc/postgres/index.ts'
import { compileContract, days, hours, minutes, openEmbeddedLog, topic } from '../../../core/index.ts'
import { batchesOf } from '../../support/log-batches.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const clicks = compileContract('clicks', 'topic', z.object({ user: z.string(), n: z.int() }), 'user')
const views = compileContract('views', 'topic', z.object({ user: z.string() }), 'user')
const orders = compileContract('orders', 'table', z.object({ id: z.int(), cents: z.int() }), 'id')

async function open(seal = true) {
  const disk = new SimulatedDisk()
  const events: { readonly event: string }[] = []
  const world = { now: 0 }
  const options = { path: '/log', fileSystem: disk, segmentBytesMax: 1_000, seal, clock: () => world.now }
  const log = await openEmbeddedLog({ ...options, onEvent: event => events.push(event) })
  const topics = [await log.topic(clicks), await log.topic(views), await log.topic(orders)] as const
  /** A minute for each batch: two events and a row of five that changes. */
  const append = async (from: number, to: number) => {
    for (let n = from; n < to; n++) {
      world.now = n * minutes(1)
      const batch = log.batch()
      batch.event(topics[0], { user: 'ada', n })
      batch.event(topics[1], { user: 'ada' })
      const id = n % 5
      if (n < 5) batch.insert(topics[2], { id, cents: n })
      else batch.update(topics[2], { id, cents: n - 5 }, { id, cents: n })
      await batch.commit()
    }
    await log.retained()
  }
  const left = async (name: string) =>
    (await batchesOf(log)).flatMap(({ records, appendTimeMs }) =>
      records.filter(record => record.topic === name).map(record => ({ ...record, appendTimeMs })),
    )
  return { log, disk, events, append, left, world }
}

describe.each([true, false])('retention (sealed: %s)', seal => {
  it('removes events older than a time, of that topic alone, once a segment’s worth has come together', async () => {
    const { log, append, left, world, events } = await open(seal)
    log.retain({ clicks: { ms: hours(3) } })
    await append(0, 400)
    const kept = await left('clicks')
    expect(kept.length).toBeGreaterThan(180)
    expect(kept.length).toBeLessThan(330)
    expect(world.now - kept[0]!.appendTimeMs).toBeGreaterThan(hours(3))
    expect(await left('views')).toHaveLength(400)
    expect(await left('orders')).toHaveLength(400)
    expect(await log.lastVersion(log.findTopic('clicks')!, 'ada')).toBe(400)
    const cleanings = events.filter(({ event }) => event === 'log-cleaned').length
    expect(cleanings).toBeGreaterThan(0)
    // Rarely: not at each segment.
    expect(cleanings).toBeLessThan(10)
    await log.close()
  })

  it('removes events beyond a size', async () => {
    const { log, append, left } = await open(seal)
    await append(0, 300)
    log.retain({ clicks: { bytes: 1_000 } })
    await log.retained()
    expect((await left('clicks')).length).toBeLessThan(150)
    expect(await left('views')).toHaveLength(300)
    await log.close()
  })

  it('compacts a table when as much is new as is left, and loses no row', async () => {
    const { log, append, left, events } = await open(seal)
    log.retain({ orders: { ms: minutes(30) } })
    await append(0, 300)
    const kept = await left('orders')
    expect(kept.length).toBeLessThan(120)
    const rows = new Map(kept.map(({ after }) => [after?.['id'], after?.['cents']]))
    expect(rows).toEqual(new Map(Array.from({ length: 5 }, (_, id) => [id, 295 + id])))
    expect(await left('clicks')).toHaveLength(300)
    expect(events.some(({ event }) => event === 'log-cleaned')).toBe(true)
    await log.close()
  })

  it('tries again after a full disk', async () => {
    const { log, append, left, disk, events } = await open(seal)
    await append(0, 200)
    disk.fault = (_, path) => (/\.\d+\.sealed/.test(path) ? systemError('ENOSPC', 'no room') : undefined)
    log.retain({ clicks: { ms: minutes(10) } })
    await log.retained()
    expect(events.at(-1)).toEqual({ event: 'log-clean-failed', message: 'no room' })
    expect(await left('clicks')).toHaveLength(200)
    disk.fault = () => undefined
    await append(200, 240)
    expect((await left('clicks')).length).toBeLessThan(100)
    await log.close()
  })
})

describe('retain', () => {
  it('is an option of topics and tables, and must say something', () => {
    const value = z.object({ id: z.int() })
    const shop = postgres('shop', { url: 'postgres://localhost/shop' })
    expect(topic('a', { key: 'id', value, retain: { ms: days(30), bytes: 10e9 } })).toMatchObject({
      retain: { ms: 2_592_000_000, bytes: 10e9 },
    })
    expect(topic('a', { key: 'id', value, retain: { ms: 1 } }).upcast(1, value, {})).toMatchObject({
      retain: { ms: 1 },
    })
    expect(shop.table('orders', { key: 'id', row: value, retain: { ms: hours(1) } })).toMatchObject({
      retain: { ms: 3_600_000 },
    })
    for (const retain of [{}, { ms: 0 }, { bytes: -1 }, { ms: Number.NaN }, { ms: Number.POSITIVE_INFINITY }]) {
      const refused = expect.objectContaining({ code: 'DEFINITION_INVALID' })
      expect(() => topic('a', { key: 'id', value, retain })).toThrow(refused)
      expect(() => shop.table('orders', { key: 'id', row: value, retain })).toThrow(refused)
    }
  })
})
