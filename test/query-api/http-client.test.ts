// The client over HTTP against a real server: the same answers, and the same types, as the client in the application's process.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { application, projection, topic } from '../../index.ts'
import { type Answer, ClientError, createClient, type HttpClient } from '../../query-api/client/index.ts'
import { createLocalClient } from '../../query-api/index.ts'
import { openWorld, type World } from './support.ts'

const Kind = z.enum(['a', 'b'])
const parcels = topic('parcels', {
  key: ['depot', 'id'],
  value: z.object({
    depot: z.string(),
    id: z.bigint(),
    at: z.date(),
    bytes: z.instanceof(Uint8Array),
    odd: z.object({ 'a.b[]{}\\': z.bigint(), '': z.bigint() }),
    parts: z.array(z.object({ id: z.bigint(), since: z.date().nullable() })),
    note: z.string().default('none'),
  }),
})
const calls = topic('calls', {
  key: 'depot',
  value: z.discriminatedUnion('type', [
    z.object({ type: z.literal('opened'), depot: z.string(), at: z.date() }),
    z.object({ type: z.literal('weighed'), depot: z.string(), at: z.bigint() }),
  ]),
})
/** Every type that JSON does not know, at every place that it may have. */
const stored = projection('stored', {
  key: z.object({ depot: z.string(), id: z.bigint() }),
  state: z.object({
    at: z.date().nullable(),
    bytes: z.instanceof(Uint8Array).nullable(),
    odd: z.object({ 'a.b[]{}\\': z.bigint(), '': z.bigint() }),
    parts: z.array(z.object({ id: z.bigint(), since: z.date().nullable() })),
    byNote: z.record(z.string(), z.bigint()),
    kinds: z.record(Kind, z.int32()),
    seen: z.map(z.bigint(), z.date()),
    note: z.string().optional(),
  }),
}).on(parcels, { depot: 'depot', id: 'id' }, (row, parcel) => {
  row.at = parcel.at
  row.bytes = parcel.bytes
  row.odd = { ...parcel.odd }
  row.parts = parcel.parts.map(part => ({ ...part }))
  row.byNote = { ...row.byNote, [parcel.note]: parcel.id }
  row.kinds.a++
  row.seen.set(parcel.id, parcel.at)
})
const byId = projection('byId', { key: z.bigint(), state: z.object({ count: z.int32() }) }).on(parcels, 'id', row => {
  row.count++
})
const depots = projection('depots', { key: z.string(), state: z.object({ calls: z.int32() }) }).on(calls, 'depot', {
  opened: row => {
    row.calls++
  },
  weighed: row => {
    row.calls++
  },
})
const post = application('post', { views: [stored, byId, depots] })
const module = { default: post, parcels, calls }
type Post = typeof module

let world: World
let client: HttpClient<Post>
beforeAll(async () => {
  world = await openWorld(post)
  client = createClient<Post>(world.url)
})
afterAll(() => world[Symbol.asyncDispose]())

const at = new Date('2026-11-01T09:00:00.123Z')
const parcel = {
  depot: 'a,b/ä%',
  id: 2n ** 65n,
  at,
  bytes: new Uint8Array([0, 255, 254]),
  odd: { 'a.b[]{}\\': 3n, '': 4n },
  parts: [
    { id: -1n, since: at },
    { id: 7n, since: null },
  ],
}
const key = { id: parcel.id, depot: parcel.depot }

test('a client reads its own append, and every value has the type that the handlers see', async () => {
  const { positions, token } = await client.topics.parcels.append(parcel)
  expect(positions).toEqual(['1'])
  expect(token).toMatch(/^m1\./)
  const answer = await client.views.stored.get(key)
  const local = createLocalClient<typeof post>(world.reads)
  const { value } = await local.views.stored.get(key)
  expectTypeOf(answer.value).toEqualTypeOf<typeof value>()
  expect(answer.value).toStrictEqual(value)
  expect(answer.value).toMatchObject({ at, parts: parcel.parts, odd: parcel.odd, byNote: { none: 2n ** 65n } })
  expect(answer.value?.seen).toEqual(new Map([[2n ** 65n, at]]))
  expect(answer).toMatchObject({ position: '1', final: true })
})

