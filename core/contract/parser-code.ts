// Straight-line validators: the text of a function that takes a schema's input to its output, or gives undefined where it
// is not sure. It relies on one thing only: whatever it accepts, zod accepts with the same output. All else (refusals, error
// texts, odd prototypes, symbols) is left to zod, which the caller then asks, so that the generated code may always give up.
// Formats, custom refinements, transforms and unions without a discriminator are asked of zod for their field alone. The semantics
// followed here are those of zod 4's `_zod.parse` functions; test/core/contract/parser.test.ts compares both over random schemas.
import type { z } from 'zod'
import { type CheckDef, checksOf, type Def, defOf } from './describe.ts'
import { minorUnitsOf, parseMinorUnits, parseMinorUnitsBigint } from './minor-units.ts'
import type { AnyRow } from './values.ts'
import type { RecordSchema } from './variants.ts'

/** The output, or undefined: zod then says whether and why it is refused. */
export type FastParse = (input: unknown) => AnyRow | undefined

/** Undefined where zod has to see the whole: an object is strict or loose, or has refinements of its own. */
export function generateParser(schema: RecordSchema): FastParse | undefined {
  const code = new ParserCode()
  const root = code.record(schema, 'input')
  if (!root) return undefined
  const text = `return input => {\n${root.code}\nreturn ${root.value}\n}`
  const names = code.constants.map((_, n) => `c${n}`)
  return new Function('RealDate', ...names, text)(Date, ...code.constants) as FastParse
}

/** Statements that return undefined for what they do not take, and the expression of the output after them. */
export interface Piece {
  readonly code: string
  readonly value: string
  /** True where an absent key stays absent: the value may be undefined without anything having been put in its place. */
  readonly omits: boolean
}

const GIVE_UP = 'return undefined'
const quote = (text: string): string => JSON.stringify(text)
const taken = (code: string, value: string): Piece => ({ code, value, omits: false })

/** Writes the pieces of one function; they may stand in any function that gives undefined where it is not sure. */
export class ParserCode {
  readonly constants: unknown[] = []
  #next = 0

