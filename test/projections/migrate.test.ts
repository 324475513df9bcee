import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Application, application, openEngine, partsOf, projection } from '../../projections/index.ts'
import { invoices, level, useWorld, world } from './ledger.ts'

useWorld()

const before = z.object({ n: z.int32(), name: z.string().default('') })
const after = z.object({ count: z.int(), name: z.string().nullable(), tags: z.array(z.string()) })

const first = projection('counted', { key: z.int(), state: before }).on(invoices, 'customer', {
  add: (s, invoice) => {
    s.n++
    s.name = `customer ${invoice.customer}`
  },
  remove: s => {
    s.n--
    s.name = ''
  },
})

const declared = () =>
  projection('counted', { key: z.int(), state: after }).on(invoices, 'customer', {
    add: s => void s.count++,
    remove: s => void s.count--,
  })

const second = () =>
  declared().migrate(before, old => ({ count: old.n * 100, name: old.name || null, tags: [`${old.n} before`] }))

const of = (...views: Parameters<typeof application>[1]['views'] & object): Application =>
  application('test', { views })

async function start(definition: Application, fingerprint: string, continueFrom: readonly string[] = []) {
  await world.stopAll()
  world.events.length = 0
  const engine = await openEngine({
    log: world.log,
    parts: partsOf(definition),
    path: join(world.folder, 'views'),
    fingerprint,
    continueFrom,
    checkpointIntervalMs: 3_600_000,
    onEvent: event => world.events.push(event),
  })
  world.engines.push(engine)
  return engine
}

const plan = () => {
  const [event] = world.events
  return event?.event === 'start-plan' ? event.views[0] : undefined
}

let next = 0
async function insert(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const row = { id: next++, customer: n % 2, cents: 1 }
    await world.writer.transaction([{ op: 'insert', table: invoices, after: row }])
  }
}

describe('a migration', () => {
  it('takes over rows of the former schema, and says so, now and later', async () => {
    next = 0
    await start(of(first), 'one')
    await insert(3)
    await level(world.engines[0] as never)
    const engine = await start(of(second()), 'two')
    expect(plan()).toMatchObject({
      plan: 'continue',
      from: 3,
      why: 'its key or state schema, its definition changed; its rows are migrated',
    })
    const counted = (key: number) => engine.views.get('counted')?.get(key)
    expect(counted(0)).toEqual({ count: 200, name: 'customer 0', tags: ['2 before'] })
    await insert(2)
    await level(engine)
    expect([counted(0)?.['count'], counted(1)?.['count']]).toEqual([201, 101])
    expect(engine.views.get('counted')?.status().continued).toEqual([
      { position: 3, fingerprint: 'one', migrated: true },
    ])
    await engine.checkpoint()
    // Migrated once.
    const again = await start(of(second()), 'two')
    expect(plan()).toMatchObject({ plan: 'unchanged', from: 5, why: null })
    expect(again.views.get('counted')?.get(0)).toEqual({ count: 201, name: 'customer 0', tags: ['2 before'] })
    expect(again.views.get('counted')?.status().continued).toHaveLength(1)
  })

  it('is one of several, for each former schema', async () => {
    next = 0
    await start(of(first), 'one')
    await insert(1)
    await level(world.engines[0] as never)
    const older = z.object({ total: z.int() })
    const both = declared()
      .migrate(older, old => ({ count: old.total, name: null, tags: [] }))
      .migrate(before, old => ({ count: old.n, name: 'younger', tags: [] }))
    const engine = await start(of(both), 'two')
    expect(engine.views.get('counted')?.get(0)).toEqual({ count: 1, name: 'younger', tags: [] })
  })

  const gives = (value: unknown) => (): unknown => value
  const throws = (): unknown => {
    throw new Error('no idea')
  }
  const readsClock = (): unknown => ({ count: Date.now(), name: null, tags: [] })
  const cases: readonly (readonly [string, () => unknown, string])[] = [
    ['throws', throws, 'key 0: no idea'],
    ['reads the clock', readsClock, 'Date.now() called in counted.migrate'],
    ['gives another type', gives({ count: '1', name: null, tags: [] }), 'count: expected a safe integer'],
    ['leaves a field out', gives({ count: 1, name: null }), 'tags: expected an array'],
    ['gives a field too many', gives({ count: 1, name: null, tags: [], more: 1 }), "the state has no field 'more'"],
    ['gives nothing', gives(undefined), 'it gave no row'],
  ]
  it.each(cases)('whose function %s is refused with the key, and the checkpoint stays', async (_, to, detail) => {
    next = 0
    await start(of(first), 'one')
    await insert(1)
    await level(world.engines[0] as never)
    await expect(start(of(declared().migrate(before, to as never)), 'two')).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: "a row of 'counted' cannot be migrated",
      detail: expect.stringContaining(detail),
    })
    const back = await start(of(first), 'one')
    expect(plan()).toMatchObject({ plan: 'unchanged', from: 1 })
    expect(back.views.get('counted')?.get(0)).toEqual({ n: 1, name: 'customer 0' })
  })

  it('of another schema than that which is stored does nothing: the view is rebuilt', async () => {
    next = 0
    await start(of(first), 'one')
    await insert(1)
    await level(world.engines[0] as never)
    const other = declared().migrate(z.object({ n: z.int32() }), old => ({ count: old.n, name: null, tags: [] }))
    const engine = await start(of(other), 'two')
    expect(plan()).toMatchObject({ plan: 'rebuild', from: 0 })
    await level(engine)
    expect(engine.views.get('counted')?.get(0)).toEqual({ count: 1, name: null, tags: [] })
    await engine.checkpoint()
    await expect(start(of(first), 'three', ['counted'])).rejects.toMatchObject({ code: 'VIEW_CANNOT_CONTINUE' })
  })

  it('of a view that another one folds rebuilds both, unless that one is continued', async () => {
    next = 0
    const summed = (view: ReturnType<typeof declared> | typeof first) =>
      projection('summed', { key: z.int(), state: z.object({ rows: z.int32() }) }).on(
        view as ReturnType<typeof declared>,
        () => 0,
        {
          add: s => {
            s.rows++
          },
          remove: s => {
            s.rows--
          },
        },
      )
    await start(of(first, summed(first)), 'one')
    await insert(3)
    await level(world.engines[0] as never)
    const view = second()
    const engine = await start(of(view, summed(view)), 'two', ['summed'])
    expect(world.events[0]).toMatchObject({ views: [{ plan: 'continue' }, { plan: 'continue' }] })
    expect(engine.views.get('summed')?.get(0)).toEqual({ rows: 2 })
    expect(engine.views.get('counted')?.get(0)).toMatchObject({ count: 200 })
    const rebuilt = second().migrate(after, () => ({ count: 0, name: null, tags: [] }))
    await start(of(first, summed(first)), 'one')
    await level(world.engines[0] as never)
    await start(of(rebuilt, summed(rebuilt)), 'four')
    expect(world.events[0]).toMatchObject({ views: [{ plan: 'rebuild' }, { plan: 'rebuild' }] })
  })
})
