// Keys: bytes whose order is the order of the values (so that a store can walk a range), and their text in URLs.
//
// Bytes, column after column: integer = a byte 0x80 ± n, then its n magnitude bytes, big-endian (complemented when
// negative) · float = IEEE bits with the sign folded, 8 bytes · string = UTF-8 with 00 as 00 FF, then 00 00 · boolean = a byte.
// Text: the columns in order, comma-separated, each percent-encoded.
import { fail } from '../errors.ts'
import { ByteWriter } from './bytes.ts'
import type { ValueType } from './describe.ts'
import type { AnyRow } from './values.ts'

export interface KeyColumn {
  readonly name: string
  readonly type: ValueType
}

/** LMDB's limit is 1,978 bytes for a key; a shard's own prefixes need some of them. */
export const KEY_BYTES_MAX = 1_900

const KEYABLE = new Set(['int32', 'int', 'float', 'bigint', 'boolean', 'string', 'enum', 'date', 'bytes'])

/** A key of one value, or of several named columns. */
export class KeyCodec {
  readonly columns: readonly KeyColumn[]
  /** True where a key is one bare value (`42`), false where it is an object (`{ order_id, line_no }`). */
  readonly single: boolean
  readonly #writer = new ByteWriter(64)

  constructor(columns: readonly KeyColumn[], single: boolean, path: string) {
    if (columns.length === 0) throw fail('DEFINITION_INVALID', `${path} has no key column`)
    for (const column of columns) {
      if (!KEYABLE.has(column.type.kind)) {
        throw fail('DEFINITION_INVALID', `${path}: '${column.name}' cannot be a key`, {
          detail: column.type.kind === 'nullable' ? 'it may be null' : `its type is ${column.type.kind}`,
          hint: 'take integers, strings, enums, booleans, dates or bytes that are never null',
        })
      }
    }
    this.columns = columns
    this.single = single
  }

  /** The key's bytes, a fresh copy. @throws KEY_INVALID when a value is not of its column's type or the key is too long. */
  encode(key: unknown): Buffer {
    const writer = this.#writer
    writer.at = 0
    if (this.single) {
      const column = this.columns[0]
      if (column) writeKeyValue(writer, column, key)
    } else {
      if (typeof key !== 'object' || key === null) throw invalid('key', 'an object of the key columns', key)
      for (const column of this.columns) writeKeyValue(writer, column, (key as AnyRow)[column.name])
    }
    return this.#taken()
  }

  /** The key's bytes straight from a row that holds its columns. */
  encodeFromRow(row: AnyRow): Buffer {
    const writer = this.#writer
    writer.at = 0
    for (const column of this.columns) writeKeyValue(writer, column, row[column.name])
    return this.#taken()
  }

  /** Writes the bytes of the n-th column's value: `encode` is all of them in order, and `checkLength`. @throws KEY_INVALID */
  encodeColumn(writer: ByteWriter, n: number, value: unknown): void {
    writeKeyValue(writer, this.columns[n]!, value)
  }

  /** The same of a string that is given as ASCII bytes; false, and nothing of use is written, where they are others. */
  encodeAscii(writer: ByteWriter, bytes: Uint8Array, from: number, to: number): boolean {
    writer.reserve(2 * (to - from) + 2)
    const { buffer } = writer
    for (let n = from; n < to; n++) {
      const byte = bytes[n]!
      if (byte >= 0x80) return false
      buffer[writer.at++] = byte
      if (byte === 0) buffer[writer.at++] = 0xff
    }
    buffer[writer.at++] = 0
    buffer[writer.at++] = 0
    return true
  }

  /** The same of a string that is given as UTF-8. */
  encodeUtf8(writer: ByteWriter, bytes: Uint8Array): void {
    writeTerminated(writer, bytes)
  }

  /** @throws KEY_INVALID where a key has too many bytes */
  checkLength(bytes: number): void {
    if (bytes <= KEY_BYTES_MAX) return
    throw fail('KEY_INVALID', `a key of ${bytes} bytes is too long`, { detail: `the limit is ${KEY_BYTES_MAX} bytes` })
  }

  #taken(): Buffer {
    this.checkLength(this.#writer.at)
    return this.#writer.copy()
  }

  fromRow(row: AnyRow): unknown {
    if (this.single) return row[this.columns[0]?.name ?? '']
    return Object.fromEntries(this.columns.map(column => [column.name, row[column.name]]))
  }

  decode(bytes: Uint8Array): unknown {
    const reader = { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 0 }
    const values = this.columns.map(column => readKeyValue(reader, column.type))
    if (this.single) return values[0]
    return Object.fromEntries(this.columns.map((column, n) => [column.name, values[n]]))
  }

  /** The key as it stands in a URL, before percent-encoding of the whole path segment is needed. */
  format(key: unknown): string {
    const values = this.single ? [key] : this.columns.map(column => (key as AnyRow)[column.name])
    return values.map(value => encodeURIComponent(keyText(value))).join(',')
  }

