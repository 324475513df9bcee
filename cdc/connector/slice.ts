// Node reads a busy socket up to 32 times, 64 KiB each, before anything else gets a turn: tens of milliseconds of decoding
// in which no HTTP request is answered. Whoever decodes asks here whether its slice of the turn is spent, and then pauses.

const SLICE_MS = 3
/** Looking at the clock costs as much as decoding a small column. */
const MESSAGES_PER_LOOK = 16

export class Slice {
  #startMs: number | undefined
  #count = 0
  readonly #onTurn = () => {
    this.#startMs = undefined
  }

  /** True when this turn of the event loop has been used for more than 3 ms. */
  get isSpent(): boolean {
    if (this.#startMs === undefined) {
      this.#startMs = performance.now()
      setImmediate(this.#onTurn)
      return false
    }
    if (++this.#count % MESSAGES_PER_LOOK !== 0) return false
    return performance.now() - this.#startMs > SLICE_MS
  }
}
