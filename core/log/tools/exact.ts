// Values as the lines of an export carry them: JSON that gives every stored value back as it was. As on the wire (int64 and dates
// as strings, bytes as base64, maps as pairs), and further: −0 is "-0", and where an absent value stands in a list, where JSON
// could not leave it out, each value of that place is a list of one, or of none.
import type { Field, ValueType } from '../../contract/index.ts'
import { type AnyRow, toWire } from '../../contract/index.ts'
import { fail } from '../../errors.ts'

/** A value as JSON. */
export function toExact(type: ValueType, value: unknown): unknown {
  if (value === null || value === undefined) return value
  switch (type.kind) {
    case 'float':
      return Object.is(value, -0) ? '-0' : value
    case 'nullable':
      return toExact(type.inner, value)
    case 'array':
      return (value as unknown[]).map(item => toItem(type.element, item))
    case 'object':
      return fieldsToExact(type.fields, value as AnyRow)
    case 'record':
      return type.keys
        ? fieldsToExact(fieldsOf(type), value as AnyRow)
        : Object.fromEntries(Object.entries(value).map(([name, item]) => [name, toItem(type.value, item)]))
    case 'map':
      return [...(value as Map<unknown, unknown>)].map(([key, item]) => [
        toItem(type.key, key),
        toItem(type.value, item),
      ])
    default:
      return toWire(type, value)
  }
}

const fieldsOf = (type: Extract<ValueType, { kind: 'record' }>): readonly Field[] =>
  (type.keys ?? []).map(name => ({ name, type: type.value }))

const fieldsToExact = (fields: readonly Field[], row: AnyRow): AnyRow =>
  Object.fromEntries(fields.map(({ name, type }) => [name, toExact(type, row[name])]))

const mayBeAbsent = (type: ValueType): boolean => type.kind === 'nullable' && type.optional

function toItem(type: ValueType, value: unknown): unknown {
  const exact = toExact(type, value)
  return mayBeAbsent(type) ? (value === undefined ? [] : [exact]) : exact
}

/** The value of such JSON. What is not of the type is left for the row's codec to refuse. @throws RECORD_REFUSED */
export function fromExact(type: ValueType, json: unknown, path = ''): unknown {
  if (json === null || json === undefined) return json
  switch (type.kind) {
    case 'float':
      return json === '-0' ? -0 : json
    case 'bigint':
      return typeof json === 'string' && /^-?\d+$/.test(json) ? BigInt(json) : json
    case 'date':
      return typeof json === 'string' ? new Date(json) : json
    case 'bytes':
      return typeof json === 'string' ? new Uint8Array(Buffer.from(json, 'base64')) : json
    case 'nullable':
      return fromExact(type.inner, json, path)
    case 'array':
      return Array.isArray(json) ? json.map(item => fromItem(type.element, item, `${path}[]`)) : json
    case 'object':
      return fieldsFromExact(type.fields, json, path)
    case 'record':
      if (type.keys) return fieldsFromExact(fieldsOf(type), json, path)
      if (!isObject(json)) return json
      return Object.fromEntries(
        Object.entries(json).map(([name, item]) => [name, fromItem(type.value, item, `${path}[]`)]),
      )
    case 'map':
      return mapFromExact(type, json, path)
    default:
      return json
  }
}

const isObject = (json: unknown): json is AnyRow => typeof json === 'object' && json !== null && !Array.isArray(json)

function fieldsFromExact(fields: readonly Field[], json: unknown, path: string): unknown {
  if (!isObject(json)) return json
  const at = (name: string) => (path === '' ? name : `${path}.${name}`)
  const names = new Set(fields.map(({ name }) => name))
  const unknown = Object.keys(json).find(name => !names.has(name))
  if (unknown !== undefined) throw fail('RECORD_REFUSED', `${at(unknown)}: the record's layout has no such field`)
  return Object.fromEntries(
    fields.map(({ name, type }) => [
      name,
      Object.hasOwn(json, name) ? fromExact(type, json[name], at(name)) : undefined,
    ]),
  )
}

function mapFromExact(type: Extract<ValueType, { kind: 'map' }>, json: unknown, path: string): unknown {
  if (!Array.isArray(json)) return json
  return new Map(
    json.map((pair: unknown) => {
      if (!Array.isArray(pair) || pair.length !== 2) throw fail('RECORD_REFUSED', `${path}: expected pairs`)
      return [fromItem(type.key, pair[0], `${path} key`), fromItem(type.value, pair[1], `${path}[]`)]
    }),
  )
}

function fromItem(type: ValueType, json: unknown, path: string): unknown {
  if (!mayBeAbsent(type)) return fromExact(type, json, path)
  if (!Array.isArray(json) || json.length > 1) throw fail('RECORD_REFUSED', `${path}: expected a list of one or none`)
  return json.length === 0 ? undefined : fromExact(type, json[0], path)
}
