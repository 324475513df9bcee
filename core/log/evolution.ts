// What a topic's layouts become when a contract is declared over them. Every version between the stored one and the contract gets
// its layouts, so that the way of each row stays known (versions.ts). Nothing is taken back: a contract over which stored
// records could not be read is refused here, before anything is stored.
import type { z } from 'zod'
import type { CompiledUpcast, Contract, Field, RecordShape, ValueType, Variant } from '../contract/index.ts'
import { fail } from '../errors.ts'
import { encodeField, type StoredLayout, sameFields, storedFields, typeText } from './layout.ts'
import {
  fullShape,
  fullShapes,
  newestVersion,
  type StoredTopic,
  shapeOfVersion,
  stepsFrom,
  versionOf,
} from './versions.ts'

/**
 * The topic as it has to be stored for records to be written by `contract`; itself where nothing changes.
 * @throws CONTRACT_CHANGED naming the field or variant that the contract lacks for older records, or the upcast that does not fit
 */
export function storedFor(stored: StoredTopic, contract: Contract, nextId: number): StoredTopic {
  const newest = newestVersion(stored.layouts)
  if (contract.version < newest) throw olderContract(stored.name, contract.version, newest)
  const layouts = stored.layouts.map(layout => redeclared(stored.name, layout, contract))
  const append = (layout: NewLayout) => layouts.push({ id: nextId + layouts.length - stored.layouts.length, ...layout })
  // The log may have begun with a later version than the first.
  for (let version = versionOf(layouts[0]!); version < contract.version; version++) {
    const upcast = contract.upcasts[version - 1]!
    for (const layout of settled(stored.name, layouts, upcast, version === newest)) append(layout)
    if (version >= newest) for (const layout of firstLayouts(contract, upcast)) append(layout)
  }
  for (const layout of grown(stored.name, layouts, contract)) append(layout)
  const next = { ...stored, layouts }
  if (JSON.stringify(next) === JSON.stringify(stored)) return stored
  for (const layout of layouts) stepsFrom(next, layout, contract)
  return next
}

/** The layouts of a topic that the log does not have yet. */
export const layoutsFor = (contract: Contract, nextId: number): readonly StoredLayout[] =>
  contract.variants.map((variant, n) => ({ id: nextId + n, ...newLayout(contract, contract.version, variant) }))

type NewLayout = Omit<StoredLayout, 'id'>
type Values = Readonly<Record<string, string>>

const withValues = (fields: readonly Field[], added: Values): Pick<StoredLayout, 'fields' | 'added'> =>
  Object.keys(added).length > 0 ? { fields, added } : { fields }

const newLayout = (shape: RecordShape, version: number, { name, type }: Variant, added: Values = {}): NewLayout => ({
  ...withValues(storedFields(type), added),
  ...(version > 1 ? { version } : {}),
  ...(name === undefined ? {} : { variant: { by: shape.discriminator!, name } }),
})

/** One more layout of a variant in its version; values of added fields that have a default are taken now. */
function grownLayout(last: StoredLayout, shape: RecordShape, variant: Variant): NewLayout {
  const known = new Set(last.fields.map(field => field.name))
  const added = defaultsOf(variant.schema, storedFields(variant.type), known)
  return newLayout(shape, versionOf(last), variant, added)
}

/** What the newest version needs: fields and variants may have come, fields may have gone. */
function* grown(topic: string, layouts: readonly StoredLayout[], contract: Contract): Generator<NewLayout> {
  const { version, variants } = contract
  const shapes = fullShapes(layouts, version)
  checkVariants(topic, version, shapes, contract)
  for (const variant of variants) {
    const last = fullShape(shapes, version, variant.name)
    if (!last) yield newLayout(contract, version, variant)
    else if (!sameFields(last.fields, storedFields(variant.type))) yield grownLayout(last, contract, variant)
  }
}

/** What an older version needs to be as its upcast says: only what a release had added that was never run here. */
function* settled(
  topic: string,
  layouts: readonly StoredLayout[],
  upcast: CompiledUpcast,
  mayGrow: boolean,
): Generator<NewLayout> {
  const { version, variants } = upcast
  const shapes = fullShapes(layouts, version)
  const gone = shapes.find(({ variant }) => !variants.some(({ name }) => name === variant?.name))
  if (gone || shapes[0]?.variant?.by !== upcast.discriminator) throw misfitVariant(topic, shapes, upcast)
  for (const variant of variants) {
    const last = fullShape(shapes, version, variant.name)
    if (!last) {
      if (!mayGrow) throw misfitVariant(topic, shapes, upcast)
      yield newLayout(upcast, version, variant)
      continue
    }
    const fields = storedFields(variant.type)
    if (sameShape(last.fields, fields)) continue
    if (!mayGrow || !isGrowth(last.fields, fields)) throw misfitField(topic, last.fields, upcast, variant)
    yield grownLayout(last, upcast, variant)
  }
}

