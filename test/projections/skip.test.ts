import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, topic } from '../../core/index.ts'
import { application, type LocalEngine, projection, sum } from '../../projections/index.ts'
import { batchesOf } from '../support/log-batches.ts'
import { bills, invoices, KEYS, level, open, payments, RandomTables, rowsOf, useWorld, world } from './ledger.ts'

useWorld()

const insert = (table: typeof invoices | typeof payments, after: Record<string, unknown>) =>
  ({ op: 'insert', table, after }) as const
const invoice = (id: number, customer: number | null, cents: number) => ({ id, customer, cents })

/** Throws for cents of 13, after it has changed all that it can change. */
const odd = projection('odd', {
  key: z.int(),
  state: z.object({
    count: z.int32(),
    cents: z.int(),
    last: z.string().default(''),
    ids: z.array(z.int()),
    byId: z.map(z.int(), z.int()),
    seen: z.record(z.enum(['yes', 'no']), z.int32()),
  }),
  onError: 'skip',
}).on(invoices, 'customer', {
  add: (s, row) => {
    s.count++
    s.cents += row.cents
    s.last = `invoice ${row.id}`
    s.ids = [...s.ids, row.id]
    s.byId.set(row.id, row.cents)
    s.seen.yes++
    if (row.cents === 13) {
      s.byId.delete([...s.byId.keys()][0] ?? 0)
      s.byId.clear()
      s.byId.set(99, 1)
      throw new Error('thirteen')
    }
  },
  remove: (s, row) => {
    s.count--
    s.cents -= row.cents
    s.last = ''
    s.ids = s.ids.filter(id => id !== row.id)
    s.byId.delete(row.id)
    s.seen.yes--
    if (row.cents === 26) throw new Error('twenty-six')
  },
})
const app = application('test', { views: [odd, bills] })

const notes = topic('notes', { key: 'id', value: z.object({ id: z.int() }) })
const PLENTY = 1_000

/** Takes rows whose cents are no multiple of 7. @param inPlace by `update` too */
const sums = (name: string, inPlace: boolean) => {
  const check = (cents: number) => {
    if (cents % 7 === 0) throw new RangeError(`${cents} cents`)
  }
  const add = (s: { n: number; cents: number; ids: Map<number, number> }, r: { id: number; cents: number }) => {
    s.n++
    s.ids.set(r.id, r.cents)
    check(r.cents)
    s.cents += r.cents
  }
  const remove = (s: { n: number; cents: number; ids: Map<number, number> }, r: { id: number; cents: number }) => {
    s.n--
    s.cents -= r.cents
    s.ids.delete(r.id)
  }
  return projection(name, {
    key: z.int(),
    state: z.object({ n: z.int32(), cents: z.int(), ids: z.map(z.int(), z.int()) }),
    onError: 'skip',
    deadLettersMax: PLENTY,
  }).on(
    invoices,
    'customer',
    inPlace
      ? {
          add,
          remove,
          update: (s, before, after) => {
            remove(s, before)
            add(s, after)
          },
        }
      : { add, remove },
  )
}
const plain = sums('plain', false)
const inPlace = sums('inPlace', true)
/** Folds what a view that skips passes on, and skips itself. */
const staged = projection('staged', {
  key: z.int(),
  state: z.object({ n: z.int(), cents: z.int() }),
  onError: 'skip',
}).on(plain, row => row.n % 3, {
  add: (s, r) => {
    s.n++
    s.cents += r.cents
    if (r.cents % 5 === 0) throw new Error('a multiple of five')
  },
  remove: (s, r) => {
    s.n--
    s.cents -= r.cents
  },
})

const lettersOf = (engine: LocalEngine, view = 'odd') => engine.deadLetters.list(view)
const row = (engine: LocalEngine, key: number) => engine.views.get('odd')?.get(key)