  /** Reads `format`'s text. @throws KEY_MALFORMED */
  parse(text: string): unknown {
    if (this.single) return parseKeyText(decodePart(text), this.columns[0]!)
    const parts = text.split(',')
    if (parts.length !== this.columns.length) {
      throw fail('KEY_MALFORMED', `the key '${text}' has ${parts.length} of ${this.columns.length} parts`, {
        hint: `give ${this.columns.map(column => column.name).join(',')} in this order, separated by commas`,
      })
    }
    const values = this.columns.map((column, n) => parseKeyText(decodePart(parts[n] ?? ''), column))
    return Object.fromEntries(this.columns.map((column, n) => [column.name, values[n]]))
  }

  /** A key as JSON gives it (int64 and dates as strings). @throws KEY_MALFORMED */
  fromJson(value: unknown): unknown {
    if (this.single) return keyFromJson(value, this.columns[0])
    if (typeof value !== 'object' || value === null)
      throw fail('KEY_MALFORMED', 'the key is not an object of its columns')
    return Object.fromEntries(
      this.columns.map(column => [column.name, keyFromJson((value as AnyRow)[column.name], column)]),
    )
  }
}

function keyFromJson(value: unknown, column: KeyColumn | undefined): unknown {
  if (column && value === undefined) throw fail('KEY_MALFORMED', `the key has no ${column.name}`)
  const scalar = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
  // What most keys are, as parseKeyText would give it; −0 it takes care of.
  if (column?.type.kind === 'int' && Number.isSafeInteger(value) && value !== 0) return value
  if (column?.type.kind === 'int32' && typeof value === 'number' && value === (value | 0) && value !== 0) return value
  if (!column || !scalar) throw fail('KEY_MALFORMED', `the key's ${column?.name ?? 'value'} is not a scalar`)
  if (typeof value !== 'string' && (column.type.kind === 'string' || column.type.kind === 'enum')) {
    throw fail('KEY_MALFORMED', `the key's ${column.name} is a ${typeof value}, not a string`)
  }
  if (typeof value === 'number' && column.type.kind === 'bigint' && !Number.isSafeInteger(value)) {
    // JSON has rounded it already: it would be another row's key.
    throw fail('KEY_MALFORMED', `the key's ${column.name} is not exact as a JSON number`, {
      hint: 'give it as a string',
    })
  }
  return parseKeyText(String(value), column)
}

function decodePart(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    throw fail('KEY_MALFORMED', `'${text}' is not percent-encoded text`)
  }
}

const keyText = (value: unknown): string =>
  value instanceof Date
    ? value.toISOString()
    : value instanceof Uint8Array
      ? Buffer.from(value).toString('base64url')
      : String(value)

const UUID = { pattern: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, name: 'a UUID' }

/** Strings whose form a contract says: another form is a mistake of the caller, not an absent row. */
const KEY_FORMATS: Readonly<Record<string, { readonly pattern: RegExp; readonly name: string }>> = {
  guid: UUID,
  uuid: UUID,
  date: { pattern: /^\d{4,6}-\d\d-\d\d$/, name: 'a date, YYYY-MM-DD' },
}

function parseKeyText(text: string, column: KeyColumn): unknown {
  const { type } = column
  if (type.kind === 'string' && type.format === undefined) return text
  const malformed = (expected: string) =>
    fail('KEY_MALFORMED', `'${text}' is not ${expected}`, { detail: `key column ${column.name}` })
  switch (column.type.kind) {
    case 'int32':
    case 'int': {
      const value = Number(text)
      if (!/^-?\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) throw malformed('an integer')
      if (column.type.kind === 'int32' && value !== (value | 0)) throw malformed('an int32')
      return value === 0 ? 0 : value
    }
    case 'bigint':
      if (!/^-?\d{1,100}$/.test(text)) throw malformed('an integer')
      return BigInt(text)
    case 'float': {
      const value = Number(text)
      if (text.trim() === '' || !Number.isFinite(value)) throw malformed('a number')
      return value
    }
    case 'boolean':
      if (text !== 'true' && text !== 'false') throw malformed('true or false')
      return text === 'true'
    case 'date': {
      const value = new Date(text)
      if (Number.isNaN(value.getTime())) throw malformed('an ISO 8601 time')
      return value
    }
    case 'enum':
      if (!column.type.values.includes(text)) throw malformed(`one of ${column.type.values.join(', ')}`)
      return text
    case 'bytes':
      return new Uint8Array(Buffer.from(text, 'base64url'))
    case 'string': {
      const format = KEY_FORMATS[column.type.format ?? '']
      if (format && !format.pattern.test(text)) throw malformed(format.name)
      return text
    }
    default:
      return text
  }
}

const invalid = (name: string, expected: string, value: unknown) =>
  fail(
    'KEY_INVALID',
    `${name}: expected ${expected}, received ${value === null ? 'null' : typeof value === 'number' ? value : typeof value}`,
  )

