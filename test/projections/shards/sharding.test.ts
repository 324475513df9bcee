// Several shards are one shard: the same rows, positions and answers, whatever their number and however their messages come.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import {
  type Application,
  application,
  type Engine,
  type EngineEvent,
  localCrew,
  openEngine,
  openShardedEngine,
  partsOf,
  realScheduler,
} from '../../../projections/index.ts'
import { randomly } from '../../support/following.ts'
import { Random } from '../../support/random.ts'
import { type GraphView, RandomInput, randomGraph } from './random-graph.ts'

let folder = ''
let log: EmbeddedLog
const engines: Engine[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-sharding-'))
  log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: 64 * 1024 })
})

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop()
  await log.close()
  await rm(folder, { recursive: true, force: true })
})

interface Opening {
  /** Folder of the checkpoints. */
  readonly views?: string
  readonly events?: EngineEvent[]
}

/** @param shards 0: one, in this thread */
async function open(app: Application, shards: number, random: Random, opening: Opening = {}): Promise<Engine> {
  const { views = `views${shards}`, events = [] } = opening
  const parts = partsOf(app)
  const path = join(folder, views)
  // 0 yields wherever it may.
  const sliceMs = random.int(2)
  const onEvent = (event: EngineEvent) => void events.push(event)
  const options = { log, parts, path, fingerprint: 'f', sliceMs, checkpointIntervalMs: 3_600_000, onEvent }
  // Its own: how often it is asked depends on the machine, and must not change what else a seed gives.
  const schedule = random.next() < 0.5 ? randomly(new Random(random.int(2 ** 31))) : undefined
  const crew = { count: shards, path, log, parts, scheduler: realScheduler, sliceMs, ...(schedule ? { schedule } : {}) }
  const engine = shards === 0 ? await openEngine(options) : await openShardedEngine(options, localCrew(crew))
  engines.push(engine)
  return engine
}

async function seenBy(engine: Engine, views: readonly GraphView[]) {
  const requests = views.flatMap(({ view, keys }) => keys.map(key => ({ view: view.name, key })))
  const { position, rows, final } = await engine.read(requests)
  const sizes = views.map(({ view }) => [view.name, engine.views.get(view.name)?.status().rows])
  const letters = await Promise.all(views.map(({ view }) => engine.deadLetters.list(view.name)))
  return { position, final, sizes, letters, rows: rows.map((row, n) => [requests[n], row]) }
}

describe('several shards', () => {
  it.each(Array.from({ length: 4 }, (_, n) => n + 1))('have the rows of one (seed %i)', async seed => {
    const random = new Random(seed)
    const views = randomGraph(random)
    const app = application('test', { views: views.map(({ view }) => view) })
    const input = new RandomInput(log, random)
    await input.open()
    for (let n = 0; n < 20; n++) await input.transaction(1 + random.int(12))
    const counts = [0, 1, 2, 3, 5]
    for (const count of counts) await open(app, count, random)
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 6; n++) await input.transaction(1 + random.int(8))
      if (round === 1) await input.transaction(1_300)
      await Promise.all(engines.map(engine => engine.waitFor(log.end, AbortSignal.timeout(20_000))))
      const expected = await seenBy(engines[0]!, views)
      expect(expected.letters.flat().length).toBeGreaterThan(0)
      expect(expected.rows.filter(([, row]) => row !== undefined).length).toBeGreaterThan(views.length)
      for (const [n, engine] of engines.entries())
        expect(await seenBy(engine, views), `seed ${seed}, ${counts[n]} shards`).toEqual(expected)
    }
  })

  it.each(Array.from({ length: 2 }, (_, n) => n + 1))(
    'continue from the checkpoints of another number of them (seed %i)',
    async seed => {
      const random = new Random(seed)
      const views = randomGraph(random)
      const app = application('test', { views: views.map(({ view }) => view) })
      const input = new RandomInput(log, random)
      await input.open()
      let position = 0
      for (const count of [2, 3, 0, 5]) {
        const events: EngineEvent[] = []
        const engine = await open(app, count, random, { views: 'views', events })
        const plan = events.find(event => event.event === 'start-plan')
        expect(
          plan?.views.map(view => view.from),
          `seed ${seed}, ${count} shards`,
        ).toEqual(views.map(() => position))
        for (let n = 0; n < 6; n++) {
          await input.transaction(1 + random.int(8))
          if (random.next() < 0.3) await engine.checkpoint()
        }
        // Checkpoints begin and end anywhere in a large transaction.
        const large = input.transaction(1_300)
        for (let n = 0; n < 3; n++) await engine.checkpoint()
        await large
        await engine.waitFor(log.end, AbortSignal.timeout(20_000))
        const fresh = await open(app, 0, random, { views: `fresh${position}` })
        await fresh.waitFor(log.end, AbortSignal.timeout(20_000))
        expect(await seenBy(engine, views), `seed ${seed}, ${count} shards`).toEqual(await seenBy(fresh, views))
        position = log.end
        for (const each of engines.splice(0)) await each.stop()
      }
    },
  )
})
