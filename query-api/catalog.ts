// What the application has and how it is: bodies of the calls about views and sources.
import { type ErrorReport, type ParkedEntry, wireSchema } from '../core/index.ts'
import { keyType, type Reads, type ServedView } from './reads.ts'

export interface ViewSummary {
  readonly name: string
  readonly status: string
  readonly waitingFor: string | null
  readonly key: readonly { readonly name: string; readonly type: string }[]
  readonly rows: number
  readonly position: string
  readonly ageMs: number | null
  readonly final: boolean
  readonly fingerprint: string
  readonly inputs: readonly string[]
  readonly sources: readonly string[]
  readonly indexes: readonly (readonly string[])[]
  readonly progress: { readonly done: number; readonly total: number; readonly recordsPerSecond: number } | null
  readonly error: ErrorReport | null
}

export interface ViewDetail extends ViewSummary {
  /** JSON Schemas of a key and a value as the wire carries them. */
  readonly schema: { readonly key: Record<string, unknown>; readonly value: Record<string, unknown> }
}

export function viewSummary(reads: Reads, { live }: ServedView): ViewSummary {
  const status = live.status()
  return {
    ...status,
    key: live.key.columns.map(column => ({ name: column.name, type: column.type.kind })),
    // A stopped view stands where it stopped; the others are at the cut.
    position: String(status.position),
    ageMs: status.status === 'stopped' ? null : reads.freshness([live]).ageMs,
    final: live.final,
    sources: live.sources,
    indexes: [],
  }
}

export const viewDetail = (reads: Reads, served: ServedView): ViewDetail => ({
  ...viewSummary(reads, served),
  schema: { key: wireSchema(keyType(served.live)), value: wireSchema(served.live.value) },
})

export interface ParkedWire extends Omit<ParkedEntry, 'logPosition'> {
  readonly logPosition: string
}

export const parkedWire = (entries: readonly ParkedEntry[]): readonly ParkedWire[] =>
  entries.map(entry => ({ ...entry, logPosition: String(entry.logPosition) }))
