// A replay over any number of shards: views of events, views that fold them under other keys, and views that skip, whose rows other
// code has made; transactions go on meanwhile. What comes of it is what a new fold gives, also after a kill.
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileContract, type FileSystem, nodeFileSystem, topic } from '../../../core/index.ts'
import { application, type Engine, openEngine, partsOf, projection } from '../../../projections/index.ts'
import { localCrew } from '../../../projections/shards/crew.ts'
import { realScheduler } from '../../../projections/shards/scheduler.ts'
import { openShardedEngine } from '../../../projections/shards/sharded-engine.ts'
import { Random } from '../../support/random.ts'
import { Followed } from '../followed.ts'
import { replayed, useWorld, world } from '../ledger.ts'

useWorld()

const ITEMS = 60
const BINS = 200
const moves = topic('moves', { key: 'item', value: z.object({ item: z.int(), bin: z.int(), n: z.int() }) })

/** @param off what the code does wrong: by it rows, their keys in the view that folds them, and what is skipped are others */
function appOf(off: 0 | 1) {
  const stock = projection('stock', { key: z.int(), state: z.object({ bin: z.int(), n: z.int() }) }).on(
    moves,
    'item',
    (item, move) => {
      item.bin = off && move.item % 13 === 0 ? (move.bin + 1) % BINS : move.bin
      item.n += off && move.item % 13 === 0 ? 2 * move.n : move.n
    },
  )
  const bins = projection('bins', {
    key: z.int(),
    state: z.object({ items: z.int32(), n: z.int(), name: z.string().nullable() }),
  }).on(stock, 'bin', {
    add: (bin, item) => {
      bin.items++
      bin.n += item.n
    },
    remove: (bin, item) => {
      bin.items--
      bin.n -= item.n
    },
  })
  const sizes = projection('sizes', {
    key: z.int(),
    state: z.object({ bins: z.int32() }),
  }).on(bins, 'items', {
    add: size => {
      size.bins++
    },
    remove: size => {
      size.bins--
    },
  })
  const strict = projection('strict', {
    key: z.int(),
    state: z.object({ n: z.int(), last: z.string().default('') }),
    onError: 'skip',
  }).on(moves, 'bin', (bin, move) => {
    bin.n += move.n
    bin.last = `item ${move.item}`
    if ((move.n + off) % 7 === 0) throw new RangeError(`${move.n} are not to be counted`)
  })
  return application('store', { views: [stock, bins, sizes, strict] })
}

const VIEWS = ['stock', 'bins', 'sizes', 'strict']
const ROWS = VIEWS.flatMap(view => Array.from({ length: BINS }, (_, key) => ({ view, key })))

const engines: Engine[] = []
const stopAll = async () => {
  for (const engine of engines.splice(0)) await engine.stop()
}

async function open(shards: number, { off = 0, path = 'views', fs, continueFrom = [] }: Opening = {}): Promise<Engine> {
  const { log } = world
  const parts = partsOf(appOf(off))
  const folder = join(world.folder, path)
  const place = { log, parts, path: folder, ...(fs ? { fs } : {}) }
  const options = { ...place, fingerprint: `code ${off}`, continueFrom, checkpointIntervalMs: 3_600_000, sliceMs: 0 }
  const crew = () => localCrew({ ...place, count: shards, scheduler: realScheduler, sliceMs: 0 })
  const engine = shards === 1 ? await openEngine(options) : await openShardedEngine(options, crew())
  engines.push(engine)
  return engine
}

interface Opening {
  readonly off?: 0 | 1
  readonly path?: string
  readonly fs?: Parameters<typeof openEngine>[0]['fs']
  readonly continueFrom?: readonly string[]
}

const level = (engine: Engine) => engine.waitFor(world.log.end, AbortSignal.timeout(20_000))

/** Rows of all views, and what they have skipped. */
async function stateOf(engine: Engine) {
  await level(engine)
  const { rows } = await engine.read(ROWS)
  const letters = await engine.deadLetters.list('strict')
  const counts = VIEWS.map(view => engine.views.get(view)!.status())
  return {
    rows: structuredClone(rows),
    letters: structuredClone(letters),
    counts: counts.map(({ rows, deadLetters }) => ({ rows, deadLetters })),
  }
}

/** What a new fold of the log by the right code has. */
async function expectAsFoldedAnew(engine: Engine): Promise<void> {
  const state = await stateOf(engine)
  const anew = await open(1, { path: `anew-${engines.length}-${world.log.end}` })
  expect(state).toEqual(await stateOf(anew))
}

async function append(random: Random, transactions: number): Promise<void> {
  const moved = await world.log.topic(compileContract(moves.name, 'topic', moves.value, moves.key))
  for (let n = 0; n < transactions; n++) {
    const batch = world.log.batch()
    for (let records = 1 + random.int(5); records > 0; records--)
      batch.event(moved, { item: random.int(ITEMS), bin: random.int(BINS), n: random.int(50) - 20 })
    await batch.commit()
  }
}

