// Ranges of rows over HTTP: order, pages, conditions, the past, lines, who may see what, and what is refused.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readRange } from '../../query-api/ranges.ts'
import { Viewer } from '../../query-api/security/viewer.ts'
import { ALL, matching, openRowsWorld } from './rows-world.ts'
import type { World } from './support.ts'

let world: World
/** Position before the last change. */
let before: string
beforeAll(async () => {
  ;({ world, before } = await openRowsWorld())
})
afterAll(() => world[Symbol.asyncDispose]())

interface Row {
  readonly key: unknown
  readonly value: Readonly<Record<string, unknown>>
}
const rowsOf = (body: Readonly<Record<string, unknown>>) => body['rows'] as readonly Row[]
const keysIn = (body: Readonly<Record<string, unknown>>) => rowsOf(body).map(({ key }) => key)

async function allPages(path: string): Promise<readonly Row[]> {
  const rows: Row[] = []
  let cursor: unknown = null
  do {
    const { status, body } = await world.get(cursor === null ? path : `${path}&cursor=${cursor}`)
    expect(status, JSON.stringify(body)).toBe(200)
    rows.push(...rowsOf(body))
    cursor = body['cursor']
  } while (cursor !== null)
  return rows
}

test('rows are in the order of their keys, a hundred at a time, with all that an answer says', async () => {
  const { status, body, headers } = await world.get('/v1/views/accounts/rows?sources=true')
  expect(status).toBe(200)
  expect(JSON.parse(headers.get('mainstem-types') ?? '')).toEqual({ since: 'date-time', owed: 'int64' })
  expect(keysIn(body)).toEqual(ALL.slice(0, 100).map(({ id }) => id))
  expect(rowsOf(body)[1]).toEqual({
    key: 1,
    value: { city: 'Bern', cents: 7, since: '2001-09-09T01:46:41.000Z', owed: String(2n ** 60n), tier: 'basic' },
  })
  expect(body).toMatchObject({ position: String(world.log.end), ageMs: 0, final: true, sources: {} })
  expect(body['cursor']).toBeTypeOf('string')
})

test('bounds of keys are inclusive, both ways', async () => {
  expect(keysIn((await world.get('/v1/views/accounts/rows?from=7&to=9')).body)).toEqual([7, 8, 9])
  expect(keysIn((await world.get('/v1/views/accounts/rows?from=7&to=9&order=desc')).body)).toEqual([9, 8, 7])
  expect(keysIn((await world.get('/v1/views/accounts/rows?from=9&to=7')).body)).toEqual([])
  const pages = await allPages('/v1/views/accounts/rows?from=100&order=desc&limit=1000')
  expect(pages.map(({ key }) => key)).toEqual(Array.from({ length: 2_400 }, (_, n) => 2_499 - n))
})

test.each([
  ['prefix=ham', ['ham/-2', 'ham/10', 'ham/3', 'hamlet/-2', 'hamlet/10', 'hamlet/3']],
  ['prefix=hamlet%2F1', ['hamlet/10']],
  ['prefix=a%2Cb', ['a,b/-2', 'a,b/10', 'a,b/3']],
  ['from=lear%2F10&order=desc', ['lear/3', 'lear/10']],
])('a text key has a prefix: %s', async (query, keys) => {
  expect(keysIn((await world.get(`/v1/views/holders/rows?${query}`)).body)).toEqual(keys)
})

test.each([
  ['prefix=ham', [-2, 3, 10]],
  ['prefix=a%2Cb,-2', [-2]],
  ['prefix=a%2Cb,', [-2, 3, 10]],
  ['from=ham,3&to=ham,10', [3, 10]],
  ['from=ham%2C3&to=ham%2C10', [3, 10]],
  ['prefix=ham,3', [3]],
])('a composite key has its leading fields as a prefix: %s', async (query, found) => {
  const { body } = await world.get(`/v1/views/seats/rows?${query}`)
  expect(rowsOf(body).map(({ key }) => (key as { seat: number }).seat)).toEqual(found)
})

