// A disk that refuses: full, failing, read-only. Nothing acknowledged is lost, nothing refused is kept, and appends go on when
// the disk does.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type Log, type LogEvent, type LogTopic, openEmbeddedLog } from '../../../core/index.ts'
import { appendMarkers, markersContract, wholeBatches } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const PATH = '/log'

async function opened(segmentBytesMax = 100_000) {
  const disk = new SimulatedDisk()
  const events: LogEvent[] = []
  const log = await openEmbeddedLog({
    path: PATH,
    fileSystem: disk,
    segmentBytesMax,
    onEvent: event => events.push(event),
  })
  const topic = await log.topic(markersContract)
  await appendMarkers(log, topic, 1, 2)
  return { disk, log, topic, events }
}

const segments = (path: string) => path.endsWith('.segment')

/** Appends again: in a later turn, since what is committed in the turn of a refusal is refused too. */
async function appendLater(log: Log, topic: LogTopic, n: number) {
  await nextTurn()
  return appendMarkers(log, topic, n, 2)
}

/** Settled results as codes. */
const codes = (results: readonly PromiseSettledResult<unknown>[]) =>
  results.map(result => (result.status === 'fulfilled' ? 'ok' : (result.reason as { code: string }).code))

describe('a full disk', () => {
  it.each(['ENOSPC', 'EDQUOT'])(
    'refuses all that is queued (%s), keeps none of it, and is writable when space returns',
    async code => {
      const { disk, log, topic, events } = await opened()
      const length = disk.bytes(`${PATH}/00000000000000000001.segment`).length
      disk.fault = (operation, path) => (operation === 'write' && segments(path) ? systemError(code) : undefined)
      const crashed: SimulatedDisk[] = []
      // The power goes right after the answer.
      const append = (n: number) =>
        appendMarkers(log, topic, n, 2).catch(error => {
          for (let seed = 0; seed < 40; seed++) crashed.push(disk.crash(new Random(seed)))
          throw error
        })
      const refused = await Promise.allSettled([append(2), append(3)])
      expect(codes(refused)).toEqual(['LOG_FULL', 'LOG_FULL'])
      expect(log.status()).toMatchObject({ state: 'full', end: 2 })
      expect(await wholeBatches(log)).toEqual([1])
      // The part that was written is cut off again, and no crash brings it back.
      expect(disk.bytes(`${PATH}/00000000000000000001.segment`)).toHaveLength(length)
      for (const crash of crashed) {
        const after = await openEmbeddedLog({ path: PATH, fileSystem: crash })
        expect(await wholeBatches(after)).toEqual([1])
        await after.close()
      }
      disk.fault = () => undefined
      expect(await appendLater(log, topic, 2)).toEqual({ first: 3, last: 4 })
      expect(log.status().state).toBe('open')
      expect(events.map(({ event }) => event)).toEqual(['log-full', 'log-open'])
      await log.close()
      const again = await openEmbeddedLog({ path: PATH, fileSystem: disk.crash() })
      expect(await wholeBatches(again)).toEqual([1, 2])
    },
  )

  it('is the same when only the next segment finds no room', async () => {
    const { disk, log, topic } = await opened(100)
    disk.fault = (operation, path) => (operation === 'create' && segments(path) ? systemError('ENOSPC') : undefined)
    await expect(appendMarkers(log, topic, 2, 2)).rejects.toMatchObject({ code: 'LOG_FULL' })
    disk.fault = (operation, path) => (operation === 'write' && segments(path) ? systemError('ENOSPC') : undefined)
    await expect(appendMarkers(log, topic, 2, 2)).rejects.toMatchObject({ code: 'LOG_FULL' })
    disk.fault = () => undefined
    await appendLater(log, topic, 2)
    expect(await wholeBatches(log)).toEqual([1, 2])
    await log.close()
    const again = await openEmbeddedLog({ path: PATH, fileSystem: disk.crash() })
    expect(await wholeBatches(again)).toEqual([1, 2])
  })

  it('does not keep the log from being opened and read', async () => {
    const { disk, log, topic } = await opened()
    await appendMarkers(log, topic, 2, 2)
    const full = disk.crash()
    full.fault = operation => (operation === 'create' || operation === 'write' ? systemError('ENOSPC') : undefined)
    const again = await openEmbeddedLog({ path: PATH, fileSystem: full })
    expect(await wholeBatches(again)).toEqual([1, 2])
    await again.close()
    await expect(openEmbeddedLog({ path: '/other', fileSystem: full })).rejects.toMatchObject({ code: 'LOG_FULL' })
  })

  it('refuses a new topic and takes it later', async () => {
    const disk = new SimulatedDisk()
    const log = await openEmbeddedLog({ path: PATH, fileSystem: disk })
    disk.fault = () => systemError('ENOSPC')
    await expect(log.topic(markersContract)).rejects.toMatchObject({ code: 'LOG_FULL' })
    expect(log.findTopic(markersContract.name)).toBeUndefined()
    disk.fault = () => undefined
    await appendMarkers(log, await log.topic(markersContract), 1, 1)
    expect(log.end).toBe(1)
    await log.close()
  })
})

