import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { application, projection } from '../../projections/index.ts'
import { type Answer, type Change, type Client, createLocalClient } from '../../query-api/index.ts'
import { openWorld, seatings, shop, type World } from './support.ts'

let world: World
let client: Client<typeof shop>
beforeAll(async () => {
  world = await openWorld(shop)
  client = createLocalClient<typeof shop>(world.reads)
})
afterAll(() => world[Symbol.asyncDispose]())

test('a client reads what was appended, typed as the view is', async () => {
  const { token } = await world.appends.append('purchases', [{ customer: 'ada', cents: 5 }])
  const answer = await client.views.spending.get('ada', { after: token })
  expectTypeOf(answer).toEqualTypeOf<Answer<{ count: number; cents: number } | undefined>>()
  expect(answer).toEqual({ value: { count: 1, cents: 5 }, position: '1', ageMs: 0, final: true })
})

test('an absent row is undefined, with a position', async () => {
  const { value, position } = await client.views.spending.get('nobody')
  expect(value).toBeUndefined()
  expect(position).toBe(String(world.log.end))
})

test('values keep their types and are copies', async () => {
  const at = new Date('2026-11-01')
  const { token } = await world.appends.append('seatings', [
    { show: 'hamlet', seat: 1, holder: null, at, id: 2n ** 65n },
  ])
  const key = { show: 'hamlet', seat: 1 }
  const { value } = await client.views.seats.get(key, { after: [token, 'shop:0/0'].slice(0, 1) })
  expectTypeOf(value).toEqualTypeOf<
    { holder: string | null; at: Date | null; ids: bigint; tags: string[] } | undefined
  >()
  expect(value).toEqual({ holder: null, at, ids: 2n ** 65n, tags: ['none'] })
  value?.at?.setTime(0)
  value?.tags.push('mine')
  expect((await client.views.seats.get(key)).value).toEqual({ holder: null, at, ids: 2n ** 65n, tags: ['none'] })
})

test('lookup and read answer at one cut, in order and by name', async () => {
  const many = await client.views.spending.lookup(['nobody', 'ada'])
  expect(many.value).toEqual([undefined, { count: 1, cents: 5 }])
  const both = await client.read({ spent: ['spending', 'ada'], row: ['rows', 2n ** 65n], none: ['rows', 1n] })
  expectTypeOf(both.value.row).toEqualTypeOf<{ count: number } | undefined>()
  expectTypeOf(both.value.spent).toEqualTypeOf<{ count: number; cents: number } | undefined>()
  expect(both).toMatchObject({ value: { spent: { cents: 5 }, row: { count: 1 } }, final: true })
  expect(both.value.none).toBeUndefined()
})

test('a subscriber in this process that is slow gets each change, and where they are kept no more the newest rows', async () => {
  const seat = projection('seat', { key: z.string(), state: z.object({ holder: z.string().nullable() }) }).on(
    seatings,
    'show',
    (row, { holder }, ctx) => {
      row.holder = holder
      if (holder === null) ctx.delete()
    },
  )
  const app = application('one', { views: [seat] })
  await using own = await openWorld(app, {}, {}, { ringBytesMax: 150_000 })
  const { views } = createLocalClient<typeof app>(own.reads)
  const sit = (show: string, holder: string | null) =>
    own.appends.append('seatings', [{ show, seat: 1, holder, at: new Date(0), id: 1n }])
  const sitMany = async (count: number, name: string) => {
    await Promise.all(Array.from({ length: count }, (_, n) => sit('hamlet', `${name}${n}`)))
    await own.reads.wait({ after: [String(own.log.end)] })
  }
  await sit('faust', 'ada')
  await sitMany(1, 'first ')
  const stream = views.seat.subscribe({ keys: ['hamlet', 'faust'] })[Symbol.asyncIterator]()
  const next = async () => (await stream.next()).value as Change<string, { holder: string | null }>
  const first = [await next(), await next(), await next()]
  expect(first.map(({ type }) => type)).toEqual(['row', 'row', 'progress'])
  await sitMany(400, '')
  for (let n = 0; n < 400; n++) {
    const change = await next()
    if (change.type === 'row') expect(change.value).toEqual({ holder: `${n}` })
    else n--
  }
  await sitMany(600, 'again ')
  await sit('faust', null)
  await sitMany(400, 'at last ')
  const rest: Change<string, { holder: string | null }>[] = []
  do rest.push(await next())
  while (!(rest.at(-1)!.type === 'progress' && rest.at(-1)!.position === String(own.log.end)))
  expect(rest.length).toBeLessThan(900)
  expect(rest.slice(-3)).toMatchObject([
    { type: 'row', key: 'hamlet', value: { holder: 'at last 399' } },
    { type: 'gone', key: 'faust' },
    { type: 'progress' },
  ])
  await stream.return?.()
  expect(own.reads.subscriptions.open).toBe(0)
})

test('wrong views and keys do not compile', () => {
  const wrong = () => [
    // @ts-expect-error the key is a string
    client.views.spending.get(1),
    // @ts-expect-error there is no such view
    client.views.nothing,
    // @ts-expect-error the key of rows is a bigint
    client.read({ row: ['rows', 1] }),
  ]
  expect(wrong).toBeTypeOf('function')
})

test('a wait that is not met in time says so', async () => {
  await expect(client.views.spending.get('ada', { after: '999', timeoutMs: 5 })).rejects.toMatchObject({
    code: 'NOT_REACHED',
  })
  await expect(client.views.spending.get('ada', { after: 'x' })).rejects.toMatchObject({ code: 'TOKEN_MALFORMED' })
  await expect(client.read({ a: ['spending', 'ada'] }, { after: '999', timeoutMs: 0 })).rejects.toMatchObject({
    code: 'NOT_REACHED',
  })
})

test('the face of query-api loads no fastify', async () => {
  const { execFileSync } = await import('node:child_process')
  const script = `
    import { registerHooks } from 'node:module'
    registerHooks({ resolve(name, context, next) { if (name.includes('fastify')) console.log('loaded', name); return next(name, context) } })
    await import(${JSON.stringify(new URL('../../query-api/index.ts', import.meta.url).href)})`
  expect(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })).toBe('')
})
