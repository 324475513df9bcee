// Readers of option values.
import { InvalidArgumentError } from 'commander'

/** A whole number of this range, as commander's option parser. */
export const wholeNumber = (min: number, max: number) => (text: string) => {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`)
}

/** The same, or `auto`. */
export const wholeNumberOrAuto = (min: number, max: number) => (text: string) => {
  if (text === 'auto') return text
  try {
    return wholeNumber(min, max)(text)
  } catch {
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}, or auto.`)
  }
}

const UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
}

/** A number of bytes of at least `min`, with a unit: `50GB`, `1.5 GiB`, `0`; as commander's option parser. */
export const byteSize = (min: number) => (text: string) => {
  const [, figure, unit = ''] = /^(\d{1,15}(?:\.\d{1,9})?) ?([a-z]*)$/i.exec(text.trim()) ?? []
  // Without its unit a size is more often a slip than bytes; nothing is nothing in any.
  const factor = unit === '' && Number(figure) === 0 ? 1 : UNIT_BYTES[unit.toUpperCase()]
  const bytes = factor === undefined ? Number.NaN : Math.round(Number(figure) * factor)
  if (bytes >= min && bytes <= Number.MAX_SAFE_INTEGER) return bytes
  const least = min > 0 ? `, at least ${min} bytes` : ''
  throw new InvalidArgumentError(
    `expected a size with a unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), as in 50GB${least}.`,
  )
}