/** The first layouts of the version to which an upcast leads. */
const firstLayouts = (contract: Contract, upcast: CompiledUpcast): readonly NewLayout[] => {
  const next = shapeOfVersion(contract, upcast.version + 1)
  return next.variants.map((variant, n) => {
    const layout = newLayout(next, upcast.version + 1, variant)
    return n === 0 ? withUpcast(contract, upcast, layout) : layout
  })
}

/** On a version's first layout stands how the one before becomes it. @param fixed defaults as they were taken */
function withUpcast(contract: Contract, upcast: CompiledUpcast, layout: NewLayout, fixed: Values = {}): NewLayout {
  const { how, version } = upcast
  const { fields, added: _, ...rest } = layout
  if (typeof how === 'function') return { fields, ...rest, upcast: 'record' }
  const { renamed = {}, added = {} } = how
  const known = new Set(upcast.variants[0]!.type.fields.map(field => field.name))
  for (const old of Object.keys(renamed)) known.delete(old)
  for (const name of Object.values(renamed)) known.add(name)
  const declared: Record<string, string> = {}
  for (const field of fields)
    if (Object.hasOwn(added, field.name)) declared[field.name] = encodeField(field, added[field.name])
  const { schema } = shapeOfVersion(contract, version + 1).variants[0]!
  const values = { ...defaultsOf(schema, fields, known), ...fixed, ...declared }
  return { ...withValues(fields, values), ...rest, upcast: { renamed } }
}

/** A version's first layout as the application now declares its upcast: code about the past may be mended, defaults stay. */
function redeclared(topic: string, stored: StoredLayout, contract: Contract): StoredLayout {
  const upcast = stored.upcast && contract.upcasts[versionOf(stored) - 2]
  if (!upcast) return stored
  const { id, added, upcast: _, ...layout } = stored
  if (typeof upcast.how !== 'function') {
    const named = [...Object.values(upcast.how.renamed ?? {}), ...Object.keys(upcast.how.added ?? {})]
    const late = named.find(name => !layout.fields.some(field => field.name === name))
    if (late !== undefined)
      throw refused(topic, `upcast(${upcast.version}, …) names the field '${late}'`, {
        detail: `version ${upcast.version + 1} began without it`,
        hint: 'take a function instead, or put the field in by a further version',
        field: late,
      })
  }
  return { id, ...withUpcast(contract, upcast, layout, added) }
}

function defaultsOf(schema: z.ZodObject, fields: readonly Field[], known: ReadonlySet<string>): Values {
  const added: Record<string, string> = {}
  for (const field of fields) {
    if (known.has(field.name)) continue
    const value = defaultOf(schema, field)
    if (value !== undefined) added[field.name] = value
  }
  return added
}

function defaultOf(object: z.ZodObject, field: Field): string | undefined {
  const schema: z.ZodType | undefined = object.shape[field.name]
  if (!schema) return undefined
  try {
    const result = schema.safeParse(undefined)
    return result.success && result.data !== undefined ? encodeField(field, result.data) : undefined
  } catch {
    // A schema that needs asynchronous checks, or a default that is not of its type, has no default for this purpose.
    return undefined
  }
}

/** A type whatever the order of its fields and enum values: they are read by name. */
function orderless(type: ValueType): unknown {
  switch (type.kind) {
    case 'enum':
      return [type.kind, [...type.values].sort()]
    case 'nullable':
      return [type.kind, type.optional, orderless(type.inner)]
    case 'array':
      return [type.kind, orderless(type.element)]
    case 'object':
      return [
        type.kind,
        [...type.fields].sort((a, b) => (a.name < b.name ? -1 : 1)).map(each => [each.name, orderless(each.type)]),
      ]
    case 'record':
      return [type.kind, type.keys && [...type.keys].sort(), orderless(type.value)]
    case 'map':
      return [type.kind, orderless(type.key), orderless(type.value)]
    default:
      return type.kind
  }
}

const sameType = (left: ValueType, right: ValueType) =>
  JSON.stringify(orderless(left)) === JSON.stringify(orderless(right))

