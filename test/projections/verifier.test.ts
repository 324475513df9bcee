import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  application,
  type Engine,
  openEngine,
  partsOf,
  projection,
  type VerifyReport,
  type VerifyStatus,
} from '../../projections/index.ts'
import type { TestOp } from '../support/table-source.ts'
import { type CheckpointRow, tamper } from '../support/tamper.ts'
import { accounts, app, bills, invoices, level, open, payments, RandomTables, useWorld, world } from './ledger.ts'

useWorld()

const turn = () => new Promise(resolve => setImmediate(resolve))

async function ended(engine: Engine): Promise<VerifyStatus> {
  while (engine.verifier.status().state === 'running') await turn()
  return engine.verifier.status()
}

async function verify(engine: Engine, views?: readonly string[]): Promise<VerifyReport> {
  engine.verifier.start(views)
  const { report, error } = await ended(engine)
  if (!report) throw new Error(`failed: ${JSON.stringify(error)}`)
  return report
}

const equalityOf = ({ views }: VerifyReport) => Object.fromEntries(views.map(({ view, equal }) => [view, equal]))

/** Stops the engines, changes a checkpoint as no code of ours would, and starts again from it. */
async function tampered(change: (rows: readonly CheckpointRow[]) => readonly CheckpointRow[]): Promise<Engine> {
  await world.stopAll()
  await cp(join(world.folder, 'views'), join(world.folder, 'tampered'), { recursive: true })
  await tamper(join(world.folder, 'tampered'), 'bills', change)
  const engine = await open(app, 'one', 'tampered')
  await level(engine)
  return engine
}

async function fill(transactions: number, seed = 1): Promise<RandomTables> {
  const tables = new RandomTables(seed)
  for (let n = 0; n < transactions; n++) await world.writer.transaction(tables.transaction())
  return tables
}

