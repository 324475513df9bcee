// The form of the stream: values as row events store them.
import { Unrepresentable } from '../connector/text-values.ts'
import { type Collations, type DecodeText, decoderOf } from './charsets.ts'
import { binaryForm, binaryText, bitForm, type Form } from './columns.ts'
import { jsonText } from './json-values.ts'
import {
  dateText,
  dateTimeMs,
  dateTimeText,
  decimalText,
  decimalUnits,
  inflateColumn,
  oldDateTimeText,
  oldTimestampText,
  oldTimeText,
  readLong,
  readLongNumber,
  shortestFloat,
  timestampMs,
  timestampText,
  timeText,
} from './stored-values.ts'
import { BINARY, type StoredColumn, T } from './table-map.ts'
import type { ColumnType, TypeClass } from './types.ts'

/** What is known of a column when its rows come: as they are stored, and what only the catalog says (`uuid`, `inet6`). */
export interface StreamedColumn {
  readonly type: ColumnType
  readonly form: Form
}

const INT_BYTES: Readonly<Record<number, number>> = {
  [T.TINY]: 1,
  [T.SHORT]: 2,
  [T.INT24]: 3,
  [T.LONG]: 4,
  [T.LONGLONG]: 8,
}

/** @param catalog the column's type as the catalog has it now, where it has it */
export function streamedColumn(
  column: StoredColumn,
  catalog: ColumnType | undefined,
  collations: Collations,
): StreamedColumn {
  const { type: code, size, scale, unsigned, collation } = column
  const charset = collations.get(collation) ?? 'utf8mb4'
  const base = { size, scale, unsigned, charset, labels: [], name: catalog?.name ?? `type ${code}`, boolean: false }
  const as = (typeClass: TypeClass, form: Form, more: Partial<ColumnType> = {}): StreamedColumn => ({
    type: { ...base, class: typeClass, boolean: catalog?.boolean ?? false, ...more },
    form,
  })
  switch (code) {
    case T.TINY:
    case T.SHORT:
    case T.INT24:
    case T.LONG:
    case T.LONGLONG:
      return as('int', intForm(INT_BYTES[code]!, unsigned), { size: INT_BYTES[code]! })
    case T.NEWDECIMAL:
      return as('decimal', decimalForm(size, scale))
    case T.FLOAT:
    case T.DOUBLE:
      return as(code === T.FLOAT ? 'float' : 'double', floatForm(code === T.FLOAT))
    case T.BIT:
      return as('bit', bitForm(size))
    case T.YEAR:
      return as('year', yearForm())
    case T.DATE:
      return as('date', { raw: dateText })
    case T.TIME:
      return as('time', { raw: oldTimeText })
    case T.TIME2:
      return as('time', { raw: (bytes, start) => timeText(bytes, start, size) })
    case T.DATETIME:
      return as('datetime', { raw: oldDateTimeText })
    case T.DATETIME2:
      return as('datetime', {
        raw: (bytes, start) => dateTimeText(bytes, start, size),
        timeMs: (bytes, start) => dateTimeMs(bytes, start, size),
      })
    case T.TIMESTAMP:
      return as('timestamp', { raw: oldTimestampText })
    case T.TIMESTAMP2:
      return as('timestamp', {
        raw: (bytes, start) => timestampText(bytes, start, size),
        timeMs: (bytes, start) => timestampMs(bytes, start, size),
      })
    case T.ENUM:
      return enumColumn(column, as, charset)
    case T.SET:
      return setColumn(column, as, charset)
    case T.JSON:
      return as('json', { raw: jsonText })
    case T.GEOMETRY:
    case T.VECTOR:
      return as('binary', binaryForm())
    default:
      return stringColumn(column, catalog, charset, as)
  }
}

type As = (typeClass: TypeClass, form: Form, more?: Partial<ColumnType>) => StreamedColumn

function stringColumn(column: StoredColumn, catalog: ColumnType | undefined, charset: string, as: As): StreamedColumn {
  const { type: code, size, collation } = column
  const isBinary = collation === BINARY
  if (code === T.STRING && isBinary) {
    if (catalog?.class === 'uuid' && size === 16) return as('uuid', { raw: padded(16, uuidText) })
    if (catalog?.class === 'inet6' && size === 16) return as('inet6', { raw: padded(16, inet6Text) })
    if (catalog?.class === 'inet4' && size === 4) return as('inet4', { raw: padded(4, inet4Text) })
    return as('binary', fixedBinaryForm(size))
  }
  const plain: Form = isBinary ? binaryForm() : { raw: decoderFor(charset) }
  const form = code === T.BLOB_COMPRESSED || code === T.VARCHAR_COMPRESSED ? compressedForm(plain) : plain
  if (isBinary) return as('binary', form, { size: 0 })
  // JSON is text to MariaDB.
  return as(catalog?.class === 'json' ? 'json' : 'text', form, { size: 0 })
}

const decoderFor = (charset: string): DecodeText =>
  decoderOf(charset) ??
  (() => {
    throw new Unrepresentable(`texts in ${charset} cannot be read: convert the column to utf8mb4`)
  })

