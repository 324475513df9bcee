// Stored form of a value of a described type: straight-line code generated per schema, so that each contract's
// encoder and decoder stay monomorphic. Names reach the generated text only through JSON.stringify.
//
// Form: nullable = one byte (0 null, 1 value, 2 absent) · int, int32, date (ms) = int · float = 8 bytes ·
// enum = varint index · string, bytes = varint length + bytes · json = string · array, map, open record = varint count + items ·
// object and closed record = its fields in order. Whatever is not exactly of its type is refused before anything is written.
import { fail } from '../errors.ts'
import type { ByteReader, ByteWriter } from './bytes.ts'
import type { Field, ObjectType, ValueType } from './describe.ts'
import type { AnyRow } from './values.ts'

export interface RowCodec {
  readonly type: ObjectType
  /** Appends the row. @throws RECORD_REFUSED naming the field whose value is not of its type; nothing is kept then. */
  encode(writer: ByteWriter, row: AnyRow): void
  decode(reader: ByteReader): AnyRow
}

export function createRowCodec(type: ObjectType): RowCodec {
  const names: Names = { next: 0 }
  const encodeBody = encodeFields(type.fields, 'row', '', names)
  const encode = new Function('w', 'row', 'bad', 'json', 'Date', encodeBody) as EncodeFunction
  const decode = new Function(
    'r',
    'enums',
    'parse',
    'Date',
    `return ${decodeExpression(type, names)}`,
  ) as DecodeFunction
  const enums = names.enums ?? []
  return {
    type,
    encode(writer, row) {
      const start = writer.at
      try {
        encode(writer, row, refuse, toJson, RealDate)
      } catch (error) {
        writer.at = start
        // Said here, so that a row that is one is not asked.
        if (row === null || row === undefined) refuse('record', 'an object', row)
        throw error
      }
    },
    decode: reader => decode(reader, enums, JSON.parse, RealDate),
  }
}

/**
 * Writes one value of a type as a row has it.
 * @param path names it in errors
 * @returns what throws RECORD_REFUSED for a value that is not of its type; part of it may be written then
 */
export function createValueEncoder(type: ValueType, path: string): (writer: ByteWriter, value: unknown) => void {
  const body = `return (w, v) => { ${encodeValue(type, 'v', path, { next: 0 })} }`
  const make = new Function('bad', 'json', 'Date', body) as (
    bad: typeof refuse,
    json: typeof toJson,
    date: DateConstructor,
  ) => (writer: ByteWriter, value: unknown) => void
  return make(refuse, toJson, RealDate)
}

/** Taken before the purity guards wrap the global one, which would slow each decoded date. */
const RealDate = Date

type EncodeFunction = (
  writer: ByteWriter,
  row: AnyRow,
  bad: typeof refuse,
  json: typeof toJson,
  date: DateConstructor,
) => void
type DecodeFunction = (
  reader: ByteReader,
  enums: readonly (readonly string[])[],
  parse: typeof JSON.parse,
  date: DateConstructor,
) => AnyRow

interface Names {
  next: number
  enums?: (readonly string[])[]
}

function refuse(path: string, expected: string, value: unknown): never {
  const seen =
    value === null
      ? 'null'
      : value instanceof Date
        ? 'an invalid date'
        : typeof value === 'number'
          ? String(value)
          : typeof value
  throw fail('RECORD_REFUSED', `${path.replace(/^\./, '')}: expected ${expected}, received ${seen}`)
}

function toJson(path: string, value: unknown): string {
  const text = JSON.stringify(value)
  if (text === undefined) refuse(path, 'a JSON value', value)
  return text
}

const quote = (text: string): string => JSON.stringify(text)
const member = (of: string, name: string): string => `${of}[${quote(name)}]`
const fresh = (names: Names): string => `v${names.next++}`

function encodeFields(fields: readonly Field[], from: string, path: string, names: Names): string {
  return fields
    .map(field => {
      const local = fresh(names)
      return `const ${local} = ${member(from, field.name)};\n${encodeValue(field.type, local, `${path}.${field.name}`, names)}`
    })
    .join('\n')
}

