// Reads a zod schema into a small tagged description of the values it takes or gives. Everything that is generated
// from a contract (codecs, validators, parsers of database text, OpenAPI) starts here and never looks at zod again.
import type { z } from 'zod'
import { fail } from '../errors.ts'

export type ValueType =
  | { readonly kind: 'int32' | 'int' | 'float' | 'bigint' | 'boolean' | 'date' | 'bytes' | 'json' }
  | { readonly kind: 'string'; readonly format?: string }
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'nullable'; readonly inner: ValueType; readonly optional: boolean }
  | { readonly kind: 'array'; readonly element: ValueType }
  | { readonly kind: 'object'; readonly fields: readonly Field[] }
  | { readonly kind: 'record'; readonly keys: readonly string[] | undefined; readonly value: ValueType }
  | { readonly kind: 'map'; readonly key: ValueType; readonly value: ValueType }

export interface Field {
  readonly name: string
  readonly type: ValueType
}

export type ObjectType = Extract<ValueType, { kind: 'object' }>

/** Which end of a schema: what it accepts, or what it gives. */
export type Side = 'input' | 'output'

/** The part of zod's schema definitions that is read here; zod 4 documents it for library authors as `_zod.def`. */
export interface Def {
  readonly type: string
  readonly format?: string
  readonly innerType?: z.ZodType
  readonly element?: z.ZodType
  readonly shape?: Readonly<Record<string, z.ZodType>>
  readonly entries?: Readonly<Record<string, string | number>>
  readonly values?: readonly unknown[]
  readonly keyType?: z.ZodType
  readonly valueType?: z.ZodType
  readonly in?: z.ZodType
  readonly out?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly discriminator?: string
  readonly items?: readonly z.ZodType[]
  readonly checks?: readonly { readonly _zod: { readonly def: unknown } }[]
  readonly check?: string
  readonly coerce?: boolean
  readonly getter?: () => z.ZodType
  readonly mode?: string
  readonly partial?: boolean
  readonly defaultValue?: unknown
}

/** The part of zod's check definitions that is read here. */
export interface CheckDef {
  readonly check: string
  readonly format?: string
  readonly value?: unknown
  readonly inclusive?: boolean
  readonly minimum?: unknown
  readonly maximum?: unknown
  readonly length?: unknown
}

export const checksOf = (def: Def): readonly CheckDef[] => (def.checks ?? []).map(check => check._zod.def as CheckDef)

export const defOf = (schema: z.ZodType): Def => schema._zod.def as unknown as Def

/**
 * Describes a schema's values.
 * @throws CONTRACT_UNSUPPORTED naming the path, for what cannot be stored exactly (symbols, functions, unions with dates …).
 */
export function describe(schema: z.ZodType, side: Side, path = 'value'): ValueType {
  const def = defOf(schema)
  const inner = (next: z.ZodType | undefined, at = path): ValueType => {
    if (!next) throw unsupported(path, def.type)
    return describe(next, side, at)
  }
  switch (def.type) {
    case 'number':
      return { kind: def.format === 'int32' ? 'int32' : def.format === 'safeint' ? 'int' : 'float' }
    case 'bigint':
      return { kind: 'bigint' }
    case 'boolean':
      return { kind: 'boolean' }
    case 'date':
      return { kind: 'date' }
    case 'string':
      return def.format ? { kind: 'string', format: def.format } : { kind: 'string' }
    case 'template_literal':
      return { kind: 'string' }
    case 'enum':
    case 'literal':
      return describeEnum(def, path)
    case 'nullable':
      return nullable(inner(def.innerType), false)
    case 'optional':
      return nullable(inner(def.innerType), true)
    case 'default':
    case 'prefault':
      return side === 'input' ? nullable(inner(def.innerType), true) : inner(def.innerType)
    case 'catch':
    case 'readonly':
    case 'nonoptional':
      return inner(def.innerType)
    case 'pipe':
      return describePipe(def, side, path)
    case 'array':
      return { kind: 'array', element: inner(def.element, `${path}[]`) }
    case 'object':
      return describeObject(def, side, path)
    case 'record':
      return describeRecord(def, side, path)
    case 'map':
      return { kind: 'map', key: inner(def.keyType), value: inner(def.valueType) }
    default:
      return describeOther(def, path)
  }
}

