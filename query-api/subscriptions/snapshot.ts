// The rows with which a subscription begins.
import type { AnyRow } from '../../core/index.ts'
import { copyValue } from '../json-writer.ts'
import type { Reads, ServedView } from '../reads.ts'
import type { RowFilter } from '../security/viewer.ts'
import { BY_KEY, type Selection } from './selection.ts'

/** What a client wants to be told of. */
export interface Wanted {
  readonly selection: Selection
  readonly keys: readonly unknown[]
}

export interface SnapshotRow {
  readonly key: unknown
  readonly value: AnyRow
}

export interface Snapshot {
  /** The cut of the first rows: changes after it are told. */
  readonly position: number
  readonly rows: readonly SnapshotRow[]
}

/** Rows of some keys. */
export function wantedKeys({ live }: ServedView, keys: readonly unknown[], sees: RowFilter | undefined): Wanted {
  const texts = new Set(keys.map(key => live.key.encode(key).toString('latin1')))
  return { selection: { selector: BY_KEY, texts, sees }, keys }
}

/** @throws VIEW_STOPPED, VIEW_REBUILDING */
export async function snapshotOf(reads: Reads, { live }: ServedView, { keys, selection }: Wanted): Promise<Snapshot> {
  // Whoever asks is known to the selection.
  const { position, rows } = await reads.read(
    keys.map(key => ({ view: live.name, key })),
    undefined,
  )
  const { sees } = selection
  const there = keys.flatMap((key, n) => {
    const value = rows[n]
    return value === undefined || (sees && !sees(value, key))
      ? []
      : [{ key, value: copyValue(live.value, value) as AnyRow }]
  })
  return { position, rows: there }
}
