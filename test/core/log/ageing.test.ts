// History that goes although little happens: the newest segment is closed when something in it is older than it is to become.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, hours, type LogEvent, minutes, openEmbeddedLog } from '../../../core/index.ts'
import { batchesOf } from '../../support/log-batches.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const clicks = compileContract('clicks', 'topic', z.object({ user: z.string(), n: z.int() }), 'user')
const views = compileContract('views', 'topic', z.object({ user: z.string() }), 'user')
const KEEP = { clicks: { ms: hours(1) } }

async function open(disk = new SimulatedDisk(), world = { now: minutes(1) }) {
  const events: LogEvent[] = []
  const log = await openEmbeddedLog({
    path: '/log',
    fileSystem: disk,
    clock: () => world.now,
    onEvent: event => events.push(event),
  })
  const topics = { clicks: await log.topic(clicks), views: await log.topic(views) }
  const append = async (name: 'clicks' | 'views', n = 0) => {
    const batch = log.batch()
    batch.event(topics[name], name === 'clicks' ? { user: 'ada', n } : { user: 'ada' })
    await batch.commit({ source: 'shop', position: String(n) })
  }
  /** What happens once a minute. */
  const look = async () => {
    log.retain(KEEP)
    await log.retained()
  }
  const at = (now: number) => {
    world.now = now
    return look()
  }
  const left = async () =>
    (await batchesOf(log)).flatMap(({ records }) => records.map(({ topic, position }) => [topic, position]))
  return { log, disk, events, append, at, left, world, segments: () => log.status().segments }
}

describe('a quiet log', () => {
  it('closes its segment when an event is too old, and removes it not much later', async () => {
    const { log, append, at, left, segments } = await open()
    await append('clicks', 1)
    await append('views')
    await at(minutes(60))
    expect(segments()).toBe(1)
    await at(minutes(62))
    expect(segments()).toBe(2)
    expect(await left()).toHaveLength(2)
    await at(minutes(100))
    expect(await left()).toEqual([['views', 2]])
    expect(log.base.topics.get('clicks')).toEqual({ trimmedTo: 2 })
    await append('clicks', 2)
    expect(await left()).toEqual([
      ['views', 2],
      ['clicks', 3],
    ])
    expect(await log.lastVersion(log.findTopic('clicks')!, 'ada')).toBe(2)
    await log.close()
  })

  it('closes none for what has no age, nor one without records', async () => {
    const { log, append, at, segments, disk } = await open()
    await append('views')
    for (let n = 0; n < 5; n++) await log.batch().commit({ source: 'shop', position: String(n) })
    await at(hours(50))
    expect(segments()).toBe(1)
    await append('clicks')
    await at(hours(52))
    expect(segments()).toBe(2)
    for (let n = 0; n < 5; n++) await log.batch().commit({ source: 'shop', position: `x${n}` })
    const { operations } = disk
    for (let hour = 60; hour < 70; hour++) await at(hours(hour))
    // The one cleaning, and nothing more.
    expect(segments()).toBe(2)
    expect(disk.operations - operations).toBeLessThan(20)
    await log.close()
  })

  it('finds the first event behind others, and reads on only as far as one may be old enough', async () => {
    const { log, append, at, world, segments } = await open()
    for (let n = 0; n < 30; n++) {
      world.now = minutes(n)
      await append(n < 20 ? 'views' : 'clicks', n)
    }
    await at(minutes(79))
    expect(segments()).toBe(1)
    await at(minutes(81))
    expect(segments()).toBe(2)
    await log.close()
  })

  it('closes no more than some small segments while nothing of them may be removed', async () => {
    const { log, append, at, segments } = await open()
    const hold = log.hold('view totals', 0)
    for (let n = 0; n < 40; n++) {
      await append('clicks', n)
      await at(hours(2 * n + 2))
    }
    expect(segments()).toBe(17)
    hold.release()
    await at(hours(100))
    await at(hours(102))
    expect(segments()).toBeLessThan(4)
    await log.close()
  })
})

/** Two clicks and a view long ago; then the segment is closed for their age, and cleaned; then another click. */
async function story(disk: SimulatedDisk, world = { now: minutes(1) }, acknowledged: number[] = []): Promise<void> {
  const { append, at, log } = await open(disk, world)
  const add = async (name: 'clicks' | 'views', n: number) => {
    await append(name, n)
    acknowledged.push(n)
  }
  await add('views', 1)
  await add('clicks', 2)
  await at(minutes(70))
  await add('views', 3)
  await at(minutes(200))
  await add('views', 4)
  await log.close()
}

/** Views are all there, in order; the click may be gone. */
async function check(disk: SimulatedDisk, acknowledged: readonly number[], message: string): Promise<void> {
  const { log, append, left } = await open(disk, { now: hours(9) })
  const views = (await left()).filter(([topic]) => topic === 'views').map(([, position]) => position as number)
  const wanted = acknowledged.filter(n => n !== 2)
  expect(views.slice(0, wanted.length), message).toEqual(wanted)
  expect(views.length - wanted.length, message).toBeLessThan(2)
  const { end } = log
  await append('views', 9)
  expect(log.end).toBe(end + 1)
  await log.close()
}

describe('a segment that is closed for its age', () => {
  it('loses nothing when killed at any operation, whatever the crash leaves', async () => {
    const whole = new SimulatedDisk()
    await story(whole)
    expect(whole.trace.filter(each => each.startsWith('create') && each.endsWith('.segment'))).toHaveLength(2)
    for (let killAt = 8; killAt < whole.operations; killAt++) {
      const disk = new SimulatedDisk()
      disk.killAt = killAt
      const acknowledged: number[] = []
      await Promise.race([story(disk, undefined, acknowledged), disk.died])
      for (const tear of [undefined, new Random(killAt), new Random(killAt + 1_000)])
        await check(disk.crash(tear), acknowledged, `killed at ${killAt}`)
      await check(disk.kill(), acknowledged, `killed at ${killAt}`)
    }
  })

  it.each(['EIO', 'ENOSPC'])('takes nothing with it where that fails (%s), and appends go on', async code => {
    let failed = 0
    for (let after = 0, done = false; !done; after++) {
      const { disk, append, at, log, left, events } = await open()
      await append('views')
      await append('clicks')
      const failAt = disk.operations + after + 1
      disk.fault = () => (disk.operations === failAt ? systemError(code) : undefined)
      await at(minutes(70))
      const third = await append('views').catch((error: { code: string }) => error.code)
      done = disk.operations < failAt
      disk.fault = () => undefined
      // What is committed in the same turn is refused with it.
      await nextTurn()
      if (third) expect(third).toMatch(/LOG_F/)
      if (third) await append('views')
      if (events.some(({ event }) => event === 'log-failed' || event === 'log-full')) failed++
      const views = (await left()).filter(([topic]) => topic === 'views')
      expect(views, `failed at ${after}`).toEqual([
        ['views', 1],
        ['views', 3],
      ])
      await check(disk.crash(new Random(after)), [1, 3], `failed at ${after}`)
      await log.close()
    }
    expect(failed).toBeGreaterThan(3)
  })
})