test('keys of every form are found, and their rows in order', async () => {
  await client.topics.parcels.append([
    { ...parcel, depot: '..', id: 1n, note: '__proto__' },
    { ...parcel, depot: '', id: 2n },
  ])
  const { value, position } = await client.views.stored.lookup([
    { depot: '..', id: 1n },
    key,
    { depot: 'none', id: 1n },
  ])
  expect(value.map(row => row?.at)).toEqual([at, at, undefined])
  expect(Object.entries(value[0]?.byNote ?? {})).toEqual([['__proto__', 1n]])
  expect(position).toBe('3')
  expect((await client.views.byId.get(2n)).value).toEqual({ count: 1 })
  expect((await client.views.byId.get(3n)).value).toBeUndefined()
  await client.topics.calls.append({ type: 'opened', depot: '..', at })
  expect((await client.views.depots.get('..')).value).toEqual({ calls: 1 })
  expect((await client.views.depots.get('')).value).toBeUndefined()
})

test('read answers several views at one cut, by name', async () => {
  const both = await client.read({ row: ['stored', key], id: ['byId', 1n], none: ['byId', 9n] }, { sources: true })
  expectTypeOf(both.value.id).toEqualTypeOf<{ count: number } | undefined>()
  expect(both.value.row).toStrictEqual((await client.views.stored.get(key)).value)
  expect(both).toMatchObject({ value: { id: { count: 1 } }, sources: {} })
  expect(both.value.none).toBeUndefined()
})

test('an absent row is undefined at a position, in the past too', async () => {
  const absent = await client.views.byId.get(1n, { at: '1' })
  expectTypeOf(absent).toEqualTypeOf<Answer<{ count: number } | undefined>>()
  expect(absent).toEqual({ value: undefined, position: '1', ageMs: null, final: true })
})

/** Over HTTP only a source's records say their place in their transaction. */
const unnumbered = <T extends object>(steps: readonly T[]) => steps.map(step => ({ ...step, sequence: null }))

test('lineage tells what the local client tells, with the types of records', async () => {
  const local = createLocalClient<typeof post>(world.reads)
  const steps = await client.views.stored.lineage(key)
  expect(steps).toStrictEqual(unnumbered(await local.views.stored.lineage(key)))
  expect(steps[0]?.record.after).toMatchObject({ id: 2n ** 65n, at })
  await client.topics.calls.append([
    { type: 'opened', depot: 'x', at },
    { type: 'weighed', depot: 'x', at: 5n },
  ])
  await client.views.depots.get('x')
  const weighed = await client.views.depots.lineage('x')
  expect(weighed.map(step => step.record.after)).toEqual([
    { type: 'weighed', depot: 'x', at: 5n },
    { type: 'opened', depot: 'x', at },
  ])
  expect(weighed).toStrictEqual(unnumbered(await local.views.depots.lineage('x')))
})

test('wrong views, keys, records and topics do not compile', () => {
  const wrong = () => [
    // @ts-expect-error the key is a bigint
    client.views.byId.get(1),
    // @ts-expect-error there is no such view
    client.views.nothing,
    // @ts-expect-error there is no such topic
    client.topics.nothing,
    // @ts-expect-error a depot is a text
    client.topics.calls.append({ type: 'opened', depot: 1, at }),
    // @ts-expect-error of an application alone nobody knows the topics
    createClient<typeof post>('').topics.calls,
  ]
  expect(wrong).toBeTypeOf('function')
  expectTypeOf(createClient<typeof post>('').views).toEqualTypeOf<(typeof client)['views']>()
})

test('problems are errors with the code, status and hint that were answered', async () => {
  const anyone = createClient<{ default: typeof post; nothing: typeof parcels }>(world.url)
  const views = anyone.views as unknown as Record<string, typeof client.views.byId>
  const error = await views['nothing']!.get(1n).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(ClientError)
  expect(error).toMatchObject({ code: 'VIEW_UNKNOWN', status: 404, retriable: false })
  await expect(client.views.byId.get(1n, { after: '999', timeoutMs: 0 })).rejects.toMatchObject({
    code: 'NOT_REACHED',
    status: 504,
    data: { waitingFor: [{ source: 'log', position: '999' }] },
  })
  await expect(client.views.byId.get(1n, { at: new Date(Number.NaN) })).rejects.toMatchObject({ code: 'AT_MALFORMED' })
  const bad = { ...parcel, depot: 1 } as unknown as typeof parcel
  await expect(client.topics.parcels.append(bad)).rejects.toMatchObject({ code: 'RECORD_REFUSED', status: 400 })
  await expect(client.views.depots.get('\ud800')).rejects.toMatchObject({ code: 'KEY_MALFORMED' })
})

