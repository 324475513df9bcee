// Who is let in, and to what: API keys and their file, tokens, scopes of calls.

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createKey, listKeys, openServer, revokeKey } from '../../../query-api/index.ts'
import { ROUTES } from '../../../query-api/route-table.ts'
import { Access } from '../../../query-api/security/access.ts'
import { Jwts } from '../../../query-api/security/jwt.ts'
import { TestSubscriber } from '../subscriber.ts'
import { openWorld, shop, type World } from '../support.ts'

const SECRET = 'a secret of more than thirty-two bytes'
const JWT = { issuer: 'https://issuer.test', audience: 'mainstem', key: SECRET }

let folder: string
let keysFile: string
let world: World
let reading: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-access-'))
  keysFile = join(folder, 'keys.json')
  reading = (await createKey(keysFile, { name: 'reading', scopes: ['view:spending', 'log:purchases'] })).key
  world = await openWorld(shop, {}, { access: { keysFile, jwt: JWT } })
  const { positions } = await world.appends.append('purchases', [{ customer: 'ada', cents: 5 }])
  await world.engine.waitFor(Number(positions[0]), AbortSignal.timeout(30_000))
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const newKey = async (name: string, scopes: readonly string[], expiresAt?: Date) =>
  (await createKey(keysFile, { name, scopes, ...(expiresAt ? { expiresAt } : {}) })).key

async function call(path: string, credential?: string, init: RequestInit = {}) {
  const headers = credential === undefined ? {} : { authorization: `Bearer ${credential}` }
  const response = await fetch(world.url + path, { ...init, headers })
  const text = await response.text()
  const body = response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : {}
  return { status: response.status, headers: response.headers, body: body as Record<string, unknown> }
}

/** Keys that came after the server was opened are known when it has read their file again. */
const untilKnown = (key: string) =>
  vi.waitFor(async () => expect((await call('/v1/views', key)).status).toBe(200), 10_000)

const token = (claims: Record<string, unknown>, expires: string | number = '5m') =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer(JWT.issuer)
    .setAudience(JWT.audience)
    .setSubject('ada')
    .setExpirationTime(expires)
    .sign(Buffer.from(SECRET))

test('no call but health is answered to somebody who is not known, and none needs less than its scope', async () => {
  const nobody = await newKey('nobody', ['topic:none'])
  await untilKnown(nobody)
  for (const { path, methods } of ROUTES)
    for (const [method, scope] of Object.entries(methods)) {
      const url = path.replace(/\{\w+\}/g, 'x')
      const unknown = await call(url, undefined, { method })
      expect(unknown.status, `${method} ${path}`).toBe(scope === 'open' ? 200 : 401)
      if (scope === 'open' || scope === 'any') continue
      expect(unknown.headers.get('www-authenticate')).toBe('Bearer')
      const { status, body } = await call(url, nobody, { method })
      expect({ status, code: body['code'], scope: body['scope'] }, `${method} ${path}`).toEqual({
        status: 403,
        code: 'FORBIDDEN',
        scope: scope.replace(/\{\w+\}/g, 'x'),
      })
    }
})

test('a key does what its scopes say, and nothing else', async () => {
  expect((await call('/v1/views/spending/rows/ada', reading)).body).toMatchObject({ value: { count: 1, cents: 5 } })
  expect((await call('/v1/log/purchases', reading)).status).toBe(200)
  expect((await call('/v1/views/totals/rows/all', reading)).body).toMatchObject({
    code: 'FORBIDDEN',
    scope: 'view:totals',
  })
  const append = { method: 'POST', body: '{"customer":"eve","cents":1}' }
  expect((await call('/v1/topics/purchases', reading, append)).body).toMatchObject({ scope: 'topic:purchases' })
  // Of the list of views it sees its own.
  expect((await call('/v1/views', reading)).body['views']).toMatchObject([{ name: 'spending' }])
  const read = (view: string) =>
    call('/v1/read', reading, { method: 'POST', body: JSON.stringify({ reads: [{ view, key: 'ada' }] }) })
  expect((await read('spending')).status).toBe(200)
  expect((await read('totals')).body).toMatchObject({ code: 'FORBIDDEN', scope: 'view:totals' })
  // A view that is not there is no different from one that may not be read.
  expect((await read('unknown')).body).toMatchObject({ code: 'FORBIDDEN' })
})

test('scopes of all of a kind', async () => {
  const key = await newKey('all-views', ['view:*', 'metrics'])
  await untilKnown(key)
  expect((await call('/v1/views/totals/rows/all', key)).status).toBe(200)
  expect((await call('/metrics', key)).status).toBe(200)
  expect((await call('/v1/verify', key)).body).toMatchObject({ scope: 'admin:verify' })
})

