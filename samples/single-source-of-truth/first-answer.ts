// Asks for one row, as a user would who cannot wait, and takes note of when it first answers.
import { setTimeout as wait } from 'node:timers/promises'
import { fetchJson } from './audit.ts'

const POLL_MS = 50

export class FirstAnswer {
  /** Milliseconds on the clock of `performance.now`, null before there was an answer. */
  answeredAtMs: number | null = null
  /** The same for the first answer that said it was final: all snapshots are complete. */
  finalAtMs: number | null = null
  readonly #stop = new AbortController()

  /** Asks until an answer is final. `onAnswer` gets the first one and the first final one. */
  async ask(url: string, onAnswer: (which: 'first' | 'final', answer: unknown) => void): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const answer = await fetchJson<{ readonly final: boolean }>(url).catch(() => undefined)
      const nowMs = performance.now()
      if (answer !== undefined && this.answeredAtMs === null) {
        this.answeredAtMs = nowMs
        onAnswer('first', answer)
      }
      if (answer?.final === true) {
        this.finalAtMs = nowMs
        onAnswer('final', answer)
        return
      }
      await wait(POLL_MS)
    }
  }

  stop(): void {
    this.#stop.abort()
  }
}
