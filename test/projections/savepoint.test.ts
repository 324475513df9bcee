import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { nodeFileSystem } from '../../core/index.ts'
import {
  type Application,
  application,
  checkUsable,
  findSavepoint,
  type LocalEngine,
  openEngine,
  partsOf,
  projection,
  type Savepoint,
  type ViewPlan,
} from '../../projections/index.ts'
import { Random } from '../support/random.ts'
import { accounts, app, bills, invoices, KEYS, level, RandomTables, rowsOf, useWorld, world } from './ledger.ts'

useWorld()

interface Start {
  readonly definition?: Application
  readonly fingerprint?: string
  readonly savepoint?: Savepoint
  readonly continueFrom?: readonly string[]
}

async function start({ definition = app, fingerprint = 'one', savepoint, continueFrom = [] }: Start = {}) {
  await world.stopAll()
  world.events.length = 0
  const engine = await openEngine({
    log: world.log,
    parts: partsOf(definition),
    path: join(world.folder, 'views'),
    fingerprint,
    continueFrom,
    ...(savepoint ? { savepoint } : {}),
    checkpointIntervalMs: 3_600_000,
    sliceMs: 0,
    onEvent: event => world.events.push(event),
  })
  world.engines.push(engine)
  return engine
}

const folder = () => join(world.folder, 'savepoints')
const found = (name: string) => findSavepoint(nodeFileSystem, folder(), name)
const all = (engine: LocalEngine) => ({
  bills: rowsOf(engine, 'bills', KEYS),
  accounts: rowsOf(engine, 'accounts', KEYS),
})
const hashes = (engine: LocalEngine) => [...engine.views.values()].map(view => view.status().checkpoint)

function plans(): Record<string, Pick<ViewPlan, 'plan' | 'from' | 'why'>> {
  const [first] = world.events
  if (first?.event !== 'start-plan') throw new Error(`the first event is ${first?.event}`)
  return Object.fromEntries(first.views.map(({ view, plan, from, why }) => [view, { plan, from, why }]))
}

