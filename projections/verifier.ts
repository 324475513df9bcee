// Verification: folds the log once more, up to a cut, into rows of its own, and compares them with the live ones as they are at
// that cut. Live views go on: both take turns, and live rows are read before they change. What it takes of memory is half of
// what the live views leave; one that does not fit is not verified, and the others are.
import { type ErrorReport, fail, Job, type JobStatus, type Log, type MainstemError } from '../core/index.ts'
import type { ApplicationParts } from './application.ts'
import type { RowDifference } from './compare-rows.ts'
import type { Progress } from './engine.ts'
import { Refold } from './refold.ts'
import type { CutRows } from './rows-at-cut.ts'
import type { Scheduler, Turns } from './shards/scheduler.ts'
import type { StateMemory } from './state/memory.ts'
import { unknownView } from './unknown-view.ts'
import type { FoldedView } from './view.ts'

export interface VerifiedView {
  readonly view: string
  /** Null where it could not be verified: `error` says why. */
  readonly equal: boolean | null
  /** Live rows at the cut. */
  readonly rows: number
  /** 16 hex digits: of all rows, whatever their order, as checkpoints have it. Null where not verified. */
  readonly hash: string | null
  readonly refoldedHash: string | null
  /** Keys whose rows differ. */
  readonly differences: number
  /** Dead letters that differ, or that only one side has. */
  readonly deadLetterDifferences: number
  /** Of the smallest key in order of key bytes. */
  readonly first:
    | (RowDifference & {
        /** Of the last record that went to the key; null where that cannot be told. */ readonly lastRecord:
          | number
          | null
      })
    | null
  readonly error: ErrorReport | null
}

export interface VerifyReport {
  /** The cut. */
  readonly position: number
  /** Records folded for all views. */
  readonly records: number
  readonly seconds: number
  readonly views: readonly VerifiedView[]
}

export type VerifyStatus = JobStatus<VerifyReport, Progress>

/** Rows of live views, all of one cut. */
export interface RowsOfCut {
  readonly position: number
  /** By view; those that have stopped have none. */
  readonly rows: ReadonlyMap<string, CutRows>
}

/** What a second fold needs of the engine whose views it folds. */
export interface RefoldHost {
  readonly log: Log
  readonly parts: ApplicationParts
  readonly folded: readonly FoldedView[]
  readonly memory: StateMemory
  readonly scheduler: Scheduler
  readonly sliceMs: number
  waitFor(position: number, signal: AbortSignal): Promise<void>
  /**
   * The rows of views as they are at the next cut.
   * @param refolded the same views, folded anew, by whose keys they are told · @param atCut called at the cut
   */
  rowsAtCut(
    views: readonly FoldedView[],
    refolded: readonly FoldedView[],
    turns: Turns,
    atCut: () => void,
  ): Promise<RowsOfCut>
}

export class Verifier {
  readonly #host: RefoldHost
  readonly #job = new Job<VerifyReport, Progress>('a verification')
  #refold: Refold | undefined

  constructor(host: RefoldHost) {
    this.#host = host
  }

  /**
   * Begins a verification; `status` tells how it goes.
   * @param names of views; undefined: all
   * @throws VIEW_UNKNOWN, VIEW_STOPPED where all have, OVERLOADED while another one runs, SHUTTING_DOWN
   */
  start(names?: readonly string[]): VerifyStatus {
    this.#job.checkOpen()
    const all = this.#host.folded.map(view => view.name)
    const unknown = names?.find(name => !all.includes(name))
    if (unknown !== undefined) throw unknownView(unknown, all)
    if (all.length > 0 && this.#host.folded.every(view => view.error))
      throw fail('VIEW_STOPPED', 'every view has stopped', { hint: 'GET /v1/views says why' })
    this.#job.start(async ({ signal }) => {
      const refold = new Refold(this.#host, { names: [...new Set(names ?? all)], signal })
      this.#refold = refold
      try {
        return await refold.run()
      } finally {
        refold.end()
        this.#refold = undefined
      }
    })
    return this.status()
  }

  status(): VerifyStatus {
    return { ...this.#job.status(), progress: this.#refold?.progress() ?? null }
  }

  /** Ends a running one: the live views do not go on. */
  cancel(reason: MainstemError): void {
    this.#job.cancel(reason)
  }

  /** Ends a running one, and takes no more. */
  stop(): Promise<void> {
    return this.#job.stop()
  }
}
