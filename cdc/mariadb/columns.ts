// One column: from the bytes that the server sends to the contract's value. There are two forms of the same values: as row events
// store them (the stream) and as text (snapshots). The truth of both is the value's text, `input`, and the column's
// schema; `read` is the same without zod where the schema only says a type, and gives REFUSED wherever it is not sure.
import type { z } from 'zod'
import {
  defOf,
  describe,
  isPlain,
  type MinorUnits,
  minorUnitsOf,
  parseMinorUnits,
  parseMinorUnitsBigint,
  type ValueType,
} from '../../core/index.ts'
import { checkedReader, coreOf, intWriter } from '../connector/columns.ts'
import type { ColumnReader, Reader, Writer } from '../connector/rows.ts'
import {
  isoTimestamp,
  parseExactJson,
  REFUSED,
  readInteger,
  readTimestampMs,
  Unrepresentable,
} from '../connector/text-values.ts'
import { shortestFloat } from './stored-values.ts'
import type { ColumnType } from './types.ts'

/** How the bytes of one form of a column's values are read. */
export interface Form {
  /** The value's text, one and the same for both forms. */
  readonly raw: (bytes: Buffer, start: number, end: number) => string
  /** An integer within 2^53, else NaN. Of integers and bits. */
  readonly integer?: (bytes: Buffer, start: number, end: number) => number
  readonly bigint?: (bytes: Buffer, start: number, end: number) => bigint
  /** Of floats, doubles. */
  readonly float?: (bytes: Buffer, start: number, end: number) => number
  /** Milliseconds since 1970, else NaN. Of datetimes and timestamps. */
  readonly timeMs?: (bytes: Buffer, start: number, end: number) => number
  /** A decimal as a number of 10^-scale, for at most 15 digits. */
  readonly units?: (bytes: Buffer, start: number, end: number) => number
  /** Of binaries: a copy. */
  readonly bytes?: (bytes: Buffer, start: number, end: number) => Uint8Array
  /** Of enums: which label, from 1. */
  readonly label?: (bytes: Buffer, start: number, end: number) => number
}

export function compileColumn(name: string, type: ColumnType, form: Form, schema: z.ZodType): ColumnReader {
  const { core, nullable } = coreOf(schema)
  const want = describe(core, 'input', name)
  const input = inputOf(type, want)
  return {
    name,
    nullable,
    input,
    raw: form.raw,
    text: value => (value === null ? null : textOf(type, core, want, value)),
    read: fastReader(type, form, core, want) ?? checkedReader(core, form.raw, input),
    write: fastWriter(form, core, want),
  }
}

/** Only for types that may be left out of an image, and schemas that change nothing. */
function textOf(type: ColumnType, schema: z.ZodType, want: ValueType, value: unknown): string | undefined {
  if (typeof value === 'string' && want.kind === 'string') {
    return isPlain(schema) && (type.class === 'text' || type.class === 'json') ? value : undefined
  }
  if (typeof value === 'number' || typeof value === 'bigint') return type.class === 'int' ? String(value) : undefined
  return value instanceof Uint8Array ? binaryText(value, 0, value.length) : undefined
}

/** Bytes as text: `\x` and hexadecimal digits. */
export const binaryText = (bytes: Uint8Array, start: number, end: number): string =>
  `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex', start, end)}`

function parseBinary(text: string): Uint8Array {
  if (!text.startsWith('\\x')) throw new Unrepresentable('the value is not binary')
  return new Uint8Array(Buffer.from(text.slice(2), 'hex'))
}

/** From text to what a schema of the described input takes. What does not fit is given as it is, for the schema to refuse. */
export function inputOf(type: ColumnType, want: ValueType): (text: string) => unknown {
  switch (want.kind) {
    case 'nullable':
      return inputOf(type, want.inner)
    case 'int32':
    case 'int':
    case 'float':
      return type.class === 'bit' ? text => Number(BigInt(`0b${text}`)) : Number
    case 'bigint':
      if (type.class === 'bit') return text => BigInt(`0b${text}`)
      return text => (/^-?\d+$/.test(text) ? BigInt(text) : text)
    case 'boolean':
      return text => (text === '1' ? true : text === '0' ? false : text)
    case 'date':
      return text => {
        const bytes = Buffer.from(text)
        return new Date(isZeroDate(text) ? Number.NaN : readTimestampMs(bytes, 0, bytes.length))
      }
    case 'bytes':
      return parseBinary
    case 'array':
      return type.class === 'set' ? text => (text === '' ? [] : text.split(',')) : parseExactJson
    case 'string':
    case 'enum':
      return exactText(type)
    default:
      return natural(type)
  }
}