describe('a verification', () => {
  it.each([21, 22, 23])('finds views equal at a cut, while transactions go on (seed %i)', async seed => {
    const tables = await fill(100, seed)
    const engine = await open()
    await level(engine)
    let running = true
    let rounds = 0
    const writing = (async () => {
      while (running) await Promise.all(Array.from({ length: 5 }, () => world.writer.transaction(tables.transaction())))
    })()
    while (rounds++ < 8) {
      const from = engine.position
      const report = await verify(engine)
      expect(equalityOf(report), `seed ${seed}, round ${rounds}`).toEqual({ accounts: true, bills: true })
      expect(report.position).toBeGreaterThanOrEqual(from)
      for (const { hash, refoldedHash } of report.views) expect(hash).toBe(refoldedHash)
      if (rounds % 3 === 0) await engine.checkpoint()
    }
    running = false
    await writing
    await level(engine)
    // The same rows have the same hash, in whatever places they lie: here they come from a checkpoint.
    const before = await verify(engine)
    await world.stopAll()
    const again = await open()
    await level(again)
    const after = await verify(again)
    expect(after.views.map(({ hash }) => hash)).toEqual(before.views.map(({ hash }) => hash))
  })

  it('sees rows as they were at its cut, however they change while it compares', async () => {
    const rows = 4_000
    const ops = (op: 'insert' | 'update', cents: number): TestOp[] =>
      Array.from({ length: rows }, (_, id) => {
        const after = { id, customer: id % 7, cents }
        const before = { id, customer: id % 7, cents: cents - 1 }
        return op === 'insert' ? { op, table: invoices, after } : { op, table: invoices, before, after }
      })
    await world.writer.transaction(ops('insert', 0))
    const engine = await open(app, 'one', 'views', 0)
    await level(engine)
    engine.verifier.start(['bills'])
    let cents = 0
    while (engine.verifier.status().state === 'running') await world.writer.transaction(ops('update', ++cents))
    expect(cents).toBeGreaterThan(0)
    const { report } = engine.verifier.status()
    expect(report?.views[0]).toMatchObject({ equal: true, rows })
  })

  it('finds a row that was changed, one that is missing and one too many, and names the smallest key', async () => {
    await world.writer.transaction(
      [1, 2, 3].map(id => ({ op: 'insert', table: invoices, after: { id, customer: 9, cents: id } })),
    )
    await level(await open())
    const changed = await tampered(([first, second, third]) => [first!, { ...second!, row: third!.row }, third!])
    const report = await verify(changed)
    expect(equalityOf(report)).toEqual({ accounts: true, bills: false })
    const found = report.views.find(({ view }) => view === 'bills')
    expect(found).toMatchObject({
      differences: 1,
      rows: 3,
      first: {
        key: 2,
        live: { value: { customer: 9, open: 3 }, support: 1 },
        refolded: { value: { customer: 9, open: 2 }, support: 1 },
        // It folds two tables.
        lastRecord: null,
      },
    })
    expect(found?.hash).not.toBe(found?.refoldedHash)
    const missing = await tampered(rows => rows.slice(1))
    expect((await verify(missing, ['bills'])).views[0]).toMatchObject({
      equal: false,
      rows: 2,
      first: { key: 1, live: null, refolded: { value: { open: 1 } } },
    })
  })

  it('names the last record that went to the key, where one input makes the view', async () => {
    const latest = projection('latest', { key: z.int(), state: z.object({ cents: z.int().nullable() }) }).on(
      invoices.changes,
      change => (change.after ?? change.before)?.customer ?? null,
      (s, change) => {
        s.cents = change.after?.cents ?? null
      },
    )
    const definition = application('test', { views: [latest] })
    for (const id of [1, 2, 3, 4])
      await world.writer.transaction([{ op: 'insert', table: invoices, after: { id, customer: id % 2, cents: id } }])
    await world.writer.transaction([{ op: 'insert', table: payments, after: { id: 1, invoice: 1, cents: 1 } }])
    await level(await open(definition))
    await world.stopAll()
    await tamper(join(world.folder, 'views'), 'latest', ([zero, one]) => [{ ...zero!, row: one!.row }, one!])
    const engine = await open(definition)
    const { views } = await verify(engine)
    expect(views[0]).toMatchObject({ equal: false, first: { key: 0, lastRecord: 4 } })
  })

  it('waits for views that are made anew, and says of stopped ones why they are not verified', async () => {
    await fill(50)
    const bad = projection('bad', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
      add: () => {
        throw new TypeError('boom')
      },
      remove: () => {},
    })
    const engine = await open(application('test', { views: [bills, accounts, bad] }))
    const report = await verify(engine)
    expect(report.position).toBe(world.log.end)
    expect(equalityOf(report)).toEqual({ bills: true, accounts: true, bad: null })
    expect(report.views.find(({ view }) => view === 'bad')?.error).toMatchObject({ code: 'HANDLER_FAILED' })
  })

  it('does not verify where history is gone, or rows come in another order', async () => {
    const sums = projection('sums', { key: z.int(), state: z.object({ share: z.number() }) }).on(invoices, 'customer', {
      add: (s, invoice) => {
        s.share += invoice.cents / 3
      },
      remove: (s, invoice) => {
        s.share -= invoice.cents / 3
      },
    })
    const edits = projection('edits', { key: z.int(), state: z.object({ cents: z.int().nullable() }) }).on(
      invoices.changes,
      change => (change.after ?? change.before)?.id ?? null,
      (s, change) => {
        s.cents = change.after?.cents ?? null
      },
    )
    const tables = new RandomTables(5)
    for (let n = 0; n < 900; n += 25)
      await Promise.all(Array.from({ length: 25 }, () => world.writer.transaction(tables.transaction())))
    const engine = await open(application('test', { views: [bills, accounts, sums, edits] }))
    await level(engine)
    await engine.checkpoint()
    const all = Number.POSITIVE_INFINITY
    expect((await world.log.clean({ compact: { [invoices.name]: all, [payments.name]: all } })).to).toBeGreaterThan(0)
    const report = await verify(engine)
    expect(equalityOf(report)).toEqual({ bills: true, accounts: true, sums: null, edits: null })
    const errors = report.views.flatMap(({ error }) => (error ? [error.code] : []))
    expect(errors).toEqual(['VIEW_HISTORY_GONE', 'VIEW_HISTORY_GONE'])
  })

  it('takes no memory from the live views, and fits into half of what they leave', async () => {
    const texts = projection('texts', { key: z.int(), state: z.object({ text: z.string().default('') }) }).on(
      invoices,
      'id',
      {
        add: (s, invoice) => {
          s.text = 'x'.repeat(invoice.cents)
        },
        remove: s => {
          s.text = ''
        },
      },
    )
    const engine = await openEngine({
      log: world.log,
      parts: partsOf(application('test', { views: [texts] })),
      path: join(world.folder, 'limited'),
      fingerprint: 'one',
      stateBytesMax: 24 * 2 ** 20,
    })
    world.engines.push(engine)
    for (let id = 0; id < 8; id++)
      await world.writer.transaction([{ op: 'insert', table: invoices, after: { id, customer: 1, cents: 1_000_000 } }])
    await level(engine)
    const { views } = await verify(engine)
    expect(views[0]).toMatchObject({ equal: null, error: { code: 'STATE_TOO_LARGE' } })
    expect(engine.views.get('texts')?.status().error).toBeNull()
  })

  it('refuses a second one, unknown views, and ends with the engine', async () => {
    await fill(200)
    const engine = await open()
    expect(engine.verifier.status()).toEqual({ state: 'idle', progress: null, report: null, error: null })
    expect(() => engine.verifier.start(['nobody'])).toThrow(expect.objectContaining({ code: 'VIEW_UNKNOWN' }))
    expect(engine.verifier.start()).toMatchObject({ state: 'running', progress: { done: 0 } })
    expect(() => engine.verifier.start()).toThrow(expect.objectContaining({ code: 'OVERLOADED' }))
    await world.stopAll()
    expect(engine.verifier.status()).toMatchObject({ state: 'failed', error: { code: 'SHUTTING_DOWN' } })
    expect(() => engine.verifier.start()).toThrow(expect.objectContaining({ code: 'SHUTTING_DOWN' }))
  })
})
