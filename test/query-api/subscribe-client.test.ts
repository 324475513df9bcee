// Subscriptions of both clients, in the application's process and over HTTP; and how the one over HTTP goes on by itself.
import { afterEach, describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { application, projection } from '../../projections/index.ts'
import { createClient, type HttpClient } from '../../query-api/client/index.ts'
import { type Change, type Client, createLocalClient, openReads, openServer } from '../../query-api/index.ts'
import { openCuttingProxy } from '../support/cutting-proxy.ts'
import { Random } from '../support/random.ts'
import { broken, openWorld, seatings, type World } from './support.ts'

/** Who sits there; a row that goes when nobody does. */
const held = projection('held', {
  key: z.object({ show: z.string(), seat: z.int32() }),
  state: z.object({ holder: z.string().default(''), at: z.date().default(new Date(0)), times: z.bigint() }),
}).on(seatings, { show: 'show', seat: 'seat' }, (row, { holder, at }, ctx) => {
  row.holder = holder ?? ''
  row.at = at
  row.times++
  if (holder === null) ctx.delete()
})
const stopping = projection('stopping', { key: z.int(), state: z.object({ count: z.int32() }) }).on(
  broken,
  'id',
  () => {
    throw new Error('this handler fails')
  },
)
const app = application('theatre', { views: [held, stopping] })
type Key = { show: string; seat: number }
type Seat = { holder: string; at: Date; times: bigint }
type SeatChange = Change<Key, Seat>

let world: World
const closing: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of closing.splice(0).reverse()) await each[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})
const later = <T extends AsyncDisposable>(each: T): T => {
  closing.push(each)
  return each
}

const at = new Date('2026-11-01T09:00:00.123Z')
const sit = (show: string, seat: number, holder: string | null) =>
  world.appends.append('seatings', [{ show, seat, holder, at, id: 1n }])
const seat = (show: string, seat: number): Key => ({ show, seat })

/** Takes what comes, until it is left. */
class Reading implements AsyncDisposable {
  readonly changes: SeatChange[] = []
  /** What is known by folding them. */
  readonly rows = new Map<string, Seat>()
  readonly #iterator: AsyncIterator<SeatChange>
  readonly ended: Promise<void>
  error: unknown

  constructor(changes: AsyncIterable<SeatChange>) {
    this.#iterator = changes[Symbol.asyncIterator]()
    this.ended = this.#read().catch(error => {
      this.error = error
    })
  }

  async #read(): Promise<void> {
    for (let next = await this.#iterator.next(); !next.done; next = await this.#iterator.next()) {
      const { value: change } = next
      this.changes.push(change)
      if (change.type === 'row') this.rows.set(JSON.stringify(change.key), change.value)
      else if (change.type === 'gone') this.rows.delete(JSON.stringify(change.key))
    }
  }

  /** Resolves when all up to there has come. */
  progressed(position: number) {
    return expect
      .poll(
        () => this.error ?? this.changes.some(each => each.type === 'progress' && Number(each.position) >= position),
        {
          interval: 10,
        },
      )
      .toBe(true)
  }

  async [Symbol.asyncDispose]() {
    await this.#iterator.return?.()
    await this.ended
  }
}