test('a call ends with its signal', async () => {
  const gone = new AbortController()
  const waiting = client.views.byId.get(1n, { after: '999', timeoutMs: 60_000, signal: gone.signal })
  gone.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  const local = createLocalClient<typeof post>(world.reads)
  const alsoWaiting = local.views.byId.get(1n, { after: '999', timeoutMs: 60_000, signal: AbortSignal.timeout(1) })
  await expect(alsoWaiting).rejects.toThrow('aborted')
})

/** A server before the application that answers as it is told, then passes on. */
async function openFront(answers: readonly ((server: Server) => number | 'cut')[]) {
  const seen: { readonly method: string; readonly url: string; readonly headers: Headers }[] = []
  const server = createServer(async (request, response) => {
    const { method = '', url = '' } = request
    seen.push({ method, url, headers: new Headers(request.headers as Record<string, string>) })
    const how = answers[seen.length - 1]?.(server)
    if (how === 'cut') request.socket.destroy()
    else if (how !== undefined) response.writeHead(how, { 'retry-after': '0' }).end('<p>not now</p>')
    else {
      const body = method === 'GET' ? {} : { body: await text(request) }
      const answer = await fetch(world.url + url, { method, ...body })
      response.writeHead(answer.status, Object.fromEntries(answer.headers))
      response.end(await answer.text())
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

test('a read is tried again where nothing answers or not now; an append is not', async () => {
  await using front = await openFront([() => 'cut', () => 503, () => 429])
  const retrying = createClient<Post>(front.url)
  expect((await retrying.views.byId.get(2n)).value).toEqual({ count: 1 })
  expect(front.seen.length).toBe(4)
  await using other = await openFront([() => 'cut', () => 502])
  const appending = createClient<Post>(other.url)
  await expect(appending.topics.calls.append({ type: 'opened', depot: 'y', at })).rejects.toMatchObject({
    code: 'APPLICATION_UNREACHABLE',
    retriable: true,
  })
  await expect(createClient<Post>(other.url, { retries: 0 }).views.byId.get(2n)).rejects.toMatchObject({
    code: 'APPLICATION_UNREACHABLE',
    status: 502,
  })
  expect(other.seen.length).toBe(2)
})

test('tokens of appends are carried, the newest; those of a log that is no more are forgotten', async () => {
  await using front = await openFront([])
  const carrying = createClient<Post>(front.url)
  const tokens = await Promise.all(
    [1, 2, 3].map(async () => (await carrying.topics.calls.append({ type: 'opened', depot: 'z', at })).token),
  )
  const newest = tokens.toSorted((a, b) => Number(b.split('.').at(-1)) - Number(a.split('.').at(-1)))[0]!
  await carrying.views.depots.get('z', { after: '1' })
  expect(new URLSearchParams(front.seen.at(-1)?.url.split('?')[1]).getAll('after')).toEqual(['1', newest])
  await carrying.views.depots.get('z', { at: '1' })
  expect(front.seen.at(-1)?.url).toBe('/v1/views/depots/rows/z?at=1')
  await using renewed = await openWorld(post)
  const moved = createClient<Post>('http://application', {
    fetch: (url, init) => fetch(String(url).replace('http://application', init?.body ? world.url : renewed.url), init),
  })
  await moved.topics.calls.append({ type: 'opened', depot: 'z', at })
  expect(await moved.views.depots.get('z')).toMatchObject({ value: undefined, position: '0' })
  const alone = createClient<Post>(front.url, { readOwnWrites: false })
  await alone.topics.calls.append({ type: 'opened', depot: 'z', at })
  await alone.views.depots.get('z')
  expect(front.seen.at(-1)?.url).toBe('/v1/views/depots/rows/z')
})

test('a token is sent with every request, made anew where it is a function', async () => {
  await using front = await openFront([() => 503])
  let made = 0
  const known = createClient<Post>(front.url, { token: async () => `t${++made}`, headers: { 'x-more': '1' } })
  await known.views.byId.get(2n)
  expect(front.seen.map(({ headers }) => [headers.get('authorization'), headers.get('x-more')])).toEqual([
    ['Bearer t1', '1'],
    ['Bearer t2', '1'],
  ])
})
