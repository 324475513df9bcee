// How far long work is: one line on standard error that moves, where there is a terminal to move in, once it takes a while.
import { progressBar } from '../run-display.ts'

const SHOWN_FROM_MS = 500
const EVERY_MS = 200

export class Progress {
  readonly #startedMs = performance.now()
  readonly #unit: (perSecond: number) => string
  #shownMs = 0

  /** @param unit what a rate reads as */
  constructor(unit: (perSecond: number) => string) {
    this.#unit = unit
  }

  show(done: number, total: number): void {
    const nowMs = performance.now()
    if (!process.stderr.isTTY || nowMs - this.#startedMs < SHOWN_FROM_MS || nowMs - this.#shownMs < EVERY_MS) return
    this.#shownMs = nowMs
    const perSecond = this.perSecond(done)
    process.stderr.write(`\r\x1b[K  ${progressBar(done, total, perSecond)}  ${this.#unit(perSecond)}`)
  }

  perSecond(done: number): number {
    return (done * 1_000) / Math.max(performance.now() - this.#startedMs, 1)
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shownMs > 0) process.stderr.write('\r\x1b[K')
    this.#shownMs = 0
  }
}
