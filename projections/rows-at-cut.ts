// The rows of a live view as they are at one cut, read while folding goes on: a row that is about to change is read first.
// To be made at a cut; needs no copy of what does not change meanwhile.
import { asMainstemError, ByteWriter, type MainstemError } from '../core/index.ts'
import type { DeadLetter } from './skip/dead-letters.ts'
import { LIVE } from './state/changes.ts'
import type { KeyId } from './state/keys.ts'
import type { FoldedView } from './view.ts'

/** Takes a row as it is stored. */
export type TakeRow = (id: KeyId, stored: Buffer) => void

/** The rows of a live view at one cut, for one who takes each of them once. */
export interface CutRows {
  /** Why the rows cannot be had. */
  readonly error: MainstemError | undefined
  /** Who takes the rows from now on; those that were read before come first. */
  takenBy(take: TakeRow): void
  /** Dead letters at the cut, once `each` has ended; undefined where the view skips nothing. */
  readonly letters: readonly DeadLetter[] | undefined
  /** Gives all that are left. @param turn lets others run when it is their turn */
  each(turn: () => Promise<void>): Promise<void>
  end(): void
}

export class RowsAtCut implements CutRows {
  readonly #view: FoldedView
  readonly #writer = new ByteWriter()
  readonly #end: number
  /** Places beyond `#next` that have been read. */
  readonly #read = new Set<number>()
  /** What had to be read before anybody took it. */
  #early: { readonly id: KeyId; readonly stored: Buffer }[] = []
  #take: TakeRow = (id, stored) => void this.#early.push({ id, stored })
  #next = 0
  readonly #unwatch: () => void
  readonly letters: readonly DeadLetter[] | undefined
  /** Why the rows cannot be had: one is not of its type. */
  error: MainstemError | undefined

  constructor(view: FoldedView) {
    this.#view = view
    this.#end = view.table.places
    this.letters = view.deadLetters?.list()
    this.#unwatch = view.changes.watch(row => this.#beforeWrite(row))
  }

  #beforeWrite(row: number): void {
    if (row < this.#next || row >= this.#end || this.#read.has(row)) return
    this.#read.add(row)
    this.#readRow(row)
  }

  #readRow(row: number): void {
    try {
      const id = idAt(this.#view, row)
      if (id !== undefined) this.#take(id, storedRow(this.#view, row, this.#writer))
    } catch (error) {
      // Never into the fold that is about to change it.
      this.error ??= asMainstemError(error)
    }
  }

  /** Who takes the rows from now on; those that were read before come first. */
  takenBy(take: TakeRow): void {
    this.#take = take
    for (const { id, stored } of this.#early.splice(0)) take(id, stored)
  }

  /** Reads the next place; false when there is none. Not to be called once the view has stopped. */
  step(): boolean {
    if (this.#next >= this.#end) return false
    const row = this.#next++
    if (!this.#read.delete(row)) this.#readRow(row)
    return true
  }

  async each(turn: () => Promise<void>): Promise<void> {
    // A view that stops lets its rows go.
    while (!this.#view.error && this.step()) await turn()
  }

  end(): void {
    this.#unwatch()
  }
}

/** The rows of views that are in this thread, as they are now: to be called at a cut. */
export const rowsNow = (views: readonly FoldedView[]): ReadonlyMap<string, CutRows> =>
  new Map(views.flatMap(view => (view.error ? [] : [[view.name, new RowsAtCut(view)] as const])))

/** The key of the row that is there for readers at a place; undefined where none is: a free place, or a copy of a row. */
export function idAt({ table }: FoldedView, row: number): KeyId | undefined {
  if ((table.flags(row) & LIVE) === 0) return undefined
  const id = table.idOf(row)
  return !Number.isNaN(id) && table.find(id) === row ? id : undefined
}

/** A row as checkpoints store it: its support, and all its fields. */
export function storedRow({ table, codec }: FoldedView, row: number, writer: ByteWriter): Buffer {
  writer.at = 0
  writer.varint(table.support(row))
  codec.encode(writer, table.toStored(row))
  return writer.copy()
}
