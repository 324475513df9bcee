import { expect, test } from 'vitest'
import { AgeTracker } from '../../query-api/age.ts'
import { AGE_SAMPLES_MAX } from '../../query-api/limits.ts'
import { ManualSource } from './support.ts'

function world() {
  const source = new ManualSource('shop')
  const state = { nowMs: 1_000, engine: { position: 0 }, log: { end: 0 }, source }
  const sources = new Map([['shop', source]])
  const tracker = new AgeTracker({ engine: state.engine, log: state.log, sources, nowMs: () => state.nowMs })
  return { state, tracker }
}

test('a view that has applied the whole log is of age 0', () => {
  const { state, tracker } = world()
  state.engine.position = state.log.end = 10
  expect(tracker.ageMs([])).toBe(0)
})

test('a view that lags is as old as the newest sample it has reached', () => {
  const { state, tracker } = world()
  for (let end = 0; end <= 100; end += 10) {
    state.log.end = end
    tracker.sample()
    state.nowMs += 20
  }
  state.engine.position = 75
  expect(tracker.ageMs([])).toBe(80)
  state.engine.position = 99
  tracker.sample()
  expect(tracker.ageMs([])).toBe(40)
})

test('the age is unknown while the view was never level', () => {
  const { state, tracker } = world()
  state.log.end = 5
  expect(tracker.ageMs([])).toBe(0 + (state.nowMs - 1_000))
  const late = new AgeTracker({ engine: { position: 0 }, log: { end: 5 }, sources: new Map(), nowMs: () => 0 })
  expect(late.ageMs([])).toBeNull()
})

test('the oldest source that reaches the view counts, and an unknown one makes the age unknown', () => {
  const { state, tracker } = world()
  state.source.overrides = { ageMs: 70 }
  expect(tracker.ageMs(['shop'])).toBe(70)
  expect(tracker.ageMs([])).toBe(0)
  state.source.overrides = { ageMs: null }
  state.nowMs += 10
  expect(tracker.ageMs(['shop'])).toBeNull()
  expect(tracker.ageMs(['nowhere'])).toBeNull()
})

test('a long rebuild keeps a bounded number of samples and stays about right', () => {
  const { state, tracker } = world()
  for (let n = 1; n <= AGE_SAMPLES_MAX * 10; n++) {
    state.log.end = n
    state.nowMs += 20
    tracker.sample()
  }
  state.engine.position = AGE_SAMPLES_MAX * 5
  const age = tracker.ageMs([]) ?? 0
  expect(age).toBeGreaterThanOrEqual(AGE_SAMPLES_MAX * 5 * 20)
  expect(age).toBeLessThan(AGE_SAMPLES_MAX * 5 * 20 * 1.1)
})
