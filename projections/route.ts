// One `.on` of a view, compiled: which records it takes, to which keys they go, and what handles them.
import type { AnyRow } from '../core/index.ts'
import type { On, TableHandlers } from './projection.ts'
import type { FoldedView } from './view.ts'

export type Handler = (state: AnyRow, ...rest: unknown[]) => unknown

export interface Route {
  readonly view: FoldedView
  readonly input: string
  /** True where rows come and go; false for events. */
  readonly table: boolean
  readonly keysOf: (row: AnyRow, inputKey: () => unknown) => unknown
  readonly many: boolean
  readonly add: Handler
  readonly remove: Handler | undefined
  readonly update: Handler | undefined
}

export function compileRoute(view: FoldedView, { input, by, handlers }: On): Route {
  const [add, remove, update] =
    typeof handlers === 'function'
      ? [handlers, undefined, undefined]
      : [(handlers as TableHandlers).add, handlers.remove, handlers.update]
  return {
    view,
    input: input.name,
    table: input.kind === 'table' || input.kind === 'projection',
    keysOf:
      typeof by === 'function' ? (row, inputKey) => by(row, by.length > 1 ? inputKey() : undefined) : columnsOf(by),
    many: typeof by === 'function',
    add: add as Handler,
    remove: remove as Handler | undefined,
    update: update as Handler | undefined,
  }
}

function columnsOf(by: string | Readonly<Record<string, string>>): (row: AnyRow) => unknown {
  if (typeof by === 'string') return row => row[by]
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
