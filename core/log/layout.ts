// How records of older contracts are read by a newer one. A layout is the stored shape of a topic's records, of one variant where
// the contract is a union; within a version of the contract each new one must be able to take all that the one before could
// hold; versions.ts leads from one to the next. Values for added fields are fixed when the layout is made
// (as PostgreSQL does for ADD COLUMN … DEFAULT), so that the past does not change when a default later does.
import {
  type AnyRow,
  ByteReader,
  ByteWriter,
  createRowCodec,
  type Field,
  type ObjectType,
  type ValueType,
} from '../contract/index.ts'
import { fail } from '../errors.ts'

export interface StoredLayout {
  /** Stands in each record. */
  readonly id: number
  readonly fields: readonly Field[]
  /** Added fields that are not null in older records: name → the value's stored form, base64. */
  readonly added?: Readonly<Record<string, string>>
  /** The contract's version, where it is not 1. */
  readonly version?: number
  /** Of which variant its records are, where the contract is a union. */
  readonly variant?: StoredVariant
  /** On the first layout of a version: how the one before becomes it. */
  readonly upcast?: StoredUpcast
}

/** The discriminator's name and value. */
export interface StoredVariant {
  readonly by: string
  readonly name: string
}

/** By the application's function, record by record; or by column, old name → new name. */
export type StoredUpcast = 'record' | { readonly renamed: Readonly<Record<string, string>> }

/** Where a column of a later layout comes from, in the rows of an earlier one. */
export interface PlannedColumn {
  readonly name: string
  /** The earlier field; undefined where there is none: `make` then gives the value. */
  readonly from: string | undefined
  /** What to do to each value; undefined: as it is. */
  readonly adapt: Adapt | undefined
  /** A constant, made anew for each row, since dates and arrays must not be shared. */
  readonly make: (() => unknown) | undefined
}

/** How the stored rows of a layout become rows of the current contract. */
export type LayoutPlan = readonly PlannedColumn[] | 'by record'

/** Turns a value of one type into one of another; undefined stands for "as it is". */
export type Adapt = (value: unknown) => unknown

/** A type without what does not change the stored form (a string's format). */
export function storedType(type: ValueType): ValueType {
  switch (type.kind) {
    case 'string':
      return { kind: 'string' }
    case 'nullable':
      return { kind: 'nullable', inner: storedType(type.inner), optional: type.optional }
    case 'array':
      return { kind: 'array', element: storedType(type.element) }
    case 'object':
      return { kind: 'object', fields: storedFields(type) }
    case 'record':
      return { kind: 'record', keys: type.keys, value: storedType(type.value) }
    case 'map':
      return { kind: 'map', key: storedType(type.key), value: storedType(type.value) }
    default:
      return type
  }
}

export const storedFields = (type: ObjectType): readonly Field[] =>
  type.fields.map(field => ({ name: field.name, type: storedType(field.type) }))

export const sameFields = (left: readonly Field[], right: readonly Field[]): boolean =>
  left === right || JSON.stringify(left) === JSON.stringify(right)

export function encodeField(field: Field, value: unknown): string {
  const writer = new ByteWriter(64)
  createRowCodec({ kind: 'object', fields: [field] }).encode(writer, { [field.name]: value })
  return writer.copy().toString('base64')
}

/**
 * Where the columns of a layout come from, in rows of one before it.
 * @param added stored forms of added values, by name
 * @param renamed earlier name → later name
 * @throws CONTRACT_CHANGED naming the field that cannot be read
 */
export function planColumns(
  of: TopicVersion,
  from: readonly Field[],
  to: readonly Field[],
  added: Readonly<Record<string, string>> = {},
  renamed: Readonly<Record<string, string>> = {},
): readonly PlannedColumn[] {
  const makers = new Map<string, () => unknown>()
  for (const field of to) {
    // Own members only: a field may be called `constructor`.
    const stored = Object.hasOwn(added, field.name) ? added[field.name] : undefined
    if (stored !== undefined) makers.set(field.name, makerOf(field, stored))
  }
  const origins = new Map(Object.entries(renamed).map(([old, name]) => [name, old]))
  const gone = new Set(Object.keys(renamed))
  return planFields(
    { ...of, path: '' },
    from,
    to,
    makers,
    name => origins.get(name) ?? (gone.has(name) ? undefined : name),
  )
}

