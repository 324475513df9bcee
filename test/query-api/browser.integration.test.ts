// The client in a real browser, from another origin: its sources as they are, without their types and without a bundler.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { createClient } from '../../query-api/client/index.ts'
import { openBrowser, openPages, type Pages, whyNoBrowser } from '../support/browser.ts'
import { openCuttingProxy } from '../support/cutting-proxy.ts'
import { openWorld, type purchases, type seatings, type shop, type World } from './support.ts'

const why = whyNoBrowser()
type Module = { default: typeof shop; purchases: typeof purchases; seatings: typeof seatings }
/** What the page has loaded. */
type Loaded = { readonly loaded: { readonly createClient: typeof createClient } }
const CLIENT = 'query-api/client/index.ts'

describe.skipIf(why !== undefined)(`the client in a browser${why === undefined ? '' : ` (${why})`}`, () => {
  let pages: Pages
  let world: World
  let browser: Awaited<ReturnType<typeof openBrowser>>
  beforeAll(async () => {
    pages = await openPages(CLIENT)
    world = await openWorld(undefined, {}, { corsOrigins: [pages.origin] }, { progressMs: 20 })
    browser = await openBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await world[Symbol.asyncDispose]()
    await pages[Symbol.asyncDispose]()
  })
  const openPage = async () => {
    const page = await browser.newPage()
    await page.goto(pages.origin)
    return page
  }

  test('appends, reads its own write, and reads many rows, with the types of handlers', async () => {
    const page = await openPage()
    const seen = await page.evaluate(async url => {
      const { createClient } = (globalThis as unknown as Loaded).loaded
      const client = createClient<Module>(url)
      const at = new Date('2026-11-01T09:00:00.123Z')
      const sitting = { show: 'a,b', holder: 'ada', at, id: 2n ** 65n }
      await client.topics.seatings.append(
        [1, 2, 3].map(seat => ({ ...sitting, seat })),
        { idempotencyKey: 'from a browser' },
      )
      const { value } = await client.views.seats.get({ show: 'a,b', seat: 1 })
      const rows: unknown[] = []
      for await (const { key } of client.views.seats.range({ prefix: { show: 'a,b' } }, { order: 'desc' }))
        rows.push(key.seat)
      const counted = await client.views.rows.where({ count: { gte: 3 } }, { limit: 1 }).page()
      const failed = await client.views.spending.get('ada', { after: '999', timeoutMs: 1 }).catch(error => error)
      return {
        isDate: value?.at instanceof Date && value.at.getTime() === at.getTime(),
        ids: String(value?.ids),
        rows,
        counted: counted.value.map(({ key, value }) => [typeof key, value.count]),
        failed: [failed.code, failed.status, failed.data.waitingFor[0].position],
      }
    }, world.url)
    expect(seen).toEqual({
      isDate: true,
      ids: String(2n ** 65n),
      rows: [3, 2, 1],
      counted: [['bigint', 3]],
      failed: ['NOT_REACHED', 504, '999'],
    })
    expect([...pages.loaded].filter(name => !name.startsWith('query-api/client/'))).toEqual(['query-api/limits.ts'])
    await page.close()
  })

  test('subscribes, goes on when it is cut, and its server hears when it leaves', async () => {
    await using proxy = await openCuttingProxy(world.url)
    const page = await openPage()
    const told: unknown[] = []
    await page.exposeFunction('told', (change: unknown) => told.push(change))
    const reading = page.evaluate(async url => {
      const { createClient } = (globalThis as unknown as Loaded).loaded
      const { told } = globalThis as unknown as { told: (change: unknown) => Promise<void> }
      for await (const change of createClient<Module>(url).views.spending.subscribe({ keys: ['ada', 'bob'] })) {
        if (change.type === 'progress') continue
        await told([change.key, change.type === 'row' && change.value.count])
        if (change.type === 'row' && change.value.count === 40) return
      }
    }, proxy.url)
    await expect.poll(() => world.reads.subscriptions.open).toBe(1)
    proxy.cutAfter([900, 900, 900])
    for (let n = 0; n < 40; n++) await world.appends.append('purchases', [{ customer: 'ada', cents: 1 }])
    await reading
    expect(told).toEqual(Array.from({ length: 40 }, (_, n) => ['ada', n + 1]))
    expect(proxy.cuts).toBeGreaterThan(0)
    await expect.poll(() => world.reads.subscriptions.open).toBe(0)
    await page.close()
  })

  test('is not answered where its page is not of an origin that may ask', async () => {
    await using other = await openPages(CLIENT)
    const page = await browser.newPage()
    await page.goto(other.origin)
    const code = await page.evaluate(async url => {
      const { createClient } = (globalThis as unknown as Loaded).loaded
      const client = createClient<Module>(url, { retries: 0 })
      return client.views.spending.get('ada').catch(error => error.code)
    }, world.url)
    expect(code).toBe('APPLICATION_UNREACHABLE')
    await page.close()
  })
})
