import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorld, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

const seating = { show: 'hamlet', seat: 1, holder: null, at: '2026-11-01T09:00:00Z', id: '36893488147419103232' }

test('one record is appended, its types read from the wire, its defaults filled', async () => {
  const { status, body } = await world.post('/v1/topics/seatings', seating)
  expect(status).toBe(200)
  expect(body).toEqual({ positions: [String(world.log.end)], token: `m1.${world.log.id}.log.${world.log.end}` })
  const row = await world.get(`/v1/views/seats/rows/hamlet,1?after=${body['token']}`)
  expect(row.body['value']).toEqual({ holder: null, at: '2026-11-01T09:00:00.000Z', ids: seating.id, tags: ['none'] })
})

test('several records are appended as one unit', async () => {
  const before = world.log.end
  const { body } = await world.post('/v1/topics/purchases', [
    { customer: 'bob', cents: 1 },
    { customer: 'bob', cents: 2 },
  ])
  expect(body['positions']).toEqual([String(before + 1), String(before + 2)])
})

test('where one of several is refused none is kept, and the answer says which', async () => {
  const before = world.log.end
  const { status, body } = await world.post('/v1/topics/purchases', [
    { customer: 'bob', cents: 1 },
    { customer: 'bob' },
  ])
  expect(status).toBe(400)
  expect(body).toMatchObject({ code: 'RECORD_REFUSED', index: 1 })
  expect(body['detail']).toContain('record 1: cents: expected')
  expect(world.log.end).toBe(before)
})

test.each([
  ['purchases', { customer: 1, cents: 1 }],
  ['purchases', { customer: 'x', cents: 1.5 }],
  ['purchases', { customer: 'x', cents: 2 ** 53 }],
  ['purchases', null],
  ['purchases', 1],
  ['purchases', [[]]],
  ['purchases', [null]],
  ['purchases', {}],
  ['seatings', { ...seating, at: 'no date' }],
  ['seatings', { ...seating, at: 5 }],
  ['seatings', { ...seating, id: '1.5' }],
  ['seatings', { ...seating, id: 2 ** 60 }],
  ['seatings', { ...seating, seat: 2 ** 31 }],
  ['seatings', { ...seating, note: '' }],
])('topic %s refuses %j', async (topic, record) => {
  const { status, body } = await world.post(`/v1/topics/${topic}`, record)
  expect([status, body['code']]).toEqual([400, 'RECORD_REFUSED'])
  expect(body['detail']).toBeTypeOf('string')
})

test.each([
  ['', 'the body is empty'],
  ['{', 'the body is not JSON'],
  ['{"customer": "x", "cents": 1} x', 'the body is not JSON'],
  ['[]', 'the list of records is empty'],
])('the body %j is refused', async (text, title) => {
  const { status, body } = await world.post('/v1/topics/purchases', text)
  expect([status, body['code'], body['title']]).toEqual([400, 'REQUEST_INVALID', title])
})

test("a table's topic takes no appends, and an unknown one is 404", async () => {
  const table = await world.post('/v1/topics/shop.orders', {})
  expect([table.status, table.body['code'], table.headers.get('allow')]).toEqual([405, 'TOPIC_READ_ONLY', ''])
  const unknown = await world.post('/v1/topics/nowhere', {})
  expect([unknown.status, unknown.body['code']]).toEqual([404, 'TOPIC_UNKNOWN'])
})

test('a body over 1 MiB is 413', async () => {
  const { status, body } = await world.post('/v1/topics/purchases', { customer: 'x'.repeat(1024 * 1024), cents: 1 })
  expect([status, body['code']]).toEqual([413, 'BODY_TOO_LARGE'])
})

test('a body is JSON whatever its type is called, as curl -d sends it', async () => {
  for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/octet-stream']) {
    const { status } = await world.post(
      '/v1/topics/purchases',
      { customer: 'curl', cents: 1 },
      { 'content-type': type },
    )
    expect(status).toBe(200)
  }
})

test('a page of another origin cannot write, one of the same can', async () => {
  const body = { customer: 'page', cents: 1 }
  for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1:1']) {
    const refused = await world.post('/v1/topics/purchases', body, { origin, 'content-type': 'text/plain' })
    expect([refused.status, refused.body['code']]).toEqual([403, 'ORIGIN_REFUSED'])
  }
  expect((await world.post('/v1/topics/purchases', body, { origin: world.url })).status).toBe(200)
  const drop = await fetch(`${world.url}/v1/sources/shop`, {
    method: 'DELETE',
    headers: { origin: 'https://evil.example' },
  })
  expect([drop.status, world.source.dropped]).toEqual([403, false])
})

test('many writers at once each get their own positions', async () => {
  const replies = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      world.post('/v1/topics/purchases', [
        { customer: 'many', cents: n },
        { customer: 'many', cents: n },
      ]),
    ),
  )
  const positions = replies.flatMap(reply => reply.body['positions'] as string[])
  expect(new Set(positions).size).toBe(200)
  const last = await world.get(`/v1/views/spending/rows/many?after=${Math.max(...positions.map(Number))}`)
  expect(last.body).toMatchObject({ value: { count: 200 } })
})

test('sources are listed, one is shown, its parked rows are listed, and it can be dropped', async () => {
  expect((await world.get('/v1/sources')).body).toMatchObject({ sources: [{ name: 'shop', state: 'streaming' }] })
  expect((await world.get('/v1/sources/shop')).body).toMatchObject({ slot: 'a_slot' })
  world.source.parkedRows = [1, 2, 3].map(n => ({
    topic: 'shop.orders',
    key: String(n),
    op: 'insert',
    position: '0/1',
    logPosition: n,
    error: 'name: expected string',
    raw: { id: String(n), name: null },
  }))
  const parked = await world.get('/v1/sources/shop/parked?limit=2')
  expect(parked.body).toMatchObject({
    parked: [{ key: '1', logPosition: '1', raw: { name: null } }, { key: '2' }],
    total: 3,
  })
  for (const path of ['/v1/sources/none', '/v1/sources/none/parked'])
    expect((await world.get(path)).body['code']).toBe('SOURCE_UNKNOWN')
  const dropped = await fetch(`${world.url}/v1/sources/shop`, { method: 'DELETE' })
  expect(await dropped.json()).toEqual({ source: 'shop', dropped: ['slot a_slot', 'publication a_publication'] })
  expect(world.source.dropped).toBe(true)
})

test('no request has met an internal error', () => {
  expect(world.internalErrors).toEqual([])
})
