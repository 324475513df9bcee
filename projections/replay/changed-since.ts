// The rows of a live view that have changed since a cut, as they were there: of views that fold views, whose rows may come to differ
// after they were compared, by what rows that differ pass on. To be made at a cut.
import { asMainstemError, ByteWriter, type MainstemError } from '../../core/index.ts'
import { storedRow } from '../rows-at-cut.ts'
import { LIVE } from '../state/changes.ts'
import type { KeyId } from '../state/keys.ts'
import type { FoldedView } from '../view.ts'

export class ChangedSince {
  readonly #view: FoldedView
  readonly #writer = new ByteWriter()
  readonly #rows = new Map<KeyId, Buffer | undefined>()
  readonly #unwatch: () => void
  #error: MainstemError | undefined

  constructor(view: FoldedView) {
    this.#view = view
    this.#unwatch = view.changes.watch(row => this.#beforeWrite(row))
  }

  #beforeWrite(row: number): void {
    const { table } = this.#view
    try {
      const id = table.idOf(row)
      // Else a copy of a row.
      if (Number.isNaN(id) || this.#rows.has(id) || table.find(id) !== row) return
      const wasThere = (table.flags(row) & LIVE) !== 0
      this.#rows.set(id, wasThere ? storedRow(this.#view, row, this.#writer) : undefined)
    } catch (error) {
      // Never into the fold that is about to change it.
      this.#error ??= asMainstemError(error)
    }
  }

  /** By key: as checkpoints store it; undefined where there was none. @throws why one could not be had */
  rows(): ReadonlyMap<KeyId, Buffer | undefined> {
    if (this.#error) throw this.#error
    return this.#rows
  }

  end(): void {
    this.#unwatch()
    this.#rows.clear()
  }
}
