// What the records of a contract may be: one object, or the variants of a discriminated union, told apart by a string literal.
// Each variant is described, stored and changed by itself; of a plain contract there is one, without a name.
import type { z } from 'zod'
import { fail } from '../errors.ts'
import { type Def, defOf, describe, describeFields, type ObjectType, type Side } from './describe.ts'
import type { AnyRow } from './values.ts'

/** What a topic's records can be declared by: `z.object({ … })`, or `z.discriminatedUnion('type', [ … ])` of such. */
export type RecordSchema = z.ZodObject | z.ZodDiscriminatedUnion

/** A discriminated union, described: each variant's discriminator is a field of it, an enum of one value. */
export interface UnionType {
  readonly kind: 'union'
  readonly discriminator: string
  readonly variants: readonly { readonly name: string; readonly type: ObjectType }[]
}

export type RecordType = ObjectType | UnionType

export interface Variant {
  /** The discriminator's value; undefined where the contract is one object. */
  readonly name: string | undefined
  readonly schema: z.ZodObject
  /** The stored form: the schema's output. */
  readonly type: ObjectType
}

/** One version of a contract: its variants, and which field tells them apart. */
export interface RecordShape {
  /** Undefined where records are of one object. */
  readonly discriminator: string | undefined
  /** One without a name where records are of one object. */
  readonly variants: readonly Variant[]
}

/** The field that says of which variant a record is; undefined of a plain object. */
export const discriminatorOf = (schema: RecordSchema): string | undefined => defOf(schema).discriminator

/** @throws CONTRACT_UNSUPPORTED, DEFINITION_INVALID */
export function shapeOf(schema: RecordSchema, path: string): RecordShape {
  const discriminator = discriminatorOf(schema)
  if (discriminator === undefined) {
    const type = describeFields(schema, 'output', path)
    return { discriminator, variants: [{ name: undefined, schema: schema as z.ZodObject, type }] }
  }
  const variants = [...optionsOf(schema, discriminator, path)].map(option => variantOf(option, discriminator, path))
  const twice = variants.find(({ name }, n) => variants.findIndex(other => other.name === name) !== n)
  if (twice) throw fail('DEFINITION_INVALID', `${path} has two variants '${twice.name}'`)
  return { discriminator, variants }
}

/** A union in a union is the same as one of all variants, where both are told apart by one field. */
function* optionsOf(schema: z.ZodType, discriminator: string, path: string): Generator<z.ZodObject> {
  for (const option of defOf(schema).options ?? []) {
    const def: Def = defOf(option)
    if (def.type === 'object') yield option as z.ZodObject
    else if (def.discriminator === discriminator) yield* optionsOf(option, discriminator, path)
    else
      throw fail('CONTRACT_UNSUPPORTED', `${path} has a variant that is not an object schema`, {
        detail:
          def.discriminator === undefined
            ? `it is '${def.type}'`
            : `it is a union by '${def.discriminator}', not by '${discriminator}'`,
        hint: `each variant is a z.object({ ${discriminator}: z.literal('…'), … })`,
      })
  }
}

function variantOf(schema: z.ZodObject, discriminator: string, path: string): Variant {
  const field = schema.shape[discriminator] as z.ZodType | undefined
  const type = field && describe(field, 'output', `${path}.${discriminator}`)
  const name = type?.kind === 'enum' && type.values.length === 1 ? type.values[0] : undefined
  if (name === undefined)
    throw fail('CONTRACT_UNSUPPORTED', `${path} has a variant whose '${discriminator}' is not one string literal`, {
      hint: `say ${discriminator}: z.literal('…'), another one in each variant`,
    })
  return { name, schema, type: describeFields(schema, 'output', `${path} ${name}`) }
}

/** Describes what a contract takes or gives. @throws CONTRACT_UNSUPPORTED, DEFINITION_INVALID */
export function describeRecord(schema: RecordSchema, side: Side, path: string): RecordType {
  const shape = shapeOf(schema, path)
  if (side === 'output') return typeOfShape(shape)
  const variants = shape.variants.map(variant => ({ ...variant, type: describeFields(variant.schema, side, path) }))
  return typeOfShape({ ...shape, variants })
}

export const typeOfShape = ({ discriminator, variants }: RecordShape): RecordType =>
  discriminator === undefined
    ? variants[0]!.type
    : { kind: 'union', discriminator, variants: variants.map(({ name, type }) => ({ name: name!, type })) }

/** The number of a record's variant. @throws RECORD_REFUSED naming those there are */
export type VariantOf = (row: AnyRow) => number

export function variantFinder(name: string, { discriminator, variants }: RecordShape): VariantOf {
  if (discriminator === undefined) return () => 0
  const numbers = new Map(variants.map((variant, n) => [variant.name as unknown, n]))
  return row => {
    const found = numbers.get(row[discriminator])
    if (found !== undefined) return found
    throw fail('RECORD_REFUSED', `a record of ${name} is of no variant`, {
      detail: `${discriminator}: expected one of ${[...numbers.keys()].join(', ')}, received ${received(row[discriminator])}`,
    })
  }
}

const received = (value: unknown): string =>
  typeof value === 'string' ? `'${value.slice(0, 100)}'` : value === null ? 'null' : typeof value
