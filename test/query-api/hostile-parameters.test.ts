// Every parameter of every GET that /openapi.json describes, malformed: what is wrong with it is made from its schema, so that a new call,
// or a new parameter, is tried by itself. Where a schema allows whatever text, what is wrong stands here; without it the test fails.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLeft, expectProblem, whileAnswered } from './hostile.ts'
import { openRowsWorld } from './rows-world.ts'
import type { World } from './support.ts'

interface Schema {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly format?: string
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly maxItems?: number
  readonly items?: Schema
}
interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Schema
}
interface Call {
  readonly path: string
  readonly parameters: readonly Parameter[]
}
interface Case {
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
}

let world: World
let calls: readonly Call[]
beforeAll(async () => {
  world = (await openRowsWorld()).world
  const { paths, components } = (await world.get('/openapi.json')).body as {
    readonly paths: Readonly<Record<string, { readonly get?: { readonly parameters?: readonly object[] } }>>
    readonly components: { readonly parameters: Readonly<Record<string, Parameter>> }
  }
  const resolved = (parameter: object): Parameter =>
    '$ref' in parameter ? components.parameters[String(parameter.$ref).split('/').at(-1)!]! : (parameter as Parameter)
  calls = Object.entries(paths).flatMap(([path, { get }]) =>
    get ? [{ path, parameters: (get.parameters ?? []).map(resolved) }] : [],
  )
  world.source.tableRows.set(1, { id: 1, total: 5n })
})
afterAll(() => world[Symbol.asyncDispose]())

/** What a path has in its place where another parameter is the one that is wrong. */
const GOOD: Readonly<Record<string, string>> = {
  view: 'seats',
  key: 'hamlet,3',
  topic: 'seated',
  source: 'shop',
  table: 'orders',
  name: 'none',
  decider: 'none',
}
const KEYS: Readonly<Record<string, string>> = { accounts: '7', holders: 'hamlet%2F3', orders: '1' }

/** A call's path, all of it right but for what is given. */
function pathOf({ path }: Call, wrong: Readonly<Record<string, string>> = {}): string {
  const named = /views\/(\w+)|tables\/\{(\w+)\}/.exec(path)
  const key = KEYS[named?.[1] ?? (named?.[2] ? 'orders' : '')] ?? GOOD['key']!
  return path.replace(/\{(\w+)\}/g, (_, name: string) => wrong[name] ?? (name === 'key' ? key : GOOD[name]!))
}

const LONG = 'a'.repeat(5_000)
const FAR = '9'.repeat(40)
/** Of parameters that are texts to their schema. What no text is may be 404 in a path: there is nothing of that name. */
const WRONG_TEXTS: Readonly<Record<string, readonly string[]>> = {
  at: ['', 'x', FAR, '-1', '2026-13-40', '2026-11-01T00:00:00', 'savepoint:', 'savepoint:none', '999999999'],
  cursor: ['', 'x', '%00', '%f0%9f', LONG],
  lastEventId: ['', 'x', 's1.x.y.1.z.1', 's1....', LONG],
  'Last-Event-ID': ['x', 's1.x.y.1.z.1', LONG],
  field: ['', 'none', '__proto__'],
}
/** In which any text is right, as long as it is one. */
const ANY_TEXT = new Set(['prefix', 'from', 'to', 'keys', 'if-none-match'])

/** Values that are none of a schema's, percent-encoded. */
function wrongValues({ name, schema, in: place }: Parameter, path: string): readonly string[] {
  const { type, minimum, maximum } = schema
  if (type === 'array') {
    const tooMany = schema.maxItems ?? 32
    const list = Array.from({ length: tooMany + 1 }, () => '1').join(`&${name}=`)
    const items = name === 'after' ? ['', 'x', 'm1.x.y.z', 'nowhere:0/1', 'shop:x', '1,,2', '-1', FAR] : []
    return [list, ...items, ...(schema.items ? wrongValues({ name, in: place, schema: schema.items }, path) : [])]
  }
  // Of as many digits as one likes.
  if (schema.format === 'int64' && type === 'string') return ['', 'x', '1.5', '1e3', '0x1']
  if (type === 'integer') {
    const beyond = [minimum === undefined ? undefined : minimum - 1, maximum === undefined ? undefined : maximum + 1]
    return [
      '',
      'x',
      '1.5',
      '1e3',
      '0x1',
      FAR,
      `-${FAR}`,
      ...beyond.flatMap(each => (each === undefined ? [] : [String(each)])),
    ]
  }
  if (type === 'boolean') return ['', 'x', '1', 'TRUE', ...(schema.const === undefined ? [] : [String(!schema.const)])]
  if (schema.enum) return ['', 'none', String(schema.enum[0]).toUpperCase()]
  if (schema.format === 'date-time') return ['', 'x', '2026-13-01T00:00:00Z', FAR]
  const noText = ['%zz', '%E0%A4%A']
  if (place === 'path')
    return name === 'key' && /holders/.test(path) ? noText : [...noText, 'none', '%00', '__proto__', LONG]
  const known = WRONG_TEXTS[name]
  if (known) return known
  // A key of several fields, or what no UTF-8 is.
  if (ANY_TEXT.has(name) || name.startsWith('where.'))
    return /seats/.test(path) && name !== 'if-none-match' ? ['hamlet,x', ',,,,'] : []
  // A place behind which a page begins: a key.
  if (name === 'after') return ['x', '1.5', FAR]
  throw new Error(`say what is no ${name} of ${path}`)
}

