import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorld, type World } from './support.ts'

let world: World
let token: string

const at = '2026-11-01T09:00:00.000Z'
/** Keys that break careless code: separators, escapes, dots, unicode, emptiness. */
const ODD = [
  'a,b',
  'a/b',
  '/',
  'a%2Fb',
  '100%',
  '%',
  'ä ö',
  '🚲',
  '?x=1',
  '#',
  'a+b',
  'a b',
  '"',
  '\\',
  '\n',
  '__proto__',
  'rows',
  'x'.repeat(1_500),
]

beforeAll(async () => {
  world = await openWorld()
  await world.appends.append('purchases', [
    { customer: 'ada', cents: 1250 },
    { customer: 'ada', cents: 800 },
  ])
  await world.appends.append(
    'purchases',
    ODD.map((customer, n) => ({ customer, cents: n })),
  )
  const seats = [
    { show: 'hamlet', seat: 1, holder: 'ada', at: new Date(at), id: 7n },
    { show: 'a,b/c', seat: -2, holder: null, at: new Date(at), id: 2n ** 65n, note: 'x' },
  ]
  token = (await world.appends.append('seatings', seats)).token
  await world.reads.wait({ after: [token] })
})
afterAll(() => world[Symbol.asyncDispose]())

test('a row is answered with its position, age and finality', async () => {
  const { status, body, headers } = await world.get('/v1/views/spending/rows/ada')
  expect(status).toBe(200)
  expect(headers.get('content-type')).toContain('application/json')
  expect(headers.get('mainstem-types')).toBeNull()
  expect(body).toEqual({
    key: 'ada',
    value: { count: 2, cents: 2050 },
    position: String(world.log.end),
    ageMs: 0,
    final: true,
  })
})

test('a row that is absent is 404 with the position at which it is', async () => {
  const { status, body, headers } = await world.get('/v1/views/spending/rows/bob')
  expect(status).toBe(404)
  expect(headers.get('content-type')).toContain('application/problem+json')
  expect(body).toMatchObject({
    code: 'ROW_NOT_FOUND',
    status: 404,
    position: String(world.log.end),
    ageMs: 0,
    final: true,
    instance: '/v1/views/spending/rows/bob',
  })
})

test.each(ODD)('the key %j is found by URL and by lookup', async key => {
  const { key: codec } = world.reads.view('spending').live
  const byUrl = await world.get(`/v1/views/spending/rows/${codec.format(key)}`)
  expect(byUrl.body).toMatchObject({ key, value: { count: 1, cents: ODD.indexOf(key) } })
  const lookup = await world.post('/v1/views/spending/lookup', { keys: [key] })
  expect(lookup.body).toMatchObject({ values: [{ key, value: { count: 1, cents: ODD.indexOf(key) } }] })
})

test('a composite key is its columns in order; a comma within one is %2C', async () => {
  const plain = await world.get('/v1/views/seats/rows/hamlet,1')
  expect(plain.body).toMatchObject({
    key: { show: 'hamlet', seat: 1 },
    value: { holder: 'ada', at, ids: '7', tags: ['none'] },
  })
  const odd = await world.get('/v1/views/seats/rows/a%2Cb%2Fc,-2')
  expect(odd.body).toMatchObject({
    key: { show: 'a,b/c', seat: -2 },
    value: { holder: null, ids: String(2n ** 65n), tags: ['x'] },
  })
  const wholly = await world.get(`/v1/views/seats/rows/${encodeURIComponent('hamlet,1')}`)
  expect(wholly.status).toBe(200)
  const lookup = await world.post('/v1/views/seats/lookup', {
    keys: [
      { show: 'hamlet', seat: 1 },
      { show: 'no', seat: 1 },
    ],
  })
  expect(lookup.body['values']).toMatchObject([
    { value: { holder: 'ada' } },
    { key: { show: 'no', seat: 1 }, value: null },
  ])
})

test('the types header says which strings are something else', async () => {
  const { headers } = await world.get('/v1/views/seats/rows/hamlet,1')
  expect(JSON.parse(headers.get('mainstem-types') ?? '')).toEqual({ at: 'date-time', ids: 'int64' })
  const read = await world.post('/v1/read', {
    reads: [
      { view: 'seats', key: { show: 'hamlet', seat: 1 } },
      { view: 'spending', key: 'ada' },
    ],
  })
  expect(JSON.parse(read.headers.get('mainstem-types') ?? '')).toEqual({ seats: { at: 'date-time', ids: 'int64' } })
})

test('a view may be named as a part of the path, and an int64 key keeps its digits', async () => {
  const { body } = await world.get(`/v1/views/rows/rows/${2n ** 65n}`)
  expect(body).toMatchObject({ key: String(2n ** 65n), value: { count: 1 } })
})

