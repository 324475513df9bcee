import { expect, test } from 'vitest'
import { z } from 'zod'
import { application, count, max, min, projection } from '../../projections/index.ts'
import { level, open, payments, useWorld, world } from './ledger.ts'

useWorld()

const extremes = projection('extremes', {
  key: z.int(),
  state: z.object({ rows: z.int32(), least: z.int().nullable(), most: z.int().nullable() }),
}).on(payments, 'invoice', { rows: count(), least: min('cents'), most: max('cents') })

const insert = (id: number, cents: number) => ({
  op: 'insert' as const,
  table: payments,
  after: { id, invoice: 5, cents },
})
const remove = (id: number, cents: number) => ({
  op: 'delete' as const,
  table: payments,
  before: { id, invoice: 5, cents },
})

test('the least and greatest of a table, whose rows came in a run, are right when rows leave', async () => {
  const engine = await open(application('extremes', { views: [extremes] }))
  const rowAfter = async (...ops: (ReturnType<typeof insert> | ReturnType<typeof remove>)[]) => {
    await world.writer.transaction(ops)
    await level(engine)
    return engine.read([{ view: 'extremes', key: 5 }]).rows[0]
  }
  expect(await rowAfter(insert(1, 100), insert(2, 7), insert(3, 7), insert(4, 300))).toEqual({
    rows: 4,
    least: 7,
    most: 300,
  })
  expect(await rowAfter(remove(2, 7), remove(4, 300))).toEqual({ rows: 2, least: 7, most: 100 })
  expect(await rowAfter(remove(3, 7))).toEqual({ rows: 1, least: 100, most: 100 })
  expect(await rowAfter(remove(1, 100))).toBeUndefined()
})
