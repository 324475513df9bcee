import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { application, type LocalEngine, openEngine, partsOf, projection } from '../../projections/index.ts'
import {
  accounts,
  app,
  bills,
  invoices,
  KEYS,
  level,
  open,
  payments,
  RandomTables,
  replayed,
  rowsOf,
  useWorld,
  world,
} from './ledger.ts'

useWorld()

/** The same views, by code that counted wrong; its rows are what a checkpoint has. */
const wrongBills = projection('bills', { key: z.int(), state: bills.spec.state })
  .on(invoices, 'id', {
    add: (bill, invoice) => {
      bill.customer = invoice.customer
      bill.open += 2 * invoice.cents
    },
    remove: (bill, invoice) => {
      bill.customer = null
      bill.open -= 2 * invoice.cents
    },
  })
  .on(payments, payment => (payment.cents % 5 === 0 ? null : payment.invoice), {
    add: (bill, payment) => {
      bill.open -= payment.cents
    },
    remove: (bill, payment) => {
      bill.open += payment.cents
    },
  })
const wrongAccounts = projection('accounts', { key: z.int(), state: accounts.spec.state }).on(wrongBills, 'customer', {
  add: (account, bill) => {
    account.bills++
    account.open += bill.open
  },
  remove: (account, bill) => {
    account.bills--
    account.open -= bill.open
  },
})
const wrong = application('test', { views: [wrongAccounts, wrongBills] })

async function append(tables: RandomTables, transactions: number): Promise<void> {
  for (let n = 0; n < transactions; n++) await world.writer.transaction(tables.transaction())
}

/** Views whose rows were made by the wrong code, continued by the right one. */
async function continuedWrongly(tables: RandomTables): Promise<LocalEngine> {
  await append(tables, 60)
  await level(await open(wrong, 'wrong'))
  await world.stopAll()
  const engine = await openEngine({
    log: world.log,
    parts: partsOf(app),
    path: join(world.folder, 'views'),
    fingerprint: 'right',
    continueFrom: ['bills', 'accounts'],
    checkpointIntervalMs: 3_600_000,
    sliceMs: 2,
  })
  world.engines.push(engine)
  await level(engine)
  return engine
}

const expectRight = (engine: LocalEngine, tables: RandomTables) => {
  expect(rowsOf(engine, 'bills', KEYS)).toEqual(tables.expected().bills)
  expect(rowsOf(engine, 'accounts', KEYS)).toEqual(tables.expected().accounts)
}

test('rows that differ are exchanged at a cut, with those of the views that fold them; appends go on', async () => {
  // Of this seed the first transactions stop no view, though its rows are wrong: however late the exchange comes, there is one.
  const tables = new RandomTables(8)
  const engine = await continuedWrongly(tables)
  expect(rowsOf(engine, 'bills', KEYS)).not.toEqual(tables.expected().bills)
  const running = replayed(engine, 'bills')
  const appending = append(tables, 12)
  const report = await running
  expect(report).toMatchObject({ from: 0, base: null })
  expect(report.switchedAt).toBeGreaterThanOrEqual(report.position)
  expect(report.views.map(({ view }) => view).sort()).toEqual(['accounts', 'bills'])
  expect(report.views.every(({ differences }) => differences > 0)).toBe(true)
  await appending
  await append(tables, 28)
  await level(engine)
  expectRight(engine, tables)
  expect(engine.views.get('bills')?.status().rows).toBe(tables.expected().bills.filter(Boolean).length)
  // Nothing of it is lost in a checkpoint, and what is folded after it is right.
  await world.stopAll()
  const again = await open(app, 'right', 'views', 2)
  await append(tables, 20)
  await level(again)
  expectRight(again, tables)
  const second = await replayed(again, 'accounts')
  expect(second.views.map(({ differences }) => differences)).toEqual([0, 0])
  expect(second.switchedAt).toBeNull()
})

test('a dry run only compares', async () => {
  const tables = new RandomTables(2)
  const engine = await continuedWrongly(tables)
  const before = rowsOf(engine, 'bills', KEYS)
  const running = replayed(engine, 'bills', { dryRun: true })
  await expect(engine.replayer.start('bills')).rejects.toThrow('a replay is running')
  const report = await running
  expect(report.switchedAt).toBeNull()
  expect(report.views.some(({ differences }) => differences > 0)).toBe(true)
  expect(rowsOf(engine, 'bills', KEYS)).toEqual(before)
})

test('what cannot be replayed is refused', async () => {
  const engine = await open()
  await expect(engine.replayer.start('none')).rejects.toThrow("there is no view 'none'")
  await expect(engine.replayer.start('bills', { from: 5 })).rejects.toMatchObject({
    code: 'REPLAY_BASE_MISSING',
    data: { positions: [] },
  })
  await world.stopAll()
  await expect(engine.replayer.start('bills')).rejects.toThrow('shutting down')
})
