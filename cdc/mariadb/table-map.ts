// TABLE_MAP events: which table the row events after it mean, and how its columns are stored in them. With
// binlog_row_metadata = FULL they bring names, signs, collations and the labels of enums and sets too, so that nothing that the
// catalog says *now* decides how a change of *then* is read.
// https://mariadb.com/kb/en/table_map_event/
import { fail } from '../../core/index.ts'
import { lengthSize, readLength } from './packets.ts'

/** Types as they are stored in row events. */
export const T = {
  TINY: 1,
  SHORT: 2,
  LONG: 3,
  FLOAT: 4,
  DOUBLE: 5,
  NULL: 6,
  TIMESTAMP: 7,
  LONGLONG: 8,
  INT24: 9,
  DATE: 10,
  TIME: 11,
  DATETIME: 12,
  YEAR: 13,
  VARCHAR: 15,
  BIT: 16,
  TIMESTAMP2: 17,
  DATETIME2: 18,
  TIME2: 19,
  BLOB_COMPRESSED: 140,
  VARCHAR_COMPRESSED: 141,
  VECTOR: 242,
  JSON: 245,
  NEWDECIMAL: 246,
  ENUM: 247,
  SET: 248,
  TINY_BLOB: 249,
  MEDIUM_BLOB: 250,
  LONG_BLOB: 251,
  BLOB: 252,
  VAR_STRING: 253,
  STRING: 254,
  GEOMETRY: 255,
} as const

export interface StoredColumn {
  /** '' where the event has no names. */
  readonly name: string
  readonly type: number
  /** Of a decimal: digits; of times: digits of the fraction; of strings: bytes; of blobs: bytes of their length; of bits: bits. */
  readonly size: number
  /** Of a decimal: digits after the point. */
  readonly scale: number
  readonly unsigned: boolean
  /** The collation's number; 63 is binary. */
  readonly collation: number
  /** Of an enum or set, in its collation's character set. */
  readonly labels: readonly Buffer[]
}

export interface TableMap {
  readonly database: string
  readonly table: string
  readonly hasNames: boolean
  readonly columns: readonly StoredColumn[]
}

export const BINARY = 63

const NUMERIC: ReadonlySet<number> = new Set([
  T.TINY,
  T.SHORT,
  T.INT24,
  T.LONG,
  T.LONGLONG,
  T.NEWDECIMAL,
  T.FLOAT,
  T.DOUBLE,
])
const CHARACTER: ReadonlySet<number> = new Set([
  T.STRING,
  T.VAR_STRING,
  T.VARCHAR,
  T.VARCHAR_COMPRESSED,
  T.TINY_BLOB,
  T.MEDIUM_BLOB,
  T.LONG_BLOB,
  T.BLOB,
  T.BLOB_COMPRESSED,
])

interface Stored {
  type: number
  size: number
  scale: number
}

/** The number by which row events name the table. */
export const tableIdOf = (bytes: Buffer, at: number): number => bytes.readUIntLE(at, 6)

/** Reads the event's body, from behind its header. @throws SOURCE_PROTOCOL */
export function readTableMap(bytes: Buffer, start: number, end: number): TableMap {
  let at = start + 8
  const name = (): string => {
    const length = bytes[at]!
    const text = bytes.toString('utf8', at + 1, at + 1 + length)
    at += length + 2
    return text
  }
  const database = name()
  const table = name()
  const count = readLength(bytes, at)
  at += lengthSize(bytes[at]!)
  const types = bytes.subarray(at, at + count)
  at += count
  const metaBytes = readLength(bytes, at)
  at += lengthSize(bytes[at]!)
  const stored = readStored(types, bytes.subarray(at, at + metaBytes))
  at += metaBytes + ((count + 7) >> 3)
  if (at > end) throw fail('SOURCE_PROTOCOL', 'a table map event is cut short', { detail: `${database}.${table}` })
  const extra = readExtra(bytes.subarray(at, end))
  return { database, table, hasNames: extra.has(NAMES), columns: describe(stored, extra) }
}

