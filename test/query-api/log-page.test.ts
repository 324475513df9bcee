import { afterAll, beforeAll, expect, test } from 'vitest'
import { microsecondsIso } from '../../query-api/log-page.ts'
import { openWorld, type World } from './support.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
  await world.appends.append(
    'purchases',
    Array.from({ length: 250 }, (_, n) => ({ customer: 'ada', cents: n })),
  )
  await world.appends.append('seatings', [
    { show: 'hamlet', seat: 1, holder: null, at: new Date(0), id: 5n, note: 'n' },
  ])
  const orders = world.log.findTopic('shop.orders')
  if (!orders) throw new Error('no topic')
  const batch = world.log.batch()
  batch.insert(orders, { id: 1, total: 10n })
  batch.update(orders, { id: 1, total: 10n }, { id: 2, total: null })
  batch.delete(orders, { id: 2, total: null })
  batch.parked(orders, { op: 'insert', key: '3', raw: { id: 'three' }, error: 'id: expected number' })
  await batch.commit({ source: 'shop', position: '0/1A', transaction: '902', commitTimeUs: 1_700_000_000_123_456 })
})
afterAll(() => world[Symbol.asyncDispose]())

const records = (body: Readonly<Record<string, unknown>>) => body['records'] as readonly Record<string, unknown>[]

test('a page holds 100 records from the beginning and says where the next one begins', async () => {
  const first = await world.get('/v1/log/purchases')
  expect(records(first.body)).toHaveLength(100)
  expect(records(first.body)[0]).toMatchObject({
    position: '1',
    topic: 'purchases',
    op: 'event',
    key: 'ada',
    value: { customer: 'ada', cents: 0 },
    source: null,
  })
  expect(first.body).toMatchObject({ next: '101', end: '255' })
  const rest = await world.get(`/v1/log/purchases?from=${first.body['next']}&limit=1000`)
  expect(records(rest.body)).toHaveLength(150)
  expect(rest.body).toMatchObject({ next: '256', end: '255' })
})

test('changes of a table show before, after, and where they come from', async () => {
  const { body } = await world.get('/v1/log/shop.orders')
  const source = {
    source: 'shop',
    position: '0/1A',
    transaction: '902',
    commitTime: '2023-11-14T22:13:20.123456Z',
    snapshot: false,
  }
  expect(records(body)).toMatchObject([
    { op: 'insert', key: 1, before: null, after: { id: 1, total: '10' }, source },
    { op: 'update', key: 2, before: { id: 1, total: '10' }, after: { id: 2, total: null }, source },
    { op: 'delete', key: 2, before: { id: 2, total: null }, after: null, source },
    { op: 'parked', parked: { key: '3', raw: { id: 'three' }, error: 'id: expected number' }, source },
  ])
  expect(records(body)[0]?.['appendTime']).toMatch(/^\d{4}-.*Z$/)
})

test('a composite key is an object', async () => {
  const { body } = await world.get('/v1/log/seatings?from=251')
  expect(records(body)).toMatchObject([
    { key: { show: 'hamlet', seat: 1 }, value: { id: '5', at: '1970-01-01T00:00:00.000Z' } },
  ])
})

test('a page beyond the end is empty and stays where it is', async () => {
  expect((await world.get('/v1/log/purchases?from=256')).body).toEqual({
    records: [],
    next: '256',
    end: '255',
    horizon: null,
  })
  expect((await world.get('/v1/log/purchases?from=9007199254740991')).body).toMatchObject({
    records: [],
    next: '9007199254740991',
  })
  expect((await world.get('/v1/log/purchases?from=0&limit=1')).body).toMatchObject({ next: '2' })
})

test.each([
  'from=-1',
  'from=x',
  'from=99999999999999999999',
  'limit=0',
  'limit=1001',
  'limit=',
  'limit=2&limit=3',
  'offset=1',
])('%s is refused', async query => {
  const { status, body } = await world.get(`/v1/log/purchases?${query}`)
  expect([status, body['code']]).toEqual([400, 'REQUEST_INVALID'])
})

test('an unknown topic is 404', async () => {
  expect((await world.get('/v1/log/nowhere')).body).toMatchObject({ status: 404, code: 'TOPIC_UNKNOWN' })
})

test('microseconds keep all six digits, before 1970 too', () => {
  expect(microsecondsIso(1)).toBe('1970-01-01T00:00:00.000001Z')
  expect(microsecondsIso(-1)).toBe('1969-12-31T23:59:59.999999Z')
})