const sameShape = (left: readonly Field[], right: readonly Field[]): boolean =>
  sameType({ kind: 'object', fields: left }, { kind: 'object', fields: right })

/** True where `to` only has more than `from`: what a release that was never run here had added. */
const isGrowth = (from: readonly Field[], to: readonly Field[]): boolean =>
  from.every(field => to.some(other => other.name === field.name && sameType(field.type, other.type)))

interface Refusal {
  readonly detail: string
  readonly hint: string
  readonly field?: string | undefined
  readonly variant?: string | undefined
}

const refused = (topic: string, what: string, { detail, hint, field, variant }: Refusal) =>
  fail('CONTRACT_CHANGED', `${topic}: ${what}`, {
    detail,
    hint,
    data: { topic, ...(variant === undefined ? {} : { variant }), ...(field === undefined ? {} : { field }) },
  })

const said = (shape: RecordShape): string =>
  shape.discriminator === undefined
    ? 'one object'
    : `a union by '${shape.discriminator}' of ${shape.variants.map(({ name }) => name).join(', ')}`

const storedSaid = (shapes: readonly StoredLayout[]): string =>
  shapes[0]?.variant === undefined
    ? 'one object'
    : `a union by '${shapes[0].variant.by}' of ${shapes.map(({ variant }) => variant?.name).join(', ')}`

/** The variants that were may not go within a version, nor may their discriminator change. */
function checkVariants(topic: string, version: number, shapes: readonly StoredLayout[], contract: Contract): void {
  const hint = (take: string) =>
    `${take}, or say how old records are read: topic('${topic}', …).upcast(${version}, oldSchema, old => ({ … }))`
  const detail = `it was ${storedSaid(shapes)}, now it is ${said(contract)}`
  const first = shapes[0]
  if (first && first.variant?.by !== contract.discriminator)
    throw refused(topic, 'the records in the log are told apart in another way', {
      detail,
      hint: hint('take the old schema back'),
      variant: first.variant?.name,
    })
  const gone = shapes.find(({ variant }) => !contract.variants.some(({ name }) => name === variant?.name))?.variant
  if (gone)
    throw refused(topic, `the log may have records of variant '${gone.name}', which the contract lacks`, {
      detail,
      hint: hint('take the variant back'),
      variant: gone.name,
    })
}

function misfitVariant(topic: string, shapes: readonly StoredLayout[], upcast: CompiledUpcast): Error {
  const names = (of: readonly (string | undefined)[], other: readonly (string | undefined)[]) =>
    of.find(name => name !== undefined && !other.includes(name))
  const [stored, declared] = [shapes.map(({ variant }) => variant?.name), upcast.variants.map(({ name }) => name)]
  return refused(topic, `upcast(${upcast.version}, …) is not of the records in the log`, {
    detail: `they are of ${storedSaid(shapes)}, its schema is of ${said(upcast)}`,
    hint: `give upcast(${upcast.version}, …) the schema as it was`,
    variant: names(stored, declared) ?? names(declared, stored),
  })
}

function misfitField(topic: string, from: readonly Field[], upcast: CompiledUpcast, { name, type }: Variant): Error {
  const to = storedFields(type)
  const typeIn = (fields: readonly Field[], field: string) => fields.find(each => each.name === field)?.type
  const names = [...new Set([...from, ...to].map(field => field.name))]
  const field = names.find(each => {
    const [left, right] = [typeIn(from, each), typeIn(to, each)]
    return !left || !right || !sameType(left, right)
  })
  const shown = (type: ValueType | undefined) => (type ? typeText(type) : 'missing')
  const of = name === undefined ? '' : ` of variant ${name}`
  return refused(topic, `upcast(${upcast.version}, …) is not of the records in the log: field '${field}'${of}`, {
    detail: `it is ${shown(typeIn(from, field ?? ''))} in the log, ${shown(typeIn(to, field ?? ''))} in the upcast's schema`,
    hint: `give upcast(${upcast.version}, …) the schema as it was: ${from.map(each => `${each.name} ${typeText(each.type)}`).join(', ')}`,
    field,
    variant: name,
  })
}

const olderContract = (topic: string, version: number, stored: number) =>
  refused(topic, `the log has records of version ${stored}, the contract is version ${version}`, {
    detail: `a contract's version is one more than it has upcasts`,
    hint: `put back topic('${topic}', …).upcast(${version}, …), or start the release that has it`,
  })
