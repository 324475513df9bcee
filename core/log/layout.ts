// How records of older contracts are read by a newer one. A layout is the stored shape of a topic's records; each new one
// must be able to take all that the one before could hold. Values for added fields are fixed when the layout is made
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
}

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
 * How a row of one layout becomes one of the next.
 * @throws CONTRACT_CHANGED naming the field that cannot be read
 */
export function adaptRow(topic: string, from: readonly Field[], to: StoredLayout): Adapt | undefined {
  const added = new Map<string, () => unknown>()
  for (const field of to.fields) {
    // Own members only: a field may be called `constructor`.
    const stored = to.added && Object.hasOwn(to.added, field.name) ? to.added[field.name] : undefined
    if (stored === undefined) continue
    const codec = createRowCodec({ kind: 'object', fields: [field] })
    const bytes = Buffer.from(stored, 'base64')
    // Decoded anew each time: a date or an array must not be shared between rows.
    added.set(field.name, () => codec.decode(new ByteReader(bytes))[field.name])
  }
  return adaptFields({ topic, path: '' }, from, to.fields, added)
}

interface Place {
  readonly topic: string
  readonly path: string
}

const at = (place: Place, name: string): Place => ({
  topic: place.topic,
  path: place.path === '' ? name : `${place.path}.${name}`,
})

function changed(place: Place, what: string): Error {
  return fail('CONTRACT_CHANGED', `${place.topic}: the records in the log do not fit field '${place.path}'`, {
    detail: what,
    hint: 'take the old type back, or make the new field nullable or give it a default; a field under a new name is always possible',
    data: { topic: place.topic, field: place.path },
  })
}

const NONE: ReadonlyMap<string, () => unknown> = new Map()

function adaptFields(
  place: Place,
  from: readonly Field[],
  to: readonly Field[],
  added: ReadonlyMap<string, () => unknown>,
): Adapt | undefined {
  const old = new Map(from.map(field => [field.name, field.type]))
  let same = from.length === to.length
  const steps = to.map(({ name, type }, n) => {
    if (from[n]?.name !== name) same = false
    const before = old.get(name)
    if (before) {
      const adapt = adaptValue(at(place, name), before, type)
      if (adapt) same = false
      return { name, adapt, make: undefined }
    }
    const make = added.get(name) ?? missing(type)
    if (!make) throw changed(at(place, name), `it was added as a required ${type.kind} without a default`)
    return { name, adapt: undefined, make }
  })
  if (same) return undefined
  return value => {
    const row = value as AnyRow
    const out: AnyRow = {}
    for (const { name, adapt, make } of steps) out[name] = make ? make() : adapt ? adapt(row[name]) : row[name]
    return out
  }
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
      return from.kind === 'object' ? adaptFields(place, from.fields, to.fields, NONE) : undefined
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
    return adaptFields(place, fields(from), fields(to), NONE)
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

function typeText(type: ValueType): string {
  switch (type.kind) {
    case 'nullable':
      return `${type.optional ? 'optional' : 'nullable'} ${typeText(type.inner)}`
    case 'array':
      return `array of ${typeText(type.element)}`
    default:
      return type.kind
  }
}