describe.each(['in the process', 'over HTTP'] as const)('a subscription %s', name => {
  const open = (): Client<typeof app> =>
    name === 'in the process' ? createLocalClient<typeof app>(world.reads) : createClient<typeof app>(world.url)

  test('is an iterator of typed changes, from the rows there are on', async () => {
    world = await openWorld(app, {}, {}, { progressMs: 20 })
    await sit('a,b', 1, 'ada')
    await world.reads.wait({ after: ['1'] })
    const changes = open().views.held.subscribe({ keys: [seat('a,b', 1), seat('ham', -2)], sources: true })
    expectTypeOf(changes).toEqualTypeOf<AsyncIterable<SeatChange>>()
    const reading = later(new Reading(changes))
    await reading.progressed(1)
    await sit('ham', -2, 'bob')
    await sit('ham', 7, 'nobody asked for')
    await sit('a,b', 1, null)
    await reading.progressed(4)
    expect(reading.changes.filter(({ type }) => type !== 'progress')).toStrictEqual([
      { type: 'row', key: seat('a,b', 1), value: { holder: 'ada', at, times: 1n }, position: '1' },
      { type: 'row', key: seat('ham', -2), value: { holder: 'bob', at, times: 1n }, position: '2' },
      { type: 'gone', key: seat('a,b', 1), position: '4' },
    ])
    expect(reading.changes[1]).toStrictEqual({
      type: 'progress',
      position: '1',
      ageMs: expect.any(Number),
      final: true,
      sources: {},
    })
  })

  test('waits for a token before it begins, ends by its signal, and at once when it is left', async () => {
    world = await openWorld(app)
    const { held } = open().views
    const stop = new AbortController()
    const first = new Reading(held.subscribe({ keys: [seat('ham', 1)], after: '2', signal: stop.signal }))
    await sit('ham', 1, 'ada')
    await sit('ham', 1, 'bob')
    await first.progressed(2)
    expect(first.changes[0]).toMatchObject({ type: 'row', value: { holder: 'bob' }, position: '2' })
    stop.abort(new Error('enough'))
    await first.ended
    expect(first.error).toMatchObject({ message: 'enough' })
    // Nothing comes while it is left: it waits.
    const second = new Reading(held.subscribe({ keys: [seat('ham', 1)] }))
    await second.progressed(2)
    await second[Symbol.asyncDispose]()
    expect(second.error).toBeUndefined()
    for await (const change of held.subscribe({ keys: [seat('ham', 1)] })) if (change.type === 'progress') break
    await expect.poll(() => world.reads.subscriptions.open).toBe(0)
  })

  test('is refused what is wrong, and ends when its view stops', async () => {
    world = await openWorld(app)
    const { held, stopping } = open().views
    const keys = Array.from({ length: 1_001 }, (_, n) => seat('ham', n))
    expect(() => held.subscribe({ keys })).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
    /** At once, or when they are asked for. */
    const refused = async (changes: () => AsyncIterable<unknown>, ...codes: string[]) => {
      const reading = async () => {
        for await (const _ of changes());
      }
      await expect(reading()).rejects.toMatchObject({ code: expect.toBeOneOf(codes) })
    }
    const wrong = { show: 'ham' } as unknown as Key
    await refused(() => held.subscribe({ keys: [wrong] }), 'KEY_INVALID', 'KEY_MALFORMED')
    await refused(() => held.subscribe({ keys: [seat('ham', 1)], after: '9', timeoutMs: 1 }), 'NOT_REACHED')
    await refused(() => held.subscribe({ keys: [seat('ham', 1)], after: 'm1.other.log.1' }), 'TOKEN_OTHER_LOG')
    const ends = refused(() => stopping.subscribe({ keys: [1] }), 'VIEW_STOPPED')
    await expect.poll(() => world.reads.subscriptions.open).toBe(1)
    await world.appends.append('breaking', [{ id: 1 }])
    await ends
    await refused(() => stopping.subscribe({ keys: [1] }), 'VIEW_STOPPED')
  })
})

const SEATS = Array.from({ length: 6 }, (_, n) => seat('hamlet', n))

/** The rows there are. */
async function rowsNow(): Promise<ReadonlyMap<string, Seat>> {
  const { value } = await createLocalClient<typeof app>(world.reads).views.held.lookup(SEATS, {
    after: String(world.log.end),
  })
  return new Map(SEATS.flatMap((key, n) => (value[n] ? [[JSON.stringify(key), value[n]] as const] : [])))
}

test.each([1, 2])(
  'a subscription whose connection is cut anywhere misses nothing and tells nothing twice (seed %i)',
  async seed => {
    world = await openWorld(app, {}, {}, { progressMs: 20 })
    const random = new Random(seed)
    const proxy = later(await openCuttingProxy(world.url))
    const { views } = createClient<typeof app>(proxy.url, { fetch: withoutWaits })
    const reading = later(new Reading(views.held.subscribe({ keys: SEATS })))
    await reading.progressed(0)
    proxy.cutAfter(Array.from({ length: 12 }, () => 250 + random.int(2_000)))
    for (let n = 0; n < 200 || proxy.cuts < 12; n++)
      await sit('hamlet', random.int(SEATS.length), random.int(4) === 0 ? null : `${n}`)
    await reading.progressed(world.log.end)
    expect(reading.rows).toEqual(await rowsNow())
    // Each change of a row is one of the log's records, in order, and each of them comes.
    const positions = reading.changes.flatMap(each => (each.type === 'row' ? Number(each.position) : []))
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b))
    const gone = reading.changes.filter(({ type }) => type === 'gone').length
    let deletions = 0
    for await (const { event } of streams()) if (event['holder'] === null) deletions++
    expect(positions.length + deletions).toBe(world.log.end)
    expect(gone).toBeLessThanOrEqual(deletions)
  },
)

async function* streams() {
  for (const { show, seat } of SEATS) yield* world.log.stream(world.topics.get('seatings')!, { show, seat })
}

/** Answers without what says how long to wait before the next try: tests have no time. */
const withoutWaits: typeof fetch = async (url, init) => {
  const response = await fetch(url, init)
  if (!response.body || response.headers.get('content-type')?.includes('json')) return response
  const decoder = new TextDecoder()
  const encoder = new TextEncoder()
  const body = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, out) {
        out.enqueue(encoder.encode(decoder.decode(piece, { stream: true }).replace(/^retry: \d+\n/m, '')))
      },
    }),
  )
  return new Response(body, response)
}