describe('files', () => {
  it('are all closed after segments, readers, errors and a close', async () => {
    const { disk, log, topic } = await opened(400)
    let n = 2
    for (const [code, failing] of [
      ['ENOSPC', 'write'],
      ['EIO', 'datasync'],
      ['ENOSPC', 'create'],
    ] as const) {
      for (const last = n + 6; n < last; n++) await appendLater(log, topic, n)
      disk.fault = (operation, path) => (operation === failing && segments(path) ? systemError(code) : undefined)
      const refused = () =>
        appendLater(log, topic, n).then(
          () => n++ < 0,
          () => true,
        )
      while (!(await refused())) expect(n).toBeLessThan(100)
      disk.fault = () => undefined
    }
    expect(await wholeBatches(log)).toHaveLength(n - 1)
    const reader = log.read(0)
    await reader.ready()
    await log.close()
    expect(disk.filesOpen).toBe(0)
  })
})

describe('a failing disk', () => {
  it.each(['EIO', 'ENOSPC'])(
    'is never asked again for an fdatasync that failed with %s: the file is opened anew and cut',
    async code => {
      const { disk, log, topic, events } = await opened()
      const from = disk.trace.length
      let failures = 0
      disk.fault = (operation, path) =>
        operation === 'datasync' && segments(path) && failures++ === 0 ? systemError(code) : undefined
      const refused = await Promise.allSettled([appendLater(log, topic, 2), appendMarkers(log, topic, 3, 2)])
      expect(codes(refused)).toEqual(['LOG_FAILED', 'LOG_FAILED'])
      expect(await appendLater(log, topic, 4)).toEqual({ first: 3, last: 4 })
      expect(log.status().state).toBe('open')
      const steps = disk.trace.slice(from).map(step => step.split(' ')[0])
      expect(steps).toEqual(['write', 'datasync', 'truncate', 'datasync', 'write', 'datasync'])
      expect(events.map(({ event }) => event)).toEqual(['log-failed', 'log-open'])
      expect(await wholeBatches(log)).toEqual([1, 4])
      await log.close()
      const again = await openEmbeddedLog({ path: PATH, fileSystem: disk.crash() })
      expect(await wholeBatches(again)).toEqual([1, 4])
    },
  )

  it('refuses a later batch of the same turn too: no transaction stands in the log without the one before', async () => {
    const { disk, log, topic } = await opened()
    disk.fault = operation => (operation === 'write' ? systemError('EIO') : undefined)
    const later = appendMarkers(log, topic, 2, 1).catch(() => {
      disk.fault = () => undefined
      return appendMarkers(log, topic, 3, 1)
    })
    await expect(later).rejects.toMatchObject({ code: 'LOG_FAILED' })
    expect(await wholeBatches(log)).toEqual([1])
    await log.close()
  })

  it('goes on with the next append after a write that failed', async () => {
    const { disk, log, topic } = await opened()
    disk.fault = operation => (operation === 'write' ? systemError('EIO') : undefined)
    await expect(appendMarkers(log, topic, 2, 1)).rejects.toMatchObject({ code: 'LOG_FAILED', retriable: true })
    disk.fault = () => undefined
    await appendLater(log, topic, 2)
    expect(await wholeBatches(log)).toEqual([1, 2])
    await log.close()
  })

  it('stays failed while it cannot be opened again, and tries with each append', async () => {
    const { disk, log, topic } = await opened()
    disk.fault = (operation, path) => (segments(path) ? systemError('EROFS', `read-only: ${operation}`) : undefined)
    for (let n = 0; n < 3; n++) await expect(appendLater(log, topic, 2)).rejects.toMatchObject({ code: 'LOG_FAILED' })
    expect(log.status().state).toBe('failed')
    expect(await wholeBatches(log)).toEqual([1])
    disk.fault = () => undefined
    await appendLater(log, topic, 2)
    expect(log.status().state).toBe('open')
    await log.close()
  })

  it('closes while it is failing', async () => {
    const { disk, log, topic } = await opened()
    disk.fault = () => systemError('EIO')
    await expect(appendMarkers(log, topic, 2, 1)).rejects.toMatchObject({ code: 'LOG_FAILED' })
    await log.close()
    disk.fault = () => undefined
    const again = await openEmbeddedLog({ path: PATH, fileSystem: disk })
    expect(await wholeBatches(again)).toEqual([1])
    await again.close()
  })

  it('refuses to open in a folder that cannot be written', async () => {
    const disk = new SimulatedDisk()
    disk.fault = () => systemError('EROFS', 'read-only file system')
    await expect(openEmbeddedLog({ path: PATH, fileSystem: disk })).rejects.toMatchObject({
      code: 'DATA_DIR_INVALID',
      detail: expect.stringContaining('read-only'),
    })
    disk.fault = () => undefined
    await (await openEmbeddedLog({ path: PATH, fileSystem: disk })).close()
  })
})
