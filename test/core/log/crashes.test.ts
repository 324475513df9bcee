// Worse than one crash: a crash while the log recovers from a crash, an error at every single operation and then a crash, and a
// disk that is full at every size. What was acknowledged is always there, what was refused never is.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { isMainstemError, type Log, openEmbeddedLog } from '../../../core/index.ts'
import { appendMarkers, markersContract, wholeBatches } from '../../support/log-records.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk, systemError } from '../../support/simulated-disk.ts'

const PATH = '/log'
const BATCHES = 12
/** `CRASHES=1` crashes at each operation, not at each fifth. */
const STRIDE = Number(process.env['CRASHES'] ?? 5)

const opened = (disk: SimulatedDisk) => openEmbeddedLog({ path: PATH, fileSystem: disk, segmentBytesMax: 700 })

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
    for (let killAt = 8; killAt < whole.operations; killAt += STRIDE) {
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
    expect(second).toBeGreaterThan(60)
  })
})

describe('an error at any operation, and then a crash', () => {
  it.each(['EIO', 'ENOSPC'])('keeps what was acknowledged and nothing of what was refused (%s)', async code => {
    const whole = new SimulatedDisk()
    await append(await opened(whole), nothing(), 1, BATCHES)
    for (let failAt = 12; failAt < whole.operations; failAt++) {
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
        // What was refused last may still be on its way out of the file: the next append waits for that, a crash does not.
        const last = Math.max(0, ...outcome.acknowledged)
        await check(disk.crash(), { ...outcome, acknowledged: [...outcome.acknowledged] }, n => n > last)
        await check(disk.crash(random), { ...outcome, acknowledged: [...outcome.acknowledged] }, n => n > last)
        await log.close()
      }
    }
  })
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
