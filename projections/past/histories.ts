// What a key's row was after each transaction that reached it, as the last read of its past found it: the next read of the same
// key, at any earlier place, folds nothing.
import type { AnyRow } from '../../core/index.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'
import type { EvaluationObserver } from './evaluation.ts'

/** Rows of one key that are kept; a longer history is folded each time. */
const ROWS_PER_KEY_MAX = 4_096
/** Rows of all keys. */
const ROWS_MAX = 65_536

export interface History {
  /** Ends of transactions, ascending, and the row after each. */
  readonly ends: readonly number[]
  readonly rows: readonly (AnyRow | undefined)[]
}

interface Kept extends History {
  /** Position up to which it is whole. */
  readonly upTo: number
}

export class Histories {
  /** The least recently used first. */
  readonly #kept = new Map<string, Kept>()
  #rows = 0

  /** The row at a cut; undefined where that is not known. */
  at(view: string, id: KeyId, cut: number): { readonly row: AnyRow | undefined } | undefined {
    const name = nameOf(view, id)
    const kept = this.#kept.get(name)
    if (kept === undefined || kept.upTo < cut) return undefined
    this.#kept.delete(name)
    this.#kept.set(name, kept)
    return { row: kept.rows[kept.ends.findLastIndex(end => end <= cut)] }
  }

  keep(view: string, id: KeyId, upTo: number, { ends, rows }: History): void {
    if (rows.length > ROWS_PER_KEY_MAX) return
    const name = nameOf(view, id)
    this.#forget(name)
    this.#kept.set(name, { ends, rows, upTo })
    this.#rows += rows.length + 1
    for (const oldest of this.#kept.keys()) {
      if (this.#rows <= ROWS_MAX) return
      this.#forget(oldest)
    }
  }

  #forget(name: string): void {
    const kept = this.#kept.get(name)
    if (kept === undefined) return
    this.#kept.delete(name)
    this.#rows -= kept.rows.length + 1
  }
}

const nameOf = (view: string, id: KeyId): string => `${view} ${typeof id} ${id}`

/** Notes the row of one key after each transaction that was folded. */
export class HistoryObserver implements EvaluationObserver, History {
  readonly view: string
  readonly #key: unknown
  #folded!: FoldedView
  #position = 0
  readonly ends: number[] = []
  readonly rows: (AnyRow | undefined)[] = []

  constructor(view: string, key: unknown) {
    this.view = view
    this.#key = key
  }

  begin(view: FoldedView): void {
    this.#folded = view
  }

  goes(): void {}

  folded({ position }: { readonly position: number }): void {
    this.#position = position
  }

  ended(): void {
    if (this.ends.length > ROWS_PER_KEY_MAX) return
    // Of its last record that was folded: the transaction's own end may be later, and nothing of the row is in between.
    this.ends.push(this.#position)
    this.rows.push(this.#folded.get(this.#key))
  }
}