function intForm(size: number, unsigned: boolean): Form {
  if (size === 8) {
    return {
      raw: (bytes, start) => {
        const value = readLongNumber(bytes, start, unsigned)
        return String(Number.isNaN(value) ? readLong(bytes, start, unsigned) : value)
      },
      integer: (bytes, start) => readLongNumber(bytes, start, unsigned),
      bigint: (bytes, start) => readLong(bytes, start, unsigned),
    }
  }
  const integer = unsigned
    ? (bytes: Buffer, start: number) => bytes.readUIntLE(start, size)
    : size === 4
      ? (bytes: Buffer, start: number) => bytes.readInt32LE(start)
      : (bytes: Buffer, start: number) => bytes.readIntLE(start, size)
  return {
    raw: (bytes, start) => String(integer(bytes, start)),
    integer,
    bigint: (bytes, start) => BigInt(integer(bytes, start)),
  }
}

const decimalForm = (precision: number, scale: number): Form => ({
  raw: (bytes, start) => decimalText(bytes, start, precision, scale),
  units: (bytes, start) => decimalUnits(bytes, start, precision, scale),
  ...(scale === 0 && precision <= 15
    ? { integer: (bytes: Buffer, start: number) => decimalUnits(bytes, start, precision, 0) }
    : {}),
})

function floatForm(single: boolean): Form {
  const float = single
    ? (bytes: Buffer, start: number) => shortestFloat(bytes.readFloatLE(start))
    : (bytes: Buffer, start: number) => bytes.readDoubleLE(start)
  return { raw: (bytes, start) => String(float(bytes, start)), float }
}

function yearForm(): Form {
  const integer = (bytes: Buffer, start: number) => (bytes[start] === 0 ? 0 : bytes[start]! + 1900)
  return { raw: (bytes, start) => String(integer(bytes, start)).padStart(4, '0'), integer }
}

function labelsOf(column: StoredColumn, charset: string): string[] {
  const decode = decoderFor(charset)
  return column.labels.map(label => decode(label, 0, label.length))
}

function enumColumn(column: StoredColumn, as: As, charset: string): StreamedColumn {
  const labels = labelsOf(column, charset)
  const label = (bytes: Buffer, start: number, end: number) => bytes.readUIntLE(start, end - start)
  // 0 is what an invalid value became where the server was not strict.
  return as('enum', { raw: (bytes, start, end) => labels[label(bytes, start, end) - 1] ?? '', label }, { labels })
}

function setColumn(column: StoredColumn, as: As, charset: string): StreamedColumn {
  const labels = labelsOf(column, charset)
  const raw = (bytes: Buffer, start: number, end: number): string =>
    labels.filter((_, n) => (((bytes[start + (n >> 3)] ?? 0) >> (n & 7)) & 1) === 1 && start + (n >> 3) < end).join(',')
  return as('set', { raw }, { labels })
}

/** What is not stored at the end of a fixed length are zeros. */
function pad(bytes: Buffer, start: number, end: number, size: number): Buffer {
  if (end - start >= size) return bytes.subarray(start, end)
  const whole = Buffer.alloc(size)
  bytes.copy(whole, 0, start, end)
  return whole
}

const padded =
  (size: number, text: (value: Buffer) => string) =>
  (bytes: Buffer, start: number, end: number): string =>
    text(pad(bytes, start, end, size))

const fixedBinaryForm = (size: number): Form => ({
  raw: padded(size, value => binaryText(value, 0, value.length)),
  bytes: (bytes, start, end) => new Uint8Array(pad(bytes, start, end, size)),
})

const compressedForm = ({ raw, bytes: copy }: Form): Form => ({
  raw: (bytes, start, end) => {
    const value = inflateColumn(bytes, start, end)
    return raw(value, 0, value.length)
  },
  ...(copy
    ? {
        bytes: (bytes: Buffer, start: number, end: number) => {
          const value = inflateColumn(bytes, start, end)
          return copy(value, 0, value.length)
        },
      }
    : {}),
})

function uuidText(value: Buffer): string {
  const hex = value.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

const inet4Text = (value: Buffer): string => value.join('.')

/** As inet_ntop writes it: the longest run of zeros is left out, the last four bytes of a mapped address in decimal. */
function inet6Text(value: Buffer): string {
  const words = Array.from({ length: 8 }, (_, n) => value.readUInt16BE(n * 2))
  let [bestAt, bestLength] = [-1, 1]
  for (let n = 0; n < 8; n++) {
    let length = 0
    while (n + length < 8 && words[n + length] === 0) length++
    if (length > bestLength) [bestAt, bestLength] = [n, length]
    n += length
  }
  const isMapped = bestAt === 0 && (bestLength === 6 || (bestLength === 5 && words[5] === 0xffff))
  const texts = words.map(word => word.toString(16))
  if (isMapped) texts.splice(6, 2, inet4Text(value.subarray(12)))
  if (bestAt < 0) return texts.join(':')
  return `${texts.slice(0, bestAt).join(':')}::${texts.slice(bestAt + bestLength).join(':')}`
}
