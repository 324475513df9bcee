import { expect, test } from 'vitest'
import { z } from 'zod'
import type { AnyRow } from '../../../core/index.ts'
import { application, min, projection, type ViewRow, type ViewRows } from '../../../projections/index.ts'
import { invoices, level, open, useWorld, world } from '../ledger.ts'

useWorld()

const ROWS = 1_500
const insert = (id: number, cents: number) => ({
  op: 'insert' as const,
  table: invoices,
  after: { id, customer: 1, cents },
})
const change = (id: number) => ({
  op: 'update' as const,
  table: invoices,
  before: { id, customer: 1, cents: id },
  after: { id, customer: 2, cents: 0 },
})
const remove = (id: number) => ({ op: 'delete' as const, table: invoices, before: { id, customer: 1, cents: id } })

const numbers = Array.from({ length: ROWS }, (_, id) => id)
const asThen = new Map(numbers.map(id => [id, { customer: 1, open: id }]))

async function rest(iterator: AsyncIterator<readonly ViewRow[]>, into: ViewRow[]): Promise<Map<unknown, AnyRow>> {
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) into.push(...next.value)
  const byKey = new Map(into.map(({ key, value }) => [key, value]))
  expect(byKey.size).toBe(into.length)
  return byKey
}

async function begin(rows: ViewRows): Promise<{ iterator: AsyncIterator<readonly ViewRow[]>; taken: ViewRow[] }> {
  const iterator = rows[Symbol.asyncIterator]()
  const { value } = await iterator.next()
  return { iterator, taken: [...(value as readonly ViewRow[])] }
}

test('all rows of now are as of one cut, whatever changes while they are read; two readers at a time', async () => {
  const engine = await open(undefined, 'one', 'views', 2)
  await world.writer.transaction(numbers.map(id => insert(id, id)))
  await level(engine)
  const first = await engine.past.rows('bills', undefined)
  expect(first).toMatchObject({ position: ROWS, rows: ROWS })
  const a = await begin(first)
  expect(a.taken.length).toBeLessThan(ROWS)
  await world.writer.transaction([...numbers.slice(0, 1_000).map(change), ...numbers.slice(1_000).map(remove)])
  await world.writer.transaction([insert(9_999, 1)])
  await level(engine)
  const second = await engine.past.rows('bills', undefined)
  const b = await begin(second)
  expect(await rest(a.iterator, a.taken)).toEqual(asThen)
  const now = await rest(b.iterator, b.taken)
  expect([now.size, second.rows, now.get(9_999), now.get(3)]).toEqual([
    1_001,
    1_001,
    { customer: 1, open: 1 },
    { customer: 2, open: 0 },
  ])
  const past = await engine.past.rows('bills', { position: ROWS })
  const c = await begin(past)
  expect([past.rows, await rest(c.iterator, c.taken)]).toEqual([ROWS, asThen])
})

test('readers beyond the limit wait for others to end, and one that leaves lets the next in', async () => {
  const engine = await open(undefined, 'one', 'views', 2)
  await world.writer.transaction(numbers.map(id => insert(id, id)))
  await level(engine)
  const [one, two] = [await engine.past.rows('bills', undefined), await engine.past.rows('bills', { position: ROWS })]
  const waiting = engine.past.rows('bills', undefined)
  const gone = new AbortController()
  const leaving = engine.past.rows('bills', undefined, { signal: gone.signal })
  gone.abort(new Error('gone'))
  await expect(leaving).rejects.toThrow('gone')
  one.close()
  const third = await waiting
  two.close()
  third.close()
  const again = await begin(await engine.past.rows('bills', { position: ROWS }))
  expect((await rest(again.iterator, again.taken)).size).toBe(ROWS)
})

test('fields that a view keeps for itself are not shown: what min and max remember, when a row was touched', async () => {
  const least = projection('least', { key: z.int(), state: z.object({ cents: z.int().nullable() }) }).on(
    invoices,
    'customer',
    { cents: min('cents') },
  )
  const touched = projection('touched', { key: z.int(), state: z.object({ n: z.int32() }), ttl: 3_600_000 }).on(
    invoices.changes,
    change => (change.after ?? change.before)?.customer ?? null,
    row => {
      row.n++
    },
  )
  const engine = await open(application('test', { views: [least, touched] }), 'two')
  await world.writer.transaction([insert(1, 30), insert(2, 20)])
  await level(engine)
  for (const at of [undefined, { position: 2 }]) {
    const shown: (readonly ViewRow[])[] = []
    for (const view of ['least', 'touched']) {
      const rows: ViewRow[] = []
      for await (const some of await engine.past.rows(view, at)) rows.push(...some)
      shown.push(rows)
    }
    expect(shown).toEqual([[{ key: 1, value: { cents: 20 } }], [{ key: 1, value: { n: 2 } }]])
  }
})
