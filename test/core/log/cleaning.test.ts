// What a cleaning removes and what it keeps; and that it happens whole or not at all, wherever it is killed or fails.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type CleanRequest,
  CONTROL_TOPIC,
  compileContract,
  controlContract,
  type EmbeddedLog,
  estimateClean,
  LogFolder,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { batchesOf, type SeenBatch } from '../../support/log-batches.ts'
import { blocksOf } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const FOLDER = '/log'
const clicks = compileContract('clicks', 'topic', z.object({ user: z.string(), n: z.int() }), 'user')
const orders = compileContract('orders', 'table', z.object({ id: z.int(), cents: z.int() }), 'id')
const ALL: CleanRequest = { trim: { clicks: 30 }, compact: { orders: Number.POSITIVE_INFINITY } }

const open = (disk: SimulatedDisk, seal: boolean, events: string[] = []) =>
  openEmbeddedLog({
    path: FOLDER,
    fileSystem: disk,
    segmentBytesMax: 600,
    seal,
    clock: () => 1_000,
    onEvent: ({ event }) => events.push(event),
  })

/** 40 batches of an event, an order that is inserted or changed, and now and then a delete. */
async function written(seal: boolean): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk()
  const log = await open(disk, seal)
  const [events, table] = [await log.topic(clicks), await log.topic(orders)]
  for (let n = 0; n < 40; n++) {
    const batch = log.batch()
    batch.event(events, { user: `u${n % 3}`, n })
    const id = n % 7
    if (n < 7) batch.insert(table, { id, cents: n })
    else if (n % 11 === 10) {
      batch.delete(table, { id, cents: n - 7 })
      batch.insert(table, { id, cents: n })
    } else batch.update(table, { id, cents: n - 7 }, { id, cents: n })
    await batch.commit({ source: 'shop', position: String(n) })
  }
  await log.sealed()
  await log.close()
  return disk
}

interface Seen {
  readonly batches: readonly SeenBatch[]
  readonly versions: readonly number[]
  readonly stream: readonly unknown[]
  readonly end: number
  readonly mark: unknown
}

async function seen(log: EmbeddedLog): Promise<Seen> {
  const topic = log.findTopic('clicks')!
  const stream: unknown[] = []
  for await (const { position, version, event } of log.stream(topic, 'u1')) stream.push([position, version, event['n']])
  const versions = await Promise.all(['u0', 'u1', 'u2'].map(user => log.lastVersion(topic, user)))
  return { batches: await batchesOf(log), versions, stream, end: log.end, mark: log.mark('shop') }
}

function rowsOf({ batches }: Seen): ReadonlyMap<unknown, unknown> {
  const rows = new Map<unknown, unknown>()
  for (const { records } of batches) {
    for (const { topic, before, after } of records) {
      if (topic !== 'orders') continue
      if (before) rows.delete(before['id'])
      if (after) rows.set(after['id'], after['cents'])
    }
  }
  return rows
}

/** A log before a cleaning and after it. */
async function both(seal: boolean, request: CleanRequest) {
  const start = await written(seal)
  const before = await open(start.copy(), seal)
  const cleaned = start.copy()
  const after = await open(cleaned, seal)
  const report = await after.clean(request)
  const result = { start, cleaned, report, before: await seen(before), after: await seen(after), base: after.base }
  await before.close()
  await after.close()
  return result
}

