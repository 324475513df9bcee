// The demo's figures, as its last line with --json has them. The first twelve names are fixed for all who read that line.
import type { ApplicationState } from './application-state.ts'
import type { Chaos } from './chaos.ts'
import { count } from './demo-display.ts'
import type { WorkloadCounts } from './workload.ts'

export interface DemoReport {
  readonly rowsCompared: number
  readonly differences: number
  readonly corruptedRowFound: boolean
  /** Rows that the workload changed in the databases, by kind. */
  readonly inserts: number
  readonly updates: number
  readonly deletes: number
  readonly keyChanges: number
  readonly multiTableTransactions: number
  readonly kills: number
  /** Of both sources together, by the clock; under chaos of the last snapshots that were not interrupted. */
  readonly snapshotRowsPerSecond: number
  /**
   * From commit to visible in every view, as the application measures it, over the last ten to twenty seconds of the
   * workload; under chaos by its last process, so that its way back is part of it.
   */
  readonly lagP50Ms: number | null
  readonly lagP99Ms: number | null
  readonly changesPerSecond: number
  readonly snapshotRows: number
  readonly snapshotSeconds: number
  /** From the demo's start, servers and their filling included, until a GET of one row answered. */
  readonly secondsToFirstAnswer: number | null
  /** The same until the answer was final: all snapshots complete. */
  readonly secondsToFinalAnswer: number | null
  /** From the workload's end until the views showed all of it. */
  readonly levelMs: number
  readonly killsByPhase: Readonly<Record<string, number>>
  /** From a restart until every source streamed again, at most. */
  readonly recoverySecondsMax: number | null
  /** Of the whole demo so far. */
  readonly seconds: number
}

export type AuditOutcome = Pick<DemoReport, 'rowsCompared' | 'differences' | 'corruptedRowFound' | 'levelMs'>

export interface Measured {
  readonly lag: { readonly p50Ms: number | null; readonly p99Ms: number | null }
  readonly changesPerSecond: number
  readonly secondsToFirstAnswer: number | null
  readonly secondsToFinalAnswer: number | null
  readonly seconds: number
}

export function createReport(
  outcome: AuditOutcome,
  counts: WorkloadCounts,
  measured: Measured,
  state: ApplicationState | undefined,
  chaos: Chaos | undefined,
): DemoReport {
  const { inserts, updates, deletes, keyChanges, multiTableTransactions } = counts
  const { rows: snapshotRows, seconds: snapshotSeconds } = state?.snapshot ?? { rows: 0, seconds: 0 }
  return {
    rowsCompared: outcome.rowsCompared,
    differences: outcome.differences,
    corruptedRowFound: outcome.corruptedRowFound,
    inserts,
    updates,
    deletes,
    keyChanges,
    multiTableTransactions,
    kills: chaos?.total ?? 0,
    snapshotRowsPerSecond: snapshotSeconds > 0 ? Math.round(snapshotRows / snapshotSeconds) : 0,
    lagP50Ms: rounded(measured.lag.p50Ms),
    lagP99Ms: rounded(measured.lag.p99Ms),
    changesPerSecond: Math.round(measured.changesPerSecond),
    snapshotRows,
    snapshotSeconds: rounded(snapshotSeconds),
    secondsToFirstAnswer: rounded(measured.secondsToFirstAnswer),
    secondsToFinalAnswer: rounded(measured.secondsToFinalAnswer),
    levelMs: outcome.levelMs,
    killsByPhase: { ...chaos?.kills },
    recoverySecondsMax: rounded(chaos?.recoverySecondsMax ?? null),
    seconds: rounded(measured.seconds),
  }
}

export function reportLines(report: DemoReport): string[] {
  const { inserts, updates, deletes, keyChanges, kills, killsByPhase, multiTableTransactions } = report
  const phases = Object.entries(killsByPhase).map(([phase, times]) => `${phase} ${times}`)
  return [
    `changes: ${count(inserts)} inserts, ${count(updates)} updates, ${count(deletes)} deletes, ${count(keyChanges)} key changes; ` +
      `${count(multiTableTransactions)} transactions over several tables; ${count(report.changesPerSecond)} changes/s`,
    `snapshot ${count(report.snapshotRowsPerSecond)} rows/s; commit → visible p50 ${report.lagP50Ms ?? '–'} ms, p99 ${report.lagP99Ms ?? '–'} ms`,
    ...(kills > 0
      ? [`kills ${kills}: ${phases.join(', ')}; streaming again after ${report.recoverySecondsMax} s at most`]
      : []),
  ]
}

function rounded(value: number): number
function rounded(value: number | null): number | null
function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 100) / 100
}
