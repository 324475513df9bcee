import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { describeFields, KeyCodec } from '../../../core/index.ts'
import { KeyOrder } from '../../../projections/state/key-order.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { RowList } from '../../../projections/state/row-list.ts'
import { StateTable } from '../../../projections/state/state-table.ts'
import { Random } from '../../support/random.ts'

const texts = [
  '',
  '\0',
  'a',
  'a\0',
  'ab',
  'abcdef',
  'abcdefg',
  'abcdefh',
  'é',
  'e\u0301',
  '😀',
  '\uffee',
  'abcdef\0',
  'abcdefgh',
]

describe('the order of rows', () => {
  it.each([
    ['integers', z.int(), (random: Random) => random.int(2 ** 31) * random.pick([1, -1, 2 ** 20])],
    ['strings', z.string(), (random: Random) => random.pick(texts) + random.pick(['', random.pick(texts)])],
    ['dates', z.date(), (random: Random) => new Date(random.int(2 ** 31) * random.pick([1, -1, 1000]))],
    [
      'bigints',
      z.bigint(),
      (random: Random) => BigInt(random.int(9) - 4) * 2n ** BigInt(random.int(70)) + BigInt(random.int(3)),
    ],
  ])('of %s is that of their key bytes', (_, schema, keyOf) => {
    const random = new Random(11)
    const type = describeFields(z.object({ key: schema }), 'output', 'key').fields[0]!.type
    const codec = new KeyCodec([{ name: 'key', type }], true, 'v')
    const state = describeFields(z.object({ n: z.int() }), 'output', 'state')
    const table = new StateTable({ name: 'v' }, state, [], codec, { n: 0 }, new StateMemory())
    const order = new KeyOrder(table)
    for (const count of [0, 1, 2, 7, 8, 9, 100, 1_500]) {
      const keys = Array.from({ length: count }, () => keyOf(random))
      const rows = [...new Set(keys.map(key => table.findOrAdd(table.keys.idOf(key))))]
      const list = new RowList()
      for (const row of rows) list.push(row)
      const bytesOf = (row: number) => codec.encode(table.keyOf(row))
      const sorted = [...rows].sort((a, b) => Buffer.compare(bytesOf(a), bytesOf(b)))
      expect(Array.from(order.of(list), n => rows[n])).toEqual(sorted)
    }
  })
})
