// How old what a source has is: now and then its server is asked where its log ends, and once all up to there is complete, the
// source was level when it was asked. What a stream says of its server is how far the stream has got, not how much is to come.
import type { Positions } from './positions.ts'
import type { Probe } from './technology.ts'

/** How often the server is asked. */
const EVERY_MS = 100
const RETRY_MS = 5_000

export class Level<P> {
  readonly #positions: Positions<P>
  readonly #probe: Pick<Probe<P>, 'position'>
  readonly #onServer: (position: P) => void
  /** Where the server was, and when. */
  #sample: { readonly at: P; readonly atMs: number } | undefined
  #timer: NodeJS.Timeout | undefined
  #asking = false
  #askFromMs = 0
  #complete: P
  #levelMs: number | undefined

  /** @param onServer is told where the server is, each time it is asked */
  constructor(positions: Positions<P>, probe: Pick<Probe<P>, 'position'>, onServer: (position: P) => void) {
    this.#positions = positions
    this.#probe = probe
    this.#onServer = onServer
    this.#complete = positions.origin
  }

  /** Milliseconds since it was level; null before it ever was. */
  get ageMs(): number | null {
    return this.#levelMs === undefined ? null : Math.round(performance.now() - this.#levelMs)
  }

  /** Begins to ask, or begins anew. */
  start(): void {
    this.stop()
    this.#timer = setInterval(() => void this.#ask(), EVERY_MS)
    this.#askFromMs = 0
    void this.#ask()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Where the server was does not count any more. */
  beginAnew(): void {
    this.#sample = undefined
  }

  completeTo(complete: P): void {
    this.#complete = complete
    const sample = this.#sample
    if (sample === undefined || !this.#positions.includes(complete, sample.at)) return
    this.#levelMs = sample.atMs
    this.#sample = undefined
  }

  async #ask(): Promise<void> {
    const atMs = performance.now()
    if (this.#asking || atMs < this.#askFromMs) return
    this.#asking = true
    const position = await this.#probe.position()
    this.#asking = false
    if (position === undefined) {
      this.#askFromMs = atMs + RETRY_MS
      return
    }
    this.#onServer(position)
    this.#sample ??= { at: position, atMs }
    this.completeTo(this.#complete)
  }
}
