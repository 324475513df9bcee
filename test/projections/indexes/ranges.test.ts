// Ranges of rows equal a sort of all rows, whatever the schema, the changes and the query; over any number of shards; and pages go
// over rows that do not change exactly once, whatever else is written meanwhile.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import {
  type Application,
  application,
  type Engine,
  localCrew,
  openEngine,
  openShardedEngine,
  partsOf,
  planRange,
  type RangeQuery,
  realScheduler,
  type ViewRow,
} from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { expected, type IndexedView, randomQuery, randomViews, textOf } from './world.ts'

let folder = ''
let log: EmbeddedLog
const engines: Engine[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-ranges-'))
  log = await openEmbeddedLog({ path: join(folder, 'log') })
})

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop()
  await log.close()
  await rm(folder, { recursive: true, force: true })
})

/** @param shards 0: one, in this thread @param sliceMs 0 yields wherever it may */
async function open(app: Application, shards: number, sliceMs: number, views = `views${shards}`): Promise<Engine> {
  const parts = partsOf(app)
  const path = join(folder, views)
  const options = { log, parts, path, fingerprint: 'f', sliceMs, checkpointIntervalMs: 3_600_000 }
  const crew = { count: shards, path, log, parts, scheduler: realScheduler, sliceMs }
  const engine = shards === 0 ? await openEngine(options) : await openShardedEngine(options, localCrew(crew))
  engines.push(engine)
  return engine
}

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
      if (round === 1) for (const engine of engines) await engine.checkpoint()
      await Promise.all(engines.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
      for (let n = 0; n < 8; n++) {
        const view = random.pick(world.views)
        const { query, index } = randomQuery(random, view)
        const all = expected(view, world.rows(view), query, index)
        const most = random.pick([1, 3, 7, 1_000])
        for (const engine of engines) {
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
    await Promise.all(engines.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
    const running = { yes: true }
    const write = async () => {
      for (let n = 0; n < 12; n++) {
        await world.change(n % 4 === 3 ? 1_500 : 1 + random.int(20))
        at.set(log.end, expected(view, world.rows(view), query, index))
      }
      await Promise.all(engines.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
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
    await Promise.all([write(), ...engines.map(read)])
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
      await Promise.all(engines.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
      const keyText = (view: IndexedView, key: unknown) => textOf(view.single ? { k0: key } : key)
      for (const engine of engines)
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