/** Zeros where a month or day should be: no date. */
export const isZeroDate = (text: string): boolean => text.slice(5, 7) === '00' || text.slice(8, 10) === '00'

function exactText(type: ColumnType): (text: string) => unknown {
  if (type.class === 'timestamp') return text => (isZeroDate(text) ? text : isoTimestamp(text, 'Z'))
  if (type.class === 'datetime') return text => (isZeroDate(text) ? text : isoTimestamp(text, ''))
  return text => text
}

/** For schemas that take anything: the value that JSON would hold. */
function natural(type: ColumnType): (text: string) => unknown {
  switch (type.class) {
    case 'int':
      return type.size === 8 ? text => text : Number
    case 'year':
    case 'float':
    case 'double':
      return Number
    case 'json':
    case 'text':
      return parseExactJson
    default:
      return exactText(type)
  }
}

/** A reader without zod, where the schema says no more than what the bytes show; undefined otherwise. */
function fastReader(type: ColumnType, form: Form, schema: z.ZodType, want: ValueType): Reader | undefined {
  const units = minorUnitsOf(schema)
  if (units) return unitsReader(type, form, units)
  if (want.kind === 'string' && want.format) return formatReader(type, form, schema, want.format)
  if (!isPlain(schema)) return undefined
  const { raw, integer, bigint, float, timeMs, bytes: copy } = form
  switch (want.kind) {
    case 'int32':
      if (!integer) return undefined
      return (bytes, start, end) => {
        const value = integer(bytes, start, end)
        return value === (value | 0) ? value : REFUSED
      }
    case 'int':
      if (!integer) return undefined
      return (bytes, start, end) => {
        const value = integer(bytes, start, end)
        return Number.isNaN(value) ? REFUSED : value
      }
    case 'bigint':
      return bigint
    case 'float':
      return float ?? integer
    case 'boolean':
      return integer && ((bytes, start, end) => BOOLEANS[integer(bytes, start, end)] ?? REFUSED)
    case 'date':
      if (!timeMs) return undefined
      return (bytes, start, end) => {
        const ms = timeMs(bytes, start, end)
        return Number.isNaN(ms) ? REFUSED : new Date(ms)
      }
    case 'bytes':
      return copy
    case 'enum':
      return enumReader(type, form, want.values)
    case 'string': {
      if (type.class !== 'timestamp' && type.class !== 'datetime') return raw
      const exact = exactText(type)
      return (bytes, start, end) => exact(raw(bytes, start, end))
    }
    default:
      return undefined
  }
}

/** What `fastReader` reads, written without a value in between; undefined where there is no such way. */
function fastWriter({ integer, timeMs }: Form, schema: z.ZodType, want: ValueType): Writer | undefined {
  if (!isPlain(schema) || minorUnitsOf(schema)) return undefined
  if (want.kind === 'int') return integer && intWriter(integer)
  if (want.kind === 'date') return timeMs && intWriter(timeMs)
  if (want.kind !== 'int32' || !integer) return undefined
  return intWriter((bytes, start, end) => {
    const value = integer(bytes, start, end)
    return value === (value | 0) ? value : Number.NaN
  })
}

const BOOLEANS: readonly (boolean | undefined)[] = [false, true]

function unitsReader(type: ColumnType, form: Form, { scale, bigint }: MinorUnits): Reader {
  const { raw, units } = form
  if (units && !bigint && type.class === 'decimal' && type.size <= 15 && type.scale <= scale) {
    const factor = 10 ** (scale - type.scale)
    return (bytes, start, end) => {
      const value = units(bytes, start, end) * factor
      return Number.isSafeInteger(value) ? value : REFUSED
    }
  }
  const parse = bigint ? parseMinorUnitsBigint : parseMinorUnits
  return (bytes, start, end) => parse(raw(bytes, start, end), scale) ?? REFUSED
}

