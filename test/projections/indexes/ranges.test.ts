// Ranges of rows equal a sort of all rows, whatever the schema, the changes and the query; over any number of shards; and pages go
// over rows that do not change exactly once, whatever else is written meanwhile.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EmbeddedLog } from '../../../core/index.ts'
import {
  type Application,
  application,
  type Engine,
  planRange,
  type RangeQuery,
  type ViewRow,
} from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { Engines } from '../engines.ts'
import { expected, type IndexedView, randomQuery, randomViews, textOf } from './world.ts'

let engines: Engines
let log: EmbeddedLog

beforeEach(async () => {
  engines = await Engines.over()
  log = engines.log
})

afterEach(() => engines.end())

/** @param sliceMs 0 yields wherever it may */
const open = (app: Application, shards: number, sliceMs: number): Promise<Engine> =>
  engines.open(app, shards, { sliceMs, checkpointIntervalMs: 3_600_000 })

interface Pages {
  readonly rows: readonly ViewRow[]
  /** Of each page. */
  readonly positions: readonly number[]
}

/** @param between called between two pages */
async function paged(
  engine: Engine,
  view: IndexedView,
  query: RangeQuery,
  most: number,
  between?: () => Promise<unknown>,
): Promise<Pages> {
  const rows: ViewRow[] = []
  const positions: number[] = []
  let cursor: string | undefined
  do {
    const live = engine.views.get(view.view.name)!
    const { range, cursorAfter } = planRange(live, cursor === undefined ? query : { ...query, cursor })
    const read = await engine.range({ view: view.view.name, range, most })
    expect(read.rows.length).toBeLessThanOrEqual(most)
    if (read.next !== undefined) expect(read.rows).toHaveLength(most)
    rows.push(...read.rows.map(({ key, value }) => ({ key, value: structuredClone(value) })))
    positions.push(read.position)
    cursor = read.next && cursorAfter(read.next)
    if (cursor !== undefined) await between?.()
  } while (cursor !== undefined)
  return { rows, positions }
}

describe('ranges of rows', () => {
  it.each(Array.from({ length: 8 }, (_, n) => n + 1))('are those of a sort of all rows (seed %i)', async seed => {
    const random = new Random(seed)
    const world = await randomViews(log, random)
    const app = application('test', { views: world.views.map(({ view }) => view) })
    await world.change(random.int(300))
    for (const count of [0, 1, 3]) await open(app, count, random.int(2))
    for (let round = 0; round < 4; round++) {
      for (let n = 0; n < 3; n++) await world.change(1 + random.int(40))
      // A large one is read around while it is folded.
      if (round === 2) await world.change(1_300)
      if (round === 1) for (const engine of engines.all) await engine.checkpoint()
      await Promise.all(engines.all.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
      for (let n = 0; n < 8; n++) {
        const view = random.pick(world.views)
        const { query, index } = randomQuery(random, view)
        const all = expected(view, world.rows(view), query, index)
        const most = random.pick([1, 3, 7, 1_000])
        for (const engine of engines.all) {
          const { rows } = await paged(engine, view, query, most)
          expect(rows, `seed ${seed}: ${view.view.name} ${textOf(query)} by ${index.join()}`).toEqual(all)
        }
      }
    }
  })

  it.each([1, 2, 3])('are of one cut each, amidst transactions too (seed %i)', async seed => {
    const random = new Random(100 + seed)
    const world = await randomViews(log, random)
    const app = application('test', { views: world.views.map(({ view }) => view) })
    await world.change(100)
    const view = world.views[seed % 2]!
    const { query, index } = randomQuery(random, view)
    const at = new Map([[log.end, expected(view, world.rows(view), query, index)]])
    for (const count of [0, 2]) await open(app, count, 0)
    await Promise.all(engines.all.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
    const running = { yes: true }
    const write = async () => {
      for (let n = 0; n < 12; n++) {
        await world.change(n % 4 === 3 ? 1_500 : 1 + random.int(20))
        at.set(log.end, expected(view, world.rows(view), query, index))
      }
      await Promise.all(engines.all.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
      running.yes = false
    }
    const seen: { position: number; rows: readonly ViewRow[] }[] = []
    const read = async (engine: Engine) => {
      while (running.yes) {
        const { rows, positions } = await paged(engine, view, query, 1_000)
        seen.push({ position: positions[0]!, rows })
        await new Promise(resolve => setImmediate(resolve))
      }
    }
    await Promise.all([write(), ...engines.all.map(read)])
    expect(new Set(seen.map(({ position }) => position)).size).toBeGreaterThan(2)
    for (const { position, rows } of seen) expect(rows, `seed ${seed} at ${position}`).toEqual(at.get(position))
  })

  it.each([1, 2, 3])(
    'come in pages, what does not change exactly once, whatever is written meanwhile (seed %i)',
    async seed => {
      const random = new Random(200 + seed)
      const world = await randomViews(log, random)
      const app = application('test', { views: world.views.map(({ view }) => view) })
      await world.change(400)
      for (const count of [0, 2]) await open(app, count, 1)
      await Promise.all(engines.all.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
      const keyText = (view: IndexedView, key: unknown) => textOf(view.single ? { k0: key } : key)
      for (const engine of engines.all)
        for (const view of world.views) {
          const { query, index } = randomQuery(random, view)
          const before = expected(view, world.rows(view), query, index)
          const stable = new Set(before.filter((_, n) => n % 2 === 0).map(({ key }) => keyText(view, key)))
          const { rows } = await paged(engine, view, query, 3, async () => {
            await world.change(10, key => !stable.has(textOf(key)))
            await engine.waitFor(log.end, AbortSignal.timeout(20_000))
          })
          const found = rows.filter(({ key }) => stable.has(keyText(view, key)))
          expect(found, `seed ${seed}: ${view.view.name} ${textOf(query)}`).toEqual(
            before.filter(({ key }) => stable.has(keyText(view, key))),
          )
        }
    },
  )
})
