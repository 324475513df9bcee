// On an idle database a server shows how far it is only when something is written: where somebody waits, it is made to write.

/** After so long of waiting, and then each so often. */
const AFTER_MS = 50
const EVERY_MS = 500

export interface NudgerHost {
  /** Whether somebody still waits. */
  isAwaited(): boolean
  /** Whether what is awaited can only be something that the server has not sent. */
  isIdle(): boolean
  nudge(): Promise<void>
}

export class Nudger {
  readonly #host: NudgerHost
  #timer: NodeJS.Timeout | undefined
  #nudging = false

  constructor(host: NudgerHost) {
    this.#host = host
  }

  /** Somebody begins to wait. */
  start(): void {
    this.#timer ??= setTimeout(() => this.#nudge(), AFTER_MS)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #nudge(): void {
    this.#timer = undefined
    if (!this.#host.isAwaited()) return
    this.#timer = setTimeout(() => this.#nudge(), EVERY_MS)
    this.#timer.unref()
    if (!this.#host.isIdle() || this.#nudging) return
    this.#nudging = true
    void this.#host.nudge().finally(() => {
      this.#nudging = false
    })
  }
}
