// Rows that are answered before Fastify sees the request: no client can tell, by what it gets or when.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createKey } from '../../query-api/index.ts'
import { openWorld, shop, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
  await write(world)
})
afterAll(() => world[Symbol.asyncDispose]())

async function write({ appends, engine }: World): Promise<void> {
  await appends.append('purchases', [{ customer: 'ada', cents: 5 }])
  await appends.append('purchases', [{ customer: 'ä/ö? "x"', cents: 7 }])
  const seat = { show: 'a,b', seat: 3, holder: null, at: new Date(0), id: 9007199254740993n }
  const { positions } = await appends.append('seatings', [seat])
  await engine.waitFor(Number(positions[0]), AbortSignal.timeout(30_000))
}

/** All that an answer says but its time. */
async function answer(path: string, headers: Record<string, string> = {}) {
  const response = await fetch(world.url + path, { headers })
  const { date: _, ...told } = Object.fromEntries(response.headers)
  return { status: response.status, told, text: await response.text() }
}

test.each([
  ['/v1/views/spending/rows/ada', 200],
  [`/v1/views/spending/rows/${encodeURIComponent('ä/ö? "x"')}`, 200],
  ['/v1/views/seats/rows/a%2Cb,3', 200],
  ['/v1/views/rows/rows/9007199254740993', 200],
  ['/v1/views/spending/rows/nobody', 404],
  ['/v1/views/spending/rows/%zz', 400],
  ['/v1/views/rows/rows/abc', 400],
  ['/v1/views/none/rows/1', 404],
])('%s is answered as with a parameter, which Fastify answers', async (path, status) => {
  const direct = await answer(path)
  expect(direct.status).toBe(status)
  expect(direct).toEqual(await answer(`${path}?sources=false`))
})

test('a row comes with its ETag and its types', async () => {
  const { told } = await answer('/v1/views/seats/rows/a%2Cb,3')
  expect(told).toMatchObject({
    'cache-control': 'no-store',
    'content-type': 'application/json; charset=utf-8',
    etag: expect.stringMatching(/^W\/"[\w-]{12}"$/),
    'mainstem-types': expect.stringContaining('at'),
  })
})

test('on one connection it waits for the answers to what was asked before', async () => {
  const { token } = await world.appends.append('purchases', [{ customer: 'bob', cents: 1 }])
  const waits = String(Number(token.split('.').at(-1)) + 1)
  const socket = connect(Number(new URL(world.url).port), '127.0.0.1').setEncoding('utf8')
  let text = ''
  socket.on('data', piece => {
    text += piece
  })
  const head = 'HTTP/1.1\r\nhost: test\r\n'
  socket.write(
    `GET /v1/views/totals/rows/all?after=${waits} ${head}\r\nGET /v1/views/spending/rows/ada ${head}connection: close\r\n\r\n`,
  )
  await world.appends.append('purchases', [{ customer: 'bob', cents: 1 }])
  await once(socket, 'end')
  expect([...text.matchAll(/"key":"(\w+)"/g)].map(([, key]) => key)).toEqual(['all', 'ada'])
})

test('each request is counted once, whoever answers it', async () => {
  const counted = async () => {
    const text = await (await fetch(`${world.url}/metrics`)).text()
    return Number(
      /mainstem_http_requests_total\{method="GET",route="\/v1\/views\/:view\/rows\/:key"\} (\d+)/.exec(text)?.[1],
    )
  }
  const before = await counted()
  for (const path of ['ada', 'ada?sources=true', 'nobody']) await answer(`/v1/views/spending/rows/${path}`)
  expect((await counted()) - before).toBe(3)
})

test('who is not known, may not read the view, or asks too often does not get it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mainstem-direct-'))
  const keysFile = join(folder, 'keys.json')
  const { key } = await createKey(keysFile, { name: 'one', scopes: ['view:spending'] })
  const requestsPerSecondMax = 2
  await using guarded = await openWorld(shop, {}, { access: { keysFile }, requestsPerSecondMax })
  await write(guarded)
  const status = async (path: string, credential?: string) => {
    const headers = credential === undefined ? {} : { authorization: `Bearer ${credential}` }
    const response = await fetch(guarded.url + path, { headers })
    await response.body?.cancel()
    return response.status
  }
  expect(await status('/v1/views/spending/rows/ada')).toBe(401)
  expect(await status('/v1/views/spending/rows/ada', key)).toBe(200)
  expect(await status('/v1/views/totals/rows/all', key)).toBe(403)
  const many = await Promise.all(Array.from({ length: 30 }, () => status('/v1/views/spending/rows/ada', key)))
  expect(many).toContain(429)
  expect(many.filter(each => each !== 200 && each !== 429)).toEqual([])
  await rm(folder, { recursive: true })
})
