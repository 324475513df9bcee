import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, type Log, openEmbeddedLog } from '../../core/index.ts'
import {
  type Application,
  application,
  type Engine,
  type EngineEvent,
  openEngine,
  partsOf,
  projection,
} from '../../projections/index.ts'
import { Random } from '../support/random.ts'
import { registerTables, type TestOp, tableSource, type Writer } from '../support/table-source.ts'

const test = tableSource()
const invoices = test.table('invoices', {
  key: 'id',
  row: z.object({ id: z.int(), customer: z.int().nullable(), cents: z.int() }),
})
const payments = test.table('payments', {
  key: 'id',
  row: z.object({ id: z.int(), invoice: z.int(), cents: z.int() }),
})
const bills = projection('bills', {
  key: z.int(),
  state: z.object({ customer: z.int().nullable(), open: z.int() }),
})
  .on(invoices, 'id', {
    add: (bill, invoice) => {
      bill.customer = invoice.customer
      bill.open += invoice.cents
    },
    remove: (bill, invoice) => {
      bill.customer = null
      bill.open -= invoice.cents
    },
  })
  .on(payments, 'invoice', {
    add: (bill, payment) => {
      bill.open -= payment.cents
    },
    remove: (bill, payment) => {
      bill.open += payment.cents
    },
  })
const accounts = projection('accounts', {
  key: z.int(),
  state: z.object({ bills: z.int32(), open: z.int() }),
}).on(bills, 'customer', {
  add: (account, bill) => {
    account.bills++
    account.open += bill.open
  },
  remove: (account, bill) => {
    account.bills--
    account.open -= bill.open
  },
})
const app = application('test', { views: [accounts, bills] })

let folder: string
let log: Log
let writer: Writer
let engines: Engine[] = []
const events: EngineEvent[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-shard-'))
  log = await openEmbeddedLog({ path: join(folder, 'log') })
  writer = await registerTables(log, [invoices, payments])
  events.length = 0
})

afterEach(async () => {
  for (const engine of engines) await engine.stop()
  engines = []
  await log.close()
  await rm(folder, { recursive: true, force: true })
})

/** @param sliceMs 0 yields after each row of a checkpoint, so that everything interleaves */
async function open(definition: Application = app, fingerprint = 'one', name = 'views', sliceMs = 0): Promise<Engine> {
  const engine = await openEngine({
    log,
    parts: partsOf(definition),
    path: join(folder, name),
    fingerprint,
    checkpointIntervalMs: 3_600_000,
    sliceMs,
    onEvent: event => events.push(event),
  })
  engines.push(engine)
  return engine
}

const level = async (engine: Engine) => {
  await engine.waitFor(log.end, AbortSignal.timeout(10_000))
  await engine.cut()
}

function rowsOf(engine: Engine, view: string, keys: number): (AnyRow | undefined)[] {
  const live = engine.views.get(view)
  return Array.from({ length: keys }, (_, key) => structuredClone(live?.get(key)))
}

const KEYS = 12

/** Random transactions over two tables: inserts, updates, deletes, key changes, foreign keys that move. */
class RandomTables {
  readonly invoices = new Map<number, AnyRow>()
  readonly payments = new Map<number, AnyRow>()
  readonly #random: Random

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  transaction(): TestOp[] {
    return Array.from({ length: 1 + this.#random.int(4) }, () =>
      this.#random.int(2) === 0
        ? this.#change(invoices, this.invoices, id => ({
            id,
            customer: this.#random.int(4) === 0 ? null : this.#random.int(KEYS),
            cents: this.#random.int(1000),
          }))
        : this.#change(payments, this.payments, id => ({
            id,
            invoice: this.#random.int(KEYS),
            cents: this.#random.int(500),
          })),
    )
  }

  #change(table: TestOp['table'], rows: Map<number, AnyRow>, make: (id: number) => AnyRow): TestOp {
    const id = this.#random.int(KEYS)
    const before = rows.get(id)
    if (!before) {
      const after = make(id)
      rows.set(id, after)
      return { op: 'insert', table, after }
    }
    if (this.#random.int(3) === 0) {
      rows.delete(id)
      return { op: 'delete', table, before }
    }
    const moved = this.#random.int(4) === 0 ? this.#random.int(KEYS) : id
    const to = rows.has(moved) ? id : moved
    const after = make(to)
    rows.delete(id)
    rows.set(to, after)
    return { op: 'update', table, before, after }
  }

  /** What the views must hold, computed from the tables as they are. */
  expected(): { bills: (AnyRow | undefined)[]; accounts: (AnyRow | undefined)[] } {
    const bill = new Map<number, { customer: number | null; open: number }>()
    const at = (id: number) => {
      const found = bill.get(id) ?? { customer: null, open: 0 }
      bill.set(id, found)
      return found
    }
    for (const row of this.invoices.values()) Object.assign(at(row['id'] as number), { customer: row['customer'] })
    for (const row of this.invoices.values()) at(row['id'] as number).open += row['cents'] as number
    for (const row of this.payments.values()) at(row['invoice'] as number).open -= row['cents'] as number
    const account = new Map<number, { bills: number; open: number }>()
    for (const { customer, open: cents } of bill.values()) {
      if (customer === null) continue
      const found = account.get(customer) ?? { bills: 0, open: 0 }
      account.set(customer, { bills: found.bills + 1, open: found.open + cents })
    }
    const list = <T>(rows: Map<number, T>) => Array.from({ length: KEYS }, (_, key) => rows.get(key))
    return { bills: list(bill), accounts: list(account) }
  }
}

