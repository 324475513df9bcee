// Worse than one crash: a crash while the log recovers from a crash, an error at every single operation and then a crash, and a
// disk that is full at every size. What was acknowledged is always there, what was refused never is. `CRASHES=1` crashes and fails at
// each operation, not only at each so many.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { isMainstemError, type Log, openEmbeddedLog } from '../../../core/index.ts'
import { crashStride } from '../../support/campaign.ts'
import { appendMarkers, markersContract, wholeBatches } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const PATH = '/log'
const BATCHES = 12

const opened = (disk: SimulatedDisk) =>
  openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 700, freeBytesMin: 0 })

interface Outcome {
  readonly acknowledged: number[]
  /** Refused before anything later was acknowledged, and at last. */
  readonly refused: number[]
}

/** Appends in groups of one to three; what is refused stays so, and the next batch has the next number. */
async function append(log: Log, { acknowledged, refused }: Outcome, from: number, to: number): Promise<void> {
  const topic = await log.topic(markersContract)
  for (let n = from; n <= to; ) {
    const together = Array.from({ length: Math.min(1 + (n % 3), to - n + 1) }, (_, k) => n + k)
    await Promise.all(
      together.map(each =>
        appendMarkers(log, topic, each, 1 + (each % 3), 'f'.repeat(60)).then(
          () => acknowledged.push(each),
          error => {
            if (!isMainstemError(error)) throw error
            refused.push(each)
          },
        ),
      ),
    )
    n += together.length
    await nextTurn()
  }
}

const nothing = (): Outcome => ({ acknowledged: [], refused: [] })

/** All of the acknowledged, in order, and of the rest only what may be there. */
async function check(disk: SimulatedDisk, outcome: Outcome, mayBeThere: (n: number) => boolean): Promise<void> {
  const log = await opened(disk)
  const found = await wholeBatches(log)
  expect(found).toEqual([...new Set(found)].sort((a, b) => a - b))
  expect(found).toEqual(expect.arrayContaining(outcome.acknowledged))
  expect(found.filter(n => !outcome.acknowledged.includes(n) && !mayBeThere(n))).toEqual([])
  await append(log, outcome, 1_000, 1_002)
  expect(outcome.acknowledged).toEqual(expect.arrayContaining([1_000, 1_001, 1_002]))
  await log.close()
}

describe('a second crash', () => {
  it('while the log recovers from the first, at any operation of it, takes nothing that was acknowledged', async () => {
    const whole = new SimulatedDisk()
    const log = await opened(whole)
    await append(log, nothing(), 1, BATCHES)
    let second = 0
    for (let killAt = 8; killAt < whole.operations; killAt += crashStride(8)) {
      const disk = new SimulatedDisk()
      disk.killAt = killAt
      const outcome = nothing()
      await Promise.race([opened(disk).then(each => append(each, outcome, 1, BATCHES)), disk.died])
      const random = new Random(killAt)
      const torn = disk.crash(random)
      for (let at = 0; ; at++) {
        const again = torn.copy()
        again.killAt = at
        const later = { acknowledged: [...outcome.acknowledged], refused: [] }
        const recovered = opened(again).then(async each => {
          await append(each, later, 500, 501)
          await each.close()
          return 'recovered'
        })
        const how = await Promise.race([recovered, again.died])
        await check(again.crash(at % 2 ? random : undefined), later, n => n <= BATCHES || n >= 500)
        second++
        if (how === 'recovered') break
      }
    }
    expect(second).toBeGreaterThan(40)
  })
})

describe('a killed process, and then a crash', () => {
  it('takes nothing that the next process showed its readers: it made durable what it found', async () => {
    const whole = new SimulatedDisk()
    await append(await opened(whole), nothing(), 1, BATCHES)
    for (let killAt = 8; killAt < whole.operations; killAt += crashStride(2)) {
      const disk = new SimulatedDisk()
      disk.killAt = killAt
      await Promise.race([opened(disk).then(log => append(log, nothing(), 1, BATCHES)), disk.died])
      const next = disk.kill()
      const log = await opened(next)
      const acknowledged = await wholeBatches(log)
      for (const tear of [undefined, new Random(killAt)]) {
        const outcome = { acknowledged: [...acknowledged], refused: [] }
        await check(next.crash(tear), outcome, n => acknowledged.includes(n))
      }
      await log.close()
    }
  })
})