/** Views of which other code has made the rows. */
async function continued(shards: number, random: Random, fs?: Opening['fs']): Promise<Engine> {
  await append(random, 80)
  await level(await open(1, { off: 1 }))
  await stopAll()
  const engine = await open(shards, { continueFrom: VIEWS, fs })
  await level(engine)
  return engine
}

describe.each([1, 2, 3])('a replay of %i shards', shards => {
  it.each([1, 2, 3])('gives what a new fold has, while transactions go on, and keeps it (seed %i)', async seed => {
    const random = new Random(100 * shards + seed)
    const engine = await continued(shards, random)
    const keys = Array.from({ length: BINS }, (_, key) => key)
    const followed = await Promise.all(VIEWS.map(view => Followed.of(engine, view, keys)))
    // Rows that were exchanged at the very cut that was read would be taken for those that were read.
    await append(random, 1)
    await level(engine)
    let appending = true
    const writing = (async () => {
      while (appending) await append(random, 3)
    })()
    for (const view of ['stock', 'strict']) {
      const report = await replayed(engine, view)
      expect(report.switchedAt).toBeGreaterThanOrEqual(report.position)
    }
    // At this moment the process could be killed.
    await cp(join(world.folder, 'views'), join(world.folder, 'killed'), { recursive: true })
    appending = false
    await writing
    expect(engine.views.get('bins')?.status().continued.at(-1)).toMatchObject({ replayedFrom: 0 })
    await expectAsFoldedAnew(engine)
    // Rows that were exchanged are changes too.
    const { rows } = await engine.read(ROWS)
    for (const [n, each] of followed.entries()) {
      const live = keys.flatMap(key => (rows[n * BINS + key] ? [[key, { ...rows[n * BINS + key] }] as const] : []))
      expect(each.rows()).toEqual(new Map(live))
    }
    expect((await replayed(engine, 'sizes')).switchedAt).toBeNull()
    const again = await open(((shards + 1) % 3) + 1, { path: 'killed' })
    expect(again.views.get('stock')?.status().plan).toMatchObject({ plan: 'unchanged' })
    await expectAsFoldedAnew(again)
    await stopAll()
  })

  it('finds dead letters that differ, and exchanges them', async () => {
    const engine = await continued(shards, new Random(7))
    const dry = await replayed(engine, 'strict', { dryRun: true })
    expect(dry.views).toMatchObject([{ view: 'strict', equal: false }])
    expect(dry.views[0]!.deadLetterDifferences).toBeGreaterThan(0)
    await replayed(engine, 'stock')
    await replayed(engine, 'strict')
    expect((await replayed(engine, 'strict', { dryRun: true })).views).toMatchObject([{ equal: true }])
    await expectAsFoldedAnew(engine)
    const [letter] = await engine.deadLetters.list('strict')
    const { position } = await engine.deadLetters.redrive('strict', [letter!.position])
    await engine.waitFor(position, AbortSignal.timeout(20_000))
    await expectAsFoldedAnew(engine)
    await stopAll()
  })

  it('says so where rows were exchanged and cannot be kept', async () => {
    // The manifest of the checkpoint that follows the exchange; before it, shards make one whose rows are compared.
    let manifests = Number.POSITIVE_INFINITY
    const fs: FileSystem = {
      ...nodeFileSystem,
      open: async (path, mode) => {
        const file = await nodeFileSystem.open(path, mode)
        if (!path.includes('views/')) return file
        return {
          read: (into, at) => file.read(into, at),
          write: async (buffers, at) => {
            if (path.endsWith('checkpoints.json.tmp') && --manifests < 0)
              throw Object.assign(new Error('no room'), { code: 'ENOSPC' })
            await file.write(buffers, at)
          },
          datasync: () => file.datasync(),
          truncate: bytes => file.truncate(bytes),
          size: () => file.size(),
          modifiedMs: () => file.modifiedMs(),
          close: () => file.close(),
        }
      },
    }
    const engine = await continued(shards, new Random(8), fs)
    await replayed(engine, 'strict')
    manifests = shards === 1 ? 0 : 1
    await expect(replayed(engine, 'stock')).rejects.toMatchObject({
      code: 'CHECKPOINT_FAILED',
      message: 'rows were exchanged, and cannot be kept',
    })
    manifests = Number.POSITIVE_INFINITY
    await engine.checkpoint()
    await cp(join(world.folder, 'views'), join(world.folder, 'kept'), { recursive: true })
    await stopAll()
    await expectAsFoldedAnew(await open(2, { path: 'kept' }))
    await stopAll()
  })
})