test('conditions are served by an index, in its order', async () => {
  const bern = await allPages('/v1/views/accounts/rows?where.city=Bern&limit=50')
  expect(bern.map(({ key }) => key)).toEqual(matching(({ city }) => city === 'Bern'))
  const some = await allPages(
    '/v1/views/accounts/rows?where.city=Z%C3%BCrich&where.cents.gte=10&where.cents.lt=20&order=desc',
  )
  expect(some.map(({ key }) => key)).toEqual(
    matching(({ city, cents }) => city === 'Zürich' && cents >= 10 && cents < 20).reverse(),
  )
  const none = await allPages('/v1/views/accounts/rows?where.city.null=true&where.cents.gt=10&where.cents.lte=20')
  expect(none.map(({ key }) => key)).toEqual(matching(({ city, cents }) => city === null && cents > 10 && cents <= 20))
  const present = await allPages('/v1/views/accounts/rows?where.city.null=false&limit=1000')
  expect(present.length).toBe(ALL.filter(({ city }) => city !== null).length)
  expect(present.map(({ value }) => value['city'])).toEqual(present.map(({ value }) => value['city']).toSorted())
  expect(await allPages('/v1/views/accounts/rows?where.city.gt=Bern&where.city.null=false&limit=1000')).toEqual(
    present.filter(({ value }) => value['city'] === 'Zürich'),
  )
  const gold = await allPages('/v1/views/accounts/rows?where.tier=gold&limit=1000')
  expect(gold.map(({ key }) => key)).toEqual(ALL.filter(({ tier }) => tier === 'gold').map(({ id }) => id))
  const owed = await world.get(`/v1/views/accounts/rows?where.owed.gte=${2n ** 60n}&where.owed.lte=${2n ** 61n}`)
  expect(keysIn(owed.body)).toEqual([1, 2])
  const since = await world.get('/v1/views/accounts/rows?where.since=2001-09-09T01:46:49Z&limit=2')
  expect(keysIn(since.body)).toEqual([9, 19])
  const third = await world.get('/v1/views/seats/rows?where.seat=3')
  expect(rowsOf(third.body).map(({ value }) => value['holder'])).toEqual(['a,b/3', 'ham/3', 'hamlet/3', 'lear/3'])
})

test('what no index serves is refused, and those there are are named', async () => {
  for (const query of ['where.cents=5', 'where.city=Bern&where.tier=gold', 'where.city.gte=A&where.cents=5']) {
    const { status, body } = await world.get(`/v1/views/accounts/rows?${query}`)
    expect({ status, code: body['code'], detail: body['detail'] }).toEqual({
      status: 400,
      code: 'NO_INDEX',
      detail: 'it has city+cents, since, owed, tier',
    })
    expect(body['indexes']).toEqual([['city', 'cents'], ['since'], ['owed'], ['tier']])
  }
  expect((await world.get('/v1/views/holders/rows?where.count=1')).body).toMatchObject({ detail: 'it has none' })
})

