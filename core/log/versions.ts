// From one version of a contract to the next. A topic's layouts stand in order, those of a version together; the last of a
// version is its full shape, and its upcast leads from there to the last of the next one, by column or by the application's
// function. Every version between the stored one and the contract gets a layout, so that the way stays known, also to a
// reader without the application as far as it goes by column.
import type { z } from 'zod'
import type { AnyRow, CompiledUpcast, Contract, Field, ValueType } from '../contract/index.ts'
import { fail, isMainstemError, textOf } from '../errors.ts'
import {
  adaptByColumn,
  checkColumn,
  composePlans,
  encodeField,
  isSame,
  type LayoutPlan,
  type PlannedColumn,
  planColumns,
  type StoredLayout,
  sameFields,
  storedFields,
  typeText,
} from './layout.ts'

export interface StoredTopic {
  readonly id: number
  readonly name: string
  readonly kind: Contract['kind']
  readonly key: readonly string[]
  readonly single: boolean
  readonly layouts: readonly StoredLayout[]
}

export const newestOf = (stored: StoredTopic): StoredLayout => stored.layouts[stored.layouts.length - 1]!

export const versionOf = (layout: StoredLayout): number => layout.version ?? 1

export function changedFrom(stored: StoredTopic, contract: Contract): boolean {
  const newest = newestOf(stored)
  return versionOf(newest) !== contract.version || !sameFields(newest.fields, storedFields(contract.type))
}

/** A record's row, as the current contract has it. @throws CONTRACT_UPCAST_FAILED, CONTRACT_UPCAST_MISSING */
export type AdaptRow = (row: AnyRow, position: number | undefined) => AnyRow

/** How rows of a layout are read; `plan` is what `adapt` does, where it can be done to whole columns. */
export interface Reading {
  readonly plan: LayoutPlan
  /** Undefined where rows pass as they are. */
  readonly adapt: AdaptRow | undefined
}

type Step = readonly PlannedColumn[] | AdaptRow

/** @param contract the application's, where it has the topic */
export function readingOf(stored: StoredTopic, layout: StoredLayout, contract: Contract | undefined): Reading {
  const steps = joined(stepsFrom(stored, layout, contract))
  const [only] = steps
  if (!only) return { plan: asIs(layout.fields), adapt: undefined }
  if (steps.length === 1 && typeof only !== 'function')
    return { plan: only, adapt: isSame(layout.fields, only) ? undefined : adaptByColumn(only) }
  const run = steps.map(step => (typeof step === 'function' ? step : adaptByColumn(step)))
  return { plan: 'by record', adapt: (row, position) => run.reduce((each, step) => step(each, position), row) }
}

const asIs = (fields: readonly Field[]): readonly PlannedColumn[] =>
  fields.map(({ name }) => ({ name, from: name, adapt: undefined, make: undefined }))

/** Neighbours that go by column become one. */
function joined(steps: readonly Step[]): readonly Step[] {
  const out: Step[] = []
  for (const step of steps) {
    const before = out.at(-1)
    if (before && typeof before !== 'function' && typeof step !== 'function')
      out[out.length - 1] = composePlans(before, step)
    else out.push(step)
  }
  return out
}

function stepsFrom(stored: StoredTopic, layout: StoredLayout, contract: Contract | undefined): Step[] {
  const { name: topic, layouts } = stored
  const steps: Step[] = []
  let at = layouts.findIndex(each => each.id === layout.id)
  for (; at + 1 < layouts.length; at++) {
    const [from, to] = [layouts[at]!, layouts[at + 1]!]
    const version = versionOf(from)
    if (versionOf(to) === version) {
      steps.push(planColumns({ topic, version }, from.fields, to.fields, to.added))
      continue
    }
    if (to.upcast !== undefined && to.upcast !== 'record') {
      steps.push(planColumns({ topic, version }, from.fields, to.fields, to.added, to.upcast.renamed))
      continue
    }
    const last = layouts.findLastIndex(each => versionOf(each) === versionOf(to))
    checkKeyColumns(stored, from, layouts[last]!)
    steps.push(byRecord(stored, version, contract?.upcasts[version - 1]))
    at = last - 1
  }
  return steps
}

/** A function gives rows of the whole next version, but the key has to be the one that was appended. */
function checkKeyColumns(stored: StoredTopic, from: StoredLayout, to: StoredLayout): void {
  for (const column of stored.key) {
    const [before, after] = [from, to].map(each => each.fields.find(field => field.name === column))
    if (before && after) checkColumn({ topic: stored.name, version: versionOf(from) }, before, after)
  }
}

