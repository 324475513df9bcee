// Connections on which rows are answered without Node's HTTP server: whatever else is sent on them is answered as by that, and nothing of
// it is lost, wherever a request is cut and whatever came before it.
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificates } from '../support/certificates.ts'
import { nativeModule } from '../support/native-module.ts'
import { openWorld, type World } from './support.ts'

const ROW = '/v1/views/spending/rows/ada'
const HEAD = 'HTTP/1.1\r\nhost: test\r\n'
const PLAIN = `GET ${ROW} ${HEAD}\r\n`

let world: World
beforeAll(async () => {
  world = await openWorld()
  await write(world)
})
afterAll(() => world[Symbol.asyncDispose]())

async function write({ appends, engine }: World): Promise<void> {
  const many = Array.from({ length: 200 }, (_, n) => ({ customer: `${n}`, cents: n }))
  await appends.append('purchases', many)
  const { positions } = await appends.append('purchases', [{ customer: 'ada', cents: 5 }])
  await engine.waitFor(Number(positions[0]), AbortSignal.timeout(30_000))
}

const portOf = ({ url }: World) => Number(new URL(url).port)

interface Answer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Reads answers one after the other, by their lengths. */
class Connection {
  readonly socket: Socket
  #bytes = Buffer.alloc(0)

  constructor(socket = connect(portOf(world), '127.0.0.1')) {
    this.socket = socket
    socket.on('data', piece => {
      this.#bytes = Buffer.concat([this.#bytes, piece])
      socket.emit('more')
    })
    socket.on('error', () => {})
  }

  async answer(): Promise<Answer> {
    for (;;) {
      const end = this.#bytes.indexOf('\r\n\r\n')
      const head = this.#bytes.toString('latin1', 0, Math.max(end, 0))
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
      if (end >= 0 && this.#bytes.length >= end + 4 + length) {
        const body = this.#bytes.toString('utf8', end + 4, end + 4 + length)
        this.#bytes = this.#bytes.subarray(end + 4 + length)
        return { status: Number(head.slice(9, 12)), head, body }
      }
      await once(this.socket, 'more', { signal: AbortSignal.timeout(20_000) })
    }
  }

  async ended(): Promise<void> {
    if (!this.socket.destroyed) await once(this.socket, 'close', { signal: AbortSignal.timeout(20_000) })
  }
}

/** Sends a piece, and lets the server, which is in this process, read it before anything else is sent. */
async function sendAlone(socket: Socket, piece: string): Promise<void> {
  await new Promise<void>(resolve => {
    socket.write(piece, 'latin1', () => resolve())
  })
  for (let n = 0; n < 3; n++) await turn()
}

/** What is sent in pieces, each in a packet of its own, and how many answers it has. */
async function send(pieces: readonly string[], answers: number): Promise<readonly Answer[]> {
  const connection = new Connection()
  connection.socket.setNoDelay(true)
  for (const piece of pieces) await sendAlone(connection.socket, piece)
  const all: Answer[] = []
  for (let n = 0; n < answers; n++) all.push(await connection.answer())
  connection.socket.destroy()
  return all
}

const value = ({ body }: Answer) => (JSON.parse(body) as { value: unknown }).value
const ADA = { count: 1, cents: 5 }

test('rows are answered one after the other, and the connection stays', async () => {
  const answers = await send([PLAIN, PLAIN, `GET /v1/views/spending/rows/7 ${HEAD}\r\n`], 3)
  expect(answers.map(value)).toEqual([ADA, ADA, { count: 1, cents: 7 }])
  for (const { head } of answers) {
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(head).toMatch(
      /\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=72/,
    )
  }
})

test('headers are looked at anew where they change', async () => {
  const [first, second, third] = await send([PLAIN, `GET ${ROW} ${HEAD}if-none-match: *\r\n\r\n`, PLAIN], 3)
  expect([first, second, third].map(answer => answer?.status)).toEqual([200, 304, 200])
})

