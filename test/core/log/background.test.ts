// The log's jobs in their own thread: sealing over real files, what is broken off, and a thread that dies.
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import { WorkerBackground } from '../../../core/log/background.ts'
import type { SealJob } from '../../../core/log/sealed/seal-job.ts'
import { allRecords } from '../../support/log-records.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const notes = compileContract('notes', 'topic', z.object({ id: z.int(), text: z.string() }), 'id')

async function fill(log: EmbeddedLog, batches: number): Promise<void> {
  const topic = await log.topic(notes)
  for (let n = 0; n < batches; n++) {
    const batch = log.batch()
    for (let id = 0; id < 20; id++) batch.event(topic, { id, text: `note ${n} `.repeat(10) })
    await batch.commit()
  }
}

describe('sealing in a thread of its own', () => {
  let path: string
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'mainstem-background-'))
  })
  afterEach(() => rmSync(path, { recursive: true }))
  const names = (end: string) => readdirSync(path).filter(name => name.endsWith(end))
  const open = (events: string[] = [], seal = true) =>
    openEmbeddedLog({ path, seal, segmentBytesMax: 20_000, onEvent: ({ event }) => events.push(event) })

  it('leaves what was appended, in sealed files, beside appends that go on', async () => {
    const events: string[] = []
    const log = await open(events)
    await fill(log, 60)
    const appended = await allRecords(log)
    await log.sealed()
    expect(names('.segment')).toHaveLength(1)
    expect(names('.sealed').length).toBeGreaterThan(3)
    expect(await allRecords(log)).toEqual(appended)
    await log.close()
    expect(events).toEqual([])
    const again = await open()
    expect(await allRecords(again)).toEqual(appended)
    await again.close()
  })

  it('ends at once when the log closes, leaving hot segments whole and no unfinished file', async () => {
    const hot = await open([], false)
    await fill(hot, 60)
    const appended = await allRecords(hot)
    await hot.close()
    const events: string[] = []
    const log = await open(events)
    await log.close()
    expect(names('.tmp')).toEqual([])
    expect(events).toEqual([])
    const again = await open()
    await again.sealed()
    expect(await allRecords(again)).toEqual(appended)
    await again.close()
  })

  it('names what it could not do and leaves the hot segment', async () => {
    const hot = await open([], false)
    await fill(hot, 30)
    await hot.close()
    const damaged = join(path, names('.segment')[0]!)
    const bytes = readFileSync(damaged)
    bytes[bytes.length - 40]! ^= 1
    writeFileSync(damaged, bytes)
    const failures: string[] = []
    const log = await openEmbeddedLog({
      path,
      segmentBytesMax: 20_000,
      onEvent: event => {
        if (event.event === 'log-seal-failed') failures.push(event.message)
      },
    })
    await log.sealed()
    expect(failures).toEqual([expect.stringContaining('damaged')])
    expect(names('.sealed')).toEqual([])
    await log.close()
  })
})

describe('a background thread', () => {
  const job: SealJob = {
    identity: { id: '11111111-1111-4111-8111-111111111111', epoch: 1 },
    hot: { path: '/nowhere/1.segment', first: 1, last: 1, bytes: 100, seed: 0 },
    end: { appendTimeMs: 0, marks: new Map() },
    topics: [],
    compression: 'zstd',
    to: '/nowhere/1.sealed.tmp',
  }

  it('that dies fails its job, and the next job begins another', async () => {
    const background = new WorkerBackground(new URL('../../support/dying-worker.ts', import.meta.url))
    for (let n = 0; n < 2; n++)
      await expect(background.run('seal', job)).rejects.toThrow('the background thread ended with code 7')
    await background.close()
  })

  it('fails only the job that fails, and what runs when it is closed', async () => {
    const background = new WorkerBackground()
    await expect(background.run('seal', job)).rejects.toThrow('ENOENT')
    await expect(background.run('seal', job)).rejects.toThrow('ENOENT')
    const broken = background.run('seal', job)
    const outcome = expect(broken).rejects.toMatchObject({ code: 'LOG_CLOSED' })
    await background.close()
    await outcome
    await expect(background.run('seal', job)).rejects.toMatchObject({ code: 'LOG_CLOSED' })
  })
})

describe('a process that closes', () => {
  it('does not end before it has closed, though a job ends just then', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mainstem-background-'))
    const child = resolve(import.meta.dirname, '../../support/close-child.ts')
    for (let n = 0; n < 3; n++) {
      const { stdout } = await promisify(execFile)(process.execPath, [child, join(folder, String(n))])
      expect(stdout).toBe('closed\n')
    }
    rmSync(folder, { recursive: true })
  })
})

describe('log.json', () => {
  const LOG = '/log/log.json'
  const formatOf = (disk: SimulatedDisk) => (JSON.parse(disk.bytes(LOG).toString()) as { format: number }).format
  const options = (disk: SimulatedDisk) => ({ path: '/log', fileSystem: disk, segmentBytesMax: 20_000 })

  it('says the newest format, durably, before the first sealed segment has its name; opening alone never changes it', async () => {
    const disk = new SimulatedDisk()
    const hot = await openEmbeddedLog({ ...options(disk), seal: false })
    await fill(hot, 30)
    await hot.close()
    expect(formatOf(disk)).toBe(1)
    const read = await openEmbeddedLog({ ...options(disk), seal: false })
    await read.close()
    expect(formatOf(disk)).toBe(1)
    const sealing = disk.copy()
    const log = await openEmbeddedLog(options(sealing))
    await log.sealed()
    await log.close()
    expect(formatOf(sealing)).toBe(3)
    const raised = sealing.trace.indexOf(`rename ${LOG}`)
    const durable = sealing.trace.indexOf('syncFolder /log', raised)
    const named = sealing.trace.findIndex(step => /^rename .*\.sealed$/.test(step))
    expect(raised).toBeGreaterThan(0)
    expect(named).toBeGreaterThan(durable)
    expect(sealing.trace.filter(step => step === `rename ${LOG}`)).toHaveLength(1)
  })

  it('of a newer format is refused before anything is read', async () => {
    const disk = new SimulatedDisk()
    await (await openEmbeddedLog(options(disk))).close()
    disk.plant(LOG, Buffer.from(disk.bytes(LOG).toString().replace('"format": 1', '"format": 4')))
    await expect(openEmbeddedLog(options(disk))).rejects.toMatchObject({ code: 'LOG_FORMAT_NEWER' })
  })
})
