// Declared aggregates against the same computed from scratch: random inserts, updates, key changes and deletes, with a restart
// from a checkpoint in between.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, ByteReader, ByteWriter, topic } from '../../core/index.ts'
import { count, countBy, last, max, min, projection, sum, sumBy } from '../../projections/index.ts'
import type { ProjectionDefinition } from '../../projections/projection.ts'
import { StateMemory } from '../../projections/state/memory.ts'
import { FoldedView } from '../../projections/view.ts'
import { Random } from '../support/random.ts'
import { restoreRow } from '../support/restore-row.ts'
import { tableSource } from '../support/table-source.ts'

const Status = z.enum(['placed', 'paid'])
const columns = {
  id: z.int(),
  customer: z.int().nullable(),
  cents: z.int().nullable(),
  huge: z.bigint(),
  status: Status.nullable(),
  at: z.date().nullable(),
  name: z.string(),
}
const orders = tableSource().table('orders', { key: 'id', row: z.object(columns) })
const clicks = topic('clicks', { key: 'id', value: z.object(columns) })

const state = z.object({
  orders: z.int32(),
  cents: z.int(),
  huge: z.bigint(),
  byStatus: z.record(Status, z.int32()),
  centsBy: z.record(Status, z.int()),
  first: z.date().nullable(),
  latest: z.date().nullable(),
  least: z.int().nullable(),
  most: z.bigint().nullable(),
  name: z.string().nullable(),
})
const what = {
  orders: count(),
  cents: sum('cents'),
  huge: sum('huge'),
  byStatus: countBy('status'),
  centsBy: sumBy('status', 'cents'),
  first: min('at'),
  latest: max('at'),
  least: min('cents'),
  most: max('huge'),
  name: max('name'),
}
const spec = { key: z.int(), state }
const declared = projection('declared', spec).on(orders, 'customer', what)
const counted = projection('counted', spec).on(clicks, 'customer', { ...what, name: last('name') })

const open = (view: unknown): FoldedView =>
  new FoldedView(view as ProjectionDefinition, { position: 1, timeMs: 0 }, new StateMemory())

const randomRow = (random: Random, id: number): AnyRow => ({
  id,
  customer: random.next() < 0.2 ? null : random.int(3),
  cents: random.next() < 0.2 ? null : random.int(7) - 3,
  huge: BigInt(random.int(5)) * 10n ** BigInt(random.pick([0, 30])),
  status: random.next() < 0.2 ? null : random.pick(Status.options),
  at: random.next() < 0.2 ? null : new Date(random.int(5) * 1000),
  name: random.pick(['', 'a', 'b', 'ü']),
})

/** The same from all rows of a customer, in order. */
function recomputed(rows: readonly AnyRow[]): AnyRow | undefined {
  if (rows.length === 0) return undefined
  const of = <T>(name: string): T[] => rows.map(row => row[name] as T).filter(value => value !== null)
  const extreme = <T>(values: readonly T[], better: (a: T, b: T) => boolean): T | null =>
    values.reduce<T | null>((best, value) => (best === null || better(value, best) ? value : best), null)
  const by = (add: (row: AnyRow) => number) =>
    Object.fromEntries(
      Status.options.map(each => [
        each,
        rows.filter(row => row['status'] === each).reduce((total, row) => total + add(row), 0),
      ]),
    )
  return {
    orders: rows.length,
    cents: of<number>('cents').reduce((a, b) => a + b, 0),
    huge: of<bigint>('huge').reduce((a, b) => a + b, 0n),
    byStatus: by(() => 1),
    centsBy: by(row => (row['cents'] as number | null) ?? 0),
    first: extreme(of<Date>('at'), (a, b) => a < b),
    latest: extreme(of<Date>('at'), (a, b) => a > b),
    least: extreme(of<number>('cents'), (a, b) => a < b),
    most: extreme(of<bigint>('huge'), (a, b) => a > b),
    name: extreme(of<string>('name'), (a, b) => a > b),
  }
}

