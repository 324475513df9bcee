import { expect, test, vi } from 'vitest'
import { openWorld, type Reply } from './support.ts'

const waitingFor = (reply: Reply) => reply.body['waitingFor'] as readonly Record<string, unknown>[]

test('a read after an append includes it', async () => {
  await using world = await openWorld()
  for (let n = 1; n <= 20; n++) {
    const appended = await world.post('/v1/topics/purchases', { customer: 'ada', cents: 1 })
    const { body } = await world.get(`/v1/views/spending/rows/ada?after=${appended.body['token']}`)
    expect(body).toMatchObject({ value: { count: n }, position: String(n) })
  }
})

test('a position that is yet to come is waited for', async () => {
  await using world = await openWorld()
  const waiting = world.get('/v1/views/spending/rows/ada?after=2&timeoutMs=20000')
  await world.post('/v1/topics/purchases', { customer: 'ada', cents: 1 })
  await world.post('/v1/topics/purchases', { customer: 'ada', cents: 1 })
  expect((await waiting).body).toMatchObject({ value: { count: 2 } })
})

test('a position that does not come in time is 504, saying what it waits for and where that is', async () => {
  await using world = await openWorld()
  const reply = await world.get('/v1/views/spending/rows/ada?after=9&timeoutMs=30')
  expect(reply.status).toBe(504)
  expect(reply.body).toMatchObject({ code: 'NOT_REACHED', retriable: true, position: '0' })
  expect(waitingFor(reply)).toEqual([{ source: 'log', position: '9', reached: '0', waitingFor: 'an append' }])
  expect(reply.body['detail']).toContain('waiting for position 9, it ends at 0')
})

test('a source is waited for, then the log position that holds its write', async () => {
  await using world = await openWorld()
  const waiting = world.get('/v1/views/spending/rows/ada?after=shop:0/1A&timeoutMs=20000')
  world.source.reach('0/1A', 1)
  await world.appends.append('purchases', [{ customer: 'ada', cents: 7 }])
  expect((await waiting).body).toMatchObject({ value: { cents: 7 }, position: '1' })
})

test('a source that does not get there is named with its position and its state', async () => {
  await using world = await openWorld()
  world.source.overrides = { position: '0/17', state: 'snapshotting', waitingFor: 'pid 4711' }
  const reply = await world.get(`/v1/views/spending/rows/ada?after=m1.${world.log.id}.shop.0/1A,0&timeoutMs=0`)
  expect(reply.status).toBe(504)
  expect(waitingFor(reply)).toEqual([{ source: 'shop', position: '0/1A', reached: '0/17', waitingFor: 'pid 4711' }])
  expect(reply.body['detail']).toBe('source shop: waiting for 0/1A, it is at 0/17 (pid 4711)')
})

test('several tokens are waited for together, however they are given', async () => {
  await using world = await openWorld()
  world.source.reach('0/1', 0)
  const reply = await world.get('/v1/views/spending/rows/ada?after=shop:0/1,3&after=4&timeoutMs=20')
  expect(waitingFor(reply).map(each => each['position'])).toEqual(['3', '4'])
  const lookup = await world.post('/v1/views/spending/lookup?after=3&timeoutMs=1', { keys: ['ada'] })
  const read = await world.post('/v1/read?after=3&timeoutMs=1', { reads: [{ view: 'spending', key: 'ada' }] })
  expect([lookup.status, read.status]).toEqual([504, 504])
})

test.each([
  ['after=shop', 'TOKEN_MALFORMED'],
  ['after=', 'TOKEN_MALFORMED'],
  ['after=1,,2', 'TOKEN_MALFORMED'],
  ['after=nowhere:0/1', 'TOKEN_MALFORMED'],
  ['after=shop:not-an-lsn', 'TOKEN_MALFORMED'],
  ['after=m1.0f2c9a1e-0000-4000-8000-000000000001.log.1', 'TOKEN_OTHER_LOG'],
  ['after=1&timeoutMs=-1', 'REQUEST_INVALID'],
  ['after=1&timeoutMs=60001', 'REQUEST_INVALID'],
  ['timeoutMs=1.5', 'REQUEST_INVALID'],
  ['timeoutMs=', 'REQUEST_INVALID'],
  ['timeoutMs=1e3', 'REQUEST_INVALID'],
  ['timeoutMs=1&timeoutMs=2', 'REQUEST_INVALID'],
  ['afer=1', 'REQUEST_INVALID'],
  ['att=1', 'REQUEST_INVALID'],
  ['after=1&at=1', 'REQUEST_INVALID'],
  [`after=${'1,'.repeat(40)}1`, 'REQUEST_INVALID'],
])('%s is refused at once as %s', async (query, code) => {
  await using world = await openWorld()
  const { status, body } = await world.get(`/v1/views/spending/rows/ada?${query}`)
  expect([status, body['code']]).toEqual([400, code])
})

test('a view that has stopped fails reads that would wait at once, and no others', async () => {
  await using world = await openWorld()
  const { body } = await world.post('/v1/topics/breaking', { id: 1 })
  await world.post('/v1/topics/purchases', { customer: 'ada', cents: 1 })
  await world.get(`/v1/views/spending/rows/ada?after=${body['token']}`)
  const started = performance.now()
  const stopped = await world.get('/v1/views/stopping/rows/1?after=99&timeoutMs=60000')
  expect(stopped.body).toMatchObject({ status: 503, code: 'VIEW_STOPPED' })
  expect(performance.now() - started).toBeLessThan(5_000)
  expect((await world.get('/v1/views/spending/rows/ada?after=2')).status).toBe(200)
  const ready = await world.get('/health/ready')
  expect(ready.body).toMatchObject({
    status: 503,
    code: 'NOT_READY',
    waitingFor: [{ part: 'view stopping', state: 'stopped' }],
  })
  expect((await world.get('/health/live')).status).toBe(200)
})

test('closing ends waiting reads with 503 and finishes within seconds', async () => {
  await using world = await openWorld()
  const waiting = Array.from({ length: 20 }, () => world.get('/v1/views/spending/rows/ada?after=9&timeoutMs=60000'))
  const local = world.reads.wait({ after: ['9'], timeoutMs: 60_000 }).catch(error => error.code)
  // The server has them all when it has answered one that came later.
  await world.get('/v1/views')
  const started = performance.now()
  await world.server.close()
  const replies = await Promise.all(waiting)
  expect(new Set(replies.map(reply => `${reply.status} ${reply.body['code']}`))).toEqual(new Set(['503 SHUTTING_DOWN']))
  expect(await local).toBe('SHUTTING_DOWN')
  expect(performance.now() - started).toBeLessThan(5_000)
  await expect(fetch(world.url)).rejects.toThrow()
  await expect(world.reads.wait({ after: ['9'] })).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
})

test('a client that goes away ends its wait', async () => {
  await using world = await openWorld()
  let ended = false
  const reached = world.source.reached.bind(world.source)
  world.source.reached = (position, signal) => {
    signal.addEventListener('abort', () => {
      ended = true
    })
    return reached(position, signal)
  }
  let begun = false
  const { checkPosition } = world.source
  world.source.checkPosition = position => {
    begun = true
    checkPosition(position)
  }
  const client = new AbortController()
  const request = fetch(`${world.url}/v1/views/spending/rows/ada?after=shop:0/1A&timeoutMs=60000`, {
    signal: client.signal,
  })
  await vi.waitUntil(() => begun)
  client.abort()
  await expect(request).rejects.toThrow()
  await vi.waitUntil(() => ended)
})
