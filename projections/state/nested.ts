// Values that a row holds whole: strings, bytes, arrays, open records, JSON, and what maps hold. What is written is checked,
// copied and frozen, so that a row is exactly what a checkpoint gives back, and nobody changes it behind the row's back. A
// value that was read from a row and is written again, or as part of another, is not copied anew.
import { type AnyRow, fail, type MainstemError, type ValueType } from '../../core/index.ts'

/** Taken before the purity guards wrap the global one. */
const RealDate = Date

/** The frozen values: the type for which each was made, and about how many bytes it takes with all that is in it. */
const settled = new WeakMap<object, { readonly type: ValueType; readonly bytes: number }>()

const OBJECT_BYTES = 32
const STRING_BYTES = 24
const WORD_BYTES = 8

/** About how many bytes a settled value takes in memory. */
export function bytesOf(value: unknown): number {
  if (typeof value === 'string') return STRING_BYTES + value.length
  if (typeof value === 'bigint') return OBJECT_BYTES
  if (typeof value !== 'object' || value === null) return 0
  if (value instanceof Map) return value.size * (OBJECT_BYTES + 2 * WORD_BYTES)
  if (value instanceof Uint8Array) return OBJECT_BYTES + value.length
  return settled.get(value)?.bytes ?? OBJECT_BYTES
}

/** The error of a value that its field cannot hold. */
export function notOfType(path: string, expected: string, value: unknown): MainstemError {
  return fail('STATE_INVALID', `a handler wrote a value that is not of the state's type`, {
    detail: `${path}: expected ${expected}, received ${nameOf(value)}`,
  })
}

function nameOf(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'object') return value.constructor?.name ?? 'an object'
  return typeof value === 'string' ? 'a string' : String(value)
}

/** The value as a row keeps it. @throws STATE_INVALID naming the field */
export function settle(type: ValueType, value: unknown, path: string): unknown {
  const refuse = (expected: string): never => {
    throw notOfType(path, expected, value)
  }
  switch (type.kind) {
    case 'nullable':
      if (value === null || (value === undefined && type.optional)) return value
      return settle(type.inner, value, path)
    case 'int32':
      return typeof value === 'number' && value === (value | 0) ? value | 0 : refuse('an int32')
    case 'int':
      return Number.isSafeInteger(value) ? (value as number) + 0 : refuse('a safe integer')
    case 'float':
      return Number.isFinite(value) ? value : refuse('a finite number')
    case 'bigint':
    case 'boolean':
      return typeof value === type.kind ? value : refuse(`a ${type.kind}`)
    case 'string':
      if (typeof value !== 'string') return refuse('a string')
      return value.isWellFormed() ? value : refuse('whole characters')
    case 'enum':
      return type.values.includes(value as string) ? value : refuse(`one of ${type.values.join(', ')}`)
    case 'date':
      if (!(value instanceof RealDate) || Number.isNaN(value.getTime())) return refuse('a valid date')
      return Object.freeze(new RealDate(value.getTime()))
    default:
      return settleWhole(type, value, path, refuse)
  }
}

function settleWhole(type: ValueType, value: unknown, path: string, refuse: (expected: string) => never): unknown {
  if (typeof value === 'object' && value !== null && settled.get(value)?.type === type) return value
  switch (type.kind) {
    case 'bytes':
      return value instanceof Uint8Array ? new Uint8Array(value) : refuse('a Uint8Array')
    case 'array': {
      if (!Array.isArray(value)) return refuse('an array')
      const values = Array.from(value, each => settle(type.element, each, `${path}[]`))
      return keep(type, values, sumOf(values))
    }
    case 'map':
      if (!(value instanceof Map)) return refuse('a Map')
      return new Map(Array.from(value, ([k, v]) => settleEntry(type, k, v, path)))
    case 'object':
      if (typeof value !== 'object' || value === null) return refuse('an object')
      return keepObject(
        type,
        type.fields.map(field => [
          field.name,
          settle(field.type, (value as AnyRow)[field.name], `${path}.${field.name}`),
        ]),
      )
    case 'record': {
      if (typeof value !== 'object' || value === null) return refuse('a record')
      const names = type.keys ?? Object.keys(value)
      return keepObject(
        type,
        names.map(name => [
          settle(NAME, name, `${path} key`) as string,
          settle(type.value, (value as AnyRow)[name], `${path}[]`),
        ]),
      )
    }
    default: {
      const text = typeof value === 'bigint' ? undefined : JSON.stringify(value)
      if (text?.isWellFormed() !== true) return refuse('a JSON value')
      return settleJson(type, JSON.parse(text), text.length)
    }
  }
}

const NAME: ValueType = { kind: 'string' }

/** One entry of a map, as the map keeps it. */
export function settleEntry(
  type: Extract<ValueType, { kind: 'map' }>,
  key: unknown,
  value: unknown,
  path: string,
): [unknown, unknown] {
  return [settle(type.key, key, `${path} key`), settle(type.value, value, `${path}[]`)]
}

function keep<T extends object>(type: ValueType, value: T, bytes: number): T {
  settled.set(Object.freeze(value), { type, bytes: OBJECT_BYTES + bytes })
  return value
}

function keepObject(type: ValueType, fields: readonly (readonly [string, unknown])[]): AnyRow {
  return keep(type, Object.fromEntries(fields), sumOf(fields.map(([, value]) => value)))
}

/** @param length of its text, by which its size is guessed */
function settleJson(type: ValueType, value: unknown, length: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  for (const inner of Object.values(value)) freezeDeeply(inner)
  return keep(type, value, length * 2)
}

function freezeDeeply(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  Object.freeze(value)
  for (const inner of Object.values(value)) freezeDeeply(inner)
}

const sumOf = (values: readonly unknown[]): number =>
  values.reduce<number>((sum, value) => sum + WORD_BYTES + bytesOf(value), 0)
