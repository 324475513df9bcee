import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type Application,
  application,
  openEngine,
  partsOf,
  projection,
  type ViewPlan,
} from '../../projections/index.ts'
import { accounts, app, bills, invoices, level, open, useWorld, world } from './ledger.ts'

useWorld()

const counted = projection('counted', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
  add: s => void s.n++,
  remove: s => void s.n--,
})
/** The same name and state, other code. */
const countedTwice = projection('counted', { key: z.int(), state: z.object({ n: z.int32() }) }).on(invoices, 'id', {
  add: s => {
    s.n += 2
  },
  remove: s => {
    s.n -= 2
  },
})
const countedWide = projection('counted', { key: z.int(), state: z.object({ n: z.int() }) }).on(invoices, 'id', {
  add: s => void s.n++,
  remove: s => void s.n--,
})
const three = (counting: typeof counted | typeof countedWide): Application =>
  application('test', { views: [bills, accounts, counting] })

let next = 0
async function insert(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const after = { id: next++, customer: 1, cents: 10 }
    await world.writer.transaction([{ op: 'insert', table: invoices, after }])
  }
}

async function restart(definition: Application, fingerprint: string, continueFrom: readonly string[] = []) {
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

/** View → plan, from, why; of the last start, whose first event it must be. */
function plans(): Record<string, Pick<ViewPlan, 'plan' | 'from' | 'why'>> {
  const [first] = world.events
  if (first?.event !== 'start-plan') throw new Error(`the first event is ${first?.event}`)
  return Object.fromEntries(first.views.map(({ view, plan, from, why }) => [view, { plan, from, why }]))
}

const unchanged = (from: number) => ({ plan: 'unchanged', from, why: null })

describe('a start', () => {
  it('says before anything else what it does with each view, and why', async () => {
    next = 0
    const first = await open(three(counted))
    const none = { plan: 'new', from: 0, why: 'it has no checkpoint' }
    expect(plans()).toEqual({ bills: none, accounts: none, counted: none })
    await insert(3)
    await level(first)

    await restart(three(counted), 'one')
    const stands = unchanged(3)
    expect(plans()).toEqual({ bills: stands, accounts: stands, counted: stands })

    await restart(three(countedTwice), 'two')
    const other = { plan: 'rebuild', from: 0, why: 'code of the application changed, not its own definition' }
    const own = { ...other, why: 'its definition changed' }
    expect(plans()).toEqual({ bills: other, accounts: other, counted: own })
    expect(world.events[0]).toMatchObject({ records: 3, estimatedSeconds: expect.any(Number) })

    await level(world.engines[0]!)
    const wide = await restart(three(countedWide), 'three')
    expect(plans()['counted']?.why).toBe('its key or state schema, its definition changed')
    expect(wide.views.get('counted')?.status().plan).toMatchObject({ plan: 'rebuild', records: 3 })
    await level(wide)
    expect(wide.views.get('counted')?.get(1)).toEqual({ n: 1 })
    expect(wide.views.get('counted')?.status().progress).toBeNull()
  })

  it('continues a view under other code when told to, and remembers that', async () => {
    next = 0
    const definition = application('test', { views: [counted] })
    const changed = application('test', { views: [countedTwice] })
    await level(await open(definition))
    await insert(2)
    await level(world.engines[0]!)
    const engine = await restart(changed, 'two', ['counted'])
    expect(plans()).toEqual({ counted: { plan: 'continue', from: 2, why: 'its definition changed' } })
    // Written down before anything is folded: a crash here must not cost it.
    await insert(1)
    await level(engine)
    const values = () => [0, 1, 2].map(key => world.engines[0]?.views.get('counted')?.get(key))
    expect(values()).toEqual([{ n: 1 }, { n: 1 }, { n: 2 }])
    const again = await restart(changed, 'two')
    expect(plans()).toEqual({ counted: unchanged(3) })
    expect(values()).toEqual([{ n: 1 }, { n: 1 }, { n: 2 }])
    expect(again.views.get('counted')?.status().continued).toEqual([{ position: 2, fingerprint: 'one' }])
    const anew = await restart(definition, 'three')
    await level(anew)
    expect(anew.views.get('counted')?.status().continued).toEqual([])
  })

  it('refuses to continue what it cannot, and leaves the checkpoints as they are', async () => {
    next = 0
    await level(await open(three(counted)))
    await insert(2)
    await level(world.engines[0]!)
    const refused = (definition: Application, views: string[], detail: string) =>
      expect(restart(definition, 'two', views)).rejects.toMatchObject({
        code: 'VIEW_CANNOT_CONTINUE',
        detail: expect.stringContaining(detail),
      })
    await refused(three(countedWide), ['counted'], 'its key or state schema changed')
    await refused(three(counted), ['accounts'], "'bills', which it folds or which folds it, begins anew")
    const both = await restart(three(counted), 'one')
    expect(plans()).toEqual({ bills: unchanged(2), accounts: unchanged(2), counted: unchanged(2) })
    await level(both)
    await restart(three(counted), 'two', ['accounts', 'bills'])
    expect(plans()).toMatchObject({ bills: { plan: 'continue' }, accounts: { plan: 'continue' } })
    await level(world.engines[0]!)
    expect(world.engines[0]?.views.get('accounts')?.get(1)).toEqual({ bills: 2, open: 20 })
  })

  it('makes views that fold each other anew together when one of them stopped before the other', async () => {
    next = 0
    const large = projection('large', { key: z.int(), state: z.object({ text: z.string().default('') }) }).on(
      bills,
      'customer',
      {
        add: (s, bill) => {
          if (world.log.end === 3 && bill.open > 0) throw new Error('this once')
          s.text = `${s.text}x`
        },
        remove: s => {
          s.text = s.text.slice(1)
        },
      },
    )
    const definition = application('test', { views: [bills, large] })
    const engine = await open(definition)
    await insert(2)
    await level(engine)
    await engine.checkpoint()
    await insert(1)
    await level(engine)
    expect(engine.views.get('large')?.status().status).toBe('stopped')
    await insert(1)
    await level(engine)
    const again = await restart(definition, 'one')
    const why = "views that fold each other stand at different positions: 'bills', 'large'"
    expect(plans()).toEqual({ bills: { plan: 'rebuild', from: 0, why }, large: { plan: 'rebuild', from: 0, why } })
    await level(again)
    expect(again.views.get('large')?.get(1)).toEqual({ text: 'xxxx' })
  })

  it('leaves the checkpoint of other code as it is until it has its own', async () => {
    next = 0
    await level(await open())
    await insert(3)
    await level(world.engines[0]!)
    const other = await restart(app, 'two')
    await level(other)
    // As a crash would leave it, before and after the first checkpoint of the other code.
    await cp(join(world.folder, 'views'), join(world.folder, 'before'), { recursive: true })
    await other.checkpoint()
    await cp(join(world.folder, 'views'), join(world.folder, 'after'), { recursive: true })
    for (const [folder, plan] of [
      ['before', 'unchanged'],
      ['after', 'rebuild'],
    ] as const) {
      await world.stopAll()
      world.events.length = 0
      const engine = await open(app, 'one', folder)
      expect(plans()['bills']).toMatchObject({ plan })
      await level(engine)
      expect(engine.views.get('accounts')?.get(1)).toEqual({ bills: 3, open: 30 })
    }
  })

  it('estimates by what the last long catching up took', async () => {
    const size = 60_000
    for (let round = 0; round < 2; round++) {
      await world.writer.transaction(
        Array.from({ length: size }, (_, n) => ({
          op: 'insert' as const,
          table: invoices,
          after: { id: round * size + n, customer: n % 5, cents: 1 },
        })),
      )
    }
    const engine = await open()
    expect(world.events[0]).toMatchObject({ event: 'start-plan', records: 120_000, estimatedSeconds: 0.12 })
    expect(engine.status().progress).toMatchObject({ total: 120_000 })
    await level(engine)
    expect(engine.status().progress).toBeNull()
    const ended = world.events.find(event => event.event === 'rebuild-ended')
    await restart(app, 'two')
    const [plan] = world.events
    if (plan?.event !== 'start-plan' || ended?.event !== 'rebuild-ended') throw new Error('no plan')
    expect(plan.estimatedSeconds).toBeCloseTo(ended.seconds, 1)
  })
})