describe('a savepoint', () => {
  it.each([1, 2, 3])('brings back what was, and the log after it is folded again (seed %i)', async seed => {
    const tables = new RandomTables(seed)
    const random = new Random(seed)
    let engine = await start()
    for (let n = 0; n < 60; n++) await world.writer.transaction(tables.transaction())
    await level(engine)
    const at = engine.position
    const [before, expected] = [all(engine), tables.expected()]
    // Rows that change while it is made are in it as they were.
    const making = engine.savepoints.create('monday')
    const rest = Array.from({ length: 1 + random.int(40) }, () => world.writer.transaction(tables.transaction()))
    const made = await making
    await Promise.all(rest)
    expect(made.position).toBeGreaterThanOrEqual(at)
    expect(made.views['bills']!.rows).toBeGreaterThan(0)
    await level(engine)
    const now = all(engine)
    expect(now).toEqual(tables.expected())
    if (made.position === at) expect(before).toEqual(expected)

    engine = await start({ savepoint: await found('monday') })
    const back = { plan: 'savepoint', from: made.position, why: "savepoint 'monday'" }
    expect(plans()).toEqual({ bills: back, accounts: back })
    await level(engine)
    expect(all(engine)).toEqual(now)
    await engine.checkpoint()
    const saved = hashes(engine)
    // What is there now is the newest checkpoint, and there is no older one to fall back to.
    engine = await start()
    expect(plans()['bills']).toMatchObject({ plan: 'unchanged', from: world.log.end })
    expect(hashes(engine)).toEqual(saved)
    expect(engine.views.get('bills')?.status().continued).toEqual([
      { position: made.position, fingerprint: 'one', savepoint: 'monday' },
    ])
    // The same rows have the same hash, from wherever they come.
    engine = await start({ fingerprint: 'two' })
    await level(engine)
    await engine.checkpoint()
    expect(hashes(engine)).toEqual(saved)
  })

  it('is what a rollback of code goes back to, and other code goes on from it only where it is told to', async () => {
    const counted = (by: number) =>
      application('test', {
        views: [
          projection('counted', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'customer', {
            add: s => {
              s.n += by
            },
            remove: s => {
              s.n -= by
            },
          }),
        ],
      })
    const insert = (id: number) =>
      world.writer.transaction([{ op: 'insert', table: invoices, after: { id, customer: 1, cents: 1 } }])
    const n = (engine: LocalEngine) => engine.views.get('counted')?.get(1)?.['n']
    let engine = await start({ definition: counted(1) })
    await insert(1)
    await level(engine)
    await engine.savepoints.create('before')
    engine = await start({ definition: counted(10), fingerprint: 'two' })
    await insert(2)
    await level(engine)
    expect(n(engine)).toBe(20)
    const savepoint = await found('before')
    const other = { definition: counted(10), fingerprint: 'two', savepoint }
    await expect(start(other)).rejects.toMatchObject({
      code: 'VIEW_CANNOT_CONTINUE',
      message: "view 'counted' is of other code than savepoint 'before'",
      detail: 'code of the application changed, not its own definition',
    })
    engine = await start({ ...other, continueFrom: ['counted'] })
    expect(plans()['counted']).toMatchObject({ plan: 'savepoint', from: 1, why: expect.stringContaining('changed') })
    await level(engine)
    expect(n(engine)).toBe(11)
    engine = await start({ definition: counted(1), savepoint })
    await level(engine)
    expect(n(engine)).toBe(2)
  })

  it('has a name that is free, is listed, shown and deleted', async () => {
    const engine = await start()
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 1, cents: 5 } }])
    await level(engine)
    const { savepoints } = engine
    expect(await savepoints.list()).toEqual([])
    const made = await savepoints.create('a.b-1')
    expect(made).toMatchObject({ name: 'a.b-1', position: 1, logId: world.log.id, views: { bills: { rows: 1 } } })
    expect(made.views['bills']?.fields).toEqual([...partsFields()])
    expect(await readdir(folder())).toEqual(['a.b-1.savepoint'])
    await expect(savepoints.create('a.b-1')).rejects.toMatchObject({ code: 'SAVEPOINT_EXISTS' })
    for (const name of ['', '../x', 'a/b', '.hidden', 'x'.repeat(101), 'ü', 'x.savepoint'])
      await expect(savepoints.create(name), name).rejects.toMatchObject({ code: 'SAVEPOINT_NAME_INVALID' })
    await expect(savepoints.get('none')).rejects.toMatchObject({ code: 'SAVEPOINT_UNKNOWN' })
    await expect(savepoints.remove('none')).rejects.toMatchObject({ code: 'SAVEPOINT_UNKNOWN' })
    const second = savepoints.create('second')
    while (!savepoints.status().running) await new Promise(resolve => setImmediate(resolve))
    await expect(savepoints.create('third')).rejects.toMatchObject({ code: 'OVERLOADED' })
    await second
    expect(savepoints.status()).toEqual({ running: null, last: { name: 'second', error: null } })
    expect((await savepoints.list()).map(({ name }) => name)).toEqual(['a.b-1', 'second'])
    await savepoints.remove('second')
    expect((await savepoints.list()).map(({ name }) => name)).toEqual(['a.b-1'])
  })

  it('that is damaged, of another log or from beyond its end is refused, and nothing is changed', async () => {
    const engine = await start()
    for (let id = 0; id < 50; id++)
      await world.writer.transaction([{ op: 'insert', table: invoices, after: { id, customer: id % 3, cents: id } }])
    await level(engine)
    const savepoint = await engine.savepoints.create('good')
    expect(() => checkUsable(savepoint, { id: 'other', end: 100 })).toThrow(/cannot be used/)
    expect(() => checkUsable(savepoint, { id: world.log.id, end: 49 })).toThrow(
      expect.objectContaining({ code: 'SAVEPOINT_UNUSABLE', detail: expect.stringContaining('the log ends at 49') }),
    )
    const bytes = await readFile(savepoint.path)
    const random = new Random(1)
    let loads = 0
    for (let n = 0; n < 60; n++) {
      const hurt = Buffer.from(bytes)
      hurt[random.int(hurt.length)]! ^= 1 << random.int(8)
      const path = join(folder(), 'hurt.savepoint')
      await writeFile(path, n % 5 === 0 ? hurt.subarray(0, random.int(hurt.length)) : hurt)
      const opened = await found('hurt').catch(error => error as { code: string })
      if (!('file' in opened)) {
        expect(opened.code).toBe('SAVEPOINT_UNUSABLE')
        continue
      }
      loads++
      if (loads > 8) continue
      await expect(start({ savepoint: opened }), `byte ${n}`).rejects.toMatchObject({ code: 'SAVEPOINT_UNUSABLE' })
    }
    expect(loads).toBeGreaterThan(2)
    const again = await start()
    expect(plans()['bills']).toMatchObject({ plan: 'unchanged', from: 50 })
    expect((await again.savepoints.list()).map(each => 'error' in each)).toEqual([false, expect.any(Boolean)])
  })

  it('leaves out what has stopped, and a view that it does not have is folded from the beginning', async () => {
    const bad = projection('bad', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
      add: () => {
        throw new TypeError('boom')
      },
      remove: () => {},
    })
    const engine = await start({ definition: application('test', { views: [bills, accounts, bad] }) })
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 1, cents: 5 } }])
    await level(engine)
    const made = await engine.savepoints.create('partly')
    expect(Object.keys(made.views).sort()).toEqual(['accounts', 'bills'])
    const counted = projection('counted', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
      add: s => void s.n++,
      remove: s => void s.n--,
    })
    const again = await start({
      definition: application('test', { views: [bills, accounts, counted] }),
      savepoint: made,
    })
    expect(plans()['counted']).toEqual({ plan: 'new', from: 0, why: 'the savepoint does not have it' })
    await level(again)
    expect(again.views.get('counted')?.get(1)).toEqual({ n: 1 })
  })
})

const partsFields = () => [
  { name: 'customer', type: { kind: 'nullable', inner: { kind: 'int' }, optional: false } },
  { name: 'open', type: { kind: 'int' } },
]
