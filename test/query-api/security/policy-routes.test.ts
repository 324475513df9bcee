// A policy on every way to rows. The ways are those of the table of routes: one that is new fails here until it is said what it shows.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { topic } from '../../../core/index.ts'
import { application, projection } from '../../../projections/index.ts'
import { createKey } from '../../../query-api/index.ts'
import { ROUTES } from '../../../query-api/route-table.ts'
import { TestSubscriber } from '../subscriber.ts'
import { openWorld, type World } from '../support.ts'

/** Whatever belongs to the other tenant has it in it: keys, values, and the city that only it has. */
const HIDDEN = 'hush'
const writes = topic('writes', {
  key: 'id',
  value: z.object({ id: z.string(), tenant: z.string(), city: z.string(), cents: z.int() }),
})
const papers = projection('papers', {
  key: z.string(),
  state: z.object({ tenant: z.string().default(''), city: z.string().default(''), cents: z.int() }),
})
  .on(writes, 'id', (paper, { tenant, city, cents }) => Object.assign(paper, { tenant, city, cents }) && undefined)
  .index('city', 'cents')
  .policy(z.object({ tenant: z.string() }), ({ tenant }, paper) => paper.tenant === tenant)
const office = application('office', { views: [papers] })

let folder: string
let world: World
let key: string
let end: number
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-policies-'))
  const keysFile = join(folder, 'keys.json')
  key = (await createKey(keysFile, { name: 'open', scopes: ['view:*'], claims: { tenant: 'open' } })).key
  world = await openWorld(office, {}, { access: { keysFile } })
  // Hidden rows stand before, between and behind those that are shown, in the order of keys and in that of the index.
  const events = ['a', 'b', 'c', 'd', 'e'].flatMap((letter, n) => [
    { id: `${letter}-1-${HIDDEN}`, tenant: HIDDEN, city: n % 2 ? 'Bern' : `${HIDDEN} town`, cents: n },
    { id: `${letter}-2`, tenant: 'open', city: 'Bern', cents: n },
    { id: `${letter}-3-${HIDDEN}`, tenant: HIDDEN, city: 'Bern', cents: n },
  ])
  // One that was the other tenant's once.
  const moved = { id: 'm', tenant: HIDDEN, city: `${HIDDEN} town`, cents: 1 }
  await world.appends.append('writes', [moved, ...events, { ...moved, tenant: 'open', city: 'Bern' }])
  end = world.log.end
  await world.engine.waitFor(end, AbortSignal.timeout(30_000))
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

interface Asked {
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}
const get = (...paths: readonly string[]): readonly Asked[] => paths.map(path => ({ path }))
const ROWS = '/v1/views/papers/rows'
const HIDDEN_KEY = `b-1-${HIDDEN}`

/** What each route for clients of views is asked; or why it is not asked here. */
const WAYS: Readonly<Record<string, readonly Asked[] | string>> = {
  'GET /v1/views': get('/v1/views'),
  'GET /v1/views/{view}': get('/v1/views/papers'),
  'GET /v1/views/{view}/rows': [
    ...get(ROWS, `${ROWS}?order=desc`, `${ROWS}?prefix=b`, `${ROWS}?from=b&to=c-3`, `${ROWS}?at=16`),
    ...get(
      `${ROWS}?where.city=Bern`,
      `${ROWS}?where.city.gte=a`,
      `${ROWS}?where.city=Bern&where.cents.gte=2&order=desc`,
    ),
    ...get(`${ROWS}?where.city=${HIDDEN}%20town`, `${ROWS}?limit=1`, `${ROWS}?limit=1&where.city=Bern`),
    { path: ROWS, headers: { accept: 'application/x-ndjson' } },
    { path: `${ROWS}?where.city.gte=a&order=desc`, headers: { accept: 'application/x-ndjson' } },
    { path: `${ROWS}?at=16`, headers: { accept: 'application/x-ndjson' } },
  ],
  'GET /v1/views/{view}/rows/{key}': [
    ...get(`${ROWS}/${HIDDEN_KEY}`, `${ROWS}/${HIDDEN_KEY}?after=1`, `${ROWS}/${HIDDEN_KEY}?at=16`, `${ROWS}/m?at=16`),
    { path: `${ROWS}/${HIDDEN_KEY}`, headers: { 'if-none-match': '*' } },
  ],
  'GET /v1/views/{view}/rows/{key}/lineage': get(`${ROWS}/${HIDDEN_KEY}/lineage`, `${ROWS}/m/lineage`),
  'POST /v1/views/{view}/lookup': [
    { path: '/v1/views/papers/lookup', body: { keys: [HIDDEN_KEY, 'b-2', 'm'] } },
    { path: '/v1/views/papers/lookup?at=16', body: { keys: [HIDDEN_KEY, 'b-2', 'm'] } },
  ],
  'POST /v1/read': [{ path: '/v1/read', body: { reads: [{ view: 'papers', key: HIDDEN_KEY }] } }],
  'GET /v1/views/{view}/export': get(
    '/v1/views/papers/export',
    '/v1/views/papers/export?format=csv',
    '/v1/views/papers/export?at=16',
  ),
  'GET /v1/views/{view}/subscribe': 'see the test of its own',
  'GET /v1/commands/{decider}': 'schemas, no rows',
  'POST /v1/commands/{decider}/{id}': 'events that a command came to, no rows; the view of a decider has no policy',
  'GET /health/live': 'health of parts, no rows',
  'GET /health/ready': 'health of parts, no rows',
  'GET /openapi.json': get('/openapi.json'),
}

