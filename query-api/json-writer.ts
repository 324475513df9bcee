// Values of a described type as JSON text: straight-line code generated once per type, because the row route spends most
// of its own time here. Names reach the generated text only through JSON.stringify. Its form is that of `toWire`.
import { type AnyRow, type Field, type RecordType, toWire, type ValueType } from '../core/index.ts'

export type JsonWriter = (value: unknown) => string

interface Build {
  temps: number
  /** Written by `toWire`. */
  readonly types: ValueType[]
  /** Of lists' elements. */
  readonly writers: JsonWriter[]
}

/** A function that writes values of the type; what is rare (maps, records of any names, optional fields) goes through `toWire`. */
export function compileWriter(type: ValueType): JsonWriter {
  const build: Build = { temps: 0, types: [], writers: [] }
  const body = expression(type, 'value', build)
  const temps = Array.from({ length: build.temps }, (_, n) => `t${n}`)
  const declared = temps.length > 0 ? `let ${temps.join(', ')}; ` : ''
  const given = { types: build.types, writers: build.writers, text, date, list, number: finite, other: viaWire }
  const make = new Function(...Object.keys(given), `return value => { ${declared}return ${body} }`) as (
    ...values: unknown[]
  ) => JsonWriter
  return make(...Object.values(given))
}

/** The same for records: those of a union by their variant. */
export function compileRecordWriter(type: RecordType): JsonWriter {
  if (type.kind === 'object') return compileWriter(type)
  const writers = new Map<unknown, JsonWriter>(type.variants.map(({ name, type }) => [name, compileWriter(type)]))
  return value => writers.get((value as AnyRow)[type.discriminator])!(value)
}

const finite = (value: number): string => (Number.isFinite(value) ? `${value}` : 'null')
const viaWire = (type: ValueType, value: unknown): string => JSON.stringify(toWire(type, value)) ?? 'null'
const list = (values: readonly unknown[], write: JsonWriter): string => {
  let text = ''
  for (const value of values) text += text === '' ? write(value) : `,${write(value)}`
  return `[${text}]`
}

/** Longer texts are left to JSON.stringify, which looks at several characters at once. */
const LOOKED_AT_MAX = 48
/** As JSON.stringify writes it. Most texts are short, and nothing in them is to be escaped. */
export function text(value: string): string {
  const { length } = value
  if (length > LOOKED_AT_MAX) return JSON.stringify(value)
  for (let n = 0; n < length; n++) {
    const code = value.charCodeAt(n)
    if (code < 0x20 || code === 0x22 || code === 0x5c || (code >= 0xd800 && code < 0xe000)) return JSON.stringify(value)
  }
  return `"${value}"`
}

const DAY_MS = 86_400_000
/** The years of four digits. */
const FIRST_DAY = -719_528
const LAST_DAY = 2_932_896
const PAIRS = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'))
const THREES = Array.from({ length: 1_000 }, (_, n) => String(n).padStart(3, '0'))
let lastDay = Number.NaN
let lastDayText = ''

/** As toISOString, in quotes: dates of rows that are read together are often of one day, which is then written once. */
export function date(value: Date): string {
  const ms = value.getTime()
  const day = Math.floor(ms / DAY_MS)
  if (!(day >= FIRST_DAY && day <= LAST_DAY)) return `"${value.toISOString()}"`
  if (day !== lastDay) {
    lastDay = day
    lastDayText = `"${value.toISOString().slice(0, 11)}`
  }
  const left = ms - day * DAY_MS
  const seconds = Math.floor(left / 1_000)
  const minutes = Math.floor(seconds / 60)
  return `${lastDayText}${PAIRS[Math.floor(minutes / 60)]}:${PAIRS[minutes % 60]}:${PAIRS[seconds % 60]}.${THREES[left % 1_000]}Z"`
}

function expression(type: ValueType, value: string, build: Build): string {
  switch (type.kind) {
    case 'int32':
    case 'int':
    case 'boolean':
      return `('' + ${value})`
    case 'float':
      return `number(${value})`
    case 'bigint':
      return `('"' + ${value} + '"')`
    case 'date':
      return `date(${value})`
    case 'string':
    case 'enum':
      return `text(${value})`
    case 'array':
      build.writers.push(compileWriter(type.element))
      return `list(${value}, writers[${build.writers.length - 1}])`
    case 'record':
      if (type.keys && type.keys.length > 0) return recordExpression(type.keys, type, value, build)
      break
    case 'nullable': {
      const temp = `t${build.temps++}`
      return `((${temp} = ${value}) == null ? 'null' : ${expression(type.inner, temp, build)})`
    }
    case 'object':
      if (type.fields.length > 0 && !type.fields.some(field => isOptional(field.type)))
        return objectExpression(type, value, build)
      break
  }
  return other(type, value, build)
}

