// Work that runs in the background, one at a time, and says how it goes: what operators start over HTTP and ask about.
import { asMainstemError, type ErrorReport, fail, type MainstemError, reportOf } from './errors.ts'

export interface JobStatus<R, P> {
  readonly state: 'idle' | 'running' | 'done' | 'failed'
  /** While it runs, from when it is known. */
  readonly progress: P | null
  /** Of the last one that ended well. */
  readonly report: R | null
  /** Why the last one failed. */
  readonly error: ErrorReport | null
}

/** What work is given. */
export interface JobContext<P> {
  /** Its reason is what the work is to throw. */
  readonly signal: AbortSignal
  progress(progress: P): void
}

/** @typeParam R what it reports · P what it tells while it runs */
export class Job<R, P> {
  /** For errors: `an audit`. */
  readonly #what: string
  #running: Promise<void> | undefined
  #abort = new AbortController()
  #stopped = false
  #progress: P | null = null
  #report: R | null = null
  #error: ErrorReport | null = null

  constructor(what: string) {
    this.#what = what
  }

  /** @throws SHUTTING_DOWN after `stop` */
  checkOpen(): void {
    if (this.#stopped) throw shuttingDown()
  }

  /** @throws OVERLOADED while one runs */
  checkFree(): void {
    if (this.#running) throw fail('OVERLOADED', `${this.#what} is running`, { hint: 'wait until it has ended' })
  }

  /** Begins, and forgets the one before. @throws OVERLOADED while one runs, SHUTTING_DOWN */
  start(work: (context: JobContext<P>) => Promise<R>): JobStatus<R, P> {
    this.checkOpen()
    this.checkFree()
    this.#progress = this.#report = this.#error = null
    this.#abort = new AbortController()
    const { signal } = this.#abort
    this.#running = work({
      signal,
      progress: progress => {
        this.#progress = progress
      },
    })
      .then(
        report => {
          this.#report = report
        },
        error => {
          // What fails because of the end of the work fails for the reason of that end.
          this.#error = reportOf(asMainstemError(signal.aborted ? signal.reason : error))
        },
      )
      .finally(() => {
        this.#running = undefined
        this.#progress = null
      })
    return this.status()
  }

  status(): JobStatus<R, P> {
    const ended = this.#error ? 'failed' : this.#report ? 'done' : 'idle'
    return {
      state: this.#running ? 'running' : ended,
      progress: this.#progress,
      report: this.#report,
      error: this.#error,
    }
  }

  /** Resolves when none runs. */
  async ended(): Promise<void> {
    await this.#running
  }

  /** Ends a running one; false where none runs. */
  cancel(reason: MainstemError): boolean {
    if (!this.#running) return false
    this.#abort.abort(reason)
    return true
  }

  /** Ends a running one, and takes no more. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.cancel(shuttingDown())
    await this.#running
  }
}

const shuttingDown = () => fail('SHUTTING_DOWN', 'the application is shutting down')