test('one read may ask several views', async () => {
  const { status, body } = await world.post('/v1/read', {
    reads: [
      { view: 'spending', key: 'ada' },
      { view: 'totals', key: 'all' },
      { view: 'rows', key: '7' },
      { view: 'rows', key: 7 },
      { view: 'spending', key: 'nobody' },
    ],
  })
  expect(status).toBe(200)
  expect(body).toMatchObject({
    values: [
      { view: 'spending', key: 'ada', value: { cents: 2050 } },
      { view: 'totals', key: 'all', value: { count: 2 + ODD.length } },
      { view: 'rows', key: '7', value: { count: 1 } },
      { view: 'rows', key: '7' },
      { view: 'spending', key: 'nobody', value: null },
    ],
    position: String(world.log.end),
    final: true,
  })
})

test('lists may be empty, and hold 1,000 at most', async () => {
  expect((await world.post('/v1/views/spending/lookup', { keys: [] })).body['values']).toEqual([])
  expect((await world.post('/v1/read?after=0', { reads: [] })).body['values']).toEqual([])
  const keys = Array.from({ length: 1_000 }, (_, n) => `k${n}`)
  expect((await world.post('/v1/views/spending/lookup', { keys })).status).toBe(200)
  expect((await world.post('/v1/views/spending/lookup', { keys: [...keys, 'x'] })).body['code']).toBe('REQUEST_INVALID')
})

test('views are listed with what they are and how far', async () => {
  const { body } = await world.get('/v1/views')
  expect(body).toMatchObject({ position: String(world.log.end), logEnd: String(world.log.end) })
  const views = body['views'] as readonly Record<string, unknown>[]
  expect(views.map(view => view['name'])).toEqual(['spending', 'totals', 'seats', 'rows', 'stopping'])
  expect(views[2]).toMatchObject({
    status: 'live',
    waitingFor: null,
    rows: 2,
    key: [
      { name: 'show', type: 'string' },
      { name: 'seat', type: 'int32' },
    ],
    inputs: ['seatings'],
    sources: [],
    indexes: [],
  })
})

test('one view is described with its schema', async () => {
  const { body } = await world.get('/v1/views/seats')
  expect(body).toMatchObject({
    name: 'seats',
    schema: {
      key: { type: 'object', required: ['show', 'seat'] },
      value: { properties: { ids: { type: 'string', format: 'int64' } } },
    },
  })
})

test('HEAD is answered as GET without a body', async () => {
  const response = await fetch(`${world.url}/v1/views/spending/rows/ada`, { method: 'HEAD' })
  expect([response.status, await response.text()]).toEqual([200, ''])
})

test('many clients at once each get their own answer', async () => {
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      world.get(n % 3 === 0 ? '/v1/views/spending/rows/%zz' : `/v1/views/spending/rows/${n % 3 === 1 ? 'ada' : 'bob'}`),
    ),
  )
  expect(answers.map(answer => answer.status)).toEqual(answers.map((_, n) => [400, 200, 404][n % 3]))
  expect(world.internalErrors).toEqual([])
})

test('a read of several views is of one cut, whatever is being applied meanwhile', async () => {
  const before = await world.post('/v1/read', { reads: [{ view: 'totals', key: 'all' }] })
  const start = (before.body['values'] as { value: { count: number } }[])[0]?.value.count ?? 0
  const SIZE = 20_000
  let applied = false
  // Batches far larger than a slice: the engine yields many times within each.
  const appending = (async () => {
    for (let n = 0; n < 4; n++) {
      await world.appends.append(
        'purchases',
        Array.from({ length: SIZE }, (_, each) => ({ customer: each % 2 === 0 ? 'left' : 'right', cents: 1 })),
      )
    }
    await world.reads.wait({ after: [String(world.log.end)], timeoutMs: 30_000 })
    applied = true
  })()
  appending.catch(() => {})
  const reads = {
    reads: [
      { view: 'totals', key: 'all' },
      { view: 'spending', key: 'left' },
      { view: 'spending', key: 'right' },
    ],
  }
  const seen = new Set<number>()
  while (!applied) {
    const { body } = await world.post('/v1/read', reads)
    const [total = 0, left = 0, right = 0] = (body['values'] as { value: { count: number } | null }[]).map(
      each => each.value?.count ?? 0,
    )
    expect((total - start) % SIZE, `a torn read: ${total - start} of batches of ${SIZE}`).toBe(0)
    expect(left + right).toBe(total - start)
    seen.add(total)
  }
  await appending
  expect(seen.size).toBeGreaterThan(0)
})
