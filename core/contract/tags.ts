// Tags: fields by whose values the events of a topic are found, besides their key. A tag's value stands in the key index as
// the row codec stores it, an enum's as its text, so that it is the same in every layout of the topic.
import { fail } from '../errors.ts'
import { ByteWriter } from './bytes.ts'
import type { ValueType } from './describe.ts'
import { createRowCodec } from './row-codec.ts'
import type { RecordShape } from './variants.ts'

export type TagValue = string | number | bigint | boolean

type IsTag<V> = [NonNullable<V>] extends [TagValue | readonly (TagValue | null | undefined)[]] ? true : false

/** The fields of `R` that can tag: text, enums, whole numbers, booleans, and arrays of them, in any variant; null is no tag. */
export type TagFields<R> = R extends unknown
  ? { [F in keyof R & string]: IsTag<R[F]> extends true ? F : never }[keyof R & string]
  : never

/** What values the tag `F` has: those of the field, or of its elements, in any variant. */
export type TagOf<R, F> = R extends unknown ? (F extends keyof R ? TagElement<NonNullable<R[F]>> : never) : never
type TagElement<V> = V extends readonly (infer E)[] ? NonNullable<E> & TagValue : V & TagValue

const TAGGING = new Set<ValueType['kind']>(['string', 'enum', 'int', 'int32', 'bigint', 'boolean'])

/** The type of a tag's values: of the field, or of its elements; undefined where it can be no tag. */
export function tagTypeOf(type: ValueType): ValueType | undefined {
  const outer = present(type)
  const inner = outer.kind === 'array' ? present(outer.element) : outer
  return TAGGING.has(inner.kind) ? inner : undefined
}

const present = (type: ValueType): ValueType => (type.kind === 'nullable' ? type.inner : type)

/** The type of a tag's values, where any variant has the field and it can be a tag. */
export const tagTypeIn = ({ variants }: RecordShape, tag: string): ValueType | undefined =>
  variants.flatMap(({ type }) => type.fields.flatMap(field => (field.name === tag ? [tagTypeOf(field.type)] : [])))[0]

/** @throws DEFINITION_INVALID naming the field that can be no tag */
export function checkTags(name: string, shape: RecordShape, tags: readonly string[]): readonly string[] {
  for (const [n, tag] of tags.entries()) {
    const types = shape.variants.flatMap(({ type }) =>
      type.fields.flatMap(each => (each.name === tag ? [each.type] : [])),
    )
    if (types.length === 0) {
      const known = new Set(shape.variants.flatMap(({ type }) => type.fields.map(each => each.name)))
      throw fail('DEFINITION_INVALID', `${name} has no field '${tag}' to be a tag`, {
        detail: `it has ${[...known].join(', ')}`,
      })
    }
    const wrong = types.find(type => !tagTypeOf(type))
    if (wrong) {
      throw fail('DEFINITION_INVALID', `${name}: the field '${tag}' cannot be a tag`, {
        detail: `it is ${wrong.kind}`,
        hint: 'tags are strings, enums, whole numbers, booleans, and arrays of them',
      })
    }
    const kinds = new Set(types.map(type => storedKind(tagTypeOf(type)!)))
    if (kinds.size > 1) {
      throw fail('DEFINITION_INVALID', `${name}: the tag '${tag}' is not of one type in every variant`, {
        detail: `it is ${[...kinds].join(' and ')}`,
      })
    }
    if (tags.indexOf(tag) !== n) throw fail('DEFINITION_INVALID', `${name} names the tag '${tag}' twice`)
  }
  return tags
}

/** Both kinds of whole numbers are stored alike. */
const storedKind = ({ kind }: ValueType): ValueType['kind'] => (kind === 'int32' ? 'int' : kind)

const FITS: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: value => typeof value === 'string',
  enum: value => typeof value === 'string',
  int: Number.isSafeInteger,
  int32: Number.isSafeInteger,
  bigint: value => typeof value === 'bigint',
  boolean: value => typeof value === 'boolean',
}

/** A tag's value as the key index has it. @param type by `tagTypeOf` · @throws KEY_INVALID where it is of another type */
export function tagBytes(field: string, type: ValueType, value: TagValue): Buffer {
  if (!FITS[type.kind]?.(value)) {
    throw fail('KEY_INVALID', `${field}: expected ${type.kind === 'enum' ? 'string' : type.kind}`, {
      detail: `it is ${typeof value}`,
    })
  }
  if (type.kind === 'enum') return Buffer.from(`${value}\0`)
  const writer = new ByteWriter(64)
  const stored = { kind: storedKind(type) } as ValueType
  createRowCodec({ kind: 'object', fields: [{ name: 'v', type: stored }] }).encode(writer, { v: value })
  return writer.copy()
}

/** True where the value of a field, or one of its elements, is the tag's. */
export const isTagged = (field: unknown, value: TagValue): boolean =>
  Array.isArray(field) ? field.includes(value) : field === value
