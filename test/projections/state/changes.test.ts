import { expect, it } from 'vitest'
import { z } from 'zod'
import { describeFields, KeyCodec } from '../../../core/index.ts'
import { Changes, LIVE } from '../../../projections/state/changes.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { StateTable } from '../../../projections/state/state-table.ts'
import { zeroOf } from '../../../projections/state/zero.ts'

const schema = z.object({ n: z.int() })

it('a place that is given back while a checkpoint takes all rows is given back once', () => {
  const key = new KeyCodec([{ name: 'key', type: { kind: 'int' } }], true, 'v')
  const value = describeFields(schema, 'output', 'v')
  const table = new StateTable({ name: 'v' }, value, [], key, zeroOf(schema, 'v'), new StateMemory())
  const changes = new Changes(table)
  const waiting: number[] = []
  changes.index({ push: row => void waiting.push(row), drop: () => {} })
  const row = table.findOrAdd(1)
  for (const lives of [LIVE, 0]) {
    changes.beforeWrite(row)
    changes.add(row, (table.flags(row) & ~LIVE) | lives)
  }
  const saved: number[] = []
  changes.begin(each => void saved.push(each), true)
  // It is taken into the checkpoint, then out of the indexes, then the checkpoint comes to the list of those that left.
  changes.step()
  expect(saved).toEqual([row])
  for (const each of waiting) changes.indexed(each)
  while (changes.step());
  expect(table.findOrAdd(2)).not.toBe(table.findOrAdd(3))
  // One that a copy stands on is no row that left.
  expect(table.find(1)).toBe(-1)
})
