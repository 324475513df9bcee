// What a client may take of a server: connections, time, bytes, requests; and by which way it comes: TLS, pages of other origins.

import { readFileSync } from 'node:fs'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { ServerSettings } from '../../../query-api/index.ts'
import { openServer, type RunningServer } from '../../../query-api/index.ts'
import { RateLimit } from '../../../query-api/security/rate-limit.ts'
import { makeCertificates } from '../../support/certificates.ts'
import { openWorld, type World } from '../support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

const SILENT = { error: () => {}, warn: () => {}, debug: () => {} }
const ORIGIN = 'https://app.example.com'

/** A server over the same reads; they must not be closed with it, so all are closed at the end. */
const servers: RunningServer[] = []
async function serve(settings: Partial<ServerSettings>): Promise<RunningServer> {
  const server = await openServer({
    application: 'shop',
    reads: world.reads,
    topics: world.topics,
    port: 0,
    log: SILENT,
    ...settings,
  })
  servers.push(server)
  return server
}
afterAll(async () => {
  for (const server of servers) await server.close()
})

/** What a socket is answered until it is closed, after it has sent something. */
function talk(url: string, text: string): Promise<string> {
  return new Promise(resolve => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text))
    let answer = ''
    socket.setEncoding('utf8').on('data', data => {
      answer += data
    })
    socket.on('error', () => {}).on('close', () => resolve(answer))
  })
}

test('a client that sends its request a byte at a time, or half of it, is let go', async () => {
  const { url } = await serve({ headersTimeoutMs: 1_000, requestTimeoutMs: 2_000 })
  expect(await talk(url, 'GET /v1/views HTTP/1.1\r\nhost:')).toMatch(/^HTTP\/1.1 400/)
  await talk(url, 'POST /v1/topics/purchases HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{')
  // Others are answered meanwhile and after it.
  expect((await fetch(`${url}/v1/views`)).status).toBe(200)
})

test('a connection too many is closed, those there are go on', async () => {
  const { url } = await serve({ connectionsMax: 2 })
  const open = [0, 1].map(() => connect(Number(new URL(url).port), '127.0.0.1'))
  await Promise.all(open.map(socket => new Promise(resolve => socket.once('connect', resolve))))
  await vi.waitFor(async () => expect(await talk(url, '')).toBe(''))
  await expect(fetch(`${url}/v1/views`)).rejects.toThrow()
  open.forEach(socket => void socket.destroy())
  await vi.waitFor(async () => expect((await fetch(`${url}/v1/views`)).status).toBe(200))
})

test('a body too large is refused, saying how large it may be', async () => {
  const { url } = await serve({ bodyBytesMax: 1_000 })
  const answer = await fetch(`${url}/v1/read`, { method: 'POST', body: 'x'.repeat(1_001) })
  expect(await answer.json()).toMatchObject({ status: 413, hint: expect.stringContaining('1000 bytes') })
})

test('a client that asks too often is told when to come again; health is always answered', async () => {
  const { url } = await serve({ requestsPerSecondMax: 1 })
  let answer = await fetch(`${url}/v1/views`)
  for (let n = 0; n < 10 && answer.status === 200; n++) answer = await fetch(`${url}/v1/views`)
  expect(answer.status).toBe(429)
  expect(answer.headers.get('retry-after')).toBe('1')
  expect(await answer.json()).toMatchObject({ code: 'RATE_LIMITED', retriable: true })
  for (let n = 0; n < 10; n++) expect((await fetch(`${url}/health/live`)).status).toBe(200)
})

test('a limit of rates lets a burst through, and then so many a second, each client for itself', () => {
  let nowMs = 0
  const limit = new RateLimit(10, () => nowMs)
  const taken = (client: string) => {
    for (let n = 0; ; n++)
      try {
        limit.take(client)
      } catch {
        return n
      }
  }
  expect(taken('ada')).toBe(20)
  expect(taken('eve')).toBe(20)
  nowMs = 500
  expect(taken('ada')).toBe(5)
  nowMs = 60_000
  expect(taken('ada')).toBe(20)
})

test('pages of listed origins may call and write, others may not', async () => {
  const { url } = await serve({ corsOrigins: [ORIGIN] })
  const headers = { origin: ORIGIN }
  const preflight = await fetch(`${url}/v1/topics/purchases`, {
    method: 'OPTIONS',
    headers: { ...headers, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
  })
  expect(preflight.status).toBe(204)
  expect(Object.fromEntries(preflight.headers)).toMatchObject({
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-methods': expect.stringContaining('POST'),
    'access-control-allow-headers': 'authorization',
  })
  const body = '{"customer":"ada","cents":1}'
  const wrote = await fetch(`${url}/v1/topics/purchases`, { method: 'POST', headers, body })
  expect([wrote.status, wrote.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN])
  const other = { origin: 'https://evil.example.com' }
  const read = await fetch(`${url}/v1/views`, { headers: other })
  expect(read.headers.get('access-control-allow-origin')).toBeNull()
  const refused = await fetch(`${url}/v1/topics/purchases`, { method: 'POST', headers: other, body })
  expect(await refused.json()).toMatchObject({ code: 'ORIGIN_REFUSED' })
  // Without a list there is no such header at all, and no preflight.
  const plain = await fetch(`${world.url}/v1/views`, {
    method: 'OPTIONS',
    headers: { ...headers, 'access-control-request-method': 'GET' },
  })
  expect([plain.status, plain.headers.get('access-control-allow-origin')]).toEqual([405, null])
})

test('https with a certificate that is exchanged while the server runs', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mainstem-tls-'))
  const next = await mkdtemp(join(tmpdir(), 'mainstem-tls-'))
  makeCertificates(folder)
  makeCertificates(next)
  const tls = { certFile: join(folder, 'server.pem'), keyFile: join(folder, 'server.key') }
  const { url } = await serve({ tls })
  expect(new URL(url).protocol).toBe('https:')
  const { port } = new URL(url)
  const status = () =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port,
        path: '/v1/views',
        servername: 'localhost',
        ca: readFileSync(join(folder, 'ca.pem')),
      }
      httpsRequest(options, response => resolve(response.resume().statusCode))
        .on('error', reject)
        .end()
    })
  expect(await status()).toBe(200)
  await expect(
    new Promise((_, reject) =>
      connectTls({ host: '127.0.0.1', port: Number(port), maxVersion: 'TLSv1.1' }).on('error', reject),
    ),
  ).rejects.toThrow()
  const serial = () =>
    new Promise<string>(resolve => {
      const socket = connectTls({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().fingerprint256)
        socket.destroy()
      })
    })
  const before = await serial()
  for (const file of ['server.key', 'server.pem', 'ca.pem']) await copyFile(join(next, file), join(folder, file))
  await vi.waitFor(async () => expect(await serial()).not.toBe(before), 10_000)
  expect(await status()).toBe(200)
  await expect(serve({ tls: { ...tls, keyFile: join(folder, 'none.key') } })).rejects.toMatchObject({
    code: 'TLS_INVALID',
  })
  await Promise.all([folder, next].map(each => rm(each, { recursive: true, force: true })))
})
