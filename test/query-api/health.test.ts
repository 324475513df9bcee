import { afterAll, beforeAll, expect, test } from 'vitest'
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
