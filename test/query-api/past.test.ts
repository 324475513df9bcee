import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest'
import type { Position } from '../../core/index.ts'
import { type Client, createLocalClient } from '../../query-api/index.ts'
import { openWorld, shop, type World } from './support.ts'

let world: World
let client: Client<typeof shop>
/** Between the second and the third purchase. */
let betweenMs = 0

beforeAll(async () => {
  // Checkpoints by the clock would be further places to begin a replay at.
  world = await openWorld(shop, { checkpointIntervalMs: 3_600_000 })
  client = createLocalClient<typeof shop>(world.reads)
  await world.appends.append('purchases', [{ customer: 'ada', cents: 5 }])
  await world.appends.append('purchases', [
    { customer: 'ada', cents: 7 },
    { customer: 'bob', cents: 100 },
  ])
  betweenMs = Date.now() + 1
  while (Date.now() <= betweenMs) await new Promise(resolve => setImmediate(resolve))
  const { token } = await world.appends.append('purchases', [{ customer: 'ada', cents: -2 }])
  await client.views.spending.get('ada', { after: token })
})
afterAll(() => world[Symbol.asyncDispose]())

const past = { ageMs: null, final: true }

test('a row at a position is as of the last transaction that had ended there', async () => {
  const first = { key: 'ada', value: { count: 1, cents: 5 }, position: '1', ...past }
  expect((await world.get('/v1/views/spending/rows/ada?at=1')).body).toEqual(first)
  // Position 2 is within the second transaction, which ends at 3.
  expect((await world.get('/v1/views/spending/rows/ada?at=2')).body).toEqual(first)
  const second = { key: 'ada', value: { count: 2, cents: 12 }, position: '3', ...past }
  expect((await world.get('/v1/views/spending/rows/ada?at=3')).body).toEqual(second)
})

test('a row at a time is as the log was then', async () => {
  const at = new Date(betweenMs).toISOString()
  const { body } = await world.get(`/v1/views/spending/rows/ada?at=${at}`)
  expect(body).toMatchObject({ value: { count: 2, cents: 12 }, position: '3' })
  expect((await world.get('/v1/views/spending/rows/ada?at=1999-12-31')).status).toBe(404)
})

test('a row at a savepoint is as it was when that was made', async () => {
  const { position } = await world.engine.savepoints.create('before')
  const { token } = await world.appends.append('purchases', [{ customer: 'eve', cents: 1 }])
  await client.views.spending.get('eve', { after: token })
  expect((await world.get('/v1/views/spending/rows/eve?at=savepoint:before')).body).toMatchObject({
    code: 'ROW_NOT_FOUND',
    position: String(position),
  })
  const { value } = await client.views.spending.get('ada', { at: { savepoint: 'before' } })
  expect(value).toEqual({ count: 3, cents: 10 })
})

test('a row that was not there yet is 404, with the position', async () => {
  const { status, body } = await world.get('/v1/views/spending/rows/bob?at=1')
  expect([status, body['code'], body['position'], body['ageMs']]).toEqual([404, 'ROW_NOT_FOUND', '1', null])
})

test('lookup and read take the past too, at one cut', async () => {
  const lookup = await world.post('/v1/views/spending/lookup?at=2', { keys: ['ada', 'bob'] })
  expect(lookup.body).toEqual({
    values: [
      { key: 'ada', value: { count: 1, cents: 5 } },
      { key: 'bob', value: null },
    ],
    position: '1',
    ...past,
  })
  const reads = [
    { view: 'spending', key: 'bob' },
    { view: 'totals', key: 'all' },
  ]
  expect((await world.post('/v1/read?at=3', { reads })).body).toEqual({
    values: [
      { view: 'spending', key: 'bob', value: { count: 1, cents: 100 } },
      { view: 'totals', key: 'all', value: { count: 3, cents: 112 } },
    ],
    position: '3',
    ...past,
  })
})

test.each([
  ['at=9999', 400, 'AT_AHEAD'],
  ['at=2999-01-01', 400, 'AT_AHEAD'],
  ['at=yesterday', 400, 'AT_MALFORMED'],
  ['at=2026-11-01T09:00:00', 400, 'AT_MALFORMED'],
  ['at=-1', 400, 'AT_MALFORMED'],
  ['at=savepoint:none', 404, 'SAVEPOINT_UNKNOWN'],
  ['at=1&at=2', 400, 'REQUEST_INVALID'],
  ['at=', 400, 'REQUEST_INVALID'],
  ['at=1&after=1', 400, 'REQUEST_INVALID'],
])('%s is refused', async (query, status, code) => {
  const reply = await world.get(`/v1/views/spending/rows/ada?${query}`)
  expect([reply.status, reply.body['code']]).toEqual([status, code])
})

