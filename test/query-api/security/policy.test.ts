// Which rows a client sees, on every way to them.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { topic } from '../../../core/index.ts'
import { application, projection } from '../../../projections/index.ts'
import { createKey, createLocalClient, openServer } from '../../../query-api/index.ts'
import { openWorld, type World } from '../support.ts'

const moves = topic('moves', { key: 'id', value: z.object({ id: z.int(), tenant: z.string(), cents: z.int() }) })
const accounts = projection('accounts', {
  key: z.int(),
  state: z.object({ tenant: z.string().default(''), cents: z.int() }),
})
  .on(moves, 'id', (account, move) => {
    account.tenant = move.tenant
    account.cents += move.cents
  })
  .policy(z.object({ tenant: z.string() }), (claims, account, key) => {
    if (key === 13 && claims.tenant === 'a') throw new Error('this policy fails')
    return account.tenant === claims.tenant
  })
const bank = application('bank', { views: [accounts] })

let folder: string
let world: World
const keys: Record<string, string> = {}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-policy-'))
  const keysFile = join(folder, 'keys.json')
  for (const tenant of ['a', 'b'])
    keys[tenant] = (await createKey(keysFile, { name: tenant, scopes: ['view:*'], claims: { tenant } })).key
  keys['odd'] = (await createKey(keysFile, { name: 'odd', scopes: ['view:*', 'admin:*'] })).key
  world = await openWorld(bank, {}, { access: { keysFile } })
  // 1 and 3 are a's; 2 was b's and became a's; 4 is b's.
  const events = [
    [1, 'a'],
    [2, 'b'],
    [3, 'a'],
    [4, 'b'],
    [2, 'a'],
    [13, 'a'],
  ].map(([id, tenant]) => ({ id, tenant, cents: 1 }))
  const { positions } = await world.appends.append('moves', events)
  await world.engine.waitFor(Number(positions.at(-1)), AbortSignal.timeout(30_000))
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function ask(who: string, path: string, body?: unknown) {
  const response = await fetch(world.url + path, {
    headers: { authorization: `Bearer ${keys[who]}` },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}
const json = async (who: string, path: string, body?: unknown) => JSON.parse((await ask(who, path, body)).text)

test.each(['', '?after=1', '?at=6', '?sources=true'])(
  'a row that may not be seen is answered as one that is absent: %s',
  async query => {
    expect(await json('a', `/v1/views/accounts/rows/1${query}`)).toMatchObject({ value: { tenant: 'a', cents: 1 } })
    const hidden = await ask('b', `/v1/views/accounts/rows/1${query}`)
    const absent = await ask('b', `/v1/views/accounts/rows/9${query}`)
    expect(hidden.status).toBe(404)
    const comparable = (text: string) =>
      text
        .replace(/"ageMs":\d+/, '')
        .replaceAll('/9', '/1')
        .replace('no row 9', 'no row 1')
    expect(comparable(hidden.text)).toBe(comparable(absent.text))
  },
)

test('a lineage has the records before and after which the row may be seen', async () => {
  expect((await ask('a', '/v1/views/accounts/rows/2')).status).toBe(200)
  expect((await json('a', '/v1/views/accounts/rows/2/lineage')).steps).toEqual([])
  expect((await json('b', '/v1/views/accounts/rows/2/lineage')).steps).toMatchObject([
    { before: null, after: { tenant: 'b' } },
  ])
  expect((await json('b', '/v1/views/accounts/rows/1/lineage')).steps).toEqual([])
  expect((await json('a', '/v1/views/accounts/rows/1/lineage')).steps).toMatchObject([{ after: { tenant: 'a' } }])
})

test('lookups and reads give null for it', async () => {
  const values = async (who: string) =>
    (await json(who, '/v1/views/accounts/lookup', { keys: [1, 2, 3, 4, 9] })).values.map(
      (each: { value: { tenant: string } | null }) => each.value?.tenant ?? null,
    )
  expect(await values('a')).toEqual(['a', 'a', 'a', null, null])
  expect(await values('b')).toEqual([null, null, null, 'b', null])
  const read = { reads: [1, 4].map(key => ({ view: 'accounts', key })) }
  expect((await json('b', '/v1/read', read)).values).toMatchObject([{ value: null }, { value: { tenant: 'b' } }])
  expect((await json('b', '/v1/read?at=6', read)).values).toMatchObject([{ value: null }, { value: { tenant: 'b' } }])
})

test('an export has the rows that may be seen, and counts those', async () => {
  for (const query of ['', '?at=6']) {
    const { headers, text } = await ask('b', `/v1/views/accounts/export${query}`)
    expect(headers.get('mainstem-rows')).toBeNull()
    expect(text).toBe('{"key":4,"value":{"tenant":"b","cents":1}}\n{"position":"6","rows":1,"final":true}\n')
    // Where the policy fails for a row, the text is cut short: it must not look whole.
    const cut = await ask('a', `/v1/views/accounts/export${query}`).then(
      answer => answer.text,
      () => '',
    )
    expect(cut).not.toMatch(/"rows":\d+/)
  }
})

test('a policy that fails shows nothing, and is told as an error of the application', async () => {
  world.internalErrors.length = 0
  expect(await json('a', '/v1/views/accounts/rows/13')).toMatchObject({ status: 500, code: 'POLICY_FAILED' })
})

test('a client without the claims that a policy looks at is refused, whatever its scopes', async () => {
  for (const path of ['rows/1', 'rows/9', 'rows/1?at=6', 'rows/1/lineage', 'export'])
    expect(await json('odd', `/v1/views/accounts/${path}`), path).toMatchObject({
      status: 403,
      code: 'FORBIDDEN',
      detail: expect.stringMatching(/^tenant: /),
    })
})

test('this process sees all rows; nobody serves them to whoever asks', async () => {
  const client = createLocalClient<typeof bank>(world.reads)
  expect((await client.views.accounts.get(4)).value).toEqual({ tenant: 'b', cents: 1 })
  const open = { application: 'bank', reads: world.reads, topics: world.topics, port: 0, host: '0.0.0.0' }
  await expect(openServer({ ...open, allowAnonymous: true })).rejects.toMatchObject({
    code: 'ACCESS_UNGUARDED',
    message: 'accounts would show all rows to anybody',
  })
})

test('a policy is one function, at once', () => {
  const claims = z.object({ tenant: z.string() })
  expect(() => accounts.policy(claims, () => true)).toThrowError('accounts has two policies')
  const plain = projection('plain', { key: z.int(), state: z.object({ cents: z.int() }) })
  // @ts-expect-error a promise is no answer
  expect(() => plain.policy(claims, async () => true)).toThrowError('plain.policy is async')
  // @ts-expect-error what the claims say has a type
  expect(plain.policy(claims, ({ tenant }, row) => tenant === row.cents)).toBeTruthy()
})
