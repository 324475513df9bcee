// Replays that begin with rows of a savepoint or kept checkpoint; and what reads of the past give once rows have been exchanged.
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { type AnyRow, type FileSystem, nodeFileSystem } from '../../core/index.ts'
import { type Engine, type EngineEvent, type LocalEngine, openEngine, partsOf } from '../../projections/index.ts'
import { Random } from '../support/random.ts'
import { type CheckpointRow, tamper } from '../support/tamper.ts'
import { app, invoices, KEYS, level, open, RandomTables, replayed, rowsOf, useWorld, world } from './ledger.ts'

useWorld()
beforeEach(async () => {
  await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: APART, customer: null, cents: 100 } }])
})

interface Moment {
  readonly position: number
  readonly bills: readonly (AnyRow | undefined)[]
}

/** A bill of no account, which random transactions leave alone: once it is damaged, nothing stops because of it. */
const APART = KEYS

const billsOf = (tables: RandomTables) => [...tables.expected().bills, { customer: null, open: 100 }]

const all = (view: string) => Array.from({ length: KEYS + 1 }, (_, key) => ({ view, key }))

/** Appends random transactions; what bills are after each. */
async function append(tables: RandomTables, transactions: number): Promise<Moment[]> {
  const moments: Moment[] = []
  for (let n = 0; n < transactions; n++) {
    const position = await world.writer.transaction(tables.transaction())
    moments.push({ position, bills: structuredClone(billsOf(tables)) })
  }
  return moments
}

const expectRight = (engine: LocalEngine, tables: RandomTables) => {
  expect(rowsOf(engine, 'bills', KEYS + 1)).toEqual(billsOf(tables))
  expect(rowsOf(engine, 'accounts', KEYS)).toEqual(tables.expected().accounts)
}

async function expectPast(engine: Engine, moments: readonly Moment[]): Promise<void> {
  for (const { position, bills } of moments) {
    expect(await engine.past.read(all('bills'), { position })).toMatchObject({ position, rows: bills })
    const rows: (AnyRow | undefined)[] = Array(KEYS + 1).fill(undefined)
    for await (const some of await engine.past.rows('bills', { position }))
      for (const { key, value } of some) rows[key as number] = value
    expect(rows).toEqual(bills)
  }
}

/** The bill that nothing else touches has another sum: a bit of the low byte of its last field. */
function miscounted(rows: readonly CheckpointRow[]): readonly CheckpointRow[] {
  const { row } = rows.find(({ key }) => key.at(-1) === APART)!
  row[2] = row[2]! ^ 8
  return rows
}

const options = (fingerprint: string) => ({
  log: world.log,
  parts: partsOf(app),
  path: join(world.folder, 'views'),
  fingerprint,
  checkpointIntervalMs: 3_600_000,
  sliceMs: 2,
})

/** Stops the engine, damages rows of bills in its last checkpoint, and opens it again over them. */
async function damaged(): Promise<{ engine: LocalEngine; at: number }> {
  await world.stopAll()
  const at = world.log.end
  await tamper(join(world.folder, 'views'), 'bills', miscounted)
  const engine = await open(app, 'one', 'views', 2)
  await level(engine)
  expect(engine.views.get('bills')?.get(APART)).not.toEqual({ customer: null, open: 100 })
  return { engine, at }
}

test.each([1, 2, 3])('from any base a sound view is folded to what it is, seed %i', async seed => {
  const tables = new RandomTables(seed)
  const random = new Random(seed)
  const engine = await open(app, 'one', 'views', 2)
  await append(tables, 10)
  const positions: number[] = []
  for (let n = 0; n < 8; n++) {
    await append(tables, 1 + random.int(20))
    await level(engine)
    if (n === 0 || random.int(2) === 0) {
      positions.push((await engine.savepoints.create(`s${n}`)).position)
    } else await engine.checkpoint()
  }
  await append(tables, 5)
  await level(engine)
  for (const position of positions) {
    const report = await replayed(engine, 'accounts', { from: position })
    const from = position
    expect(report).toMatchObject({ from, base: { position }, records: report.position - from, switchedAt: null })
    expect(report.views.map(({ view, differences }) => [view, differences]).sort()).toEqual([
      ['accounts', 0],
      ['bills', 0],
    ])
    expect((await replayed(engine, 'bills', { from: position + 1 })).from).toBeGreaterThanOrEqual(position)
  }
  await expect(engine.replayer.start('bills', { from: positions[0]! - 1 })).rejects.toMatchObject({
    code: 'REPLAY_BASE_MISSING',
    detail: expect.stringContaining(`${positions[0]} (savepoint s0)`),
    data: { positions: expect.arrayContaining(positions.map(String)) },
  })
  expectRight(engine, tables)
})

