// Which rows a client subscribes to, in a form in which changes find their clients: a selector makes a text of a row, or of its
// key alone, and a selection has the texts that it wants. So a change costs a look-up per kind of selection, not per client.
import type { AnyRow } from '../../core/index.ts'
import type { RowFilter } from '../security/viewer.ts'

export interface Selector {
  readonly name: string
  /** Undefined: no selection of this kind has such a row. @param row of it, decoded when it is asked for */
  textOf(key: string, row: () => AnyRow): string | undefined
}

export interface Selection {
  readonly selector: Selector
  readonly texts: ReadonlySet<string>
  /** Undefined: all of them may be seen. */
  readonly sees: RowFilter | undefined
}

/** Rows of some keys, whose bytes these are, as latin1 texts. */
export const BY_KEY: Selector = { name: 'key', textOf: key => key }

/** Rows whose keys begin with as many bytes as these. */
export const byPrefix = (length: number): Selector => ({
  name: `prefix ${length}`,
  textOf: key => (key.length < length ? undefined : key.slice(0, length)),
})
