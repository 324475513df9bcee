// The past where history was removed, or was made by other code: what can be had is right, what cannot is said.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, type FileSystem, nodeFileSystem, topic } from '../../../core/index.ts'
import { application, type Engine, openEngine, partsOf, projection } from '../../../projections/index.ts'
import { Random } from '../../support/random.ts'
import { accounts, bills, invoices, KEYS, level, open, payments, RandomTables, useWorld, world } from '../ledger.ts'

useWorld()

const ALL = Number.POSITIVE_INFINITY
const compact = { [invoices.name]: ALL, [payments.name]: ALL }
const clicks = topic('clicks', { key: 'user', value: z.object({ user: z.string() }) })
const state = z.object({ n: z.int() })
const perUser = projection('per_user', { key: z.string(), state }).on(clicks, 'user', s => void s.n++)
const edits = projection('edits', { key: z.int(), state }).on(
  invoices.changes,
  change => (change.after ?? change.before)?.id ?? null,
  s => void s.n++,
)
const app = application('test', { views: [accounts, bills, perUser, edits] })

interface Moment {
  readonly position: number
  readonly bills: readonly (AnyRow | undefined)[]
  readonly accounts: readonly (AnyRow | undefined)[]
}

/** Many transactions at a time: segments end between writes only. */
async function randomHistory(seed: number, transactions: number, tables = new RandomTables(seed)): Promise<Moment[]> {
  const history: Moment[] = []
  for (let n = 0; n < transactions; n += 25) {
    const batch = Array.from({ length: 25 }, async () => {
      const committed = world.writer.transaction(tables.transaction())
      const expected = structuredClone(tables.expected())
      history.push({ position: await committed, ...expected })
    })
    await Promise.all(batch)
  }
  return history
}

async function click(times: number): Promise<void> {
  const known = await world.log.topic(compileContract('clicks', 'topic', clicks.value, 'user'))
  for (let n = 0; n < times; n += 50)
    await Promise.all(
      Array.from({ length: 50 }, (_, more) => {
        const batch = world.log.batch()
        batch.event(known, { user: `u${(n + more) % 2}` })
        return batch.commit()
      }),
    )
}

const read = (engine: Engine, view: string, position: number) =>
  engine.past.read(
    Array.from({ length: KEYS }, (_, key) => ({ view, key })),
    { position },
  )

test.each([1, 2])(
  'compacted tables are read as they were behind the horizon, and 410 before it, seed %i',
  async seed => {
    const history = await randomHistory(seed, 900)
    const engine = await open(app)
    await level(engine)
    // The index is made before history goes, and used after.
    await read(engine, 'bills', history[10]!.position)
    await engine.checkpoint()
    await world.log.clean({ compact })
    const horizon = world.log.base.topics.get(invoices.name)?.compactedTo ?? 0
    expect(horizon).toBeGreaterThan(history[100]!.position)
    const random = new Random(seed)
    for (const other of [engine, await open(app, 'other code', 'other', 2)]) {
      const later = history.filter(({ position }) => position >= horizon)
      for (let n = 0; n < 15; n++) {
        const moment = later[random.int(later.length)]!
        for (const view of ['bills', 'accounts'] as const)
          expect(await read(other, view, moment.position)).toMatchObject({
            position: moment.position,
            rows: moment[view],
          })
      }
      const early = { position: history[random.int(100)]!.position }
      for (const view of ['bills', 'accounts'])
        await expect(other.past.read([{ view, key: 1 }], early)).rejects.toMatchObject({
          code: 'AT_GONE',
          status: 410,
          data: { horizon: String(horizon) },
        })
      await expect(other.past.read([{ view: 'edits', key: 1 }], { position: world.log.end - 1 })).rejects.toMatchObject(
        {
          code: 'AT_GONE',
          data: { horizon: null },
        },
      )
    }
    const { steps } = await engine.past.lineage('bills', 1, { limit: 1_000 })
    expect(steps[0]?.after ?? undefined).toEqual(history.at(-1)!.bills[1])
  },
)

test('history that is compacted while it is read is gone, not half there', async () => {
  const tables = new RandomTables(5)
  await randomHistory(5, 100, tables)
  let meanwhile = async () => {}
  const fs: FileSystem = {
    ...nodeFileSystem,
    open: async (path, mode) => {
      if (path.endsWith('.rows') && mode === 'read') await meanwhile()
      return nodeFileSystem.open(path, mode)
    },
  }
  const engine = await openEngine({
    log: world.log,
    parts: partsOf(app),
    path: join(world.folder, 'read'),
    fingerprint: 'one',
    fs,
  })
  world.engines.push(engine)
  await level(engine)
  await engine.checkpoint()
  const [first, second] = await randomHistory(5, 900, tables)
  await level(engine)
  await engine.checkpoint()
  const { position } = second!
  expect(await read(engine, 'bills', position)).toMatchObject({ position, rows: second!.bills })
  meanwhile = async () => {
    meanwhile = async () => {}
    await world.log.clean({ compact })
    expect(world.log.base.topics.get(invoices.name)?.compactedTo).toBeGreaterThan(position)
  }
  await expect(engine.past.rows('bills', { position: first!.position })).rejects.toMatchObject({ code: 'AT_GONE' })
})

test('a view of events that were removed has no past any more, unless it was made of what is left', async () => {
  await click(2_000)
  const engine = await open(app)
  await level(engine)
  const at = { position: world.log.end - 1 }
  const whole = await engine.past.read([{ view: 'per_user', key: 'u0' }], at)
  expect(whole.rows[0]!['n']).toBeGreaterThan(990)
  await engine.checkpoint()
  await world.log.clean({ trim: { clicks: ALL } })
  await expect(engine.past.read([{ view: 'per_user', key: 'u1' }], at)).rejects.toMatchObject({ code: 'AT_GONE' })
  await world.stopAll()
  const left = await openEngine({
    log: world.log,
    parts: partsOf(app),
    path: join(world.folder, 'left'),
    fingerprint: 'one',
    acceptHistoryGone: ['per_user'],
  })
  world.engines.push(left)
  await level(left)
  const live = left.read([{ view: 'per_user', key: 'u0' }]).rows
  expect(live[0]!['n']).toBeLessThan(1_000)
  const now = { position: world.log.end }
  expect((await left.past.read([{ view: 'per_user', key: 'u0' }], now)).rows).toEqual(live)
})

test('what other code made cannot be read as it was', async () => {
  await randomHistory(3, 25)
  await level(await open(app, 'one'))
  await world.stopAll()
  const continued = await openEngine({
    log: world.log,
    parts: partsOf(app),
    path: join(world.folder, 'views'),
    fingerprint: 'two',
    continueFrom: ['bills', 'accounts'],
  })
  world.engines.push(continued)
  const position = world.log.end
  for (const view of ['bills', 'accounts'])
    await expect(continued.past.read([{ view, key: 1 }], { position: position - 1 })).rejects.toMatchObject({
      code: 'AT_GONE',
      detail: `up to position ${position} it was made by other code, which cannot be run again`,
    })
  expect((await continued.past.read([{ view: 'edits', key: 1 }], { position })).position).toBe(position)
})