// Each is answered as on a connection that was the HTTP server's before: its first request has a parameter.
const ODD: Readonly<Record<string, readonly string[]>> = {
  'cut in the request line': [PLAIN.slice(0, 9), PLAIN.slice(9)],
  'cut in its headers': [PLAIN.slice(0, -9), PLAIN.slice(-9)],
  'cut before its last byte': [PLAIN.slice(0, -1), PLAIN.slice(-1)],
  'two at once': [PLAIN + PLAIN],
  'one and a half': [PLAIN + PLAIN.slice(0, 30), PLAIN.slice(30)],
  'HTTP/1.0': [`GET ${ROW} HTTP/1.0\r\n\r\n`],
  'no host': [`GET ${ROW} HTTP/1.1\r\n\r\n`],
  'two hosts': [`GET ${ROW} HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n`],
  'a line without a colon': [`GET ${ROW} ${HEAD}nonsense\r\n\r\n`],
  'a header without a name': [`GET ${ROW} ${HEAD}: 1\r\n\r\n`],
  'a blank before the colon': [`GET ${ROW} ${HEAD}a : 1\r\n\r\n`],
  'a folded header': [`GET ${ROW} ${HEAD}a: 1\r\n 2\r\n\r\n`],
  'a control character in a header': [`GET ${ROW} ${HEAD}a: \u00011\r\n\r\n`],
  'a bare line feed': [`GET ${ROW} ${HEAD}a: 1\nb: 2\r\n\r\n`],
  'a blank in the path': [`GET ${ROW} x ${HEAD}\r\n`],
  'a character in the path that must be encoded': [`GET ${ROW}\u00e4 ${HEAD}\r\n`],
  'a tab in the path': [`GET ${ROW}\t ${HEAD}\r\n`],
  'an absolute target': [`GET http://test${ROW} ${HEAD}\r\n`],
  'a body': [`GET ${ROW} ${HEAD}content-length: 2\r\n\r\n`, '{}'],
  'a body in chunks': [`GET ${ROW} ${HEAD}transfer-encoding: chunked\r\n\r\n`, '0\r\n\r\n'],
  'a length and chunks': [`GET ${ROW} ${HEAD}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n`],
  'the last one of its connection': [`GET ${ROW} ${HEAD}connection: close\r\n\r\n`],
  'an upgrade': [`GET ${ROW} ${HEAD}connection: upgrade\r\nupgrade: websocket\r\n\r\n`],
  'an expectation': [`GET ${ROW} ${HEAD}expect: 200-ok\r\n\r\n`],
  'a HEAD': [`HEAD ${ROW} ${HEAD}connection: close\r\n\r\n`],
  'a row that is not there': [`GET /v1/views/spending/rows/nobody ${HEAD}\r\n`],
  'a view that is not there': [`GET /v1/views/none/rows/1 ${HEAD}\r\n`],
  'a parameter': [`GET ${ROW}?sources=true ${HEAD}\r\n`],
  'a method that it has not': [`PUT ${ROW} ${HEAD}\r\n`],
  'not HTTP': ['\u0016\u0003\u0001\u0002\r\n\r\n'],
  'a head that is too large': [`GET ${ROW} ${HEAD}a: ${'x'.repeat(70_000)}\r\n\r\n`],
}

/** On a connection that is still open it is the last one answered. */
const LAST = `GET /none ${HEAD}connection: close\r\n\r\n`

/** All that is answered, without the time. */
async function told(pieces: readonly string[], before: string): Promise<string> {
  const connection = new Connection()
  const { socket } = connection
  socket.setNoDelay(true).write(before)
  await connection.answer()
  let text = ''
  socket.on('data', piece => {
    text += piece.toString('latin1')
  })
  for (const piece of pieces) await sendAlone(socket, piece)
  if (socket.writable) socket.write(LAST)
  await connection.ended()
  return text.replace(/Date: [^\r]+/g, 'Date')
}

test.concurrent.each(Object.entries(ODD))('%s is answered as by the HTTP server', async (_, pieces) => {
  const http = await told(pieces, `GET ${ROW}?sources=false ${HEAD}\r\n`)
  expect(http).toMatch(/^HTTP\/1\.1 /)
  expect(await told(pieces, PLAIN)).toEqual(http)
})

test('what is no row is answered on the same connection, and rows after it', async () => {
  const body = '{"keys":["ada"]}'
  const lookup = `POST /v1/views/spending/lookup ${HEAD}content-length: ${body.length}\r\n\r\n${body}`
  const answers = await send([PLAIN, lookup, PLAIN, lookup, PLAIN], 5)
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
  expect(value(answers[4]!)).toEqual(ADA)
})

test('a client that has sent all gets its answer', async () => {
  const connection = new Connection()
  connection.socket.end(PLAIN)
  expect(value(await connection.answer())).toEqual(ADA)
  await connection.ended()
})

