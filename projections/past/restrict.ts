// A view folded for some of its keys only: the same definition, whose records go to those keys and nowhere else.
import type { AnyRow } from '../../core/index.ts'
import { type On, ProjectionDefinition } from '../projection.ts'
import { byColumns, NOWHERE } from '../route.ts'

/**
 * Whether a key is folded; told of each key to which a record, or a row of another view, goes.
 * @param on number of the `.on` by which it comes
 * @param inputKey key of the record or row that goes there
 */
export type TakesKey = (key: unknown, on: number, inputKey: unknown) => boolean

export function restricted(definition: ProjectionDefinition, takes: TakesKey): ProjectionDefinition {
  const ons = definition.ons.map((on, n): On => ({ ...on, by: restrictedBy(on.by, n, takes) }))
  // Rows have the accessors of the view itself, so that handlers meet one class of them.
  return new ProjectionDefinition(definition.name, definition.spec, { ons }, definition.origin)
}

function restrictedBy(by: On['by'], on: number, takes: TakesKey): On['by'] {
  const keysOf = typeof by === 'function' ? by : byColumns(by)
  return (row: AnyRow, inputKey: unknown) => {
    const keys = keysOf(row, inputKey)
    if (keys === null || keys === undefined) return null
    // One key of an array is still an array, and at its place: dead letters know a record's calls by their numbers.
    if (typeof by === 'function' && Array.isArray(keys))
      return keys.map(key => (takes(key, on, inputKey) ? key : NOWHERE))
    return takes(keys, on, inputKey) ? keys : null
  }
}
