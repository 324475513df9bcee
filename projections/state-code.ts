// Code generated per state schema: how a row starts, is copied, compared and checked. One class of object per view, so that
// handlers and these functions stay monomorphic. Names reach the generated text only through JSON.stringify.
import type { z } from 'zod'
import { type AnyRow, defOf, describeFields, type Field, fail, type ObjectType, type ValueType } from '../core/index.ts'

export interface StateCode {
  readonly type: ObjectType
  /** A new row. */
  zero(): AnyRow
  /** A copy that later writes to the row do not reach. */
  clone(row: AnyRow): AnyRow
  equal(a: AnyRow, b: AnyRow): boolean
  /** The first field whose value is not of its type, with what is wrong, else undefined. */
  problem(row: AnyRow): string | undefined
  /** True when a row whose last table row has left is as it began; floats are not compared, since their sums drift. */
  isZero(row: AnyRow): boolean
}

/** @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED */
export function createStateCode(schema: z.ZodObject, view: string): StateCode {
  refuseTransforms(schema, view)
  const type = describeFields(schema, 'output', `${view}.state`)
  const constants: unknown[] = []
  const zero = new Function('constants', 'copy', `return ${zeroExpression(schema, view, constants)}`)
  const clone = new Function('row', `return ${cloneExpression(type, 'row')}`)
  const equal = new Function('a', 'b', 'deep', `return ${equalExpression(type, 'a', 'b', true)}`)
  const equalButFloats = new Function('a', 'b', 'deep', `return ${equalExpression(type, 'a', 'b', false)}`)
  const problem = new Function('row', `${problemStatements(type.fields, 'row', '', { next: 0 })} return undefined`)
  const started = (): AnyRow => zero(constants, structuredClone) as AnyRow
  const reference = started()
  return {
    type,
    zero: started,
    clone: clone as StateCode['clone'],
    equal: (a, b) => equal(a, b, deepEqual) as boolean,
    problem: problem as StateCode['problem'],
    isZero: row => equalButFloats(row, reference, deepEqual) as boolean,
  }
}

function refuseTransforms(schema: z.ZodType, view: string): void {
  const def = defOf(schema)
  if (def.type === 'pipe') {
    throw fail('DEFINITION_INVALID', `the state of '${view}' has a transform`, {
      hint: 'a state is what is stored: declare its output type',
    })
  }
  for (const inner of [def.innerType, def.element, def.valueType, ...Object.values(def.shape ?? {})]) {
    if (inner) refuseTransforms(inner, view)
  }
}

/** An expression for the value with which a field starts. Defaults that are not scalars are copied for each row. */
function zeroExpression(schema: z.ZodType, path: string, constants: unknown[]): string {
  const def = defOf(schema)
  switch (def.type) {
    case 'default':
    case 'prefault':
      return constant((def as { defaultValue?: unknown }).defaultValue, constants)
    case 'nullable':
      return 'null'
    case 'optional':
      return 'undefined'
    case 'number':
      return '0'
    case 'bigint':
      return '0n'
    case 'boolean':
      return 'false'
    case 'array':
      return '[]'
    case 'map':
      return 'new Map()'
    case 'readonly':
      if (def.innerType) return zeroExpression(def.innerType, path, constants)
      break
    case 'object': {
      const fields = Object.entries(def.shape ?? {})
      return objectExpression(
        fields.map(([name, field]) => [name, zeroExpression(field, `${path}.${name}`, constants)]),
      )
    }
    case 'record': {
      const keys = def.keyType ? defOf(def.keyType).entries : undefined
      const value = def.valueType
      if (!keys || !value) return '{}'
      return objectExpression(
        Object.values(keys).map(key => [String(key), zeroExpression(value, `${path}.${key}`, constants)]),
      )
    }
  }
  throw fail('DEFINITION_INVALID', `state field '${path}' has no value to start with`, {
    detail: `its type is ${def.type}`,
    hint: 'say .default(value) or .nullable()',
  })
}

function constant(value: unknown, constants: unknown[]): string {
  constants.push(value)
  const reference = `constants[${constants.length - 1}]`
  return typeof value === 'object' && value !== null ? `copy(${reference})` : reference
}

const objectExpression = (entries: readonly (readonly [string, string])[]): string =>
  `({ ${entries.map(([name, expression]) => `[${JSON.stringify(name)}]: ${expression}`).join(', ')} })`

const member = (of: string, name: string): string => `${of}[${JSON.stringify(name)}]`

