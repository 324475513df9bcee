// Dead letters as an operator meets them: over HTTP and on the command line of a running application.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import { openApplication, type Running } from '../../bin/open-application.ts'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { mainstem } from '../support/mainstem-process.ts'

const orders = topic('orders', { key: 'id', value: z.object({ id: z.int(), customer: z.string(), cents: z.int() }) })
/** Takes no order beyond the limit that a customer has. */
const spending = projection('spending', {
  key: z.string(),
  state: z.object({ limit: z.int(), cents: z.int() }),
  onError: 'skip',
}).on(orders, 'customer', (spent, order) => {
  if (order.id === 0) spent.limit = order.cents
  else if (spent.cents + order.cents > spent.limit) throw new Error(`order ${order.id} is beyond the limit`)
  else spent.cents += order.cents
})
const totals = projection('totals', { key: z.string(), state: z.object({ cents: z.int() }) }).on(
  orders,
  'customer',
  (total, order) => {
    total.cents += order.cents
  },
)
const app = application('limits', { views: [spending, totals] })

let folder: string
let running: Running<typeof app>
let url: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-letters-'))
  running = await openApplication(app, { dataDir: folder, listen: { port: 0 } })
  url = running.url!
  const token = await running.append(orders, [
    { id: 0, customer: 'ada', cents: 10 },
    { id: 1, customer: 'ada', cents: 8 },
    { id: 2, customer: 'ada', cents: 5 },
    { id: 3, customer: 'bob', cents: 5 },
    { id: 4, customer: 'ada', cents: 2 },
  ])
  await running.client.views.spending.get('ada', { after: token })
})
afterEach(async () => {
  await running.close()
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  readonly code: string
  readonly next: string | null
  readonly deadLetters: readonly unknown[]
}
const get = async (path: string) => (await (await fetch(url + path)).json()) as Answer
const post = (path: string, body: unknown) => fetch(url + path, { method: 'POST', body: JSON.stringify(body) })

it('are listed page by page, and counted in the status of their view', async () => {
  const page = await get('/v1/views/spending/dead-letters?limit=1')
  expect(page).toEqual({
    deadLetters: [
      {
        position: '3',
        topic: 'orders',
        op: 'event',
        step: 'add',
        key: 'ada',
        error: expect.objectContaining({ code: 'HANDLER_FAILED', detail: expect.stringContaining('order 2') }),
        appendTime: expect.stringMatching(/^\d{4}-.*Z$/),
        redriven: 0,
      },
    ],
    next: '4',
    count: 2,
  })
  expect(await get(`/v1/views/spending/dead-letters?from=${page.next}`)).toMatchObject({
    deadLetters: [{ position: '4', key: 'bob' }],
    next: null,
  })
  expect(await get('/v1/views/spending')).toMatchObject({ status: 'live', deadLetters: { count: 2, total: 2 } })
  expect(await get('/v1/views/totals')).toMatchObject({ deadLetters: null })
  expect(await get('/v1/views/totals/dead-letters')).toEqual({ deadLetters: [], next: null, count: 0 })
  expect(await get('/v1/views/spending/rows/ada')).toMatchObject({ value: { limit: 10, cents: 10 } })
})

it('are called again, and are gone where that succeeds', async () => {
  const answer = await post('/v1/views/spending/dead-letters/redrive', { positions: ['3'] })
  const { token } = (await answer.json()) as { token: string }
  expect(await get(`/v1/views/spending/rows/ada?after=${token}`)).toMatchObject({ value: { cents: 10 } })
  expect((await get('/v1/views/spending/dead-letters')).deadLetters).toMatchObject([{ redriven: 1 }, { redriven: 0 }])
  await running.append(orders, [{ id: 0, customer: 'ada', cents: 100 }])
  const again = (await (await post('/v1/views/spending/dead-letters/redrive', { all: true })).json()) as {
    token: string
    positions: string[]
  }
  expect(again.positions).toEqual(['3', '4'])
  expect(await get(`/v1/views/spending/rows/ada?after=${again.token}`)).toMatchObject({ value: { cents: 15 } })
  expect((await get('/v1/views/spending/dead-letters')).deadLetters).toMatchObject([{ position: '4', redriven: 1 }])
})

it('are refused where there are none, and requests that say nothing', async () => {
  const problem = async (path: string, body: unknown) => ((await (await post(path, body)).json()) as Answer).code
  expect(await problem('/v1/views/spending/dead-letters/redrive', { positions: ['1'] })).toBe('DEAD_LETTER_UNKNOWN')
  expect(await problem('/v1/views/spending/dead-letters/redrive', { positions: [] })).toBe('REQUEST_INVALID')
  expect(await problem('/v1/views/spending/dead-letters/redrive', { positions: ['x'] })).toBe('REQUEST_INVALID')
  expect(await problem('/v1/views/spending/dead-letters/redrive', {})).toBe('REQUEST_INVALID')
  expect(await problem('/v1/views/other/dead-letters/redrive', { all: true })).toBe('VIEW_UNKNOWN')
  expect((await get('/v1/views/other/dead-letters')).code).toBe('VIEW_UNKNOWN')
})

it('are printed and called again on the command line', async () => {
  const listed = await mainstem(['dead-letters', 'spending', '--url', url])
  expect(listed.stdout).toMatch(/ 3 +orders +event +key ada .*order 2 is beyond the limit/)
  expect((await mainstem(['views', '--url', url])).stdout).toContain('2 dead letters')
  const redriven = await mainstem(['dead-letters', 'redrive', 'spending', '3', '4', '--url', url])
  expect(redriven, redriven.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('2 records are called') })
  const json = await mainstem(['dead-letters', 'spending', '--json', '--url', url])
  expect(JSON.parse(json.stdout).deadLetters).toMatchObject([{ redriven: 1 }, { redriven: 1 }])
}, 30_000)
