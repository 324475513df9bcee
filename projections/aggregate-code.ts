// Declared aggregates as handlers: straight-line code generated for each `.on`, so that it runs as fast as the fold written by
// hand, and equals it. Least and greatest values over tables need what they were chosen from: a hidden map of the row, from
// value to how many rows have it, checkpointed with the row and seen by nobody. Names reach the text only through JSON.stringify.
import type { z } from 'zod'
import {
  describeFields,
  discriminatorOf,
  type Field,
  fail,
  type ObjectType,
  type RecordSchema,
  type ValueType,
} from '../core/index.ts'
import { type Aggregate, areAggregates } from './aggregate.ts'
import type { On, ProjectionDefinition, TableHandlers } from './projection.ts'

/** Names that no zod object has by accident. */
const hiddenName = (field: string): string => `\0values of ${field}`

/** Hidden fields of a view's rows, for its least and greatest values over tables. @throws DEFINITION_INVALID */
export function hiddenFields(definition: ProjectionDefinition, state: ObjectType): Field[] {
  const found = new Map<string, Aggregate['aggregate']>()
  for (const on of definition.ons) {
    if (!areAggregates(on.handlers) || !isTable(on)) continue
    for (const [field, { aggregate }] of Object.entries(on.handlers)) {
      if (aggregate !== 'min' && aggregate !== 'max') continue
      if ((found.get(field) ?? aggregate) !== aggregate)
        throw fail('DEFINITION_INVALID', `'${field}' of view '${definition.name}' is both a min and a max`)
      found.set(field, aggregate)
    }
  }
  return [...found.keys()].map(field => {
    const type = innerOf(typeOf(state, field))
    return { name: hiddenName(field), type: { kind: 'map', key: keyOf(type), value: { kind: 'int32' } } }
  })
}

/** A type whose values are found again in a Map, and that takes all values of the column. */
function keyOf(type: ValueType | undefined): ValueType {
  if (type?.kind === 'date') return { kind: 'int' }
  return type && !NUMBERS.includes(type.kind) ? type : { kind: 'float' }
}

const isTable = ({ input }: On): boolean => input.kind === 'table' || input.kind === 'projection'

const typeOf = (object: ObjectType, name: string): ValueType | undefined =>
  object.fields.find(field => field.name === name)?.type

const innerOf = (type: ValueType | undefined): ValueType | undefined => (type?.kind === 'nullable' ? type.inner : type)

/** Compiles an `.on` of aggregates. @throws DEFINITION_INVALID naming the field that does not fit */
export function aggregateHandlers(
  { name }: ProjectionDefinition,
  on: On,
  state: ObjectType,
  hidden: readonly Field[],
): TableHandlers {
  const where = `${name}.on(${on.input.name})`
  const row = rowType(on, where)
  const steps = Object.entries(on.handlers as Readonly<Record<string, Aggregate>>).map(([field, aggregate]) => {
    const problem = misfit(aggregate, field, typeOf(state, field), row, isTable(on))
    if (problem) throw fail('DEFINITION_INVALID', `${where} cannot compute '${field}'`, { detail: problem })
    const kept = hidden.find(each => each.name === hiddenName(field))?.name
    return stepOf(aggregate, field, row, kept)
  })
  const make = (texts: readonly string[]) =>
    new Function('extreme', 'Date', `return (s, r) => { ${texts.map(text => `{ ${text} }`).join('\n')} }`)(
      extreme,
      RealDate,
    )
  return { add: make(steps.map(step => step.add)), remove: make(steps.map(step => step.remove)) }
}

/** Taken before the purity guards wrap the global one. */
const RealDate = Date

interface InputSchemas {
  readonly row?: z.ZodObject
  readonly value?: RecordSchema
  readonly spec?: { readonly state: z.ZodObject }
}

function rowType(on: On, where: string): ObjectType {
  const { row, value, spec } = on.input as InputSchemas
  const schema = row ?? value ?? spec?.state
  if (!schema || on.input.kind === 'changes')
    throw fail('DEFINITION_INVALID', `${where} takes a function: aggregates are of tables, views and topics`)
  if (discriminatorOf(schema) !== undefined)
    throw fail(
      'DEFINITION_INVALID',
      `${where} takes functions: aggregates are of records of one shape, not of variants`,
    )
  return describeFields(schema, 'output', where)
}

const NUMBERS = ['int32', 'int', 'float']
const ORDERED = [...NUMBERS, 'bigint', 'date', 'string']

