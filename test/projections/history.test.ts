// Views over a log whose history was removed: those made of rows that come and go are what they were; those made of events are
// stopped, unless what is left is accepted; and none is ever continued over another base than it was folded from.

import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, topic } from '../../core/index.ts'
import { application, openEngine, partsOf, projection } from '../../projections/index.ts'
import {
  accounts,
  app,
  bills,
  invoices,
  KEYS,
  level,
  open,
  payments,
  RandomTables,
  rowsOf,
  useWorld,
  world,
} from './ledger.ts'

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

/** Many at a time: a segment ends only between two writes. */
async function click(times: number): Promise<void> {
  const known = await world.log.topic(compileContract('clicks', 'topic', clicks.value, 'user'))
  const click = (n: number) => {
    const batch = world.log.batch()
    batch.event(known, { user: `u${n % 2}` })
    return batch.commit()
  }
  for (let n = 0; n < times; n += 50)
    await Promise.all(Array.from({ length: Math.min(50, times - n) }, (_, more) => click(n + more)))
}

async function transactions(tables: RandomTables, count: number): Promise<void> {
  for (let n = 0; n < count; n += 25)
    await Promise.all(Array.from({ length: 25 }, () => world.writer.transaction(tables.transaction())))
}

const openAll = (name: string, acceptHistoryGone: readonly string[] = [], fingerprint = 'one') =>
  openEngine({
    log: world.log,
    parts: partsOf(application('test', { views: [accounts, bills, perUser, edits] })),
    path: join(world.folder, name),
    fingerprint,
    checkpointIntervalMs: 3_600_000,
    acceptHistoryGone,
    onEvent: event => world.events.push(event),
  }).then(engine => {
    world.engines.push(engine)
    return engine
  })

describe('views of tables', () => {
  it.each([1, 2, 3, 4])('are over a compacted log what they were before, and go on (seed %i)', async seed => {
    const tables = new RandomTables(seed)
    await transactions(tables, 900)
    let engine = await open()
    await level(engine)
    expect((await world.log.clean({ compact })).limitedBy).toMatchObject({ name: expect.stringContaining('view ') })
    expect(world.log.base.to).toBe(0)
    await engine.checkpoint()
    const { to, recordsBefore, recordsAfter } = await world.log.clean({ compact })
    expect([to > 500, recordsAfter * 4 < recordsBefore]).toEqual([true, true])
    for (const name of ['views', 'fresh']) {
      await world.stopAll()
      engine = await open(app, 'one', name)
      await level(engine)
      const expected = tables.expected()
      expect(rowsOf(engine, 'bills', KEYS)).toEqual(expected.bills)
      expect(rowsOf(engine, 'accounts', KEYS)).toEqual(expected.accounts)
      await transactions(tables, 25)
      await level(engine)
      expect(rowsOf(engine, 'accounts', KEYS)).toEqual(tables.expected().accounts)
    }
  })

  it('are made again where their checkpoint is of another base and before its end', async () => {
    const tables = new RandomTables(7)
    await transactions(tables, 300)
    const engine = await open()
    await level(engine)
    await world.stopAll()
    const { position } = engine
    await transactions(tables, 900)
    expect((await world.log.clean({ compact })).to).toBeGreaterThan(position)
    const again = await open()
    expect(world.events.at(-1)).toMatchObject({ event: 'rebuild-started' })
    await level(again)
    expect(rowsOf(again, 'accounts', KEYS)).toEqual(tables.expected().accounts)
  })

  it('that are being folded while the log is forced to change go on to the right rows, and so does their next start', async () => {
    const tables = new RandomTables(8)
    await transactions(tables, 600)
    const engine = await open()
    const cleaned = world.log.clean({ compact, force: true })
    const checkpoints = Array.from({ length: 5 }, () => engine.checkpoint())
    await Promise.all([cleaned, ...checkpoints])
    await level(engine)
    expect(rowsOf(engine, 'accounts', KEYS)).toEqual(tables.expected().accounts)
    await world.stopAll()
    const again = await open()
    await level(again)
    expect(rowsOf(again, 'accounts', KEYS)).toEqual(tables.expected().accounts)
  })
})

describe('views of events, and of changes', () => {
  it('are stopped where their history is gone, with no harm to others, unless what is left is accepted', async () => {
    const tables = new RandomTables(3)
    await click(300)
    await transactions(tables, 900)
    await click(10)
    const report = await world.log.clean({ compact, trim: { clicks: 200 } })
    expect(report.to).toBeGreaterThan(300)
    const engine = await openAll('views')
    await level(engine)
    for (const [view, name, horizon] of [
      ['per_user', 'clicks', 200],
      ['edits', invoices.name, report.to],
    ] as const) {
      expect(engine.views.get(view)?.status()).toMatchObject({
        status: 'stopped',
        error: { code: 'VIEW_HISTORY_GONE', detail: expect.stringContaining(`position ${horizon} are gone`) },
      })
      expect(world.events).toContainEqual(
        expect.objectContaining({ event: 'view-stopped', view, code: 'VIEW_HISTORY_GONE' }),
      )
      expect(engine.views.get(view)?.status().error?.message).toContain(name)
    }
    expect(rowsOf(engine, 'accounts', KEYS)).toEqual(tables.expected().accounts)
    await world.stopAll()
    const accepting = await openAll('views', ['per_user'])
    await level(accepting)
    expect(accepting.views.get('per_user')?.get('u0')).toEqual({ n: 55 })
    expect(accepting.views.get('edits')?.status().status).toBe('stopped')
    await accepting.checkpoint()
    await world.stopAll()
    // From its checkpoint on it needs nothing that is gone.
    const after = await openAll('views')
    await click(2)
    await level(after)
    expect(after.views.get('per_user')?.get('u0')).toEqual({ n: 56 })
  })

  it('that cannot be made anew by changed code keep the checkpoint of the former', async () => {
    await click(300)
    await transactions(new RandomTables(4), 900)
    await level(await openAll('views'))
    await world.stopAll()
    await world.log.clean({ trim: { clicks: 200 } })
    const changed = await openAll('views', [], 'two')
    await level(changed)
    expect(changed.views.get('per_user')?.status().error?.code).toBe('VIEW_HISTORY_GONE')
    expect(changed.views.get('edits')?.status()).toMatchObject({ error: null, plan: { plan: 'rebuild' } })
    await world.stopAll()
    const former = await openAll('views')
    await level(former)
    expect(former.views.get('per_user')?.get('u0')).toEqual({ n: 150 })
  })

  it('go on from their checkpoint where only what they have folded is removed', async () => {
    await click(900)
    const engine = await openAll('views')
    await level(engine)
    await engine.checkpoint()
    const { to } = await world.log.clean({ trim: { clicks: ALL } })
    expect(to).toBeGreaterThan(400)
    await world.stopAll()
    const again = await openAll('views')
    await click(2)
    await level(again)
    expect(again.views.get('per_user')?.get('u0')).toEqual({ n: 451 })
  })
})
