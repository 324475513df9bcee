import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, type LogTopic, minutes, topic, VIEWS_TOPIC } from '../../core/index.ts'
import { type Application, application, type Engine, projection } from '../../projections/index.ts'
import { batchesOf } from '../support/log-batches.ts'
import { Random } from '../support/random.ts'
import { tableSource } from '../support/table-source.ts'
import { Engines } from './engines.ts'

const TTL = 1_000
const visits = topic('visits', { key: 'user', value: z.object({ user: z.string(), pages: z.int() }) })
const others = topic('others', { key: 'id', value: z.object({ id: z.int() }) })
const session = (name: string, ttl: number) =>
  projection(name, { key: z.string(), state: z.object({ visits: z.int32(), pages: z.int() }), ttl }).on(
    visits,
    'user',
    (s, visit, ctx) => {
      s.visits++
      s.pages += visit.pages
      if (visit.pages === 13) ctx.delete()
    },
  )
const sessions = session('sessions', TTL)
/** By number of visits, the sessions there are. */
const byVisits = projection('byVisits', { key: z.int(), state: z.object({ sessions: z.int(), pages: z.int() }) }).on(
  sessions,
  'visits',
  {
    add: (s, row) => {
      s.sessions++
      s.pages += row.pages
    },
    remove: (s, row) => {
      s.sessions--
      s.pages -= row.pages
    },
  },
)
const app = application('test', { views: [sessions, byVisits] })
const USERS = ['a', 'b', 'c', 'd', 'e', 'f']

let engines: Engines
let log: EmbeddedLog
let nowMs: number | undefined
const topics = new Map<string, LogTopic>()

beforeEach(async () => {
  nowMs = 1_700_000_000_000
  engines = await Engines.over({ clock: () => nowMs ?? Date.now() })
  log = engines.log
  for (const { name, value, key } of [visits, others])
    topics.set(name, await log.topic(compileContract(name, 'topic', value, key)))
})
afterEach(() => engines.end())

/** @param shards 0: in this thread alone, without a channel */
const open = (definition: Application = app, name = 'views', shards = 0): Promise<Engine> =>
  engines.open(definition, shards, {
    path: join(engines.folder, name),
    sliceMs: 0,
    wallClockMs: () => nowMs ?? Date.now(),
  })

async function append(name: string, values: readonly Record<string, unknown>[]): Promise<void> {
  const batch = log.batch()
  for (const value of values) batch.event(topics.get(name)!, value)
  await batch.commit()
}

const level = (engine: Engine) => engine.waitFor(log.end, AbortSignal.timeout(10_000))

async function rowsOf(engine: Engine, view: string, keys: readonly unknown[]) {
  const { rows } = await engine.read(keys.map(key => ({ view, key })))
  return rows.map(row => (row === undefined ? undefined : { ...row }))
}

interface Session {
  visits: number
  pages: number
  touchedMs: number
}

