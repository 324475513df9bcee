import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { application, openEngine, partsOf, projection } from '../../projections/index.ts'
import type { TestOp } from '../support/table-source.ts'
import { accounts, app, bills, invoices, KEYS, level, open, RandomTables, rowsOf, useWorld, world } from './ledger.ts'

useWorld()

/** A row of it has as many characters as its invoice has cents. */
const large = projection('large', { key: z.int(), state: z.object({ text: z.string().nullable() }) }).on(
  invoices,
  'id',
  {
    add: (s, invoice) => {
      s.text = 'x'.repeat(invoice.cents)
    },
    remove: s => {
      s.text = null
    },
  },
)

describe('a shard', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'folds incrementally what recomputing from the tables gives (seed %i)',
    async seed => {
      const tables = new RandomTables(seed)
      let engine = await open()
      for (let round = 0; round < 60; round++) {
        await world.writer.transaction(tables.transaction())
        if (round % 10 !== 9) continue
        await level(engine)
        const expected = tables.expected()
        expect(rowsOf(engine, 'bills', KEYS), `seed ${seed}, round ${round}`).toEqual(expected.bills)
        expect(rowsOf(engine, 'accounts', KEYS), `seed ${seed}, round ${round}`).toEqual(expected.accounts)
        if (round % 20 === 9) {
          // A restart continues from its checkpoint.
          await engine.stop()
          world.engines.length = 0
          engine = await open()
        }
      }
      await world.log.sealed()
      const fresh = await open(app, 'one', 'fresh')
      await level(fresh)
      expect(rowsOf(engine, 'accounts', KEYS)).toEqual(rowsOf(fresh, 'accounts', KEYS))
    },
  )

  it('continues at its checkpoint, not at the beginning', async () => {
    const engine = await open()
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 2, cents: 5 } }])
    await level(engine)
    await engine.stop()
    world.engines = []
    const again = await open()
    expect(again.position).toBe(1)
    expect(again.views.get('accounts')?.get(2)).toEqual({ bills: 1, open: 5 })
  })

  it('rebuilds from the log when the code has changed', async () => {
    const engine = await open()
    for (let id = 0; id < 5; id++) {
      await world.writer.transaction([{ op: 'insert', table: invoices, after: { id, customer: 1, cents: 1 } }])
    }
    await level(engine)
    await engine.stop()
    world.engines = []
    const changed = await open(app, 'two')
    expect(changed.position).toBe(0)
    expect(() => changed.views.get('accounts')?.get(1)).toThrow(expect.objectContaining({ code: 'VIEW_REBUILDING' }))
    await level(changed)
    expect(changed.views.get('accounts')?.get(1)).toEqual({ bills: 5, open: 5 })
    expect(world.events.map(event => event.event)).toContain('rebuild-ended')
  })

  it('shows a transaction of many blocks whole or not at all', async () => {
    const engine = await open()
    const ops: TestOp[] = Array.from({ length: 100_000 }, (_, id) => ({
      op: 'insert',
      table: invoices,
      after: { id, customer: id % 2, cents: 1 },
    }))
    const done = world.writer.transaction(ops)
    const seen = new Map<number, number>()
    let finished = false
    void done.then(() => engine.waitFor(world.log.end, AbortSignal.timeout(10_000))).then(() => (finished = true))
    while (!finished) {
      const asked = [0, 1].map(key => ({ view: 'accounts', key })).concat({ view: 'bills', key: 99_999 })
      const { position, rows } = engine.read(asked)
      const [a, b, last] = rows
      const bills = (a?.['bills'] as number | undefined) ?? 0
      expect([b?.['bills'] ?? 0, last?.['open'] ?? 0]).toEqual([bills, bills === 0 ? 0 : 1])
      expect(position).toBe(bills === 0 ? 0 : 100_000)
      seen.set(bills, (seen.get(bills) ?? 0) + 1)
      await new Promise(resolve => setImmediate(resolve))
    }
    expect([...seen.keys()]).toEqual([0, 50_000])
    expect(engine.views.get('bills')?.status().rows).toBe(100_000)
  })

  it('answers reads of rows amidst a large transaction as they were before it', async () => {
    const engine = await open(app, 'one', 'views', 0)
    const row = (id: number, cents: number) => ({ id, customer: id % 3, cents })
    const ids = Array.from({ length: 3_000 }, (_, id) => id)
    const opsOf = (make: (id: number) => TestOp): TestOp[] => ids.map(make)
    await world.writer.transaction(opsOf(id => ({ op: 'insert', table: invoices, after: row(id, 1) })))
    await level(engine)
    await world.writer.transaction([
      ...opsOf(id =>
        id % 10 === 0
          ? { op: 'delete', table: invoices, before: row(id, 1) }
          : { op: 'update', table: invoices, before: row(id, 1), after: row(id, 2) },
      ),
      ...ids.map(id => ({ op: 'insert' as const, table: invoices, after: row(10_000 + id, 1) })),
    ])
    const sumOf = () => {
      const { rows, position } = engine.read([0, 1, 2].map(key => ({ view: 'accounts', key })))
      const [some, gone, added] = engine.read([11, 20, 10_005].map(key => ({ view: 'bills', key }))).rows
      const sum = rows.reduce((open, account) => open + (account?.['open'] as number), 0)
      return [position, sum, some?.['open'], gone?.['open'], added?.['open'], engine.views.get('bills')?.status().rows]
    }
    const seen: unknown[][] = []
    while (engine.position < world.log.end) {
      seen.push(sumOf())
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(seen.length).toBeGreaterThan(50)
    expect(new Set(seen.map(String))).toEqual(new Set([String([3_000, 3_000, 1, 1, undefined, 3_000])]))
    expect(sumOf()).toEqual([9_000, 2 * 2_700 + 3_000, 2, undefined, 1, 5_700])
    // What it kept is let go, and the next transactions fold on it.
    await world.writer.transaction([{ op: 'insert', table: invoices, after: row(20, 7) }])
    await level(engine)
    expect(engine.views.get('bills')?.get(20)).toEqual({ customer: 2, open: 7 })
  })

  it('stops a view whose handler throws, and those that fold it, and no other', async () => {
    const bad = projection('bad', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
      add: () => {
        throw new TypeError('boom')
      },
      remove: () => {},
    })
    const onBad = projection('onBad', { key: z.int(), state: z.object({ n: z.int32() }) }).on(bad, 'n', {
      add: s => void s.n++,
      remove: s => void s.n--,
    })
    const engine = await open(application('test', { views: [bills, accounts, bad, onBad] }))
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 2, cents: 5 } }])
    await level(engine)
    expect(engine.views.get('accounts')?.get(2)).toEqual({ bills: 1, open: 5 })
    for (const name of ['bad', 'onBad']) {
      expect(() => engine.views.get(name)?.get(1)).toThrow(expect.objectContaining({ code: 'VIEW_STOPPED' }))
    }
    expect(engine.views.get('bad')?.status()).toMatchObject({
      status: 'stopped',
      error: { code: 'HANDLER_FAILED', detail: 'bad.on(test.invoices).add, position 1, key 1: boom' },
    })
  })

  it('says when remove does not take out what add put in', async () => {
    const broken = projection('broken', { key: z.int(), state: z.object({ cents: z.int() }) }).on(invoices, 'id', {
      add: (s, invoice) => {
        s.cents += invoice.cents
      },
      remove: () => {},
    })
    const engine = await open(application('test', { views: [broken] }))
    const row = { id: 7, customer: null, cents: 2500 }
    await world.writer.transaction([{ op: 'insert', table: invoices, after: row }])
    await world.writer.transaction([{ op: 'delete', table: invoices, before: row }])
    await level(engine)
    expect(engine.views.get('broken')?.status().error).toMatchObject({ code: 'PROJECTION_REMOVE_NOT_INVERSE' })
  })

  it.each([
    ['Date.now()', () => Date.now()],
    // biome-ignore lint/complexity/useDateNow: it is what the handler must not do
    ['new Date()', () => new Date().getTime()],
    ['Math.random()', () => Math.random()],
    ['performance.now()', () => performance.now()],
    ['setTimeout()', () => Number(setTimeout(() => {}, 0))],
  ])('refuses %s inside a handler', async (what, impure) => {
    const view = projection('impure', { key: z.int(), state: z.object({ n: z.number() }) }).on(invoices, 'id', {
      add: s => {
        s.n = impure()
      },
      remove: () => {},
    })
    const engine = await open(application('test', { views: [view] }))
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 0 } }])
    await level(engine)
    expect(engine.views.get('impure')?.status().error).toMatchObject({ code: 'HANDLER_IMPURE' })
    expect(engine.views.get('impure')?.status().error?.message).toContain(what)
    expect(Date.now()).toBeGreaterThan(0)
  })

  it('refuses an async handler when it is declared, and a promise when it is returned', async () => {
    const state = z.object({ n: z.int32() })
    const asyncHandlers = { add: async () => {}, remove: () => {} }
    expect(() => projection('x', { key: z.int(), state }).on(invoices, 'id', asyncHandlers as never)).toThrow(
      expect.objectContaining({ code: 'HANDLER_ASYNC' }),
    )
    const thenable = { add: () => Promise.resolve(), remove: () => {} }
    const view = projection('thenable', { key: z.int(), state }).on(invoices, 'id', thenable as never)
    const engine = await open(application('test', { views: [view] }))
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 0 } }])
    await level(engine)
    expect(engine.views.get('thenable')?.status().error).toMatchObject({ code: 'HANDLER_ASYNC' })
  })

  it('refuses a value that is not of the state type, naming the field', async () => {
    const view = projection('wrong', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
      add: (s, invoice) => {
        s.n = invoice.cents * 1e9
      },
      remove: () => {},
    })
    const engine = await open(application('test', { views: [view] }))
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 50 } }])
    await level(engine)
    expect(engine.views.get('wrong')?.status().error).toMatchObject({ code: 'STATE_INVALID' })
    expect(engine.views.get('wrong')?.status().error?.detail).toContain('n: expected an int32, received 50000000000')
  })

  it('stops a view whose rows would take more memory than there may be, and no other', async () => {
    const engine = await openEngine({
      log: world.log,
      parts: partsOf(application('test', { views: [bills, accounts, large] })),
      path: join(world.folder, 'limited'),
      fingerprint: 'one',
      stateBytesMax: 8 * 2 ** 20,
    })
    world.engines.push(engine)
    for (let id = 0; id < 8; id++) {
      const after = { id, customer: 1, cents: 1_000_000 }
      await world.writer.transaction([{ op: 'insert', table: invoices, after }])
    }
    await level(engine)
    expect(engine.views.get('large')?.status().error).toMatchObject({ code: 'STATE_TOO_LARGE' })
    expect(engine.views.get('accounts')?.get(1)).toEqual({ bills: 8, open: 8_000_000 })
    expect(engine.views.get('large')?.status().stateBytes).toBe(0)
  })

  it('stops a view whose checkpoint is beyond the limit, opens the others, and goes on with more memory', async () => {
    const openWith = async (megabytes: number) => {
      const engine = await openEngine({
        log: world.log,
        parts: partsOf(application('test', { views: [bills, accounts, large] })),
        path: join(world.folder, 'limited'),
        fingerprint: 'one',
        stateBytesMax: megabytes * 2 ** 20,
      })
      world.engines.push(engine)
      await level(engine)
      return engine
    }
    for (let id = 0; id < 8; id++) {
      const after = { id, customer: 1, cents: 1_000_000 }
      await world.writer.transaction([{ op: 'insert', table: invoices, after }])
    }
    const first = await openWith(64)
    expect(first.views.get('large')?.status().stateBytes).toBeGreaterThan(8_000_000)
    await world.stopAll()
    const limited = await openWith(8)
    expect(limited.views.get('large')?.status().error).toMatchObject({ code: 'STATE_TOO_LARGE' })
    expect(limited.views.get('accounts')?.get(1)).toEqual({ bills: 8, open: 8_000_000 })
    await world.stopAll()
    const again = await openWith(64)
    expect(again.views.get('large')?.get(7)).toEqual({ text: 'x'.repeat(1_000_000) })
  })

  it('waits for a position, and gives up when told to', async () => {
    const engine = await open()
    await expect(engine.waitFor(5, AbortSignal.timeout(20))).rejects.toThrow()
    const waiting = engine.waitFor(1, AbortSignal.timeout(20_000))
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 0 } }])
    await waiting
    expect(engine.position).toBe(1)
  })
})

describe('an application', () => {
  it('orders views after those they fold, and refuses circles, strangers and double names', () => {
    expect(partsOf(app).projections.map(view => view.name)).toEqual(['bills', 'accounts'])
    expect(() => application('x', { views: [accounts] })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }),
    )
    const twin = projection('bills', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
      add: s => void s.n++,
      remove: s => void s.n--,
    })
    expect(() => application('x', { views: [bills, twin] })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }),
    )
  })
})