/** What is wrong with an aggregate, in words. */
function misfit(
  aggregate: Aggregate,
  name: string,
  state: ValueType | undefined,
  row: ObjectType,
  table: boolean,
): string | undefined {
  if (!state) return `the state has no field '${name}'`
  const column = 'field' in aggregate ? innerOf(typeOf(row, aggregate.field)) : undefined
  if ('field' in aggregate && !column) return `its input has no column '${aggregate.field}'`
  const numeric = (type: ValueType | undefined) => type !== undefined && NUMBERS.includes(type.kind)
  switch (aggregate.aggregate) {
    case 'count':
      return numeric(state) ? undefined : 'a count needs a number'
    case 'sum': {
      if (column?.kind === 'bigint') return state.kind === 'bigint' ? undefined : 'a sum of bigints needs a bigint'
      if (!numeric(column)) return `'${aggregate.field}' is not a number`
      return numeric(state) ? undefined : 'a sum needs a number'
    }
    case 'countBy':
    case 'sumBy':
      if (aggregate.aggregate === 'sumBy' && !numeric(column)) return `'${aggregate.field}' is not a number`
      return misfitBy(aggregate.by, state, innerOf(typeOf(row, aggregate.by)))
    default:
      if (table && aggregate.aggregate === 'last') return 'rows of a table have no order: take max of a time column'
      if (state.kind !== 'nullable') return 'it is null where there is no value: make it nullable'
      if (!column || !ORDERED.includes(column.kind)) return `'${aggregate.field}' has no order`
      if (state.inner.kind === column.kind || (numeric(state.inner) && numeric(column))) return undefined
      return `'${aggregate.field}' is of kind ${column.kind}, '${name}' of kind ${state.inner.kind}`
  }
}

function misfitBy(by: string, state: ValueType, column: ValueType | undefined): string | undefined {
  if (column?.kind !== 'enum') return `'${by}' is not an enum column`
  if (state.kind !== 'record' || !state.keys || !NUMBERS.includes(state.value.kind))
    return 'it needs a record of numbers over the enum'
  const missing = column.values.find(value => !state.keys?.includes(value))
  return missing === undefined ? undefined : `it has no place for '${missing}' of '${by}'`
}

interface Step {
  readonly add: string
  readonly remove: string
}

/** @param kept the hidden map of a least or greatest value */
function stepOf(aggregate: Aggregate, name: string, row: ObjectType, kept: string | undefined): Step {
  const field = `s[${JSON.stringify(name)}]`
  const column = (of: string) => `const v = r[${JSON.stringify(of)}]; if (v !== null && v !== undefined)`
  switch (aggregate.aggregate) {
    case 'count':
      return { add: `${field}++`, remove: `${field}--` }
    case 'sum':
      return { add: `${column(aggregate.field)} ${field} += v`, remove: `${column(aggregate.field)} ${field} -= v` }
    case 'countBy':
      return { add: `${column(aggregate.by)} ${field}[v]++`, remove: `${column(aggregate.by)} ${field}[v]--` }
    case 'sumBy': {
      const both = `const b = r[${JSON.stringify(aggregate.by)}]; ${column(aggregate.field)} if (b !== null && b !== undefined)`
      return { add: `${both} ${field}[b] += v`, remove: `${both} ${field}[b] -= v` }
    }
    case 'last':
      return { add: `${column(aggregate.field)} ${field} = v`, remove: '' }
    default: {
      const of = column(aggregate.field)
      const sign = aggregate.aggregate === 'min' ? '<' : '>'
      const choose = `const b = ${field}; if (b === null || v ${sign} b) ${field} = v;`
      if (!kept) return { add: `${of} { ${choose} }`, remove: '' }
      const date = innerOf(typeOf(row, aggregate.field))?.kind === 'date'
      const entry = `const m = s[${JSON.stringify(kept)}], k = ${date ? 'v.getTime()' : 'v'};`
      const next = date
        ? `const e = extreme(m, '${sign}'); ${field} = e === null ? null : new Date(e)`
        : `${field} = extreme(m, '${sign}')`
      const same = date ? `${field}?.getTime() === k` : `${field} === k`
      return {
        add: `${of} { ${entry} m.set(k, (m.get(k) ?? 0) + 1); ${choose} }`,
        remove: `${of} { ${entry} const n = (m.get(k) ?? 0) - 1; if (n !== 0) m.set(k, n); else { m.delete(k); if (${same}) { ${next} } } }`,
      }
    }
  }
}

/** The least or greatest of the values that are there; null where none is. */
function extreme(values: ReadonlyMap<number, number>, sign: '<' | '>'): number | null {
  let best: number | null = null
  for (const value of values.keys()) if (best === null || (sign === '<' ? value < best : value > best)) best = value
  return best
}
