import { describe, expect, it } from 'vitest'
import { SortedRows } from '../../../projections/indexes/sorted-rows.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { Random } from '../../support/random.ts'

describe('rows in an order', () => {
  it.each([1, 2, 3, 4])(
    'are those that were put in and not taken out, whichever stand first in a leaf (seed %i)',
    seed => {
      const random = new Random(seed)
      const ROWS = 6_000
      // Values of rows, each once; an entry is a value's four bytes.
      const values = Uint32Array.from({ length: ROWS }, (_, n) => n)
      for (let n = ROWS - 1; n > 0; n--) {
        const other = random.int(n + 1)
        ;[values[n], values[other]] = [values[other]!, values[n]!]
      }
      const order = {
        compare: (a: number, b: number) => values[a]! - values[b]!,
        compareTo: (row: number, bytes: Buffer) => values[row]! - bytes.readUInt32BE(),
      }
      const memory = new StateMemory()
      const rows = new SortedRows(order, memory)
      const there = new Set<number>()
      const add = (row: number) => {
        rows.add(row)
        there.add(row)
      }
      const remove = (row: number) => {
        rows.remove(row)
        there.delete(row)
      }
      const expected = () => [...there].sort(order.compare)
      const entry = (value: number) => {
        const bytes = Buffer.alloc(4)
        bytes.writeUInt32BE(value)
        return bytes
      }
      // Grows, shrinks to nothing, grows again; by chance, and in its order from either end.
      for (const [share, steps] of [
        [0.9, 7_000],
        [0.4, 7_000],
        [0.7, 5_000],
      ] as const)
        for (let n = 0; n < steps; n++) {
          const row = random.int(ROWS)
          if (random.next() < share === there.has(row)) continue
          if (there.has(row)) remove(row)
          else add(row)
        }
      const check = () => {
        const all = expected()
        expect(rows.length).toBe(all.length)
        expect([...rows.between(undefined, undefined, false, ROWS)]).toEqual(all)
        const [from, to] = [random.int(ROWS), random.int(ROWS)]
        const within = all.filter(row => values[row]! >= from && values[row]! < to)
        expect([...rows.between(entry(from), entry(to), false, 50)]).toEqual(within.slice(0, 50))
        expect([...rows.between(entry(from), entry(to), true, 50)]).toEqual(within.toReversed().slice(0, 50))
      }
      for (let n = 0; n < 20; n++) check()
      for (const row of expected().slice(0, 1_000)) remove(row)
      check()
      for (const row of expected().toReversed()) remove(row)
      check()
      expect(rows.bytes).toBe(0)
    },
  )
})
