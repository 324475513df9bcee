import type { AnySchemaObject } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ROUTES } from '../../query-api/route-table.ts'
import { openWorld, type World } from './support.ts'

type Json = Readonly<Record<string, unknown>>
interface Operation {
  readonly operationId: string
  readonly parameters?: readonly Json[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Json }>> }
  readonly responses: Readonly<Record<string, Json>>
}

let world: World
let document: Json
let paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
/** Any JSON pointer of the document as a schema, with its references followed. */
const ajv = new Ajv2020({ strict: false, validateFormats: false })

beforeAll(async () => {
  world = await openWorld()
  document = (await world.get('/openapi.json')).body
  paths = document['paths'] as typeof paths
  ajv.addSchema({ ...document, $id: 'openapi' } as AnySchemaObject)
})
afterAll(() => world[Symbol.asyncDispose]())

const pointer = (...parts: readonly string[]): string =>
  `openapi#/${parts.map(part => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')}`

const operations = (): readonly [string, string, Operation][] =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]): [string, string, Operation] => [path, method, operation]),
  )

function every(value: unknown, visit: (node: Json) => void): void {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) visit(value as Json)
  for (const each of Object.values(value)) every(each, visit)
}

function resolve(reference: string): unknown {
  let node: unknown = document
  for (const part of reference.slice(2).split('/')) node = (node as Json | undefined)?.[part.replaceAll('~1', '/')]
  return node
}

test('the document is OpenAPI 3.1 of this application', () => {
  expect(document).toMatchObject({ openapi: '3.1.0', info: { title: 'test-shop', version: '1.2.3' } })
})

test('every reference leads somewhere', () => {
  every(document, node => {
    if (typeof node['$ref'] === 'string') expect(resolve(node['$ref']), node['$ref']).toBeDefined()
  })
})

test('every operation has an id of its own, a summary, and answers', () => {
  const ids = operations().map(([, , operation]) => operation.operationId)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toEqual(
    expect.arrayContaining(['getAnyRow', 'getSpending', 'lookupSeats', 'appendPurchases', 'readViews', 'dropSource']),
  )
  for (const id of ids) expect(id).toMatch(/^[a-zA-Z][a-zA-Z0-9]*$/)
  for (const [path, , operation] of operations()) {
    expect(Object.keys(operation.responses), path).toEqual(expect.arrayContaining(['200', 'default']))
  }
})

test('the parameters in a path are those that are described', () => {
  for (const [path, , operation] of operations()) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(match => match[1])
    const described = (operation.parameters ?? [])
      .filter(parameter => parameter['in'] === 'path')
      .map(parameter => parameter['name'])
    expect(described, path).toEqual(inPath)
  }
})

test('every path that is served is described, and every path described is served', async () => {
  for (const { path, methods } of ROUTES) {
    expect(Object.keys(paths[path] ?? {}), path).toEqual(Object.keys(methods).map(method => method.toLowerCase()))
  }
  for (const [path, method] of operations()) {
    const response = await fetch(world.url + path.replace(/\{\w+\}/g, 'x'), { method: method.toUpperCase() })
    const isJson = response.headers.get('content-type')?.includes('json') ?? false
    const { code } = isJson ? ((await response.json()) as Json) : {}
    expect(['ROUTE_UNKNOWN', 'METHOD_NOT_ALLOWED'], `${method} ${path}`).not.toContain(code)
  }
})

test('every schema compiles', () => {
  for (const [path, method, operation] of operations()) {
    for (const [status, response] of Object.entries(operation.responses)) {
      const { content } = response as { content?: object }
      if (content === undefined || !('application/json' in content)) continue
      ajv.compile({
        $ref: pointer('paths', path, method, 'responses', status, 'content', 'application/json', 'schema'),
      })
    }
    if (operation.requestBody)
      ajv.compile({ $ref: pointer('paths', path, method, 'requestBody', 'content', 'application/json', 'schema') })
  }
})

