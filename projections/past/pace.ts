// Work that takes turns with everything else: no longer run than a slice, and ended when nobody wants it any more.
import { type Scheduler, Turns } from '../shards/scheduler.ts'

export class Pace {
  readonly #turns: Turns
  readonly #signal: AbortSignal | undefined

  /** @param sliceMs longest run without a yield */
  constructor(scheduler: Scheduler, sliceMs: number, signal?: AbortSignal) {
    this.#turns = new Turns(scheduler, sliceMs)
    this.#signal = signal
  }

  /** Whether the slice is over: `if (pace.due) await pace.rest()`. */
  get due(): boolean {
    return this.#turns.over
  }

  /** @throws the signal's reason, where nobody wants the work any more */
  check(): void {
    this.#signal?.throwIfAborted()
  }

  /** Lets others run. @throws the signal's reason */
  async rest(): Promise<void> {
    this.check()
    await this.#turns.next()
    this.check()
  }
}
