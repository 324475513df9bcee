// State of another form, taken over: `projection(…).migrate(oldSchema, old => new)`. Rows that are stored by the old schema go through
// the function once, when they are loaded; it is bound to be pure as handlers are, and what it gives is checked as their writes are.
import type { z } from 'zod'
import {
  type AnyRow,
  asMainstemError,
  type ByteReader,
  createRowCodec,
  describeFields,
  enterHandlers,
  fail,
  leaveHandlers,
  type MainstemError,
} from '../core/index.ts'
import { stateDigest } from './start-plan.ts'
import type { FoldedView } from './view.ts'

/** One `.migrate`, as declared. */
export interface Migration {
  readonly from: z.ZodObject
  readonly to: (old: AnyRow) => unknown
}

/** Sets a row from what stands in the reader. */
export type ReadRow = (row: number, reader: ByteReader) => void

/** How rows that are stored in that form are read into a view; undefined where the view does not say. @param state what facts say of the form */
export function migrationOf(view: FoldedView, state: string): ReadRow | undefined {
  const { name, definition, key } = view
  for (const { from, to } of definition.migrations) {
    const type = describeFields(from, 'output', `${name}.migrate`)
    if (stateDigest(key, type, type.fields) === state) return reading(view, createRowCodec(type).decode, to)
  }
  return undefined
}

function reading(view: FoldedView, decode: (reader: ByteReader) => AnyRow, to: Migration['to']): ReadRow {
  const { name, table, value } = view
  const fields = new Set(value.fields.map(field => field.name))
  const owner = { describeHandler: () => `${name}.migrate` }
  return (row, reader) => {
    const old = decode(reader)
    let migrated: unknown
    enterHandlers(owner)
    try {
      migrated = to(old)
    } catch (error) {
      throw failed(view, row, error)
    } finally {
      leaveHandlers()
    }
    try {
      if (typeof migrated !== 'object' || migrated === null) throw new TypeError('it gave no row')
      const unknown = Object.keys(migrated).find(each => !fields.has(each))
      if (unknown !== undefined) throw new TypeError(`the state has no field '${unknown}'`)
      table.assign(row, migrated as AnyRow)
    } catch (error) {
      throw failed(view, row, error)
    }
  }
}

function failed({ name, table, key }: FoldedView, row: number, cause: unknown): MainstemError {
  const { code, message, detail } = asMainstemError(cause, 'MIGRATION_FAILED', 'the function threw')
  if (code === 'STATE_TOO_LARGE') return asMainstemError(cause)
  const what = code === 'MIGRATION_FAILED' ? detail : `${message}${detail ? `: ${detail}` : ''}`
  return fail('MIGRATION_FAILED', `a row of '${name}' cannot be migrated`, {
    detail: `key ${key.format(table.keyOf(row))}: ${what}`,
    cause,
    data: { view: name, cause: code },
  })
}
