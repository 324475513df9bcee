// Where an answer is in each of its sources: the vector of its cut.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { contractOfTable, type LogTopic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { createLocalClient } from '../../query-api/index.ts'
import { tableSource } from '../support/table-source.ts'
import { openWorld, type World } from './support.ts'

const row = z.object({ id: z.int(), cents: z.int() })

const shop = tableSource('store').table('bills', { key: 'id', row })
const billing = tableSource('billing').table('bills', { key: 'id', row })
const totals = projection('totals', { key: z.int(), state: z.object({ cents: z.int() }) })
  .on(shop, 'id', {
    add: (total, { cents }) => {
      total.cents += cents
    },
    remove: (total, { cents }) => {
      total.cents -= cents
    },
  })
  .on(billing, 'id', {
    add: (total, { cents }) => {
      total.cents += cents
    },
    remove: (total, { cents }) => {
      total.cents -= cents
    },
  })
const app = application('vector', { views: [totals] })

let world: World
beforeAll(async () => {
  world = await openWorld(app)
})
afterAll(() => world[Symbol.asyncDispose]())

async function commit(table: LogTopic, source: string, position: string, ids: readonly number[]): Promise<string> {
  const batch = world.log.batch()
  for (const id of ids) batch.insert(table, { id, cents: 5 })
  const { last } = await batch.commit({ source, position, transaction: '902', commitTimeUs: 1_700_000_000_000_000 })
  await world.engine.waitFor(last, AbortSignal.timeout(30_000))
  return String(last)
}

test('an answer says where each source is in its cut; the past says where it was', async () => {
  const shopBills = await world.log.topic(contractOfTable(shop))
  const billingBills = await world.log.topic(contractOfTable(billing))
  const path = '/v1/views/totals/rows/1'
  const first = await commit(shopBills, 'store', '0/10', [1, 2, 3])
  expect((await world.get(`${path}?sources=true`)).body).toMatchObject({ position: first, sources: { store: '0/10' } })
  const second = await commit(billingBills, 'billing', '0-1-7', [1])
  const third = await commit(shopBills, 'store', '0/20', [4])
  const vector = { store: '0/20', billing: '0-1-7' }
  const { body } = await world.post('/v1/read?sources=true', { reads: [{ view: 'totals', key: 1 }] })
  expect(body).toMatchObject({ position: third, sources: vector })
  expect((await world.get(`${path}?sources=true&at=${second}`)).body['sources']).toEqual({
    store: '0/10',
    billing: '0-1-7',
  })
  expect((await world.get(path)).body).not.toHaveProperty('sources')
  expect((await world.get(`${path}?sources=yes`)).status).toBe(400)
  expect((await world.get('/v1/views/totals')).body['sourcePositions']).toEqual(vector)
  const { views } = createLocalClient<typeof app>(world.reads)
  expect(await views.totals.get(1, { sources: true })).toMatchObject({ value: { cents: 10 }, sources: vector })
})

test('a record says its place in its transaction, in the log and in a lineage', async () => {
  const page = (await world.get('/v1/log/store.bills?from=2')).body['records'] as {
    source: { sequence: number; transaction: string; position: string; commitTime: string }
  }[]
  expect(page.map(({ source }) => source.sequence)).toEqual([2, 3, 1])
  expect(page[0]?.source).toMatchObject({
    transaction: '902',
    position: '0/10',
    commitTime: '2023-11-14T22:13:20.000000Z',
  })
  const { steps } = (await world.get('/v1/views/totals/rows/3/lineage')).body as {
    steps: { source: { sequence: number } }[]
  }
  expect(steps.map(({ source }) => source.sequence)).toEqual([3])
})