function byRecord({ name, key }: StoredTopic, version: number, upcast: CompiledUpcast | undefined): AdaptRow {
  const how = upcast?.how
  if (!upcast || typeof how !== 'function') {
    return (_, position) => {
      throw fail('CONTRACT_UPCAST_MISSING', `records of version ${version} of ${name} need their upcast`, {
        detail: `${place(position)}topic('${name}', …).upcast(${version}, …) is not at hand`,
        data: { topic: name, version, position },
      })
    }
  }
  return (row, position) => {
    const failed = (why: string, cause?: unknown) =>
      fail(
        'CONTRACT_UPCAST_FAILED',
        `a record of version ${version} of ${name} cannot be read as version ${version + 1}`,
        {
          detail: `${place(position)}${why}`,
          hint: `mend upcast(${version}, …) of ${name}; it takes every record of that version`,
          data: { topic: name, version, position },
          cause,
        },
      )
    const keys = key.map(column => row[column])
    let out: AnyRow
    try {
      const made = how(row)
      if (made instanceof Promise) {
        made.catch(() => {})
        throw failed('the function gave a promise: an upcast is synchronous')
      }
      out = upcast.accept(made)
    } catch (error) {
      if (isMainstemError(error) && error.code === 'CONTRACT_UPCAST_FAILED') throw error
      throw failed(isMainstemError(error) ? (error.detail ?? error.message) : textOf(error), error)
    }
    const moved = key.find((column, n) => !sameKey(keys[n], out[column]))
    if (moved !== undefined) throw failed(`it changed the key column ${moved}`)
    return out
  }
}

const place = (position: number | undefined): string => (position === undefined ? '' : `position ${position}: `)

const sameKey = (left: unknown, right: unknown): boolean =>
  left instanceof Date && right instanceof Date ? left.getTime() === right.getTime() : left === right

/**
 * The topic as it has to be stored for records to be written by `contract`; itself where nothing changes.
 * @throws CONTRACT_CHANGED naming the field that older records cannot fill, or the upcast that does not fit them
 */
export function storedFor(stored: StoredTopic, contract: Contract, nextId: number): StoredTopic {
  const version = versionOf(newestOf(stored))
  if (contract.version < version) throw olderContract(stored.name, contract.version, version)
  const layouts = stored.layouts.map(layout => redeclared(stored.name, layout, contract))
  const append = (layout: NewLayout) => layouts.push({ id: nextId + layouts.length - stored.layouts.length, ...layout })
  for (const upcast of contract.upcasts) {
    const last = layouts.findLast(layout => versionOf(layout) === upcast.version)
    // The log began with a later version.
    if (!last) continue
    const fields = storedFields(upcast.type)
    if (!sameShape(last.fields, fields)) {
      if (upcast.version < version || !isGrowth(last.fields, fields)) throw misfit(stored.name, last.fields, upcast)
      append(grown(last, fields, upcast.schema))
    }
    if (upcast.version >= version) append(firstLayout(contract, upcast))
  }
  const last = layouts[layouts.length - 1]!
  const fields = storedFields(contract.type)
  if (!sameFields(last.fields, fields)) append(grown(last, fields, contract.schema))
  const next = { ...stored, layouts }
  if (JSON.stringify(next) === JSON.stringify(stored)) return stored
  for (const layout of layouts) stepsFrom(next, layout, contract)
  return next
}

type NewLayout = Omit<StoredLayout, 'id'>
type Values = Readonly<Record<string, string>>

const withValues = (fields: readonly Field[], added: Values): NewLayout =>
  Object.keys(added).length > 0 ? { fields, added } : { fields }

/** One more layout of the same version; values of added fields that have a default are taken now. */
function grown(last: StoredLayout, fields: readonly Field[], schema: z.ZodObject): NewLayout {
  const known = new Set(last.fields.map(field => field.name))
  const layout = withValues(fields, defaultsOf(schema, fields, known))
  return versionOf(last) > 1 ? { ...layout, version: versionOf(last) } : layout
}

function firstLayout(contract: Contract, upcast: CompiledUpcast): NewLayout {
  const next = contract.upcasts[upcast.version]
  const fields = storedFields(next?.type ?? contract.type)
  return upcastLayout(contract, upcast, fields)
}