  #constant(value: unknown): string {
    return `c${this.constants.push(value) - 1}`
  }

  #fresh(): string {
    return `v${this.#next++}`
  }

  /** From a value of the schema's input to its output. @param v the variable that holds the input */
  value(schema: z.ZodType, v: string): Piece {
    const def = defOf(schema)
    return (def.coerce ? undefined : this.#known(schema, def, v)) ?? this.#askZod(schema, v)
  }

  #known(schema: z.ZodType, def: Def, v: string): Piece | undefined {
    switch (def.type) {
      case 'number':
      case 'bigint':
      case 'boolean':
      case 'string':
      case 'date':
        return this.#scalar(def, v)
      case 'array':
        return this.#array(def, v)
    }
    const units = minorUnitsOf(schema)
    if (checksOf(def).length > 0) return undefined
    if (units) return this.#minorUnits(units.scale, units.bigint, v)
    switch (def.type) {
      case 'enum':
        return this.#oneOf(Object.values(def.entries ?? {}), v)
      case 'literal':
        return this.#oneOf(def.values ?? [], v)
      case 'any':
      case 'unknown':
        return taken(`if (${v} === undefined) ${GIVE_UP}`, v)
      case 'nullable':
        return this.#nullable(def, v)
      case 'optional':
        return this.#optional(schema, def, v)
      case 'default':
        return this.#default(def, v)
      case 'readonly':
        return this.#readonly(def, v)
      case 'object':
      case 'union':
        return this.record(schema, v)
      case 'record':
        return this.#record(def, v)
      case 'map':
        return this.#map(def, v)
      case 'custom':
        return this.#instance(schema, v)
      default:
        return undefined
    }
  }

  /** An input of undefined is left to the whole: only there is it known whether the key was absent. */
  #askZod(schema: z.ZodType, v: string): Piece {
    const result = this.#fresh()
    const code = `if (${v} === undefined) ${GIVE_UP}
const ${result} = ${this.#constant(schema)}.safeParse(${v})
if (!${result}.success) ${GIVE_UP}`
    return taken(code, `${result}.data`)
  }

  #scalar(def: Def, v: string): Piece | undefined {
    const tests = [typeTest(def, v)]
    for (const check of checksOf(def)) tests.push(this.#refinement(def.type, check, v))
    if (!tests.every(test => test !== undefined)) return undefined
    return taken(`if (!(${tests.join(' && ')})) ${GIVE_UP}`, v)
  }

  /** An expression that is true only where zod's check holds. */
  #refinement(type: string, check: CheckDef, v: string): string | undefined {
    if (type === 'string') return this.#lengthOfText(check, v)
    if (type === 'boolean') return undefined
    switch (check.check) {
      case 'greater_than':
      case 'less_than': {
        const bound = this.#bound(type, check.value)
        return bound && `${v} ${check.check === 'less_than' ? '<' : '>'}${check.inclusive ? '=' : ''} ${bound}`
      }
      case 'multiple_of':
        // zod tolerates rounding: what is no exact multiple is asked of zod.
        if (type === 'number' && Number.isSafeInteger(check.value)) return `${v} % ${check.value} === 0`
        return type === 'bigint' && typeof check.value === 'bigint' && check.value !== 0n
          ? `${v} % ${check.value}n === 0n`
          : undefined
      case 'number_format':
        return type === 'number' ? formatTest(check.format, v) : undefined
      default:
        return undefined
    }
  }

  #bound(type: string, value: unknown): string | undefined {
    if (type === 'number' && typeof value === 'number') return `(${value})`
    if (type === 'bigint' && typeof value === 'bigint') return `(${value}n)`
    return type === 'date' && value instanceof Date ? this.#constant(value) : undefined
  }

  /** zod counts code points: one or two units each. */
  #lengthOfText(check: CheckDef, v: string): string | undefined {
    const points = `${this.#constant(codePoints)}(${v})`
    const { minimum, maximum, length } = check
    switch (check.check) {
      case 'min_length':
        if (typeof minimum !== 'number') return undefined
        return minimum <= 1 ? `${v}.length >= ${minimum}` : `${v}.length >= ${minimum} && ${points} >= ${minimum}`
      case 'max_length':
        if (typeof maximum !== 'number') return undefined
        return `(${v}.length <= ${maximum} || ${v}.length <= ${2 * maximum} && ${points} <= ${maximum})`
      case 'length_equals':
        if (typeof length !== 'number') return undefined
        return `${v}.length >= ${length} && ${v}.length <= ${2 * length} && ${points} === ${length}`
      default:
        return undefined
    }
  }

  #oneOf(values: readonly unknown[], v: string): Piece | undefined {
    if (values.length === 0 || !values.every(value => typeof value === 'string')) return undefined
    if (values.length > SWITCH_MAX)
      return taken(`if (!${this.#constant(new Set<unknown>(values))}.has(${v})) ${GIVE_UP}`, v)
    return taken(`if (!(${values.map(value => `${v} === ${quote(value)}`).join(' || ')})) ${GIVE_UP}`, v)
  }

  #minorUnits(scale: number, bigint: boolean, v: string): Piece {
    const units = this.#fresh()
    const parse = this.#constant(bigint ? parseMinorUnitsBigint : parseMinorUnits)
    const code = `if (typeof ${v} !== 'string') ${GIVE_UP}
const ${units} = ${parse}(${v}, ${scale})
if (${units} === undefined) ${GIVE_UP}`
    return taken(code, units)
  }

  #instance(schema: z.ZodType, v: string): Piece | undefined {
    const Class: unknown = schema._zod.bag['Class']
    return typeof Class === 'function'
      ? taken(`if (!(${v} instanceof ${this.#constant(Class)})) ${GIVE_UP}`, v)
      : undefined
  }

  #nullable(def: Def, v: string): Piece | undefined {
    if (!def.innerType) return undefined
    const inner = this.value(def.innerType, v)
    if (inner.value === v) return { ...inner, code: `if (${v} !== null) {\n${inner.code}\n}` }
    const out = this.#fresh()
    const code = `let ${out} = null
if (${v} !== null) {
${inner.code}
${out} = ${inner.value}
}`
    return { code, value: out, omits: inner.omits }
  }

  #optional(schema: z.ZodType, def: Def, v: string): Piece | undefined {
    // An inner default replaces undefined, an exact optional refuses it: both are rare, and zod's.
    if (!def.innerType || def.innerType._zod.optin === 'defaulted') return undefined
    if (schema._zod.traits.has('$ZodExactOptional')) return undefined
    const inner = this.value(def.innerType, v)
    if (inner.value === v) return { code: `if (${v} !== undefined) {\n${inner.code}\n}`, value: v, omits: true }
    const out = this.#fresh()
    const code = `let ${out}
if (${v} !== undefined) {
${inner.code}
${out} = ${inner.value}
}`
    return { code, value: out, omits: true }
  }

  #default(def: Def, v: string): Piece | undefined {
    if (!def.innerType) return undefined
    const inner = this.value(def.innerType, v)
    const out = this.#fresh()
    const made = `${this.#constant(def)}.defaultValue`
    const code = `let ${out}
if (${v} !== undefined) {
${inner.code}
${out} = ${inner.value}
}
if (${out} === undefined) ${out} = ${made}`
    return taken(code, out)
  }

  #readonly(def: Def, v: string): Piece | undefined {
    if (!def.innerType) return undefined
    const inner = this.value(def.innerType, v)
    if (SCALARS.has(defOf(def.innerType).type)) return inner
    const out = this.#fresh()
    return { code: `${inner.code}\nconst ${out} = Object.freeze(${inner.value})`, value: out, omits: inner.omits }
  }

  #array(def: Def, v: string): Piece | undefined {
    if (!def.element) return undefined
    let size = ''
    for (const check of checksOf(def)) {
      const { minimum, maximum, length } = check
      if (check.check === 'min_length' && typeof minimum === 'number') size += ` && ${v}.length >= ${minimum}`
      else if (check.check === 'max_length' && typeof maximum === 'number') size += ` && ${v}.length <= ${maximum}`
      else if (check.check === 'length_equals' && typeof length === 'number') size += ` && ${v}.length === ${length}`
      else return undefined
    }
    const [out, n, item] = [this.#fresh(), this.#fresh(), this.#fresh()]
    const element = this.value(def.element, item)
    const code = `if (!(Array.isArray(${v})${size})) ${GIVE_UP}
const ${out} = []
for (let ${n} = 0; ${n} < ${v}.length; ${n}++) {
const ${item} = ${v}[${n}]
${element.code}
${out}.push(${element.value})
}`
    return taken(code, out)
  }

  /** An object, or a union of such that are told apart by one of their fields. */
  record(schema: z.ZodType, v: string): Piece | undefined {
    const def = defOf(schema)
    return def.type === 'object' ? this.#object(def, v) : this.#union(def, v)
  }

  /** One case per value of the discriminator. Those of options that only zod can judge are left out. */
  #union(def: Def, v: string): Piece | undefined {
    const { discriminator } = def
    if (discriminator === undefined || checksOf(def).length > 0) return undefined
    const out = this.#fresh()
    const cases: string[] = []
    const seen = new Set<unknown>()
    for (const option of def.options ?? []) {
      const values = [...(option._zod.propValues?.[discriminator] ?? [])]
      // zod refuses the whole union then.
      if (values.some(value => seen.has(value))) return undefined
      for (const value of values) seen.add(value)
      const piece = ['object', 'union'].includes(defOf(option).type) ? this.record(option, v) : undefined
      if (!piece || !values.every(value => typeof value === 'string')) continue
      cases.push(
        `${values.map(value => `case ${quote(value)}:`).join(' ')} {\n${piece.code}\n${out} = ${piece.value}\nbreak\n}`,
      )
    }
    const code = `if (typeof ${v} !== 'object' || ${v} === null) ${GIVE_UP}
let ${out}
switch (${v}[${quote(discriminator)}]) {
${cases.join('\n')}
default: ${GIVE_UP}
}`
    return taken(code, out)
  }

  #object(def: Def, v: string): Piece | undefined {
    const shape = def.shape ?? {}
    if (checksOf(def).length > 0 || 'catchall' in def) return undefined
    if (Object.getOwnPropertySymbols(shape).length > 0 || Object.hasOwn(shape, '__proto__')) return undefined
    const out = this.#fresh()
    let code = `if (typeof ${v} !== 'object' || ${v} === null || Array.isArray(${v})) ${GIVE_UP}`
    let literal = ''
    let rest = ''
    for (const [name, field] of Object.entries(shape)) {
      const local = this.#fresh()
      const piece = this.value(field, local)
      code += `\nconst ${local} = ${v}[${quote(name)}]\n${piece.code}`
      // From the first key that may be absent on, keys are set one by one: their order is the schema's.
      if (rest === '' && !piece.omits) {
        literal += `${quote(name)}: ${piece.value}, `
        continue
      }
      const when = piece.omits ? `if (${piece.value} !== undefined || ${quote(name)} in ${v}) ` : ''
      rest += `\n${when}${out}[${quote(name)}] = ${piece.value}`
    }
    return taken(`${code}\nconst ${out} = { ${literal}}${rest}`, out)
  }

  #record(def: Def, v: string): Piece | undefined {
    const { keyType, valueType } = def
    if (!keyType || !valueType || (def.mode !== undefined && def.mode !== 'strict') || def.partial) return undefined
    const key = defOf(keyType)
    if (checksOf(key).length > 0 || key.coerce) return undefined
    const plain = `if (!${this.#constant(isPlainRecord)}(${v})) ${GIVE_UP}`
    if (key.type === 'enum') return this.#closedRecord(Object.values(key.entries ?? {}), valueType, v, plain)
    if (key.type !== 'string' || key.format !== undefined) return undefined
    const [out, name, item] = [this.#fresh(), this.#fresh(), this.#fresh()]
    const value = this.value(valueType, item)
    const code = `${plain}
const ${out} = {}
for (const ${name} of Object.keys(${v})) {
if (${name} === '__proto__') continue
const ${item} = ${v}[${name}]
${value.code}
${out}[${name}] = ${value.value}
}`
    return taken(code, out)
  }

  #closedRecord(keys: readonly unknown[], valueType: z.ZodType, v: string, plain: string): Piece | undefined {
    if (!keys.every(key => typeof key === 'string' && key !== '__proto__')) return undefined
    const known = this.#constant(new Set(keys))
    const name = this.#fresh()
    let code = `${plain}\nfor (const ${name} in ${v}) if (!${known}.has(${name})) ${GIVE_UP}`
    let literal = ''
    for (const key of new Set(keys as readonly string[])) {
      const local = this.#fresh()
      const value = this.value(valueType, local)
      code += `\nconst ${local} = ${v}[${quote(key)}]\n${value.code}`
      literal += `${quote(key)}: ${value.value}, `
    }
    const out = this.#fresh()
    return taken(`${code}\nconst ${out} = { ${literal}}`, out)
  }

  #map(def: Def, v: string): Piece | undefined {
    if (!def.keyType || !def.valueType) return undefined
    const [out, name, item] = [this.#fresh(), this.#fresh(), this.#fresh()]
    const key = this.value(def.keyType, name)
    const value = this.value(def.valueType, item)
    const code = `if (!(${v} instanceof Map)) ${GIVE_UP}
const ${out} = new Map()
for (const [${name}, ${item}] of ${v}) {
${key.code}
${value.code}
${out}.set(${key.value}, ${value.value})
}`
    return taken(code, out)
  }
}

