// Many rows in order by both clients, in the application's process and over HTTP: the same types, rows, pages and errors.
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { createClient, type HttpClient } from '../../query-api/client/index.ts'
import { type Client, createLocalClient, type Entry, type Page } from '../../query-api/index.ts'
import { ALL, account, all, type app, matching, openRowsWorld } from './rows-world.ts'
import type { World } from './support.ts'

let world: World
let before: string
const clients = {} as { 'in the process': Client<typeof app>; 'over HTTP': HttpClient<typeof app> }
beforeAll(async () => {
  ;({ world, before } = await openRowsWorld())
  clients['in the process'] = createLocalClient<typeof app>(world.reads)
  clients['over HTTP'] = createClient<typeof app>(world.url)
})
afterAll(() => world[Symbol.asyncDispose]())

const rowOf = (id: number) => (({ id: _, ...value }) => value)(account(id))
const keysOf = <K>(rows: readonly Entry<K, unknown>[]) => rows.map(({ key }) => key)

describe.each(['in the process', 'over HTTP'] as const)('the client %s', name => {
  const views = () => clients[name].views

  test('gives pages with stable cursors, typed as the view is', async () => {
    const bern = { city: 'Bern', cents: { gte: 10 } }
    const rows = views().accounts.where(bern, { limit: 20, order: 'desc', sources: true })
    const page = await rows.page()
    expectTypeOf(page).toEqualTypeOf<
      Page<number, { city: string | null; cents: number; since: Date; owed: bigint; tier: 'basic' | 'gold' }>
    >()
    const wanted = matching(({ city, cents }) => city === 'Bern' && cents >= 10).reverse()
    expect(keysOf(page.value)).toEqual(wanted.slice(0, 20))
    expect(page.value[0]?.value).toStrictEqual(rowOf(wanted[0]!))
    expect(page).toMatchObject({ position: String(world.log.end), final: true, ageMs: 0, sources: {} })
    // Another client's cursor is as good.
    const other = clients[name === 'over HTTP' ? 'in the process' : 'over HTTP'].views.accounts
    const second = await other.where(bern, { limit: 20, order: 'desc' }).page(page.cursor)
    expect(keysOf(second.value)).toEqual(wanted.slice(20, 40))
    const last = await views().accounts.range({ from: 2_499 }).page()
    expect(keysOf(last.value)).toEqual([2_499])
    expect('cursor' in last).toBe(false)
  })

  test('iterates over more rows than a page has, as many as are wanted', async () => {
    const { accounts } = views()
    const wanted = matching(({ city, cents }) => city === 'Bern' && cents >= 10).reverse()
    expect(keysOf(await all(accounts.where({ city: 'Bern', cents: { gte: 10 } }, { order: 'desc' })))).toEqual(wanted)
    const limited = await all(accounts.range({ from: 5 }, { limit: 1_200 }))
    expect(keysOf(limited)).toEqual(Array.from({ length: 1_200 }, (_, n) => n + 5))
    expect(keysOf(await all(accounts.range()))).toEqual(ALL.map(({ id }) => id))
    let taken = 0
    for await (const _ of accounts.range()) if (++taken === 3) break
    expect(taken).toBe(3)
  })

  test('reads the past, at one cut', async () => {
    const { accounts } = views()
    const past = await all(accounts.range({}, { at: before }))
    expect(past).toHaveLength(1_000)
    expect(past[7]).toStrictEqual({ key: 7, value: rowOf(7) })
    expect(keysOf(await all(accounts.range({ from: 990 }, { at: before, limit: 3 })))).toEqual([990, 991, 992])
    expect(keysOf(await all(accounts.range({ from: 1 }, { at: before, limit: 1_001 })))).toHaveLength(999)
    const page = await accounts.where({ tier: 'gold' }, { at: before, order: 'desc', limit: 3 }).page()
    expect([keysOf(page.value), page.position, page.ageMs]).toEqual([[999, 996, 993], before, null])
  })

  test('takes keys of every form, and their beginnings', async () => {
    const { seats, holders } = views()
    expect(await all(seats.range({ prefix: { show: 'lear', seat: 10 } }))).toEqual([
      { key: { show: 'lear', seat: 10 }, value: { holder: 'lear/10' } },
    ])
    const comma = await all(seats.range({ prefix: { show: 'a,b' } }, { order: 'desc' }))
    expect(comma.map(({ key }) => key)).toEqual([10, 3, -2].map(seat => ({ show: 'a,b', seat })))
    const some = seats.range({ from: { show: 'a,b', seat: 3 }, to: { seat: 3, show: 'ham' } })
    expect(keysOf(await all(some)).map(({ show, seat }) => `${show} ${seat}`)).toEqual([
      'a,b 3',
      'a,b 10',
      'ham -2',
      'ham 3',
    ])
    expect(keysOf((await holders.range({ prefix: 'a,b/' }).page()).value)).toEqual(['a,b/-2', 'a,b/10', 'a,b/3'])
    expect(keysOf(await all(holders.range({ from: 'lear/10', to: 'lear/3' })))).toEqual(['lear/10', 'lear/3'])
  })

  test('takes conditions of every type that an index is of', async () => {
    const { accounts, seats } = views()
    expect((await accounts.where({ since: account(3).since }).page()).value[0]).toStrictEqual({
      key: 3,
      value: rowOf(3),
    })
    const owed = await all(accounts.where({ owed: { gt: 2n ** 60n, lte: 3n * 2n ** 60n } }))
    expect(keysOf(owed)).toEqual([2, 3])
    const none = await all(accounts.where({ city: null, cents: { gt: 10, lt: 20 } }))
    expect(keysOf(none)).toEqual(matching(({ city, cents }) => city === null && cents > 10 && cents < 20))
    expect(await all(accounts.where({ city: {} }))).toHaveLength(ALL.filter(({ city }) => city !== null).length)
    expect((await all(seats.where({ seat: 3 }))).map(({ value }) => value.holder)).toEqual([
      'a,b/3',
      'ham/3',
      'hamlet/3',
      'lear/3',
    ])
  })

  test('waits for a write, and ends with its signal', async () => {
    const late = { show: `othello ${name}`, seat: 1, holder: 'late' }
    const { token } = await world.appends.append('seated', [late])
    const { value } = await views()
      .seats.range({ prefix: { show: late.show } }, { after: token })
      .page()
    expect(value).toHaveLength(1)
    const waiting = views().seats.range({}, { after: '999999', timeoutMs: 60_000, signal: AbortSignal.timeout(5) })
    await expect(all(waiting)).rejects.toThrow('aborted')
    await expect(views().seats.range({}, { after: '999999', timeoutMs: 1 }).page()).rejects.toMatchObject({
      code: 'NOT_REACHED',
    })
  })

  test('refuses what is no page, key, condition or cursor', async () => {
    const { accounts, seats } = views()
    const refused = (rows: AsyncIterable<unknown>, ...codes: string[]) =>
      expect(all(rows)).rejects.toMatchObject({ code: expect.toBeOneOf(codes) })
    await expect(accounts.range({}, { limit: 1_001 }).page()).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    expect(() => accounts.range({}, { limit: 0 })).toThrow('a limit of 0 is not valid')
    await expect(accounts.range().page('x')).rejects.toMatchObject({ code: 'CURSOR_INVALID' })
    const { cursor } = await accounts.range().page()
    await expect(accounts.where({ tier: 'gold' }).page(cursor)).rejects.toMatchObject({ code: 'CURSOR_INVALID' })
    // Whatever the compiler has been told: nothing becomes a scan of all rows.
    const where = accounts.where as (where: unknown) => AsyncIterable<unknown>
    await refused(where({}), 'NO_INDEX')
    await refused(where({ cents: 5 }), 'NO_INDEX')
    await refused(where({ city: undefined }), 'KEY_INVALID', 'REQUEST_INVALID')
    await refused(where({ city: { gte: null } }), 'REQUEST_INVALID')
    await refused(where({ owed: { above: 1n } }), 'REQUEST_INVALID')
    await refused(where({ since: new Date(Number.NaN) }), 'KEY_INVALID', 'REQUEST_INVALID')
    await refused(accounts.range({ from: Number.NaN }), 'KEY_INVALID', 'KEY_MALFORMED')
    const range = seats.range as (range: unknown) => AsyncIterable<unknown>
    await refused(range({ prefix: { seat: 3 } }), 'REQUEST_INVALID')
    await refused(range({ prefix: {} }), 'REQUEST_INVALID')
    await refused(range({ prefix: { show: 'lear', row: 1 } }), 'REQUEST_INVALID')
    await refused(range({ from: { show: 'lear' } }), 'KEY_INVALID', 'KEY_MALFORMED')
    await refused(range({ from: { show: null, seat: 1 } }), 'KEY_INVALID', 'KEY_MALFORMED')
  })

  test('does not compile where no index serves', () => {
    const { accounts } = views()
    const wrong = () => [
      // @ts-expect-error no index begins with cents
      accounts.where({ cents: 5 }),
      // @ts-expect-error a range is of the last field only
      accounts.where({ city: { gte: 'A' }, cents: 5 }),
      // @ts-expect-error a city is a text
      accounts.where({ city: 5 }),
      // @ts-expect-error a number has no prefix
      accounts.range({ prefix: 5 }),
      // @ts-expect-error there is no such order
      accounts.range({}, { order: 'up' }),
    ]
    expect(wrong).toBeTypeOf('function')
  })
})

test('an iteration over HTTP goes on where a page fails, and each row comes once', async () => {
  let requests = 0
  const client = createClient<typeof app>(world.url, {
    fetch: async (url, init) => {
      if (++requests % 2 === 0) throw new TypeError('fetch failed')
      return fetch(url, init)
    },
  })
  expect(keysOf(await all(client.views.accounts.range()))).toEqual(ALL.map(({ id }) => id))
  expect(requests).toBeGreaterThan(10)
})

test('rows of the past that are cut short are an error, never an end', async () => {
  const client = createClient<typeof app>(world.url, {
    fetch: async (url, init) => {
      const response = await fetch(url, init)
      if (!String(url).includes('/rows')) return response
      const text = await response.text()
      return new Response(text.slice(0, text.length - 20), { headers: response.headers })
    },
  })
  const taken: number[] = []
  const reading = async () => {
    for await (const { key } of client.views.accounts.range({}, { at: before })) taken.push(key)
  }
  await expect(reading()).rejects.toMatchObject({ code: 'APPLICATION_UNREACHABLE', retriable: true })
  expect(taken).toHaveLength(1_000)
})