function cloneExpression(type: ValueType, from: string): string {
  switch (type.kind) {
    case 'object':
      return objectExpression(
        type.fields.map(field => [field.name, cloneExpression(field.type, member(from, field.name))]),
      )
    case 'record':
      if (!type.keys) return from
      return objectExpression(type.keys.map(name => [name, cloneExpression(type.value, member(from, name))]))
    case 'map':
      return `new Map(${from})`
    case 'nullable':
      return isScalar(type.inner) ? from : `(${from} == null ? ${from} : ${cloneExpression(type.inner, from)})`
    default:
      return from
  }
}

const isScalar = (type: ValueType): boolean => type.kind !== 'object' && type.kind !== 'record' && type.kind !== 'map'

function equalExpression(type: ValueType, a: string, b: string, floats: boolean): string {
  switch (type.kind) {
    case 'object':
      return both(
        type.fields.map(field => equalExpression(field.type, member(a, field.name), member(b, field.name), floats)),
      )
    case 'record':
      if (!type.keys) return `deep(${a}, ${b})`
      return both(type.keys.map(name => equalExpression(type.value, member(a, name), member(b, name), floats)))
    case 'float':
      return floats ? `Object.is(${a}, ${b})` : 'true'
    case 'nullable': {
      if (!['int32', 'int', 'float', 'bigint', 'boolean', 'string', 'enum'].includes(type.inner.kind))
        return `deep(${a}, ${b})`
      return `${a} === ${b}`
    }
    case 'int32':
    case 'int':
    case 'bigint':
    case 'boolean':
    case 'string':
    case 'enum':
      return `${a} === ${b}`
    default:
      return `deep(${a}, ${b})`
  }
}

const both = (terms: readonly string[]): string => (terms.length === 0 ? 'true' : `(${terms.join(' && ')})`)

function deepEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime()
  if (a instanceof Map) return b instanceof Map && deepEqual([...a], [...b])
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const names = Object.keys(a)
  if (names.length !== Object.keys(b).length) return false
  return names.every(name => Object.hasOwn(b, name) && deepEqual((a as AnyRow)[name], (b as AnyRow)[name]))
}

/** Statements that return `field: what is wrong` for the first bad field of `from`. Nested open values are checked when stored. */
function problemStatements(fields: readonly Field[], from: string, path: string, names: { next: number }): string {
  return fields
    .map(field => {
      const v = `v${names.next++}`
      return `const ${v} = ${member(from, field.name)}; ${problemStatement(field.type, v, `${path}${field.name}`, names)}`
    })
    .join('\n')
}

function problemStatement(type: ValueType, v: string, path: string, names: { next: number }): string {
  const wrong = (condition: string, expected: string) =>
    `if (${condition}) return ${JSON.stringify(`${path}: expected ${expected}, received `)} + (typeof ${v} === 'object' ? (${v} === null ? 'null' : ${v}.constructor?.name ?? 'an object') : typeof ${v} === 'string' ? 'a string' : String(${v}));`
  switch (type.kind) {
    case 'int32':
      return wrong(`${v} !== (${v} | 0)`, 'an int32')
    case 'int':
      return wrong(`!Number.isSafeInteger(${v})`, 'a safe integer')
    case 'float':
      return wrong(
        `typeof ${v} !== 'number' || ${v} !== ${v} || ${v} === Infinity || ${v} === -Infinity`,
        'a finite number',
      )
    case 'bigint':
    case 'boolean':
    case 'string':
      return wrong(`typeof ${v} !== '${type.kind}'`, `a ${type.kind}`)
    case 'enum':
      return wrong(`!${JSON.stringify(type.values)}.includes(${v})`, `one of ${type.values.join(', ')}`)
    case 'date':
      return wrong(`!(${v} instanceof Date) || ${v}.getTime() !== ${v}.getTime()`, 'a valid date')
    case 'bytes':
      return wrong(`!(${v} instanceof Uint8Array)`, 'a Uint8Array')
    case 'array':
      return wrong(`!Array.isArray(${v})`, 'an array')
    case 'map':
      return wrong(`!(${v} instanceof Map)`, 'a Map')
    case 'object':
      return `${wrong(`typeof ${v} !== 'object' || ${v} === null`, 'an object')} { ${problemStatements(type.fields, v, `${path}.`, names)} }`
    case 'record': {
      const check = wrong(`typeof ${v} !== 'object' || ${v} === null`, 'a record')
      const fields = type.keys?.map(name => ({ name, type: type.value })) ?? []
      return `${check} { ${problemStatements(fields, v, `${path}.`, names)} }`
    }
    case 'nullable':
      return `if (${v} !== null${type.optional ? ` && ${v} !== undefined` : ''}) { ${problemStatement(type.inner, v, path, names)} }`
    case 'json':
      return wrong(`${v} === undefined || typeof ${v} === 'bigint' || typeof ${v} === 'function'`, 'a JSON value')
  }
}
