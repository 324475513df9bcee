// Values as databases write them in text → JavaScript values, exactly or not at all. Times are in ISO order and in UTC: the
// sessions that send them are set so.
import { daysOf } from '../../core/index.ts'

/** Told apart from every value; never leaves the connector. */
export const REFUSED: unique symbol = Symbol('refused')

/** A value that has no exact form; the message ends up in the parked row. */
export class Unrepresentable extends Error {}

const DASH = 45
const DOT = 46
const ZERO = 48
const COLON = 58

/** A decimal integer of at most 15 digits, else NaN. */
export function readInteger(bytes: Buffer, start: number, end: number): number {
  let at = start
  const negative = bytes[at] === DASH
  if (negative) at++
  if (end - at > 15 || at >= end) return Number.NaN
  let value = 0
  for (; at < end; at++) {
    const digit = bytes[at]! - ZERO
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  return negative && value !== 0 ? -value : value
}

const two = (bytes: Buffer, at: number): number => (bytes[at]! - ZERO) * 10 + bytes[at + 1]! - ZERO

/**
 * `2024-02-29 12:34:56.789012+00` → milliseconds since 1970, microseconds cut off; also without the zone (then read as
 * UTC). NaN for infinity, years BC and years beyond 9999.
 */
export function readTimestampMs(bytes: Buffer, start: number, end: number): number {
  if (end - start < 19 || bytes[start + 4] !== DASH || bytes[start + 13] !== COLON || bytes[end - 1] === 0x43)
    return Number.NaN
  const year = two(bytes, start) * 100 + two(bytes, start + 2)
  const days = daysOf(year, two(bytes, start + 5), two(bytes, start + 8))
  const seconds = two(bytes, start + 11) * 3_600 + two(bytes, start + 14) * 60 + two(bytes, start + 17)
  let ms = 0
  if (bytes[start + 19] === DOT) {
    let scale = 100
    for (let at = start + 20; at < end && scale >= 1; at++, scale /= 10) {
      const digit = bytes[at]! - ZERO
      if (digit < 0 || digit > 9) break
      ms += digit * scale
    }
  }
  return days * 86_400_000 + seconds * 1_000 + Math.floor(ms)
}

const TIMESTAMP = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?$/

/** A timestamp as ISO 8601 (`…T…`, with `Z` where it has a zone); what has no such form as the server writes it. */
export function isoTimestamp(text: string, zone: '' | 'Z'): string {
  const match = TIMESTAMP.exec(text)
  return match ? `${match[1]}T${match[2]}${zone}` : text
}

/** Numbers of 16 digits and more may not fit a double. */
const LONG_NUMBER = /\d{16}|\d[.\d]{16}|[eE][+-]?\d{3}/

/** JSON, refused where a number would be rounded: JavaScript's numbers are doubles. */
export function parseExactJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text)
  return JSON.parse(text, exactNumber)
}

function exactNumber(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || context?.source === undefined) return value
  if (!Number.isFinite(value) || digits(context.source) !== digits(String(value))) {
    throw new Unrepresentable(`the number ${context.source} in the JSON would be rounded`)
  }
  return value
}

/** A number's digits without sign, point, exponent and the zeros around them: equal where two texts round alike. */
const digits = (text: string): string =>
  text
    .replace(/[eE].*$/, '')
    .replace(/[-+.]/g, '')
    .replace(/^0+/, '')
    .replace(/0+$/, '')
