// Eight views over four contracts, all of one helper function: each contract and each state has a shape of its own, and the helper
// meets all of them.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { type Application, application, projection, type View } from '../../projections/index.ts'
import { type Order, orderSource, STATUSES } from '../log-data.ts'
import { type ComparedRow, numbersOf, type Work } from './work.ts'

const CUSTOMERS = 65_536
const CONTRACTS = 4
const VIEWS = 8

interface Tally {
  count: number
  cents: number
}

/** Shared by all views: it meets the states and the records of all of them. */
function tally(state: Tally, order: { amount_cents: number }): void {
  state.count++
  state.cents += order.amount_cents
}

const fields = {
  order_id: z.int(),
  customer_id: z.int(),
  status: z.enum(STATUSES),
  amount_cents: z.int(),
  updated_at: z.int(),
}

const topics = Array.from({ length: CONTRACTS }, (_, n) => {
  const extra = Object.fromEntries(Array.from({ length: n }, (__, each) => [`extra${each}`, z.int().nullish()]))
  return topic(`orders${n}`, { key: 'order_id', value: z.object({ ...fields, ...extra }) })
})

const views = Array.from({ length: VIEWS }, (_, n) => {
  const more = Object.fromEntries(Array.from({ length: n }, (__, each) => [`more${each}`, z.int()]))
  const state = z.object({ ...more, count: z.int(), cents: z.int(), last: z.int() })
  return projection(`view${n}`, { key: z.int(), state } as never).on(
    topics[n % CONTRACTS]!,
    'customer_id' as never,
    ((row: Tally & { last: number }, order: Order) => {
      tally(row, order)
      row.last = order.updated_at
    }) as never,
  ) as unknown as View
})

/** The application of all views, and those of one view each. */
export const TOGETHER = 'together'
export const ALONE = views.map((_, n) => `alone${n}`)

const apps: Record<string, Application> = { [TOGETHER]: application('replay', { views }) }
for (const [n, view] of views.entries()) apps[ALONE[n]!] = application('replay', { views: [view] })

/** What one in four events come to, those of a contract. */
function* expectedOf(contract: number, events: number): Iterable<ComparedRow> {
  const source = orderSource(CUSTOMERS)
  const folded = new Float64Array(CUSTOMERS * 3)
  for (let n = 0; n < events; n++) {
    const order = source()
    if (n % CONTRACTS !== contract) continue
    const at = order.customer_id * 3
    folded[at]!++
    folded[at + 1]! += order.amount_cents
    folded[at + 2] = order.updated_at
  }
  for (let id = 0; id < CUSTOMERS; id++) if (folded[id * 3] !== 0) yield [id, ...folded.subarray(id * 3, (id + 1) * 3)]
}

export const eightViewsWork: Work = {
  topics: topics as unknown as Work['topics'],
  apps,
  source: () => orderSource(CUSTOMERS),
  *expected(events, app = TOGETHER) {
    for (let n = 0; n < VIEWS; n++) if (app === TOGETHER || app === ALONE[n]) yield* expectedOf(n % CONTRACTS, events)
  },
  views: views.map(({ name }) => ({
    name,
    keys: CUSTOMERS,
    keyOf: n => n,
    numbers: numbersOf('count', 'cents', 'last'),
  })),
}
