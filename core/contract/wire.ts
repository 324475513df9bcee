// Values as JSON carries them: int64 and dates as strings, bytes as base64, maps as lists of pairs.
import { fail } from '../errors.ts'
import type { ObjectType, ValueType } from './describe.ts'
import type { AnyRow } from './values.ts'
import type { UnionType } from './variants.ts'

/** A described value as JSON can hold it. */
export function toWire(type: ValueType | UnionType, value: unknown): unknown {
  if (value === null || value === undefined) return value
  switch (type.kind) {
    case 'bigint':
      return String(value)
    case 'date':
      return (value as Date).toISOString()
    case 'bytes':
      return Buffer.from(value as Uint8Array).toString('base64')
    case 'nullable':
      return toWire(type.inner, value)
    case 'array':
      return (value as unknown[]).map(item => toWire(type.element, item))
    case 'object':
      return Object.fromEntries(
        type.fields.map(field => [field.name, toWire(field.type, (value as AnyRow)[field.name])]),
      )
    case 'record':
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, toWire(type.value, item)]))
    case 'map':
      return [...(value as Map<unknown, unknown>)].map(([key, item]) => [
        toWire(type.key, key),
        toWire(type.value, item),
      ])
    case 'union':
      return toWire(variantIn(type, value) ?? NO_FIELDS, value)
    default:
      return value
  }
}

/** JSON as the described value, as far as its form goes; what does not fit is left for the schema to refuse. */
export function fromWire(type: ValueType | UnionType, json: unknown): unknown {
  if (json === null || json === undefined) return json
  switch (type.kind) {
    case 'bigint':
      if (typeof json === 'string' && /^-?\d{1,400}$/.test(json)) return BigInt(json)
      return typeof json === 'number' && Number.isSafeInteger(json) ? BigInt(json) : json
    case 'date':
      return typeof json === 'string' ? new Date(json) : json
    case 'bytes':
      return typeof json === 'string' ? new Uint8Array(Buffer.from(json, 'base64')) : json
    case 'nullable':
      return fromWire(type.inner, json)
    case 'array':
      return Array.isArray(json) ? json.map(item => fromWire(type.element, item)) : json
    case 'object':
      return fieldsFromWire(type, json)
    case 'record':
      if (typeof json !== 'object') return json
      return Object.fromEntries(Object.entries(json).map(([name, item]) => [name, fromWire(type.value, item)]))
    case 'map':
      if (!Array.isArray(json)) return json
      return new Map(
        json.map(pair =>
          Array.isArray(pair) ? [fromWire(type.key, pair[0]), fromWire(type.value, pair[1])] : [pair, undefined],
        ),
      )
    case 'union':
      return fieldsFromWire(variantIn(type, json) ?? NO_FIELDS, json)
    default:
      return json
  }
}

const NO_FIELDS: ObjectType = { kind: 'object', fields: [] }

/** The type of a value's variant, if it is of one. */
const variantIn = ({ discriminator, variants }: UnionType, value: unknown): ObjectType | undefined =>
  variants.find(({ name }) => name === (value as AnyRow)[discriminator])?.type

function fieldsFromWire(type: ObjectType, json: unknown): unknown {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return json
  const known = new Map(type.fields.map(field => [field.name, field.type]))
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      const field = known.get(name)
      return [name, field ? fromWire(field, value) : value]
    }),
  )
}

/** A JSON Schema (2020-12) of a value as the wire carries it. */
export function wireSchema(type: ValueType): Record<string, unknown> {
  switch (type.kind) {
    case 'int32':
      return { type: 'integer', format: 'int32' }
    case 'int':
      return { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }
    case 'float':
      return { type: 'number', format: 'double' }
    case 'bigint':
      return { type: 'string', format: 'int64', pattern: '^-?[0-9]+$' }
    case 'boolean':
      return { type: 'boolean' }
    case 'date':
      return { type: 'string', format: 'date-time' }
    case 'bytes':
      return { type: 'string', contentEncoding: 'base64' }
    case 'json':
      return {}
    case 'string':
      return jsonString(type.format)
    case 'enum':
      return { type: 'string', enum: type.values }
    case 'nullable':
      return { anyOf: [wireSchema(type.inner), { type: 'null' }] }
    case 'array':
      return { type: 'array', items: wireSchema(type.element) }
    case 'object':
      return objectSchema(type)
    case 'record':
      return { type: 'object', additionalProperties: wireSchema(type.value) }
    case 'map':
      return { type: 'array', items: { type: 'array', prefixItems: [wireSchema(type.key), wireSchema(type.value)] } }
  }
}

const JSON_FORMATS: Readonly<Record<string, string>> = {
  datetime: 'date-time',
  date: 'date',
  time: 'time',
  uuid: 'uuid',
  guid: 'uuid',
  email: 'email',
  url: 'uri',
}

function jsonString(format: string | undefined): Record<string, unknown> {
  const known = format === undefined ? undefined : JSON_FORMATS[format]
  return known ? { type: 'string', format: known } : { type: 'string' }
}

function objectSchema(type: ObjectType): Record<string, unknown> {
  const required = type.fields
    .filter(field => !(field.type.kind === 'nullable' && field.type.optional))
    .map(field => field.name)
  const properties = Object.fromEntries(type.fields.map(field => [field.name, wireSchema(field.type)]))
  return required.length > 0 ? { type: 'object', properties, required } : { type: 'object', properties }
}

/** Wraps JSON.parse's complaint. @throws REQUEST_INVALID */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw fail('REQUEST_INVALID', `${what} is not JSON`, { cause: error })
  }
}