describe.each([
  ['sealed', true],
  ['not sealed', false],
])('a cleaning of segments that are %s', (_, seal) => {
  it('removes events up to a position and changes that later ones made void, and keeps rows, positions and versions', async () => {
    const { before, after, report, base } = await both(seal, ALL)
    expect(report.to).toBeGreaterThan(60)
    expect(report.recordsAfter).toBeLessThan(report.recordsBefore / 2)
    expect(base).toEqual({
      generation: 1,
      to: report.to,
      changedTo: report.to,
      topics: new Map([
        ['clicks', { trimmedTo: 30 }],
        ['orders', { compactedTo: report.to }],
      ]),
    })
    expect(rowsOf(after)).toEqual(rowsOf(before))
    expect(after.versions).toEqual(before.versions)
    expect(after.stream).toEqual(before.stream.filter(each => (each as [number])[0] > 30))
    expect([after.end, after.mark]).toEqual([before.end, before.mark])
    const left = after.batches.flatMap(({ records }) => records)
    const known = new Map(before.batches.flatMap(({ records }) => records).map(each => [each.position, each]))
    for (const { position, topic, op, after: row } of left) {
      expect([topic, row]).toEqual([known.get(position)?.topic, known.get(position)?.after])
      if (topic === 'orders' && position <= report.to) expect(op).toBe('insert')
    }
    expect(before.batches.filter(({ first }) => first > report.to)).toEqual(
      after.batches.filter(({ first, records }) => first > report.to && records.length > 0),
    )
  })

  it('is found again at the next start, and nothing is left of what it replaced', async () => {
    const { cleaned, after } = await both(seal, ALL)
    const log = await open(cleaned, seal)
    expect(await seen(log)).toEqual(after)
    const { segments } = JSON.parse(cleaned.bytes('/log/base.json').toString()).content as {
      segments: { name: string }[]
    }
    const named = new Set(segments.map(({ name }) => name))
    const sealed = cleaned.paths.filter(path => path.endsWith('.sealed')).map(path => path.slice(FOLDER.length + 1))
    expect(sealed.filter(name => /\.\d+\.sealed$/.test(name) && !named.has(name))).toEqual([])
    expect(cleaned.paths.filter(path => path.endsWith('.tmp'))).toEqual([])
    expect(cleaned.paths).not.toContain('/log/00000000000000000001.segment')
    await log.close()
  })

  it('goes on from the base of an earlier one', async () => {
    const { cleaned, before } = await both(seal, { ...ALL, to: 40 })
    const log = await open(cleaned, seal)
    const report = await log.clean({ trim: { clicks: 60 }, compact: { orders: 50 } })
    expect(log.base).toMatchObject({ generation: 2, to: report.to })
    const again = await seen(log)
    expect(rowsOf(again)).toEqual(rowsOf(before))
    expect(again.versions).toEqual(before.versions)
    expect(again.stream).toEqual(before.stream.filter(each => (each as [number])[0] > 60))
    await log.close()
  })

  it('can be asked what it would remove: the records exactly, the bytes about, and nothing is written', async () => {
    const { start, report } = await both(seal, ALL)
    const disk = start.copy()
    const events: string[] = []
    const log = await open(disk, seal, events)
    const { operations } = disk
    const dry = await log.clean({ ...ALL, dryRun: true })
    const { to, recordsBefore, recordsAfter, bytesBefore } = report
    expect(dry).toMatchObject({ generation: 0, limitedBy: undefined, to, recordsBefore, recordsAfter, bytesBefore })
    expect(dry.bytesAfter).toBeLessThan(bytesBefore)
    await expect(log.clean({ trim: { orders: 1 }, dryRun: true })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    expect([disk.operations, events]).toEqual([operations, []])
    const folder = await LogFolder.open(FOLDER, disk)
    const outside = await estimateClean(folder, ALL)
    expect({ ...outside, ms: 0 }).toEqual({ ...dry, ms: 0 })
    expect(await estimateClean(folder, ALL, [{ name: 'view a', position: 1 }])).toMatchObject({
      to: 0,
      recordsBefore: 0,
    })
    await folder.close()
    expect(disk.operations).toBe(operations)
    await log.close()
  })

  it('is whole or has not been, when killed before any operation, whatever the crash leaves', async () => {
    const { start, before, after } = await both(seal, ALL)
    const whole = start.copy()
    const log = await open(whole, seal)
    const began = whole.operations
    await log.clean(ALL)
    await log.close()
    const outcomes = new Set<string>()
    for (let killAt = began; killAt <= whole.operations; killAt++) {
      for (const tear of [undefined, new Random(killAt), new Random(killAt + 1_000)]) {
        const disk = start.copy()
        const killed = await open(disk, seal)
        disk.killAt = killAt
        await Promise.race([killed.clean(ALL).then(() => killed.close()), disk.died])
        const left = disk.crash(tear)
        const again = await open(left, seal)
        const found = await seen(again)
        outcomes.add(again.base.generation === 0 ? 'before' : 'after')
        expect(found, `killed at ${killAt}`).toEqual(again.base.generation === 0 ? before : after)
        const batch = again.batch()
        batch.event(again.findTopic('clicks')!, { user: 'u1', n: 99 })
        expect(await batch.commit()).toMatchObject({ first: before.end + 1 })
        await again.close()
        const names = left.paths.filter(path => /\.\d+\.sealed/.test(path))
        if (again.base.generation === 0) expect(names).toEqual([])
      }
    }
    expect(outcomes).toEqual(new Set(['before', 'after']))
  })

  it.each(['ENOSPC', 'EIO'])(
    'leaves the log as it was where an operation fails (%s), says so, and is done the next time',
    async code => {
      const { start, before, after } = await both(seal, ALL)
      const whole = start.copy()
      const done = await open(whole, seal)
      const began = whole.operations
      await done.clean(ALL)
      const ended = whole.operations
      await done.close()
      let refused = 0
      for (let failAt = began; failAt < ended; failAt++) {
        const disk = start.copy()
        const events: string[] = []
        const log = await open(disk, seal, events)
        disk.fault = () => (disk.operations === failAt + 1 ? systemError(code) : undefined)
        const error = await log.clean(ALL).then(
          () => undefined,
          (caught: unknown) => caught,
        )
        disk.fault = () => undefined
        if (error) {
          refused++
          expect(error).toMatchObject({ code: code === 'EIO' ? 'LOG_FAILED' : 'LOG_FULL' })
          expect(events).toContain('log-clean-failed')
          expect(log.base.generation).toBe(0)
          expect(await seen(log), `failed at ${failAt}`).toEqual(before)
        } else expect(await seen(log)).toEqual(after)
        await log.clean(ALL)
        expect(await seen(log)).toEqual(after)
        const crashed = disk.crash()
        await log.close()
        const again = await open(crashed, seal)
        expect(await seen(again)).toEqual(after)
        await again.close()
      }
      expect(refused).toBeGreaterThan(5)
    },
  )
})

describe('a cleaning', () => {
  it('goes no further than a hold, unless forced, and says which', async () => {
    const disk = await written(true)
    const log = await open(disk, true)
    const hold = log.hold('view totals', 25)
    const report = await log.clean(ALL)
    expect(report.to).toBeLessThanOrEqual(25)
    expect(report.limitedBy).toEqual({ name: 'view totals', position: 25 })
    hold.move(45)
    expect((await log.clean(ALL)).to).toBeGreaterThan(25)
    expect(log.base.to).toBeLessThanOrEqual(45)
    const { limitedBy, to } = await log.clean({ ...ALL, force: true })
    expect([limitedBy, to > 45]).toEqual([undefined, true])
    hold.release()
    await log.close()
  })

  it('changes nothing for readers, scans and streams that are under way, and takes the files when they are done', async () => {
    const disk = await written(true)
    const log = await open(disk, true)
    const before = await seen(log)
    const reader = log.read(0)
    const first = await reader.ready()
    const scan = log.scan(log.findTopic('orders')!)[Symbol.asyncIterator]()
    const some = await scan.next()
    const stream = log.stream(log.findTopic('clicks')!, 'u1')[Symbol.asyncIterator]()
    await stream.next()
    await log.clean(ALL)
    const late = log.read(0)
    expect((await late.ready()).length).toBeGreaterThan(0)
    expect([reader.generation, late.generation]).toEqual([0, 1])
    const old = disk.paths.filter(path => /\/\d+\.sealed$/.test(path))
    expect(old).toContain('/log/00000000000000000001.sealed')
    let records = first.reduce((sum, { count }) => sum + count, 0)
    for (let blocks = await reader.ready(); blocks.length > 0; blocks = await reader.ready())
      for (const { count } of blocks) records += count
    expect(records).toBe(before.batches.reduce((sum, batch) => sum + batch.records.length, 0))
    expect(reader.generation).toBe(1)
    let scanned: number = some.value?.count ?? 0
    for (let next = await scan.next(); !next.done; next = await scan.next()) scanned += next.value.count
    expect(scanned).toBe(before.batches.flatMap(each => each.records).filter(({ topic }) => topic === 'orders').length)
    let events = 1
    for (let next = await stream.next(); !next.done; next = await stream.next()) events++
    expect(events).toBe(before.stream.length)
    await log.close()
    expect(disk.paths).not.toContain('/log/00000000000000000001.sealed')
  })

  it('gives a reader from the beginning a position at the base’s end or beyond, even if nothing is left', async () => {
    const disk = new SimulatedDisk()
    const log = await open(disk, true)
    const topic = await log.topic(clicks)
    for (let n = 0; n < 30; n++) {
      const batch = log.batch()
      batch.event(topic, { user: 'u', n })
      await batch.commit()
    }
    const { to, recordsAfter } = await log.clean({ trim: { clicks: Number.POSITIVE_INFINITY } })
    expect([to > 10, recordsAfter]).toEqual([true, 0])
    const ends = (await blocksOf(log)).map(({ end }) => end)
    expect(ends[0]).toBe(to)
    expect(await log.lastVersion(topic, 'u')).toBe(30)
    await log.close()
    const again = await open(disk, true)
    expect(await again.lastVersion(again.findTopic('clicks')!, 'u')).toBe(30)
    const versions: number[] = []
    for await (const { version } of again.stream(again.findTopic('clicks')!, 'u', { from: 3 })) versions.push(version)
    expect(versions).toEqual(Array.from({ length: 30 - to }, (_, n) => to + 1 + n))
    await again.close()
  })

  it('keeps the last word of each source, whatever else it does', async () => {
    const disk = await written(true)
    const log = await open(disk, true)
    const control = await log.topic(controlContract())
    for (let n = 0; n < 40; n++) {
      const batch = log.batch()
      const record = { epoch: n, position: String(n), identity: {}, tables: {}, begins: {}, reading: null }
      batch.event(control, { source: `s${n % 2}`, event: 'snapshot-ended', ...record })
      await batch.commit()
    }
    await log.sealed()
    const { to } = await log.clean({ trim: { clicks: 1 } })
    const left = (await batchesOf(log)).flatMap(({ records }) => records).filter(({ topic }) => topic === CONTROL_TOPIC)
    const kept = left.filter(({ position }) => position <= to)
    expect(kept.map(({ after }) => after?.['source']).sort()).toEqual(['s0', 's1'])
    expect(await log.lastVersion(control, 's1')).toBe(20)
    await log.close()
  })

  it('is refused for what is not there or cannot be cleaned', async () => {
    const log = await open(await written(true), true)
    await expect(log.clean({ trim: { nothing: 1 } })).rejects.toMatchObject({ code: 'TOPIC_UNKNOWN' })
    await expect(log.clean({ trim: { orders: 1 } })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    await expect(log.clean({ compact: { clicks: 1 } })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    await expect(log.clean({ trim: { clicks: Number.NaN } })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    const closing = log.clean(ALL)
    await log.close()
    await expect(closing).rejects.toMatchObject({ code: 'LOG_CLOSED' })
    await expect(log.clean(ALL)).rejects.toMatchObject({ code: 'LOG_CLOSED' })
  })
})

describe('a base', () => {
  it('of which a file is missing, or whose manifest is damaged, is LOG_CORRUPT naming it; nothing is removed then', async () => {
    const { cleaned } = await both(true, ALL)
    const { segments } = JSON.parse(cleaned.bytes('/log/base.json').toString()).content as {
      segments: { name: string }[]
    }
    const without = cleaned.copy()
    const path = `/log/${segments[0]!.name}`
    await without.remove(path)
    await expect(open(without, true)).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      detail: expect.stringContaining(path),
    })
    const damaged = cleaned.copy()
    damaged.plant(
      '/log/base.json',
      Buffer.from(cleaned.bytes('/log/base.json').toString().replace('"to": ', '"to": 1')),
    )
    await expect(open(damaged, true)).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      message: expect.stringContaining('base.json'),
    })
    const lost = cleaned.copy()
    await lost.remove('/log/base.json')
    await expect(open(lost, true)).rejects.toMatchObject({ code: 'LOG_CORRUPT' })
    expect(lost.paths).toContain(path)
  })
})
