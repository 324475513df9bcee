// Keeps whoever reads rows from taking the event loop for long, or the server for more than it is given.
import { Slice } from './slice.ts'
import type { ChunkReader } from './technology.ts'

/** It is not worth a timer to be so little early. */
const EARLY_MS = 5
const ROWS_PER_LOOK = 64

export class Pace {
  readonly #reader: Pick<ChunkReader, 'pause' | 'resume'>
  readonly #rowsPerMs: number
  readonly #slice = new Slice()
  readonly #startedMs = performance.now()
  #rows = 0
  #resting = false

  /** @param rowsPerSecondMax undefined: as many as come */
  constructor(reader: Pick<ChunkReader, 'pause' | 'resume'>, rowsPerSecondMax: number | undefined) {
    this.#reader = reader
    this.#rowsPerMs = (rowsPerSecondMax ?? Number.POSITIVE_INFINITY) / 1_000
  }

  /** A row was taken: lets others have the event loop when its turn is spent, and waits when it is early. */
  row(): void {
    this.#rows++
    if (this.#resting) return
    const earlyMs = this.#rows % ROWS_PER_LOOK === 0 ? this.#earlyMs : 0
    if (earlyMs > EARLY_MS) this.#rest(readOn => setTimeout(readOn, earlyMs))
    else if (this.#slice.isSpent) this.#rest(setImmediate)
  }

  get #earlyMs(): number {
    return this.#startedMs + this.#rows / this.#rowsPerMs - performance.now()
  }

  #rest(until: (readOn: () => void) => void): void {
    this.#resting = true
    this.#reader.pause()
    until(() => {
      this.#resting = false
      this.#reader.resume()
    })
  }
}
