// The port by which everything in projections sees time and lets others run: real here, simulated where a seed decides.

export interface Scheduler {
  /** A monotone clock, milliseconds. */
  nowMs(): number
  /** Resolves when others have had their turn. */
  yield(): Promise<void>
}

/** The process's own clock and event loop. */
export const realScheduler: Scheduler = {
  nowMs: () => performance.now(),
  yield: () => new Promise(resolve => setImmediate(resolve)),
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
