import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { HealthMonitor } from '../../query-api/health.ts'
import { STUCK_MS } from '../../query-api/limits.ts'
import { ManualSource, openWorld, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

function monitored(source: ManualSource) {
  const state = { nowMs: 0 }
  const health = new HealthMonitor({
    engine: world.engine,
    log: world.log,
    sources: new Map([['shop', source]]),
    nowMs: () => state.nowMs,
  })
  return { state, health }
}

const READING = {
  rows: 10,
  rowsEstimated: 40,
  rowsPerSecond: 5,
  secondsLeft: 6,
  tables: 2,
  tablesDone: 0,
  paused: false,
  error: null,
}

test('an application is ready when its views are live and its sources stream', () => {
  expect(monitored(new ManualSource('shop')).health.awaited()).toEqual([])
})

test('a source that takes its snapshot is awaited, with its progress', () => {
  const source = new ManualSource('shop')
  source.overrides = { state: 'snapshotting', snapshot: READING }
  expect(monitored(source).health.awaited()).toEqual([
    { part: 'source shop', state: 'snapshotting', waitingFor: 'its snapshot: 10 of about 40 rows' },
  ])
})

test('a failed source is awaited with its code, and is no reason to call the application dead', () => {
  const source = new ManualSource('shop')
  source.overrides = { state: 'failed', ageMs: null, error: { code: 'SOURCE_SLOT_LOST', message: 'the slot is gone' } }
  const { health, state } = monitored(source)
  state.nowMs = STUCK_MS * 2
  expect(health.awaited()).toMatchObject([
    { part: 'source shop', code: 'SOURCE_SLOT_LOST', waitingFor: 'the slot is gone' },
  ])
  expect(health.stuck()).toEqual([])
})

test('a source that neither advances nor says what it waits for is dead after a while', () => {
  const source = new ManualSource('shop')
  source.overrides = { state: 'snapshotting', ageMs: null }
  const { health, state } = monitored(source)
  state.nowMs = STUCK_MS - 1
  expect(health.stuck()).toEqual([])
  state.nowMs = STUCK_MS + 1
  expect(health.stuck()).toMatchObject([{ part: 'source shop' }])
  source.overrides = { ...source.overrides, changes: 1 }
  expect(health.stuck()).toEqual([])
  source.overrides = { ...source.overrides, waitingFor: 'pid 4711, whose transaction is open' }
  state.nowMs += STUCK_MS * 3
  expect(health.stuck()).toEqual([])
})

test('an idle source that is level with its server is alive', () => {
  const { health, state } = monitored(new ManualSource('shop'))
  state.nowMs = STUCK_MS * 100
  expect(health.stuck()).toEqual([])
})

test('an engine that stands still behind the log is dead after a while', () => {
  const { log } = world
  const engine = { position: -1, views: world.engine.views }
  const state = { nowMs: 0 }
  const health = new HealthMonitor({ engine, log, sources: new Map(), nowMs: () => state.nowMs })
  expect(health.stuck()).toEqual([])
  state.nowMs = STUCK_MS + 1
  expect(health.stuck()).toMatchObject([{ part: 'engine' }])
})

test('readiness by lag: a view that is older, or of which nobody knows how old it is, is not ready; it is no reason to call it dead', () => {
  let ageMs: number | null = 100
  const { engine, log } = world
  const health = new HealthMonitor({ engine, log, sources: new Map(), lag: { ageMs: () => ageMs, readyMs: 100 } })
  expect(health.awaited()).toEqual([])
  ageMs = 101
  expect(health.awaited()).toContainEqual({
    part: 'view spending',
    state: '101 ms old',
    waitingFor: 'records and sources: 100 ms at most',
  })
  ageMs = null
  expect(health.awaited().map(({ state }) => state)).toEqual(
    Array.from(world.engine.views.keys(), () => 'of unknown age'),
  )
  expect(health.stuck()).toEqual([])
})

test('a log that was closed, and a view whose shard has ended, are dead', () => {
  const { engine, log } = world
  const sources = new Map()
  const status = { ...log.status(), state: 'closed' as const }
  expect(new HealthMonitor({ engine, log: { end: log.end, status: () => status }, sources }).stuck()).toMatchObject([
    { part: 'log' },
  ])
  const [view] = engine.views.values()
  const ended = {
    ...view!,
    name: 'spending',
    status: () => ({ ...view!.status(), error: { code: 'SHARD_FAILED', message: 'gone' } }),
  }
  const views = new Map([['spending', ended as unknown as typeof view & {}]])
  expect(new HealthMonitor({ engine: { position: engine.position, views }, log, sources }).stuck()).toMatchObject([
    { part: 'shards', code: 'SHARD_FAILED' },
  ])
})

test('a log that says what it waits for is not dead, and the engine behind it neither', () => {
  const { log } = world
  const state = { nowMs: 0 }
  const status = { ...log.status(), state: 'full' as const }
  const engine = { position: -1, views: world.engine.views }
  const health = new HealthMonitor({
    engine,
    log: { end: log.end, status: () => status },
    sources: new Map(),
    nowMs: () => state.nowMs,
  })
  state.nowMs = STUCK_MS * 2
  expect(health.stuck()).toEqual([])
  expect(health.awaited()).toContainEqual(expect.objectContaining({ part: 'log', state: 'full' }))
})

test('a server that closes is not ready first, answers as long as it drains, and tells waiting reads', async () => {
  await using draining = await openWorld(undefined, {}, { drainMs: 1_500 })
  const ready = () => draining.get('/health/ready')
  await vi.waitFor(async () => expect((await ready()).status).toBe(200))
  const waiting = draining.get('/v1/views/spending/rows/ada?after=999&timeoutMs=60000')
  const closed = draining.server.close()
  expect((await ready()).body).toMatchObject({
    status: 503,
    code: 'NOT_READY',
    waitingFor: [{ part: 'server', state: 'shutting down' }],
  })
  expect((await draining.get('/health/live')).status).toBe(200)
  expect((await draining.get('/v1/views')).status).toBe(200)
  expect((await waiting).body).toMatchObject({ code: 'SHUTTING_DOWN' })
  await closed
  await expect(draining.get('/v1/views')).rejects.toThrow()
})
