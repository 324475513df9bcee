import { expect, test } from 'vitest'
import type { AnyRow } from '../../../core/index.ts'
import type { Engine } from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { app, KEYS, level, open, payments, RandomTables, rowsOf, useWorld, world } from '../ledger.ts'

useWorld()

/** What the views held at each end of a transaction. */
type History = { position: number; bills: (AnyRow | undefined)[]; accounts: (AnyRow | undefined)[] }[]

async function randomHistory(seed: number, transactions: number): Promise<History> {
  const tables = new RandomTables(seed)
  const history: History = [{ position: 0, bills: Array(KEYS).fill(undefined), accounts: Array(KEYS).fill(undefined) }]
  for (let n = 0; n < transactions; n++) {
    const position = await world.writer.transaction(tables.transaction())
    history.push({ position, ...tables.expected() })
  }
  return history
}

const stateAt = (history: History, position: number) => history.findLast(each => each.position <= position)!

async function rowsAt(engine: Engine, view: string, position: number) {
  const reads = Array.from({ length: KEYS }, (_, key) => ({ view, key }))
  return engine.past.read(reads, { position })
}

test.each([1, 2, 3])('at a position a view is the fold of the prefix, seed %i', async seed => {
  const history = await randomHistory(seed, 150)
  const engine = await open(app, 'one', 'views', 2)
  await level(engine)
  const random = new Random(seed)
  for (let n = 0; n < 40; n++) {
    const position = random.int(world.log.end + 1)
    const expected = stateAt(history, position)
    for (const view of ['bills', 'accounts'] as const) {
      const read = await rowsAt(engine, view, position)
      expect(read).toEqual({ position: expected.position, final: false, rows: expected[view] })
    }
  }
})

test('one key and many keys of several views give the same', async () => {
  const history = await randomHistory(9, 100)
  const engine = await open()
  const { position } = history[60]!
  const both = await engine.past.read(
    [
      { view: 'accounts', key: 3 },
      { view: 'bills', key: 5 },
    ],
    { position },
  )
  expect(both.rows).toEqual([history[60]!.accounts[3], history[60]!.bills[5]])
})

test('a lineage ends with the live row, and each step leads to what was there at its position', async () => {
  const history = await randomHistory(4, 120)
  const engine = await open()
  await level(engine)
  for (const view of ['bills', 'accounts'] as const) {
    const live = rowsOf(engine, view, KEYS)
    for (let key = 0; key < KEYS; key++) {
      const { steps, more, position } = await engine.past.lineage(view, key, { limit: 1_000 })
      expect(more).toBe(false)
      expect(position).toBe(world.log.end)
      if (steps.length === 0) {
        expect(live[key]).toBeUndefined()
        continue
      }
      expect(steps[0]!.after ?? undefined).toEqual(live[key])
      expect(steps.at(-1)!.before).toBeNull()
      for (const [n, step] of steps.entries()) {
        if (n > 0) expect(step.after).toEqual(steps[n - 1]!.before)
        const end = history.find(each => each.position >= step.position)!
        const lastOfTransaction = n === 0 || steps[n - 1]!.position > end.position
        if (lastOfTransaction) expect(step.after ?? undefined).toEqual(end[view][key])
      }
    }
  }
})

test('at a savepoint a view is what it was when that was made', async () => {
  const history = await randomHistory(6, 40)
  const engine = await open()
  await level(engine)
  const { position } = await engine.savepoints.create('then')
  await world.writer.transaction([{ op: 'insert', table: payments, after: { id: 9_999, invoice: 1, cents: 1 } }])
  const reads = Array.from({ length: KEYS }, (_, key) => ({ view: 'accounts', key }))
  const read = await engine.past.read(reads, { savepoint: 'then' })
  expect(read).toMatchObject({ position, rows: history.at(-1)!.accounts })
  await expect(engine.past.read(reads, { savepoint: 'never' })).rejects.toMatchObject({ code: 'SAVEPOINT_UNKNOWN' })
})
