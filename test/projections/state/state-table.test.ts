import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { describeFields, KeyCodec, RUN_ROWS_MAX } from '../../../core/index.ts'
import { KeyPlaces, KeySource } from '../../../projections/state/key-heap.ts'
import { SUPPORT_MAX } from '../../../projections/state/layout.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { RowList } from '../../../projections/state/row-list.ts'
import { RunRows } from '../../../projections/state/row-places.ts'
import { StateTable } from '../../../projections/state/state-table.ts'
import { zeroOf } from '../../../projections/state/zero.ts'
import { Random } from '../../support/random.ts'

function table(schema: z.ZodObject, key: z.ZodType = z.int(), memory = new StateMemory()): StateTable {
  const type = describeFields(z.object({ key }), 'output', 'key').fields[0]!.type
  const value = describeFields(schema, 'output', 'state')
  return new StateTable(
    { name: 'v' },
    value,
    [],
    new KeyCodec([{ name: 'key', type }], true, 'v'),
    zeroOf(schema, 'v'),
    memory,
  )
}

const counts = z.object({ n: z.int(), name: z.string().nullable() })

describe('a table of rows', () => {
  it.each([
    ['int', z.int(), (n: number) => n * 7919 - 50_000],
    ['string', z.string(), (n: number) => `k${n}`],
  ])('finds each row by its %s key through growth, removal and reuse', (_, key, keyOf) => {
    const rows = table(counts, key)
    const random = new Random(5)
    const model = new Map<number, number>()
    for (let step = 0; step < 120_000; step++) {
      const n = random.int(30_000)
      const id = rows.keys.idOf(keyOf(n))
      if (random.next() < 0.45) {
        const row = rows.find(id)
        expect(row >= 0).toBe(model.delete(n))
        if (row >= 0) rows.remove(row)
      } else {
        const row = rows.findOrAdd(id)
        rows.open(row)
        expect(rows.draft['n']).toBe(model.get(n) ?? 0)
        rows.draft['n'] = step
        rows.draft['name'] = `name ${n}`
        rows.close()
        model.set(n, step)
      }
    }
    for (let n = 0; n < 30_000; n++) {
      const row = rows.find(rows.keys.idOf(keyOf(n)))
      if (row < 0) expect(model.has(n)).toBe(false)
      else expect(rows.toObject(row)).toEqual({ n: model.get(n), name: `name ${n}` })
    }
  })

  it('stands a row more than its pages hold', () => {
    const wide = z.object({ by: z.record(z.enum(Array.from({ length: 3_000 }, (_, n) => `v${n}`)), z.int32()) })
    const rows = table(wide)
    for (let key = 0; key < 300; key++) {
      const row = rows.findOrAdd(key)
      rows.open(row)
      ;(rows.draft['by'] as Record<string, number>)['v2999'] = key
      rows.close()
    }
    for (let key = 0; key < 300; key++)
      expect(rows.toObject(rows.find(key))).toMatchObject({ by: { v0: 0, v2999: key } })
    expect(rows.bytes).toBeGreaterThan(3_000 * 300 * 4)
  })

  it('keeps integers, booleans and enums in halves of words: whatever their bits, copies and comparisons are exact', () => {
    const shape = z.object({
      a: z.int32(),
      b: z.int32(),
      open: z.boolean(),
      far: z.int(),
      at: z.int32().nullable(),
      kind: z.enum(['x', 'y', 'z']).default('x'),
    })
    const rows = table(shape)
    // Two halves that would be a signalling NaN, a quiet one, −0 and −Infinity, were they read as a float.
    const bits = [0x7ff00001, 0x7ff80000, -0x80000000, -0x100000, -1, 0x7fffffff, 0, 1]
    const values = bits.flatMap(a =>
      bits.map(b => ({ a, b, open: a > b, far: a * 1_048_576 + 1, at: null, kind: 'y' })),
    )
    const row = rows.findOrAdd(1)
    const other = rows.findOrAdd(2)
    for (const value of values) {
      rows.assign(row, value)
      rows.setSupport(row, 3)
      rows.setFlags(row, 5)
      const copy = rows.copy(row)
      expect([rows.toObject(row), rows.toObject(copy), rows.isEqual(row, copy)]).toEqual([value, value, true])
      for (const change of [{ a: value.a ^ 1 }, { b: value.b ^ 1 }, { open: !value.open }, { at: 0 }, { kind: 'z' }]) {
        rows.assign(other, { ...value, ...change })
        expect(rows.isEqual(other, copy)).toBe(false)
      }
      expect([rows.support(row), rows.flags(row), rows.flags(copy)]).toEqual([3, 5, 0])
      rows.releaseCopy(copy)
    }
    rows.clear(row)
    expect([rows.isZero(row), rows.support(row), rows.flags(row)]).toEqual([true, 3, 5])
    expect(() => rows.assign(row, { ...values[0], a: 2 ** 31 })).toThrow(
      expect.objectContaining({ code: 'STATE_INVALID' }),
    )
  })

  it('counts the support of a row up to its bound, and refuses what it cannot tell there', () => {
    const rows = table(counts)
    const row = rows.findOrAdd(1)
    const add = (weight: number) => {
      rows.open(row)
      rows.closeWith(weight)
    }
    rows.setSupport(row, SUPPORT_MAX - 1)
    add(1)
    add(1)
    expect(rows.support(row)).toBe(SUPPORT_MAX)
    expect(() => add(-1)).toThrow(expect.objectContaining({ code: 'STATE_INVALID' }))
    rows.setSupport(row, 2 ** 40)
    expect(rows.support(row)).toBe(SUPPORT_MAX)
    rows.setSupport(row, 1)
    add(-1)
    expect(rows.support(row)).toBe(0)
  })

  it.each([
    ['int', z.int(), (n: number) => n * 7919 - 2 ** 40],
    ['string', z.string(), (n: number) => `${'é'.repeat(n % 5)}${n}`],
  ])('finds %s keys in runs, those that come twice in one, too, as it finds them one by one', (_, key, keyOf) => {
    const rows = table(counts, key)
    const one = table(counts, key)
    const random = new Random(11)
    const run = new RunRows()
    const places = new KeyPlaces()
    for (let turn = 0; turn < 300; turn++) {
      const keys = Array.from({ length: 1 + random.int(RUN_ROWS_MAX) }, () => keyOf(random.int(20_000)))
      run.begin()
      if (typeof keys[0] === 'number') rows.findOrAddNumbers(Float64Array.from(keys as number[]), 0, keys.length, run)
      else {
        const texts = keys.map(each => Buffer.from(each as string))
        for (const [n, text] of texts.entries()) {
          places.starts[n] = n === 0 ? 0 : places.ends[n - 1]!
          places.ends[n] = places.starts[n]! + text.length
        }
        rows.findOrAddBytes(new KeySource(Buffer.concat(texts)), places, keys.length, run)
      }
      expect(Array.from(run.rows.subarray(0, run.found))).toEqual(keys.map(each => rows.find(rows.keys.idOf(each))))
      for (const each of keys) one.findOrAdd(one.keys.idOf(each))
      expect(rows.places).toBe(one.places)
    }
    for (let row = 0; row < rows.places; row += 3) rows.remove(row)
    for (let row = 0; row < rows.places; row++) if (row % 3 !== 0) expect(rows.find(rows.idOf(row))).toBe(row)
  })

  it('counts what its values take in the heap, and gives it back', () => {
    const memory = new StateMemory()
    const rows = table(
      z.object({ tags: z.array(z.string()), seen: z.map(z.string(), z.int()), big: z.bigint() }),
      z.string(),
      memory,
    )
    const empty = rows.bytes
    for (let key = 0; key < 100; key++) {
      const row = rows.findOrAdd(`key ${key}`)
      rows.open(row)
      rows.draft['tags'] = ['x'.repeat(1_000)]
      ;(rows.draft['seen'] as Map<string, number>).set('y'.repeat(1_000), 1)
      rows.draft['big'] = 10n ** 30n
      rows.close()
      rows.checkHeap()
    }
    expect(rows.bytes - empty).toBeGreaterThan(200_000)
    const copy = rows.copy(rows.find('key 1'))
    expect(rows.isEqual(copy, rows.find('key 1'))).toBe(true)
    rows.releaseCopy(copy)
    const page = rows.bytes
    for (let key = 0; key < 100; key++) rows.remove(rows.find(`key ${key}`))
    expect(page - rows.bytes).toBeGreaterThan(200_000)
    rows.drop()
    expect([rows.bytes, memory.bytes]).toEqual([0, 0])
  })

  it('refuses a row beyond the limit of memory', () => {
    const rows = table(counts, z.int(), new StateMemory(6 * 2 ** 20))
    const fill = () => {
      for (let key = 0; key < 1e6; key++) rows.findOrAdd(key)
    }
    expect(fill).toThrow(expect.objectContaining({ code: 'STATE_TOO_LARGE' }))
    const texts = table(counts, z.int(), new StateMemory(8 * 2 ** 20))
    const write = () => {
      for (let key = 0; key < 1e4; key++) {
        texts.open(texts.findOrAdd(key))
        texts.draft['name'] = `${key}`.padEnd(10_000)
        texts.close()
        texts.checkHeap()
      }
    }
    expect(write).toThrow(expect.objectContaining({ code: 'STATE_TOO_LARGE' }))
  })
})

describe('a list of rows', () => {
  it('keeps their order beyond a chunk', () => {
    const list = new RowList()
    for (let n = 0; n < 100_000; n++) list.push(n * 3)
    expect([list.at(0), list.at(40_000), list.at(99_999), list.length]).toEqual([0, 120_000, 299_997, 100_000])
    expect(list.pop()).toBe(299_997)
    list.clear()
    expect(list.length).toBe(0)
    list.push(7)
    expect(list.at(0)).toBe(7)
  })
})
