// Subscriptions to rows that come and go: by a prefix of keys, by what an index serves, by what a policy shows.
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, describe, expect, expectTypeOf, it } from 'vitest'
import type { z } from 'zod'
import { createClient } from '../../query-api/client/index.ts'
import { type Change, createKey, createLocalClient } from '../../query-api/index.ts'
import { nativeModule } from '../support/native-module.ts'
import { Random } from '../support/random.ts'
import { TestSubscriber } from './subscriber.ts'
import { openWorld, type World } from './support.ts'

const { default: app, moves } = nativeModule<typeof import('../support/theatre-app.ts')>('./theatre-app.ts')

let world: World
const subscribers: TestSubscriber[] = []
const sockets: Socket[] = []
const clean: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const subscriber of subscribers.splice(0)) await subscriber.disconnect()
  await world[Symbol.asyncDispose]()
  for (const each of clean.splice(0)) await each()
})

async function subscribe(query: string, headers: Record<string, string> = {}): Promise<TestSubscriber> {
  const subscriber = new TestSubscriber(`${world.url}/v1/views/${query}`)
  subscribers.push(subscriber)
  return subscriber.connect(headers)
}

type Move = z.input<typeof moves.value>
const move = (...values: readonly Partial<Move>[]) =>
  world.appends.append(
    'moves',
    values.map(value => ({ show: 'hamlet', seat: 1, city: null, cents: 0, ...value })),
  )

/** All rows that a query gives, by key as JSON. */
async function rowsOf(query: string, headers: Record<string, string> = {}): Promise<ReadonlyMap<string, unknown>> {
  const response = await fetch(`${world.url}/v1/views/${query}&after=${world.log.end}`, {
    headers: { accept: 'application/x-ndjson', ...headers },
  })
  const lines = (await response.text()).trimEnd().split('\n')
  const rows = lines.slice(0, -1).map(line => JSON.parse(line) as { key: unknown; value: unknown })
  return new Map(rows.map(({ key, value }) => [JSON.stringify(key), value]))
}

const told = (subscriber: TestSubscriber) =>
  subscriber.events.flatMap(({ event, data }) => {
    const { show, seat } = (data['key'] ?? {}) as { show?: string; seat?: number }
    return event === 'row' || event === 'gone' ? [`${event} ${show ?? data['key']} ${seat ?? ''}`.trim()] : []
  })

describe('a subscription by what an index serves', () => {
  it.each([0, 2])(
    'is told of rows that come to have the values, and that those have gone that have them no more: %i threads',
    async threads => {
      world = await openWorld(app, { threads })
      await move({ seat: 1, city: 'Bern' }, { seat: 2, city: 'Ulm' }, { seat: 3 })
      const bern = await subscribe('places/subscribe?where.city=Bern')
      const nowhere = await subscribe('places/subscribe?where.city.null=true')
      const both = await subscribe('places/subscribe?where.city=Bern&where.cents=5')
      for (const each of [bern, nowhere, both]) await each.progressed(3)
      await move({ seat: 2, city: 'Bern' }, { seat: 1, city: 'Bern', cents: 5 })
      await move({ seat: 1, city: null }, { seat: 2, city: 'Bern', leaves: true }, { seat: 4, city: 'Bern', cents: 5 })
      await move({ seat: 4, city: 'Bern', cents: 6 })
      for (const each of [bern, nowhere, both]) await each.progressed(9)
      expect(told(bern)).toEqual([
        'row hamlet 1',
        'row hamlet 1',
        'row hamlet 2',
        'gone hamlet 1',
        'gone hamlet 2',
        'row hamlet 4',
        'row hamlet 4',
      ])
      expect(told(nowhere)).toEqual(['row hamlet 3', 'row hamlet 1'])
      expect(told(both)).toEqual(['row hamlet 1', 'gone hamlet 1', 'row hamlet 4', 'gone hamlet 4'])
      expect(bern.events[0]?.data).toEqual({
        key: { show: 'hamlet', seat: 1 },
        value: { city: 'Bern', cents: 0, tenant: 'a', note: '' },
        position: '3',
      })
      expect(world.internalErrors).toEqual([])
    },
  )

  it('refuses what no index serves, bounds, and more than one way of selecting', async () => {
    world = await openWorld(app)
    const refused = async (query: string) => {
      const { status, body } = await world.get(`/v1/views/places/subscribe${query}`)
      return [status, body['code']]
    }
    expect(await refused('?where.cents=5')).toEqual([400, 'NO_INDEX'])
    expect(await refused('?where.city.gte=A')).toEqual([400, 'REQUEST_INVALID'])
    expect(await refused('?where.town=Bern')).toEqual([400, 'REQUEST_INVALID'])
    expect(await refused('?where.city=Bern&prefix=hamlet')).toEqual([400, 'REQUEST_INVALID'])
    expect(await refused('?where.city=Bern&keys=hamlet,1')).toEqual([400, 'REQUEST_INVALID'])
    expect(await refused('?where.city=Bern&where.cents=x')).toEqual([400, 'REQUEST_INVALID'])
    expect(await refused('?prefix=a,b,c')).toEqual([400, 'KEY_MALFORMED'])
    expect(await refused('?prefix=hamlet&limit=3')).toEqual([400, 'REQUEST_INVALID'])
    expect(await refused('')).toEqual([400, 'REQUEST_INVALID'])
    expect(world.reads.subscriptions.open).toBe(0)
  })
})

