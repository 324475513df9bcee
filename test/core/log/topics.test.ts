// Contracts that change while the records in the log stay.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, compileContract, openEmbeddedLog } from '../../../core/index.ts'
import { allRecords } from '../../support/log-records.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const contract = (shape: z.ZodRawShape, key: string | string[] = 'id') =>
  compileContract('things', 'table', z.object(shape), key)

const base = {
  id: z.int32(),
  name: z.string(),
  kind: z.enum(['a', 'b']),
  place: z.object({ x: z.number(), tags: z.array(z.int32()) }),
}
const old: AnyRow = { id: 1, name: 'one', kind: 'b', place: { x: 0.5, tags: [1, 2] } }

/** A log with one record of `shape`; gives the record as each later contract in turn reads it. */
async function readBy(shape: z.ZodRawShape, row: AnyRow, ...later: z.ZodRawShape[]): Promise<AnyRow | null> {
  const fileSystem = new SimulatedDisk()
  let log = await openEmbeddedLog({ path: '/log', fileSystem })
  const topic = await log.topic(contract(shape))
  const batch = log.batch()
  batch.insert(topic, row)
  await batch.commit()
  for (const next of later) {
    await log.close()
    log = await openEmbeddedLog({ path: '/log', fileSystem })
    await log.topic(contract(next))
  }
  // Once more, without anyone naming the contract: what is stored is enough.
  const current = (await allRecords(log))[0]?.after ?? null
  await log.close()
  log = await openEmbeddedLog({ path: '/log', fileSystem })
  expect((await allRecords(log))[0]?.after).toEqual(current)
  await log.close()
  return current
}

describe('a changed contract', () => {
  it('reads older records with added fields: null, undefined, or the default of that day', async () => {
    const since = new Date(5)
    const added = { ...base, note: z.string().nullable(), size: z.int().optional(), since: z.date().default(since) }
    expect(await readBy(base, old, added)).toEqual({ ...old, note: null, size: undefined, since })
    const later = { ...added, since: z.date().default(new Date(99)) }
    expect(await readBy(base, old, added, later)).toEqual({ ...old, note: null, size: undefined, since })
  })

  it('takes added fields of any name, those that every object inherits too', async () => {
    const names = { constructor: z.string().nullable(), toString: z.int().default(4), valueOf: z.int().optional() }
    const row = await readBy(base, old, { ...base, ...names })
    expect([row?.['constructor'], row?.['toString'], row?.['valueOf']]).toEqual([null, 4, undefined])
  })

  it('reads older records without removed fields, and a field that comes back as newly added', async () => {
    const { name, ...rest } = base
    expect(await readBy(base, old, rest)).toEqual({ id: 1, kind: 'b', place: old['place'] })
    expect(await readBy(base, old, rest, { ...rest, name: name.default('new') })).toEqual({ ...old, name: 'new' })
  })

  it('reads int32 as int, enums with more values, required as nullable, fields in another order, also inside of others', async () => {
    const wider = {
      kind: z.enum(['c', 'b', 'a']).nullable(),
      name: z.string().optional(),
      place: z.object({ tags: z.array(z.int().nullable()), x: z.number(), y: z.number().nullable() }),
      id: z.int(),
    }
    expect(await readBy(base, old, wider)).toEqual({ ...old, place: { x: 0.5, y: null, tags: [1, 2] } })
  })

  it('reads maps and records of changed values', async () => {
    const shape = {
      id: z.int(),
      sums: z.map(z.string(), z.object({ n: z.int32() })),
      open: z.record(z.string(), z.object({ n: z.int32() })),
    }
    const row = { id: 1, sums: new Map([['k', { n: 1 }]]), open: { k: { n: 2 } } }
    const inner = z.object({ n: z.int(), m: z.string().nullable() })
    const later = { id: z.int(), sums: z.map(z.string(), inner), open: z.record(z.string(), inner) }
    expect(await readBy(shape, row, later)).toEqual({
      id: 1,
      sums: new Map([['k', { n: 1, m: null }]]),
      open: { k: { n: 2, m: null } },
    })
  })

  it('writes new records in the new shape beside the old', async () => {
    const log = await openEmbeddedLog({ path: '/log', fileSystem: new SimulatedDisk() })
    const first = contract(base)
    const second = contract({ ...base, note: z.string().nullable() })
    const topic = await log.topic(first)
    const one = log.batch()
    one.insert(topic, old)
    await one.commit()
    expect([log.contractChanged(first), log.contractChanged(second)]).toEqual([false, true])
    const same = await log.topic(second)
    expect([log.contractChanged(first), log.contractChanged(second)]).toEqual([true, false])
    expect(same).toBe(topic)
    expect(same.contract).toBe(second)
    const two = log.batch()
    two.update(same, { ...old, note: null }, { ...old, note: 'hm' })
    await two.commit()
    expect((await allRecords(log)).map(({ before, after }) => [before?.['note'], after?.['note']])).toEqual([
      [undefined, null],
      [null, 'hm'],
    ])
    await log.close()
  })

  it('is not taken for a change when only what is checked differs, not what is stored', async () => {
    const log = await openEmbeddedLog({ path: '/log', fileSystem: new SimulatedDisk() })
    await log.topic(contract(base))
    expect(log.contractChanged(contract({ ...base, name: z.email().max(50) }))).toBe(false)
    expect(log.contractChanged(compileContract('others', 'table', z.object(base), 'id'))).toBe(false)
    await log.close()
  })

  const refused: [string, z.ZodRawShape, string][] = [
    ['a required field without a default', { ...base, extra: z.string() }, 'extra'],
    ['another type', { ...base, name: z.int() }, 'name'],
    ['a narrower integer', { ...base, place: z.object({ x: z.int32(), tags: z.array(z.int32()) }) }, 'place.x'],
    ['fewer enum values', { ...base, kind: z.enum(['a', 'c']) }, 'kind'],
    ['a required nested field', { ...base, place: z.object({ ...base.place.shape, z: z.string() }) }, 'place.z'],
    [
      'another element type',
      { ...base, place: z.object({ x: z.number(), tags: z.array(z.string()) }) },
      'place.tags.[]',
    ],
  ]
  it.each(refused)('is refused, naming the field: %s', async (_, shape, field) => {
    await expect(readBy(base, old, shape)).rejects.toMatchObject({
      code: 'CONTRACT_CHANGED',
      message: expect.stringContaining(`'${field}'`),
      data: { topic: 'things', field },
    })
  })

  it('is refused when nullable becomes required, or the key another one', async () => {
    const nullable = { ...base, name: z.string().nullable() }
    await expect(readBy(nullable, old, base)).rejects.toMatchObject({
      code: 'CONTRACT_CHANGED',
      data: { field: 'name' },
    })
    const log = await openEmbeddedLog({ path: '/log', fileSystem: new SimulatedDisk() })
    await log.topic(contract(base))
    for (const key of ['name', ['id'], ['id', 'name']]) {
      await expect(log.topic(contract(base, key))).rejects.toMatchObject({ code: 'CONTRACT_CHANGED' })
    }
    expect((await log.topic(contract(base))).contract.key.single).toBe(true)
    await log.close()
  })
})