test('answers are as described', async () => {
  const seat = { show: 'a,b', seat: 1, holder: 'ada', at: '2026-11-01T09:00:00Z', id: '7' }
  const appended = await world.post('/v1/topics/seatings', [seat])
  world.source.parkedRows = [
    { topic: 'shop.orders', key: '1', op: 'insert', position: '0/1', logPosition: 1, error: 'no', raw: { id: null } },
  ]
  const check = (path: string, method: string, body: unknown) => {
    const validate = ajv.compile({
      $ref: pointer('paths', path, method, 'responses', '200', 'content', 'application/json', 'schema'),
    })
    expect(validate(body), `${method} ${path}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(body)}`).toBe(
      true,
    )
  }
  check('/v1/actions', 'get', (await world.get('/v1/actions')).body)
  check('/v1/topics/seatings', 'post', appended.body)
  check('/v1/topics/{topic}', 'post', appended.body)
  const row = await world.get(`/v1/views/seats/rows/a%2Cb,1?after=${appended.body['token']}`)
  check('/v1/views/seats/rows/{key}', 'get', row.body)
  check('/v1/views/{view}/rows/{key}', 'get', row.body)
  const past = await world.get(`/v1/views/seats/rows/a%2Cb,1?at=${row.body['position']}`)
  check('/v1/views/seats/rows/{key}', 'get', past.body)
  const range = await world.get('/v1/views/seats/rows?prefix=a%2Cb,')
  check('/v1/views/seats/rows', 'get', range.body)
  check('/v1/views/{view}/rows', 'get', range.body)
  const lineage = await world.get('/v1/views/seats/rows/a%2Cb,1/lineage')
  check('/v1/views/seats/rows/{key}/lineage', 'get', lineage.body)
  check('/v1/views/{view}/rows/{key}/lineage', 'get', lineage.body)
  check('/v1/views/{view}/replay', 'post', (await world.post('/v1/views/seats/replay', {})).body)
  let replay = await world.get('/v1/views/seats/replay')
  while (replay.body['state'] === 'running') replay = await world.get('/v1/views/seats/replay')
  check('/v1/views/{view}/replay', 'get', replay.body)
  const keys = {
    keys: [
      { show: 'a,b', seat: 1 },
      { show: 'none', seat: 1 },
    ],
  }
  check('/v1/views/seats/lookup', 'post', (await world.post('/v1/views/seats/lookup', keys)).body)
  check('/v1/read', 'post', (await world.post('/v1/read', { reads: [{ view: 'rows', key: '7' }] })).body)
  check('/v1/log/{topic}', 'get', (await world.get('/v1/log/seatings')).body)
  for (const path of ['/v1/views', '/v1/sources', '/health/live', '/health/ready', '/openapi.json'])
    check(path, 'get', (await world.get(path)).body)
  check('/v1/verify', 'get', (await world.get('/v1/verify')).body)
  check('/v1/verify', 'post', (await world.post('/v1/verify', { views: ['seats', 'spending'] })).body)
  await expect.poll(async () => (await world.get('/v1/verify')).body['state']).toBe('done')
  check('/v1/verify', 'get', (await world.get('/v1/verify')).body)
  check('/v1/views/{view}', 'get', (await world.get('/v1/views/seats')).body)
  check('/v1/sources/{source}', 'get', (await world.get('/v1/sources/shop')).body)
  check('/v1/sources/{source}/parked', 'get', (await world.get('/v1/sources/shop/parked')).body)
  const dropped = await fetch(`${world.url}/v1/sources/shop`, { method: 'DELETE' })
  check('/v1/sources/{source}', 'delete', await dropped.json())
})

test('problems are as described', async () => {
  const validate = ajv.compile({ $ref: pointer('components', 'schemas', 'Problem') })
  for (const path of [
    '/nowhere',
    '/v1/views/none',
    '/v1/views/rows/rows/x',
    '/v1/views/rows/rows/1?after=99&timeoutMs=0',
    '/v1/views?x=1',
  ]) {
    const { body } = await world.get(path)
    expect(validate(body), `${path}: ${ajv.errorsText(validate.errors)}`).toBe(true)
  }
})

test('requests made up from the schemas meet no internal error', async () => {
  // A small fuzzer with a fixed seed: values of every JSON type at every place that takes one.
  const VALUES = [
    '',
    'a',
    '%',
    '-1',
    '0',
    '1e9',
    '9'.repeat(30),
    '\u0000',
    'ä,/',
    '..',
    'null',
    '{}',
    '[]',
    'm1.x.y.z',
    'shop:0/1',
  ]
  let seed = 42
  const next = (count: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed % count
  }
  const pick = (): string => VALUES[next(VALUES.length)] ?? ''
  const bodies = [
    '',
    '{',
    'null',
    '[]',
    '[null]',
    '{"keys":[{}]}',
    '{"keys":[[1]]}',
    '{"reads":[{"view":"rows","key":{}}]}',
    '[{"customer":{}}]',
    '{"__proto__":1}',
  ]
  for (let n = 0; n < 600; n++) {
    const [path, method, operation] = operations()[next(operations().length)] ?? [
      '/',
      'get',
      { responses: {}, operationId: '' },
    ]
    const url = new URL(world.url + path.replace(/\{\w+\}/g, () => encodeURIComponent(pick())))
    for (const name of ['after', 'from', 'limit']) if (next(3) === 0) url.searchParams.set(name, pick())
    url.searchParams.set('timeoutMs', String(next(3)))
    const body = operation.requestBody ? (bodies[next(bodies.length)] ?? '') : undefined
    const response = await fetch(url, { method: method.toUpperCase(), ...(body === undefined ? {} : { body }) })
    const text = await response.text()
    expect(response.status, `${method} ${url} ${body} → ${text}`).toBeOneOf([200, 400, 404, 405, 504])
    JSON.parse(text)
  }
  expect(world.internalErrors).toEqual([])
})
