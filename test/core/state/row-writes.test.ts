import { describe, expect, it } from 'vitest'
import { hashOf, RowWrites } from '../../../core/state/row-writes.ts'
import { Random } from '../../support/random.ts'

const KEYS: Readonly<Record<string, (random: Random) => Buffer>> = {
  'any bytes': random => Buffer.from(Array.from({ length: 1 + random.int(12) }, () => random.pick([0, 1, 255]))),
  'texts that begin alike': random => Buffer.from(`customer-${random.int(9)}/order-${random.int(2_000)}`),
  'numbers of four bytes': random => {
    const key = Buffer.alloc(5, 0x84)
    key.writeUInt32BE(random.int(2 ** 32), 1)
    return key
  },
}

describe('rows that are not on disk yet', () => {
  it.each(Object.entries(KEYS))('are found as in a map, and come in the order of their keys: %s', (_, keyOf) => {
    const random = new Random(7)
    const rows = new RowWrites()
    for (const count of [1, 40, 3_000]) {
      rows.clear()
      const model = new Map<string, string | null>()
      for (let n = 0; n < count; n++) {
        const key = keyOf(random)
        const value = random.int(5) === 0 ? null : `${n}`.repeat(random.int(40))
        const padded = Buffer.from(`<${value}>`)
        if (value === null) rows.remove(key, hashOf(key))
        else rows.put(key, hashOf(key), padded, 1, padded.length - 1)
        model.set(key.toString('latin1'), value)
      }
      expect(rows.size).toBe(model.size)
      for (const [id, value] of model) {
        const key = Buffer.from(id, 'latin1')
        const row = rows.find(key, hashOf(key))
        expect(rows.key(row)).toEqual(key)
        expect(rows.isRemoved(row)).toBe(value === null)
        if (value !== null) expect(rows.bytes.toString('utf8', rows.from(row), rows.to(row))).toBe(value)
      }
      const unknown = Buffer.from('not there')
      expect(rows.find(unknown, hashOf(unknown))).toBe(-1)
      // Zeros at the end of a key may stand on either side of the same key without them.
      const ends = (key: Buffer) => key.toString('latin1').replace(/\0+$/, '')
      const ordered = [...rows.ordered()].map(row => ends(rows.key(row)))
      expect(ordered).toEqual([...model.keys()].map(id => ends(Buffer.from(id, 'latin1'))).sort())
    }
  })
})