test('a subscription lives through a restart of the application, and is told what has gone meanwhile', async () => {
  world = await openWorld(app)
  for (let n = 0; n < 3; n++) await sit('hamlet', n, 'ada')
  const client = createClient<typeof app>(world.url, { fetch: withoutWaits })
  const reading = later(new Reading(client.views.held.subscribe({ keys: SEATS, after: '3' })))
  await reading.progressed(3)
  await world.server.close()
  await sit('hamlet', 0, null)
  await sit('hamlet', 1, 'bob')
  await sit('hamlet', 3, 'cleo')
  const { engine, log, topics } = world
  const reads = openReads({ engine, log, sources: new Map() })
  const port = Number(new URL(world.url).port)
  later(await openServer({ application: app.name, reads, topics, port, version: '1.2.4' }))
  await reading.progressed(6)
  expect(reading.rows).toEqual(
    new Map([
      [JSON.stringify(seat('hamlet', 1)), { holder: 'bob', at, times: 2n }],
      [JSON.stringify(seat('hamlet', 2)), { holder: 'ada', at, times: 1n }],
      [JSON.stringify(seat('hamlet', 3)), { holder: 'cleo', at, times: 1n }],
    ]),
  )
  expect(reading.changes.filter(({ type }) => type === 'gone')).toMatchObject([{ key: seat('hamlet', 0) }])
})

test('a subscription whose other side has died without a word connects again', async () => {
  world = await openWorld(app, {}, {}, { progressMs: 20, heartbeatMs: 40 })
  const proxy = later(await openCuttingProxy(world.url))
  let connections = 0
  const client = createClient<typeof app>(proxy.url, {
    silentMsMax: 2_000,
    fetch: (url, init) => {
      if (String(url).includes('subscribe')) connections++
      return withoutWaits(url, init)
    },
  })
  const reading = later(new Reading(client.views.held.subscribe({ keys: SEATS })))
  await reading.progressed(0)
  await sit('hamlet', 1, 'ada')
  await reading.progressed(1)
  // What is quiet is not dead: sixty heartbeats are longer than it may be silent.
  const { bytes } = proxy
  await expect.poll(() => proxy.bytes - bytes).toBeGreaterThan(60 * ': \n\n'.length)
  expect(connections).toBe(1)
  proxy.silence()
  await sit('hamlet', 2, 'bob')
  await reading.progressed(2)
  expect(connections).toBeGreaterThan(1)
  expect(reading.rows).toEqual(await rowsNow())
})

test('a subscriber that takes nothing reads nothing, and gets the newest rows when it does', async () => {
  world = await openWorld(app, {}, {}, { ringBytesMax: 200_000, unsentBytesMax: 1_000, progressMs: 20 })
  const proxy = later(await openCuttingProxy(world.url))
  const client = createClient<typeof app>(proxy.url, { fetch: withoutWaits })
  await sit('hamlet', 0, 'ada')
  const iterator = client.views.held.subscribe({ keys: SEATS, after: '1' })[Symbol.asyncIterator]()
  expect(await iterator.next()).toMatchObject({ value: { type: 'row' } })
  expect(await iterator.next()).toMatchObject({ value: { type: 'progress' } })
  // More than kernels and the runtime keep for a connection.
  const long = 'x'.repeat(400_000)
  for (let n = 0; n < 100; n++) await sit('hamlet', 1, `${n}${long}`)
  await sit('hamlet', 0, null)
  for (let n = 0; n < 20; n++) await sit('hamlet', 2, `${n}`)
  await world.reads.wait({ after: [String(world.log.end)] })
  expect(proxy.bytes).toBeLessThan(20_000_000)
  const rows = new Map<string, Seat>()
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    const { value: change } = next
    if (change.type === 'row') rows.set(JSON.stringify(change.key), change.value)
    else if (change.type === 'gone') rows.delete(JSON.stringify(change.key))
    else if (Number(change.position) >= world.log.end) break
  }
  await iterator.return?.()
  // The first row came before.
  expect([...rows].sort()).toEqual([...(await rowsNow())].sort())
  expect(rows.get(JSON.stringify(seat('hamlet', 1)))?.holder.length).toBe(long.length + 2)
  expect(proxy.bytes).toBeLessThan(60_000_000)
})

test('a client is told of its own appends first', async () => {
  world = await openWorld(app)
  const module = { default: app, seatings }
  const client: HttpClient<typeof module> = createClient<typeof module>(world.url)
  await client.topics.seatings.append({ show: 'hamlet', seat: 1, holder: 'ada', at, id: 1n })
  for await (const first of client.views.held.subscribe({ keys: SEATS })) {
    expect(first).toMatchObject({ type: 'row', value: { holder: 'ada' } })
    break
  }
})
