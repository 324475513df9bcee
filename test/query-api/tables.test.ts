// Captured tables over HTTP: rows by key, and pages in the order of keys.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openWorld, type World } from './support.ts'

let world: World
beforeEach(async () => {
  world = await openWorld()
  for (const id of [3, 1, 2]) world.source.tableRows.set(id, { id, total: BigInt(id) * 10n })
})
afterEach(() => world[Symbol.asyncDispose]())

const ROWS = '/v1/sources/shop/tables/orders/rows'
const row = (id: number) => ({ key: id, value: { id, total: String(id * 10) } })

test('a row is told with its place; one that is not there, too', async () => {
  const place = { position: '7', ageMs: 3, final: true }
  expect(await world.get(`${ROWS}/2`)).toMatchObject({ status: 200, body: { ...row(2), ...place } })
  expect(await world.get(`${ROWS}/9`)).toMatchObject({ status: 404, body: { code: 'ROW_NOT_FOUND', ...place } })
})

test('pages follow each other by the key', async () => {
  expect((await world.get(`${ROWS}?limit=2`)).body).toMatchObject({ rows: [row(1), row(2)], next: '2' })
  expect((await world.get(`${ROWS}?limit=2&after=2`)).body).toMatchObject({ rows: [row(3)], next: null })
  expect((await world.get(`${ROWS}?limit=3`)).body).toMatchObject({ rows: [row(1), row(2), row(3)], next: null })
})

test.each([
  [`${ROWS}/x`, 400, 'KEY_MALFORMED'],
  [`${ROWS}?limit=0`, 400, 'REQUEST_INVALID'],
  [`${ROWS}?after=x`, 400, 'KEY_MALFORMED'],
  [`${ROWS}?from=1`, 400, 'REQUEST_INVALID'],
  ['/v1/sources/shop/tables/none/rows', 404, 'TABLE_UNKNOWN'],
  ['/v1/sources/none/tables/orders/rows/1', 404, 'SOURCE_UNKNOWN'],
])('%s is %i %s', async (path, status, code) => {
  expect(await world.get(path)).toMatchObject({ status, body: { code } })
})
