// Contracts of a later version over records of earlier ones, also after a restart and without the application.
import { application, topic } from 'mainstem'
import { postgres } from 'mainstem/postgres'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  type AnyTopic,
  compileContract,
  contractOfTable,
  minorUnits,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { allRecords } from '../../support/log-records.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

const contractOf = (declared: AnyTopic & { key: unknown }) =>
  compileContract(declared.name, 'topic', declared.value, declared.key, declared.upcasts)

/** A log that is closed and opened again for each contract. */
class Reopened {
  readonly fileSystem = new SimulatedDisk()

  async write(declared: AnyTopic & { key: unknown }, ...rows: readonly unknown[]): Promise<void> {
    await using log = await this.open()
    const contract = contractOf(declared)
    const known = await log.topic(contract)
    const batch = log.batch()
    for (const row of rows) batch.event(known, contract.parse(row))
    await batch.commit()
  }

  async read(declared?: AnyTopic & { key: unknown }): Promise<(AnyRow | null)[]> {
    await using log = await this.open()
    if (declared) await log.topic(contractOf(declared))
    return (await allRecords(log)).map(record => record.after)
  }

  open() {
    return openEmbeddedLog({ path: '/log', fileSystem: this.fileSystem })
  }
}

const v1 = z.object({ id: z.int(), customer: z.int(), euros: z.number() })
const v2 = z.object({ id: z.int(), customer: z.int(), cents: z.int() })
const v3 = z.object({ id: z.int(), customer_id: z.int(), cents: z.int(), region: z.string() })
const first = topic('orders', { key: 'id', value: v1 })
const toCents = (old: z.output<typeof v1>) => ({
  id: old.id,
  customer: old.customer,
  cents: Math.round(old.euros * 100),
})
const second = topic('orders', { key: 'id', value: v2 }).upcast(1, v1, toCents)
const third = topic('orders', { key: 'id', value: v3 })
  .upcast(2, v2, { renamed: { customer: 'customer_id' }, added: { region: 'eu' } })
  .upcast(1, v1, toCents)

