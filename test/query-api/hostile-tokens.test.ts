// Tokens, cursors and event ids that are not what they seem: of another view, index or log, cut short, with a bit that has turned, of a
// time to come. Each is refused, or waited for, and said what for; never is it taken for another place.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLeft, expectProblem } from './hostile.ts'
import { openRowsWorld } from './rows-world.ts'
import type { World } from './support.ts'

let world: World
beforeAll(async () => {
  world = (await openRowsWorld()).world
})
afterAll(() => world[Symbol.asyncDispose]())

const OTHER_LOG = '0f2c9a1e-0000-4000-8000-000000000001'

async function refusal(path: string): Promise<string> {
  const reply = await world.get(path)
  return reply.status === 200 ? JSON.stringify(reply.body) : expectProblem(reply, path)
}

/** Ranges whose cursors are not each other's. */
const RANGES = [
  'accounts/rows?',
  'accounts/rows?order=desc&',
  'accounts/rows?from=10&',
  'accounts/rows?where.city=Bern&',
  'accounts/rows?where.city=Basel&',
  'accounts/rows?where.city=Bern&order=desc&',
  'accounts/rows?where.tier=gold&',
  'accounts/rows?where.owed.gte=5&',
  'seats/rows?',
  'seats/rows?prefix=hamlet,&',
  'holders/rows?',
]
const page = async (range: string, more: string) =>
  (await world.get(`/v1/views/${range}limit=2&${more}`)).body as {
    readonly rows: readonly { readonly key: unknown }[]
    readonly cursor: string | null
  }

test('a cursor of another view, index, order or range is refused, whichever two they are', async () => {
  const cursors = await Promise.all(RANGES.map(async range => (await page(range, '')).cursor!))
  for (const [n, cursor] of cursors.entries())
    for (const [m, range] of RANGES.entries()) {
      const path = `/v1/views/${range}limit=2&cursor=${encodeURIComponent(cursor)}`
      if (n === m) expect((await world.get(path)).status, path).toBe(200)
      else expect(await refusal(path), `the cursor of ${RANGES[n]} at ${range}`).toBe('CURSOR_INVALID')
    }
})

test('a cursor that is cut, or changed by one bit, is refused, or is a place in the same range', async () => {
  for (const range of ['accounts/rows?where.city=Bern&', 'seats/rows?prefix=hamlet,&', 'holders/rows?']) {
    const { cursor } = await page(range, '')
    const all = (await world.get(`/v1/views/${range}limit=1000`)).body['rows'] as readonly { readonly key: unknown }[]
    const known = new Set(all.map(({ key }) => JSON.stringify(key)))
    const bytes = Buffer.from(cursor!, 'base64url')
    const turned = Array.from({ length: bytes.length * 8 }, (_, bit) => {
      const changed = Buffer.from(bytes)
      changed[bit >> 3]! ^= 1 << (bit & 7)
      return changed.toString('base64url')
    })
    const cut = Array.from({ length: cursor!.length - 1 }, (_, n) => cursor!.slice(0, n + 1))
    for (const wrong of [...cut, ...turned, `${cursor}A`, `${cursor}${cursor}`]) {
      const path = `/v1/views/${range}limit=2&cursor=${encodeURIComponent(wrong)}`
      const reply = await world.get(path)
      if (reply.status !== 200) expect(expectProblem(reply, path)).toBe('CURSOR_INVALID')
      else
        for (const { key } of reply.body['rows'] as readonly { readonly key: unknown }[])
          expect(known, path).toContain(JSON.stringify(key))
    }
  }
  await expectNothingLeft(world)
})

const READS = {
  'a row': '/v1/views/holders/rows/hamlet%2F3?',
  'a page': '/v1/views/seats/rows?',
  lines: '/v1/views/seats/rows?',
  'a subscription': '/v1/views/seats/subscribe?prefix=hamlet,&',
}

test.each(Object.entries(READS))(
  'a token of a time to come is waited for, and then said what for; one of another log is refused at once: %s',
  async (name, path) => {
    const headers = name === 'lines' ? { accept: 'application/x-ndjson' } : undefined
    const get = async (query: string) => {
      const response = await fetch(`${world.url}${path}${query}`, headers ? { headers } : {})
      return { status: response.status, body: (await response.json()) as Readonly<Record<string, unknown>> }
    }
    const { log, source } = world
    const future = log.end + 7
    const tokens = [`${future}`, `m1.${log.id}.log.${future}`]
    for (const token of tokens) {
      const { status, body } = await get(`after=${token}&timeoutMs=20`)
      expect([status, body['code'], body['position']]).toEqual([504, 'NOT_REACHED', String(log.end)])
      expect(body['waitingFor']).toEqual([
        { source: 'log', position: `${future}`, reached: `${log.end}`, waitingFor: 'an append' },
      ])
    }
    source.overrides = { position: '0/17', state: 'paused', waitingFor: 'room in the log' }
    const ahead = await get(`after=m1.${log.id}.shop.${encodeURIComponent('0/FFFFFFFF')}&timeoutMs=20`)
    expect([ahead.status, ahead.body['waitingFor']]).toEqual([
      504,
      [{ source: 'shop', position: '0/FFFFFFFF', reached: '0/17', waitingFor: 'room in the log' }],
    ])
    const other = [`m1.${OTHER_LOG}.log.1`, `m1.${OTHER_LOG}.shop.0%2F1`, `1,m1.${OTHER_LOG}.log.1`]
    for (const token of other) {
      const { status, body } = await get(`after=${token}&timeoutMs=60000`)
      expect([status, body['code']], token).toEqual([400, 'TOKEN_OTHER_LOG'])
    }
    await expectNothingLeft(world)
  },
)

test('an event id of another view or log, cut or changed, is refused; one of a time to come is waited for', async () => {
  const { log } = world
  const path = '/v1/views/seats/subscribe?prefix=hamlet,&timeoutMs=20&lastEventId='
  const id = `s1.${log.id}.seats.${log.end}.abc.1`
  const wrong = [
    [id.replace('seats', 'holders'), 'TOKEN_MALFORMED'],
    [id.replace(log.id, OTHER_LOG), 'TOKEN_OTHER_LOG'],
    [id.replace('s1', 's2'), 'TOKEN_MALFORMED'],
    [id.slice(0, -2), 'TOKEN_MALFORMED'],
    [`${id}.1`, 'TOKEN_MALFORMED'],
    [`s1.${log.id}.seats.9007199254740993.abc.1`, 'TOKEN_MALFORMED'],
    [`s1.${log.id}.seats.${log.end + 1}.abc.1`, 'NOT_REACHED'],
  ] as const
  for (const [each, code] of wrong) expect(await refusal(path + encodeURIComponent(each)), each).toBe(code)
  await expectNothingLeft(world)
})
