// Decimals whose sums are exact: a numeric(p, s) column as a whole number of its smallest unit.
import { z } from 'zod'

/** How a schema made by `minorUnits` reads its text; found again by the parsers of database columns. */
export interface MinorUnits {
  readonly scale: number
  readonly bigint: boolean
}

const known = new WeakMap<z.ZodType, MinorUnits>()

/** The scale of a schema made by `minorUnits`, else undefined. */
export const minorUnitsOf = (schema: z.ZodType): MinorUnits | undefined => known.get(schema)

export function minorUnits(scale: number, as?: { readonly bigint?: false }): z.ZodCodec<z.ZodString, z.ZodInt>
export function minorUnits(scale: number, as: { readonly bigint: true }): z.ZodCodec<z.ZodString, z.ZodBigInt>
/**
 * A numeric(…, scale) column as a whole number of its smallest unit: with scale 2, `'12.34'` is `1234`. Never rounds:
 * more digits than `scale` that are not zero, NaN, infinity, and (without `bigint`) numbers beyond 2^53 are refused.
 * @param scale digits after the point, 0 to 30
 * @param as `{ bigint: true }` gives bigint, for sums beyond 9,007,199,254,740,991 smallest units
 */
export function minorUnits(scale: number, as: { readonly bigint?: boolean } = {}): z.ZodType {
  if (!Number.isInteger(scale) || scale < 0 || scale > 30) throw new RangeError(`scale is ${scale}, not 0 to 30`)
  const refuse = (ctx: z.core.ParsePayload, text: string, why: string) => {
    ctx.issues.push({ code: 'custom', message: `'${text}' ${why}`, input: text })
    return z.NEVER
  }
  const schema = as.bigint
    ? z.codec(z.string(), z.bigint(), {
        decode: (text, ctx) =>
          parseMinorUnitsBigint(text, scale) ??
          refuse(ctx, text, `is not a decimal with at most ${scale} digits after the point`),
        encode: units => formatMinorUnits(units, scale),
      })
    : z.codec(z.string(), z.int(), {
        decode: (text, ctx) =>
          parseMinorUnits(text, scale) ??
          refuse(ctx, text, `is not a decimal with at most ${scale} digits after the point, within 2^53`),
        encode: units => formatMinorUnits(BigInt(units), scale),
      })
  known.set(schema, { scale, bigint: as.bigint === true })
  return schema
}

const ZERO = 48
const POINT = 46
const MINUS = 45

/** Text to a safe integer of smallest units, or undefined where that would lose anything. No regular expression: it is hot. */
export function parseMinorUnits(text: string, scale: number): number | undefined {
  let at = 0
  const negative = text.charCodeAt(0) === MINUS
  if (negative) at = 1
  let units = 0
  let digits = 0
  let after = -1
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === POINT && after < 0 && digits > 0) {
      after = 0
      continue
    }
    const digit = code - ZERO
    if (digit < 0 || digit > 9) return undefined
    digits++
    if (after >= 0 && ++after > scale) {
      if (digit !== 0) return undefined
      continue
    }
    units = units * 10 + digit
  }
  if (digits === 0) return undefined
  for (let n = Math.max(after, 0); n < scale; n++) units *= 10
  // Past 2^53 the loop above may already have rounded, but then the result is past it too.
  if (units > Number.MAX_SAFE_INTEGER) return undefined
  return negative && units !== 0 ? -units : units
}

export function parseMinorUnitsBigint(text: string, scale: number): bigint | undefined {
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text)
  if (!match) return undefined
  const part = (match[3] ?? '').replace(/0+$/, '')
  if (part.length > scale) return undefined
  const units = BigInt(`${match[2]}${part.padEnd(scale, '0')}`)
  return match[1] ? -units : units
}

export function formatMinorUnits(units: bigint, scale: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0')
  const sign = units < 0n ? '-' : ''
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
