// Subscriptions over real HTTP.
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { TestSubscriber } from './subscriber.ts'
import { openWorld, type World } from './support.ts'

let world: World
const subscribers: TestSubscriber[] = []
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const subscriber of subscribers.splice(0)) await subscriber.disconnect()
  await world[Symbol.asyncDispose]()
})

const CUSTOMERS = Array.from({ length: 12 }, (_, n) => `customer ${n}`)
const urlOf = (keys: readonly string[], more = '') =>
  `${world.url}/v1/views/spending/subscribe?${keys.map(key => `keys=${encodeURIComponent(key)}`).join('&')}${more}`

async function subscribe(keys: readonly string[], more = ''): Promise<TestSubscriber> {
  const subscriber = new TestSubscriber(urlOf(keys, more))
  subscribers.push(subscriber)
  return subscriber.connect()
}

const spend = (...customers: readonly string[]) =>
  world.appends.append(
    'purchases',
    customers.map(customer => ({ customer, cents: 1 })),
  )

/** The rows of some keys as they are read. */
async function rowsOf(keys: readonly string[]): Promise<ReadonlyMap<string, unknown>> {
  const { body } = await world.post(`/v1/views/spending/lookup?after=${world.log.end}`, { keys })
  const values = body['values'] as readonly { key: string; value: unknown }[]
  return new Map(values.flatMap(({ key, value }) => (value === null ? [] : [[JSON.stringify(key), value] as const])))
}