/** Decoded anew each time: a date or an array must not be shared between rows. */
function makerOf(field: Field, stored: string): () => unknown {
  const codec = createRowCodec({ kind: 'object', fields: [field] })
  const bytes = Buffer.from(stored, 'base64')
  return () => codec.decode(new ByteReader(bytes))[field.name]
}

/** Two plans, one after the other, as one. */
export function composePlans(
  first: readonly PlannedColumn[],
  then: readonly PlannedColumn[],
): readonly PlannedColumn[] {
  const known = new Map(first.map(column => [column.name, column]))
  return then.map(column => {
    const before = column.from === undefined ? undefined : known.get(column.from)
    if (!before) return column
    const make = before.make
    if (make) return { ...before, name: column.name, make: column.adapt ? () => column.adapt?.(make()) : make }
    return { ...before, name: column.name, adapt: inTurn(before.adapt, column.adapt) }
  })
}

const inTurn = (first: Adapt | undefined, then: Adapt | undefined): Adapt | undefined =>
  first && then ? value => then(first(value)) : (first ?? then)

/** True where rows pass as they are: a field's place does not matter where it is read by name. */
export const isSame = (from: readonly Field[], plan: readonly PlannedColumn[]): boolean =>
  from.length === plan.length &&
  plan.every((column, n) => column.from === from[n]?.name && column.name === column.from && !column.adapt)

/** One object literal, generated: rows of one plan then have one shape. */
export function adaptByColumn(plan: readonly PlannedColumn[]): (row: AnyRow) => AnyRow {
  const functions: unknown[] = []
  const call = (made: unknown, input: string) => `f${functions.push(made) - 1}(${input})`
  const fields = plan.map(({ name, from, adapt, make }) => {
    const stored = `row[${JSON.stringify(from)}]`
    return `[${JSON.stringify(name)}]: ${make ? call(make, '') : adapt ? call(adapt, stored) : stored}`
  })
  const names = functions.map((_, n) => `f${n}`)
  return new Function(...names, `return row => ({ ${fields.join(', ')} })`)(...functions) as (row: AnyRow) => AnyRow
}

/** Says what is wrong where a column of one type cannot be read as another. @throws CONTRACT_CHANGED */
export function checkColumn(of: TopicVersion, from: Field, to: Field): void {
  adaptValue({ ...of, path: to.name }, from.type, to.type)
}

/** Whose records are read: version and variant are the stored ones. */
export interface TopicVersion {
  readonly topic: string
  readonly version: number
  readonly variant: string | undefined
}

interface Place extends TopicVersion {
  readonly path: string
}

const at = (place: Place, name: string): Place => ({
  ...place,
  path: place.path === '' ? name : `${place.path}.${name}`,
})

function changed(place: Place, what: string): Error {
  const { topic, variant } = place
  const of = variant === undefined ? '' : ` of variant ${variant}`
  return fail('CONTRACT_CHANGED', `${topic}: the records${of} in the log do not fit field '${place.path}'`, {
    detail: what,
    hint: `take the old type back, or make the new field nullable or give it a default; or say how old records are read: topic('${place.topic}', …).upcast(${place.version}, oldSchema, old => ({ ...old, ${place.path.split('.')[0]}: … }))`,
    data: { topic, ...(variant === undefined ? {} : { variant }), field: place.path },
  })
}

const NONE: ReadonlyMap<string, () => unknown> = new Map()

