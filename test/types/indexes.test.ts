// What `.index` and `where` take, checked by tsc: each `@ts-expect-error` is a mistake that must not compile.
import { application, projection, topic } from 'mainstem'
import { expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { Client, Entry, Page, Rows } from '../../query-api/index.ts'

const Tier = z.enum(['basic', 'gold'])
const opened = topic('opened', { key: 'id', value: z.object({ id: z.int(), show: z.string(), seat: z.int32() }) })
const spec = {
  key: z.int(),
  state: z.object({
    city: z.string().nullable(),
    open_cents: z.int(),
    since: z.date().nullable(),
    tier: Tier.default('basic'),
    owed: z.bigint(),
    tags: z.array(z.string()),
  }),
}
const accounts = projection('accounts', spec)
  .index('city', 'open_cents')
  .on(opened, 'id', s => void s.open_cents++)
  .index('tier')
const plain = projection('plain', spec).on(opened, 'id', s => void s.open_cents++)
const seats = projection('seats', {
  key: z.object({ show: z.string(), seat: z.int32() }),
  state: z.object({ holder: z.string().nullable() }),
})
  .on(opened, { show: 'show', seat: 'seat' }, () => {})
  .index('seat', 'holder')
const app = application('indexed', { views: [accounts, plain, seats] })
declare const client: Client<typeof app>

function rightUses() {
  const { accounts, seats } = client.views
  accounts.where({ city: 'Bern' })
  accounts.where({ city: null })
  accounts.where({ city: 'Bern', open_cents: 5 }, { order: 'desc', limit: 20 })
  accounts.where({ city: 'Bern', open_cents: { gte: 10_000, lt: 20_000 } })
  accounts.where({ city: { gte: 'A', lt: 'C' } })
  accounts.where({ tier: 'gold' })
  accounts.range({ from: 1, to: 100 }, { limit: 10 })
  seats.range({ prefix: { show: 'hamlet' } })
  seats.where({ seat: 1, holder: 'ada' })
  expectTypeOf(accounts.where({ tier: 'gold' })).toEqualTypeOf<Rows<number, z.output<typeof spec.state>>>()
  expectTypeOf(seats.range().page).returns.resolves.toEqualTypeOf<
    Page<{ show: string; seat: number }, { holder: string | null }>
  >()
  return async () => {
    for await (const row of seats.range())
      expectTypeOf(row).toEqualTypeOf<Entry<{ show: string; seat: number }, { holder: string | null }>>()
  }
}

function wrongUses() {
  const { accounts, plain, seats } = client.views
  // @ts-expect-error owed is in no index
  accounts.where({ owed: 1n })
  // @ts-expect-error open_cents is not the first field of any
  accounts.where({ open_cents: 5 })
  // @ts-expect-error a range is of the last field only
  accounts.where({ city: { gte: 'A' }, open_cents: 5 })
  // @ts-expect-error no index has both
  accounts.where({ city: 'Bern', tier: 'gold' })
  // @ts-expect-error a city is a text
  accounts.where({ city: 5 })
  // @ts-expect-error not a tier
  accounts.where({ tier: 'silver' })
  // @ts-expect-error null is in no range
  accounts.where({ city: { gte: null } })
  // @ts-expect-error no such bound
  accounts.where({ city: { above: 'A' } })
  // @ts-expect-error a condition is needed
  accounts.where({})
  // @ts-expect-error it has no index
  plain.where({ city: 'Bern' })
  // @ts-expect-error keys are numbers
  accounts.range({ from: 'a' })
  // @ts-expect-error a number has no prefix
  accounts.range({ prefix: 1 })
  // @ts-expect-error no such field of the key
  seats.range({ prefix: { row: 1 } })
  // @ts-expect-error there is no such field
  projection('x', spec).index('town')
  // @ts-expect-error a list has no order
  projection('x', spec).index('tags')
  // @ts-expect-error at least one field
  projection('x', spec).index()
}

test('what an index serves compiles, and nothing else', () => {
  expect([rightUses, wrongUses].every(uses => typeof uses === 'function')).toBe(true)
})

test.each([
  [['town'], "accounts.index: there is no field 'town'"],
  [['tags'], "accounts.index: 'tags' cannot be put in order"],
  [['city', 'city'], "accounts.index has the field 'city' twice"],
  [['tier'], 'accounts has the index tier twice'],
  [[], 'accounts.index needs a field'],
] as const)('an index of %j is refused where it is declared', (fields, message) => {
  const declare = accounts.index as (...fields: readonly string[]) => unknown
  expect(() => declare.call(accounts, ...fields)).toThrow(
    expect.objectContaining({ code: 'DEFINITION_INVALID', message }),
  )
})
