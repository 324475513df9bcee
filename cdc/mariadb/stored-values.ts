// Single values as row events store them: how many bytes they take, and what they are as text and as numbers.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html and MariaDB's field.cc.
import { inflateRawSync, inflateSync } from 'node:zlib'
import { Unrepresentable } from '../connector/text-values.ts'
import { type StoredColumn, T } from './table-map.ts'

export type Layout = { readonly bytes: number } | { readonly prefix: number }

/** How a value lies in a row: so many bytes, or a length of `prefix` bytes before it. Undefined for a type that is not known. */
export function layoutOf({ type, size, scale }: StoredColumn): Layout | undefined {
  switch (type) {
    case T.NULL:
      return { bytes: 0 }
    case T.TINY:
    case T.YEAR:
      return { bytes: 1 }
    case T.SHORT:
      return { bytes: 2 }
    case T.INT24:
    case T.DATE:
    case T.TIME:
      return { bytes: 3 }
    case T.LONG:
    case T.FLOAT:
    case T.TIMESTAMP:
      return { bytes: 4 }
    case T.LONGLONG:
    case T.DOUBLE:
    case T.DATETIME:
      return { bytes: 8 }
    case T.TIMESTAMP2:
      return { bytes: 4 + ((size + 1) >> 1) }
    case T.DATETIME2:
      return { bytes: 5 + ((size + 1) >> 1) }
    case T.TIME2:
      return { bytes: 3 + ((size + 1) >> 1) }
    case T.BIT:
      return { bytes: (size + 7) >> 3 }
    case T.NEWDECIMAL:
      return { bytes: decimalBytes(size, scale) }
    case T.ENUM:
    case T.SET:
      return { bytes: size }
    case T.VARCHAR:
    case T.VAR_STRING:
    case T.VARCHAR_COMPRESSED:
    case T.STRING:
      return { prefix: size < 256 ? 1 : 2 }
    case T.TINY_BLOB:
    case T.MEDIUM_BLOB:
    case T.LONG_BLOB:
    case T.BLOB:
    case T.BLOB_COMPRESSED:
    case T.JSON:
    case T.GEOMETRY:
    case T.VECTOR:
      return { prefix: size }
    default:
      return undefined
  }
}

// -- integers

export function readSigned(bytes: Buffer, at: number, size: number): number {
  return size === 8 ? readLongNumber(bytes, at, false) : bytes.readIntLE(at, size)
}

/** A 64-bit integer as a number; NaN where that would not be exact. */
export function readLongNumber(bytes: Buffer, at: number, unsigned: boolean): number {
  const high = unsigned ? bytes.readUInt32LE(at + 4) : bytes.readInt32LE(at + 4)
  const value = high * 0x1_0000_0000 + bytes.readUInt32LE(at)
  return Number.isSafeInteger(value) ? value : Number.NaN
}

export const readLong = (bytes: Buffer, at: number, unsigned: boolean): bigint =>
  unsigned ? bytes.readBigUInt64LE(at) : bytes.readBigInt64LE(at)

/** BIT is stored with the highest byte first. */
export function readBits(bytes: Buffer, start: number, end: number): bigint {
  let value = 0n
  for (let at = start; at < end; at++) value = (value << 8n) | BigInt(bytes[at]!)
  return value
}

// -- decimals: nine digits in four bytes, what is left over at both ends in fewer; negative ones inverted, the first bit flipped

const DIGIT_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4] as const

export function decimalBytes(precision: number, scale: number): number {
  const whole = precision - scale
  return Math.floor(whole / 9) * 4 + DIGIT_BYTES[whole % 9]! + Math.floor(scale / 9) * 4 + DIGIT_BYTES[scale % 9]!
}

const decimal = Buffer.alloc(64)

/** Copies a decimal so that its bytes are its digits; true where it is negative. */
function prepareDecimal(bytes: Buffer, start: number, length: number): boolean {
  const negative = (bytes[start]! & 0x80) === 0
  const mask = negative ? 0xff : 0
  for (let n = 0; n < length; n++) decimal[n] = bytes[start + n]! ^ mask
  decimal[0] = decimal[0]! ^ 0x80
  return negative
}