/** A statement that checks and writes the variable `v`. */
function encodeValue(type: ValueType, v: string, path: string, names: Names): string {
  const bad = (expected: string) => `bad(${quote(path)}, ${quote(expected)}, ${v})`
  switch (type.kind) {
    case 'int32':
      return `if (typeof ${v} !== 'number' || ${v} !== (${v} | 0)) ${bad('an int32')}; w.int(${v});`
    case 'int':
      return `if (!Number.isSafeInteger(${v})) ${bad('a safe integer')}; w.int(${v});`
    case 'float':
      return `if (typeof ${v} !== 'number' || !Number.isFinite(${v})) ${bad('a finite number')}; w.f64(${v});`
    case 'bigint':
      return `if (typeof ${v} !== 'bigint') ${bad('a bigint')}; w.bigint(${v});`
    case 'boolean':
      return `if (typeof ${v} !== 'boolean') ${bad('a boolean')}; w.u8(${v} ? 1 : 0);`
    case 'date':
      return `if (!(${v} instanceof Date) || Number.isNaN(${v}.getTime())) ${bad('a date')}; w.int(${v}.getTime());`
    case 'bytes':
      return `if (!(${v} instanceof Uint8Array)) ${bad('a Uint8Array')}; w.bytes(${v});`
    case 'string':
      return `if (typeof ${v} !== 'string') ${bad('a string')}; w.string(${v}, ${quote(path)});`
    case 'json':
      return `w.string(json(${quote(path)}, ${v}));`
    case 'enum':
      return encodeEnum(type.values, v, bad(`one of ${type.values.join(', ')}`))
    case 'nullable': {
      const absent = type.optional ? `if (${v} === undefined) w.u8(2); else ` : ''
      return `${absent}if (${v} === null) w.u8(0); else { w.u8(1); ${encodeValue(type.inner, v, path, names)} }`
    }
    case 'array': {
      const item = fresh(names)
      return `if (!Array.isArray(${v})) ${bad('an array')}; w.varint(${v}.length); for (const ${item} of ${v}) { ${encodeValue(type.element, item, `${path}[]`, names)} }`
    }
    case 'object':
      return `if (typeof ${v} !== 'object' || ${v} === null) ${bad('an object')}; { ${encodeFields(type.fields, v, path, names)} }`
    case 'record':
      return encodeRecord(type, v, path, names)
    case 'map': {
      const key = fresh(names)
      const value = fresh(names)
      return `if (!(${v} instanceof Map)) ${bad('a Map')}; w.varint(${v}.size); for (const [${key}, ${value}] of ${v}) { ${encodeValue(type.key, key, `${path} key`, names)} ${encodeValue(type.value, value, `${path}[]`, names)} }`
    }
  }
}

function encodeEnum(values: readonly string[], v: string, otherwise: string): string {
  const cases = values.map((value, index) => `case ${quote(value)}: w.varint(${index}); break;`).join(' ')
  return `switch (${v}) { ${cases} default: ${otherwise} }`
}

function encodeRecord(type: Extract<ValueType, { kind: 'record' }>, v: string, path: string, names: Names): string {
  const check = `if (typeof ${v} !== 'object' || ${v} === null) bad(${quote(path)}, 'a record', ${v});`
  if (type.keys) {
    const fields = type.keys.map(name => ({ name, type: type.value }))
    return `${check} { ${encodeFields(fields, v, path, names)} }`
  }
  const key = fresh(names)
  const keys = fresh(names)
  const value = fresh(names)
  return `${check} const ${keys} = Object.keys(${v}); w.varint(${keys}.length); for (const ${key} of ${keys}) { w.string(${key}, ${quote(`${path} key`)}); const ${value} = ${v}[${key}]; ${encodeValue(type.value, value, `${path}[]`, names)} }`
}

/** An expression that reads a value. Fields are read in the order in which an object literal evaluates them. */
function decodeExpression(type: ValueType, names: Names): string {
  switch (type.kind) {
    case 'int32':
      return 'r.int32()'
    case 'int':
      return 'r.int()'
    case 'float':
      return 'r.f64()'
    case 'bigint':
      return 'r.bigint()'
    case 'boolean':
      return '(r.tag(1) === 1)'
    case 'date':
      return 'new Date(r.time())'
    case 'bytes':
      return 'r.bytes()'
    case 'string':
      return 'r.string()'
    case 'json':
      return 'parse(r.string())'
    case 'enum': {
      names.enums ??= []
      names.enums.push(type.values)
      return `r.pick(enums[${names.enums.length - 1}])`
    }
    case 'nullable': {
      const inner = decodeExpression(type.inner, names)
      if (!type.optional) return `(r.tag(1) === 0 ? null : ${inner})`
      const tag = fresh(names)
      return `((${tag}) => ${tag} === 1 ? ${inner} : ${tag} === 0 ? null : undefined)(r.tag(2))`
    }
    case 'array':
      return `Array.from({ length: r.count(${bytesMin(type.element)}) }, () => ${decodeExpression(type.element, names)})`
    case 'object':
      return decodeObject(type.fields, names)
    case 'record': {
      if (type.keys)
        return decodeObject(
          type.keys.map(name => ({ name, type: type.value })),
          names,
        )
      return `Object.fromEntries(Array.from({ length: r.count(${1 + bytesMin(type.value)}) }, () => [r.string(), ${decodeExpression(type.value, names)}]))`
    }
    case 'map':
      return `new Map(Array.from({ length: r.count(${bytesMin(type.key) + bytesMin(type.value)}) }, () => [${decodeExpression(type.key, names)}, ${decodeExpression(type.value, names)}]))`
  }
}

function decodeObject(fields: readonly Field[], names: Names): string {
  return `({ ${fields.map(field => `[${quote(field.name)}]: ${decodeExpression(field.type, names)}`).join(', ')} })`
}

/** The fewest bytes that a value takes. */
function bytesMin(type: ValueType): number {
  switch (type.kind) {
    case 'float':
      return 8
    case 'bigint':
      return 2
    case 'object':
      return type.fields.reduce((sum, field) => sum + bytesMin(field.type), 0)
    case 'record':
      return type.keys ? type.keys.length * bytesMin(type.value) : 1
    default:
      return 1
  }
}
