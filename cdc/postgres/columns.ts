// One column: from the database's text bytes to the contract's value. The truth is `input` (the text as the value that the
// column's schema takes) followed by the schema itself; `read` is the same from the bytes, without zod where the schema
// only says a type, and gives REFUSED wherever it is not sure, so that the truth decides and words the refusal.
import type { z } from 'zod'
import {
  defOf,
  describe,
  isPlain,
  minorUnitsOf,
  type ObjectContract,
  parseMinorUnits,
  parseMinorUnitsBigint,
  type ValueType,
} from '../../core/index.ts'
import { checkedReader, coreOf, enumWriter, intWriter, textWriter } from '../connector/columns.ts'
import { type ColumnReader, type Reader, RowReader, type Writer } from '../connector/rows.ts'
import { isoTimestamp, parseExactJson, REFUSED, readInteger, readTimestampMs } from '../connector/text-values.ts'
import { parseArray, parseBytea } from './text-values.ts'
import type { PgType } from './types.ts'

const utf8 = (bytes: Buffer, start: number, end: number): string => bytes.toString('utf8', start, end)

/** @param columns the image's columns in order: name and type */
export function createRowReader(
  contract: ObjectContract,
  columns: readonly { readonly name: string; readonly type: PgType }[],
): RowReader {
  const fields = Object.entries(contract.schema.shape)
  const readers = fields.map(([name, schema]) => {
    const column = columns.find(candidate => candidate.name === name)
    return compileColumn(name, column?.type ?? { class: 'other', name: 'unknown' }, schema)
  })
  const names = columns.map(column => column.name)
  return new RowReader(
    contract,
    readers,
    fields.map(([name]) => names.indexOf(name)),
  )
}

export function compileColumn(name: string, type: PgType, schema: z.ZodType): ColumnReader {
  const { core, nullable } = coreOf(schema)
  const want = describe(core, 'input', name)
  const input = inputOf(type, want)
  const text = (value: unknown) => (value === null ? null : textOf(type, core, want, value))
  return {
    name,
    nullable,
    input,
    text,
    raw: utf8,
    read: fastReader(type, core, want) ?? checkedReader(core, utf8, input),
    write: fastWriter(type, core, want),
  }
}

/** Only for types that grow large enough to be left out of an update, and schemas that change nothing. */
function textOf(type: PgType, schema: z.ZodType, want: ValueType, value: unknown): string | undefined {
  if (typeof value === 'string' && want.kind === 'string') {
    return isPlain(schema) && (type.class === 'text' || type.class === 'other') ? value : undefined
  }
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  const takesAll = new Set(['lazy', 'any', 'unknown']).has(defOf(schema).type)
  return type.class === 'json' && takesAll ? JSON.stringify(value) : undefined
}

/** From text to what a schema of the described input takes. What does not fit is given as it is, for the schema to refuse. */
export function inputOf(type: PgType, want: ValueType): (text: string) => unknown {
  switch (want.kind) {
    case 'nullable':
      return inputOf(type, want.inner)
    case 'int32':
    case 'int':
    case 'float':
      return Number
    case 'bigint':
      return text => (/^-?\d+$/.test(text) ? BigInt(text) : text)
    case 'boolean':
      return text => text === 't'
    case 'date':
      return text => {
        const bytes = Buffer.from(text)
        return new Date(readTimestampMs(bytes, 0, bytes.length))
      }
    case 'bytes':
      return parseBytea
    case 'array': {
      if (type.class === 'json') return parseExactJson
      const element = inputOf(type.element ?? type, innermost(want.element))
      return text => parseArray(text, element)
    }
    case 'string':
    case 'enum':
      return exactText(type)
    default:
      return natural(type)
  }
}

/** Arrays of arrays are one type in PostgreSQL. */
function innermost(type: ValueType): ValueType {
  if (type.kind === 'nullable') return innermost(type.inner)
  return type.kind === 'array' ? innermost(type.element) : type
}

function exactText(type: PgType): (text: string) => unknown {
  if (type.class === 'timestamptz') return text => isoTimestamp(text, 'Z')
  if (type.class === 'timestamp') return text => isoTimestamp(text, '')
  if (type.class === 'bool') return text => (text === 't' ? 'true' : 'false')
  return text => text
}

/** For schemas that take anything: the value that JSON would hold. */
function natural(type: PgType): (text: string) => unknown {
  switch (type.class) {
    case 'int2':
    case 'int4':
    case 'oid':
      return Number
    case 'float4':
    case 'float8':
      return text => (Number.isFinite(Number(text)) ? Number(text) : text)
    case 'bool':
      return text => text === 't'
    case 'json':
      return parseExactJson
    case 'array': {
      const element = natural(type.element ?? { class: 'other', name: type.name })
      return text => parseArray(text, element)
    }
    default:
      return exactText(type)
  }
}

