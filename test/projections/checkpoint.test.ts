import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { application, projection } from '../../projections/index.ts'
import { Random } from '../support/random.ts'
import type { TestOp } from '../support/table-source.ts'
import { accounts, app, bills, invoices, KEYS, level, open, RandomTables, rowsOf, useWorld, world } from './ledger.ts'

useWorld()

describe('a checkpoint', () => {
  it('goes on without a view that wrote what cannot be stored, and is not given up for the others', async () => {
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
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 2, cents: 5 } }])
    await level(engine)
    await engine.checkpoint()
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 2, customer: null, cents: 5 } }])
    await level(engine)
    await engine.checkpoint()
    expect(engine.views.get('odd')?.status().error?.detail).toContain('seen[]: expected a safe integer, received null')
    await engine.stop()
    world.engines = []
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
        const written = Promise.all(transactions.map(ops => world.writer.transaction(ops)))
        // Checkpoints fall anywhere: before, between and after these transactions, and in the midst of each other.
        const checkpoints = Array.from({ length: 3 }, async () => {
          for (let turns = random.int(6); turns > 0; turns--) await new Promise(resolve => setImmediate(resolve))
          await engine.checkpoint()
        })
        await written
        await Promise.all(checkpoints)
        if (round % 4 !== 3) continue
        // What the last checkpoint holds, without what a clean stop would add: a copy of the folder as a crash leaves it.
        await cp(join(world.folder, 'views'), join(world.folder, `crashed-${round}`), { recursive: true })
        await engine.stop()
        world.engines = []
        engine = await open(app, 'one', `crashed-${round}`)
        await level(engine)
        expect(rowsOf(engine, 'bills', KEYS), `seed ${seed}, round ${round}`).toEqual(tables.expected().bills)
        expect(rowsOf(engine, 'accounts', KEYS), `seed ${seed}, round ${round}`).toEqual(tables.expected().accounts)
        await engine.stop()
        world.engines = []
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
      const done = world.writer.transaction(ops)
      let finished = false
      void done.then(() => {
        finished = true
      })
      while (!finished || engine.position < world.log.end) {
        await engine.checkpoint()
        await new Promise(resolve => setImmediate(resolve))
      }
      await cp(join(world.folder, round === 0 ? 'views' : `half-${round - 1}`), join(world.folder, `half-${round}`), {
        recursive: true,
      })
      await engine.stop()
      world.engines = []
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
    await world.writer.transaction(ops)
    const checkpoint = engine.checkpoint().catch(() => {})
    await engine.stop()
    await checkpoint
    world.engines = []
    const again = await open()
    await level(again)
    expect(again.views.get('accounts')?.get(1)).toEqual({ bills: 100_000, open: 100_000 })
  })

  it('whose file is damaged is passed over for an older one, which is said, and all of them for none', async () => {
    const transaction = (id: number): TestOp[] => [
      { op: 'insert', table: invoices, after: { id, customer: id % 3, cents: 10 } },
    ]
    const views = join(world.folder, 'views')
    const engine = await open()
    for (let id = 0; id < 6; id++) {
      await world.writer.transaction(transaction(id))
      await level(engine)
      await engine.checkpoint()
    }
    await world.stopAll()
    // A second file: its checkpoint is the newest, those of the first stay.
    await (await open()).savepoints.create('whole')
    await world.stopAll()
    const files = (await readdir(views)).filter(name => name.endsWith('.rows')).sort()
    expect(files).toHaveLength(2)
    const damage = async (name: string) => {
      const bytes = await readFile(join(views, name))
      bytes[bytes.length >> 1]! ^= 1
      await writeFile(join(views, name), bytes)
    }
    const starts = () => world.events.filter(({ event }) => event === 'checkpoint-damaged' || event === 'start-plan')
    const plan = (plan: string, from: number) => ({
      event: 'start-plan',
      views: [expect.objectContaining({ plan, from }), expect.objectContaining({ plan, from })],
    })
    const damaged = (name: string) => ({
      event: 'checkpoint-damaged',
      code: 'CHECKPOINT_CORRUPT',
      detail: expect.stringContaining(name),
    })
    for (const hurt of [files[1]!, files[0]!]) {
      await damage(hurt)
      world.events.length = 0
      const again = await open()
      await level(again)
      expect(again.views.get('accounts')?.get(1)).toEqual({ bills: 2, open: 20 })
      if (hurt === files[1]) expect(starts()).toMatchObject([plan('unchanged', 6), damaged(hurt), plan('unchanged', 6)])
      else {
        const events = starts()
        expect(events.at(-1)).toMatchObject({ views: [{ plan: 'rebuild', why: 'its checkpoint is damaged' }, {}] })
        expect(events.filter(({ event }) => event === 'checkpoint-damaged').length).toBeGreaterThan(1)
      }
      // As a crash would leave it: nothing was written.
      world.engines = []
      await cp(views, join(world.folder, 'kept'), { recursive: true })
      await again.stop()
      await rm(views, { recursive: true })
      await cp(join(world.folder, 'kept'), views, { recursive: true })
    }
  })

  it('of an earlier version is recognised: views are made anew once, and its files go', async () => {
    const views = join(world.folder, 'views')
    await mkdir(views)
    for (const name of ['data.mdb', 'lock.mdb']) await writeFile(join(views, name), 'x')
    await world.writer.transaction([{ op: 'insert', table: invoices, after: { id: 1, customer: 1, cents: 10 } }])
    const engine = await open()
    expect(world.events[0]).toMatchObject({
      event: 'start-plan',
      views: [{ plan: 'rebuild', from: 0, why: 'an earlier version wrote its checkpoint, in another form' }, {}],
    })
    await level(engine)
    await engine.checkpoint()
    expect((await readdir(views)).some(name => name.endsWith('.mdb'))).toBe(false)
    await world.stopAll()
    world.events.length = 0
    await open()
    expect(world.events[0]).toMatchObject({ views: [{ plan: 'unchanged', from: 1 }, {}] })
  })
})