function planFields(
  place: Place,
  from: readonly Field[],
  to: readonly Field[],
  added: ReadonlyMap<string, () => unknown>,
  origin: (name: string) => string | undefined,
): readonly PlannedColumn[] {
  const old = new Map(from.map(field => [field.name, field.type]))
  return to.map(({ name, type }) => {
    const earlier = origin(name)
    const before = earlier === undefined ? undefined : old.get(earlier)
    if (before) return { name, from: earlier, adapt: adaptValue(at(place, name), before, type), make: undefined }
    const make = added.get(name) ?? missing(type)
    if (!make) throw changed(at(place, name), `it was added as a required ${type.kind} without a default`)
    return { name, from: undefined, adapt: undefined, make }
  })
}

function adaptFields(place: Place, from: readonly Field[], to: readonly Field[]): Adapt | undefined {
  const plan = planFields(place, from, to, NONE, name => name)
  if (isSame(from, plan)) return undefined
  const adapt = adaptByColumn(plan)
  return value => adapt(value as AnyRow)
}

function missing(type: ValueType): (() => unknown) | undefined {
  if (type.kind !== 'nullable') return undefined
  return type.optional ? () => undefined : () => null
}

function adaptValue(place: Place, from: ValueType, to: ValueType): Adapt | undefined {
  const refuse = () => changed(place, `its type was ${typeText(from)}, now it is ${typeText(to)}`)
  if (to.kind === 'nullable') {
    if (from.kind === 'nullable' && from.optional && !to.optional) throw refuse()
    const inner = adaptValue(place, from.kind === 'nullable' ? from.inner : from, to.inner)
    return inner && (value => (value === null || value === undefined ? value : inner(value)))
  }
  if (from.kind === 'int32' && to.kind === 'int') return undefined
  if (from.kind !== to.kind) throw refuse()
  switch (to.kind) {
    case 'enum': {
      const gone = from.kind === 'enum' ? from.values.filter(value => !to.values.includes(value)) : []
      if (gone.length > 0) throw changed(place, `its values ${gone.join(', ')} were removed`)
      return undefined
    }
    case 'array':
      return from.kind === 'array' ? adaptArray(adaptValue(at(place, '[]'), from.element, to.element)) : undefined
    case 'object':
      return from.kind === 'object' ? adaptFields(place, from.fields, to.fields) : undefined
    case 'record':
      return from.kind === 'record' ? adaptRecord(place, from, to, refuse) : undefined
    case 'map':
      return from.kind === 'map' ? adaptMap(place, from, to) : undefined
    default:
      return undefined
  }
}

const adaptArray = (element: Adapt | undefined): Adapt | undefined =>
  element && (value => (value as unknown[]).map(element))

type RecordType = Extract<ValueType, { kind: 'record' }>
type MapType = Extract<ValueType, { kind: 'map' }>

function adaptRecord(place: Place, from: RecordType, to: RecordType, refuse: () => Error): Adapt | undefined {
  if ((from.keys === undefined) !== (to.keys === undefined)) throw refuse()
  if (from.keys && to.keys) {
    const fields = (record: RecordType) => (record.keys ?? []).map(name => ({ name, type: record.value }))
    return adaptFields(place, fields(from), fields(to))
  }
  const value = adaptValue(at(place, '[]'), from.value, to.value)
  return value && (row => Object.fromEntries(Object.entries(row as AnyRow).map(([name, item]) => [name, value(item)])))
}

function adaptMap(place: Place, from: MapType, to: MapType): Adapt | undefined {
  const key = adaptValue(at(place, 'key'), from.key, to.key)
  const value = adaptValue(at(place, '[]'), from.value, to.value)
  if (!key && !value) return undefined
  return map => new Map([...(map as Map<unknown, unknown>)].map(([k, v]) => [key ? key(k) : k, value ? value(v) : v]))
}

export function typeText(type: ValueType): string {
  switch (type.kind) {
    case 'nullable':
      return `${type.optional ? 'optional' : 'nullable'} ${typeText(type.inner)}`
    case 'array':
      return `array of ${typeText(type.element)}`
    default:
      return type.kind
  }
}