test('a key that is revoked while the application runs is known no longer', async () => {
  const key = await newKey('leaving', ['view:*'])
  await untilKnown(key)
  await revokeKey(keysFile, 'leaving')
  await vi.waitFor(
    async () => expect((await call('/v1/views', key)).body).toMatchObject({ title: 'the API key was revoked' }),
    10_000,
  )
  // Its name is free again.
  await newKey('leaving', ['view:*'])
  await expect(newKey('leaving', ['view:*'])).rejects.toMatchObject({ code: 'ACCESS_INVALID' })
})

test('a subscription ends when its key is revoked or changed, or its token has expired; others go on', async () => {
  const subscribe = async (credential: string) => {
    const subscriber = new TestSubscriber(`${world.url}/v1/views/spending/subscribe?keys=ada`)
    return subscriber.connect({ authorization: `Bearer ${credential}` })
  }
  const [leaving, narrowed] = [await newKey('subscribed', ['view:*']), await newKey('narrowed', ['view:*'])]
  await untilKnown(narrowed)
  const staying = await subscribe(reading)
  const others = [leaving, narrowed, await token({ scope: 'view:*' }, '2s')].map(subscribe)
  const [revoked, changed, expired] = await Promise.all(others)
  await revokeKey(keysFile, 'subscribed')
  await revoked!.ended
  const file = JSON.parse(await readFile(keysFile, 'utf8'))
  for (const key of file.keys) if (key.name === 'narrowed') key.scopes = ['view:totals']
  await writeFile(keysFile, JSON.stringify(file))
  await Promise.all([changed!.ended, expired!.ended])
  const lastOf = ({ events }: TestSubscriber) => events.at(-1)
  expect([revoked!, changed!, expired!].map(lastOf)).toMatchObject([
    { event: 'end', data: { code: 'UNAUTHENTICATED', title: 'the API key was revoked' } },
    { event: 'end', data: { code: 'UNAUTHENTICATED', title: 'the API key has changed' } },
    { event: 'end', data: { code: 'UNAUTHENTICATED', title: 'the key or token has expired' } },
  ])
  await world.appends.append('purchases', [{ customer: 'ada', cents: 7 }])
  await staying.until(() => staying.named('row').length === 2)
  await staying.disconnect()
})

test('a key that has expired is known no longer, remembered or not', async () => {
  const file = join(folder, 'expiring.json')
  const { key } = await createKey(file, { name: 'brief', scopes: ['view:*'], expiresAt: new Date(Date.now() + 60_000) })
  const access = await Access.open({ keysFile: file })
  expect(access.viewer(`Bearer ${key}`)).toMatchObject({ name: 'key:brief' })
  vi.useFakeTimers({ now: Date.now() + 60_001, toFake: ['Date'] })
  expect(() => access.viewer(`Bearer ${key}`)).toThrowError('the API key has expired')
  vi.useRealTimers()
  access.close()
})

test('a key is nowhere in its file, which is for its owner only', async () => {
  const text = await readFile(keysFile, 'utf8')
  expect(text).not.toContain(reading)
  expect(text).not.toContain(reading.slice(20))
  expect((await stat(keysFile)).mode & 0o777).toBe(0o600)
  expect(await listKeys(keysFile)).toContainEqual(expect.objectContaining({ name: 'reading', revokedAt: null }))
})

test.each([
  ['one with another secret', (key: string) => `${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}`],
  ['one of an unknown id', (key: string) => key.replace(/^mk_.{16}/, 'mk_0123456789abcdef')],
  ['none at all', () => 'x'],
  ['an endless one', () => 'x'.repeat(10_000)],
])('%s is 401', async (_, of) => {
  expect(await call('/v1/views', of(reading))).toMatchObject({ status: 401, body: { code: 'UNAUTHENTICATED' } })
})

test('a file of keys that is damaged is refused at the start, with what to do', async () => {
  await expect(Access.open({ keysFile: join(folder, 'none.json') })).rejects.toMatchObject({
    code: 'ACCESS_INVALID',
    hint: expect.stringContaining('mainstem keys create'),
  })
  await expect(createKey(keysFile, { name: 'odd', scopes: ['views:*'] })).rejects.toMatchObject({
    code: 'ACCESS_INVALID',
  })
})

test('a token does what its claims say, as text or as a list', async () => {
  const text = await token({ scope: 'view:spending metrics' })
  expect((await call('/v1/views/spending/rows/ada', text)).status).toBe(200)
  expect((await call('/v1/views/totals/rows/all', text)).body).toMatchObject({ detail: 'jwt:ada does not have it' })
  expect((await call('/metrics', await token({ scope: ['metrics'] }))).status).toBe(200)
  expect((await call('/metrics', await token({ scopes: ['metrics'] }))).status).toBe(403)
})