test.each([
  ['accounts', 'where.town=Bern', 'REQUEST_INVALID'],
  ['accounts', 'where.=Bern', 'REQUEST_INVALID'],
  ['accounts', 'where.cents.above=5', 'REQUEST_INVALID'],
  ['accounts', 'where.city=a&where.city=b', 'REQUEST_INVALID'],
  ['accounts', 'where.city=a&where.city.gte=b', 'REQUEST_INVALID'],
  ['accounts', 'where.city.gte=b&where.city=a', 'REQUEST_INVALID'],
  ['accounts', 'where.city.null=maybe', 'REQUEST_INVALID'],
  ['accounts', 'where.city=a&where.city.null=true', 'REQUEST_INVALID'],
  ['accounts', 'where.city=a&where.city.null=false', 'REQUEST_INVALID'],
  ['accounts', 'where.city.null=true&where.city.null=false', 'REQUEST_INVALID'],
  ['accounts', 'where.city=Bern&where.cents=x', 'REQUEST_INVALID'],
  ['accounts', 'where.tier=silver', 'REQUEST_INVALID'],
  ['accounts', 'where.since.gte=yesterday', 'REQUEST_INVALID'],
  ['accounts', 'where.owed=1.5', 'REQUEST_INVALID'],
  ['accounts', 'where.tier=gold&from=1', 'REQUEST_INVALID'],
  ['accounts', 'from=a', 'KEY_MALFORMED'],
  ['accounts', 'from=1&from=2', 'REQUEST_INVALID'],
  ['accounts', 'prefix=1', 'REQUEST_INVALID'],
  ['accounts', 'limit=0', 'REQUEST_INVALID'],
  ['accounts', 'limit=1001', 'REQUEST_INVALID'],
  ['accounts', 'limit=9999999999999999999', 'REQUEST_INVALID'],
  ['accounts', 'order=up', 'REQUEST_INVALID'],
  ['accounts', 'form=1', 'REQUEST_INVALID'],
  ['accounts', 'cursor=x', 'CURSOR_INVALID'],
  ['accounts', 'cursor=', 'REQUEST_INVALID'],
  ['accounts', 'at=1&after=1', 'REQUEST_INVALID'],
  ['accounts', 'at=nowhere', 'AT_MALFORMED'],
  ['seats', 'prefix=a,1,2', 'KEY_MALFORMED'],
  ['seats', 'from=a', 'KEY_MALFORMED'],
  ['seats', 'prefix=a&from=a,1', 'REQUEST_INVALID'],
  ['holders', 'prefix=%E0%A4', 'KEY_MALFORMED'],
  ['holders', `from=${'x'.repeat(2_000)}`, 'KEY_MALFORMED'],
])('%s?%s is refused: %s', async (view, query, code) => {
  const { status, body } = await world.get(`/v1/views/${view}/rows?${query}`)
  expect({ status, code: body['code'] }).toEqual({ status: 400, code })
  expect(world.internalErrors).toEqual([])
})

test('what is wrong is said in the words of the query', async () => {
  const wrong = async (query: string) => (await world.get(`/v1/views/accounts/rows?${query}`)).body
  expect(await wrong('where.city=Bern&where.cents=x')).toMatchObject({
    title: "'where.cents' is not valid: 'x' is not an integer",
  })
  expect(await wrong('form=1')).toMatchObject({ hint: expect.stringMatching(/prefix, from, to, where\.FIELD.*after/) })
})

test('a cursor is good for its own range and order only', async () => {
  const { body } = await world.get('/v1/views/accounts/rows?where.city=Bern&limit=5')
  const cursor = String(body['cursor'])
  expect((await world.get(`/v1/views/accounts/rows?where.city=Bern&limit=7&cursor=${cursor}`)).status).toBe(200)
  const changed = `${cursor.slice(0, -2)}${cursor.endsWith('AA') ? 'BB' : 'AA'}`
  for (const [view, query] of [
    ['accounts', `where.city=Basel&cursor=${cursor}`],
    ['accounts', `where.city=Bern&order=desc&cursor=${cursor}`],
    ['accounts', `cursor=${cursor}`],
    ['seats', `cursor=${cursor}`],
    ['accounts', `where.city=Bern&cursor=${cursor.slice(0, 12)}`],
    ['accounts', `where.city=Bern&cursor=${changed.slice(0, 5)}x${changed.slice(6)}`],
  ]) {
    const { status, body } = await world.get(`/v1/views/${view}/rows?${query}`)
    expect({ status, code: body['code'] }, query).toEqual({ status: 400, code: 'CURSOR_INVALID' })
  }
})