function group(at: number, size: number): number {
  let value = 0
  for (let n = 0; n < size; n++) value = value * 256 + decimal[at + n]!
  return value
}

/** A decimal of at most 15 digits as a number of its smallest unit. */
export function decimalUnits(bytes: Buffer, start: number, precision: number, scale: number): number {
  const negative = prepareDecimal(bytes, start, decimalBytes(precision, scale))
  let at = 0
  let units = 0
  const take = (digits: number) => {
    const size = DIGIT_BYTES[digits]!
    units = units * 10 ** digits + group(at, size)
    at += size
  }
  const whole = precision - scale
  if (whole % 9 > 0) take(whole % 9)
  for (let n = Math.floor(whole / 9); n > 0; n--) take(9)
  for (let n = Math.floor(scale / 9); n > 0; n--) take(9)
  if (scale % 9 > 0) take(scale % 9)
  return negative && units !== 0 ? -units : units
}

/** Exactly, as the server writes it: all digits after the point, no zeros before the first. */
export function decimalText(bytes: Buffer, start: number, precision: number, scale: number): string {
  const negative = prepareDecimal(bytes, start, decimalBytes(precision, scale))
  let at = 0
  let text = ''
  const take = (digits: number) => {
    const size = DIGIT_BYTES[digits]!
    text += String(group(at, size)).padStart(digits, '0')
    at += size
  }
  const whole = precision - scale
  if (whole % 9 > 0) take(whole % 9)
  for (let n = Math.floor(whole / 9); n > 0; n--) take(9)
  const before = text.replace(/^0+/, '') || '0'
  text = ''
  for (let n = Math.floor(scale / 9); n > 0; n--) take(9)
  if (scale % 9 > 0) take(scale % 9)
  const value = scale > 0 ? `${before}.${text}` : before
  return negative && /[1-9]/.test(value) ? `-${value}` : value
}

/** The shortest decimal that is this 32-bit float: 0.1, not 0.10000000149011612. */
export function shortestFloat(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return value
}

// -- dates and times

const pad = (value: number, width = 2): string => String(value).padStart(width, '0')

const fractionBytes = (digits: number): number => (digits + 1) >> 1

/** Microseconds of a fraction stored in so many bytes. */
function readFraction(bytes: Buffer, at: number, digits: number): number {
  const size = fractionBytes(digits)
  return size === 0 ? 0 : bytes.readUIntBE(at, size) * 10 ** (6 - 2 * size)
}

const fractionText = (us: number, digits: number): string => (digits === 0 ? '' : `.${pad(us, 6).slice(0, digits)}`)

export function dateText(bytes: Buffer, at: number): string {
  const packed = bytes.readUIntLE(at, 3)
  return `${pad(packed >> 9, 4)}-${pad((packed >> 5) & 15)}-${pad(packed & 31)}`
}

const DATETIME_BIAS = 0x80_0000_0000

export interface DateTime {
  year: number
  month: number
  day: number
  hour: number
  minute: number
  second: number
  us: number
}

const shared: DateTime = { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0, us: 0 }

/** One object for all calls. */
export function readDateTime(bytes: Buffer, at: number, digits: number): DateTime {
  const packed = bytes.readUIntBE(at, 5) - DATETIME_BIAS
  // Beyond 32 bits there are only the date's: year × 13 + month, day.
  const date = Math.floor(packed / 0x2_0000)
  const time = packed % 0x2_0000
  const months = date >> 5
  shared.year = Math.floor(months / 13)
  shared.month = months % 13
  shared.day = date & 31
  shared.hour = time >> 12
  shared.minute = (time >> 6) & 63
  shared.second = time & 63
  shared.us = readFraction(bytes, at + 5, digits)
  return shared
}

export function dateTimeText(bytes: Buffer, at: number, digits: number): string {
  const { year, month, day, hour, minute, second, us } = readDateTime(bytes, at, digits)
  const time = `${pad(hour)}:${pad(minute)}:${pad(second)}${fractionText(us, digits)}`
  return `${pad(year, 4)}-${pad(month)}-${pad(day)} ${time}`
}