test('tokens of another issuer, audience, time or algorithm, unsigned or without an end are 401', async () => {
  const sign = (change: (jwt: SignJWT) => SignJWT, secret = SECRET, alg = 'HS256') =>
    change(
      new SignJWT({ scope: 'view:*' })
        .setProtectedHeader({ alg })
        .setIssuer(JWT.issuer)
        .setAudience(JWT.audience)
        .setExpirationTime('5m'),
    ).sign(Buffer.from(secret))
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: JWT.issuer, aud: JWT.audience, exp: Date.now() / 1_000 + 300, scope: 'view:*' }
  const refused = [
    await sign(jwt => jwt.setIssuer('https://other.test')),
    await sign(jwt => jwt.setAudience('other')),
    await sign(jwt => jwt.setExpirationTime('-1m')),
    await sign(jwt => jwt.setNotBefore('1m')),
    await sign(jwt => jwt, `${SECRET}!`),
    await new SignJWT({ scope: 'view:*' })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer(JWT.issuer)
      .setAudience(JWT.audience)
      .sign(Buffer.from(SECRET)),
    `${part({ alg: 'none' })}.${part(claims)}.`,
  ]
  for (const text of refused) expect(await call('/v1/views', text)).toMatchObject({ status: 401 })
  expect((await call('/v1/views', await sign(jwt => jwt))).status).toBe(200)
  // Within the tolerance clocks may differ.
  expect((await call('/v1/views', await sign(jwt => jwt.setExpirationTime('-2s')))).status).toBe(200)
})

test('tokens are verified by what the issuer publishes; while that cannot be had, it is said', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }] }
  let answers = false
  const issuer = createServer((_, response) =>
    response.writeHead(answers ? 200 : 500).end(answers ? JSON.stringify(keys) : ''),
  )
  await new Promise<void>(resolve => issuer.listen(0, '127.0.0.1', resolve))
  const jwksUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/jwks`
  const jwts = Jwts.open({ issuer: JWT.issuer, audience: ['mainstem', 'other'], jwksUrl })
  const text = await new SignJWT({ scope: 'view:*' })
    .setProtectedHeader({ alg: 'ES256', kid: 'one' })
    .setIssuer(JWT.issuer)
    .setAudience('other')
    .setSubject('eve')
    .setExpirationTime('1m')
    .sign(privateKey)
  await expect(jwts.viewer(text)).rejects.toMatchObject({ code: 'AUTH_UNAVAILABLE', retriable: true })
  answers = true
  expect(await jwts.viewer(text)).toMatchObject({ name: 'jwt:eve', claims: { sub: 'eve' } })
  // The public key, taken for a secret, signs nothing.
  const forged = new SignJWT({})
    .setProtectedHeader({ alg: 'HS256', kid: 'one' })
    .setIssuer(JWT.issuer)
    .setAudience('other')
  const signed = await forged.setExpirationTime('1m').sign(Buffer.from(await exportSPKI(publicKey)))
  await expect(jwts.viewer(signed)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  const pem = Jwts.open({ ...JWT, audience: 'other', key: await exportSPKI(publicKey) })
  expect(await pem.viewer(text)).toMatchObject({ name: 'jwt:eve' })
  await expect(pem.viewer(signed)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  issuer.close()
})

test.each([
  ['a short secret', { ...JWT, key: 'short' }],
  ['no key', { issuer: 'x', audience: 'y' }],
  ['two ways', { ...JWT, jwksUrl: 'https://issuer.test/jwks' }],
  ['no issuer', { ...JWT, issuer: '' }],
  [
    'a secret for published keys',
    { issuer: 'x', audience: 'y', jwksUrl: 'https://issuer.test/jwks', algorithms: ['HS256'] },
  ],
  ['an algorithm of another key', { ...JWT, algorithms: ['RS256'] }],
])('%s is refused at the start', (_, options) => {
  expect(() => Jwts.open(options)).toThrowError(expect.objectContaining({ code: 'ACCESS_INVALID' }))
})

test('nobody listens beyond this machine without being told who may ask', async () => {
  await using other = await openWorld()
  expect(new URL(other.url).hostname).toBe('127.0.0.1')
  const options = { application: 'open', reads: other.reads, topics: other.topics, port: 0, host: '0.0.0.0' }
  await expect(openServer(options)).rejects.toMatchObject({
    code: 'ACCESS_UNGUARDED',
    hint: expect.stringContaining('--keys'),
  })
  for (const settings of [{ allowAnonymous: true }, { access: { keysFile } }]) {
    const server = await openServer({ ...options, ...settings })
    const { status } = await fetch(`http://127.0.0.1:${new URL(server.url).port}/v1/views`)
    expect(status).toBe('access' in settings ? 401 : 200)
    await server.close()
  }
})