test('rows damaged after the base are mended, and what was saved in between is not read any more', async () => {
  const tables = new RandomTables(11)
  const first = await open()
  const moments = await append(tables, 30)
  await level(first)
  const base = await first.savepoints.create('sound')
  moments.push(...(await append(tables, 20)))
  await level(first)
  const { engine, at } = await damaged()
  const later = await append(tables, 20)
  await level(engine)
  await engine.savepoints.create('damaged')
  later.push(...(await append(tables, 3)))
  await level(engine)
  const dry = await replayed(engine, 'bills', { from: base.position, dryRun: true })
  expect([dry.switchedAt, dry.views.some(({ differences }) => differences > 0)]).toEqual([null, true])
  const appending = append(tables, 10)
  const report = await replayed(engine, 'bills', { from: at - 1 })
  later.push(...(await appending))
  expect(report).toMatchObject({
    from: base.position,
    base: { kind: 'savepoint', name: 'sound', position: base.position },
  })
  expect(report.switchedAt).toBeGreaterThanOrEqual(report.position)
  await level(engine)
  expectRight(engine, tables)
  const before = moments.filter(({ position }) => position >= base.position)
  await expectPast(engine, [...moments.slice(0, 5), ...before, ...later])
  // The nearest before the exchange that is sound is far behind: what lies between is damaged.
  const second = await replayed(engine, 'bills', { from: report.switchedAt! - 1 })
  expect([second.base?.name, second.switchedAt]).toEqual(['sound', null])
  // After a restart too; and a later base is good again.
  await engine.checkpoint()
  await world.stopAll()
  const again = await open(app, 'one', 'views', 2)
  later.push(...(await append(tables, 5)))
  await level(again)
  await expectPast(again, [...before, ...later])
  expect((await replayed(again, 'bills', { from: report.switchedAt! - 1 })).base?.name).toBe('sound')
  const third = await replayed(again, 'bills', { from: world.log.end })
  expect(third.from).toBeGreaterThanOrEqual(report.switchedAt!)
  expect(third.views.every(({ differences }) => differences === 0)).toBe(true)
})

test('rows damaged before the base are taken as they are; from 0 they are mended, and it is no base any more', async () => {
  const tables = new RandomTables(12)
  await append(tables, 30)
  await level(await open())
  const { engine } = await damaged()
  const base = await engine.savepoints.create('damaged')
  await append(tables, 10)
  await level(engine)
  const report = await replayed(engine, 'bills', { from: base.position })
  expect(report.views.every(({ differences }) => differences === 0)).toBe(true)
  expect(rowsOf(engine, 'bills', KEYS + 1)).not.toEqual(billsOf(tables))
  await engine.checkpoint()
  expect((await replayed(engine, 'bills')).switchedAt).not.toBeNull()
  expectRight(engine, tables)
  await expect(engine.replayer.start('bills', { from: base.position })).rejects.toMatchObject({
    code: 'REPLAY_BASE_MISSING',
  })
  // Without another record, a checkpoint has what was exchanged.
  await world.stopAll()
  const again = await open(app, 'one', 'views', 2)
  await level(again)
  expectRight(again, tables)
  const sound = await again.savepoints.create('sound')
  expect((await replayed(again, 'bills', { from: sound.position })).base?.position).toBe(sound.position)
})

test('a checkpoint begun before the exchange, and written after it, is none of the mended view', async () => {
  const tables = new RandomTables(13)
  await append(tables, 30)
  await level(await open())
  await damaged()
  await world.stopAll()
  const gate = Promise.withResolvers<void>()
  let wait: Promise<void> | undefined
  const fs: FileSystem = Object.assign(Object.create(nodeFileSystem) as FileSystem, {
    open: async (...opened: Parameters<FileSystem['open']>) => {
      if (opened[1] !== 'read') await wait
      return nodeFileSystem.open(...opened)
    },
  })
  const begun = Promise.withResolvers<void>()
  const onEvent = ({ event }: EngineEvent) => {
    if (event === 'checkpoint-started') begun.resolve()
  }
  const engine = await openEngine({ ...options('one'), fs, onEvent })
  world.engines.push(engine)
  const moments = await append(tables, 10)
  await level(engine)
  wait = gate.promise
  const saved = engine.savepoints.create('begun-before')
  await begun.promise
  // Its end is a checkpoint of its own, which comes after that one.
  const running = replayed(engine, 'bills')
  const exchanged = () =>
    engine.views
      .get('bills')!
      .status()
      .continued.some(each => each.replayedFrom === 0)
  while (!exchanged()) await new Promise(resolve => setImmediate(resolve))
  expect(engine.replayer.status().state).toBe('running')
  gate.resolve()
  expect((await running).switchedAt).toBe(world.log.end)
  expect((await saved).position).toBe(world.log.end)
  moments.push(...(await append(tables, 5)))
  await level(engine)
  await expectPast(engine, moments.slice(-6))
})

test('rows of other code are no base; once they have been folded anew from 0, the past is what the log gives', async () => {
  const tables = new RandomTables(14)
  const moments = await append(tables, 30)
  const first = await open()
  await level(first)
  const former = await first.savepoints.create('former')
  moments.push(...(await append(tables, 10)))
  await level(first)
  await world.stopAll()
  await tamper(join(world.folder, 'views'), 'bills', miscounted)
  const engine = await openEngine({ ...options('two'), continueFrom: ['bills', 'accounts'] })
  world.engines.push(engine)
  moments.push(...(await append(tables, 10)))
  await level(engine)
  await expect(engine.replayer.start('bills', { from: former.position })).rejects.toMatchObject({
    code: 'REPLAY_BASE_MISSING',
  })
  await expect(engine.past.read(all('bills'), moments[0]!)).rejects.toMatchObject({ code: 'AT_GONE' })
  const { switchedAt } = await replayed(engine, 'bills')
  expect(engine.views.get('bills')?.status().continued.at(-1)).toEqual({
    position: switchedAt,
    fingerprint: 'two',
    replayedFrom: 0,
  })
  await expectPast(engine, moments)
})
