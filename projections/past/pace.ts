// Work that takes turns with everything else: no longer run than a slice, and ended when nobody wants it any more.
import { yieldToEventLoop } from '../checkpoint.ts'

export class Pace {
  readonly #sliceMs: number
  readonly #signal: AbortSignal | undefined
  #endMs: number

  constructor(sliceMs: number, signal?: AbortSignal) {
    this.#sliceMs = sliceMs
    this.#signal = signal
    this.#endMs = performance.now() + sliceMs
  }

  /** Whether the slice is over: `if (pace.due) await pace.rest()`. */
  get due(): boolean {
    return performance.now() >= this.#endMs
  }

  /** @throws the signal's reason, where nobody wants the work any more */
  check(): void {
    this.#signal?.throwIfAborted()
  }

  /** Lets others run. @throws the signal's reason */
  async rest(): Promise<void> {
    this.check()
    await yieldToEventLoop()
    this.check()
    this.#endMs = performance.now() + this.#sliceMs
  }
}
