// The past of views of every kind: over a random log, each is at each position what a fold of the prefix gives.
import { expect, test } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, fail, type LogTopic, topic } from '../../../core/index.ts'
import { type Application, application, count, max, min, projection, sum } from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { accounts, bills, invoices, KEYS, level, open, payments, RandomTables, useWorld, world } from '../ledger.ts'

useWorld()

const clicks = topic('clicks', {
  key: 'id',
  time: 'at',
  value: z.object({ id: z.int(), user: z.string(), tags: z.array(z.int32()), at: z.date(), amount: z.bigint() }),
})

/** Keys from a function, none or several, some twice; a row that a handler deletes; random numbers and times. */
const tagged = projection('tagged', {
  key: z.int32(),
  state: z.object({
    count: z.int32(),
    total: z.bigint(),
    draw: z.number(),
    last: z.date().nullable(),
    users: z.map(z.string(), z.int32()),
  }),
}).on(
  clicks,
  click => (click.tags.length === 0 ? null : click.tags),
  (tag, click, ctx) => {
    if (click.amount === 0n) return ctx.delete()
    tag.count++
    tag.total += click.amount
    tag.draw += ctx.random()
    tag.last = new Date(ctx.timeMs)
    tag.users.set(click.user, (tag.users.get(click.user) ?? 0) + 1)
  },
)
const users = projection('users', {
  key: z.object({ user: z.string() }),
  state: z.object({ clicks: z.int32() }),
}).on(clicks, { user: 'user' }, user => {
  user.clicks++
})
/** Declared aggregates over a table: what they hide is folded along. */
const extremes = projection('extremes', {
  key: z.int(),
  state: z.object({ rows: z.int32(), cents: z.int(), least: z.int().nullable(), most: z.int().nullable() }),
}).on(payments, 'invoice', { rows: count(), cents: sum('cents'), least: min('cents'), most: max('cents') })
/** The stream of a table's changes. */
const moves = projection('moves', {
  key: z.int(),
  state: z.object({ inserts: z.int32(), moved: z.int32(), gone: z.int32() }),
}).on(
  invoices.changes,
  change => (change.after ?? change.before)?.id ?? null,
  (move, change) => {
    if (change.op === 'insert') move.inserts++
    else if (change.op === 'delete') move.gone++
    else if (change.before?.customer !== change.after?.customer) move.moved++
  },
)
/** The third of a chain, by a function that sees the key: payments and invoices → bills → accounts → ranks. */
const ranks = projection('ranks', { key: z.int(), state: z.object({ accounts: z.int32(), open: z.int() }) }).on(
  accounts,
  (account, customer) => (account.open < 0 ? null : [account.bills, customer % 3 === 0 ? account.bills : 100]),
  {
    add: (rank, account) => {
      rank.accounts++
      rank.open += account.open
    },
    remove: (rank, account) => {
      rank.accounts--
      rank.open -= account.open
    },
  },
)
/** What a handler is told of the record, where a row of another view is the cause: the transaction's end. */
const notes = projection('notes', {
  key: z.int(),
  state: z.object({ rows: z.int32(), at: z.int(), timeMs: z.number(), draw: z.number().nullable() }),
}).on(bills, 'customer', {
  add: (note, _, ctx) => {
    note.rows++
    note.at = Number(ctx.position)
    note.timeMs = ctx.timeMs
    note.draw = ctx.random()
  },
  remove: note => {
    note.rows--
    note.at = note.timeMs = 0
    note.draw = null
  },
})
const app: Application = application('kinds', {
  views: [tagged, users, extremes, moves, ranks, notes, accounts, bills],
})

/** Every key that the random log has used, by view. */
const numbers = (most: number) => Array.from({ length: most }, (_, n) => n)
const KEYS_OF: Readonly<Record<string, readonly unknown[]>> = {
  tagged: numbers(5),
  users: ['a', 'b', 'c'].map(user => ({ user })),
  extremes: numbers(KEYS),
  moves: numbers(KEYS),
  ranks: [...numbers(KEYS), 100],
  notes: numbers(KEYS),
  accounts: numbers(KEYS),
  bills: numbers(KEYS),
}

