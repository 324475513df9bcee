// MySQL's binary JSON → the text that the server shows: `{"a": 1, "b": [true, null]}`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html
import { Unrepresentable } from '../connector/text-values.ts'
import { dateTimeText, decimalText, timeText } from './stored-values.ts'
import { T } from './table-map.ts'

const SMALL_OBJECT = 0
const LARGE_OBJECT = 1
const SMALL_ARRAY = 2
const LARGE_ARRAY = 3
const LITERAL = 4
const INT16 = 5
const UINT16 = 6
const INT32 = 7
const UINT32 = 8
const INT64 = 9
const UINT64 = 10
const DOUBLE = 11
const STRING = 12
const CUSTOM = 15

const LITERALS = ['null', 'true', 'false']
/** As deep as MySQL lets a document be. */
const DEPTH_MAX = 100

export function jsonText(bytes: Buffer, start: number, end: number): string {
  // What an UPDATE IGNORE may have left.
  if (start === end) return 'null'
  return valueText(bytes.subarray(start, end), bytes[start]!, 1, 0)
}

function valueText(bytes: Buffer, type: number, at: number, depth: number): string {
  if (depth > DEPTH_MAX) throw new Unrepresentable('the JSON is nested too deeply')
  switch (type) {
    case SMALL_OBJECT:
    case LARGE_OBJECT:
    case SMALL_ARRAY:
    case LARGE_ARRAY:
      return containerText(bytes, type, at, depth)
    case LITERAL:
      return LITERALS[bytes[at]!] ?? 'null'
    case INT16:
      return String(bytes.readInt16LE(at))
    case UINT16:
      return String(bytes.readUInt16LE(at))
    case INT32:
      return String(bytes.readInt32LE(at))
    case UINT32:
      return String(bytes.readUInt32LE(at))
    case INT64:
      return String(bytes.readBigInt64LE(at))
    case UINT64:
      return String(bytes.readBigUInt64LE(at))
    case DOUBLE:
      return doubleText(bytes.readDoubleLE(at))
    case STRING: {
      const [length, from] = lengthAt(bytes, at)
      return quote(bytes.toString('utf8', from, from + length))
    }
    case CUSTOM:
      return customText(bytes, at)
    default:
      throw new Unrepresentable(`the JSON has a value of type ${type}`)
  }
}

/** A whole double shows that it is one. */
const doubleText = (value: number): string =>
  Number.isInteger(value) && Math.abs(value) < 1e15 ? `${value}.0` : String(value)

/** As MySQL escapes: only what JSON must. */
const quote = (text: string): string => JSON.stringify(text)

function containerText(bytes: Buffer, type: number, base: number, depth: number): string {
  const large = type === LARGE_OBJECT || type === LARGE_ARRAY
  const isObject = type === SMALL_OBJECT || type === LARGE_OBJECT
  const size = large ? 4 : 2
  const offset = (at: number) => (large ? bytes.readUInt32LE(at) : bytes.readUInt16LE(at))
  const count = offset(base)
  const keysAt = base + 2 * size
  const keyBytes = isObject ? size + 2 : 0
  const valuesAt = keysAt + count * keyBytes
  const parts: string[] = []
  for (let n = 0; n < count; n++) {
    const entry = valuesAt + n * (1 + size)
    const valueType = bytes[entry]!
    const inlined =
      valueType === LITERAL ||
      valueType === INT16 ||
      valueType === UINT16 ||
      (large && (valueType === INT32 || valueType === UINT32))
    const text = valueText(bytes, valueType, inlined ? entry + 1 : base + offset(entry + 1), depth + 1)
    if (!isObject) parts.push(text)
    else {
      const key = keysAt + n * keyBytes
      const from = base + offset(key)
      parts.push(`${quote(bytes.toString('utf8', from, from + bytes.readUInt16LE(key + size)))}: ${text}`)
    }
  }
  return isObject ? `{${parts.join(', ')}}` : `[${parts.join(', ')}]`
}

/** Seven bits a byte, the lowest first. */
function lengthAt(bytes: Buffer, at: number): [length: number, from: number] {
  let length = 0
  for (let n = 0; n < 5; n++) {
    const byte = bytes[at + n]!
    length += (byte & 0x7f) * 128 ** n
    if (byte < 0x80) return [length, at + n + 1]
  }
  throw new Unrepresentable('the JSON has a text without an end')
}

/** A value of an SQL type within the JSON. */
function customText(bytes: Buffer, at: number): string {
  const type = bytes[at]!
  const [length, from] = lengthAt(bytes, at + 1)
  switch (type) {
    case T.NEWDECIMAL:
      return decimalText(bytes, from + 2, bytes[from]!, bytes[from + 1]!)
    case T.DATE:
    case T.DATETIME:
    case T.TIMESTAMP:
    case T.TIME:
      return quote(timeOf(type, bytes.readBigInt64LE(from)))
    default:
      return quote(`base64:type${type}:${bytes.toString('base64', from, from + length)}`)
  }
}

/** Times are packed as in rows, with microseconds in the lowest 24 bits. */
function timeOf(type: number, packed: bigint): string {
  const stored = Buffer.alloc(8)
  if (type === T.TIME) {
    stored.writeBigUInt64BE(packed + 0x8000_0000_0000n)
    return timeText(stored, 2, 6)
  }
  stored.writeBigUInt64BE(packed + 0x8000_0000_0000_0000n)
  const text = dateTimeText(stored, 0, 6)
  return type === T.DATE ? text.slice(0, 10) : text
}
