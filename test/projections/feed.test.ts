// Who follows a view knows its rows: whatever folds them, over any number of shards, in the same order.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, topic } from '../../core/index.ts'
import { type Application, application, type Engine, projection } from '../../projections/index.ts'
import { Random } from '../support/random.ts'
import { Engines } from './engines.ts'
import { Followed } from './followed.ts'
import { type GraphView, RandomInput, randomGraph } from './shards/random-graph.ts'

let engines: Engines
let log: EmbeddedLog
let nowMs = 1_700_000_000_000

beforeEach(async () => {
  engines = await Engines.over({ clock: () => nowMs })
  log = engines.log
})
afterEach(() => engines.end())

const open = (app: Application, shards: number): Promise<Engine> =>
  engines.open(app, shards, { sliceMs: 0, wallClockMs: () => nowMs, checkpointIntervalMs: 3_600_000 })

const level = (engine: Engine) => engine.waitFor(log.end, AbortSignal.timeout(20_000))

async function rowsOf(engine: Engine, { view, keys }: Pick<GraphView, 'keys'> & { view: { readonly name: string } }) {
  await level(engine)
  const { rows } = await engine.read(keys.map(key => ({ view: view.name, key })))
  return new Map(keys.flatMap((key, n) => (rows[n] ? [[key, { ...rows[n] }] as const] : [])))
}

describe('a view that is followed', () => {
  it.each([1, 2])('tells every change once, in one order over any number of shards (seed %i)', async seed => {
    const random = new Random(seed)
    const views = randomGraph(random)
    const app = application('test', { views: views.map(({ view }) => view) })
    const input = new RandomInput(log, random)
    await input.open()
    for (let n = 0; n < 5; n++) await input.transaction(1 + random.int(12))
    const followed: Followed[][] = []
    for (const shards of [0, 2, 3]) {
      const engine = await open(app, shards)
      await level(engine)
      followed.push(await Promise.all(views.map(({ view, keys }) => Followed.of(engine, view.name, keys))))
    }
    for (let n = 0; n < 8; n++) await input.transaction(1 + random.int(8))
    // It is folded and ended in turns.
    await input.transaction(1_300)
    for (let n = 0; n < 4; n++) await input.transaction(1 + random.int(8))
    for (const [n, engine] of engines.all.entries()) {
      await level(engine)
      for (const [v, view] of views.entries()) {
        expect(followed[n]![v]!.rows(), `${view.view.name}, engine ${n}`).toEqual(await rowsOf(engine, view))
        expect(followed[n]![v]!.changes).toEqual(followed[0]![v]!.changes)
      }
    }
    expect(followed[0]!.every(({ changes }) => changes.length > 10)).toBe(true)
  })

  it('is followed from the cut at which that is asked for, amidst a large transaction too, and no longer than it is wanted', async () => {
    const moves = topic('moves', { key: 'id', value: z.object({ id: z.int(), to: z.int() }) })
    const places = projection('places', { key: z.int(), state: z.object({ moves: z.int() }) }).on(
      moves,
      'to',
      place => {
        place.moves++
      },
    )
    const keys = Array.from({ length: 50 }, (_, key) => key)
    const registered = await log.topic(compileContract(moves.name, 'topic', moves.value, moves.key))
    const append = async (records: number) => {
      const batch = log.batch()
      for (let id = 0; id < records; id++) batch.event(registered, { id, to: id % keys.length })
      await batch.commit()
    }
    const engine = await open(application('test', { views: [places] }), 0)
    const followed: Followed[] = []
    for (let n = 0; n < 5; n++) {
      const appending = append(20_000)
      for (let turn = 0; turn < n; turn++) await new Promise(resolve => setImmediate(resolve))
      followed.push(await Followed.of(engine, 'places', keys))
      await appending
      await append(1)
    }
    await level(engine)
    for (const each of followed) expect(each.rows()).toEqual(await rowsOf(engine, { view: places, keys }))
    const [first] = followed
    first!.end()
    const told = first!.changes.length
    await append(10)
    await level(engine)
    expect(first!.changes.length).toBe(told)
    expect(followed[1]!.rows()).toEqual(await rowsOf(engine, { view: places, keys }))
  })

  it.each([0, 2])(
    'tells of rows that go by themselves, and not of touches that change nothing (%i shards)',
    async shards => {
      const visits = topic('visits', { key: 'user', value: z.object({ user: z.string(), pages: z.int() }) })
      const sessions = projection('sessions', {
        key: z.string(),
        state: z.object({ pages: z.int() }),
        ttl: 1_000,
      }).on(visits, 'user', (session, { pages }) => {
        session.pages += pages
      })
      const registered = await log.topic(compileContract(visits.name, 'topic', visits.value, visits.key))
      const visit = async (user: string, pages: number) => {
        const batch = log.batch()
        batch.event(registered, { user, pages })
        await batch.commit()
      }
      const engine = await open(application('test', { views: [sessions] }), shards)
      const followed = await Followed.of(engine, 'sessions', ['ada', 'bob'])
      await visit('ada', 1)
      await visit('bob', 2)
      nowMs += 600
      await visit('ada', 0)
      nowMs += 600
      await visit('ada', 5)
      await level(engine)
      expect(
        followed.changes.map(({ position, key, after }) => [position, key.slice(0, 3), after !== undefined]),
      ).toEqual([
        [1, 'ada', true],
        [2, 'bob', true],
        [4, 'ada', true],
        [4, 'bob', false],
      ])
      expect(followed.rows()).toEqual(new Map([['ada', { pages: 6 }]]))
    },
  )

  it.each([0, 2])('says so when it stops, and cannot be followed then (%i shards)', async shards => {
    const steps = topic('steps', { key: 'id', value: z.object({ id: z.int() }) })
    const failing = projection('failing', { key: z.int(), state: z.object({ n: z.int() }) }).on(steps, 'id', row => {
      if (row.n > 0) throw new RangeError('twice')
      row.n++
    })
    const registered = await log.topic(compileContract(steps.name, 'topic', steps.value, steps.key))
    const engine = await open(application('test', { views: [failing] }), shards)
    const followed = await Followed.of(engine, 'failing', [1])
    for (let n = 0; n < 2; n++) {
      const batch = log.batch()
      batch.event(registered, { id: 1 })
      await batch.commit()
    }
    await level(engine)
    expect(followed.error).toMatchObject({ code: 'VIEW_STOPPED' })
    expect(followed.rows()).toEqual(new Map([[1, { n: 1 }]]))
    await expect(Followed.of(engine, 'failing', [1])).rejects.toMatchObject({ code: 'VIEW_STOPPED' })
    await expect(Followed.of(engine, 'none', [1])).rejects.toBeDefined()
  })
})
