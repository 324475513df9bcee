// The port by which everything in projections sees time and lets others run: real here, simulated where a seed decides.

export interface Scheduler {
  /** A monotone clock, milliseconds. */
  nowMs(): number
  /** Resolves when others have had their turn. */
  yield(): Promise<void>
  /** Calls back once, after so many milliseconds; does not keep a process alive. Gives what takes it back. */
  after(ms: number, work: () => void): () => void
}

/** The longest timer there is, rounded down: what is due later rings then. */
export const TIMER_MS_MAX = 2_000_000_000

/** The process's own clock and event loop. */
export const realScheduler: Scheduler = {
  nowMs: () => performance.now(),
  yield: () => new Promise(resolve => setImmediate(resolve)),
  after: (ms, work) => {
    const timer = setTimeout(work, Math.min(TIMER_MS_MAX, Math.max(0, Math.ceil(ms)))).unref()
    return () => clearTimeout(timer)
  },
}

/** Work in turns: others run whenever one has lasted its time. */
export class Turns {
  readonly scheduler: Scheduler
  readonly #ms: number
  #endMs: number

  /** @param ms longest run without a yield; 0 yields whenever it is asked */
  constructor(scheduler: Scheduler, ms: number) {
    this.scheduler = scheduler
    this.#ms = ms
    this.#endMs = scheduler.nowMs() + ms
  }

  /** Whether it is time for others. */
  get over(): boolean {
    return this.scheduler.nowMs() > this.#endMs
  }

  /** Lets others run, and begins a turn. */
  async next(): Promise<void> {
    await this.scheduler.yield()
    this.#endMs = this.scheduler.nowMs() + this.#ms
  }
}

/** Resolves after so many milliseconds. @throws the signal's reason */
export async function rest(scheduler: Scheduler, ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const takeBack = scheduler.after(ms, resolve)
  const aborted = () => reject(signal.reason)
  signal.addEventListener('abort', aborted)
  try {
    await promise
  } finally {
    takeBack()
    signal.removeEventListener('abort', aborted)
  }
}