function enumReader(type: ColumnType, { raw, label }: Form, values: readonly string[]): Reader {
  if (label && type.class === 'enum') {
    const byLabel = [undefined, ...type.labels.map(each => (values.includes(each) ? each : undefined))]
    return (bytes, start, end) => byLabel[label(bytes, start, end)] ?? REFUSED
  }
  const known = new Map(values.map(value => [value, value]))
  return (bytes, start, end) => known.get(raw(bytes, start, end)) ?? REFUSED
}

/** Formats that the database's own type already guarantees. */
function formatReader(type: ColumnType, { raw }: Form, schema: z.ZodType, format: string): Reader | undefined {
  const accepts = (...samples: readonly string[]) =>
    (defOf(schema).checks?.length ?? 0) === 0 && samples.every(sample => schema.safeParse(sample).data === sample)
  if (format === 'guid' && type.class === 'uuid' && accepts('00000000-1111-2222-3333-444444444444')) return raw
  if (format === 'date' && type.class === 'date' && accepts('2024-02-29', '0001-01-01', '9999-12-31')) {
    return (bytes, start, end) => {
      const text = raw(bytes, start, end)
      return isZeroDate(text) || text.startsWith('0000') ? REFUSED : text
    }
  }
  const zone = type.class === 'timestamp' ? 'Z' : type.class === 'datetime' ? '' : undefined
  if (format !== 'datetime' || zone === undefined) return undefined
  if (!accepts(`2024-02-29T23:59:59${zone}`, `0001-01-01T00:00:00.123456${zone}`)) return undefined
  return (bytes, start, end) => {
    const text = raw(bytes, start, end)
    return isZeroDate(text) || text.startsWith('0000') ? REFUSED : isoTimestamp(text, zone)
  }
}

// -- the form of snapshots: text in UTF-8, binaries as they are; floats come as doubles, so that no digit is lost

export function textForm(type: ColumnType): Form {
  switch (type.class) {
    case 'int':
    case 'year':
      return {
        raw: latin1,
        integer: (bytes, start, end) => {
          const value = readInteger(bytes, start, end)
          return Number.isNaN(value) ? safeInteger(latin1(bytes, start, end)) : value
        },
        bigint: (bytes, start, end) => BigInt(latin1(bytes, start, end)),
      }
    case 'bit':
      return bitForm(type.size)
    case 'float': {
      const float: Form['float'] = (bytes, start, end) => shortestFloat(Math.fround(Number(latin1(bytes, start, end))))
      return { raw: (bytes, start, end) => String(float(bytes, start, end)), float }
    }
    case 'double': {
      const float: Form['float'] = (bytes, start, end) => Number(latin1(bytes, start, end))
      return { raw: (bytes, start, end) => String(float(bytes, start, end)), float }
    }
    case 'datetime':
    case 'timestamp':
      return {
        raw: latin1,
        timeMs: (bytes, start, end) =>
          isZeroDate(latin1(bytes, start, end)) ? Number.NaN : readTimestampMs(bytes, start, end),
      }
    case 'binary':
      return binaryForm()
    default:
      return { raw: (bytes, start, end) => bytes.toString('utf8', start, end) }
  }
}

export const latin1 = (bytes: Buffer, start: number, end: number): string => bytes.toString('latin1', start, end)

export const binaryForm = (): Form => ({
  raw: binaryText,
  bytes: (bytes, start, end) => new Uint8Array(bytes.subarray(start, end)),
})

/** Bits are bytes in both forms, the highest first; as text they are binary digits. */
export function bitForm(bits: number): Form {
  const bigint = (bytes: Buffer, start: number, end: number): bigint => {
    let value = 0n
    for (let at = start; at < end; at++) value = (value << 8n) | BigInt(bytes[at]!)
    return value
  }
  return {
    raw: (bytes, start, end) => bigint(bytes, start, end).toString(2).padStart(bits, '0'),
    integer: (bytes, start, end) => {
      const value = bigint(bytes, start, end)
      return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Number.NaN
    },
    bigint,
  }
}

function safeInteger(text: string): number {
  const value = Number(text)
  return Number.isSafeInteger(value) && /^-?\d+$/.test(text) ? value : Number.NaN
}
