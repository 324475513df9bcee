import { describe, expect, it } from 'vitest'
import { formatMinorUnits, minorUnits, parseMinorUnits, parseMinorUnitsBigint } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'

const SEED = Number(process.env['SEED'] ?? 1)

describe('minor units', () => {
  it('read and write every decimal of their scale exactly', () => {
    const random = new Random(SEED)
    for (let n = 0; n < 5_000; n++) {
      const scale = random.int(8)
      const units = BigInt(Math.floor((random.next() - 0.5) * 2 ** (1 + random.int(53))))
      const text = formatMinorUnits(units, scale)
      expect(parseMinorUnitsBigint(text, scale)).toBe(units)
      expect(parseMinorUnits(text, scale)).toBe(Number(units))
      const longer = scale === 0 ? `${text}.000` : `${text}000`
      expect(parseMinorUnits(longer, scale)).toBe(Number(units))
      expect(parseMinorUnitsBigint(longer, scale)).toBe(units)
    }
  })

  it('refuse what would lose something', () => {
    for (const text of ['', '.', '-', 'NaN', 'Infinity', '1e3', '1.234', '1,2', '--1', '1.2.3', ' 1', '0x1', '+1']) {
      expect(parseMinorUnits(text, 2), text).toBeUndefined()
      expect(parseMinorUnitsBigint(text, 2), text).toBeUndefined()
    }
    for (const text of ['90071992547409.92', '90071992547409.93', '99999999999999999999', '-90071992547409.92']) {
      expect(parseMinorUnits(text, 2), text).toBeUndefined()
      expect(typeof parseMinorUnitsBigint(text, 2)).toBe('bigint')
    }
    expect(parseMinorUnits('90071992547409.91', 2)).toBe(Number.MAX_SAFE_INTEGER)
    expect(Object.is(parseMinorUnits('-0.00', 2), 0)).toBe(true)
    expect(() => minorUnits(31)).toThrow(RangeError)
  })

  it('agree with each other on any text', () => {
    const random = new Random(SEED + 1)
    const pieces = ['0', '1', '9', '00', '.', '-', '123456789', '5']
    for (let n = 0; n < 20_000; n++) {
      const text = Array.from({ length: random.int(6) }, () => random.pick(pieces)).join('')
      const scale = random.int(5)
      const units = parseMinorUnitsBigint(text, scale)
      const safe =
        units !== undefined && units <= BigInt(Number.MAX_SAFE_INTEGER) && units >= BigInt(Number.MIN_SAFE_INTEGER)
      expect(parseMinorUnits(text, scale), `${text} at ${scale}`).toBe(safe ? Number(units) : undefined)
    }
  })

  it('are a schema that parses text and gives it back', () => {
    const price = minorUnits(2)
    expect(price.parse('12.34')).toBe(1_234)
    expect(price.encode(1_234)).toBe('12.34')
    expect(price.safeParse('12.345').success).toBe(false)
    const exact = minorUnits(2, { bigint: true })
    expect(exact.parse('99999999999999999999.01')).toBe(9_999_999_999_999_999_999_901n)
    expect(exact.encode(-5n)).toBe('-0.05')
  })
})
