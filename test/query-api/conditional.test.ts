// Reads under a condition: what the client has already, how old an answer may be, and the three ways in which there is none.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { contractOfTable, controlContract, controlRecord } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { createClient } from '../../query-api/client/index.ts'
import { createLocalClient } from '../../query-api/index.ts'
import { tableSource } from '../support/table-source.ts'
import { openWorld, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
  await world.appends.append('purchases', [{ customer: 'ada', cents: 5 }])
})
afterAll(() => world[Symbol.asyncDispose]())

const ada = async (headers: Record<string, string> = {}, query = '') => {
  const response = await fetch(`${world.url}/v1/views/spending/rows/ada${query}`, { headers })
  return { status: response.status, etag: response.headers.get('etag') ?? '', response, text: await response.text() }
}

test('a row that has not changed is not sent again; its position is', async () => {
  const { token } = await world.appends.append('purchases', [{ customer: 'bob', cents: 1 }])
  const first = await ada({}, `?after=${token}`)
  expect(first.etag).toMatch(/^W\/"[\w-]{12}"$/)
  const other = await world.appends.append('purchases', [{ customer: 'bob', cents: 1 }])
  for (const known of [first.etag, `"x", ${first.etag}`, '*', first.etag.slice(2)]) {
    const again = await ada({ 'if-none-match': known }, `?after=${other.token}`)
    expect([again.status, again.text, again.etag], known).toEqual([304, '', first.etag])
    expect(again.response.headers.get('mainstem-position')).toBe(other.positions[0])
    expect(again.response.headers.get('mainstem-final')).toBe('true')
    expect(again.response.headers.get('mainstem-age-ms')).toBe('0')
  }
})

test('a row that has changed is sent, as is one that comes back to what it was; the past has its own', async () => {
  const before = await ada()
  const { token, positions } = await world.appends.append('purchases', [{ customer: 'ada', cents: 7 }])
  const after = await ada({ 'if-none-match': before.etag }, `?after=${token}`)
  expect([after.status, JSON.parse(after.text).value]).toEqual([200, { count: 2, cents: 12 }])
  expect(after.etag).not.toBe(before.etag)
  const past = `?at=${Number(positions[0]) - 1}`
  expect((await ada({ 'if-none-match': before.etag }, past)).status).toBe(304)
  expect((await ada({ 'if-none-match': after.etag }, past)).status).toBe(200)
  const absent = await fetch(`${world.url}/v1/views/spending/rows/none`, { headers: { 'if-none-match': '*' } })
  expect([absent.status, absent.headers.get('etag')]).toEqual([404, null])
  await absent.body?.cancel()
})

const row = z.object({ id: z.int(), cents: z.int() })
const bills = tableSource('shop').table('bills', { key: 'id', row })
const open = projection('open', { key: z.int(), state: z.object({ cents: z.int() }) }).on(bills, 'id', {
  add: (bill, { cents }) => {
    bill.cents += cents
  },
  remove: (bill, { cents }) => {
    bill.cents -= cents
  },
})
const captured = application('captured', { views: [open] })

test('not found, not yet and gone are three answers', async () => {
  await using world = await openWorld(captured, { segmentBytesMax: 1_024, checkpointIntervalMs: 3_600_000 })
  const client = createClient<typeof captured>(world.url)
  const table = await world.log.topic(contractOfTable(bills))
  const batch = world.log.batch()
  batch.insert(table, { id: 1, cents: 5 })
  const { last } = await batch.commit()
  await world.engine.waitFor(last, AbortSignal.timeout(30_000))
  // The snapshot has brought one row so far: of the others nobody knows.
  expect(await client.views.open.get(1)).toMatchObject({ value: { cents: 5 }, final: false })
  expect(await client.views.open.get(2)).toMatchObject({ value: undefined, position: '1', final: false })
  const early = await world.get('/v1/views/open/rows/2')
  expect(early).toMatchObject({ status: 503, body: { code: 'ROW_NOT_YET', retriable: true, position: '1' } })
  expect(early.headers.get('retry-after')).toBe('1')
  const control = await world.log.topic(controlContract())
  const complete = {
    phase: 'snapshot-ended',
    epoch: 1,
    position: '0/1',
    identity: {},
    tables: {},
    reading: null,
    begins: {},
  } as const
  const told = world.log.batch()
  told.event(control, controlRecord('shop', complete))
  const snapshotEnd = await told.commit()
  await world.engine.waitFor(snapshotEnd.last, AbortSignal.timeout(30_000))
  expect(await client.views.open.get(2)).toMatchObject({
    value: undefined,
    position: String(snapshotEnd.last),
    final: true,
  })
  const absent = await world.get('/v1/views/open/rows/2')
  expect(absent).toMatchObject({ status: 404, body: { code: 'ROW_NOT_FOUND', position: String(snapshotEnd.last) } })
  const late = await world.get('/v1/views/open/rows/2?after=99&timeoutMs=0')
  expect(late).toMatchObject({ status: 504, body: { code: 'NOT_REACHED', waitingFor: [{ source: 'log' }] } })
  for (let n = 0; n < 30; n++) {
    const more = world.log.batch()
    more.update(table, { id: 1, cents: n + 5 }, { id: 1, cents: n + 6 })
    await more.commit()
  }
  const end = world.log.end
  await world.engine.waitFor(end, AbortSignal.timeout(30_000))
  await world.engine.checkpoint()
  await world.log.clean({ compact: { 'shop.bills': end } })
  const gone = await world.get('/v1/views/open/rows/2?at=1')
  expect(gone).toMatchObject({ status: 410, body: { code: 'AT_GONE' } })
})

test('an answer that is too old is refused, naming what it waits for, or waited for', async () => {
  await using world = await openWorld(captured)
  const client = createClient<typeof captured>(world.url)
  const local = createLocalClient<typeof captured>(world.reads)
  world.source.overrides = { ageMs: 700 }
  for (const { views } of [client, local]) {
    await expect(views.open.get(1, { maxAgeMs: 500 })).rejects.toMatchObject({
      code: 'VIEW_TOO_OLD',
      status: 503,
      data: { ageMs: 700, maxAgeMs: 500, waitingFor: [{ source: 'shop', ageMs: 700, waitingFor: 'streaming' }] },
    })
    expect(await views.open.get(1, { maxAgeMs: 700 })).toMatchObject({ ageMs: 700 })
    await expect(views.open.lookup([1], { maxAgeMs: 0, timeoutMs: 30 })).rejects.toMatchObject({
      detail: expect.stringContaining('source shop: 700 ms old (streaming)'),
    })
    await expect(views.open.get(1, { maxAgeMs: 1, at: '0' })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    const gone = new AbortController()
    const left = views.open.get(1, { maxAgeMs: 1, timeoutMs: 60_000, signal: gone.signal })
    gone.abort(new Error('enough'))
    await expect(left).rejects.toThrow('enough')
  }
  const waiting = [client, local].map(({ views }) => views.open.get(1, { maxAgeMs: 50, timeoutMs: 60_000 }))
  world.source.overrides = { ageMs: 40 }
  for (const answer of await Promise.all(waiting)) expect(answer.ageMs).toBe(40)
  const closing = local.views.open.get(1, { maxAgeMs: 1, timeoutMs: 60_000 })
  await Promise.all([expect(closing).rejects.toMatchObject({ code: 'SHUTTING_DOWN' }), world.server.close()])
})
