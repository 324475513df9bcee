// Values of a described type as JSON text: straight-line code generated once per type, because the row route spends most
// of its own time here. Names reach the generated text only through JSON.stringify. Its form is that of `toWire`.
import { type AnyRow, type RecordType, toWire, type ValueType } from '../core/index.ts'

export type JsonWriter = (value: unknown) => string

interface Build {
  temps: number
  readonly types: ValueType[]
}

/** A function that writes values of the type; what is rare (maps, records, optional fields) goes through `toWire`. */
export function compileWriter(type: ValueType): JsonWriter {
  const build: Build = { temps: 0, types: [] }
  const body = expression(type, 'value', build)
  const temps = Array.from({ length: build.temps }, (_, n) => `t${n}`)
  const declared = temps.length > 0 ? `let ${temps.join(', ')}; ` : ''
  const make = new Function('types', 'text', 'number', 'other', `return value => { ${declared}return ${body} }`) as (
    types: readonly ValueType[],
    text: typeof JSON.stringify,
    number: typeof finite,
    other: typeof viaWire,
  ) => JsonWriter
  return make(build.types, JSON.stringify, finite, viaWire)
}

/** The same for records: those of a union by their variant. */
export function compileRecordWriter(type: RecordType): JsonWriter {
  if (type.kind === 'object') return compileWriter(type)
  const writers = new Map<unknown, JsonWriter>(type.variants.map(({ name, type }) => [name, compileWriter(type)]))
  return value => writers.get((value as AnyRow)[type.discriminator])!(value)
}

const finite = (value: number): string => (Number.isFinite(value) ? `${value}` : 'null')
const viaWire = (type: ValueType, value: unknown): string => JSON.stringify(toWire(type, value)) ?? 'null'

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
      return `('"' + ${value}.toISOString() + '"')`
    case 'string':
    case 'enum':
      return `text(${value})`
    case 'nullable': {
      const temp = `t${build.temps++}`
      return `((${temp} = ${value}) == null ? 'null' : ${expression(type.inner, temp, build)})`
    }
    case 'object':
      if (type.fields.length > 0 && !type.fields.some(field => isOptional(field.type)))
        return objectExpression(type, value, build)
      break
  }
  build.types.push(type)
  return `other(types[${build.types.length - 1}], ${value})`
}

const isOptional = (type: ValueType): boolean => type.kind === 'nullable' && type.optional

function objectExpression(type: Extract<ValueType, { kind: 'object' }>, value: string, build: Build): string {
  const temp = `t${build.temps++}`
  const parts = type.fields.map((field, n) => {
    const name = JSON.stringify(`${n === 0 ? '{' : ','}${JSON.stringify(field.name)}:`)
    return `${name} + ${expression(field.type, `${temp}[${JSON.stringify(field.name)}]`, build)}`
  })
  return `(${temp} = ${value}, ${parts.join(' + ')} + '}')`
}

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