describe('a view that skips', () => {
  it('has no trace of a call that throws: not in numbers, texts, arrays, maps, nor the order of their entries', async () => {
    const engine = await open(app)
    await world.writer.transaction([insert(invoices, invoice(1, 7, 5)), insert(invoices, invoice(2, 7, 6))])
    await level(engine)
    const before = row(engine, 7)
    await world.writer.transaction([insert(invoices, invoice(3, 7, 13))])
    await level(engine)
    expect(row(engine, 7)).toEqual(before)
    expect(JSON.stringify([...(row(engine, 7)!['byId'] as Map<number, number>)])).toBe('[[1,5],[2,6]]')
    expect(engine.views.get('odd')?.status()).toMatchObject({ error: null, deadLetters: { count: 1, total: 1 } })
    expect(engine.views.get('bills')?.get(3)).toEqual({ customer: 7, open: 13 })
    expect(await lettersOf(engine)).toMatchObject([
      {
        position: 3,
        topic: 'test.invoices',
        op: 'insert',
        step: 'add',
        keyText: '7',
        error: { code: 'HANDLER_FAILED', detail: expect.stringContaining('thirteen') },
      },
    ])
  })

  it('has no row that the call alone would have made', async () => {
    const engine = await open(app)
    await world.writer.transaction([insert(invoices, invoice(1, 8, 13))])
    await level(engine)
    expect(row(engine, 8)).toBeUndefined()
    expect(engine.views.get('odd')?.status().rows).toBe(0)
  })

  it('does not take out a row that did not come in: when it goes, its dead letter goes', async () => {
    const engine = await open(app)
    const skipped = invoice(1, 7, 13)
    await world.writer.transaction([insert(invoices, skipped), insert(invoices, invoice(2, 7, 5))])
    await level(engine)
    expect(await lettersOf(engine)).toHaveLength(1)
    await world.writer.transaction([{ op: 'delete', table: invoices, before: skipped }])
    await level(engine)
    expect(row(engine, 7)).toMatchObject({ count: 1, cents: 5, ids: [2] })
    expect(await lettersOf(engine)).toEqual([])
    expect(engine.views.get('odd')?.status().deadLetters).toEqual({ count: 0, total: 1 })
    await world.writer.transaction([{ op: 'delete', table: invoices, before: invoice(2, 7, 5) }])
    await level(engine)
    expect(row(engine, 7)).toBeUndefined()
    expect(engine.views.get('odd')?.status().error).toBeNull()
  })

  it('takes a row in that an update mends, and leaves one out that an update breaks', async () => {
    const engine = await open(app)
    await world.writer.transaction([insert(invoices, invoice(1, 7, 13)), insert(invoices, invoice(2, 7, 5))])
    await world.writer.transaction([
      { op: 'update', table: invoices, before: invoice(1, 7, 13), after: invoice(1, 7, 14) },
      { op: 'update', table: invoices, before: invoice(2, 7, 5), after: invoice(2, 7, 13) },
    ])
    await level(engine)
    expect(row(engine, 7)).toMatchObject({ count: 1, cents: 14, ids: [1] })
    expect(await lettersOf(engine)).toMatchObject([{ position: 4, op: 'update', step: 'add' }])
  })

  it('keeps in what could not be taken out', async () => {
    const engine = await open(app)
    await world.writer.transaction([insert(invoices, invoice(1, 7, 26))])
    await world.writer.transaction([{ op: 'delete', table: invoices, before: invoice(1, 7, 26) }])
    await level(engine)
    expect(row(engine, 7)).toMatchObject({ count: 1, cents: 26, ids: [1] })
    expect(await lettersOf(engine)).toMatchObject([{ position: 2, op: 'delete', step: 'remove' }])
  })

  it('stops with one dead letter more than it may have', async () => {
    const few = projection('few', {
      key: z.int(),
      state: z.object({ n: z.int() }),
      onError: 'skip',
      deadLettersMax: 2,
    }).on(invoices, 'id', {
      add: () => {
        throw new Error('never')
      },
      remove: () => {},
    })
    const engine = await open(application('test', { views: [few] }))
    await world.writer.transaction([1, 2].map(id => insert(invoices, invoice(id, 1, 1))))
    await level(engine)
    expect(engine.views.get('few')?.status()).toMatchObject({ error: null, deadLetters: { count: 2, total: 2 } })
    await world.writer.transaction([insert(invoices, invoice(3, 1, 1))])
    await level(engine)
    expect(engine.views.get('few')?.status().error).toMatchObject({ code: 'DEAD_LETTERS_TOO_MANY' })
  })

  it('skips a record whose key cannot be had, and one whose key cannot be one', async () => {
    const keyed = projection('keyed', { key: z.int(), state: z.object({ n: z.int() }), onError: 'skip' }).on(
      invoices,
      row => {
        if (row.cents === 13) throw new Error('no key')
        return row.cents === 14 ? [1, 0.5, 2] : row.id
      },
      {
        add: s => {
          s.n++
        },
        remove: s => {
          s.n--
        },
      },
    )
    const engine = await open(application('test', { views: [keyed] }))
    await world.writer.transaction([13, 14, 15].map((cents, n) => insert(invoices, invoice(n + 5, 1, cents))))
    await level(engine)
    const keyedRow = (key: number) => engine.views.get('keyed')?.get(key)
    expect([1, 2, 7].map(keyedRow)).toEqual([{ n: 1 }, { n: 1 }, { n: 1 }])
    expect(await lettersOf(engine, 'keyed')).toMatchObject([
      { position: 1, keyText: null, call: -1, error: { code: 'HANDLER_FAILED' } },
      { position: 2, keyText: null, call: 1, error: { code: 'KEY_INVALID' } },
    ])
    // What had no key has none when it goes.
    await world.writer.transaction(
      [13, 14].map((cents, n) => ({ op: 'delete', table: invoices, before: invoice(n + 5, 1, cents) }) as const),
    )
    await level(engine)
    expect([1, 2, 7].map(keyedRow)).toEqual([undefined, undefined, { n: 1 }])
    expect(await lettersOf(engine, 'keyed')).toEqual([])
  })
})

