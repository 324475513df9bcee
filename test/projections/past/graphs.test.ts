// The past over random graphs of views, which skip what they cannot take, in one shard and in several: at each position what
// was there live.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type AnyRow, type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import {
  application,
  type Engine,
  localCrew,
  openEngine,
  openShardedEngine,
  partsOf,
  realScheduler,
  type ViewRow,
} from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { RandomInput, randomGraph } from '../shards/random-graph.ts'

let folder = ''
let log: EmbeddedLog
const engines: Engine[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-past-graphs-'))
  log = await openEmbeddedLog({ path: join(folder, 'log'), segmentBytesMax: 16 * 1024 })
})

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop()
  await log.close()
  await rm(folder, { recursive: true, force: true })
})

test.each([1, 2, 7, 4])('any view of any graph is at each position what it was, seed %i', async seed => {
  const random = new Random(seed)
  const views = randomGraph(random)
  const parts = partsOf(application('test', { views: views.map(({ view }) => view) }))
  const input = new RandomInput(log, random)
  await input.open()
  const options = (name: string) => ({ log, parts, path: join(folder, name), fingerprint: 'f', sliceMs: 2 })
  const crew = localCrew({ count: 2, path: join(folder, 'two'), log, parts, scheduler: realScheduler, sliceMs: 2 })
  engines.push(await openEngine(options('one')), await openShardedEngine(options('two'), crew))
  const requests = views.flatMap(({ view, keys }) => keys.map(key => ({ view: view.name, key })))
  const history: { position: number; rows: readonly (AnyRow | undefined)[] }[] = []
  // Some reads begin with the rows of a checkpoint.
  const checkpoints = new Random(seed + 1_000)
  for (let n = 0; n < 40; n++) {
    await input.transaction(1 + random.int(8))
    await engines[0]!.waitFor(log.end, AbortSignal.timeout(20_000))
    if (checkpoints.next() < 0.08) await engines[0]!.checkpoint()
    const { position, rows } = await engines[0]!.read(requests)
    history.push({ position, rows: structuredClone(rows) })
  }
  await engines[1]!.waitFor(log.end, AbortSignal.timeout(20_000))
  for (const [n, engine] of engines.entries()) {
    for (let round = 0; round < 15; round++) {
      const then = history[random.int(history.length)]!
      const from = random.int(requests.length)
      const asked = requests.slice(from, from + 1 + random.int(6))
      const where = `seed ${seed}, engine ${n}, ${JSON.stringify(asked, (_, value) => String(value))} at ${then.position}`
      const { position, rows } = await engine.past.read(asked, { position: then.position })
      expect([position, rows], where).toEqual([then.position, then.rows.slice(from, from + asked.length)])
    }
    const { view, keys } = views[random.int(views.length)]!
    const rows: ViewRow[] = []
    for await (const batch of await engine.past.rows(view.name, undefined)) rows.push(...batch)
    const now = history.at(-1)!.rows
    const expected = requests.flatMap((request, n) => (request.view === view.name && now[n] ? [now[n]] : []))
    expect(rows.length, `seed ${seed}, engine ${n}, all of ${view.name}`).toBeGreaterThanOrEqual(expected.length)
    for (const [n, key] of keys.entries()) {
      const live = now[requests.findIndex(request => request.view === view.name) + n]
      expect(rows.find(row => JSON.stringify(row.key) === JSON.stringify(key))?.value).toEqual(live)
    }
  }
})