describe('an upcast', () => {
  it('reads records of every older version in the current shape, one version after the other, across restarts', async () => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 })
    await log.write(second, { id: 2, customer: 8, cents: 5 })
    expect(await log.read(second)).toEqual([
      { id: 1, customer: 7, cents: 150 },
      { id: 2, customer: 8, cents: 5 },
    ])
    await log.write(third, { id: 3, customer_id: 9, cents: 6, region: 'us' })
    const all = [
      { id: 1, customer_id: 7, cents: 150, region: 'eu' },
      { id: 2, customer_id: 8, cents: 5, region: 'eu' },
      { id: 3, customer_id: 9, cents: 6, region: 'us' },
    ]
    expect(await log.read(third)).toEqual(all)
    expect(await log.read(third)).toEqual(all)
  })

  it('may pass over versions that never ran here, and stand in any order', async () => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 })
    const spec = { key: 'id', value: v3 } as const
    const columns = { renamed: { customer: 'customer_id' }, added: { region: 'eu' } } as const
    const upcasts = [
      { version: 1, schema: v1, how: toCents },
      { version: 2, schema: v2, how: columns },
    ]
    expect(await log.read({ kind: 'topic', name: 'orders', ...spec, upcasts })).toEqual([
      { id: 1, customer_id: 7, cents: 150, region: 'eu' },
    ])
  })

  it('by column needs no application to be read: names, values and defaults stand in the log', async () => {
    const log = new Reopened()
    const old = z.object({ id: z.int(), name: z.string(), gone: z.boolean() })
    const now = z.object({
      id: z.int(),
      title: z.string(),
      size: z.int().default(5),
      note: z.string().nullable(),
      since: z.date(),
    })
    const declare = (value: typeof now | z.ZodObject, since: Date) =>
      topic('things', { key: 'id', value: value as typeof now }).upcast(1, old, {
        renamed: { name: 'title' },
        added: { since },
      })
    await log.write(topic('things', { key: 'id', value: old }), { id: 1, name: 'one', gone: true })
    const row = { id: 1, title: 'one', size: 5, note: null, since: new Date(9) }
    expect(await log.read(declare(now, new Date(9)))).toEqual([row])
    expect(await log.read()).toEqual([row])
    // A default of that day stays, what the upcast itself says may be mended.
    const later = now.extend({ size: z.int().default(6) })
    expect(await log.read(declare(later, new Date(10)))).toEqual([{ ...row, since: new Date(10) }])
    expect(await log.read()).toEqual([{ ...row, since: new Date(10) }])
  })

  it('goes on with additive changes before and after it', async () => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 })
    const grown = v1.extend({ note: z.string().default('none') })
    await log.write(topic('orders', { key: 'id', value: grown }), { id: 2, customer: 7, euros: 2, note: 'hm' })
    const next = z.object({ id: z.int(), text: z.string() })
    const declare = (value: typeof next) =>
      topic('orders', { key: 'id', value }).upcast(1, grown, old => ({ id: old.id, text: `${old.note} ${old.euros}` }))
    const rows = [
      { id: 1, text: 'none 1.5' },
      { id: 2, text: 'hm 2' },
    ]
    expect(await log.read(declare(next))).toEqual(rows)
    const wider = next.extend({ size: z.int().default(1) })
    expect(await log.read(declare(wider as never))).toEqual(rows.map(row => ({ ...row, size: 1 })))
  })

  it('takes and gives stored rows: what a transform made is not transformed again', async () => {
    const log = new Reopened()
    const old = z.object({ id: z.int(), price: minorUnits(2) })
    const now = z.object({
      id: z.int(),
      price: minorUnits(2),
      at: z.iso.datetime(),
      tags: z.array(z.string()).default([]),
    })
    await log.write(topic('prices', { key: 'id', value: old }), { id: 1, price: '12.5' })
    const declared = topic('prices', { key: 'id', value: now }).upcast(1, old, row => ({
      ...row,
      at: '2026-01-01T00:00:00Z',
      tags: [],
    }))
    expect(await log.read(declared)).toEqual([{ id: 1, price: 1250, at: '2026-01-01T00:00:00Z', tags: [] }])
  })

  it('that throws, gives what the contract refuses, a promise, or another key, fails and names the position', async () => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 }, { id: 2, customer: 7, euros: -1 })
    const faults: [(old: AnyRow) => unknown, string][] = [
      [
        () => {
          throw new Error('no idea')
        },
        'no idea',
      ],
      [old => ({ ...old, cents: 'many' }), 'cents: expected number, received string'],
      [async old => old, 'promise'],
      [old => ({ ...old, id: 77, cents: 1 }), 'key column id'],
      [() => null, 'expected object'],
    ]
    for (const [fault, said] of faults) {
      const how = (old: AnyRow) => (old['id'] === 2 ? fault(old) : { ...old, cents: 1 })
      const declared = { ...second, upcasts: [{ version: 1, schema: v1, how }] }
      await expect(log.read(declared)).rejects.toMatchObject({
        code: 'CONTRACT_UPCAST_FAILED',
        detail: expect.stringMatching(new RegExp(`^position 2: .*${said}`)),
        data: { topic: 'orders', version: 1, position: 2 },
      })
    }
    // Mended code reads them: nothing of the failure is stored.
    expect(await log.read(second)).toEqual([
      { id: 1, customer: 7, cents: 150 },
      { id: 2, customer: 7, cents: -100 },
    ])
  })

  it('by record is missed, with a typed error, where the application is not there', async () => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 })
    await log.read(second)
    await expect(log.read()).rejects.toMatchObject({
      code: 'CONTRACT_UPCAST_MISSING',
      data: { version: 1, position: 1 },
    })
  })

  it('is asked for, with the call to write, where a change breaks stored records', async () => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 })
    await expect(log.read(topic('orders', { key: 'id', value: v2 }))).rejects.toMatchObject({
      code: 'CONTRACT_CHANGED',
      hint: expect.stringContaining("topic('orders', …).upcast(1, oldSchema, old => ({ ...old, cents: … }))"),
      data: { field: 'cents' },
    })
    const columns = topic('orders', { key: 'id', value: v2 }).upcast(1, v1, { renamed: {} })
    await expect(log.read(columns)).rejects.toMatchObject({ code: 'CONTRACT_CHANGED', data: { field: 'cents' } })
  })

  const misfits: [string, z.ZodObject, string][] = [
    ['another type', z.object({ ...v1.shape, euros: z.int() }), 'euros'],
    ['a field less', v1.omit({ euros: true }), 'euros'],
    ['a required field more', v1.extend({ more: z.string() }), 'more'],
  ]
  it.each(misfits)('whose old schema is not the stored one is refused: %s', async (_, schema, field) => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 })
    const declared = { ...second, upcasts: [{ version: 1, schema, how: () => ({ id: 1, customer: 1, cents: 1 }) }] }
    await expect(log.read(declared)).rejects.toMatchObject({
      code: 'CONTRACT_CHANGED',
      data: { topic: 'orders', field },
    })
    // Nothing was stored of the attempt.
    expect(await log.read()).toEqual([{ id: 1, customer: 7, euros: 1.5 }])
  })

  it('that was there may not be taken away again', async () => {
    const log = new Reopened()
    await log.write(first, { id: 1, customer: 7, euros: 1.5 })
    await log.read(second)
    for (const declared of [first, topic('orders', { key: 'id', value: v2 })])
      await expect(log.read(declared)).rejects.toMatchObject({
        code: 'CONTRACT_CHANGED',
        hint: expect.stringContaining('.upcast(1, …)'),
      })
  })

  it('is a change of contract even where the fields stay the same', async () => {
    const fileSystem = new SimulatedDisk()
    await using log = await openEmbeddedLog({ path: '/log', fileSystem })
    await log.topic(contractOf(first))
    const doubled = contractOf(
      topic('orders', { key: 'id', value: v1 }).upcast(1, v1, old => ({ ...old, euros: old.euros * 2 })),
    )
    expect(log.contractChanged(doubled)).toBe(true)
    await log.topic(doubled)
    expect(log.contractChanged(doubled)).toBe(false)
  })

  it('of a captured table reads both rows of its change records, and its changes are the new declaration', async () => {
    const shop = postgres('shop', { url: 'postgres://localhost/shop' })
    const before = shop.table('orders', { key: 'id', row: v1 })
    const now = shop.table('orders', { key: 'id', row: v2 }).upcast(1, v1, toCents)
    expect(now.changes).toMatchObject({ kind: 'changes', name: 'shop.orders', table: now })
    expect([contractOfTable(before).version, contractOfTable(now).version]).toEqual([1, 2])
    const row = (euros: number) => ({ id: 1, customer: 7, euros })
    const fileSystem = new SimulatedDisk()
    {
      await using log = await openEmbeddedLog({ path: '/log', fileSystem })
      const known = await log.topic(contractOfTable(before))
      const batch = log.batch()
      batch.insert(known, row(1))
      batch.update(known, row(1), row(2))
      batch.delete(known, row(2))
      await batch.commit()
    }
    await using log = await openEmbeddedLog({ path: '/log', fileSystem })
    await log.topic(contractOfTable(now))
    const later = (cents: number) => ({ id: 1, customer: 7, cents })
    expect((await allRecords(log)).map(record => [record.op, record.before, record.after])).toEqual([
      ['insert', null, later(100)],
      ['update', later(100), later(200)],
      ['delete', later(200), null],
    ])
  })

  it('needs versions from 1 without a gap, and names that its schemas have', () => {
    const invalid = (declare: () => AnyTopic & { key: unknown }) =>
      expect(() => contractOf(declare())).toThrow(expect.objectContaining({ code: 'DEFINITION_INVALID' }))
    const plain = () => topic('orders', { key: 'id', value: v2 })
    invalid(() => plain().upcast(2, v1, toCents))
    invalid(() =>
      plain()
        .upcast(1, v1, toCents)
        .upcast(1, v1, old => old),
    )
    invalid(() => plain().upcast(1, v1, undefined as never))
    invalid(() => plain().upcast(1, z.object({ nr: z.int() }), () => ({ id: 1, customer: 1, cents: 1 })))
    invalid(() => plain().upcast(1, v1, { renamed: { nope: 'cents' } as never }))
    invalid(() => plain().upcast(1, v1, { renamed: { euros: 'nope' } as never }))
    invalid(() => plain().upcast(1, v1, { renamed: { id: 'cents' } }))
    invalid(() => plain().upcast(1, v1, { added: { customer: 1 } }))
    expect(application('shop', { views: [], topics: [third] })).toBeTruthy()
  })
})
