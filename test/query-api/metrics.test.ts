// What Prometheus reads, and how much a source brings in a second.
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { SourceRates } from '../../query-api/rates.ts'
import { ManualSource, openWorld, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

async function metrics(): Promise<{ type: string | null; text: string; samples: Map<string, number> }> {
  const response = await fetch(`${world.url}/metrics`)
  const text = await response.text()
  const samples = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const sample = /^([a-z_0-9]+(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (-?[0-9.e+-]+)$/.exec(line)
    if (!sample) throw new Error(`not a sample: ${line}`)
    samples.set(sample[1]!, Number(sample[2]))
  }
  return { type: response.headers.get('content-type'), text, samples }
}

test('sources, log and views are gauges in the text format, each with its help and type', async () => {
  const { position } = await world.appends.append('purchases', [{ customer: 'ada', cents: 1 }]).then(appended => ({
    position: Number(appended.positions[0]),
  }))
  await world.engine.waitFor(position, AbortSignal.timeout(30_000))
  world.source.overrides = {
    state: 'snapshotting',
    waitingFor: 'a lock',
    lagBytes: 1234,
    ageMs: 2500,
    walHeldBytes: 99,
    parked: 3,
    error: { code: 'SOURCE_UNREACHABLE', message: 'x' },
    snapshot: {
      rows: 10,
      rowsEstimated: 100,
      rowsPerSecond: 5,
      secondsLeft: 18,
      tables: 1,
      tablesDone: 0,
      paused: false,
      error: null,
    },
  }
  const { type, text, samples } = await metrics()
  expect(type).toBe('text/plain; version=0.0.4; charset=utf-8')
  expect(Object.fromEntries(samples)).toMatchObject({
    'mainstem_source_state{source="shop",technology="manual",state="snapshotting"}': 1,
    'mainstem_source_state{source="shop",technology="manual",state="streaming"}': 0,
    'mainstem_source_waiting{source="shop"}': 1,
    'mainstem_source_lag_bytes{source="shop"}': 1234,
    'mainstem_source_lag_seconds{source="shop"}': 2.5,
    'mainstem_source_wal_held_bytes{source="shop"}': 99,
    'mainstem_source_parked{source="shop"}': 3,
    'mainstem_source_snapshot_rows{source="shop"}': 10,
    'mainstem_source_snapshot_rows_per_second{source="shop"}': 5,
    'mainstem_source_error{source="shop",code="SOURCE_UNREACHABLE"}': 1,
    'mainstem_log_state{state="open"}': 1,
    mainstem_log_end: world.log.end,
    'mainstem_view_state{view="spending",state="live"}': 1,
    'mainstem_view_rows{view="spending"}': 1,
    'mainstem_view_position{view="spending"}': position,
  })
  for (const name of new Set([...samples.keys()].map(key => key.replace(/(_bucket|_sum|_count)?(\{.*)?$/, '')))) {
    expect(text.match(new RegExp(`^# TYPE ${name} (gauge|counter|histogram)$`, 'gm'))).toHaveLength(1)
    expect(text.match(new RegExp(`^# HELP ${name} .+$`, 'gm'))).toHaveLength(1)
  }
  world.source.overrides = {}
  // What a source does not know, or does not have now, has no sample.
  const calm = (await metrics()).samples
  expect([...calm.keys()].filter(key => /snapshot_rows|source_error/.test(key))).toEqual([])
})

test('requests are counted by call, their problems by code; the process tells of itself', async () => {
  const before = (await metrics()).samples
  await world.get('/v1/views/spending/rows/ada')
  await world.get('/v1/views/spending/rows/nobody')
  await world.get('/v1/views/none/rows/ada')
  const { samples } = await metrics()
  const added = (name: string) => (samples.get(name) ?? 0) - (before.get(name) ?? 0)
  const row = 'method="GET",route="/v1/views/:view/rows/:key"'
  expect(added(`mainstem_http_requests_total{${row}}`)).toBe(3)
  expect(added('mainstem_http_problems_total{code="VIEW_UNKNOWN"}')).toBe(1)
  expect(added('mainstem_http_problems_total{code="ROW_NOT_FOUND"}')).toBe(0)
  expect(added('mainstem_http_requests_total{method="GET",route="/metrics"}')).toBe(1)
  // The first request of a call is timed.
  await vi.waitFor(async () => {
    const timed = (await metrics()).samples
    expect(timed.get(`mainstem_http_request_duration_seconds_count{${row},status="200"}`)).toBe(1)
    expect(timed.get(`mainstem_http_request_duration_seconds_bucket{le="60",${row},status="200"}`)).toBe(1)
  })
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(0)
  expect(samples.get('nodejs_eventloop_lag_seconds')).toBeGreaterThanOrEqual(0)
})

test('changes per second are of the last ten seconds', () => {
  let nowMs = 0
  const rates = new SourceRates(() => nowMs)
  const source = new ManualSource('shop')
  const sources = new Map([['shop', source]])
  rates.observe(sources)
  expect(rates.wire(source).changesPerSecond).toBeNull()
  for (let second = 1; second <= 20; second++) {
    nowMs = second * 1_000
    source.overrides = { changes: second <= 10 ? second * 100 : 1_000 }
    rates.observe(sources)
    if (second === 5) expect(rates.wire(source).changesPerSecond).toBe(100)
  }
  expect(rates.wire(source).changesPerSecond).toBe(0)
  // Made anew, a source counts from 0.
  source.overrides = { changes: 0 }
  expect(rates.wire(source).changesPerSecond).toBe(0)
})