test('the client in this process reads the past by position, time and key', async () => {
  const at1 = await client.views.spending.get('ada', { at: '1' })
  expect(at1).toEqual({ value: { count: 1, cents: 5 }, position: '1', ...past })
  const atTime = await client.views.spending.lookup(['ada', 'bob'], { at: new Date(betweenMs) })
  expect(atTime.value).toEqual([
    { count: 2, cents: 12 },
    { count: 1, cents: 100 },
  ])
  const both = await client.read({ one: ['spending', 'ada'], all: ['totals', 'all'] }, { at: '1' })
  expect(both.value).toEqual({ one: { count: 1, cents: 5 }, all: { count: 1, cents: 5 } })
  await expect(client.views.spending.get('ada', { at: '1', after: '1' })).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  })
  await expect(client.views.spending.get('ada', { at: { savepoint: 'x' } })).rejects.toMatchObject({
    code: 'SAVEPOINT_UNKNOWN',
  })
})

test('lineage lists the records that made a row, newest first, and what each did', async () => {
  const { status, body } = await world.get('/v1/views/spending/rows/ada/lineage')
  expect(status).toBe(200)
  expect(body).toMatchObject({ key: 'ada', next: null, position: '5', ageMs: null, final: true })
  const step = (position: string, cents: number, before: unknown, after: unknown) => ({
    position,
    topic: 'purchases',
    op: 'event',
    record: { key: 'ada', value: { customer: 'ada', cents } },
    appendTime: expect.stringMatching(/^\d{4}-.*Z$/),
    source: null,
    before,
    after,
  })
  expect(body['steps']).toEqual([
    step('4', -2, { count: 2, cents: 12 }, { count: 3, cents: 10 }),
    step('2', 7, { count: 1, cents: 5 }, { count: 2, cents: 12 }),
    step('1', 5, null, { count: 1, cents: 5 }),
  ])
})

test('lineage goes page by page, by field, and up to a place in the past', async () => {
  const positions = (body: Readonly<Record<string, unknown>>) =>
    (body['steps'] as { position: string }[]).map(step => step.position)
  const first = await world.get('/v1/views/spending/rows/ada/lineage?limit=2')
  expect([positions(first.body), first.body['next']]).toEqual([['4', '2'], '2'])
  const second = await world.get('/v1/views/spending/rows/ada/lineage?limit=2&before=2')
  expect([positions(second.body), second.body['next']]).toEqual([['1'], null])
  const earlier = await world.get('/v1/views/spending/rows/ada/lineage?at=3')
  expect([positions(earlier.body), earlier.body['position']]).toEqual([['2', '1'], '3'])
  const nobody = await world.get('/v1/views/spending/rows/nobody/lineage')
  expect([nobody.status, nobody.body['steps']]).toEqual([200, []])
  const wrong = await world.get('/v1/views/spending/rows/ada/lineage?field=name')
  expect([wrong.status, wrong.body['code']]).toEqual([400, 'REQUEST_INVALID'])
})

test('a field that a record left as it was is not in the lineage of that field', async () => {
  const at = '2026-11-01T00:00:00.000Z'
  const seating = { show: 'lear', seat: 1, at, id: '1' }
  await world.post('/v1/topics/seatings', { ...seating, holder: 'ada' })
  await world.post('/v1/topics/seatings', { ...seating, holder: 'ada' })
  const { body } = await world.post('/v1/topics/seatings', { ...seating, holder: 'bob' })
  const key = { show: 'lear', seat: 1 }
  await client.views.seats.get(key, { after: String(body['token']) })
  const steps = await client.views.seats.lineage(key, { field: 'holder' })
  expectTypeOf(steps[0]!.position).toEqualTypeOf<Position>()
  expect(steps.map(({ before, after }) => [before?.holder ?? null, after?.holder])).toEqual([
    ['ada', 'bob'],
    [null, 'ada'],
  ])
  expect(steps[0]!.record.after).toMatchObject({ holder: 'bob', at: new Date(at), id: 1n })
  expect((await client.views.seats.lineage(key)).length).toBe(3)
  const reply = await world.get('/v1/views/seats/rows/lear,1/lineage?field=holder')
  expect(reply.headers.get('mainstem-types')).toContain('date-time')
  expect(reply.body['key']).toEqual(key)
})

const text = async (path: string) => {
  const response = await fetch(world.url + path)
  return { status: response.status, headers: response.headers, body: await response.text() }
}
const lines = (body: string) =>
  body
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))

test('an export has every row as reads have it, and says where and how many', async () => {
  const { headers, body } = await text('/v1/views/spending/export')
  const [last, ...rows] = lines(body).reverse()
  const position = String(world.engine.position)
  expect(last).toEqual({ position, rows: 3, final: true })
  expect(rows.sort((a, b) => (a.key < b.key ? -1 : 1))).toEqual([
    { key: 'ada', value: { count: 3, cents: 10 } },
    { key: 'bob', value: { count: 1, cents: 100 } },
    { key: 'eve', value: { count: 1, cents: 1 } },
  ])
  expect([headers.get('mainstem-position'), headers.get('mainstem-rows')]).toEqual([position, '3'])
  expect(headers.get('content-disposition')).toBe(`attachment; filename="spending-${position}.ndjson"`)
})