describe('a subscription by a prefix', () => {
  it('has the rows whose keys begin so, of a text and of a key of several fields', async () => {
    world = await openWorld(app)
    await move({ show: 'hamlet' }, { show: 'ham' }, { show: 'faust', seat: 2 })
    const ham = await subscribe('shows/subscribe?prefix=ham')
    const all = await subscribe('shows/subscribe?prefix=')
    const hamlet = await subscribe('places/subscribe?prefix=ham,')
    for (const each of [ham, all, hamlet]) await each.progressed(3)
    await move({ show: 'hamburg' }, { show: 'ha' }, { show: 'ham', seat: 7 })
    for (const each of [ham, all, hamlet]) await each.progressed(6)
    expect(told(ham)).toEqual(['row ham', 'row hamlet', 'row ham', 'row hamburg'])
    expect(told(all)).toEqual(['row faust', 'row ham', 'row hamlet', 'row ha', 'row ham', 'row hamburg'])
    expect(told(hamlet)).toEqual(['row ham 1', 'row ham 7'])
  })
})

describe('a subscription to many rows', () => {
  const SEATS = 700
  const seats = (random: Random) => ({
    seat: random.int(SEATS),
    city: random.pick(['Bern', 'Bern', 'Bern', 'Ulm']),
    cents: random.int(1_000),
    leaves: random.int(5) === 0,
  })
  const QUERIES = ['where.city=Bern', 'prefix=hamlet', 'where.tenant=a']

  it.each([0, 2])(
    'reads them page by page while they change and move: what it then has is what there is: %i threads',
    async threads => {
      world = await openWorld(app, { threads }, {}, { unsentBytesMax: 2_000 })
      const random = new Random(1 + threads)
      await move(...Array.from({ length: SEATS }, (_, seat) => ({ ...seats(random), seat, leaves: false })))
      await world.engine.waitFor(SEATS, AbortSignal.timeout(30_000))
      let appending = true
      const appended = (async () => {
        // Clients are told when they are level: they must be able to be.
        for (; appending; await pause(20)) await move(...Array.from({ length: 5 }, () => seats(random)))
      })()
      const clients = await Promise.all(QUERIES.map(query => subscribe(`places/subscribe?${query}`)))
      await Promise.all(clients.map(each => each.progressed(SEATS)))
      // Each breaks and goes on a few times.
      for (let n = 0; n < 8; n++) {
        const client = random.pick(clients)
        const { length } = client.events
        await client.until(() => client.events.length > length + random.int(30))
        await client.disconnect()
        await client.connect()
      }
      appending = false
      await appended
      for (const [n, client] of clients.entries()) {
        await client.progressed(world.log.end)
        const expected = await rowsOf(`places/rows?${QUERIES[n]}`)
        expect(client.rows.size).toBe(expected.size)
        expect(client.rows).toEqual(expected)
        // No event takes the client back.
        const positions = client.events.map(({ data }) => Number(data['position']))
        expect(positions).toEqual(positions.toSorted((a, b) => a - b))
        // Nobody can go on from amidst the rows; from a change after them one can, also before the first progress.
        const begun = client.events.findIndex(({ id }) => id !== '')
        expect(begun).toBeGreaterThan(SEATS / 2)
        expect(client.events.slice(0, begun).some(({ event }) => event === 'progress')).toBe(false)
      }
      expect(clients.flatMap(each => each.named('reset'))).toEqual([])
      expect(world.internalErrors).toEqual([])
    },
  )

  it('whose client takes nothing of them holds no other up, and ends with an overflow', async () => {
    const ROWS = 800
    world = await openWorld(app, {}, {}, { ringBytesMax: 100_000, unsentBytesMax: 1_000 })
    // More than kernels keep for a socket.
    const note = 'x'.repeat(20_000)
    for (let from = 0; from < ROWS; from += 20)
      await move(...Array.from({ length: 20 }, (_, n) => ({ seat: from + n, city: 'Bern', note })))
    // The order of keys is built with the first look at it.
    await rowsOf('places/rows?prefix=none')
    const slow = connect(Number(new URL(world.url).port), '127.0.0.1')
    sockets.push(slow)
    slow.write('GET /v1/views/places/subscribe?prefix=hamlet HTTP/1.1\r\nhost: x\r\n\r\n')
    let text = ''
    slow.setEncoding('utf8').once('data', first => {
      text += first
      slow.pause()
    })
    await expect.poll(() => text).toContain('200 OK')
    const quick = await subscribe('places/subscribe?where.city=Ulm')
    await quick.progressed(ROWS)
    for (let n = 0; n < 300; n++) await move({ seat: n, city: 'Ulm' })
    await quick.until(() => quick.named('row').length === 300)
    const before = process.memoryUsage().rss
    slow.on('data', piece => {
      text += piece
    })
    slow.resume()
    await expect.poll(() => text, { timeout: 20_000 }).toMatch(/event: overflow\ndata: .*SUBSCRIBER_TOO_SLOW.*\n\n$/)
    await expect.poll(() => slow.closed || slow.readableEnded).toBe(true)
    // It has had some pages, and not all: the rest was never made.
    expect(text.match(/event: row/g)?.length).toBeLessThan(ROWS)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
    await expect.poll(() => world.reads.subscriptions.open).toBe(1)
  })
})

