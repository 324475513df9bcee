// Work in the background that is done when it is asked for: never twice at a time, and once more if it was asked for meanwhile.
import { setImmediate as immediate } from 'node:timers/promises'

export class Reruns {
  readonly #work: () => Promise<void>
  readonly #failed: (error: unknown) => void
  #running: Promise<void> | undefined
  #again = false
  #stopped = false

  /** @param failed told what the work threw, unless it was stopped; it waits for the next `wake` then */
  constructor(work: () => Promise<void>, failed: (error: unknown) => void) {
    this.#work = work
    this.#failed = failed
  }

  get stopped(): boolean {
    return this.#stopped
  }

  wake(): void {
    if (this.#stopped) return
    this.#again = true
    this.#running ??= this.#run()
  }

  /** Resolves when nothing is left to do, or the work failed. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running
  }

  /** Begins nothing more; resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    // Not before the caller goes on: and so never done before `#running` is set.
    await immediate()
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false
        await this.#work()
      }
    } catch (error) {
      if (!this.#stopped) this.#failed(error)
    } finally {
      this.#running = undefined
    }
  }
}
