// Appends under an idempotency key: made once, however often they are sent.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compileContract, openEmbeddedLog } from '../../core/index.ts'
import { createClient } from '../../query-api/client/index.ts'
import { Appends, IDEMPOTENCY_KEY_KEPT_MS, RETAINED_APPENDS } from '../../query-api/index.ts'
import { type KeyedAppend, KeyedAppends } from '../../query-api/keyed-appends.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'
import { openWorld, purchases, type shop, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

const post = (key: string, body: unknown, topic = 'purchases') =>
  world.post(`/v1/topics/${topic}`, body, { 'content-type': 'application/json', 'idempotency-key': key })
const countOf = async (customer: string) => {
  const { body } = await world.get(`/v1/views/spending/rows/${customer}?after=${world.log.end}`)
  return (body['value'] as { count: number } | undefined)?.count
}

test('whoever sends an append again gets the answer of the first time, and nothing is appended', async () => {
  const records = [
    { customer: 'ada', cents: 1 },
    { customer: 'ada', cents: 2 },
  ]
  const first = await post('r-1', records)
  expect(first).toMatchObject({ status: 200, body: { positions: ['1', '2'] } })
  const { end } = world.log
  const again = await post('r-1', records)
  expect(again.body).toEqual(first.body)
  expect(world.log.end).toBe(end)
  expect(await countOf('ada')).toBe(2)
  expect((await post('r-2', records)).body['positions']).toEqual(['4', '5'])
  expect(await countOf('ada')).toBe(4)
})

test('many at once are one append', async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => post('r-3', { customer: 'bob', cents: 1 })))
  expect(new Set(all.map(({ body }) => JSON.stringify(body))).size).toBe(1)
  expect(await countOf('bob')).toBe(1)
})

test('a key is good for one body of one topic; what was refused has used none', async () => {
  await post('r-4', { customer: 'cleo', cents: 1 })
  const { end } = world.log
  expect(await post('r-4', { customer: 'cleo', cents: 2 })).toMatchObject({
    status: 422,
    body: { code: 'IDEMPOTENCY_KEY_REUSED', retriable: false },
  })
  expect(world.log.end).toBe(end)
  expect((await post('r-4', { id: 1 }, 'breaking')).status).toBe(200)
  expect((await post('r-5', { customer: 'dan' })).body['code']).toBe('RECORD_REFUSED')
  expect((await post('r-5', { customer: 'dan', cents: 1 })).status).toBe(200)
  expect(await countOf('dan')).toBe(1)
})

test.each(['', 'x'.repeat(201)])('the key %j is refused', async key => {
  const { end } = world.log
  expect((await post(key, { customer: 'eve', cents: 1 })).body['code']).toBe('REQUEST_INVALID')
  expect(world.log.end).toBe(end)
})

test('keys are those of a client, and are known when the log is opened again', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'mainstem-keyed-'))
  const append: KeyedAppend = {
    topic: 'purchases',
    who: 'key:ada',
    key: 'r-1',
    body: '{"customer":"ada","cents":1}',
    json: { customer: 'ada', cents: 1 },
  }
  const opened = async () => {
    const log = await openEmbeddedLog({ path: folder })
    const contract = compileContract('purchases', 'topic', purchases.value, purchases.key)
    const topics = new Map([['purchases', await log.topic(contract)]])
    return { log, keyed: new KeyedAppends(log, new Appends(log, topics)) }
  }
  const before = await opened()
  const first = await before.keyed.append(append)
  expect(await before.keyed.append({ ...append, who: 'key:bob' })).not.toEqual(first)
  await before.log.close()
  const after = await opened()
  const { end } = after.log
  expect(await after.keyed.append(append)).toEqual(first)
  expect(after.log.end).toBe(end)
  await after.log.close()
  await rm(folder, { recursive: true })
})

test('a key is good for a week at least; one that has expired appends anew, and what it appended then is there', async () => {
  let now = 1_000_000
  const contract = compileContract('purchases', 'topic', purchases.value, purchases.key)
  const log = await openEmbeddedLog({ path: '/log', fileSystem: new SimulatedDisk(), clock: () => now })
  const keyed = new KeyedAppends(log, new Appends(log, new Map([['purchases', await log.topic(contract)]])))
  const append = (key: string): KeyedAppend => {
    const json = { customer: 'ada', cents: 1 }
    return { topic: 'purchases', who: 'anybody', key, body: JSON.stringify(json), json }
  }
  // What an application does from time to time.
  const look = async () => {
    log.retain(RETAINED_APPENDS)
    await log.retained()
  }
  const first = await keyed.append(append('r-1'))
  now += IDEMPOTENCY_KEY_KEPT_MS - 1
  await look()
  expect(await keyed.append(append('r-1'))).toEqual(first)
  // History goes with its segment, which is closed for the age of what is in it.
  for (let n = 0; n < 3; n++) {
    now += IDEMPOTENCY_KEY_KEPT_MS
    await look()
  }
  const again = await keyed.append(append('r-1'))
  expect(Number(again.positions[0])).toBeGreaterThan(Number(first.positions[0]))
  expect(await keyed.append(append('r-1'))).toEqual(again)
  // The records of the first time are still there.
  const events: unknown[] = []
  for await (const { event } of log.stream(log.findTopic('purchases')!, 'ada', { backwards: true })) events.push(event)
  expect(events).toHaveLength(2)
  await log.close()
})

test('the client tries an append again under its key, and what was appended without an answer is there once', async () => {
  let lost = 0
  const client = createClient<{ default: typeof shop; purchases: typeof purchases }>(world.url, {
    fetch: async (url, init) => {
      const response = await fetch(url, init)
      if (lost++ < 2) throw new TypeError('fetch failed')
      return response
    },
  })
  const { positions } = await client.topics.purchases.append({ customer: 'fay', cents: 1 }, { idempotencyKey: 'r-6' })
  expect([lost, positions.length, await countOf('fay')]).toEqual([3, 1, 1])
  lost = 0
  await expect(client.topics.purchases.append({ customer: 'fay', cents: 1 })).rejects.toMatchObject({
    code: 'APPLICATION_UNREACHABLE',
  })
  expect([lost, await countOf('fay')]).toEqual([1, 2])
})
