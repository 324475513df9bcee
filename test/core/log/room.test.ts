// The log's limit and the floor of free space: what is refused, what is said, and that it ends by itself.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type EmbeddedLog, type EmbeddedLogOptions, type LogEvent, openEmbeddedLog } from '../../../core/index.ts'
import { appendMarkers, markersContract, wholeBatches } from '../../support/log-records.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const PATH = '/log'
const KB = 'f'.repeat(1_000)
const MIB = 1024 * 1024

let log: EmbeddedLog
afterEach(() => log.close())

async function opened(options: Partial<EmbeddedLogOptions>, disk = new SimulatedDisk()) {
  const events: LogEvent[] = []
  log = await openEmbeddedLog({
    path: PATH,
    fileSystem: disk,
    roomCheckMs: 1,
    onEvent: event => events.push(event),
    ...options,
  })
  const topic = await log.topic(markersContract)
  const said: (string | null)[] = []
  log.onPressure(pressure => said.push(pressure))
  return {
    disk,
    said,
    append: (n: number, filler = KB) => appendMarkers(log, topic, n, 1, filler),
    names: () => events.map(({ event }) => event),
    events,
  }
}

/** Appends about 1.1 kB at a time; the number of the first refused one. */
async function fill(append: (n: number) => Promise<unknown>, from = 1): Promise<number> {
  for (let n = from; ; n++) {
    const refused = await append(n).then(
      () => false,
      error => error.code === 'LOG_FULL' || Promise.reject(error),
    )
    if (refused) return n
  }
}

describe('a log with a limit', () => {
  it('says that it is nearly full, refuses what would pass the limit before a byte is written, and is read', async () => {
    const { disk, append, said, events } = await opened({ bytesMax: 100_000 })
    expect(log.status()).toMatchObject({ state: 'open', bytesMax: 100_000, waitingFor: null })
    const first = await fill(append)
    expect(log.status().bytes).toBeGreaterThan(98_000)
    expect(log.status().bytes).toBeLessThanOrEqual(100_000)
    expect(log.status()).toMatchObject({
      state: 'limited',
      waitingFor: expect.stringMatching(/^room in the log: (99|100)/),
    })
    expect(events).toMatchObject([
      {
        event: 'log-nearly-full',
        bytesMax: 100_000,
        message: expect.stringMatching(/^room in the log: 9\d(\.\d)? of 100 kB$/),
      },
      { event: 'log-limited', bytesMax: 100_000 },
    ])
    expect(said).toEqual([expect.stringContaining('of 100 kB')])
    const { length } = disk.trace
    await nextTurn()
    await expect(append(first)).rejects.toMatchObject({
      code: 'LOG_FULL',
      status: 507,
      retriable: true,
      detail: expect.stringMatching(/^the log has 9\d(\.\d)? of 100 kB, this append 1\.\d kB$/),
      hint: expect.stringMatching(/--log-limit.*`retain`.*`mainstem log trim`/),
    })
    expect(disk.trace).toHaveLength(length)
    expect(await wholeBatches(log)).toEqual(Array.from({ length: first - 1 }, (_, n) => n + 1))
  })

  it('refuses all that is queued with what passes the limit: no transaction stands without the one before', async () => {
    const { append } = await opened({ bytesMax: 100_000 })
    const results = await Promise.allSettled([append(1, 'f'.repeat(99_900)), append(2, ''), append(3, '')])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(log.end).toBe(0)
  })

  it('refuses one batch that is too large and stays open for others', async () => {
    const { append, names } = await opened({ bytesMax: 100_000 })
    await expect(append(1, 'f'.repeat(100_000))).rejects.toMatchObject({
      code: 'LOG_FULL',
      data: { bytesMax: 100_000 },
    })
    expect(log.status().state).toBe('open')
    await nextTurn()
    await append(2)
    expect(names()).toEqual([])
  })

  it('takes a batch that ends exactly at the limit, and no byte more', async () => {
    const disk = new SimulatedDisk()
    const measured = await opened({}, disk)
    await measured.append(1)
    const { bytes } = log.status()
    await log.close()
    for (const [bytesMax, fits] of [
      [bytes, true],
      [bytes - 1, false],
    ] as const) {
      const { append } = await opened({ bytesMax })
      expect(
        await append(1).then(
          () => true,
          () => false,
        ),
      ).toBe(fits)
      await log.close()
    }
  })

  it('opens beyond its limit: limited, to be read; and takes appends again after the limit was raised', async () => {
    const first = await opened({})
    for (let n = 1; n <= 20; n++) await first.append(n)
    await log.close()
    const second = await opened({ bytesMax: 10_000 }, first.disk)
    expect(log.status()).toMatchObject({ state: 'limited', bytesLeft: 0 })
    expect(log.pressure).toMatch(/^room in the log: 2\d\.?\d? of 10 kB$/)
    await expect(second.append(21)).rejects.toMatchObject({ code: 'LOG_FULL' })
    expect(await wholeBatches(log)).toHaveLength(20)
    await log.close()
    const third = await opened({ bytesMax: 100_000 }, first.disk)
    expect(log.pressure).toBeNull()
    await third.append(21)
  })

  it('takes appends again when sealing has made room, and lets sources go on later than that', async () => {
    const { disk, append } = await opened({ bytesMax: 100_000, segmentBytesMax: 10_000, seal: false })
    await fill(append)
    await log.close()
    const sealing = await opened({ bytesMax: 100_000, segmentBytesMax: 10_000 }, disk)
    await log.room()
    await vi.waitFor(() => expect(log.pressure).toBeNull(), { timeout: 30_000 })
    expect(log.status().state).toBe('open')
    expect(sealing.names().at(-1)).toBe('log-open')
    await sealing.append(1_000)
  })
})

