// The lines of `mainstem run --json`, one event each.
import type { Progress } from '../../projections/index.ts'
import type { ApplicationEvent } from '../open-application.ts'

/** What `run` says, once a second and at its end, besides the application's own events. */
export type RunEvent = ApplicationEvent | StatusEvent | { readonly event: 'stopping' } | { readonly event: 'stopped' }

export interface StatusEvent {
  readonly event: 'status'
  /** Changes read from all sources since the start. */
  readonly changes: number
  readonly logEnd: number
  readonly position: number
  readonly recordsPerSecond: number
  /** Of what the start had to catch up with; null when that is done. */
  readonly progress: Progress | null
  /** Commit → visible, of the last seconds; null before the first transaction. */
  readonly lagP50Ms: number | null
  readonly lagP99Ms: number | null
  /** The same since the start. */
  readonly totalLagP50Ms: number | null
  readonly totalLagP99Ms: number | null
  readonly sources: readonly { readonly name: string; readonly state: string; readonly position: string | null }[]
}