/** An answer, without what the client has said itself. */
async function answer({ path, body, headers = {} }: Asked) {
  const response = await fetch(world.url + path, {
    headers: { authorization: `Bearer ${key}`, ...headers },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const head = JSON.stringify([...response.headers])
  return { status: response.status, shown: `${head}${text}`.replaceAll(HIDDEN_KEY, 'what it asked for'), text }
}

test('no route shows a row that is hidden, nor that it is there', async () => {
  for (const { path, methods } of ROUTES)
    for (const [method, scope] of Object.entries(methods)) {
      const way = WAYS[`${method} ${path}`]
      const isForViews = scope === 'any' || scope === 'open' || scope.startsWith('view:')
      expect(way !== undefined, `say how a policy is kept by ${method} ${path}`).toBe(isForViews)
      if (typeof way === 'string') continue
      for (const asked of way ?? []) {
        const { status, shown } = await answer(asked)
        expect([200, 404], `${asked.path}: ${shown}`).toContain(status)
        expect(shown, asked.path).not.toContain(HIDDEN)
      }
    }
})

test('what another scope is for is refused to a client of views', async () => {
  const others = ROUTES.flatMap(({ path, methods }) =>
    Object.entries(methods).map(([method, scope]) => ({ method, path, scope })),
  ).filter(({ scope }) => !/^(any|open|view:)/.test(scope))
  for (const { method, path } of others) {
    const target = path
      .replace('{view}', 'papers')
      .replace('{topic}', 'writes')
      .replace(/\{\w+\}/g, 'x')
    const response = await fetch(world.url + target, { method, headers: { authorization: `Bearer ${key}` } })
    const { code } = (await response.json()) as { readonly code: string }
    expect([code, response.status], `${method} ${path}`).toEqual(['FORBIDDEN', 403])
  }
})

test('pages of one row go over all that may be seen, in order, and a cursor tells nothing of the others', async () => {
  for (const [query, expected] of [
    ['', ['a-2', 'b-2', 'c-2', 'd-2', 'e-2', 'm']],
    ['where.city=Bern&', ['a-2', 'b-2', 'm', 'c-2', 'd-2', 'e-2']],
  ] as const) {
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const more: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const page = JSON.parse((await answer({ path: `${ROWS}?${query}limit=1${more}` })).text)
      seen.push(...page.rows.map((row: { key: string }) => row.key))
      cursor = page.cursor
      expect(Buffer.from(cursor ?? '', 'base64url').toString('latin1')).not.toContain(HIDDEN)
    }
    expect(seen).toEqual(expected)
  }
})

test('how many rows there are is not told, but to who operates the application', async () => {
  const { text } = await answer({ path: '/v1/views/papers' })
  expect(JSON.parse(text)).toMatchObject({ rows: null, stateBytes: null, progress: null })
  const keysFile = join(folder, 'keys.json')
  const operator = await createKey(keysFile, { name: 'ops', scopes: ['view:*', 'metrics'] })
  await expect
    .poll(async () => {
      const headers = { authorization: `Bearer ${operator.key}` }
      return (await fetch(`${world.url}/v1/views/papers`, { headers })).json()
    })
    .toMatchObject({ rows: 16 })
})

test('subscriptions, by keys, prefix and values, tell of no row that is hidden, then and later', async () => {
  const subscribers = await Promise.all(
    [`keys=${HIDDEN_KEY}&keys=b-2`, 'prefix=b', 'where.city=Bern', `where.city=${HIDDEN}%20town`].map(query =>
      new TestSubscriber(`${world.url}/v1/views/papers/subscribe?${query}`).connect({ authorization: `Bearer ${key}` }),
    ),
  )
  for (const each of subscribers) await each.progressed(end)
  const change = (id: string, tenant: string, cents: number) => ({ id, tenant, city: 'Bern', cents })
  await world.appends.append('writes', [
    change(HIDDEN_KEY, HIDDEN, 70),
    change(`b-9-${HIDDEN}`, HIDDEN, 71),
    change('b-2', 'open', 72),
  ])
  for (const each of subscribers) {
    await each.progressed(world.log.end)
    expect(JSON.stringify(each.events)).not.toContain(HIDDEN)
    await each.disconnect()
  }
  expect(subscribers.map(({ rows }) => rows.size)).toEqual([1, 1, 6, 0])
})