describe('room()', () => {
  it('is there at once in an open log, ends with its signal, and with the log', async () => {
    const { append } = await opened({ bytesMax: 100_000 })
    await log.room()
    await log.room({ bytes: 50_000 })
    const aborting = new AbortController()
    const waiting = log.room({ bytes: 500_000, signal: aborting.signal })
    aborting.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await expect(log.room({ signal: aborting.signal })).rejects.toThrow('enough')
    await fill(append)
    const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
    const before = timers()
    const closing = log.room()
    expect(timers(), 'who waits keeps the process alive').toBe(before + 1)
    await log.close()
    await closing
    expect(timers()).toBe(before)
  })
})

describe('the floor of free space', () => {
  it('is left free by appends, and what others write is seen within a MiB', async () => {
    const { disk, append, names } = await opened({ freeBytesMin: 5 * MIB, segmentBytesMax: 2 * MIB, seal: false })
    await append(1)
    disk.capacityBytes = 12 * MIB
    const blob = 'f'.repeat(300_000)
    let n = 2
    while (log.pressure === null) await append(n++, blob)
    expect(log.pressure).toMatch(/^room on the volume of the log: 5\.\d MB left, 5\.2 MB of them stay free$/)
    expect(log.status().state).toBe('open')
    n = await fill(each => append(each, blob), n)
    expect(log.status().state).toBe('limited')
    const { free } = await disk.space()
    expect(free).toBeGreaterThanOrEqual(5 * MIB)
    expect(free).toBeLessThan(5.5 * MIB)
    // Others free some: appends first, sources when there is more.
    disk.capacityBytes += MIB / 2
    await log.room()
    expect(log.pressure).not.toBeNull()
    disk.capacityBytes += MIB
    await vi.waitFor(() => expect(log.pressure).toBeNull(), { timeout: 30_000 })
    await append(n, blob)
    expect(names()).toEqual(['log-nearly-full', 'log-limited', 'log-nearly-full', 'log-open'])
    expect(await wholeBatches(log)).toHaveLength(n)
  })

  it('is what is named where the volume is short, though the limit leaves less', async () => {
    const disk = new SimulatedDisk()
    disk.capacityBytes = 10 * MIB
    await opened({ freeBytesMin: 9.8 * MIB, bytesMax: 100_000 }, disk)
    expect(log.pressure).toMatch(/^room on the volume of the log: 10\.5 MB left, 10\.3 MB of them stay free$/)
  })

  it('is by default 256 MiB, a twentieth of a small volume, and nothing where asked', async () => {
    for (const [capacityBytes, options, left] of [
      [100 * 1024 * MIB, {}, (100 * 1024 - 256) * MIB],
      [1024 * MIB, {}, 1024 * 0.95 * MIB],
      [1024 * MIB, { freeBytesMin: 0 }, 1024 * MIB],
    ] as const) {
      const disk = new SimulatedDisk()
      disk.capacityBytes = capacityBytes
      await opened(options, disk)
      expect(Math.abs((log.status().bytesLeft ?? 0) - left)).toBeLessThan(5_000)
      await log.close()
    }
  })

  it('does not count where the volume cannot be asked', async () => {
    const disk = new SimulatedDisk()
    disk.space = () => Promise.reject(systemError('ENOSYS'))
    const { append } = await opened({}, disk)
    await append(1)
    expect(log.status()).toMatchObject({ state: 'open', bytesLeft: null })
  })
})

describe('a disk that is full whatever its figures say', () => {
  it('is tried with a write of what was refused, not by spinning, and is told of once', async () => {
    const { disk, append, names } = await opened({})
    await append(1)
    let least = Number.POSITIVE_INFINITY
    disk.fault = operation => (operation === 'write' && least > 0 ? systemError('EDQUOT') : undefined)
    await expect(append(2)).rejects.toMatchObject({ code: 'LOG_FULL' })
    expect(log.status()).toMatchObject({ state: 'full', waitingFor: 'room on the disk of the log' })
    const { length } = disk.trace
    await vi.waitFor(() =>
      expect(disk.trace.filter((step, n) => n >= length && step.startsWith('write')).length).toBeGreaterThan(2),
    )
    expect(log.status().state).toBe('full')
    const waiting = log.room()
    least = 0
    await waiting
    expect(log.status()).toMatchObject({ state: 'open', waitingFor: null })
    await append(2)
    expect(names()).toEqual(['log-full', 'log-open'])
    expect(await wholeBatches(log)).toEqual([1, 2])
    // What was tried is gone from the file.
    expect(disk.bytes(`${PATH}/00000000000000000001.segment`)).toHaveLength(log.status().bytes)
  })

  it('loses nothing where the power goes while it is tried', async () => {
    const { disk, append } = await opened({})
    await append(1)
    const writes: SimulatedDisk[] = []
    let full = true
    disk.fault = (operation, path) => {
      if (!path.endsWith('.segment')) return undefined
      if (operation === 'truncate') writes.push(disk.kill())
      return operation === 'write' && full ? systemError('ENOSPC') : undefined
    }
    await expect(append(2)).rejects.toMatchObject({ code: 'LOG_FULL' })
    full = false
    await log.room()
    expect(writes.length).toBeGreaterThan(1)
    await log.close()
    for (const left of writes) {
      await opened({}, left)
      expect(await wholeBatches(log)).toEqual([1])
      await log.close()
    }
  })
})
