// Reads of the past that begin with rows of savepoints and kept checkpoints: the same answers as a fold from the beginning, and
// answers where that cannot be had any more.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, topic } from '../../../core/index.ts'
import { application, type Engine, openEngine, partsOf, projection } from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { accounts, app, bills, KEYS, level, open, RandomTables, useWorld, world } from '../ledger.ts'

useWorld()

interface Moment {
  readonly position: number
  readonly bills: readonly (AnyRow | undefined)[]
  readonly accounts: readonly (AnyRow | undefined)[]
}

const all = (view: string) => Array.from({ length: KEYS }, (_, key) => ({ view, key }))

async function exported(engine: Engine, view: string, position: number): Promise<(AnyRow | undefined)[]> {
  const rows: (AnyRow | undefined)[] = Array(KEYS).fill(undefined)
  for await (const some of await engine.past.rows(view, { position }))
    for (const { key, value } of some) rows[key as number] = value
  return rows
}

/** Random transactions, with savepoints and checkpoints at random places between them. */
async function historyWithBases(engine: Engine, seed: number, transactions: number) {
  const tables = new RandomTables(seed)
  const random = new Random(seed + 100)
  const history: Moment[] = [{ position: 0, bills: Array(KEYS).fill(undefined), accounts: Array(KEYS).fill(undefined) }]
  const savepoints: Moment[] = []
  for (let n = 0; n < transactions; n++) {
    const position = await world.writer.transaction(tables.transaction())
    history.push({ position, ...structuredClone(tables.expected()) })
    if (random.int(25) !== 0 && n !== 10) continue
    await engine.waitFor(position, AbortSignal.timeout(10_000))
    if (n === 10 || random.int(3) === 0) {
      await engine.savepoints.create(`at-${position}`)
      savepoints.push(history.at(-1)!)
    } else await engine.checkpoint()
  }
  return { history, savepoints, random, tables }
}

test.each([1, 2, 3, 4])(
  'with savepoints and checkpoints in between, every position reads as its prefix, seed %i',
  async seed => {
    const engine = await open(app, 'one', 'views', 2)
    const { history, random } = await historyWithBases(engine, seed, 200)
    await level(engine)
    for (let n = 0; n < 50; n++) {
      const position = random.int(world.log.end + 1)
      const moment = history.findLast(each => each.position <= position)!
      for (const view of ['bills', 'accounts'] as const) {
        const key = random.int(KEYS)
        expect((await engine.past.read([{ view, key }], { position })).rows).toEqual([moment[view][key]])
        expect(await engine.past.read(all(view), { position })).toMatchObject({
          position: moment.position,
          rows: moment[view],
        })
        if (n % 10 === 0) expect(await exported(engine, view, position)).toEqual(moment[view])
      }
    }
  },
)

test('views continued from other code answer at their savepoints, and on from the code that is theirs', async () => {
  const first = await open()
  const { history, savepoints, tables } = await historyWithBases(first, 7, 60)
  await level(first)
  await world.stopAll()
  const handedOver = world.log.end
  const continued = await openEngine({
    log: world.log,
    parts: partsOf(app),
    path: join(world.folder, 'views'),
    fingerprint: 'two',
    continueFrom: ['bills', 'accounts'],
    checkpointIntervalMs: 3_600_000,
  })
  world.engines.push(continued)
  const moments: Moment[] = []
  for (let n = 0; n < 30; n++) {
    const position = await world.writer.transaction(tables.transaction())
    moments.push({ position, ...structuredClone(tables.expected()) })
  }
  for (const view of ['bills', 'accounts'] as const) {
    for (const { position, [view]: rows } of savepoints) {
      expect((await continued.past.read(all(view), { savepoint: `at-${position}` })).rows).toEqual(rows)
    }
    const next = history.find(({ position }) => position > savepoints[0]!.position)!
    await expect(continued.past.read(all(view), next)).rejects.toMatchObject({ code: 'AT_GONE' })
    for (const { position, [view]: rows } of moments)
      expect((await continued.past.read(all(view), { position })).rows).toEqual(rows)
  }
  expect((await continued.past.read(all('bills'), { position: handedOver })).position).toBe(handedOver)
  await expect(continued.past.lineage('bills', 1, { limit: 5 })).rejects.toMatchObject({ code: 'AT_GONE' })
})