describe('an error at any operation, and then a crash', () => {
  it.each(['EIO', 'ENOSPC'])('keeps what was acknowledged and nothing of what was refused (%s)', async code => {
    const whole = new SimulatedDisk()
    await append(await opened(whole), nothing(), 1, BATCHES)
    for (let failAt = 12; failAt < whole.operations; failAt += crashStride(3)) {
      for (const failures of [1, 3]) {
        const disk = new SimulatedDisk()
        const log = await opened(disk)
        await log.topic(markersContract)
        disk.fault = () =>
          disk.operations > failAt && disk.operations <= failAt + failures ? systemError(code) : undefined
        const outcome = nothing()
        await append(log, outcome, 1, BATCHES)
        expect(await wholeBatches(log)).toEqual(outcome.acknowledged)
        disk.fault = () => undefined
        const random = new Random(failAt * 10 + failures)
        // Where the file could not be opened again either, what was refused last is still in it, until the next append.
        const last = failures === 1 ? BATCHES : Math.max(0, ...outcome.acknowledged)
        await check(disk.crash(), { ...outcome, acknowledged: [...outcome.acknowledged] }, n => n > last)
        await check(disk.crash(random), { ...outcome, acknowledged: [...outcome.acknowledged] }, n => n > last)
        await log.close()
      }
    }
  })
})

/** Closed segments of rows, as a killed process leaves them, and what is in them. */
async function unsealed(): Promise<{ disk: SimulatedDisk; outcome: Outcome }> {
  const disk = new SimulatedDisk()
  const outcome = nothing()
  const log = await openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 700, seal: false })
  await append(log, outcome, 1, BATCHES)
  return { disk: disk.crash(), outcome }
}

async function seal(disk: SimulatedDisk): Promise<void> {
  const log = await opened(disk)
  await log.sealed()
  await log.close()
}

const sealedFiles = (disk: SimulatedDisk) => disk.paths.filter(path => path.endsWith('.sealed')).length

describe('sealing', () => {
  it('loses nothing when killed at any operation, whatever of it had reached the disk, and is done by the next start', async () => {
    const { disk, outcome } = await unsealed()
    const whole = disk.copy()
    await seal(whole)
    expect(sealedFiles(whole)).toBeGreaterThan(2)
    const only = (n: number) => outcome.acknowledged.includes(n)
    for (let killAt = 0; killAt < whole.operations; killAt += crashStride(2)) {
      const random = new Random(killAt)
      const killed = disk.copy()
      killed.killAt = killAt
      await Promise.race([seal(killed), killed.died])
      for (const tear of [undefined, random, random]) {
        const after = killed.crash(tear)
        await check(after.copy(), { acknowledged: [...outcome.acknowledged], refused: [] }, only)
        await seal(after)
        expect(sealedFiles(after)).toBe(sealedFiles(whole))
        expect(after.paths.filter(path => path.endsWith('.tmp'))).toEqual([])
        await check(after, { acknowledged: [...outcome.acknowledged], refused: [] }, only)
      }
    }
  })

  it.each(['EIO', 'ENOSPC'])(
    'that fails at any operation (%s) leaves the log as it was, and appends go on',
    async code => {
      const { disk, outcome } = await unsealed()
      const whole = disk.copy()
      await seal(whole)
      for (let failAt = 4; failAt < whole.operations; failAt += crashStride(2)) {
        const failing = disk.copy()
        const log = await opened(failing)
        failing.fault = (_, path) =>
          failing.operations > failAt && /sealed|log$/.test(path) ? systemError(code) : undefined
        await log.sealed()
        expect(await wholeBatches(log)).toEqual(outcome.acknowledged)
        failing.fault = () => undefined
        const more = { acknowledged: [...outcome.acknowledged], refused: [] }
        await append(log, more, 100, 103)
        expect(more.refused).toEqual([])
        expect(await wholeBatches(log)).toEqual(more.acknowledged)
        await check(failing.crash(new Random(failAt)), more, () => false)
        await log.close()
      }
    },
  )
})

describe('a disk that is full', () => {
  it('at any size, refuses what does not fit, keeps the rest over a crash, and takes more when there is room', async () => {
    const whole = new SimulatedDisk()
    const first = await opened(whole)
    await first.topic(markersContract)
    const least = whole.paths.reduce((sum, path) => sum + whole.bytes(path).length, 0)
    await append(first, nothing(), 1, BATCHES)
    const most = whole.paths.reduce((sum, path) => sum + whole.bytes(path).length, 0)
    let refusals = 0
    for (let capacity = least; capacity < most; capacity += 37) {
      const disk = new SimulatedDisk()
      const log = await opened(disk)
      await log.topic(markersContract)
      disk.capacityBytes = capacity
      const outcome = nothing()
      await append(log, outcome, 1, BATCHES)
      expect(await wholeBatches(log)).toEqual(outcome.acknowledged)
      refusals += outcome.refused.length
      // Opened on the full disk, it can be read.
      const full = disk.crash()
      full.capacityBytes = capacity
      const again = await opened(full)
      expect(await wholeBatches(again)).toEqual(outcome.acknowledged)
      await again.close()
      disk.capacityBytes = Number.POSITIVE_INFINITY
      await append(log, outcome, 100, 102)
      expect(outcome.acknowledged.slice(-3)).toEqual([100, 101, 102])
      expect(await wholeBatches(log)).toEqual(outcome.acknowledged)
      await check(disk.crash(new Random(capacity)), outcome, () => false)
      await log.close()
    }
    expect(refusals).toBeGreaterThan(100)
  })
})