function restarted(view: FoldedView): FoldedView {
  const again = open(view.definition)
  const writer = new ByteWriter()
  view.changes.begin(row => {
    if (view.table.support(row) <= 0) return
    writer.at = 0
    view.codec.encode(writer, view.table.toStored(row))
    const stored = again.codec.decode(new ByteReader(writer.copy()))
    restoreRow(again, view.table.keys.bytesOf(view.table.idOf(row)), view.table.support(row), stored)
  })
  while (view.changes.step());
  return again
}

const inputKey = { fromRow: (row: AnyRow) => row['id'] }

describe('declared aggregates', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('of a table equal a computation from scratch (seed %i)', seed => {
    const random = new Random(seed)
    const rows = new Map<number, AnyRow>()
    let view = open(declared)
    for (let step = 0; step < 400; step++) {
      const id = random.int(12)
      const before = rows.get(id) ?? null
      const after = before && random.next() < 0.3 ? null : randomRow(random, id)
      if (after) rows.set(id, after)
      else rows.delete(id)
      view.fold(view.routes[0]!, before, after, inputKey)
      view.endTransaction(step)
      expect(view.error).toBe(undefined)
      for (let key = 0; key < 3; key++) {
        const own = [...rows.values()].filter(row => row['customer'] === key)
        expect(view.get(key), `seed ${seed}, step ${step}, customer ${key}`).toEqual(recomputed(own))
      }
      // Only a view whose every row has been changed is whole in one checkpoint.
      if (step === 200) view = restarted(view)
    }
    for (const row of rows.values()) view.fold(view.routes[0]!, row, null, inputKey)
    view.endTransaction(1_000)
    expect([view.error, view.size]).toEqual([undefined, 0])
  })

  it('of a topic equal a computation from scratch', () => {
    const random = new Random(9)
    const events: AnyRow[] = []
    const view = open(counted)
    for (let id = 0; id < 300; id++) {
      const event = randomRow(random, id)
      events.push(event)
      view.fold(view.routes[0]!, null, event, inputKey)
      view.endTransaction(id)
    }
    for (let key = 0; key < 3; key++) {
      const own = events.filter(row => row['customer'] === key)
      expect(view.get(key)).toEqual({ ...recomputed(own), name: own.at(-1)?.['name'] })
    }
  })

  it('stand beside handlers, and what they keep is seen by nobody', () => {
    let seen: AnyRow = {}
    const mixed = projection('mixed', spec)
      .on(orders, 'customer', what)
      .on(clicks, 'customer', s => {
        seen = { ...s }
        s.orders += 100
      })
    const view = open(mixed)
    const row = randomRow(new Random(3), 1)
    view.fold(view.routes[0]!, null, { ...row, customer: 1 }, inputKey)
    view.fold(view.routes[1]!, null, { ...row, customer: 1 }, inputKey)
    view.endTransaction(1)
    expect(view.error).toBe(undefined)
    expect(view.get(1)).toMatchObject({ orders: 101 })
    expect(Object.keys(seen)).toEqual(Object.keys(state.shape))
    expect(Object.keys(view.get(1)!)).toEqual(Object.keys(state.shape))
  })

  it.each([
    ['nope', count(), `the state has no field 'nope'`],
    ['orders', sum('nope'), `its input has no column 'nope'`],
    ['orders', sum('name'), `'name' is not a number`],
    ['orders', sum('huge'), 'a sum of bigints needs a bigint'],
    ['orders', max('cents'), 'it is null where there is no value: make it nullable'],
    ['first', min('name'), `'name' is of kind string, 'first' of kind date`],
    ['name', last('name'), 'rows of a table have no order: take max of a time column'],
    ['orders', countBy('status'), 'it needs a record of numbers over the enum'],
    ['byStatus', countBy('name'), `'name' is not an enum column`],
  ])('refuse a misfit: %s', (field, aggregate, detail) => {
    const view = projection('bad', spec).on(orders, 'customer', { [field]: aggregate } as never)
    expect(() => open(view)).toThrow(expect.objectContaining({ code: 'DEFINITION_INVALID', detail }))
  })
})