describe('a subscription', () => {
  it('begins with the rows there are, says so, and goes on with each change in order', async () => {
    world = await openWorld()
    await spend('ada', 'ada')
    await world.reads.wait({ after: ['2'] })
    const subscriber = await subscribe(['ada', 'bob'], '&sources=true')
    expect(subscriber.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    await subscriber.progressed(2)
    world.source.reach('0/10', world.log.end)
    await spend('bob', 'eve')
    await spend('ada')
    await subscriber.until(() => subscriber.named('row').length === 3)
    const seen = subscriber.events.map(({ event, data }) => [event, data])
    expect(seen).toEqual([
      ['row', { key: 'ada', value: { count: 2, cents: 2 }, position: '2' }],
      ['progress', { position: '2', ageMs: expect.any(Number), final: true, sources: {} }],
      ['row', { key: 'bob', value: { count: 1, cents: 1 }, position: '4' }],
      ['row', { key: 'ada', value: { count: 3, cents: 3 }, position: '5' }],
    ])
    expect(world.internalErrors).toEqual([])
  })

  it('is told how far the view is when nothing it selects changes, and waits for a token before it begins', async () => {
    world = await openWorld(undefined, {}, {}, { progressMs: 20, heartbeatMs: 60 })
    const subscriber = await subscribe(['ada'])
    await subscriber.progressed(0)
    const { token } = await spend('eve')
    await subscriber.progressed(1)
    expect(subscriber.named('row')).toEqual([])
    const waiting = new TestSubscriber(
      urlOf(['eve'], `&after=${encodeURIComponent(token)},3&timeoutMs=30000`),
    ).connect()
    await spend('eve', 'eve')
    const late = await waiting
    subscribers.push(late)
    await late.progressed(3)
    expect(late.events[0]).toMatchObject({ event: 'row', data: { value: { count: 3 }, position: '3' } })
    // A comment is no event, and keeps the connection.
    const raw = connect(Number(new URL(world.url).port), '127.0.0.1')
    sockets.push(raw)
    raw.write('GET /v1/views/spending/subscribe?keys=ada HTTP/1.1\r\nhost: x\r\n\r\n')
    let text = ''
    for await (const piece of raw) {
      text += piece
      if (/\n\n: \n\n: \n\n/.test(text)) break
    }
    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n/)
    expect(text.toLowerCase()).not.toContain('transfer-encoding')
    expect(text).toMatch(/\r\n\r\nretry: \d+\n\nid: s1\./)
  })

  it.each([1, 2, 3])(
    'that breaks anywhere goes on where it was: nothing is missing, nothing comes twice (seed %i)',
    async seed => {
      world = await openWorld()
      const random = new Random(seed)
      const clients = await Promise.all(
        Array.from({ length: 8 }, async (_, n) => {
          const keys = CUSTOMERS.filter((_, key) => (key + n) % 3 > 0)
          return { keys, subscriber: await subscribe(keys) }
        }),
      )
      await Promise.all(clients.map(({ subscriber }) => subscriber.progressed(0)))
      let appending = true
      const appended = (async () => {
        for (let n = 0; n < 150; n++)
          await spend(...Array.from({ length: 1 + random.int(6) }, () => random.pick(CUSTOMERS)))
        appending = false
      })()
      while (appending) {
        const { subscriber } = random.pick(clients)
        const told = subscriber.events.length
        await Promise.race([subscriber.until(() => subscriber.events.length > told + random.int(5)), appended])
        await subscriber.disconnect()
        await subscriber.connect()
      }
      await appended
      const rows = new Map<string, number>()
      for (const { keys, subscriber } of clients) {
        await subscriber.disconnect()
        await subscriber.connect()
        const expected = await rowsOf(keys)
        await subscriber.progressed(world.log.end)
        expect(subscriber.rows).toEqual(expected)
        expect(subscriber.named('reset')).toEqual([])
        // Each purchase that is a transaction's last of its customer, once: counts never fall, and no event comes again.
        const told = subscriber.named('row').map(({ data }) => `${data['key']} ${data['position']}`)
        expect(new Set(told).size).toBe(told.length)
        for (const key of told) rows.set(key, (rows.get(key) ?? 0) + 1)
        const positions = subscriber.named('row').map(({ data }) => Number(data['position']))
        expect(positions).toEqual(positions.toSorted((a, b) => a - b))
      }
      // Whoever selects a key is told the same of it.
      const perKey = new Map(CUSTOMERS.map((key, at) => [key, clients.filter((_, n) => (at + n) % 3 > 0).length]))
      for (const [told, count] of rows) expect(count, told).toBe(perKey.get(told.replace(/ \d+$/, '')))
    },
  )

  it('goes on within a transaction of which it has had a part', async () => {
    world = await openWorld()
    const keys = ['a', 'b', 'c']
    const subscriber = await subscribe(keys)
    await subscriber.progressed(0)
    await spend(...keys)
    await subscriber.until(() => subscriber.named('row').length === 3)
    await subscriber.disconnect()
    const ids = subscriber.named('row').map(({ id }) => id)
    expect(new Set(ids).size).toBe(3)
    const again = new TestSubscriber(urlOf(keys, `&lastEventId=${ids[0]}`))
    subscribers.push(await again.connect())
    await again.progressed(3)
    expect(again.events.map(({ event, data, id }) => [event, data['key'], id])).toEqual([
      ['row', 'b', ids[1]],
      ['row', 'c', ids[2]],
      ['progress', undefined, expect.any(String)],
    ])
  })

  it('begins anew, and says so, where what it missed is kept no more', async () => {
    world = await openWorld(undefined, {}, {}, { ringBytesMax: 20_000 })
    const subscriber = await subscribe(['ada', 'bob'])
    await subscriber.progressed(0)
    await spend('ada')
    await subscriber.until(() => subscriber.named('row').length === 1)
    await subscriber.disconnect()
    for (let n = 0; n < 100; n++) await spend('eve', 'bob')
    await subscriber.connect()
    await subscriber.progressed(world.log.end)
    expect(subscriber.named('reset')).toMatchObject([{ data: { position: String(world.log.end) } }])
    expect(subscriber.rows).toEqual(await rowsOf(['ada', 'bob']))
    // Of another process nothing is known, and nobody is taken back: it is waited for the position that the client has seen.
    const [, log] = subscriber.id.split('.')
    const other = new TestSubscriber(urlOf(['ada'], '&timeoutMs=5'))
    const ahead = `s1.${log}.spending.${world.log.end + 1}.abc.1`
    await expect(other.connect({ 'last-event-id': ahead })).rejects.toMatchObject({ problem: { code: 'NOT_REACHED' } })
    subscribers.push(await other.connect({ 'last-event-id': `s1.${log}.spending.${world.log.end}.abc.1` }))
    await other.progressed(world.log.end)
    expect(other.events[0]).toMatchObject({ event: 'reset' })
  })

  it('whose client takes nothing ends with an overflow, delays no other, and can go on', async () => {
    world = await openWorld(undefined, {}, {}, { ringBytesMax: 200_000, unsentBytesMax: 1_000 })
    const slow = connect(Number(new URL(world.url).port), '127.0.0.1')
    sockets.push(slow)
    slow.write('GET /v1/views/seats/subscribe?keys=hamlet,1 HTTP/1.1\r\nhost: x\r\n\r\n')
    let text = ''
    slow.setEncoding('utf8').once('data', first => {
      text += first
      slow.pause()
    })
    await expect.poll(() => text).toContain('200 OK')
    const quick = new TestSubscriber(`${world.url}/v1/views/seats/subscribe?keys=hamlet,1`)
    subscribers.push(await quick.connect())
    // More than kernels keep for a socket.
    const long = 'x'.repeat(400_000)
    const sit = (n: number) =>
      world.appends.append('seatings', [
        { show: 'hamlet', seat: 1, holder: n < 40 ? long : `${n}`, at: new Date('2026-11-01'), id: 1n },
      ])
    for (let n = 0; n < 60; n++) {
      await sit(n)
      await quick.until(() => quick.named('row').length === n + 1)
    }
    expect(quick.named('overflow')).toEqual([])
    slow.on('data', piece => {
      text += piece
    })
    slow.resume()
    await expect.poll(() => text, { timeout: 20_000 }).toMatch(/event: overflow\ndata: .*SUBSCRIBER_TOO_SLOW.*\n\n$/)
    await expect.poll(() => slow.closed || slow.readableEnded).toBe(true)
    const lastId = [...text.matchAll(/^id: (.*)$/gm)].at(-1)![1]!
    const again = new TestSubscriber(quick.url)
    subscribers.push(await again.connect({ 'last-event-id': lastId }))
    await again.progressed(world.log.end)
    expect(again.events[0]).toMatchObject({ event: 'reset' })
    expect(again.rows).toEqual(quick.rows)
  })

  it('that is a little slow gets all from what is kept, and is level again', async () => {
    world = await openWorld(undefined, {}, {}, { unsentBytesMax: 200 })
    const subscriber = await subscribe(CUSTOMERS)
    await subscriber.progressed(0)
    for (let n = 0; n < 20; n++) await spend(...CUSTOMERS)
    await subscriber.until(() => subscriber.named('row').length === 20 * CUSTOMERS.length)
    expect(subscriber.rows).toEqual(await rowsOf(CUSTOMERS))
    expect(subscriber.named('overflow')).toEqual([])
  })

  it('ends with the reason when its view stops, or the application does, and refuses what is wrong before it begins', async () => {
    world = await openWorld(undefined, {}, {}, { subscriptionsMax: 2 })
    const problem = async (path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(world.url + path, { headers })
      return [response.status, ((await response.json()) as { code: string }).code]
    }
    const stopping = new TestSubscriber(`${world.url}/v1/views/stopping/subscribe?keys=1`)
    subscribers.push(await stopping.connect())
    const subscriber = await subscribe(['ada'])
    await subscriber.progressed(0)
    expect(await problem('/v1/views/spending/subscribe?keys=ada')).toEqual([503, 'OVERLOADED'])
    await world.appends.append('breaking', [{ id: 1 }])
    await stopping.ended
    expect(stopping.events.at(-1)).toMatchObject({ event: 'end', data: { code: 'VIEW_STOPPED' } })
    expect(await problem('/v1/views/stopping/subscribe?keys=1')).toEqual([503, 'VIEW_STOPPED'])
    expect(await problem('/v1/views/none/subscribe?keys=1')).toEqual([404, 'VIEW_UNKNOWN'])
    expect(await problem('/v1/views/spending/subscribe')).toEqual([400, 'REQUEST_INVALID'])
    expect(await problem('/v1/views/spending/subscribe?key=a')).toEqual([400, 'REQUEST_INVALID'])
    expect(await problem('/v1/views/rows/subscribe?keys=x')).toEqual([400, 'KEY_MALFORMED'])
    const many = Array.from({ length: 1_001 }, (_, n) => `keys=${n}`).join('&')
    expect(await problem(`/v1/views/rows/subscribe?${many}`)).toEqual([400, 'REQUEST_INVALID'])
    // As many keys as there may be, of a UUID's length, are no head too large; longer ones say what to do instead.
    const keys = (long: number) => Array.from({ length: 1_000 }, (_, n) => `${n}`.padStart(long, 'k'))
    await stopping.disconnect()
    await expect.poll(() => world.reads.subscriptions.open).toBe(1)
    await (await subscribe(keys(36))).disconnect()
    expect(await problem(new URL(urlOf(keys(70))).pathname + new URL(urlOf(keys(70))).search)).toEqual([
      431,
      'HEAD_TOO_LARGE',
    ])
    const resumed = (id: string) => problem('/v1/views/spending/subscribe?keys=a', { 'last-event-id': id })
    expect(await resumed('nonsense')).toEqual([400, 'TOKEN_MALFORMED'])
    expect(await resumed(subscriber.id.replace('spending', 'totals'))).toEqual([400, 'TOKEN_MALFORMED'])
    expect(await resumed(subscriber.id.replace(/^s1\.[^.]+/, 's1.other'))).toEqual([400, 'TOKEN_OTHER_LOG'])
    const head = await fetch(urlOf(['ada']), { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
    // Half-open sockets and those that end amidst their head cost nobody anything.
    const half = connect(Number(new URL(world.url).port), '127.0.0.1')
    half.write('GET /v1/views/spending/subscribe?keys=ada HTTP/1.1\r\nhost: x\r\n\r\n')
    half.destroy()
    await spend('ada')
    await subscriber.until(() => subscriber.named('row').length === 1)
    await expect.poll(() => world.reads.subscriptions.open).toBe(1)
    await world.server.close()
    await subscriber.ended
    expect(subscriber.events.at(-1)).toMatchObject({ event: 'end', data: { code: 'SHUTTING_DOWN', retriable: true } })
    expect(world.internalErrors).toEqual([])
  })
})
