// Audits over HTTP: what a request may say, how one is told of, and that it can be ended.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AuditReport } from '../../core/index.ts'
import { openWorld, type World } from './support.ts'

let world: World
beforeEach(async () => {
  world = await openWorld()
})
afterEach(() => world[Symbol.asyncDispose]())

const PATH = '/v1/sources/shop/audit'
const REPORT: AuditReport = { equal: true, position: '0/1', seconds: 0.5, tables: [], repaired: null }

test('an audit is started with what is asked, and its report is told until the next one', async () => {
  expect((await world.get(PATH)).body).toEqual({ state: 'idle', progress: null, report: null, error: null })
  world.source.auditReport = REPORT
  const request = { tables: ['orders'], rowsPerSecondMax: 500, repair: true }
  expect(await world.post(PATH, request)).toMatchObject({ status: 200, body: { state: 'running' } })
  expect(world.source.audited).toEqual(request)
  expect((await world.get(PATH)).body).toEqual({ state: 'done', progress: null, report: REPORT, error: null })
})

test('one that runs says how far it is, is the only one, and can be cancelled', async () => {
  await world.post(PATH, {})
  expect((await world.get(PATH)).body).toMatchObject({ state: 'running', progress: { table: 'orders', rows: 1 } })
  expect(await world.post(PATH, {})).toMatchObject({ status: 503, body: { code: 'OVERLOADED' } })
  const cancel = async () => (await (await fetch(`${world.url}${PATH}`, { method: 'DELETE' })).json()) as unknown
  expect(await cancel()).toEqual({ cancelled: true })
  expect((await world.get(PATH)).body).toMatchObject({ state: 'failed', error: { code: 'CANCELLED' } })
  expect(await cancel()).toEqual({ cancelled: false })
})

test.each([
  [[], /not an object/],
  [{ table: 'orders' }, /unknown member 'table'/],
  [{ tables: 'orders' }, /'tables'/],
  [{ tables: [] }, /'tables'/],
  [{ rowsPerSecondMax: 0 }, /'rowsPerSecondMax'/],
  [{ rowsPerSecondMax: 1.5 }, /'rowsPerSecondMax'/],
  [{ repair: 'yes' }, /'repair'/],
])('%j is refused before anything happens', async (body, message) => {
  const reply = await world.post(PATH, body)
  expect(reply).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } })
  expect(`${reply.body['detail']} ${reply.body['title']}`).toMatch(message)
  expect(world.source.audited).toBeUndefined()
})

test('a source that is not there has none', async () => {
  expect(await world.get('/v1/sources/none/audit')).toMatchObject({ status: 404, body: { code: 'SOURCE_UNKNOWN' } })
})
