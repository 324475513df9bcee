// Ctrl-C and its relatives. The first Ctrl-C ends a running workload and lets the audit come; before that point it ends the
// demo, with everything cleaned up. A second one, later than a second after the first, ends the process at once.

/** A terminal, npm and a bootstrap script may each pass on the same Ctrl-C. */
const DEBOUNCE_MS = 1000
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

export class Interrupted extends Error {
  readonly exitCode: number

  constructor(signal: keyof typeof EXIT_CODES) {
    super(`ended by ${signal}`)
    this.exitCode = EXIT_CODES[signal]
  }
}

export class Interrupts {
  readonly #cancelled = Promise.withResolvers<never>()
  readonly #stopRequested = Promise.withResolvers<void>()
  #stoppable = false
  #firstMs: number | undefined

  constructor() {
    this.#cancelled.promise.catch(() => undefined)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => this.#interrupt(signal))
  }

  /** The outcome of `work`, or Interrupted if a signal comes first. What `work` holds is for the caller to clean up. */
  guard<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#cancelled.promise])
  }

  /** From here on the first Ctrl-C resolves this promise, and cancels nothing. */
  stopRequest(): Promise<void> {
    this.#stoppable = true
    return this.#stopRequested.promise
  }

  #interrupt(signal: keyof typeof EXIT_CODES): void {
    const nowMs = performance.now()
    // Whoever has children or temporary folders removes them when the process exits, at the latest.
    if (this.#firstMs !== undefined && nowMs - this.#firstMs > DEBOUNCE_MS) process.exit(EXIT_CODES[signal])
    if (this.#firstMs !== undefined) return
    this.#firstMs = nowMs
    if (signal === 'SIGINT' && this.#stoppable) this.#stopRequested.resolve()
    else this.#cancelled.reject(new Interrupted(signal))
  }
}