test('an export of the past has the rows of then', async () => {
  const { body } = await text('/v1/views/spending/export?at=2')
  expect(lines(body)).toEqual([
    { key: 'ada', value: { count: 1, cents: 5 } },
    { position: '1', rows: 1, final: true },
  ])
})

test('an export as CSV quotes what RFC 4180 wants quoted, and keeps null apart from an empty text', async () => {
  const at = '2026-11-01T00:00:00.000Z'
  const each = (seat: number, holder: string | null) => ({
    show: 'a "b",\nc',
    seat,
    holder,
    at,
    id: '36893488147419103232',
  })
  const { body } = await world.post('/v1/topics/seatings', [each(1, null), each(2, ''), each(3, 'x')])
  await client.views.seats.get({ show: '', seat: 0 }, { after: String(body['token']) })
  const csv = await text('/v1/views/seats/export?format=csv')
  expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
  const [head, ...rest] = csv.body.split('\r\n')
  expect(head).toBe('key.show,key.seat,holder,at,ids,tags')
  const show = '"a ""b"",\nc"'
  const row = (seat: number, holder: string) => `${show},${seat},${holder},${at},36893488147419103232,"[""none""]"`
  expect(rest).toEqual(expect.arrayContaining([row(1, ''), row(2, '""'), row(3, 'x')]))
})

test.each([
  ['/v1/views/none/export', 404, 'VIEW_UNKNOWN'],
  ['/v1/views/spending/export?format=xml', 400, 'REQUEST_INVALID'],
  ['/v1/views/spending/export?at=99999', 400, 'AT_AHEAD'],
])('%s is refused', async (path, status, code) => {
  const reply = await world.get(path)
  expect([reply.status, reply.body['code']]).toEqual([status, code])
})

test('clients that leave amidst an export hold nothing', async () => {
  const customers = Array.from({ length: 900 }, (_, n) => ({ customer: `${n} ${'x'.repeat(500)}`, cents: n }))
  let token = ''
  for (let n = 0; n < 20; n++) {
    const some = customers.map(({ customer, cents }) => ({ customer: `${n} ${customer}`, cents }))
    token = (await world.appends.append('purchases', some)).token
  }
  await client.views.spending.get('ada', { after: token })
  for (let n = 0; n < 5; n++) {
    const leave = new AbortController()
    const response = await fetch(`${world.url}/v1/views/spending/export`, { signal: leave.signal })
    const reader = response.body!.getReader()
    await reader.read()
    leave.abort()
  }
  const { body } = await text('/v1/views/spending/export')
  expect(lines(body).length).toBe(3 + 20 * 900 + 1)
})

test('a replay is begun and told over HTTP', async () => {
  const started = await world.post('/v1/views/spending/replay', { dryRun: true })
  expect([started.status, started.body['state'], started.body['view']]).toEqual([200, 'running', 'spending'])
  let status = await world.get('/v1/views/spending/replay')
  while (status.body['state'] === 'running') status = await world.get('/v1/views/spending/replay')
  expect(status.body).toMatchObject({
    state: 'done',
    report: { from: '0', base: null, switchedAt: null, views: [{ view: 'spending', equal: true, differences: 0 }] },
  })
  expect((await world.get('/v1/views/totals/replay')).body).toMatchObject({ state: 'idle', report: null })
  const refused = async (body: unknown, view = 'spending') => {
    const reply = await world.post(`/v1/views/${view}/replay`, body)
    return [reply.status, reply.body['code']]
  }
  expect(await refused({ from: '1' })).toEqual([409, 'REPLAY_BASE_MISSING'])
  expect(await refused({ from: 7 })).toEqual([400, 'REQUEST_INVALID'])
  expect(await refused({ form: '7' })).toEqual([400, 'REQUEST_INVALID'])
  expect(await refused({}, 'none')).toEqual([404, 'VIEW_UNKNOWN'])
})

test('a replay begins with the rows of a savepoint, and says with which', async () => {
  await world.appends.append('purchases', [{ customer: 'ada', cents: 1 }])
  const { position } = await world.engine.savepoints.create('to-replay')
  await world.appends.append('purchases', [{ customer: 'ada', cents: 2 }])
  expect((await world.post('/v1/views/spending/replay', { from: '999999' })).status).toBe(200)
  let status = await world.get('/v1/views/spending/replay')
  while (status.body['state'] === 'running') status = await world.get('/v1/views/spending/replay')
  expect(status.body).toMatchObject({
    state: 'done',
    report: {
      from: String(position),
      base: { kind: 'savepoint', name: 'to-replay', position: String(position) },
      switchedAt: null,
      views: [{ view: 'spending', equal: true }],
    },
  })
  // The event, and what says in the log that somebody asked for it.
  expect((status.body['report'] as { records: number }).records).toBeLessThanOrEqual(2)
  const refused = await world.post('/v1/views/spending/replay', { from: '1' })
  expect([refused.status, refused.body['code']]).toEqual([409, 'REPLAY_BASE_MISSING'])
  expect(refused.body['positions']).toContain(String(position))
})
