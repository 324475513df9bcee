// The past over random graphs of views, which skip what they cannot take, in one shard and in several: at each position what
// was there live.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AnyRow, EmbeddedLog } from '../../../core/index.ts'
import { application, type ViewRow } from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { Engines } from '../engines.ts'
import { RandomInput, randomGraph } from '../shards/random-graph.ts'

let engines: Engines
let log: EmbeddedLog

beforeEach(async () => {
  engines = await Engines.over({ segmentBytesMax: 16 * 1024 })
  log = engines.log
})

afterEach(() => engines.end())

test.each([1, 2, 7, 4])('any view of any graph is at each position what it was, seed %i', async seed => {
  const random = new Random(seed)
  const views = randomGraph(random)
  const app = application('test', { views: views.map(({ view }) => view) })
  const input = new RandomInput(log, random)
  await input.open()
  const live = await engines.open(app, 0, { sliceMs: 2 })
  const sharded = await engines.open(app, 2, { sliceMs: 2 })
  const requests = views.flatMap(({ view, keys }) => keys.map(key => ({ view: view.name, key })))
  const history: { position: number; rows: readonly (AnyRow | undefined)[] }[] = []
  // Some reads begin with the rows of a checkpoint.
  const checkpoints = new Random(seed + 1_000)
  for (let n = 0; n < 40; n++) {
    await input.transaction(1 + random.int(8))
    await live.waitFor(log.end, AbortSignal.timeout(20_000))
    if (checkpoints.next() < 0.08) await live.checkpoint()
    const { position, rows } = await live.read(requests)
    history.push({ position, rows: structuredClone(rows) })
  }
  await sharded.waitFor(log.end, AbortSignal.timeout(20_000))
  for (const [n, engine] of engines.all.entries()) {
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
