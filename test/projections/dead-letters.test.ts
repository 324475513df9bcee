import { describe, expect, it } from 'vitest'
import { type DeadLetter, DeadLetters } from '../../projections/skip/dead-letters.ts'
import { StateMemory } from '../../projections/state/memory.ts'

const make = () => new DeadLetters('view', 100, new StateMemory())
const error = { code: 'HANDLER_FAILED', message: 'it threw' } as never

/** A row of a table did not come in, at a position and by a key. */
const skip = (letters: DeadLetters, position: number, keyHash: number) =>
  letters.add(
    {
      position,
      route: 0,
      call: 0,
      step: 'add',
      topic: 'rows',
      op: 'insert',
      keyText: `${keyHash}`,
      keyHash,
      appendTimeMs: 1,
      timeMs: 1,
    },
    { id: 5 },
    5,
    true,
    error,
  )

describe('letters of a row of a table that came twice', () => {
  it('count for the key that they are of, and for no other: another shard may have it', () => {
    const letters = make()
    skip(letters, 10, 1)
    expect(letters.leave(0, 5, 0, 2)).toBe(false)
    expect(letters.isAbsent(0, 5, 2)).toBe(false)
    expect(letters.isAbsent(0, 5, 1)).toBe(true)
    expect(letters.leave(0, 5, 0, 1)).toBe(true)
    expect(letters.figures.count).toBe(0)
  })

  it.each(['as they came', 'the other way round'])('go one by one, the newest first, put back %s', order => {
    const before = make()
    skip(before, 10, 1)
    skip(before, 20, 1)
    const stored: DeadLetter[] = [...before.list()]
    if (order !== 'as they came') stored.reverse()
    const letters = make()
    for (const letter of stored) letters.restore(letter)
    const left = [0, 1, 2].map(() => [letters.leave(0, 5, 0, 1), letters.list().map(({ position }) => position)])
    expect(left).toEqual([
      [true, [10]],
      [true, []],
      [false, []],
    ])
  })
})
