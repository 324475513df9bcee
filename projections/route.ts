// One `.on` of a view, compiled: which records it takes, to which keys they go, and what handles them.
import type { AnyRow } from '../core/index.ts'
import { type Aggregate, areAggregates } from './aggregate.ts'
import type { DeclaredHandlers, On, TableHandlers } from './projection.ts'
import { type VariantHandlers, variantHandlersOf } from './variant-handlers.ts'
import type { FoldedView } from './view.ts'

export type Handler = (state: AnyRow, ...rest: unknown[]) => unknown

/** Among the keys that a record goes to: a place where it goes to none. */
export const NOWHERE = Symbol('nowhere')

/** Gives the key of an input's row. */
export interface InputKey {
  fromRow(row: AnyRow): unknown
}

export interface Route {
  readonly view: FoldedView
  readonly input: string
  /** True where rows come and go; false for events. */
  readonly table: boolean
  readonly keysOf: (row: AnyRow, inputKey: InputKey) => unknown
  readonly many: boolean
  /** What declared it. */
  readonly on: On
  /** What handles events variant by variant, where each has a handler of its own. */
  readonly variants: VariantHandlers | undefined
  /** The event-time field of its topic, if that declares one. */
  readonly time: string | undefined
  /** What `add` computes, where it was declared. */
  readonly aggregates: Readonly<Record<string, Aggregate>> | undefined
  readonly add: Handler
  readonly remove: Handler | undefined
  readonly update: Handler | undefined
}

/** @param declared the functions themselves, where `.on` was given aggregates too */
export function compileRoute(view: FoldedView, on: On, declared: DeclaredHandlers): Route {
  const { input, by } = on
  const variants = variantHandlersOf(input, declared)
  const handlers = variants?.handler ?? declared
  const [add, remove, update] =
    typeof handlers === 'function'
      ? [handlers, undefined, undefined]
      : [(handlers as TableHandlers).add, (handlers as TableHandlers).remove, (handlers as TableHandlers).update]
  const keysOf = typeof by === 'function' ? byFunction(by) : byColumns(by)
  return {
    view,
    input: input.name,
    table: input.kind === 'table' || input.kind === 'projection',
    keysOf: variants ? (row, inputKey) => (variants.handles(row) ? keysOf(row, inputKey) : null) : keysOf,
    many: typeof by === 'function',
    on,
    variants,
    time: (input as { time?: string }).time,
    aggregates: areAggregates(on.handlers) ? on.handlers : undefined,
    add: add as Handler,
    remove: remove as Handler | undefined,
    update: update as Handler | undefined,
  }
}

const byFunction = (by: (row: AnyRow, key: unknown) => unknown): Route['keysOf'] =>
  by.length > 1 ? (row, inputKey) => by(row, inputKey.fromRow(row)) : row => by(row, undefined)

/** Generated, so that each route's access to its column is fast, whatever others read. */
export function byColumns(by: string | Readonly<Record<string, string>>): (row: AnyRow) => unknown {
  if (typeof by === 'string')
    return new Function('row', `return row[${JSON.stringify(by)}]`) as (row: AnyRow) => unknown
  const pairs = Object.entries(by)
  return row => {
    const key: AnyRow = {}
    for (const [field, column] of pairs) {
      const value = row[column]
      if (value === null || value === undefined) return null
      key[field] = value
    }
    return key
  }
}