describe('a shard', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'folds incrementally what recomputing from the tables gives (seed %i)',
    async seed => {
      const tables = new RandomTables(seed)
      let engine = await open()
      for (let round = 0; round < 60; round++) {
        await writer.transaction(tables.transaction())
        if (round % 10 !== 9) continue
        await level(engine)
        const expected = tables.expected()
        expect(rowsOf(engine, 'bills', KEYS), `seed ${seed}, round ${round}`).toEqual(expected.bills)
        expect(rowsOf(engine, 'accounts', KEYS), `seed ${seed}, round ${round}`).toEqual(expected.accounts)
        if (round % 20 === 9) {
          // A restart continues from its checkpoint.
          await engine.stop()
          engines.length = 0
          engine = await open()
        }
      }
      const fresh = await open(app, 'one', 'fresh')
      await level(fresh)
      expect(rowsOf(engine, 'accounts', KEYS)).toEqual(rowsOf(fresh, 'accounts', KEYS))
    },
  )

  it('continues at its checkpoint, not at the beginning', async () => {
    const engine = await open()
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 2, cents: 5 } }])
    await level(engine)
    await engine.stop()
    engines = []
    const again = await open()
    expect(again.position).toBe(1)
    expect(again.views.get('accounts')?.get(2)).toEqual({ bills: 1, open: 5 })
  })

  it('rebuilds from the log when the code has changed', async () => {
    const engine = await open()
    for (let id = 0; id < 5; id++) {
      await writer.transaction([{ op: 'insert', table: invoices, after: { id, customer: 1, cents: 1 } }])
    }
    await level(engine)
    await engine.stop()
    engines = []
    const changed = await open(app, 'two')
    expect(changed.position).toBe(0)
    expect(() => changed.views.get('accounts')?.get(1)).toThrow(expect.objectContaining({ code: 'VIEW_REBUILDING' }))
    await level(changed)
    expect(changed.views.get('accounts')?.get(1)).toEqual({ bills: 5, open: 5 })
    expect(events.map(event => event.event)).toContain('rebuild-ended')
  })

  it('shows a transaction of many blocks whole or not at all', async () => {
    const engine = await open()
    const ops: TestOp[] = Array.from({ length: 100_000 }, (_, id) => ({
      op: 'insert',
      table: invoices,
      after: { id, customer: id % 2, cents: 1 },
    }))
    const done = writer.transaction(ops)
    const seen = new Set<number>()
    let finished = false
    void done.then(() => engine.waitFor(log.end, AbortSignal.timeout(10_000))).then(() => (finished = true))
    while (!finished) {
      await engine.cut()
      const [a, b] = [0, 1].map(key => engine.views.get('accounts')?.get(key)?.['bills'] ?? 0)
      expect(a).toBe(b)
      seen.add(a as number)
      await new Promise(resolve => setImmediate(resolve))
    }
    expect([...seen]).toEqual([0, 50_000])
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
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 2, cents: 5 } }])
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
    await writer.transaction([{ op: 'insert', table: invoices, after: row }])
    await writer.transaction([{ op: 'delete', table: invoices, before: row }])
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
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 0 } }])
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
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 0 } }])
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
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 50 } }])
    await level(engine)
    expect(engine.views.get('wrong')?.status().error).toMatchObject({ code: 'STATE_INVALID' })
    expect(engine.views.get('wrong')?.status().error?.detail).toContain('n: expected an int32, received 50000000000')
  })

  it('waits for a position, and gives up when told to', async () => {
    const engine = await open()
    await expect(engine.waitFor(5, AbortSignal.timeout(20))).rejects.toThrow()
    const waiting = engine.waitFor(1, AbortSignal.timeout(5_000))
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: null, cents: 0 } }])
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