/** A reader without zod, where the schema says no more than what the bytes show; undefined otherwise. */
function fastReader(type: PgType, schema: z.ZodType, want: ValueType): Reader | undefined {
  const units = minorUnitsOf(schema)
  if (units && type.class !== 'array') {
    const parse = units.bigint ? parseMinorUnitsBigint : parseMinorUnits
    return (bytes, start, end) => parse(bytes.toString('latin1', start, end), units.scale) ?? REFUSED
  }
  if (want.kind === 'string' && want.format) return formatReader(type, schema, want.format)
  if (!isPlain(schema)) return undefined
  switch (want.kind) {
    case 'int32':
      return orRefused(int32At)
    case 'int':
      return orRefused(safeIntegerAt)
    case 'bigint':
      return readBigint
    case 'float':
      return readFloat
    case 'boolean':
      return (bytes, start) => bytes[start] === 0x74
    case 'date':
      return readDate
    case 'enum':
      return enumReader(want.values)
    case 'string':
      return stringReader(type)
    default:
      return undefined
  }
}

/** What `fastReader` reads, written without a value in between; undefined where there is no such way. */
function fastWriter(type: PgType, schema: z.ZodType, want: ValueType): Writer | undefined {
  if (!isPlain(schema) || minorUnitsOf(schema)) return undefined
  switch (want.kind) {
    case 'int32':
      return intWriter(int32At)
    case 'int':
      return intWriter(safeIntegerAt)
    case 'date':
      return intWriter(readTimestampMs)
    case 'boolean':
      return (to, bytes, start) => {
        to.u8(bytes[start] === 0x74 ? 1 : 0)
        return true
      }
    case 'enum':
      return enumWriter(want.values)
    case 'string':
      return want.format === undefined && !REWRITTEN.has(type.class) ? textWriter : undefined
    default:
      return undefined
  }
}

const orRefused =
  (read: (bytes: Buffer, start: number, end: number) => number): Reader =>
  (bytes, start, end) => {
    const value = read(bytes, start, end)
    return Number.isNaN(value) ? REFUSED : value
  }

function int32At(bytes: Buffer, start: number, end: number): number {
  const value = readInteger(bytes, start, end)
  return value === (value | 0) ? value : Number.NaN
}

function safeIntegerAt(bytes: Buffer, start: number, end: number): number {
  const value = readInteger(bytes, start, end)
  // NaN is what has more than 15 digits; 16 may still be safe.
  return Number.isNaN(value) ? safeInteger(bytes.toString('latin1', start, end)) : value
}

function safeInteger(text: string): number {
  const value = Number(text)
  return Number.isSafeInteger(value) && /^-?\d+$/.test(text) ? value : Number.NaN
}

const readBigint: Reader = (bytes, start, end) => {
  const value = readInteger(bytes, start, end)
  if (!Number.isNaN(value)) return BigInt(value)
  const text = bytes.toString('latin1', start, end)
  return /^-?\d+$/.test(text) ? BigInt(text) : REFUSED
}

const readFloat: Reader = (bytes, start, end) => {
  const value = Number(bytes.toString('latin1', start, end))
  return Number.isFinite(value) ? value : REFUSED
}

const readDate: Reader = (bytes, start, end) => {
  const ms = readTimestampMs(bytes, start, end)
  return Number.isNaN(ms) ? REFUSED : new Date(ms)
}

function enumReader(values: readonly string[]): Reader {
  const known = new Map(values.map(value => [value, value]))
  return (bytes, start, end) => known.get(bytes.toString('utf8', start, end)) ?? REFUSED
}

/** Types whose text becomes another one, as JSON has it. */
const REWRITTEN: ReadonlySet<PgType['class']> = new Set(['timestamptz', 'timestamp', 'bool'])

function stringReader(type: PgType): Reader {
  const exact = exactText(type)
  if (REWRITTEN.has(type.class)) {
    return (bytes, start, end) => exact(bytes.toString('utf8', start, end))
  }
  return (bytes, start, end) => bytes.toString('utf8', start, end)
}

/** Formats that the database's own type already guarantees. */
function formatReader(type: PgType, schema: z.ZodType, format: string): Reader | undefined {
  const accepts = (...samples: readonly string[]) =>
    (defOf(schema).checks?.length ?? 0) === 0 && samples.every(sample => schema.safeParse(sample).data === sample)
  if (format === 'guid' && type.class === 'uuid' && accepts(ODD_UUID)) {
    return (bytes, start, end) => bytes.toString('latin1', start, end)
  }
  if (format === 'date' && type.class === 'date' && accepts('2024-02-29', '0001-01-01', '9999-12-31')) {
    return (bytes, start, end) =>
      end - start === 10 && bytes[start] !== 0x2d ? bytes.toString('latin1', start, end) : REFUSED
  }
  const zone = type.class === 'timestamptz' ? 'Z' : type.class === 'timestamp' ? '' : undefined
  if (format === 'datetime' && zone !== undefined) {
    if (!accepts(`2024-02-29T23:59:59${zone}`, `0001-01-01T00:00:00.123456${zone}`)) return undefined
    return (bytes, start, end) => {
      const text = bytes.toString('latin1', start, end)
      const iso = isoTimestamp(text, zone)
      return iso === text ? REFUSED : iso
    }
  }
  return undefined
}

/** No RFC variant: PostgreSQL takes any 128 bits. */
const ODD_UUID = '00000000-1111-2222-3333-444444444444'
