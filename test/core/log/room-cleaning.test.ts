// A log that is short of room and may remove history helps itself; a cleaning that would not fit on the volume says so beforehand.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import {
  compileContract,
  type EmbeddedLog,
  type EmbeddedLogOptions,
  type LogEvent,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { batchesOf } from '../../support/log-batches.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const value = z.object({ user: z.string(), filler: z.string() })
const clicks = compileContract('clicks', 'topic', value, 'user')
const views = compileContract('views', 'topic', value, 'user')

let log: EmbeddedLog
afterEach(() => log.close())

async function opened(options: Partial<EmbeddedLogOptions>) {
  const disk = new SimulatedDisk()
  const events: LogEvent[] = []
  log = await openEmbeddedLog({
    path: '/log',
    fileSystem: disk,
    seal: false,
    compression: 'none',
    segmentBytesMax: 20_000,
    freeBytesMin: 0,
    roomCheckMs: 1,
    onEvent: event => events.push(event),
    ...options,
  })
  const topics = [await log.topic(clicks), await log.topic(views)] as const
  /** About 400 bytes, a quarter of them of the topic that may go. */
  const append = async () => {
    const batch = log.batch()
    batch.event(topics[0], { user: 'ada', filler: 'f'.repeat(60) })
    batch.event(topics[1], { user: 'ada', filler: 'f'.repeat(200) })
    await batch.commit()
  }
  const count = async (name: string) =>
    (await batchesOf(log)).flatMap(({ records }) => records).filter(({ topic }) => topic === name).length
  const names = () => events.map(({ event }) => event)
  return { disk, events, names, append, count }
}

/** Bytes of all files. */
const space = (disk: SimulatedDisk): number => disk.paths.reduce((sum, path) => sum + disk.bytes(path).length, 0)

/** Until it is refused; how many were taken. */
async function fill(append: () => Promise<void>, most: number): Promise<number> {
  for (let n = 0; n < most; n++) {
    const code = await append().then(
      () => undefined,
      (error: { code: string }) => error.code,
    )
    if (code === 'LOG_FULL') return n
    expect(code).toBeUndefined()
  }
  return most
}

describe('a log with a limit and topics that keep only so much', () => {
  it('removes what it may as soon as it is nearly full, though that would not pay yet, and appends go on', async () => {
    const { append, count, names } = await opened({ bytesMax: 60_000 })
    log.retain({ clicks: { bytes: 1 } })
    while (!names().includes('log-nearly-full')) {
      // Not before: a segment's worth would have to come of it.
      expect(names()).toEqual([])
      await append()
    }
    await log.retained()
    expect(names().slice(0, 3)).toEqual(['log-nearly-full', 'log-open', 'log-cleaned'])
    expect(await count('clicks')).toBeLessThan((await count('views')) * 0.6)
    expect(log.pressure).toBeNull()
  })

  it('recovers from the limit when views have come far enough, and whoever waits for room goes on', async () => {
    const { append, names } = await opened({ bytesMax: 60_000 })
    log.retain({ clicks: { bytes: 1 } })
    const hold = log.hold('view totals', 0)
    const taken = await fill(append, 1_000)
    await log.retained()
    expect(log.status().state).toBe('limited')
    expect(names()).not.toContain('log-cleaned')
    const room = log.room({ bytes: 5_000 })
    hold.move(log.end)
    await room
    await log.retained()
    expect(names()).toContain('log-cleaned')
    expect(log.status()).toMatchObject({ state: 'open' })
    expect(await fill(append, 5)).toBe(5)
    expect(log.end).toBe((taken + 5) * 2)
  })

  it('does not read itself again and again where nothing comes of it', async () => {
    const { append, names } = await opened({ bytesMax: 60_000 })
    const table = await log.topic(compileContract('rows', 'table', z.object({ id: z.int() }), 'id'))
    const rows = log.batch()
    for (let id = 0; id < 100; id++) rows.insert(table, { id })
    await rows.commit()
    await fill(append, 1_000)
    log.retain({ rows: { bytes: 1 } })
    await log.retained()
    const clean = vi.spyOn(log, 'clean')
    log.retain({ rows: { bytes: 1 } })
    await log.retained()
    expect([clean.mock.calls.length, log.base.generation, names().includes('log-cleaned')]).toEqual([0, 0, false])
  })

  it('has segments of a 16th of it, so that there are closed ones to clean', async () => {
    const disk = new SimulatedDisk()
    log = await openEmbeddedLog({ path: '/log', fileSystem: disk, bytesMax: 40_000_000, freeBytesMin: 0, seal: false })
    const topic = await log.topic(views)
    while (log.status().segments === 1) {
      const batch = log.batch()
      for (let n = 0; n < 50; n++) batch.event(topic, { user: 'ada', filler: 'f'.repeat(10_000) })
      await batch.commit()
    }
    expect(log.status().bytes).toBeGreaterThan(2_500_000)
    expect(log.status().bytes).toBeLessThan(4_000_000)
  })
})

describe('a cleaning for which the volume has no room', () => {
  it('says before it writes what is missing, and is done when there is room', async () => {
    const { disk, append, count, events } = await opened({ freeBytesMin: 10_000 })
    for (let n = 0; n < 200; n++) await append()
    const used = space(disk)
    disk.capacityBytes = used + 30_000
    const { operations } = disk
    const refused = await log.clean({ trim: { clicks: 1_000 } }).catch((error: unknown) => error)
    expect(refused).toMatchObject({
      code: 'LOG_FULL',
      retriable: true,
      detail: expect.stringMatching(
        /^it would write about [3-5]\d(\.\d)? kB, 20 kB are left on the volume above what stays free$/,
      ),
    })
    expect(events.at(-1)).toMatchObject({
      event: 'log-clean-waits',
      bytesLeft: 20_000,
      wantedBytes: expect.any(Number),
      message: expect.stringContaining('no room to clean the log: it would write about'),
    })
    expect([disk.operations, log.base.generation]).toEqual([operations, 0])
    disk.capacityBytes = used + 100_000
    await log.clean({ trim: { clicks: 1_000 } })
    expect(await count('clicks')).toBeLessThan(60)
  })

  it('goes on where nothing has to be written: what is removed whole needs no room', async () => {
    const { disk, events } = await opened({ freeBytesMin: 10_000 })
    const topic = log.findTopic('clicks')!
    for (let n = 0; n < 200; n++) {
      const batch = log.batch()
      batch.event(topic, { user: 'ada', filler: 'f'.repeat(200) })
      await batch.commit()
    }
    disk.capacityBytes = space(disk) + 12_000
    const { recordsAfter } = await log.clean({ trim: { clicks: 1_000 } })
    expect([recordsAfter, events.at(-1)?.event]).toEqual([0, 'log-cleaned'])
  })
})
