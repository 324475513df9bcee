// Clients that read slowly or not at all, write slowly, or leave: none holds a connection for ever, none costs another one its answer.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { expectNothingLeft, pace, RawClient, ServerSide, whileAnswered } from './hostile.ts'
import { TestSubscriber } from './subscriber.ts'
import { openWorld, type World } from './support.ts'

const ROW = '/v1/views/spending/rows/ada'
/** What a client may take nothing for, here. */
const STALL_MS = 500
/** More than kernels hold for both ends of a connection: 48 rows of 250 kB. */
const SEATS = 48

let serverSide: ServerSide
let world: World
const clients: RawClient[] = []

const seated = (seat: number, holder: string) => ({ show: 'faust', seat, holder, at: new Date(0), id: 1n })

async function open(
  settings: Parameters<typeof openWorld>[2] = {},
  more: Parameters<typeof openWorld>[3] = {},
): Promise<World> {
  const limits = { stallMsMax: STALL_MS, progressMs: 100, ...more }
  const opened = await openWorld(undefined, {}, { stallTimeoutMs: STALL_MS, ...settings }, limits)
  await opened.appends.append('purchases', [{ customer: 'ada', cents: 5 }])
  for (let n = 0; n < SEATS; n += 4) {
    const seats = [0, 1, 2, 3].map(more => seated(n + more, 'x'.repeat(250_000)))
    await opened.appends.append('seatings', seats)
  }
  await opened.engine.waitFor(opened.log.end, AbortSignal.timeout(30_000))
  return opened
}

beforeAll(async () => {
  serverSide = new ServerSide()
  world = await open()
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  serverSide[Symbol.dispose]()
})
afterEach(() => {
  for (const { socket } of clients.splice(0)) socket.destroy()
})

function client(of: World = world): RawClient {
  const made = new RawClient(of)
  clients.push(made)
  return made
}

/** One of ours, as the server sees it. */
const seenOf = ({ socket }: RawClient) => serverSide.of(world).find(({ remotePort }) => remotePort === socket.localPort)

/** Path → headers. */
const LONG_ANSWERS = {
  '/v1/views/seats/rows?limit=1000': '',
  '/v1/views/seats/rows': 'accept: application/x-ndjson\r\n',
  '/v1/views/seats/export': '',
  '/v1/views/seats/export?at=40': '',
  '/v1/views/seats/subscribe?prefix=faust,': '',
} as const

test('who reads nothing of a long answer is cut, whichever it is, and nothing of it stays', async () => {
  const stalled: { readonly path: string; readonly of: RawClient }[] = []
  for (const [path, headers] of Object.entries(LONG_ANSWERS)) {
    const of = client().get(path, headers)
    stalled.push({ path, of })
    await of.until(/^HTTP\/1.1 200/)
    of.socket.pause()
  }
  await whileAnswered(world, ROW, async () => {
    for (const { path } of stalled)
      if (!path.includes('subscribe'))
        expect((await (await fetch(world.url + path)).text()).length).toBeGreaterThan(1_000_000)
    for (const { path, of } of stalled) await expect.poll(() => (seenOf(of) === undefined ? 'cut' : path)).toBe('cut')
  })
  await expectNothingLeft(world)
})

test('who reads slowly, but does, gets all of a long answer', async () => {
  const slow = client()
  let bytes = 0
  slow.socket.removeAllListeners('data')
  slow.get('/v1/views/seats/rows?limit=1000', 'connection: close\r\n')
  // It takes several times what a client may take nothing for; each piece is what is taken of it.
  for await (const piece of slow.socket) {
    bytes += piece.length
    await pace(8)
  }
  expect(bytes).toBeGreaterThan(SEATS * 250_000)
})

test('who asks again and again and reads no answer is cut, too', async () => {
  const flood = client()
  flood.socket.pause()
  await whileAnswered(world, ROW, async () => {
    for (let n = 0; n < 200; n++) flood.get('/v1/views/seats/rows/faust,1?sources=true')
    await expect.poll(() => seenOf(flood) !== undefined).toBe(true)
    await expect.poll(() => seenOf(flood) !== undefined).toBe(false)
  })
  await expectNothingLeft(world)
})

test('who leaves while it waits, for a write, a younger answer or a subscription, is waited for no more', async () => {
  const waits = [`${ROW}?after=999&timeoutMs=60000`, `/v1/views/spending/subscribe?keys=ada&after=999&timeoutMs=60000`]
  const waiting = waits.flatMap(path => Array.from({ length: 20 }, () => client().get(path)))
  await expect.poll(() => world.reads.waiting).toBe(40)
  for (const { socket } of waiting) socket.destroy()
  await expectNothingLeft(world)
})

test('who sends a head, or a body, too slowly is let go and told why', async () => {
  await using slow = await open({ headersTimeoutMs: 400, requestTimeoutMs: 800 })
  const pieces = (text: string) => [...text]
  const head = client(slow)
  const body = client(slow)
  const half = client(slow).send(
    'POST /v1/topics/purchases HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"customer":',
  )
  const row = client(slow).get(ROW)
  await row.until(/"cents":5/)
  await whileAnswered(slow, ROW, async () => {
    const sent = pieces(`GET ${ROW} HTTP/1.1\r\nhost: test\r\nx: ${'y'.repeat(5_000)}`)
    body.send(`POST /v1/topics/purchases HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n`)
    for (const piece of sent) {
      if (head.socket.closed && body.socket.closed && half.socket.closed) break
      for (const each of [head, body]) if (each.socket.writable) each.send(piece)
      await pace(5)
    }
    for (const each of [head, body, half]) await each.ended()
  })
  for (const { text } of [body, half]) expect(text).toMatch(/^HTTP\/1\.1 4\d\d /)
  expect(slow.log.end).toBe(1 + SEATS)
  row.socket.destroy()
  // One that never ends its side is not waited for.
  const rude = new RawClient(slow, true)
  await rude.send('this is no HTTP\r\n\r\n').until(/REQUEST_INVALID/)
  const seen = serverSide.of(slow).find(({ remotePort }) => remotePort === rude.socket.localPort)
  await expect.poll(() => seen === undefined || seen.destroyed).toBe(true)
  rude.socket.destroy()
  await expectNothingLeft(slow)
})

test('a server that ends does not wait for subscribers that take nothing, and tells the others', async () => {
  const ending = await open({ stallTimeoutMs: 60_000 }, { stallMsMax: 60_000 })
  const reading = await new TestSubscriber(`${ending.url}/v1/views/seats/subscribe?keys=faust,1`).connect()
  await reading.progressed(ending.log.end)
  // One is amidst its rows, one has had them and takes no change.
  const amidst = client(ending).get('/v1/views/seats/subscribe?prefix=faust,')
  const level = client(ending).get('/v1/views/seats/subscribe?keys=faust,2')
  await level.until(/event: progress/)
  await amidst.until(/^HTTP\/1.1 200/)
  for (const { socket } of [amidst, level]) socket.pause()
  const held = () => serverSide.of(ending).filter(({ writableLength }) => writableLength > 0).length
  for (let n = 0; held() < 2; n++) await ending.appends.append('seatings', [seated(2, `${n}${'x'.repeat(250_000)}`)])
  const startedMs = performance.now()
  await ending.server.close()
  // What is left is cut after 5 s.
  expect(performance.now() - startedMs).toBeLessThan(4_000)
  await reading.ended
  expect(reading.events.at(-1)).toMatchObject({ event: 'end', data: { code: 'SHUTTING_DOWN' } })
  await expectNothingLeft(ending, serverSide)
  await ending[Symbol.asyncDispose]()
})