function casesOf(call: Call): readonly Case[] {
  const target = pathOf(call)
  const of = (parameter: Parameter): readonly Case[] =>
    wrongValues(parameter, call.path).map(value => {
      const { name } = parameter
      if (parameter.in === 'path') return { target: pathOf(call, { [name]: value === '' ? '%20' : value }) }
      if (parameter.in === 'header') return { target: withRows(target), headers: { [name]: value } }
      return {
        target: `${target}${name === 'keys' || !/subscribe/.test(target) || name.startsWith('where.') ? '?' : '?keys=1&'}${encodeURI(name)}=${value}`,
      }
    })
  /** A subscription needs to be to something. */
  const withRows = (path: string) =>
    /subscribe/.test(path) ? `${path}?keys=${/seats/.test(path) ? 'hamlet,3' : '1'}` : path
  const twice = call.parameters
    .filter(({ in: place, schema }) => place === 'query' && schema.type !== 'array')
    .map(({ name }): Case => ({ target: `${target}?${encodeURI(name)}=1&${encodeURI(name)}=1` }))
  return [
    ...call.parameters.flatMap(of),
    ...twice,
    { target: `${withRows(target)}${withRows(target).includes('?') ? '&' : '?'}nonsense=1` },
  ]
}

/** They are asked by machines that may add what they like. */
const TAKES_ANYTHING = new Set(['/health/live', '/health/ready', '/openapi.json'])

test('each is refused under a stable code, and all the while others get their answers', async () => {
  const seen = new Map<string, number>()
  const taken: string[] = []
  await whileAnswered(world, '/v1/views/seats/rows/hamlet,3', async () => {
    for (const call of calls.filter(({ path }) => !TAKES_ANYTHING.has(path)))
      for (const { target, headers } of casesOf(call)) {
        const response = await fetch(world.url + target, {
          headers: headers ?? {},
          signal: AbortSignal.timeout(20_000),
        })
        const shown = `${target.slice(0, 300)} ${JSON.stringify(headers ?? {}).slice(0, 100)}`
        if (!response.headers.get('content-type')?.startsWith('application/problem+json')) {
          await response.body?.cancel()
          taken.push(`${shown} is ${response.status}`)
          continue
        }
        const body = (await response.json()) as object
        const code = expectProblem({ status: response.status, body }, new URL(response.url).pathname)
        if (![400, 404, 410].includes(response.status)) taken.push(`${shown} is ${code}`)
        seen.set(code, (seen.get(code) ?? 0) + 1)
      }
  })
  expect(taken).toEqual([])
  // Of each kind of refusal there were some, so the cases are what they are meant to be.
  expect([...seen.keys()].toSorted()).toEqual(
    expect.arrayContaining([
      'AT_MALFORMED',
      'CURSOR_INVALID',
      'KEY_MALFORMED',
      'REQUEST_INVALID',
      'TOKEN_MALFORMED',
      'VIEW_UNKNOWN',
    ]),
  )
  await expectNothingLeft(world)
})

test('the calls that the cases go out from are right: each is answered', async () => {
  for (const call of calls.filter(({ path }) => !/subscribe|savepoints\/\{|commands\/\{/.test(path))) {
    const target = pathOf(call)
    const response = await fetch(world.url + target)
    await response.body?.cancel()
    expect(response.status, target).toBe(200)
  }
})

test('what a limit allows is given, at both of its ends', async () => {
  for (const call of calls)
    for (const { name, schema, in: place } of call.parameters) {
      if (place !== 'query' || name !== 'limit') continue
      for (const limit of [schema.minimum, schema.maximum]) {
        const target = `${pathOf(call)}?limit=${limit}`
        expect((await world.get(target)).status, target).toBe(200)
      }
    }
})