test('rows of code that is not the views own are no base', async () => {
  const doubled = projection('accounts', { key: z.int(), state: accounts.spec.state }).on(bills, 'customer', {
    add: account => {
      account.bills += 2
    },
    remove: account => {
      account.bills -= 2
    },
  })
  const other = await open(application('test', { views: [doubled, bills] }), 'other', 'other')
  await historyWithBases(other, 8, 40)
  await world.stopAll()
  const engine = await open()
  await level(engine)
  for (const { name } of await engine.savepoints.list()) {
    const { rows } = await engine.past.read(all('accounts'), { savepoint: name })
    expect(rows.some(row => row && row['open'] !== 0)).toBe(true)
  }
})

const clicks = topic('clicks', { key: 'user', value: z.object({ user: z.string() }) })
const perUser = projection('per_user', { key: z.string(), state: z.object({ n: z.int() }) }).on(
  clicks,
  'user',
  s => void s.n++,
)
const clicked = application('test', { views: [perUser] })

async function click(times: number): Promise<void> {
  const known = await world.log.topic(compileContract('clicks', 'topic', clicks.value, 'user'))
  for (let n = 0; n < times; n += 50)
    await Promise.all(
      Array.from({ length: 50 }, () => {
        const batch = world.log.batch()
        batch.event(known, { user: 'ann' })
        return batch.commit()
      }),
    )
}

test('when events were removed the savepoint still answers, and what was folded after it', async () => {
  const engine = await open(clicked)
  await click(600)
  await level(engine)
  const early = await engine.savepoints.create('early')
  await click(2_000)
  await level(engine)
  const late = await engine.savepoints.create('late')
  await click(400)
  await level(engine)
  const read = async (position: number) =>
    (await engine.past.read([{ view: 'per_user', key: 'ann' }], { position })).rows
  const before = await read(late.position + 300)
  await engine.checkpoint()
  await world.log.clean({ trim: { clicks: 2_500 } })
  const trimmedTo = world.log.base.topics.get('clicks')?.trimmedTo ?? 0
  expect(trimmedTo).toBeGreaterThan(early.position)
  expect(trimmedTo).toBeLessThanOrEqual(late.position)
  for (const [name, n] of [
    ['early', 600],
    ['late', 2_600],
  ] as const) {
    const { rows } = await engine.past.read([{ view: 'per_user', key: 'ann' }], { savepoint: name })
    expect(rows).toEqual([{ n }])
  }
  expect(await read(early.position)).toEqual([{ n: 600 }])
  expect(await read(late.position + 300)).toEqual(before)
  await expect(read(early.position + 200)).rejects.toMatchObject({ code: 'AT_GONE', status: 410 })
  // Without it nothing holds the rows any more.
  await engine.savepoints.remove('early')
  for (const name of ['more', 'and-more', 'yet-more']) {
    await click(50)
    await level(engine)
    await engine.savepoints.create(name)
  }
  await expect(read(early.position)).rejects.toMatchObject({ code: 'AT_GONE' })
})

test('a busy key is folded on from a savepoint once its records are indexed', async () => {
  const engine = await open(clicked)
  await click(500)
  await level(engine)
  const { position } = await engine.savepoints.create('then')
  await click(200)
  await level(engine)
  // The lineage makes the index.
  await engine.past.lineage('per_user', 'bob', { limit: 1 })
  for (const n of [1, 77, 200])
    expect((await engine.past.read([{ view: 'per_user', key: 'ann' }], { position: position + n })).rows).toEqual([
      { n: 500 + n },
    ])
})
