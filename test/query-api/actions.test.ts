// What operators do is written down in the log.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ACTIONS_TOPIC } from '../../core/index.ts'
import { createKey } from '../../query-api/index.ts'
import { openWorld, shop, type World } from './support.ts'

let folder: string
let world: World
let operator: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-actions-'))
  const keysFile = join(folder, 'keys.json')
  operator = (await createKey(keysFile, { name: 'ops', scopes: ['admin:*', 'topic:*', 'log:*'] })).key
  world = await openWorld(shop, {}, { access: { keysFile } })
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function ask(method: string, path: string, body?: unknown, key = operator) {
  const response = await fetch(world.url + path, {
    method,
    headers: { authorization: `Bearer ${key}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return JSON.parse(await response.text())
}

test('who did what, how it ended and when, newest first; bodies are not told, nor are reads, appends, and what was refused', async () => {
  const before = Date.now()
  await ask('POST', '/v1/sources/shop/snapshot', { tables: ['orders'], where: "name = 'a secret'" })
  await ask('POST', '/v1/sources/shop/parked/retry', { table: 'orders', key: '1', set: { name: 'a secret' } })
  await ask('DELETE', '/v1/savepoints/none')
  await ask('POST', '/v1/verify', '{')
  await ask('POST', '/v1/topics/purchases', { customer: 'ada', cents: 1 })
  await ask('GET', '/v1/verify')
  await ask('POST', '/v1/verify', {}, 'mk_0123456789abcdef_unknown')
  const { actions, next } = await ask('GET', '/v1/actions')
  expect(next).toBeNull()
  const base = { who: 'key:ops', address: '127.0.0.1', about: null, code: null, status: 200 }
  expect(actions).toMatchObject([
    { ...base, action: 'verify', call: 'POST /v1/verify', status: 400, code: 'REQUEST_INVALID' },
    { ...base, action: 'savepoint', call: 'DELETE /v1/savepoints/none', status: 404, code: 'SAVEPOINT_UNKNOWN' },
    { ...base, action: 'parked', call: 'POST /v1/sources/shop/parked/retry', about: { table: 'orders' } },
    { ...base, action: 'snapshot', call: 'POST /v1/sources/shop/snapshot', about: { tables: ['orders'] } },
  ])
  for (const { at } of actions) expect(Date.parse(at)).toBeGreaterThanOrEqual(before - 1)
  const records = JSON.stringify(await ask('GET', `/v1/log/${ACTIONS_TOPIC}`))
  expect(records).toContain('key:ops')
  for (const secret of ['a secret', operator, operator.slice(20)]) expect(records).not.toContain(secret)
})

test('the list comes in pages', async () => {
  for (const source of ['a', 'b', 'c']) await ask('DELETE', `/v1/sources/${source}`)
  const first = await ask('GET', '/v1/actions?limit=2')
  expect(first.actions.map(({ call }: { call: string }) => call)).toEqual([
    'DELETE /v1/sources/c',
    'DELETE /v1/sources/b',
  ])
  const second = await ask('GET', `/v1/actions?limit=1&before=${first.next}`)
  expect(second.actions).toMatchObject([{ call: 'DELETE /v1/sources/a', code: 'SOURCE_UNKNOWN' }])
  expect((await ask('GET', '/v1/actions?limit=0')).code).toBe('REQUEST_INVALID')
})

test('where nobody is asked, anybody did it', async () => {
  await using open = await openWorld()
  expect((await open.get('/v1/actions')).body).toEqual({ actions: [], next: null })
  await open.post('/v1/verify', {})
  expect((await open.get('/v1/actions')).body['actions']).toMatchObject([{ who: 'anybody', action: 'verify' }])
})