/** Up to so many strings are compared one by one; a set is faster beyond. */
const SWITCH_MAX = 8

/** Freezing these does nothing. */
const SCALARS = new Set(['number', 'bigint', 'boolean', 'string', 'enum'])

function typeTest(def: Def, v: string): string | undefined {
  switch (def.type) {
    case 'number': {
      if (def.format === undefined) return `typeof ${v} === 'number' && Number.isFinite(${v})`
      const test = formatTest(def.format, v)
      return test && `typeof ${v} === 'number' && ${test}`
    }
    case 'bigint':
      if (def.format === undefined) return `typeof ${v} === 'bigint'`
      return def.format === 'int64'
        ? `typeof ${v} === 'bigint' && ${v} >= -9223372036854775808n && ${v} <= 9223372036854775807n`
        : undefined
    case 'date':
      // The global one may be wrapped later, by the purity guards.
      return `${v} instanceof RealDate && !Number.isNaN(${v}.getTime())`
    default:
      return def.format === undefined ? `typeof ${v} === '${def.type}'` : undefined
  }
}

function formatTest(format: string | undefined, v: string): string | undefined {
  switch (format) {
    case 'int32':
      return `${v} === (${v} | 0)`
    case 'uint32':
      return `${v} === (${v} >>> 0)`
    case 'safeint':
      return `Number.isSafeInteger(${v})`
    default:
      return undefined
  }
}

/** As zod counts: a pair of surrogates is one, half a pair is one too. */
function codePoints(text: string): number {
  let count = text.length
  for (let n = 0; n < text.length - 1; n++) {
    if ((text.charCodeAt(n) & 0xfc00) !== 0xd800 || (text.charCodeAt(n + 1) & 0xfc00) !== 0xdc00) continue
    count--
    n++
  }
  return count
}

/** Stricter than zod's own test, which takes some class instances and other odd objects too. */
function isPlainRecord(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return !Object.hasOwn(value, 'constructor') && Object.getOwnPropertySymbols(value).length === 0
}
