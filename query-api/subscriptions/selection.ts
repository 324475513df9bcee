// Which rows a client subscribes to, in a form in which changes find their clients: a selector makes a text of a row, or of its
// key alone, and a selection has the texts that it wants. So a change costs a look-up per kind of selection, not per client: one for
// keys, one for the leading fields of each declared index, one for each length of a prefix that somebody selects by.
import { type AnyRow, fail } from '../../core/index.ts'
import { fieldBytes, type LiveView, planEqual, planRange, type RangeQuery } from '../../projections/index.ts'
import { checkCount } from '../parameters.ts'
import type { RowFilter } from '../security/viewer.ts'

export interface Selector {
  readonly name: string
  /** Undefined: no selection of this kind has such a row. @param row of it, decoded when it is asked for */
  textOf(key: string, row: () => AnyRow): string | undefined
  /** Where a row stands in the order in which rows of such a selection are read; of those that are read by key always the same. */
  entryOf(key: string, row: () => AnyRow): string
}

export interface Selection {
  readonly selector: Selector
  readonly texts: ReadonlySet<string>
  /** Undefined: all of them may be seen. */
  readonly sees: RowFilter | undefined
}

/** What a client wants to be told of, and how the rows of it are read that there are. */
export type Wanted = { readonly selection: Selection } & (
  | { readonly keys: readonly unknown[] }
  | { readonly range: RangeQuery }
)

/** One of them says which rows. */
export interface Selecting {
  readonly keys?: readonly unknown[] | undefined
  readonly prefix?: unknown
  /** Field → its value, or null. */
  readonly where?: Readonly<Record<string, unknown>> | undefined
}

/** Rows of some keys, whose bytes these are, as latin1 texts. */
export const BY_KEY: Selector = { name: 'key', textOf: key => key, entryOf: () => '' }

/** Rows whose keys begin with as many bytes as these. */
const byPrefix = (length: number): Selector => ({
  name: `prefix ${length}`,
  textOf: key => (key.length < length ? undefined : key.slice(0, length)),
  entryOf: key => key,
})

/** Rows by their values in the first fields of an index. */
function byFields({ key: codec, indexes }: LiveView, index: number, count: number): Selector {
  const shape = indexes[index]!
  const bytesOf = (fields: number, key: string, row: AnyRow) =>
    fieldBytes(shape, fields, row, codec.decode(Buffer.from(key, 'latin1'))).toString('latin1')
  return {
    name: `index ${index} ${count}`,
    textOf(key, row) {
      try {
        return bytesOf(count, key, row())
      } catch {
        // Of a value that no index can have (a float that is no number) there is no equal one.
        return undefined
      }
    },
    entryOf: (key, row) => bytesOf(shape.fields.length, key, row()) + key,
  }
}

/** @throws REQUEST_INVALID, NO_INDEX, KEY_INVALID */
export function wantedOf(live: LiveView, selecting: Selecting, sees: RowFilter | undefined): Wanted {
  const { keys, prefix, where } = selecting
  if ([keys, prefix, where].filter(each => each !== undefined).length !== 1)
    throw fail('REQUEST_INVALID', 'a subscription selects rows in one way', {
      hint: 'give keys, or a prefix of keys, or values of fields that an index serves',
    })
  if (keys !== undefined) return { selection: { selector: BY_KEY, texts: textsOf(live, keys), sees }, keys }
  if (where !== undefined) {
    const { index, fields, bytes } = planEqual(live, where)
    return { selection: { selector: byFields(live, index, fields), texts: textOf(bytes), sees }, range: { where } }
  }
  const bytes = planRange(live, { prefix }).range.from!
  return { selection: { selector: byPrefix(bytes.length), texts: textOf(bytes), sees }, range: { prefix } }
}

const textOf = (bytes: Uint8Array): ReadonlySet<string> => new Set([Buffer.from(bytes).toString('latin1')])

function textsOf({ key: codec }: LiveView, keys: readonly unknown[]): ReadonlySet<string> {
  checkCount(keys.length)
  return new Set(keys.map(key => codec.encode(key).toString('latin1')))
}