function writeKeyValue(writer: ByteWriter, column: KeyColumn, value: unknown): void {
  switch (column.type.kind) {
    case 'int32':
    case 'int':
      if (!Number.isSafeInteger(value)) throw invalid(column.name, 'a safe integer', value)
      writeInteger(writer, value as number)
      break
    case 'date':
      if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw invalid(column.name, 'a date', value)
      writeInteger(writer, value.getTime())
      break
    case 'bigint':
      if (typeof value !== 'bigint') throw invalid(column.name, 'a bigint', value)
      writeBigint(writer, value)
      break
    case 'float':
      if (typeof value !== 'number' || !Number.isFinite(value)) throw invalid(column.name, 'a finite number', value)
      writeFloat(writer, value)
      break
    case 'boolean':
      if (typeof value !== 'boolean') throw invalid(column.name, 'a boolean', value)
      writer.u8(value ? 1 : 0)
      break
    case 'bytes':
      if (!(value instanceof Uint8Array)) throw invalid(column.name, 'a Uint8Array', value)
      writeTerminated(writer, value)
      break
    default:
      if (typeof value !== 'string' || !value.isWellFormed())
        throw invalid(column.name, 'a string of whole characters', value)
      writeTerminated(writer, Buffer.from(value))
      break
  }
}

function writeInteger(writer: ByteWriter, value: number): void {
  if (value > -0x80000000 && value < 0x80000000) {
    const magnitude = value < 0 ? -value : value
    const bytes = magnitude === 0 ? 0 : magnitude < 0x100 ? 1 : magnitude < 0x10000 ? 2 : magnitude < 0x1000000 ? 3 : 4
    writer.u8(value < 0 ? 0x80 - bytes : 0x80 + bytes)
    for (let n = bytes - 1; n >= 0; n--) {
      const byte = (magnitude >>> (n * 8)) & 0xff
      writer.u8(value < 0 ? ~byte & 0xff : byte)
    }
    return
  }
  writeBigint(writer, BigInt(value))
}

function writeBigint(writer: ByteWriter, value: bigint): void {
  const negative = value < 0n
  let hex = (negative ? -value : value).toString(16)
  if (value === 0n) hex = ''
  if (hex.length % 2 === 1) hex = `0${hex}`
  const magnitude = Buffer.from(hex, 'hex')
  if (magnitude.length > 100) throw fail('KEY_INVALID', 'an integer beyond 800 bits cannot be a key')
  writer.u8(negative ? 0x80 - magnitude.length : 0x80 + magnitude.length)
  for (const byte of magnitude) writer.u8(negative ? ~byte & 0xff : byte)
}

function writeFloat(writer: ByteWriter, value: number): void {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value === 0 ? 0 : value)
  const negative = value < 0
  for (let n = 0; n < 8; n++) {
    const byte = bytes[n] ?? 0
    writer.u8(negative ? ~byte & 0xff : n === 0 ? byte | 0x80 : byte)
  }
}

function writeTerminated(writer: ByteWriter, bytes: Uint8Array): void {
  for (const byte of bytes) {
    writer.u8(byte)
    if (byte === 0) writer.u8(0xff)
  }
  writer.u8(0)
  writer.u8(0)
}

interface KeyReader {
  readonly bytes: Buffer
  at: number
}

function readKeyValue(reader: KeyReader, type: ValueType): unknown {
  switch (type.kind) {
    case 'int32':
    case 'int':
      return Number(readBigint(reader))
    case 'date':
      return new Date(Number(readBigint(reader)))
    case 'bigint':
      return readBigint(reader)
    case 'float':
      return readFloat(reader)
    case 'boolean':
      return reader.bytes[reader.at++] === 1
    case 'bytes':
      return new Uint8Array(readTerminated(reader))
    default:
      return readTerminated(reader).toString('utf8')
  }
}

function readBigint(reader: KeyReader): bigint {
  const tag = reader.bytes[reader.at++] ?? 0x80
  const negative = tag < 0x80
  const length = negative ? 0x80 - tag : tag - 0x80
  let value = 0n
  for (let n = 0; n < length; n++) {
    const byte = reader.bytes[reader.at++] ?? 0
    value = (value << 8n) | BigInt(negative ? ~byte & 0xff : byte)
  }
  return negative ? -value : value
}

function readFloat(reader: KeyReader): number {
  const bytes = Buffer.from(reader.bytes.subarray(reader.at, reader.at + 8))
  reader.at += 8
  const negative = ((bytes[0] ?? 0) & 0x80) === 0
  for (let n = 0; n < 8; n++)
    bytes[n] = negative ? ~(bytes[n] ?? 0) & 0xff : n === 0 ? (bytes[n] ?? 0) & 0x7f : (bytes[n] ?? 0)
  return bytes.readDoubleBE(0)
}

function readTerminated(reader: KeyReader): Buffer {
  const out: number[] = []
  for (;;) {
    const byte = reader.bytes[reader.at++]
    if (byte === undefined) break
    if (byte === 0) {
      if (reader.bytes[reader.at++] !== 0xff) break
    }
    out.push(byte)
  }
  return Buffer.from(out)
}