function other(type: ValueType, value: string, build: Build): string {
  build.types.push(type)
  return `other(types[${build.types.length - 1}], ${value})`
}

const isOptional = (type: ValueType): boolean => type.kind === 'nullable' && type.optional

function objectExpression(type: Extract<ValueType, { kind: 'object' }>, value: string, build: Build): string {
  const temp = `t${build.temps++}`
  return `(${temp} = ${value}, ${members(type.fields, temp, build)})`
}

const members = (fields: readonly Field[], temp: string, build: Build): string => {
  const parts = fields.map(({ name, type }, n) => {
    const before = JSON.stringify(`${n === 0 ? '{' : ','}${JSON.stringify(name)}:`)
    return `${before} + ${expression(type, `${temp}[${JSON.stringify(name)}]`, build)}`
  })
  return `${parts.join(' + ')} + '}'`
}

/** A record of known names: all of them are there as a rule. */
function recordExpression(keys: readonly string[], type: RecordOf, value: string, build: Build): string {
  const temp = `t${build.temps++}`
  const missing = keys.map(key => `${temp}[${JSON.stringify(key)}] === undefined`).join(' || ')
  const fields = keys.map(name => ({ name, type: type.value }))
  return `(${temp} = ${value}, ${missing} ? ${other(type, temp, build)} : ${members(fields, temp, build)})`
}

type RecordOf = Extract<ValueType, { kind: 'record' }>

/**
 * Which fields JSON cannot tell from strings (or lists), by path: `{ since: 'date-time', 'parts[].id': 'int64' }`.
 * What the header `mainstem-types` says; empty where a client needs no help. `client/revive.ts` reads it.
 */
export function wireTypes(type: ValueType, path = ''): Record<string, string> {
  switch (type.kind) {
    case 'bigint':
      return { [path]: 'int64' }
    case 'date':
      return { [path]: 'date-time' }
    case 'bytes':
      return { [path]: 'base64' }
    case 'map':
      return { [path]: 'map', ...wireTypes(type.key, `${path}[0]`), ...wireTypes(type.value, `${path}[1]`) }
    case 'nullable':
      return wireTypes(type.inner, path)
    case 'array':
      return wireTypes(type.element, `${path}[]`)
    case 'record':
      return wireTypes(type.value, `${path}{}`)
    case 'object':
      return Object.assign(
        {},
        ...type.fields.map(field => wireTypes(field.type, `${path === '' ? '' : `${path}.`}${pathName(field.name)}`)),
      )
    default:
      return {}
  }
}

/** A name that may have any characters, as a part of a path. */
const pathName = (name: string): string => (name === '' ? '\\e' : name.replace(/[\\.[\]{}]/g, '\\$&'))

/** The same as a header's value (ASCII), undefined where there is nothing to say. */
export function typesHeader(types: Readonly<Record<string, unknown>>): string | undefined {
  if (Object.keys(types).length === 0) return undefined
  return JSON.stringify(types).replace(
    /[^\x20-\x7e]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** A value's own copy, to be kept: rows that a view shows are valid until the next yield only. */
export function copyValue(type: ValueType, value: unknown): unknown {
  if (value === null || value === undefined) return value
  switch (type.kind) {
    case 'date':
      return new Date(value as Date)
    case 'bytes':
      return new Uint8Array(value as Uint8Array)
    case 'nullable':
      return copyValue(type.inner, value)
    case 'array':
      return (value as unknown[]).map(item => copyValue(type.element, item))
    case 'object':
      return copyFields(type, value as AnyRow)
    case 'record':
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, copyValue(type.value, item)]))
    case 'map':
      return new Map(
        [...(value as Map<unknown, unknown>)].map(([key, item]) => [
          copyValue(type.key, key),
          copyValue(type.value, item),
        ]),
      )
    case 'json':
      return structuredClone(value)
    default:
      return value
  }
}

function copyFields(type: Extract<ValueType, { kind: 'object' }>, row: AnyRow): AnyRow {
  const copy: AnyRow = {}
  for (const field of type.fields) {
    const value = copyValue(field.type, row[field.name])
    if (value !== undefined) copy[field.name] = value
  }
  return copy
}
