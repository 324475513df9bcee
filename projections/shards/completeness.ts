// Which sources' snapshots are complete, as records of the system topic say. What a transaction says of them is true at its end.
import type { AnyRow } from '../../core/index.ts'

export class Completeness {
  readonly #complete: Set<string>
  /** Source → when the end of its snapshot was folded here, microseconds since 1970. */
  readonly #sinceUs = new Map<string, number>()
  readonly #said: { readonly source: string; readonly complete: boolean }[] = []

  constructor(complete: Iterable<string> = []) {
    this.#complete = new Set(complete)
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
  fold(value: AnyRow | null): void {
    const source = String(value?.['source'])
    if (value?.['event'] === 'snapshot-started') this.#said.push({ source, complete: false })
    if (value?.['event'] === 'snapshot-ended') this.#said.push({ source, complete: true })
  }

  /** Ends the transaction that said so. */
  endTransaction(): void {
    for (const { source, complete } of this.#said.splice(0)) {
      if (!complete) this.#complete.delete(source)
      else {
        this.#complete.add(source)
        this.#sinceUs.set(source, Date.now() * 1_000)
      }
    }
  }
}