/** Milliseconds since 1970 of a date and time read as UTC; NaN for the zero date and parts of it. */
export function dateTimeMs(bytes: Buffer, at: number, digits: number): number {
  const { year, month, day, hour, minute, second, us } = readDateTime(bytes, at, digits)
  if (month === 0 || day === 0) return Number.NaN
  // Date.UTC takes the years 0 to 99 for 1900 to 1999; the calendar repeats every 400 years.
  const days = year < 100 ? Date.UTC(year + 400, month - 1, day) - FOUR_CENTURIES_MS : Date.UTC(year, month - 1, day)
  // A day that its month does not have is another day to JavaScript.
  if (new Date(days).getUTCDate() !== day) return Number.NaN
  return days + (hour * 3_600 + minute * 60 + second) * 1_000 + Math.floor(us / 1_000)
}

const FOUR_CENTURIES_MS = 146_097 * 86_400_000

/** Milliseconds since 1970; NaN for the zero timestamp. */
export function timestampMs(bytes: Buffer, at: number, digits: number): number {
  const seconds = bytes.readUInt32BE(at)
  const us = readFraction(bytes, at + 4, digits)
  return seconds === 0 && us === 0 ? Number.NaN : seconds * 1_000 + Math.floor(us / 1_000)
}

export function timestampText(bytes: Buffer, at: number, digits: number): string {
  const seconds = bytes.readUInt32BE(at)
  const us = readFraction(bytes, at + 4, digits)
  if (seconds === 0 && us === 0) return `0000-00-00 00:00:00${fractionText(0, digits)}`
  const iso = new Date(seconds * 1_000).toISOString()
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${fractionText(us, digits)}`
}

/** Negative times are the two's complement of the whole, fraction included. */
export function timeText(bytes: Buffer, at: number, digits: number): string {
  const size = fractionBytes(digits)
  const scale = 256 ** size
  let packed = bytes.readUIntBE(at, 3 + size) - 0x80_0000 * scale
  const negative = packed < 0
  if (negative) packed = -packed
  const time = Math.floor(packed / scale)
  const us = (packed % scale) * 10 ** (6 - 2 * size)
  const text = `${pad((time >> 12) & 0x3ff)}:${pad((time >> 6) & 63)}:${pad(time & 63)}${fractionText(us, digits)}`
  return negative ? `-${text}` : text
}

// -- the forms of before 5.6: mysql56_temporal_format = OFF

export function oldTimeText(bytes: Buffer, at: number): string {
  const value = bytes.readIntLE(at, 3)
  const all = Math.abs(value)
  const text = `${pad(Math.floor(all / 10_000))}:${pad(Math.floor(all / 100) % 100)}:${pad(all % 100)}`
  return value < 0 ? `-${text}` : text
}

export function oldDateTimeText(bytes: Buffer, at: number): string {
  const digits = bytes.readBigUInt64LE(at).toString().padStart(14, '0')
  return digits.replace(/^(....)(..)(..)(..)(..)(..)$/, '$1-$2-$3 $4:$5:$6')
}

export function oldTimestampText(bytes: Buffer, at: number): string {
  const big = Buffer.alloc(4)
  big.writeUInt32BE(bytes.readUInt32LE(at))
  return timestampText(big, 0, 0)
}

// -- MariaDB's COMPRESSED columns: a byte with the method and the size of the length, the length, the bytes

export function inflateColumn(bytes: Buffer, start: number, end: number): Buffer {
  if (start === end) return Buffer.alloc(0)
  const first = bytes[start]!
  if (first === 0) return bytes.subarray(start + 1, end)
  const method = first >> 4
  const lengthBytes = first & 7
  if (method !== 8) throw new Unrepresentable(`the column is compressed in way ${method}`)
  const stored = bytes.subarray(start + 1 + lengthBytes, end)
  return first & 8 ? inflateRawSync(stored) : inflateSync(stored)
}