describe('what a view skips', () => {
  const sumsApp = application('test', { views: [plain, inPlace, staged] })

  const expectedOf = (tables: RandomTables) => {
    const rows = new Map<number, { n: number; cents: number; ids: Map<number, number> }>()
    let skipped = 0
    for (const { id, customer, cents } of tables.invoices.values() as Iterable<{
      id: number
      customer: number | null
      cents: number
    }>) {
      if (customer === null) continue
      if (cents % 7 === 0) {
        skipped++
        continue
      }
      const found = rows.get(customer) ?? { n: 0, cents: 0, ids: new Map<number, number>() }
      rows.set(customer, { n: found.n + 1, cents: found.cents + cents, ids: found.ids.set(id, cents) })
    }
    const staged = new Map<number, { n: number; cents: number }>()
    let stagedSkipped = 0
    for (const { n, cents } of rows.values()) {
      if (cents % 5 === 0) {
        stagedSkipped++
        continue
      }
      const found = staged.get(n % 3) ?? { n: 0, cents: 0 }
      staged.set(n % 3, { n: found.n + 1, cents: found.cents + cents })
    }
    const list = <T>(of: Map<number, T>) => Array.from({ length: KEYS }, (_, key) => of.get(key))
    return { rows: list(rows), skipped, staged: list(staged), stagedSkipped }
  }

  it.each([1, 2, 3, 4, 5, 6])(
    'is what a fold of the rows as they are skips, over restarts and replays too (seed %i)',
    async seed => {
      const tables = new RandomTables(seed)
      let engine = await open(sumsApp)
      for (let round = 0; round < 12; round++) {
        for (let n = 0; n < 12; n++) await world.writer.transaction(tables.transaction())
        if (round % 2 === 0) await engine.checkpoint()
        await level(engine)
        const { rows, skipped, staged: stagedRows, stagedSkipped } = expectedOf(tables)
        for (const view of ['plain', 'inPlace']) {
          expect(rowsOf(engine, view, KEYS), `seed ${seed}, round ${round}, ${view}`).toEqual(rows)
          expect(engine.views.get(view)?.status().deadLetters?.count).toBe(skipped)
        }
        expect(rowsOf(engine, 'staged', KEYS), `seed ${seed}, round ${round}`).toEqual(stagedRows)
        expect(engine.views.get('staged')?.status().deadLetters?.count).toBe(stagedSkipped)
        if (round % 3 !== 2) continue
        await engine.stop()
        world.engines = []
        engine = await open(sumsApp)
      }
      await level(engine)
      const replayed = await open(sumsApp, 'one', 'replayed')
      await level(replayed)
      for (const view of ['plain', 'inPlace', 'staged']) {
        expect(await lettersOf(replayed, view)).toEqual(await lettersOf(engine, view))
        expect(replayed.views.get(view)?.status().deadLetters).toEqual(engine.views.get(view)?.status().deadLetters)
      }
    },
  )

  it('is called again when the log says so, by a replay too, and succeeds or fails as it then does', async () => {
    // Throws while the row is empty.
    const later = projection('later', { key: z.int(), state: z.object({ n: z.int(), open: z.int() }), onError: 'skip' })
      .on(invoices, 'id', {
        add: s => {
          s.n++
        },
        remove: s => {
          s.n--
        },
      })
      .on(payments, 'invoice', {
        add: (s, payment) => {
          s.open -= payment.cents
          if (s.n === 0) throw new Error('no invoice yet')
        },
        remove: (s, payment) => {
          s.open += payment.cents
        },
      })
    const definition = application('test', { views: [later] })
    let engine = await open(definition)
    const paid = (id: number, of: number) => insert(payments, { id, invoice: of, cents: id })
    await world.writer.transaction([paid(1, 5), paid(2, 6), paid(3, 5)])
    await level(engine)
    expect((await lettersOf(engine, 'later')).map(({ position }) => position)).toEqual([1, 2, 3])
    await world.writer.transaction([insert(invoices, invoice(5, 1, 1))])
    await engine.stop()
    world.engines = []
    engine = await open(definition)
    await level(engine)
    expect(engine.views.get('later')?.get(5)).toEqual({ n: 1, open: 0 })

    await engine.deadLetters.redrive('later', [1])
    await level(engine)
    expect(engine.views.get('later')?.get(5)).toEqual({ n: 1, open: -1 })
    const { positions } = await engine.deadLetters.redrive('later')
    expect(positions).toEqual([2, 3])
    await level(engine)
    expect(engine.views.get('later')?.get(5)).toEqual({ n: 1, open: -4 })
    expect(await lettersOf(engine, 'later')).toMatchObject([{ position: 2, redriven: 1 }])
    expect(engine.views.get('later')?.status().deadLetters).toEqual({ count: 1, total: 3 })
    await expect(engine.deadLetters.redrive('later', [1])).rejects.toMatchObject({ code: 'DEAD_LETTER_UNKNOWN' })
    // What came in late goes as what came in at once.
    await world.writer.transaction([
      { op: 'delete', table: payments, before: { id: 1, invoice: 5, cents: 1 } },
      { op: 'delete', table: payments, before: { id: 2, invoice: 6, cents: 2 } },
    ])
    await level(engine)
    expect(engine.views.get('later')?.get(5)).toEqual({ n: 1, open: -3 })
    const replayed = await open(definition, 'one', 'replayed')
    await level(replayed)
    expect(rowsOf(replayed, 'later', KEYS)).toEqual(rowsOf(engine, 'later', KEYS))
    expect(await lettersOf(replayed, 'later')).toEqual(await lettersOf(engine, 'later'))
  })

  it('emits nothing', async () => {
    const log = await world.log.topic(compileContract('notes', 'topic', z.object({ id: z.int() }), 'id'))
    const noted = projection('noted', {
      key: z.int(),
      state: z.object({ n: z.int() }),
      emits: [notes],
      onError: 'skip',
    }).on(invoices, 'id', {
      add: (_s, row, ctx) => {
        ctx.emit(notes, { id: row.id })
        if (row.cents === 13) throw new Error('thirteen')
        ctx.emit(notes, { id: row.id + 100 })
      },
      remove: () => {},
    })
    const engine = await open(application('test', { views: [noted] }))
    await world.writer.transaction([1, 13, 3].map((cents, id) => insert(invoices, invoice(id, 1, cents))))
    await level(engine)
    await engine.checkpoint()
    await level(engine)
    const found = (await batchesOf(world.log)).flatMap(({ records }) => records.filter(each => each.topic === log.name))
    expect(found.map(({ after }) => after?.['id'])).toEqual([0, 100, 2, 102])
  })

  it('is held by a view of events, folded in runs, as well', async () => {
    const clicks = topic('clicks', { key: 'page', value: z.object({ page: z.string(), ms: z.int() }) })
    const log = await world.log.topic(compileContract('clicks', 'topic', clicks.value, 'page'))
    const handler = (s: { n: number; ms: number }, click: { ms: number }) => {
      s.n++
      if (click.ms % 11 === 3) throw new Error('three')
      s.ms += click.ms
    }
    const state = z.object({ n: z.int32(), ms: z.int() })
    const skipping = projection('skipping', { key: z.string(), state, onError: 'skip' }).on(clicks, 'page', handler)
    const overflow = projection('overflow', {
      key: z.string(),
      state: z.object({ all: z.int32() }),
      onError: 'skip',
    }).on(clicks, 'page', { all: sum('ms') })
    const engine = await open(application('test', { views: [skipping, overflow] }))
    const batch = world.log.batch()
    const expected = { n: 0, ms: 0 }
    for (let n = 0; n < 1_000; n++) {
      const ms = n === 500 ? 2 ** 40 : n
      batch.event(log, { page: 'a', ms })
      if (ms % 11 !== 3) {
        expected.n++
        expected.ms += ms
      }
    }
    await batch.commit()
    await level(engine)
    expect(engine.views.get('skipping')?.get('a')).toEqual(expected)
    expect(await lettersOf(engine, 'skipping')).toHaveLength(1_000 - expected.n)
    expect(engine.views.get('overflow')?.get('a')).toEqual({ all: 499_500 - 500 })
    expect(await lettersOf(engine, 'overflow')).toMatchObject([
      { position: 501, op: 'event', topic: 'clicks', keyText: 'a', error: { code: 'STATE_INVALID' } },
    ])
  })
})