async function appendClicks(clicked: LogTopic, random: Random): Promise<void> {
  const batch = world.log.batch()
  for (let n = 0; n <= random.int(3); n++) {
    batch.event(clicked, {
      id: random.int(1_000),
      user: 'abc'[random.int(3)]!,
      tags: Array.from({ length: random.int(4) }, () => random.int(5)),
      at: new Date(1_700_000_000_000 + random.int(100_000)),
      amount: BigInt(random.int(6)),
    } as AnyRow)
  }
  await batch.commit()
}

/** Appends at random, and gives what a live engine held after each transaction, by position. */
async function liveHistory(seed: number, transactions: number) {
  const clicked = await world.log.topic(compileContract('clicks', 'topic', clicks.value, clicks.key))
  const engine = await open(app, 'live', 'live', 2)
  const tables = new RandomTables(seed)
  const random = new Random(seed)
  const rowsNow = () =>
    structuredClone(
      Object.fromEntries(
        Object.entries(KEYS_OF).map(([view, keys]) => [view, engine.read(keys.map(key => ({ view, key }))).rows]),
      ),
    )
  const history = [{ position: 0, rows: rowsNow() }]
  for (let n = 0; n < transactions; n++) {
    if (random.int(3) === 0) await appendClicks(clicked, random)
    else await world.writer.transaction(tables.transaction())
    await level(engine)
    history.push({ position: world.log.end, rows: rowsNow() })
  }
  return { history, engine, random }
}

test.each([11, 12])('each view is at each position what it was live, seed %i', async seed => {
  const { history, engine, random } = await liveHistory(seed, 120)
  for (let n = 0; n < 60; n++) {
    const position = random.int(world.log.end + 1)
    const expected = history.findLast(each => each.position <= position)!
    const view = Object.keys(KEYS_OF)[random.int(Object.keys(KEYS_OF).length)]!
    const keys = KEYS_OF[view]!
    const all = await engine.past.read(
      keys.map(key => ({ view, key })),
      { position },
    )
    expect([view, all.position, all.rows]).toEqual([view, expected.position, expected.rows[view]])
    const n = random.int(keys.length)
    const one = await engine.past.read([{ view, key: keys[n] }], { position })
    expect([view, keys[n], one.position, one.rows]).toEqual([
      view,
      keys[n],
      expected.position,
      [expected.rows[view]![n]],
    ])
  }
})

test('each step of a lineage leads to what was there live', async () => {
  const { history, engine } = await liveHistory(21, 80)
  for (const [view, keys] of Object.entries(KEYS_OF)) {
    for (const [n, key] of keys.entries()) {
      const { steps } = await engine.past.lineage(view, key, { limit: 1_000 })
      let before: AnyRow | null = null
      for (const [at, step] of steps.toReversed().entries()) {
        expect(step.before).toEqual(before)
        before = step.after
        const end = history.find(each => each.position >= step.position)!
        const next = steps.toReversed()[at + 1]
        if (next === undefined || next.position > end.position)
          expect([view, key, step.position, step.after ?? undefined]).toEqual([
            view,
            key,
            step.position,
            end.rows[view]![n],
          ])
      }
      expect(before ?? undefined).toEqual(history.at(-1)!.rows[view]![n])
    }
  }
})

test('a transaction of many blocks is there whole or not at all', async () => {
  const engine = await open(app, 'one', 'views', 2)
  const tables = new RandomTables(5)
  for (let n = 0; n < 5; n++) await world.writer.transaction(tables.transaction())
  const begin = world.log.end
  const before = await engine.past.read([{ view: 'moves', key: 500 }], { position: begin })
  const rows = Array.from({ length: 60_000 }, (_, n) => ({ id: 500 + n, customer: 1_000 + (n % 7), cents: n }))
  await world.writer.transaction(rows.map(after => ({ op: 'insert' as const, table: invoices, after })))
  const { end } = world.log
  await world.writer.transaction([{ op: 'delete', table: invoices, before: rows[0]! }])
  for (const position of [begin + 1, begin + 30_000, end - 1]) {
    const read = await engine.past.read(
      [
        { view: 'bills', key: 500 },
        { view: 'accounts', key: 1_003 },
      ],
      { position },
    )
    expect([read.position, read.rows]).toEqual([begin, [undefined, undefined]])
  }
  expect(before.rows).toEqual([undefined])
  const whole = await engine.past.read(
    [
      { view: 'bills', key: 500 },
      { view: 'bills', key: 60_499 },
    ],
    { position: end },
  )
  expect([whole.position, whole.rows]).toEqual([
    end,
    [
      { customer: 1_000, open: 0 },
      { customer: 1_000 + (59_999 % 7), open: 59_999 },
    ],
  ])
  const account = await engine.past.read([{ view: 'accounts', key: 1_000 }], { position: end })
  const mine = rows.filter(row => row.customer === 1_000)
  expect(account.rows).toEqual([{ bills: mine.length, open: mine.reduce((sum, { cents }) => sum + cents, 0) }])
  expect((await engine.past.read([{ view: 'bills', key: 500 }], { position: end + 1 })).rows).toEqual([undefined])
})