test('who does not read answers is not read from, and gets all of them when it does', async () => {
  const seat = { show: 'faust', seat: 1, holder: null, at: new Date(0), id: 1n, note: 'x'.repeat(250_000) }
  const { positions } = await world.appends.append('seatings', [seat])
  await world.engine.waitFor(Number(positions[0]), AbortSignal.timeout(30_000))
  const socket = connect(portOf(world), '127.0.0.1').setNoDelay(true)
  await once(socket, 'connect')
  // More than the sockets of both sides hold; each request comes alone, until nothing is read any more.
  const requests = 80
  for (let n = 0; n < requests; n++) await sendAlone(socket, `GET /v1/views/seats/rows/faust,1 ${HEAD}\r\n`)
  expect((await world.get(ROW)).status).toBe(200)
  const connection = new Connection(socket)
  for (let n = 0; n < requests; n++) expect(value(await connection.answer())).toMatchObject({ tags: [seat.note] })
  socket.destroy()
})

test('rows of shards in other threads are answered in order, and what follows them waits', async () => {
  const { default: theatre } = nativeModule<typeof import('../support/theatre-app.ts')>('./theatre-app.ts')
  await using sharded = await openWorld(theatre, { threads: 2 })
  const moves = Array.from({ length: 50 }, (_, seat) => ({ show: 'faust', seat, city: 'Bern', cents: seat }))
  const { positions } = await sharded.appends.append('moves', moves)
  await sharded.engine.waitFor(Number(positions.at(-1)), AbortSignal.timeout(30_000))
  const connection = new Connection(connect(portOf(sharded), '127.0.0.1').setNoDelay(true))
  const { socket } = connection
  const ask = (seat: number) => sendAlone(socket, `GET /v1/views/places/rows/faust,${seat} ${HEAD}\r\n`)
  for (let seat = 0; seat < 25; seat++) {
    await ask(seat)
    expect(value(await connection.answer())).toMatchObject({ cents: seat })
  }
  for (let seat = 25; seat <= 50; seat++) await ask(seat)
  for (let seat = 25; seat < 50; seat++) expect(value(await connection.answer())).toMatchObject({ cents: seat })
  expect((await connection.answer()).status).toBe(404)
  socket.destroy()
})

test('over TLS too', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mainstem-direct-'))
  makeCertificates(folder)
  const tls = { certFile: join(folder, 'server.pem'), keyFile: join(folder, 'server.key') }
  await using secure = await openWorld(undefined, {}, { tls })
  await write(secure)
  const socket = connectTls({ port: portOf(secure), host: '127.0.0.1', rejectUnauthorized: false })
  const connection = new Connection(socket)
  socket.write(PLAIN)
  expect(value(await connection.answer())).toEqual(ADA)
  socket.write(`GET /v1/views/spending/rows/nobody ${HEAD}\r\n`)
  expect((await connection.answer()).status).toBe(404)
  socket.write(PLAIN)
  expect(value(await connection.answer())).toEqual(ADA)
  socket.destroy()
  await rm(folder, { recursive: true })
})

test('a connection that asks nothing ends, and so do those of a server that closes', async () => {
  const closing = await openWorld(undefined, {}, { headersTimeoutMs: 50 })
  await write(closing)
  const silent = new Connection(connect(portOf(closing), '127.0.0.1'))
  await silent.ended()
  const kept = new Connection(connect(portOf(closing), '127.0.0.1'))
  kept.socket.write(PLAIN)
  expect((await kept.answer()).status).toBe(200)
  await new Connection(connect(portOf(closing), '127.0.0.1')).ended()
  kept.socket.write(PLAIN)
  expect((await kept.answer()).status).toBe(200)
  const closed = closing.server.close()
  await kept.ended()
  await closed
  await closing[Symbol.asyncDispose]()
})

test('while the server drains, rows are still answered', async () => {
  await using draining = await openWorld(undefined, {}, { drainMs: 300 })
  await write(draining)
  const connection = new Connection(connect(portOf(draining), '127.0.0.1'))
  connection.socket.write(PLAIN)
  await connection.answer()
  const closed = draining.server.close()
  connection.socket.write(PLAIN)
  const { status } = await connection.answer()
  expect(status).toBe(200)
  await closed
  await connection.ended()
})