describe('a subscription under a policy', () => {
  async function guardedWorld(threads = 0) {
    const folder = await mkdtemp(join(tmpdir(), 'mainstem-subscribe-'))
    clean.push(() => rm(folder, { recursive: true, force: true }))
    const keysFile = join(folder, 'keys.json')
    const headers: Record<string, Record<string, string>> = {}
    for (const tenant of ['a', 'b']) {
      const { key } = await createKey(keysFile, { name: tenant, scopes: ['view:*'], claims: { tenant } })
      headers[tenant] = { authorization: `Bearer ${key}` }
    }
    world = await openWorld(app, { threads }, { access: { keysFile } })
    return headers as { readonly a: Record<string, string>; readonly b: Record<string, string> }
  }
  const QUERIES = ['keys=hamlet,1&keys=hamlet,2', 'prefix=hamlet', 'where.city=Bern']

  it.each(QUERIES)('shows what may be seen; a row that may be seen no more is gone: %s', async query => {
    const { a, b } = await guardedWorld()
    await move({ seat: 1, city: 'Bern' }, { seat: 2, city: 'Bern', tenant: 'b' })
    const seesA = await subscribe(`places/subscribe?${query}`, a)
    const seesB = await subscribe(`places/subscribe?${query}`, b)
    await seesA.progressed(2)
    await seesB.progressed(2)
    await move({ seat: 1, city: 'Bern', tenant: 'b' })
    await move({ seat: 1, city: 'Bern', tenant: 'b', cents: 1 }, { seat: 2, city: 'Bern', tenant: 'b', leaves: true })
    await move({ seat: 1, city: 'Bern' })
    await seesA.progressed(6)
    await seesB.progressed(6)
    expect(told(seesA)).toEqual(['row hamlet 1', 'gone hamlet 1', 'row hamlet 1'])
    expect(told(seesB)).toEqual(['row hamlet 2', 'row hamlet 1', 'row hamlet 1', 'gone hamlet 2', 'gone hamlet 1'])
    for (const { data } of seesA.named('row')) expect(data['value']).toMatchObject({ tenant: 'a' })
    for (const { data } of seesB.named('row')) expect(data['value']).toMatchObject({ tenant: 'b' })
  })

  it('holds for what is gone on with, and for pages of many rows', async () => {
    const { a } = await guardedWorld(2)
    const random = new Random(7)
    const any = () => ({ seat: random.int(900), city: 'Bern', tenant: random.pick(['a', 'b']) })
    await move(...Array.from({ length: 900 }, (_, seat) => ({ ...any(), seat })))
    const client = await subscribe('places/subscribe?where.city=Bern', a)
    await client.progressed(900)
    for (let n = 0; n < 20; n++) {
      await client.disconnect()
      await move(...Array.from({ length: 30 }, any))
      await client.connect({ ...a, 'last-event-id': client.id })
      await client.progressed(world.log.end)
    }
    expect(client.rows).toEqual(await rowsOf('places/rows?where.city=Bern', a))
    expect([...client.rows.values()].every(row => (row as { tenant: string }).tenant === 'a')).toBe(true)
    expect(client.named('reset')).toEqual([])
  })

  it('is not for who has not the claims, or may not read the view', async () => {
    await guardedWorld()
    const response = await fetch(`${world.url}/v1/views/places/subscribe?prefix=hamlet`)
    expect(response.status).toBe(401)
  })
})

