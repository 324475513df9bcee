import { describe, expect, it } from 'vitest'
import { byteSize } from '../../../bin/cli/arguments.ts'

describe('a size on the command line', () => {
  it.each([
    ['50GB', 50e9],
    ['1.5 GiB', 1.5 * 2 ** 30],
    ['64MiB', 64 * 2 ** 20],
    ['10kb', 10_000],
    ['1TB', 1e12],
    ['5000000B', 5e6],
    [' 2kib ', 2_048],
    ['0', 0],
    ['0MB', 0],
  ])('%j is %i bytes', (text, bytes) => {
    expect(byteSize(0)(text)).toBe(bytes)
  })

  it.each(['', 'GB', '50', '-1GB', '1e9', '1,5GB', '50 XB', '50GBs', '1.GB', '9007199254741TiB', 'NaN', 'ten MB'])(
    '%j is refused, saying what is expected',
    text => {
      expect(() => byteSize(0)(text)).toThrow(/expected a size with a unit.*50GB/)
    },
  )

  it('may have a least', () => {
    expect(() => byteSize(1_000_000)('10KB')).toThrow(/at least 1000000 bytes/)
    expect(byteSize(1_000_000)('1MB')).toBe(1_000_000)
  })
})
