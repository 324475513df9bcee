import { expect, test } from 'vitest'
import { parseSnapshot } from '../../../cdc/postgres/live-snapshot.ts'

test('a snapshot sees what ended before it, not what ran or came later', () => {
  const sees = parseSnapshot('100:110:103,107')
  const seen = Array.from({ length: 14 }, (_, n) => n + 98).filter(sees)
  expect(seen).toEqual([98, 99, 100, 101, 102, 104, 105, 106, 108, 109])
  expect(parseSnapshot('5:5:')(4)).toBe(true)
  expect(parseSnapshot('5:5:')(5)).toBe(false)
})

test('ids of 32 bits come around: those behind the end are old, those ahead of it new', () => {
  // 3 · 2^32 + 10 is the end; the stream says the lower half only.
  const end = 3n * 2n ** 32n + 10n
  const running = end - 20n
  const sees = parseSnapshot(`${running}:${end}:${running}`)
  expect([9, 10, 11].map(sees)).toEqual([true, false, false])
  expect(sees(Number(running % 2n ** 32n))).toBe(false)
  expect(sees(Number((running + 1n) % 2n ** 32n))).toBe(true)
  expect(sees(2 ** 32 - 1_000)).toBe(true)
})