describe('a client', () => {
  it.each(['in this process', 'over HTTP'])(
    'subscribes by a prefix and by values, typed by the key and by the indexes: %s',
    async kind => {
      world = await openWorld(app)
      const client =
        kind === 'over HTTP' ? createClient<typeof app>(world.url) : createLocalClient<typeof app>(world.reads)
      const { views } = client
      await move(...Array.from({ length: 600 }, (_, seat) => ({ seat, city: 'Bern' })))
      const changes: Change<
        { show: string; seat: number },
        { city: string | null; cents: number; tenant: string; note: string }
      >[] = []
      const stop = new AbortController()
      const { signal } = stop
      const reading = (async () => {
        for await (const change of views.places.subscribe({ where: { city: 'Bern' }, after: '600', signal }))
          changes.push(change)
      })()
      const count = (type: string) => changes.filter(change => change.type === type).length
      await expect.poll(() => count('progress')).toBe(1)
      expect(count('row')).toBe(600)
      await move({ seat: 5, city: 'Ulm' })
      await expect.poll(() => count('gone')).toBe(1)
      stop.abort(new Error('enough'))
      await expect(reading).rejects.toThrow('enough')
      for await (const change of views.shows.subscribe({ prefix: 'ham' })) {
        expectTypeOf(change.type === 'row' && change.value).toEqualTypeOf<false | { moves: number }>()
        expect(change).toMatchObject({ type: 'row', key: 'hamlet', value: { moves: 601 } })
        break
      }
      for await (const change of views.places.subscribe({ prefix: { show: 'hamlet' } })) {
        expect(change).toMatchObject({ type: 'row', key: { show: 'hamlet', seat: 0 } })
        break
      }
      await expect.poll(() => world.reads.subscriptions.open).toBe(0)
    },
  )

  it('cannot ask for what no index serves', () => {
    const wrong = ({ views }: ReturnType<typeof createLocalClient<typeof app>>) => [
      views.places.subscribe({ where: { city: null } }),
      views.places.subscribe({ where: { city: 'Bern', cents: 5 } }),
      // @ts-expect-error no index begins with it
      views.places.subscribe({ where: { cents: 5 } }),
      // @ts-expect-error bounds are for ranges
      views.places.subscribe({ where: { city: { gte: 'A' } } }),
      // @ts-expect-error there is no index
      views.shows.subscribe({ where: { moves: 5 } }),
      // @ts-expect-error one of them
      views.shows.subscribe({ keys: ['a'], prefix: 'a' }),
      // @ts-expect-error a prefix is the beginning of a key
      views.places.subscribe({ prefix: 'hamlet' }),
    ]
    expect(wrong).toBeTypeOf('function')
  })
})