test('a range waits for a write, and can be of the past', async () => {
  const row = { show: 'othello', seat: 1, holder: 'late' }
  const { token } = await world.appends.append('seated', [row])
  const { body } = await world.get(`/v1/views/seats/rows?prefix=othello&after=${token}`)
  expect(keysIn(body)).toEqual([{ show: 'othello', seat: 1 }])
  const late = await world.get('/v1/views/seats/rows?after=999999&timeoutMs=5')
  expect(late.body['code']).toBe('NOT_REACHED')
  const past = await world.get(`/v1/views/accounts/rows?at=${before}&where.tier=gold&order=desc&limit=3`)
  expect(past.body).toMatchObject({ position: before, ageMs: null })
  expect(keysIn(past.body)).toEqual([999, 996, 993])
  const next = await world.get(
    `/v1/views/accounts/rows?at=${before}&where.tier=gold&order=desc&limit=3&cursor=${past.body['cursor']}`,
  )
  expect(keysIn(next.body)).toEqual([990, 987, 984])
})

test.each([
  ['', ALL.length],
  ['&limit=1000', 1_000],
  ['&where.city=Bern', 625],
  ['&at=before', 1_000],
  ['&at=before&limit=10&order=desc', 10],
])('all of a range comes as lines: %s', async (query, count) => {
  const url = `${world.url}/v1/views/accounts/rows?sources=true${query.replace('before', before)}`
  const response = await fetch(url, { headers: { accept: 'application/x-ndjson' } })
  expect(response.headers.get('content-type')).toBe('application/x-ndjson; charset=utf-8')
  expect(response.headers.get('mainstem-types')).toContain('int64')
  const lines = (await response.text())
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>)
  const end = lines.pop()
  const position = query.includes('at=') ? before : String(world.log.end)
  expect(end).toMatchObject({ end: true, rows: count, position, final: true, sources: {} })
  expect(lines).toHaveLength(count)
  const paged = await allPages(
    `/v1/views/accounts/rows?limit=1000${query.replace(/&limit=\d+/, '').replace('before', before)}`,
  )
  expect(lines).toEqual(paged.slice(0, count))
})

test('what is wrong is said before the first line', async () => {
  const accept = { headers: { accept: 'application/x-ndjson' } }
  expect((await fetch(`${world.url}/v1/views/accounts/rows?where.cents=1`, accept)).status).toBe(400)
  expect((await fetch(`${world.url}/v1/views/none/rows`, accept)).status).toBe(404)
})

test('a view says which indexes it has, and how they are', async () => {
  const { body } = await world.get('/v1/views/accounts')
  expect(body['indexes']).toMatchObject([
    { fields: ['city', 'cents'], state: 'ready', progress: null, error: null },
    { fields: ['since'], state: 'ready' },
    { fields: ['owed'], state: 'ready' },
    { fields: ['tier'], state: 'ready' },
  ])
})

test('who may see some rows gets those, and cursors that say nothing of others', async () => {
  const { live } = world.reads.view('accounts')
  const viewer = new Viewer('key:basel', ['view:accounts'], { city: 'Basel' })
  const seen: unknown[] = []
  let cursor: string | null = null
  do {
    const query = cursor === null ? {} : { cursor }
    const page = await readRange(world.reads, live, query, { most: 501 }, viewer)
    seen.push(...page.rows.map(({ key }) => key))
    cursor = page.cursor
    const shown = Buffer.from(cursor ?? '', 'base64url')
    if (cursor !== null)
      await expect(readRange(world.reads, live, { cursor }, { most: 1 }, undefined)).rejects.toMatchObject({
        code: 'CURSOR_INVALID',
      })
    expect(shown.length === 0 || shown.length > 28).toBe(true)
  } while (cursor !== null)
  expect(seen).toEqual(ALL.filter(({ city }) => city === 'Basel').map(({ id }) => id))
  const open = await readRange(world.reads, live, {}, { most: 1 }, undefined)
  await expect(readRange(world.reads, live, { cursor: open.cursor! }, { most: 1 }, viewer)).rejects.toMatchObject({
    code: 'CURSOR_INVALID',
  })
})
