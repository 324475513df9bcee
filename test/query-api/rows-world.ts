// Views with indexes, and rows in them, for what reads many rows in order.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { openWorld, type World } from './support.ts'

const Tier = z.enum(['basic', 'gold'])
const fields = {
  city: z.string().nullable(),
  cents: z.int(),
  since: z.date(),
  owed: z.bigint(),
  tier: Tier,
}
const opened = topic('opened', { key: 'id', value: z.object({ id: z.int(), ...fields }) })
const seated = topic('seated', {
  key: 'seat',
  value: z.object({ show: z.string(), seat: z.int32(), holder: z.string() }),
})
const accounts = projection('accounts', {
  key: z.int(),
  state: z.object({ ...fields, since: z.date().default(new Date(0)), tier: Tier.default('basic') }),
})
  .on(opened, 'id', (row, event) => {
    row.city = event.city
    row.cents = event.cents
    row.since = event.since
    row.owed = event.owed
    row.tier = event.tier
  })
  .index('city', 'cents')
  .index('since')
  .index('owed')
  .index('tier')
  .policy(z.object({ city: z.string() }), (claims, row) => row.city === claims.city)
const seats = projection('seats', {
  key: z.object({ show: z.string(), seat: z.int32() }),
  state: z.object({ holder: z.string().default('') }),
})
  .on(seated, { show: 'show', seat: 'seat' }, (row, { holder }) => {
    row.holder = holder
  })
  .index('seat')
const holders = projection('holders', { key: z.string(), state: z.object({ count: z.int32() }) }).on(
  seated,
  'holder',
  row => {
    row.count++
  },
)
export const app = application('indexed', { views: [accounts, seats, holders] })

const CITIES = ['Basel', 'Bern', null, 'Zürich']
export const account = (id: number) => ({
  id,
  city: CITIES[id % 4] ?? null,
  cents: (id * 7) % 50,
  since: new Date(1e12 + (id % 10) * 1_000),
  owed: BigInt(id) * 2n ** 60n,
  tier: id % 3 === 0 ? ('gold' as const) : ('basic' as const),
})
export const ALL = Array.from({ length: 2_500 }, (_, id) => account(id))
const SHOWS = ['a,b', 'hamlet', 'ham', 'lear']
const SEATS = SHOWS.flatMap(show => [3, -2, 10].map(seat => ({ show, seat, holder: `${show}/${seat}` })))

/** @returns the position before the last change, too */
export async function openRowsWorld(): Promise<{ readonly world: World; readonly before: string }> {
  const world = await openWorld(app)
  await world.appends.append('seated', SEATS)
  const before = String((await world.appends.append('opened', ALL.slice(0, 1_000))).positions.at(-1))
  const { token } = await world.appends.append('opened', ALL.slice(1_000))
  await world.reads.wait({ after: [token] })
  return { world, before }
}

export async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const row of rows) found.push(row)
  return found
}

/** Ids of accounts, in the order of the index of city and cents, within one city. */
export const matching = (wanted: (row: ReturnType<typeof account>) => boolean): number[] =>
  ALL.filter(wanted)
    .sort((a, b) => a.cents - b.cents || a.id - b.id)
    .map(({ id }) => id)
