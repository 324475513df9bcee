// Old versions of a contract: how its records are read as the next version's. Versions count from 1; the contract itself is
// the one after the last. An upcaster is between what is stored on both sides, so it takes and gives the schemas' outputs.
import { z } from 'zod'
import { fail } from '../errors.ts'
import { checksOf, type Def, defOf, type ObjectType } from './describe.ts'
import { compileParser, type Parser } from './parser.ts'
import type { AnyRow } from './values.ts'
import { type RecordSchema, type RecordShape, shapeOf } from './variants.ts'

/** The fields of `R` that can hold a `T`. */
type FieldFor<R, T> = { [F in keyof R]-?: [T] extends [R[F]] ? F : never }[keyof R]

/** An upcast by column: nothing runs per record. Fields that both have stay, fields that only the old one has are left out. */
export interface UpcastColumns<Old, Next> {
  /** Old name → new name. */
  readonly renamed?: { readonly [F in keyof Old]?: FieldFor<Next, Old[F]> }
  /** Values of new fields that have neither a default nor null. */
  readonly added?: { readonly [F in keyof Next]?: Next[F] }
}

type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never

/** A pure function of the old record alone; or, where both are plain objects, what happens to its columns. */
export type Upcaster<Old, Next> =
  | ((old: Old) => Next)
  | (true extends IsUnion<Old> | IsUnion<Next> ? never : UpcastColumns<Old, Next>)

/** One `.upcast(…)` call. */
export interface Upcast {
  readonly version: number
  /** The contract as it was. */
  readonly schema: RecordSchema
  readonly how: ((old: never) => unknown) | UpcastData
}

/** `UpcastColumns` where the types of the rows do not matter. */
export interface UpcastData {
  readonly renamed?: Readonly<Record<string, string>>
  readonly added?: Readonly<Record<string, unknown>>
}

/** An upcast as the log reads with it: the shape is the old version's. */
export interface CompiledUpcast extends RecordShape {
  readonly version: number
  readonly how: ((old: AnyRow) => unknown) | UpcastData
  /** Checks what the function gave against the next version. */
  readonly accept: Parser
}

/** Adds `.upcast` to a declaration; each call gives a new declaration. */
export function upcastable<D extends object>(declared: D, made: (declared: D) => D = same => same): D {
  const upcasts: readonly Upcast[] = 'upcasts' in declared ? (declared.upcasts as readonly Upcast[]) : []
  const upcast = (version: number, schema: RecordSchema, how: Upcast['how']): D => {
    if (upcasts.some(other => other.version === version))
      throw invalid(`upcast(${version}, …) stands twice`, 'each version has one upcast')
    if (typeof how !== 'function' && (typeof how !== 'object' || how === null))
      throw invalid(`upcast(${version}, …) lacks its function`, 'give a function, or { renamed: { old: "new" } }')
    return upcastable(made({ ...declared, upcasts: [...upcasts, { version, schema, how }] }), made)
  }
  return Object.defineProperty(declared, 'upcast', { value: upcast })
}

const invalid = (message: string, hint: string) => fail('DEFINITION_INVALID', message, { hint })

/**
 * @param current the contract's own shape
 * @throws DEFINITION_INVALID where a version is missing or cannot be of this contract, CONTRACT_UNSUPPORTED
 */
export function compileUpcasts(
  name: string,
  current: RecordShape & { readonly schema: RecordSchema },
  keyColumns: readonly string[],
  upcasts: readonly Upcast[],
): readonly CompiledUpcast[] {
  const sorted = [...upcasts].sort((a, b) => a.version - b.version)
  const old = sorted.map(({ version, schema, how }, n) => {
    if (version !== n + 1)
      throw invalid(
        `${name} lacks upcast(${n + 1}, …)`,
        `it has upcasts of ${sorted.map(each => each.version)}: versions count from 1, each to the next`,
      )
    const shape = shapeOf(schema, `${name} version ${version}`)
    checkKey(name, version, shape, keyColumns)
    return { version, how, schema, ...shape }
  })
  return old.map((upcast, n) => {
    const { version, how, discriminator, variants } = upcast
    const next = old[n + 1] ?? current
    if (typeof how !== 'function')
      checkColumns(name, version, how, [upcast, next].map(plainOf(name, version)), keyColumns)
    let parse: Parser | undefined
    const accept: Parser = row => {
      parse ??= compileParser(settled(next.schema) as RecordSchema, name)
      return parse(row)
    }
    return { version, discriminator, variants, how: how as CompiledUpcast['how'], accept }
  })
}