/** A CHAR's type and length share two bytes. */
function readStored(types: Buffer, meta: Buffer): Stored[] {
  let at = 0
  return Array.from(types, type => {
    switch (type) {
      case T.FLOAT:
      case T.DOUBLE:
      case T.TIMESTAMP2:
      case T.DATETIME2:
      case T.TIME2:
      case T.TINY_BLOB:
      case T.MEDIUM_BLOB:
      case T.LONG_BLOB:
      case T.BLOB:
      case T.BLOB_COMPRESSED:
      case T.GEOMETRY:
      case T.JSON:
      case T.VECTOR:
        return { type, size: meta[at++]!, scale: 0 }
      case T.VARCHAR:
      case T.VARCHAR_COMPRESSED: {
        at += 2
        return { type, size: meta.readUInt16LE(at - 2), scale: 0 }
      }
      case T.BIT: {
        at += 2
        return { type, size: meta[at - 1]! * 8 + meta[at - 2]!, scale: 0 }
      }
      case T.NEWDECIMAL: {
        at += 2
        return { type, size: meta[at - 2]!, scale: meta[at - 1]! }
      }
      case T.STRING:
      case T.VAR_STRING:
      case T.ENUM:
      case T.SET: {
        const [high, low] = [meta[at]!, meta[at + 1]!]
        at += 2
        if ((high & 0x30) !== 0x30) return { type: high | 0x30, size: low | (((high & 0x30) ^ 0x30) << 4), scale: 0 }
        return { type: high, size: low, scale: 0 }
      }
      default:
        return { type, size: 0, scale: 0 }
    }
  })
}

const SIGNS = 1
const DEFAULT_COLLATION = 2
const COLLATIONS = 3
const NAMES = 4
const SET_LABELS = 5
const ENUM_LABELS = 6
const ENUM_DEFAULT_COLLATION = 10
const ENUM_COLLATIONS = 11

function readExtra(bytes: Buffer): Map<number, Buffer> {
  const fields = new Map<number, Buffer>()
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at++]!
    const length = readLength(bytes, at)
    at += lengthSize(bytes[at]!)
    fields.set(kind, bytes.subarray(at, at + length))
    at += length
  }
  return fields
}

function describe(stored: readonly Stored[], extra: ReadonlyMap<number, Buffer>): StoredColumn[] {
  const signs = extra.get(SIGNS)
  const names = extra.get(NAMES)
  const nameAt = { at: 0 }
  const characters = collationsOf(extra.get(DEFAULT_COLLATION), extra.get(COLLATIONS))
  const enumerations = collationsOf(extra.get(ENUM_DEFAULT_COLLATION), extra.get(ENUM_COLLATIONS))
  const sets = { at: 0 }
  const enums = { at: 0 }
  let numbers = 0
  return stored.map(({ type, size, scale }) => {
    const n = NUMERIC.has(type) ? numbers++ : -1
    const collation = CHARACTER.has(type) ? characters() : type === T.ENUM || type === T.SET ? enumerations() : BINARY
    const source = type === T.SET ? extra.get(SET_LABELS) : type === T.ENUM ? extra.get(ENUM_LABELS) : undefined
    return {
      name: names ? readText(names, nameAt).toString('utf8') : '',
      type,
      size,
      scale,
      unsigned: n >= 0 && signs !== undefined && ((signs[n >> 3]! >> (7 - (n & 7))) & 1) === 1,
      collation,
      labels: source ? readLabels(source, type === T.SET ? sets : enums) : [],
    }
  })
}

/** Gives the collations one after the other: all of them are listed, or those that are not the default one. */
function collationsOf(byDefault: Buffer | undefined, all: Buffer | undefined): () => number {
  const list: number[] = []
  for (const bytes of [byDefault ?? all]) {
    for (let at = 0; bytes && at < bytes.length; at += lengthSize(bytes[at]!)) list.push(readLength(bytes, at))
  }
  let n = 0
  if (!byDefault) return () => list[n++] ?? BINARY
  const others = new Map<number, number>()
  for (let k = 1; k + 1 < list.length; k += 2) others.set(list[k]!, list[k + 1]!)
  return () => others.get(n++) ?? list[0] ?? BINARY
}

function readText(bytes: Buffer, place: { at: number }): Buffer {
  const length = readLength(bytes, place.at)
  const from = place.at + lengthSize(bytes[place.at]!)
  place.at = from + length
  return bytes.subarray(from, place.at)
}

function readLabels(bytes: Buffer, place: { at: number }): Buffer[] {
  const count = readLength(bytes, place.at)
  place.at += lengthSize(bytes[place.at]!)
  return Array.from({ length: count }, () => Buffer.from(readText(bytes, place)))
}
