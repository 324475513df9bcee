// What the application has and how it is: bodies of the calls about views and sources.
import { type ErrorReport, type Log, type LogStatus, wireSchema } from '../core/index.ts'
import type { ContinuedFrom, IndexStatus, Progress, ViewCheckpointStatus, ViewPlan } from '../projections/index.ts'
import { keyType, type Reads, type ServedView, type SourcePositions } from './reads.ts'
import type { Viewer } from './security/viewer.ts'

export interface ViewSummary {
  readonly name: string
  readonly status: string
  readonly waitingFor: string | null
  readonly key: readonly { readonly name: string; readonly type: string }[]
  /** Null for whom a policy hides rows: how many there are would tell of them. */
  readonly rows: number | null
  /** What its rows and their index take in memory; null as `rows`. */
  readonly stateBytes: number | null
  readonly position: string
  readonly ageMs: number | null
  readonly final: boolean
  readonly fingerprint: string
  readonly inputs: readonly string[]
  readonly sources: readonly string[]
  /** Those that are declared. */
  readonly indexes: readonly IndexStatus[]
  readonly progress: Progress | null
  readonly plan: Omit<ViewPlan, 'view' | 'from'> & { readonly from: string }
  readonly continued: readonly (Omit<ContinuedFrom, 'position' | 'replayedFrom'> & {
    readonly position: string
    readonly replayedFrom?: string
  })[]
  /** What it has skipped; null where the first error stops it. */
  readonly deadLetters: { readonly count: number; readonly total: number } | null
  readonly checkpoint: (Omit<ViewCheckpointStatus, 'position'> & { readonly position: string }) | null
  readonly error: ErrorReport | null
}

export interface ViewDetail extends ViewSummary {
  /** Source → its own position (an LSN, a GTID) up to which the view has it. */
  readonly sourcePositions: SourcePositions
  /** JSON Schemas of a key and a value as the wire carries them. */
  readonly schema: { readonly key: Record<string, unknown>; readonly value: Record<string, unknown> }
}

/** @param viewer who asks; undefined: whoever may see all */
export function viewSummary(reads: Reads, { live }: ServedView, viewer: Viewer | undefined): ViewSummary {
  const status = live.status()
  // Of rows that are hidden nothing is told, but to who operates the application.
  const hides = viewer !== undefined && live.policy !== undefined && !viewer.allows('metrics')
  const { error } = status
  return {
    ...status,
    key: live.key.columns.map(column => ({ name: column.name, type: column.type.kind })),
    // A stopped view stands where it stopped; the others are at the cut.
    position: String(status.position),
    plan: { ...status.plan, from: String(status.plan.from) },
    continued: status.continued.map(({ replayedFrom, ...each }) => ({
      ...each,
      position: String(each.position),
      ...(replayedFrom === undefined ? {} : { replayedFrom: String(replayedFrom) }),
    })),
    checkpoint: status.checkpoint && { ...status.checkpoint, position: String(status.checkpoint.position) },
    ageMs: status.status === 'stopped' ? null : reads.freshness([live]).ageMs,
    final: live.final,
    sources: live.sources,
    ...(hides && {
      rows: null,
      stateBytes: null,
      progress: null,
      error: error && { code: error.code, message: 'the view has stopped' },
      indexes: status.indexes.map(index => ({ ...index, bytes: 0, progress: null, error: null })),
    }),
  }
}

export const viewDetail = async (
  reads: Reads,
  served: ServedView,
  viewer: Viewer | undefined,
): Promise<ViewDetail> => ({
  ...viewSummary(reads, served, viewer),
  sourcePositions: await reads.sourcePositions([served.live], served.live.status().position),
  schema: { key: wireSchema(keyType(served.live)), value: wireSchema(served.live.value) },
})

/** The log, and its topics in the order in which they came. */
export interface LogWire {
  /** UUID of the data folder. */
  readonly id: string
  readonly state: LogStatus['state']
  readonly end: string
  readonly bytes: number
  readonly segments: number
  readonly topics: readonly {
    readonly name: string
    readonly kind: 'topic' | 'table'
    readonly key: readonly string[]
    /** Of its contract. */
    readonly version: number
  }[]
}

export function logWire(log: Log): LogWire {
  const { state, end, bytes, segments } = log.status()
  const topics = log.topics().map(({ name, contract: { kind, key, version } }) => {
    return { name, kind, key: key.columns.map(column => column.name), version }
  })
  return { id: log.id, state, end: String(end), bytes, segments, topics }
}