function checkKey(name: string, version: number, { variants }: RecordShape, keyColumns: readonly string[]): void {
  for (const { name: variant, type } of variants) {
    const lacking = keyColumns.find(column => !type.fields.some(field => field.name === column))
    if (lacking === undefined) continue
    const where = variant === undefined ? '' : ` in its variant ${variant}`
    throw invalid(
      `upcast(${version}, …) of ${name} lacks the key column ${lacking}${where}`,
      'keys keep their names and types',
    )
  }
}

const plainOf =
  (name: string, version: number) =>
  ({ discriminator, variants }: RecordShape): ObjectType => {
    if (discriminator === undefined) return variants[0]!.type
    throw invalid(
      `upcast(${version}, …) of ${name} goes by column from or to a union`,
      `columns are of one object: give a function, old => ({ … }), for all variants`,
    )
  }

function checkColumns(
  name: string,
  version: number,
  { renamed = {}, added = {} }: UpcastData,
  [old, next]: readonly ObjectType[],
  keyColumns: readonly string[],
): void {
  const has = (type: ObjectType | undefined, field: string) => type?.fields.some(each => each.name === field)
  const wrong = (what: string) => invalid(`upcast(${version}, …) of ${name}: ${what}`, 'take the names of the schemas')
  for (const [from, to] of Object.entries(renamed)) {
    if (!has(old, from)) throw wrong(`the old version has no field '${from}'`)
    if (!has(next, to)) throw wrong(`the new version has no field '${to}'`)
    if (keyColumns.includes(from) || keyColumns.includes(to)) throw wrong(`the key column '${from}' keeps its name`)
  }
  const targets = [...Object.values(renamed), ...Object.keys(added)]
  const twice = targets.find((field, n) => targets.indexOf(field) !== n)
  if (twice !== undefined) throw wrong(`the field '${twice}' has two origins`)
  for (const field of Object.keys(added)) {
    if (!has(next, field)) throw wrong(`the new version has no field '${field}'`)
    if (has(old, field) && !Object.hasOwn(renamed, field))
      throw wrong(`the old version has the field '${field}' already`)
  }
}

/** A schema of what another one gives: where it transforms, what comes out is checked, not what went in. */
export function settled(schema: z.ZodType): z.ZodType {
  const def = defOf(schema)
  switch (def.type) {
    case 'pipe': {
      const end = def.out && defOf(def.out).type !== 'transform' ? settled(def.out) : z.unknown()
      const checks = (def.checks ?? []) as z.core.$ZodCheck<unknown>[]
      return checksOf(def).length > 0 ? end.check(...checks) : end
    }
    case 'prefault':
      return def.innerType ? settled(def.innerType) : schema
    case 'object': {
      const shape = Object.entries(def.shape ?? {}).map(([name, field]) => [name, settled(field)] as const)
      return shape.every(([name, field]) => field === def.shape?.[name])
        ? schema
        : changedDef(schema, { shape: Object.fromEntries(shape) })
    }
    case 'union':
    case 'tuple': {
      const part = def.type === 'union' ? 'options' : 'items'
      const inner = def[part] ?? []
      const after = inner.map(settled)
      return after.every((each, n) => each === inner[n]) ? schema : changedDef(schema, { [part]: after })
    }
    default:
      return settledParts(schema, def)
  }
}

function settledParts(schema: z.ZodType, def: Def): z.ZodType {
  const changes: Record<string, z.ZodType> = {}
  for (const part of ['innerType', 'element', 'keyType', 'valueType'] as const) {
    const inner = def[part]
    const after = inner && settled(inner)
    if (after && after !== inner) changes[part] = after
  }
  return Object.keys(changes).length > 0 ? changedDef(schema, changes) : schema
}

/** The definition's accessors stay accessors: a default is made anew for each record. */
function changedDef(schema: z.ZodType, changes: Readonly<Record<string, unknown>>): z.ZodType {
  const def = Object.defineProperties({}, Object.getOwnPropertyDescriptors(schema._zod.def))
  for (const [name, value] of Object.entries(changes))
    Object.defineProperty(def, name, { value, enumerable: true, configurable: true, writable: true })
  return schema.clone(def as never)
}