test('where a view has stopped its past goes on to be read up to there', async () => {
  const failing = projection('failing', { key: z.int(), state: z.object({ rows: z.int32() }) }).on(
    payments,
    'invoice',
    {
      add: (state, payment) => {
        if (payment.cents === 13) throw fail('STATE_INVALID', 'thirteen')
        state.rows++
      },
      remove: state => {
        state.rows--
      },
    },
  )
  const engine = await open(application('failing', { views: [failing] }))
  const insert = (id: number, cents: number) =>
    world.writer.transaction([{ op: 'insert', table: payments, after: { id, invoice: 1, cents } }])
  const good = await insert(1, 1)
  const bad = await insert(2, 13)
  await level(engine)
  expect(engine.views.get('failing')?.status().status).toBe('stopped')
  expect((await engine.past.read([{ view: 'failing', key: 1 }], { position: good })).rows).toEqual([{ rows: 1 }])
  await expect(engine.past.read([{ view: 'failing', key: 1 }], { position: bad })).rejects.toMatchObject({
    code: 'VIEW_STOPPED',
  })
})

test('what was skipped is skipped in the past too, and is there from when it was called again', async () => {
  const later = projection('later', {
    key: z.int(),
    state: z.object({ rows: z.int32(), cents: z.int() }),
    onError: 'skip',
  }).on(payments, 'invoice', {
    add: (state, payment, ctx) => {
      state.rows++
      if (payment.cents === 13 && Number(ctx.position) < 4) throw new Error('not yet')
      state.cents += payment.cents
    },
    remove: (state, payment) => {
      state.rows--
      state.cents -= payment.cents
    },
  })
  const above = projection('above', { key: z.int(), state: z.object({ cents: z.int() }) }).on(later, () => 1, {
    add: (sum, row) => {
      sum.cents += row.cents
    },
    remove: (sum, row) => {
      sum.cents -= row.cents
    },
  })
  const engine = await open(application('later', { views: [later, above] }))
  const insert = (id: number, invoice: number, cents: number) =>
    world.writer.transaction([{ op: 'insert', table: payments, after: { id, invoice, cents } }])
  await insert(1, 1, 5)
  const skipped = await insert(2, 1, 13)
  const other = await insert(3, 2, 13)
  await level(engine)
  await engine.deadLetters.redrive('later', [skipped])
  const redriven = world.log.end
  await insert(4, 1, 1)
  await level(engine)
  const at = async (position: number) => {
    const reads = [
      { view: 'later', key: 1 },
      { view: 'later', key: 2 },
      { view: 'above', key: 1 },
    ]
    const each = await Promise.all(reads.map(read => engine.past.read([read], { position })))
    return each.map(({ rows }) => rows[0])
  }
  const live = engine.read([
    { view: 'later', key: 1 },
    { view: 'later', key: 2 },
    { view: 'above', key: 1 },
  ]).rows
  expect(live).toEqual([{ rows: 3, cents: 19 }, undefined, { cents: 19 }])
  expect(await at(other)).toEqual([{ rows: 1, cents: 5 }, undefined, { cents: 5 }])
  expect(await at(redriven)).toEqual([{ rows: 2, cents: 18 }, undefined, { cents: 18 }])
  expect(await at(world.log.end)).toEqual(live)
  const { steps } = await engine.past.lineage('later', 1, { limit: 10 })
  expect(steps.map(({ topic, after }) => [topic.name, after])).toEqual([
    ['test.payments', { rows: 3, cents: 19 }],
    ['mainstem.views', { rows: 2, cents: 18 }],
    ['test.payments', { rows: 1, cents: 5 }],
    ['test.payments', { rows: 1, cents: 5 }],
  ])
})
