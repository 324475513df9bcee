// How rows of one contract are read by a later one, said once more and independently of the log's layouts: value by value.
import { type AnyRow, type Contract, type Field, fail, type ValueType, type Variant } from '../../core/index.ts'

export type Migration = (row: AnyRow) => AnyRow

/** Each variant's type without what does not change the stored form. */
const shapeText = ({ discriminator, variants }: Contract): string => {
  const text = (type: ValueType) =>
    JSON.stringify(type, (name, value: unknown) => (name === 'format' ? undefined : value))
  const texts = variants.map(({ name, type }) => `${name} ${text(type)}`)
  return JSON.stringify([discriminator, texts.sort()])
}

export const sameShape = (one: Contract, other: Contract): boolean => shapeText(one) === shapeText(other)

/** @throws CONTRACT_CHANGED */
export function migrate(from: Contract, to: Contract): Migration | undefined {
  const key = ({ kind, key: { columns, single } }: Contract) =>
    JSON.stringify([kind, single, columns.map(({ name }) => name)])
  if (key(from) !== key(to)) throw refused(from.name, 'the key')
  if (from.discriminator !== to.discriminator) throw refused(from.name, 'the discriminator')
  if (sameShape(from, to)) return undefined
  const steps = from.variants.map(variant => {
    const next = to.variants.find(({ name }) => name === variant.name)
    if (!next) throw refused(from.name, `variant ${variant.name}`)
    return migrateVariant(from.name, variant, next)
  })
  return row => steps[from.variantOf(row)]!(row)
}

function migrateVariant(topic: string, { type: { fields } }: Variant, to: Variant): Migration {
  const defaults = new Map<string, unknown>()
  for (const { name } of to.type.fields) {
    if (fields.some(field => field.name === name)) continue
    const result = to.schema.shape[name]?.safeParse(undefined)
    if (result?.success && result.data !== undefined) defaults.set(name, result.data)
  }
  const known = to.type.fields.filter(({ name }) => !defaults.has(name))
  const field = unreadableField(fields, known)
  if (field !== undefined) throw refused(topic, field)
  return row => {
    const taken = takeFields(fields, to.type.fields, row)
    for (const [name, value] of defaults) taken[name] = structuredClone(value)
    return taken
  }
}

const refused = (topic: string, field: string) => fail('CONTRACT_CHANGED', `${topic}: ${field}`)

const unreadableField = (from: readonly Field[], to: readonly Field[]): string | undefined =>
  to.find(({ name, type }) => {
    const old = from.find(field => field.name === name)
    return old ? !readable(old.type, type) : type.kind !== 'nullable'
  })?.name

const fieldsOf = (type: Extract<ValueType, { kind: 'record' }>): readonly Field[] =>
  (type.keys ?? []).map(name => ({ name, type: type.value }))

/** True where each value of one type is one of the other, or becomes one. */
function readable(from: ValueType, to: ValueType): boolean {
  if (to.kind === 'nullable') {
    if (from.kind !== 'nullable') return readable(from, to.inner)
    return (to.optional || !from.optional) && readable(from.inner, to.inner)
  }
  if (from.kind === 'int32' && to.kind === 'int') return true
  if (from.kind === 'enum' && to.kind === 'enum') return from.values.every(value => to.values.includes(value))
  if (from.kind === 'array' && to.kind === 'array') return readable(from.element, to.element)
  if (from.kind === 'object' && to.kind === 'object') return unreadableField(from.fields, to.fields) === undefined
  if (from.kind === 'map' && to.kind === 'map') return readable(from.key, to.key) && readable(from.value, to.value)
  if (from.kind === 'record' && to.kind === 'record') {
    if ((from.keys === undefined) !== (to.keys === undefined)) return false
    return from.keys ? unreadableField(fieldsOf(from), fieldsOf(to)) === undefined : readable(from.value, to.value)
  }
  return from.kind === to.kind
}

function takeFields(from: readonly Field[], to: readonly Field[], row: AnyRow): AnyRow {
  const taken: AnyRow = {}
  for (const { name, type } of to) {
    const old = from.find(field => field.name === name)
    if (old) taken[name] = take(old.type, type, row[name])
    else taken[name] = type.kind === 'nullable' && type.optional ? undefined : null
  }
  return taken
}

const bare = (type: ValueType): ValueType => (type.kind === 'nullable' ? type.inner : type)

function take(before: ValueType, after: ValueType, value: unknown): unknown {
  if (value === null || value === undefined) return value
  const [from, to] = [bare(before), bare(after)]
  if (from.kind === 'object' && to.kind === 'object') return takeFields(from.fields, to.fields, value as AnyRow)
  if (from.kind === 'array' && to.kind === 'array')
    return (value as unknown[]).map(item => take(from.element, to.element, item))
  if (from.kind === 'map' && to.kind === 'map')
    return new Map(
      [...(value as Map<unknown, unknown>)].map(([key, item]) => [
        take(from.key, to.key, key),
        take(from.value, to.value, item),
      ]),
    )
  if (from.kind === 'record' && to.kind === 'record')
    return from.keys
      ? takeFields(fieldsOf(from), fieldsOf(to), value as AnyRow)
      : Object.fromEntries(Object.entries(value).map(([name, item]) => [name, take(from.value, to.value, item)]))
  return value
}
