// Which sources' snapshots are complete, as records of the system topic say. What a transaction says of them is true at its end.
import type { AnyRow } from '../../core/index.ts'

export class Completeness {
  readonly #complete = new Set<string>()
  /** Source → when the end of its snapshot was folded here, microseconds since 1970. */
  readonly #sinceUs = new Map<string, number>()
  /** In the order of the log; of the running transaction, and of those that several passes have not ended yet. */
  readonly #said: { readonly source: string; readonly complete: boolean; readonly position: number }[] = []

  /** @param complete sources whose snapshot is complete */
  begin(complete: Iterable<string>): void {
    this.#complete.clear()
    for (const source of complete) this.#complete.add(source)
  }

  has(source: string): boolean {
    return this.#complete.has(source)
  }

  get sources(): readonly string[] {
    return [...this.#complete]
  }

  /** When a source became complete while this process ran; 0 where it was before. */
  sinceUs(source: string): number {
    return this.#sinceUs.get(source) ?? 0
  }

  /** Takes a record of the system topic. */
  fold(value: AnyRow | null, position: number): void {
    const source = String(value?.['source'])
    if (value?.['event'] === 'snapshot-started') this.#said.push({ source, complete: false, position })
    if (value?.['event'] === 'snapshot-ended') this.#said.push({ source, complete: true, position })
  }

  /** All transactions up to a position have ended. */
  endTransaction(position: number): void {
    while (this.#said.length > 0 && this.#said[0]!.position <= position) {
      const { source, complete } = this.#said.shift()!
      if (!complete) this.#complete.delete(source)
      else if (!this.#complete.has(source)) {
        this.#complete.add(source)
        this.#sinceUs.set(source, Date.now() * 1_000)
      }
    }
  }
}
