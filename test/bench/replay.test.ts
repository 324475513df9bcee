// The benches' works at a small size: what the engine makes of them, in every way that is measured, is what a plain loop makes.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Goal, lineOf } from '../../bench/harness.ts'
import { type Order, orderSource } from '../../bench/log-data.ts'
import { type EventsFormat, writeLines, writeRecords } from '../../bench/orders-data.ts'
import { measure } from '../../bench/replay/measure.ts'
import { type Measured, replay, writeLog } from '../../bench/replay/ours.ts'
import { Contest, type Side } from '../../bench/replay/versus.ts'
import { resultOf, type Work } from '../../bench/replay/work.ts'
import { WORKS, type WorkName } from '../../bench/replay/works.ts'

const EVENTS = 3_000
const WARMUP = 600

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-bench-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Those of many customers are declared once, and a million reads take their time. */
const NAMES = (Object.keys(WORKS) as WorkName[]).filter(name => name !== 'many-orders')

describe.for(NAMES)('the work %s', name => {
  const work: Work = WORKS[name]

  it('comes to the same rows in each of its applications as in a plain loop', async () => {
    const dataDir = join(folder, name)
    await writeLog(dataDir, name, EVENTS)
    for (const app of Object.keys(work.apps)) {
      await rm(join(dataDir, 'views'), { recursive: true, force: true })
      const measured = await measure({ work: name, app, dataDir, events: EVENTS, warmup: WARMUP })
      const expected = await resultOf(work.expected(EVENTS, app))
      expect(measured).toMatchObject({ events: EVENTS, ...expected })
      expect(expected.rows).toBeGreaterThan(10)
      expect(measured.measuredEvents).toBeLessThanOrEqual(EVENTS - WARMUP)
      expect(measured.cpuSeconds).toBeGreaterThan(0)
    }
  })
})

describe('the orders in two threads', () => {
  it('come to the rows of a plain loop', async () => {
    const dataDir = join(folder, 'threads')
    await writeLog(dataDir, 'orders', EVENTS)
    const measured = await replay({ work: 'orders', app: 'handler', dataDir, shards: 2, events: EVENTS })
    expect(measured).toMatchObject(await resultOf(WORKS.orders.expected(EVENTS)))
  })
})

describe('the orders in a file', () => {
  it.for<EventsFormat>(['ndjson', 'binary'])('as %s come to the rows of a plain loop', async format => {
    const path = join(folder, `orders.${format}`)
    const write = format === 'ndjson' ? writeLines : writeRecords
    await write(path, orderSource() as () => Order, EVENTS)
    const told = {
      work: 'orders',
      app: 'handler',
      dataDir: join(folder, format),
      events: EVENTS,
      warmup: WARMUP,
    } as const
    const measured = await measure({ ...told, input: { path, format } })
    expect(measured).toMatchObject(await resultOf(WORKS.orders.expected(EVENTS)))
  })
})

describe('a contest', () => {
  const sideOf = (name: string, runs: Partial<Measured>[], right: { rows: number; hash: number }): Side => {
    const left = [...runs]
    return {
      name,
      work: 'orders',
      events: 10,
      rounds: runs.length,
      run: async () => ({ events: 10, measuredEvents: 8, seconds: 1, cpuSeconds: 1, ...right, ...left.shift() }),
    }
  }

  it('gives the median of the ratios of neighbours, and leaves out rounds that one side sat out', async () => {
    const right = await resultOf(WORKS.orders.expected(10))
    const ours = sideOf('ours', [{ cpuSeconds: 1 }, { cpuSeconds: 2 }, { cpuSeconds: 1 }], right)
    const theirs = sideOf('theirs', [{ cpuSeconds: 4 }, { cpuSeconds: 20 }], right)
    const contest = new Contest([ours, theirs])
    await contest.measure(3, () => {})
    const comparison = { name: 'ours vs theirs', goal: 5, ours: 'ours', theirs: 'theirs' }
    expect(contest.goals([comparison])).toEqual([
      { name: 'ours vs theirs', value: 10, goal: 5, unit: '×', equal: true },
    ])
    expect(contest.figures([comparison])).toMatchObject({ 'theirs: M events per second': 8e-6 })
  })

  it('does not pass over a side with another result', async () => {
    const right = await resultOf(WORKS.orders.expected(10))
    const contest = new Contest([sideOf('right', [{}], right), sideOf('wrong', [{ hash: right.hash + 1 }], right)])
    await expect(contest.measure(1, () => {})).rejects.toThrow('wrong has another result')
  })
})

describe('a goal on a line', () => {
  const goal: Goal = { name: 'speed', value: 2, goal: 2, unit: '×', equal: true }

  it.for<[string, Goal]>([
    ['ok', goal],
    ['missed', { ...goal, value: 1.99 }],
    ['ok', { ...goal, value: 1.99, atMost: true }],
    ['missed', { ...goal, value: 2.01, atMost: true }],
    ['DIFFERS', { ...goal, equal: false }],
    ['skipped', { ...goal, value: null, skipped: 'no Java' }],
  ])('says %s', ([verdict, each]) => {
    expect(lineOf(each).split(' ')[0]).toBe(verdict)
  })
})