const unsupported = (path: string, type: string) =>
  fail('CONTRACT_UNSUPPORTED', `${path} cannot be stored: zod type '${type}' has no exact form here`, {
    hint: 'use scalars, dates, enums, arrays, objects, records, maps, z.json() or z.instanceof(Uint8Array)',
  })

function nullable(inner: ValueType, optional: boolean): ValueType {
  if (inner.kind === 'nullable') return { kind: 'nullable', inner: inner.inner, optional: optional || inner.optional }
  return { kind: 'nullable', inner, optional }
}

function describeEnum(def: Def, path: string): ValueType {
  const values = def.entries ? Object.values(def.entries) : (def.values ?? [])
  const texts = values.filter(value => typeof value === 'string')
  if (texts.length === values.length) return { kind: 'enum', values: texts }
  if (values.every(value => value === null || typeof value === 'number' || typeof value === 'boolean'))
    return { kind: 'json' }
  throw unsupported(path, def.type)
}

function describePipe(def: Def, side: Side, path: string): ValueType {
  const end = side === 'input' ? def.in : def.out
  if (!end) throw unsupported(path, def.type)
  // `.transform(fn)` gives what the function gives, and z.preprocess takes what its function takes: only known at run time.
  if (defOf(end).type === 'transform') return { kind: 'json' }
  return describe(end, side, path)
}

function describeObject(def: Def, side: Side, path: string): ValueType {
  const fields = Object.entries(def.shape ?? {}).map(([name, schema]) => ({
    name,
    type: describe(schema, side, `${path}.${name}`),
  }))
  return { kind: 'object', fields }
}

function describeRecord(def: Def, side: Side, path: string): ValueType {
  if (!def.keyType || !def.valueType) throw unsupported(path, def.type)
  const key = describe(def.keyType, side, path)
  const value = describe(def.valueType, side, `${path}[]`)
  return { kind: 'record', keys: key.kind === 'enum' ? key.values : undefined, value }
}

function describeOther(def: Def, path: string): ValueType {
  if (def.type === 'custom') return { kind: 'bytes' }
  if (def.type === 'any' || def.type === 'unknown' || def.type === 'lazy' || def.type === 'null')
    return { kind: 'json' }
  if (def.type === 'union' || def.type === 'tuple') {
    for (const option of [...(def.options ?? []), ...(def.items ?? [])]) {
      if (!isJsonSafe(describe(option, 'output', path))) throw unsupported(path, def.type)
    }
    return { kind: 'json' }
  }
  throw unsupported(path, def.type)
}

/** True where JSON.stringify and JSON.parse give the same value back. */
export function isJsonSafe(type: ValueType): boolean {
  switch (type.kind) {
    case 'bigint':
    case 'date':
    case 'bytes':
    case 'map':
      return false
    case 'nullable':
      return isJsonSafe(type.inner)
    case 'array':
      return isJsonSafe(type.element)
    case 'record':
      return isJsonSafe(type.value)
    case 'object':
      return type.fields.every(field => isJsonSafe(field.type))
    default:
      return true
  }
}

/** Describes an object schema; contracts, rows and states are objects. */
export function describeFields(schema: z.ZodType, side: Side, path: string): ObjectType {
  const type = describe(schema, side, path)
  if (type.kind !== 'object') {
    throw fail('CONTRACT_UNSUPPORTED', `${path} is not an object schema`, {
      hint: 'wrap the fields in z.object({ … })',
    })
  }
  return type
}

/** True where a value of the described type passes through `schema` unchanged, so that zod need not run. */
export function isPlain(schema: z.ZodType): boolean {
  const def = defOf(schema)
  if ((def.checks?.length ?? 0) > 0 || def.coerce) return false
  switch (def.type) {
    case 'number':
      return def.format === undefined || def.format === 'int32' || def.format === 'safeint'
    case 'bigint':
    case 'boolean':
    case 'date':
    case 'enum':
      return def.format === undefined
    case 'string':
      return def.format === undefined
    case 'nullable':
    case 'readonly':
      return def.innerType !== undefined && isPlain(def.innerType)
    default:
      return false
  }
}
