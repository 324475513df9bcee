import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nodeFileSystem } from '../../../core/index.ts'
import { partsOf } from '../../../projections/index.ts'
import { Pace } from '../../../projections/past/pace.ts'
import { TouchIndex } from '../../../projections/past/touch-index.ts'
import { realScheduler } from '../../../projections/shards/scheduler.ts'
import { hashOfNumber } from '../../../projections/state/keys.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { FoldedView } from '../../../projections/view.ts'
import { app, invoices, KEYS, payments, RandomTables, useWorld, world } from '../ledger.ts'

useWorld()

const PART = 40

function openIndex(fingerprint = 'one', partPositionsMax = PART): TouchIndex {
  const views = partsOf(app).projections.map(
    definition => new FoldedView(definition, { position: 0, timeMs: 0 }, new StateMemory(0)),
  )
  const { log, folder } = world
  return new TouchIndex({ log, views, fs: nodeFileSystem, path: join(folder, 'past'), fingerprint, partPositionsMax })
}

/** By bill, the positions of the records that go there: invoices by id, payments by invoice. */
async function touchesOfBills(transactions: number, seed: number): Promise<Map<number, number[]>> {
  const tables = new RandomTables(seed)
  const touches = new Map<number, number[]>(Array.from({ length: KEYS }, (_, key) => [key, []]))
  for (let n = 0; n < transactions; n++) {
    const ops = tables.transaction()
    const last = await world.writer.transaction(ops)
    for (const [i, each] of ops.entries()) {
      const position = last - ops.length + 1 + i
      const column = each.table === invoices ? 'id' : 'invoice'
      expect([invoices, payments]).toContain(each.table)
      const rows = ['before' in each ? each.before : undefined, 'after' in each ? each.after : undefined]
      for (const key of new Set(rows.flatMap(row => (row ? [row[column] as number] : []))))
        touches.get(key)!.push(position)
    }
  }
  return touches
}

const pace = () => new Pace(realScheduler, 2)
const find = async (index: TouchIndex, keys: readonly number[], after = 0, upTo = world.log.end) => {
  const wanted = new Map([['bills', new Set(keys.map(key => hashOfNumber(key)))]])
  return [...(await index.positions(wanted, { after, upTo, most: 10_000 }, pace()))]
}
const files = async () => (await readdir(join(world.folder, 'past'))).filter(name => name.endsWith('.touches'))

test('it names the positions of the records of a key, in files and in memory, and no others', async () => {
  const touches = await touchesOfBills(100, 1)
  const index = openIndex()
  for (const [key, positions] of touches) expect(await find(index, [key])).toEqual(positions)
  expect((await files()).length).toBeGreaterThan(3)
  expect(await find(index, [KEYS + 1])).toEqual([])
  const both = [...new Set([...touches.get(1)!, ...touches.get(2)!])].sort((a, b) => a - b)
  expect(await find(index, [1, 2])).toEqual(both)
  expect(await find(index, [1, 2], 50, 120)).toEqual(both.filter(position => position > 50 && position <= 120))
})

test('it grows with the log, and goes on from its files after a restart', async () => {
  const first = await touchesOfBills(40, 2)
  const index = openIndex()
  expect(await find(index, [3])).toEqual(first.get(3))
  const before = await files()
  await world.writer.transaction([{ op: 'insert', table: payments, after: { id: 99, invoice: 3, cents: 1 } }])
  const all = [...first.get(3)!, world.log.end]
  expect(await find(index, [3])).toEqual(all)
  const again = openIndex()
  expect(await find(again, [3])).toEqual(all)
  expect(await files()).toEqual(expect.arrayContaining(before))
})

test('files of other code, and damaged ones, are made anew', async () => {
  const touches = await touchesOfBills(60, 3)
  await find(openIndex('old code'), [1])
  const old = await Promise.all((await files()).map(name => readFile(join(world.folder, 'past', name))))
  const index = openIndex()
  expect(await find(index, [1])).toEqual(touches.get(1))
  const names = await files()
  expect(names.length).toBe(old.length)
  for (const name of names) {
    const path = join(world.folder, 'past', name)
    const bytes = await readFile(path)
    bytes[bytes.length - 1]! ^= 0xff
    await writeFile(path, bytes)
    expect(await find(index, [...touches.keys()])).toEqual(
      [...new Set([...touches.values()].flat())].sort((a, b) => a - b),
    )
    bytes[10]! ^= 0xff
    await writeFile(path, bytes)
    expect(await find(openIndex(), [1])).toEqual(touches.get(1))
  }
})

test('a scan that is ended midway leaves what it found, and no more', async () => {
  const touches = await touchesOfBills(150, 4)
  const index = openIndex('one', 1_000)
  const gone = new AbortController()
  const scheduler = {
    nowMs: () => performance.now(),
    yield: async () => gone.abort(new Error('gone')),
    after: () => () => {},
  }
  const wanted = new Map([['bills', new Set([hashOfNumber(1)])]])
  const range = { after: 0, upTo: world.log.end, most: 10_000 }
  const search = index.positions(wanted, range, new Pace(scheduler, 0, gone.signal))
  await expect(search).rejects.toThrow('gone')
  for (const [key, positions] of touches) expect(await find(index, [key])).toEqual(positions)
})

test('more positions than are wanted at most are an error', async () => {
  const touches = await touchesOfBills(40, 5)
  const wanted = new Map([['bills', new Set([hashOfNumber(1)])]])
  const most = touches.get(1)!.length - 1
  const range = { after: 0, upTo: world.log.end, most }
  await expect(openIndex().positions(wanted, range, pace())).rejects.toMatchObject({ code: 'AT_TOO_FAR' })
})
