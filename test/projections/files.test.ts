// The engine over files of records: the same views as over an embedded log with the same records, through a kill and a restart, and
// what it says of a record that is none.
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, type Log, openEmbeddedLog, openFileLog, topic } from '../../core/index.ts'
import {
  application,
  count,
  countBy,
  type EngineEvent,
  max,
  openEngine,
  partsOf,
  projection,
  sum,
} from '../../projections/index.ts'
import { Random } from '../support/random.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-files-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const Status = z.enum(['placed', 'paid', 'shipped'])
const value = z.object({
  id: z.int(),
  customer: z.string(),
  status: Status,
  cents: z.int(),
  at: z.date(),
  note: z.string().nullable(),
})
const orders = topic('orders', { key: 'id', value, time: 'at' })
const payments = topic('payments', { key: 'customer', value: z.object({ customer: z.string(), cents: z.int() }) })

const byHandler = projection('by_handler', {
  key: z.string(),
  state: z.object({ orders: z.int(), cents: z.int(), notes: z.string().default(''), last: z.number() }),
})
  .on(orders, 'customer', (s, order, ctx) => {
    s.orders++
    s.cents += order.cents
    if (order.note !== null) s.notes = `${s.notes.slice(-20)}${order.note}`
    s.last = ctx.timeMs
  })
  .on(payments, 'customer', (s, payment) => {
    s.cents -= payment.cents
  })
const declared = projection('declared', {
  key: z.string(),
  state: z.object({ n: z.int(), cents: z.int(), by: z.record(Status, z.int32()), last: z.date().nullable() }),
}).on(orders, 'customer', { n: count(), cents: sum('cents'), by: countBy('status'), last: max('at') })
const totals = projection('totals', { key: z.int(), state: z.object({ customers: z.int32(), cents: z.int() }) }).on(
  byHandler,
  row => [row.cents < 0 ? 0 : 1],
  {
    add: (s, row) => {
      s.customers++
      s.cents += row.cents
    },
    remove: (s, row) => {
      s.customers--
      s.cents -= row.cents
    },
  },
)
const parts = partsOf(application('files', { views: [byHandler, declared, totals] }))
const contracts = parts.topics.map(each => compileContract(each.name, 'topic', each.value, each.key))
const [ordersContract, paymentsContract] = contracts as [(typeof contracts)[0], (typeof contracts)[0]]

const CUSTOMERS = Array.from({ length: 40 }, (_, n) => `c${n}é`)

function orderLines(random: Random, count: number): string[] {
  return Array.from({ length: count }, (_, id) =>
    JSON.stringify({
      id,
      customer: random.pick(CUSTOMERS),
      status: random.pick(Status.options),
      cents: random.int(10_000),
      at: new Date(random.int(1e12)),
      note: random.next() < 0.2 ? random.pick(['"quoted"', 'plain', '日本']) : null,
    }),
  )
}

const openOver = (log: Log, name: string, events: EngineEvent[] = []) =>
  openEngine({
    log,
    parts,
    path: join(folder, name),
    fingerprint: 'one',
    checkpointIntervalMs: 3_600_000,
    onEvent: event => events.push(event),
  })
type Opened = Awaited<ReturnType<typeof openOver>>

const rowsOf = (engine: Opened): Record<string, readonly (AnyRow | undefined)[]> => ({
  handler: CUSTOMERS.map(key => engine.views.get('by_handler')!.get(key)),
  declared: CUSTOMERS.map(key => engine.views.get('declared')!.get(key)),
  totals: [0, 1].map(key => engine.views.get('totals')!.get(key)),
})

const level = (engine: Opened, log: Log) => engine.waitFor(log.end, AbortSignal.timeout(15_000))

describe('an engine over files', () => {
  it('comes to the same views as over a log, and goes on after a kill from where its checkpoint was', async () => {
    const random = new Random(7)
    const lines = orderLines(random, 9_000)
    const paid = Array.from({ length: 500 }, () => ({ customer: random.pick(CUSTOMERS), cents: random.int(20_000) }))
    const files = { orders: join(folder, 'orders.ndjson'), payments: join(folder, 'payments.ndjson') }
    await writeFile(files.orders, `${lines.join('\n')}\n`)
    await writeFile(files.payments, paid.map(payment => JSON.stringify(payment)).join('\r\n'))

    const embedded = await openEmbeddedLog({ path: join(folder, 'log') })
    const [ordersTopic, paymentsTopic] = await Promise.all(contracts.map(contract => embedded.topic(contract)))
    const batch = embedded.batch()
    for (const line of lines) {
      const order = JSON.parse(line) as AnyRow
      batch.event(ordersTopic!, { ...order, at: new Date(order['at'] as string) })
    }
    for (const payment of paid) batch.event(paymentsTopic!, payment)
    await batch.commit()
    const reference = await openOver(embedded, 'reference')
    await level(reference, embedded)
    const expected = rowsOf(reference)
    await reference.stop()
    await embedded.close()

    const inputs = [
      { contract: ordersContract, path: files.orders },
      { contract: paymentsContract, path: files.payments },
    ]
    const log = await openFileLog({ inputs, chunkBytes: 10_000 })
    const engine = await openOver(log, 'views')
    // In the midst of it, and copied as a kill would leave it.
    await engine.waitFor(Math.floor(log.end / 3), AbortSignal.timeout(15_000))
    await engine.checkpoint()
    await cp(join(folder, 'views'), join(folder, 'killed'), { recursive: true })
    await level(engine, log)
    expect(rowsOf(engine)).toEqual(expected)
    await engine.stop()
    await log.close()

    const again = await openFileLog({ inputs, chunkBytes: 10_000 })
    const events: EngineEvent[] = []
    const restarted = await openOver(again, 'killed', events)
    const plan = events.find(event => event.event === 'start-plan')
    expect(plan?.views.map(({ plan }) => plan)).toEqual(['unchanged', 'unchanged', 'unchanged'])
    expect(plan?.records).toBeLessThan(again.end)
    expect(plan?.records).toBeGreaterThan(0)
    await level(restarted, again)
    expect(rowsOf(restarted)).toEqual(expected)
    await restarted.stop()
    await again.close()
  })

  it('stops its views at a record that is none, saying where it stands, and goes on without it where that is wanted', async () => {
    const lines = orderLines(new Random(1), 2_000)
    const path = join(folder, 'orders.ndjson')
    await writeFile(path, [...lines.slice(0, 1_234), '{"id":1}', ...lines.slice(1_234)].join('\n'))
    const strict = await openFileLog({ inputs: [{ contract: ordersContract, path }] })
    const events: EngineEvent[] = []
    const engine = await openOver(strict, 'strict', events)
    await expect.poll(() => events.filter(({ event }) => event === 'view-stopped').length).toBe(3)
    expect(events.find(event => event.event === 'view-stopped')).toMatchObject({
      code: 'RECORD_REFUSED',
      detail: expect.stringMatching(/orders\.ndjson line 1235, byte \d+: customer: expected string/),
    })
    await engine.stop()
    await strict.close()
    const lenient = await openFileLog({ inputs: [{ contract: ordersContract, path }], onInvalid: 'skip' })
    const other = await openOver(lenient, 'lenient')
    await level(other, lenient)
    const counted = CUSTOMERS.map(key => Number(other.views.get('declared')!.get(key)?.['n'] ?? 0))
    expect(counted.reduce((total, n) => total + n)).toBe(2_000)
    expect(lenient.skipped).toBe(1)
    await other.stop()
    await lenient.close()
  })
})
