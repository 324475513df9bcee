import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openServer } from '../../query-api/index.ts'
import { openWorld, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

/** Sends bytes as they are, and gives all that comes back. */
function raw(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(world.url).port), '127.0.0.1', () => socket.write(request))
    let answer = ''
    socket.setEncoding('utf8')
    socket.on('data', data => {
      answer += data
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

test.each([
  ['GET', '/', 404, 'ROUTE_UNKNOWN'],
  ['GET', '/v1', 404, 'ROUTE_UNKNOWN'],
  ['GET', '/v2/views', 404, 'ROUTE_UNKNOWN'],
  ['GET', '/v1/views/spending/columns', 404, 'ROUTE_UNKNOWN'],
  ['GET', '/v1/views/spending/rows/a/b', 404, 'ROUTE_UNKNOWN'],
  ['GET', '/v1/views/nowhere', 404, 'VIEW_UNKNOWN'],
  ['GET', '/v1/views/nowhere/rows/1', 404, 'VIEW_UNKNOWN'],
  ['GET', '/v1/views/__proto__', 404, 'VIEW_UNKNOWN'],
  ['GET', '/v1/views/%00', 404, 'VIEW_UNKNOWN'],
  ['GET', '/v1/views/%zz', 400, 'REQUEST_INVALID'],
  ['GET', '/v1/views/spending/rows/%E0%A4%A', 400, 'REQUEST_INVALID'],
  ['GET', '/v1/views/rows/rows/abc', 400, 'KEY_MALFORMED'],
  ['GET', '/v1/views/rows/rows/1.5', 400, 'KEY_MALFORMED'],
  ['GET', '/v1/views/rows/rows/', 400, 'KEY_MALFORMED'],
  ['GET', '/v1/views/seats/rows/hamlet', 400, 'KEY_MALFORMED'],
  ['GET', '/v1/views/seats/rows/hamlet,1,2', 400, 'KEY_MALFORMED'],
  ['GET', '/v1/views/seats/rows/hamlet,x', 400, 'KEY_MALFORMED'],
  ['GET', '/v1/views/seats/rows/hamlet,99999999999', 400, 'KEY_MALFORMED'],
  ['GET', '/v1/views?limit=1', 400, 'REQUEST_INVALID'],
  ['POST', '/v1/views', 405, 'METHOD_NOT_ALLOWED'],
  ['DELETE', '/v1/views/spending/rows/ada', 405, 'METHOD_NOT_ALLOWED'],
  ['GET', '/v1/views/spending/lookup', 405, 'METHOD_NOT_ALLOWED'],
  ['GET', '/v1/read', 405, 'METHOD_NOT_ALLOWED'],
  ['PUT', '/v1/topics/purchases', 405, 'METHOD_NOT_ALLOWED'],
  ['PATCH', '/v1/sources/shop', 405, 'METHOD_NOT_ALLOWED'],
  ['OPTIONS', '/v1/views', 405, 'METHOD_NOT_ALLOWED'],
])('%s %s is %i %s, as a problem', async (method, path, status, code) => {
  const response = await fetch(world.url + path, { method })
  expect(response.headers.get('content-type')).toContain('application/problem+json')
  const body = (await response.json()) as Record<string, unknown>
  expect([response.status, body['code']]).toEqual([status, code])
  expect(body).toMatchObject({
    type: `urn:mainstem:problem:${code}`,
    status,
    retriable: expect.any(Boolean),
    title: expect.any(String),
  })
  expect(body['instance']).toBe(path.split('?')[0])
  if (status === 405) expect(response.headers.get('allow')).toMatch(/GET|POST/)
})

test.each([
  ['', 'the body is empty'],
  ['{"keys":', 'the body is not JSON'],
  ['null', "the body has no list 'keys'"],
  ['[]', "the body has no list 'keys'"],
  ['"keys"', "the body has no list 'keys'"],
  ['{}', "the body has no list 'keys'"],
  ['{"keys":{}}', "the body has no list 'keys'"],
  ['{"keys":[],"more":1}', "unknown member 'more'"],
])('lookup refuses the body %j', async (text, title) => {
  const { status, body } = await world.post('/v1/views/spending/lookup', text)
  expect([status, body['code'], body['title']]).toEqual([400, 'REQUEST_INVALID', title])
})

test.each([
  ['spending', null],
  ['spending', 1],
  ['spending', {}],
  ['spending', ['a']],
  ['rows', '1.5'],
  ['rows', true],
  ['seats', 'hamlet,1'],
  ['seats', { show: 'hamlet' }],
  ['seats', { show: null, seat: 1 }],
  ['seats', { show: 'hamlet', seat: 2 ** 31 }],
])('view %s has no key like %j, and the answer says which it was', async (view, key) => {
  const { status, body } = await world.post(`/v1/views/${view}/lookup`, {
    keys: [view === 'seats' ? { show: 's', seat: 1 } : '1', key],
  })
  expect([status, body['code'], body['index']]).toEqual([400, 'KEY_MALFORMED', 1])
})

test.each([
  { reads: [{ view: 'spending' }] },
  { reads: [{ key: 'ada' }] },
  { reads: [{ view: 1, key: 'ada' }] },
  { reads: [null] },
  { reads: ['spending'] },
  { reads: [{ view: 'spending', key: 'ada', at: 1 }] },
  { reads: 'all' },
])('read refuses %j', async body => {
  expect((await world.post('/v1/read', body)).body).toMatchObject({ status: 400, code: 'REQUEST_INVALID' })
})

test('what is not HTTP is answered as a problem and closed, and costs nobody else an answer', async () => {
  const other = world.get('/v1/views')
  const answer = await raw('this is not http\r\n\r\n')
  expect(answer).toMatch(/^HTTP\/1.1 400 /)
  expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({ code: 'REQUEST_INVALID' })
  const large = await raw(`GET /v1/views HTTP/1.1\r\nhost: x\r\nlarge: ${'x'.repeat(70_000)}\r\n\r\n`)
  expect(large).toMatch(/^HTTP\/1.1 431 Request Header Fields Too Large\r\n/)
  expect(large).toMatch(/"detail":"[^"]*64 KiB".*"code":"HEAD_TOO_LARGE","hint":"[^"]*fewer keys/)
  expect((await other).status).toBe(200)
})

test('a key longer than any can be is absent like others', async () => {
  expect((await world.get(`/v1/views/spending/rows/${'x'.repeat(60_000)}`)).body['code']).toBe('ROW_NOT_FOUND')
})

test('a request target may be absolute', async () => {
  await world.appends.append('purchases', [{ customer: 'abs', cents: 1 }])
  await world.reads.wait({ after: [String(world.log.end)] })
  const answer = await raw('GET http://h/v1/views/spending/rows/abs HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n')
  expect(answer).toContain('"key":"abs"')
})

test('a port that is taken is ADDRESS_IN_USE, an address of another machine ADDRESS_INVALID', async () => {
  const options = { application: 'second', reads: world.reads, topics: world.topics }
  await using other = await openWorld()
  const port = Number(new URL(other.url).port)
  await expect(openServer({ ...options, reads: other.reads, port })).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' })
  await expect(
    openServer({ ...options, reads: other.reads, allowAnonymous: true, host: '192.0.2.1', port: 0 }),
  ).rejects.toMatchObject({
    code: 'ADDRESS_INVALID',
  })
})

test('an error of ours is reported, and its text stays inside', async () => {
  await using other = await openWorld()
  other.source.status = () => {
    throw new Error('a secret of the inside')
  }
  const { status, body } = await other.get('/v1/sources')
  expect([status, body['code']]).toEqual([500, 'INTERNAL'])
  expect(JSON.stringify(body)).not.toContain('secret')
  expect(other.internalErrors).toHaveLength(1)
  other.source.status = Object.getPrototypeOf(other.source).status
})

test('no request of the others has met an internal error', () => {
  expect(world.internalErrors).toEqual([])
})