describe('a checkpoint', () => {
  it('is given up for a view whose row cannot be stored, and for no other', async () => {
    const odd = projection('odd', { key: z.int(), state: z.object({ seen: z.array(z.int()) }) }).on(invoices, 'id', {
      add: (s, invoice) => {
        s.seen = [...s.seen, invoice.customer as number]
      },
      remove: s => {
        s.seen = s.seen.slice(1)
      },
    })
    const definition = application('test', { views: [bills, accounts, odd] })
    const engine = await open(definition)
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 2, cents: 5 } }])
    await level(engine)
    await engine.checkpoint()
    await writer.transaction([{ op: 'insert', table: invoices, after: { id: 2, customer: null, cents: 5 } }])
    await level(engine)
    await engine.checkpoint()
    expect(engine.views.get('odd')?.status().error?.message).toContain('seen[]: expected a safe integer, received null')
    await engine.stop()
    engines = []
    const again = await open(definition)
    await level(again)
    expect(again.views.get('accounts')?.get(2)).toEqual({ bills: 1, open: 5 })
    expect(again.views.get('bills')?.get(2)).toEqual({ customer: null, open: 5 })
  })

  it.each([11, 12, 13, 14])(
    'taken while transactions run is of one cut, and exactly what a restart needs (seed %i)',
    async seed => {
      const tables = new RandomTables(seed)
      const random = new Random(seed)
      let engine = await open()
      for (let round = 0; round < 40; round++) {
        const transactions = Array.from({ length: 1 + random.int(8) }, () => tables.transaction())
        const written = Promise.all(transactions.map(ops => writer.transaction(ops)))
        // Checkpoints fall anywhere: before, between and after these transactions, and in the midst of each other.
        const checkpoints = Array.from({ length: 3 }, async () => {
          for (let turns = random.int(6); turns > 0; turns--) await new Promise(resolve => setImmediate(resolve))
          await engine.checkpoint()
        })
        await written
        await Promise.all(checkpoints)
        if (round % 4 !== 3) continue
        // What the last checkpoint holds, without what a clean stop would add: a copy of the folder as a crash leaves it.
        await cp(join(folder, 'views'), join(folder, `crashed-${round}`), { recursive: true })
        await engine.stop()
        engines = []
        engine = await open(app, 'one', `crashed-${round}`)
        await level(engine)
        expect(rowsOf(engine, 'bills', KEYS), `seed ${seed}, round ${round}`).toEqual(tables.expected().bills)
        expect(rowsOf(engine, 'accounts', KEYS), `seed ${seed}, round ${round}`).toEqual(tables.expected().accounts)
        await engine.stop()
        engines = []
        engine = await open()
        await level(engine)
      }
    },
  )

  it('never holds half of a large transaction, whenever it is asked for', async () => {
    let engine = await open()
    const size = 30_000
    for (let round = 0; round < 4; round++) {
      const ops: TestOp[] = Array.from({ length: size }, (_, n) => ({
        op: 'insert',
        table: invoices,
        after: { id: round * size + n, customer: n % 2, cents: 1 },
      }))
      const done = writer.transaction(ops)
      let finished = false
      void done.then(() => {
        finished = true
      })
      while (!finished || engine.position < log.end) {
        await engine.checkpoint()
        await new Promise(resolve => setImmediate(resolve))
      }
      await cp(join(folder, round === 0 ? 'views' : `half-${round - 1}`), join(folder, `half-${round}`), {
        recursive: true,
      })
      await engine.stop()
      engines = []
      engine = await open(app, 'one', `half-${round}`)
      await level(engine)
      const counts = rowsOf(engine, 'accounts', 2).map(row => row?.['bills'])
      expect(counts).toEqual([((round + 1) * size) / 2, ((round + 1) * size) / 2])
    }
  })

  it('does not hold up a stop in the midst of a transaction', async () => {
    const engine = await open()
    const ops: TestOp[] = Array.from({ length: 100_000 }, (_, id) => ({
      op: 'insert',
      table: invoices,
      after: { id, customer: 1, cents: 1 },
    }))
    await writer.transaction(ops)
    const checkpoint = engine.checkpoint().catch(() => {})
    await engine.stop()
    await checkpoint
    engines = []
    const again = await open()
    await level(again)
    expect(again.views.get('accounts')?.get(1)).toEqual({ bills: 100_000, open: 100_000 })
  })
})
