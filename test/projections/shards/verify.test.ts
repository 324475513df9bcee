import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Engine, partsOf } from '../../../projections/index.ts'
import { localCrew } from '../../../projections/shards/crew.ts'
import { realScheduler } from '../../../projections/shards/scheduler.ts'
import { openShardedEngine } from '../../../projections/shards/sharded-engine.ts'
import { tamper } from '../../support/tamper.ts'
import { app, invoices, level, open, RandomTables, useWorld, world } from '../ledger.ts'

useWorld()

const engines: Engine[] = []
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop()
})

async function openSharded(count: number): Promise<Engine> {
  const parts = partsOf(app)
  const path = join(world.folder, 'views')
  const { log } = world
  const crew = localCrew({ count, path, log, parts, scheduler: realScheduler, sliceMs: 0 })
  const options = { log, parts, path, fingerprint: 'one', checkpointIntervalMs: 3_600_000 }
  const engine = await openShardedEngine(options, crew)
  engines.push(engine)
  return engine
}

async function verify(engine: Engine) {
  engine.verifier.start()
  while (engine.verifier.status().state === 'running') await new Promise(resolve => setImmediate(resolve))
  const { report, error } = engine.verifier.status()
  if (!report) throw new Error(`failed: ${JSON.stringify(error)}`)
  return report
}

describe('a verification of several shards', () => {
  it.each([2, 3])(
    'finds views of %i shards equal at a cut, while transactions go on, and leaves no file',
    async count => {
      const tables = new RandomTables(count)
      for (let n = 0; n < 100; n++) await world.writer.transaction(tables.transaction())
      const engine = await openSharded(count)
      let running = true
      const writing = (async () => {
        while (running) await world.writer.transaction(tables.transaction())
      })()
      for (let round = 0; round < 4; round++) {
        const from = engine.position
        const { position, views } = await verify(engine)
        expect(position).toBeGreaterThanOrEqual(from)
        expect(views.map(({ view, equal }) => [view, equal])).toEqual([
          ['bills', true],
          ['accounts', true],
        ])
        for (const { rows, hash, refoldedHash } of views) {
          expect(rows).toBeGreaterThan(0)
          expect(hash).toBe(refoldedHash)
        }
      }
      running = false
      await writing
      await engine.stop()
      engines.length = 0
      expect(await readdir(join(world.folder, 'views-verify'))).toEqual([])
    },
  )

  it('has the hashes of one shard, and finds the row that differs', async () => {
    const rows = Array.from({ length: 20 }, (_, id) => ({ id, customer: id % 3, cents: id + 1 }))
    await world.writer.transaction(rows.map(after => ({ op: 'insert', table: invoices, after })))
    const one = await open()
    await level(one)
    const { views: ofOne } = await verify(one)
    await world.stopAll()
    const { views: ofThree } = await verify(await openSharded(3))
    expect(ofThree.map(({ hash }) => hash)).toEqual(ofOne.map(({ hash }) => hash))
    await engines.pop()?.stop()

    await (await open()).checkpoint()
    await world.stopAll()
    await tamper(join(world.folder, 'views'), 'bills', stored => [...stored.slice(0, -1)])
    const { views } = await verify(await openSharded(2))
    const bills = views.find(({ view }) => view === 'bills')
    expect(bills).toMatchObject({ equal: false, differences: 1, rows: 19 })
    expect(bills?.first?.live).toBeNull()
    expect(bills?.first?.refolded).not.toBeNull()
  })
})