describe('a view with a ttl', () => {
  it.each([1, 2, 3, 4, 5, 6])('has exactly the rows that were touched within it, at each cut (seed %i)', async seed => {
    const random = new Random(seed)
    const model = new Map<string, Session>()
    let engine = await open()
    for (let n = 0; n < 120; n++) {
      nowMs! += random.pick([0, 1, 100, TTL - 1, TTL, TTL + 1])
      for (const [user, { touchedMs }] of model) if (touchedMs + TTL <= nowMs!) model.delete(user)
      if (random.int(4) === 0) await append('others', [{ id: n }])
      else {
        const values = Array.from({ length: 1 + random.int(3) }, () => ({
          user: random.pick(USERS),
          pages: random.pick([1, 2, 13]),
        }))
        await append('visits', values)
        for (const { user, pages } of values) {
          const before = model.get(user) ?? { visits: 0, pages: 0, touchedMs: 0 }
          if (pages === 13) model.delete(user)
          else model.set(user, { visits: before.visits + 1, pages: before.pages + pages, touchedMs: nowMs! })
        }
      }
      await level(engine)
      const expected = USERS.map(user => {
        const found = model.get(user)
        return found && { visits: found.visits, pages: found.pages }
      })
      expect(await rowsOf(engine, 'sessions', USERS), `seed ${seed}, step ${n}`).toEqual(expected)
      expect(engine.views.get('sessions')?.status().rows).toBe(model.size)
      const counts = [1, 2, 3, 4].map(visits => {
        const found = [...model.values()].filter(each => each.visits === visits)
        return found.length === 0
          ? undefined
          : { sessions: found.length, pages: found.reduce((sum, { pages }) => sum + pages, 0) }
      })
      expect(await rowsOf(engine, 'byVisits', [1, 2, 3, 4]), `seed ${seed}, step ${n}`).toEqual(counts)
      if (n % 17 === 0) await engine.checkpoint()
      if (n % 30 !== 29) continue
      await engines.stop()
      engine = await open()
    }
    const all = [...USERS.map(key => ['sessions', key] as const), ...[1, 2, 3].map(key => ['byVisits', key] as const)]
    const expected = await Promise.all(all.map(([view, key]) => rowsOf(engine, view, [key])))
    for (const shards of [0, 1, 3]) {
      const replayed = await open(app, `replayed-${shards}`, shards)
      await level(replayed)
      expect(await Promise.all(all.map(([view, key]) => rowsOf(replayed, view, [key])))).toEqual(expected)
    }
    engine.verifier.start()
    while (engine.verifier.status().state === 'running') await new Promise(resolve => setImmediate(resolve))
    expect(engine.verifier.status().report?.views.map(({ equal }) => equal)).toEqual([true, true])
  })

  it('is read as it was, at any cut', async () => {
    const random = new Random(9)
    const engine = await open()
    const seen: { position: number; rows: unknown; byVisits: unknown }[] = []
    for (let n = 0; n < 40; n++) {
      nowMs! += random.pick([1, 100, TTL - 1, TTL])
      if (random.int(3) === 0) await append('others', [{ id: n }])
      else await append('visits', [{ user: random.pick(USERS), pages: random.pick([1, 2]) }])
      await level(engine)
      const [rows, byVisits] = [await rowsOf(engine, 'sessions', USERS), await rowsOf(engine, 'byVisits', [1, 2, 3])]
      seen.push({ position: log.end, rows, byVisits })
    }
    for (const { position, rows, byVisits } of seen) {
      const read = async (view: string, keys: readonly unknown[]) =>
        (
          await engine.past.read(
            keys.map(key => ({ view, key })),
            { position },
          )
        ).rows
      expect(await read('sessions', USERS), `at ${position}`).toEqual(rows)
      expect(await read('byVisits', [1, 2, 3]), `at ${position}`).toEqual(byVisits)
    }
  })

  it('has time put into the log when a row is due and nothing else comes, once, and never when none is', async () => {
    nowMs = undefined
    const short = session('short', 40)
    const engine = await open(application('test', { views: [short] }))
    await append('others', [{ id: 1 }])
    await append('visits', [{ user: 'a', pages: 1 }])
    await append('visits', [{ user: 'b', pages: 1 }])
    await level(engine)
    const clocks = async () =>
      (await batchesOf(log)).filter(({ records }) => records[0]?.topic === VIEWS_TOPIC).map(each => each.appendTimeMs)
    const gone = async () => (await rowsOf(engine, 'short', ['a', 'b'])).every(row => row === undefined)
    while (!(await gone())) await new Promise(resolve => setImmediate(resolve))
    expect(engine.views.get('short')?.status().rows).toBe(0)
    const appended = await clocks()
    expect(appended.length).toBeGreaterThan(0)
    expect(appended.length).toBeLessThanOrEqual(2)
    // Nothing is due any more: a restart finds nothing to do either.
    const { end } = log
    await engines.stop()
    const again = await open(application('test', { views: [short] }))
    const untilMs = Date.now() + 200
    while (Date.now() < untilMs) await new Promise(resolve => setImmediate(resolve))
    expect(log.end).toBe(end)
    await append('visits', [{ user: 'a', pages: 2 }])
    await level(again)
    expect(await rowsOf(again, 'short', ['a'])).toEqual([{ visits: 1, pages: 2 }])
  })

  it('lets rows of a checkpoint go that were due while nobody ran', async () => {
    nowMs = undefined
    const short = session('short', 60)
    const definition = application('test', { views: [short] })
    const engine = await open(definition)
    await append('visits', [{ user: 'a', pages: 1 }])
    await level(engine)
    await engines.stop()
    const again = await open(definition)
    while ((await rowsOf(again, 'short', ['a']))[0] !== undefined) await new Promise(resolve => setImmediate(resolve))
    expect(log.end).toBe(2)
  })

  it('folds events only', () => {
    const orders = tableSource().table('orders', { key: 'id', row: z.object({ id: z.int() }) })
    const spec = { key: z.int(), state: z.object({ n: z.int() }), ttl: minutes(10) }
    expect(() => projection('p', spec).on(orders, 'id', { add: () => {}, remove: () => {} })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID', hint: expect.stringContaining('table.changes') }),
    )
    projection('p', spec).on(
      orders.changes,
      change => change.after?.id ?? null,
      s => void s.n++,
    )
    expect(() => projection('p', { ...spec, ttl: 0 })).toThrow(expect.objectContaining({ code: 'DEFINITION_INVALID' }))
  })
})