function upcastLayout(
  contract: Contract,
  upcast: CompiledUpcast,
  fields: readonly Field[],
  fixed: Values = {},
): NewLayout {
  const version = upcast.version + 1
  const { how } = upcast
  if (typeof how === 'function') return { fields, version, upcast: 'record' }
  const { renamed = {}, added = {} } = how
  const known = new Set(upcast.type.fields.map(field => field.name))
  for (const old of Object.keys(renamed)) known.delete(old)
  for (const name of Object.values(renamed)) known.add(name)
  const schema = contract.upcasts[upcast.version]?.schema ?? contract.schema
  const declared: Record<string, string> = {}
  for (const field of fields)
    if (Object.hasOwn(added, field.name)) declared[field.name] = encodeField(field, added[field.name])
  const values = { ...defaultsOf(schema, fields, known), ...fixed, ...declared }
  return { ...withValues(fields, values), version, upcast: { renamed } }
}

/** A version's first layout as the application now declares its upcast: code about the past may be mended, defaults stay. */
function redeclared(topic: string, layout: StoredLayout, contract: Contract): StoredLayout {
  const upcast = layout.upcast && contract.upcasts[versionOf(layout) - 2]
  if (!upcast) return layout
  const { id, fields, added } = layout
  if (typeof upcast.how !== 'function') {
    const named = [...Object.values(upcast.how.renamed ?? {}), ...Object.keys(upcast.how.added ?? {})]
    const late = named.find(name => !fields.some(field => field.name === name))
    if (late !== undefined)
      throw refused(topic, `upcast(${upcast.version}, …) names the field '${late}'`, {
        detail: `version ${upcast.version + 1} began without it`,
        hint: 'take a function instead, or put the field in by a further version',
        field: late,
      })
  }
  return { id, ...upcastLayout(contract, upcast, fields, added) }
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
function shapeOf(type: ValueType): unknown {
  switch (type.kind) {
    case 'enum':
      return [type.kind, [...type.values].sort()]
    case 'nullable':
      return [type.kind, type.optional, shapeOf(type.inner)]
    case 'array':
      return [type.kind, shapeOf(type.element)]
    case 'object':
      return [
        type.kind,
        [...type.fields].sort((a, b) => (a.name < b.name ? -1 : 1)).map(each => [each.name, shapeOf(each.type)]),
      ]
    case 'record':
      return [type.kind, type.keys && [...type.keys].sort(), shapeOf(type.value)]
    case 'map':
      return [type.kind, shapeOf(type.key), shapeOf(type.value)]
    default:
      return type.kind
  }
}

const sameType = (left: ValueType, right: ValueType) => JSON.stringify(shapeOf(left)) === JSON.stringify(shapeOf(right))

const sameShape = (left: readonly Field[], right: readonly Field[]): boolean =>
  sameType({ kind: 'object', fields: left }, { kind: 'object', fields: right })

/** True where `to` only has more than `from`: what a release that was never run here had added. */
const isGrowth = (from: readonly Field[], to: readonly Field[]): boolean =>
  from.every(field => to.some(other => other.name === field.name && sameType(field.type, other.type)))

interface Refusal {
  readonly detail: string
  readonly hint: string
  readonly field?: string
}

const refused = (topic: string, what: string, { detail, hint, field }: Refusal) =>
  fail('CONTRACT_CHANGED', `${topic}: ${what}`, {
    detail,
    hint,
    data: field === undefined ? { topic } : { topic, field },
  })

function misfit(topic: string, from: readonly Field[], upcast: CompiledUpcast): Error {
  const to = storedFields(upcast.type)
  const typeIn = (fields: readonly Field[], name: string) => fields.find(field => field.name === name)?.type
  const names = [...new Set([...from, ...to].map(field => field.name))]
  const field = names.find(name => {
    const [left, right] = [typeIn(from, name), typeIn(to, name)]
    return !left || !right || !sameType(left, right)
  })
  const said = (type: ValueType | undefined) => (type ? typeText(type) : 'missing')
  return refused(topic, `upcast(${upcast.version}, …) is not of the records in the log: field '${field}'`, {
    detail: `it is ${said(typeIn(from, field ?? ''))} in the log, ${said(typeIn(to, field ?? ''))} in the upcast's schema`,
    hint: `give upcast(${upcast.version}, …) the schema as it was: ${from.map(each => `${each.name} ${typeText(each.type)}`).join(', ')}`,
    ...(field === undefined ? {} : { field }),
  })
}

const olderContract = (topic: string, version: number, stored: number) =>
  refused(topic, `the log has records of version ${stored}, the contract is version ${version}`, {
    detail: `a contract's version is one more than it has upcasts`,
    hint: `put back topic('${topic}', …).upcast(${version}, …), or start the release that has it`,
  })
