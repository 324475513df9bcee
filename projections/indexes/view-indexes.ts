// The orders in which one view's rows are kept: those that are declared, and that of keys once it has been asked for.
// Folding only notes which rows have changed, once each (`Changes`); whoever has the time applies them (`step`), in any order, since
// an index is told where a row belongs now and finds by itself where it stood. Building one is the same for all places.
// Guarantees: where no row waits, an index has each row as readers see it.
import { asMainstemError, type ErrorReport, fail, type MainstemError, reportOf } from '../../core/index.ts'
import type { StaleRows } from '../state/changes.ts'
import type { StateMemory } from '../state/memory.ts'
import { RowList } from '../state/row-list.ts'
import type { FoldedView } from '../view.ts'
import { FieldIndex, KeyOrderIndex, type RowIndex } from './row-index.ts'

/** Stands for the order of keys where an index is named by its number. */
export const KEY_ORDER = -1

export interface IndexProgress {
  /** Places of rows that have been looked at. */
  readonly done: number
  readonly total: number
}

/** How one declared index is in a shard, as plain data. */
export interface IndexFacts {
  /** While it is built; null afterwards. */
  readonly progress: IndexProgress | null
  readonly bytes: number
  /** Why it cannot be had; the view goes on without it. */
  readonly error: ErrorReport | null
}

/** Of one index in several shards. */
export function allFacts(parts: readonly IndexFacts[]): IndexFacts {
  const building = parts.flatMap(({ progress }) => progress ?? [])
  const sum = (of: keyof IndexProgress) => building.reduce((all, each) => all + each[of], 0)
  return {
    progress: building.length > 0 ? { done: sum('done'), total: sum('total') } : null,
    bytes: parts.reduce((all, { bytes }) => all + bytes, 0),
    error: parts.find(({ error }) => error)?.error ?? null,
  }
}

/** An order, and how far it is. */
interface Kept {
  readonly index: RowIndex
  /** The next place to be looked at, and that at which building ends: rows that came later wait in the list. */
  next: number
  end: number
  error: MainstemError | undefined
}

export class ViewIndexes implements StaleRows {
  readonly #view: FoldedView
  readonly #memory: StateMemory
  readonly #declared: readonly Kept[]
  #keys: Kept | undefined
  #all: Kept[] = []
  /** Lists of rows that may be applied, one at least. */
  #waiting: RowList[] = [new RowList()]
  /** Rows that changed in the running transaction while reads see what was before it: to be applied when that has been shown. */
  #hidden: RowList | undefined
  /** Whether folding tells what it changes. */
  #follows = false
  #buildNext = false

  constructor(view: FoldedView, memory: StateMemory) {
    this.#view = view
    this.#memory = memory
    this.#declared = view.indexes.map(shape => kept(new FieldIndex(shape, view.name, view.table, memory)))
  }

  /** Begins to build what is declared, and has not begun. */
  begin(): void {
    for (const each of this.#declared) this.#begin(each)
  }

  #begin(each: Kept): void {
    if (this.#all.includes(each)) return
    const { changes, table } = this.#view
    if (!this.#follows) changes.index(this)
    this.#follows = true
    each.end = table.places
    this.#all.push(each)
  }

  /** The order of that number, which begins to be built with the first look at it. @throws why it cannot be had */
  use(number: number): RowIndex {
    if (number === KEY_ORDER) this.#keys ??= kept(new KeyOrderIndex(this.#view.table, this.#memory))
    const each = number === KEY_ORDER ? this.#keys! : this.#declared[number]!
    if (each.error) throw each.error
    this.#begin(each)
    return each.index
  }

  /** How far a building order is; undefined where it is built. */
  progress(number: number): IndexProgress | undefined {
    const each = number === KEY_ORDER ? this.#keys : this.#declared[number]
    if (each === undefined || !this.#all.includes(each)) return { done: 0, total: this.#view.table.places }
    return each.next < each.end ? { done: each.next, total: each.end } : undefined
  }

  /** Rows that changed and wait to be applied. */
  get waiting(): number {
    this.#reveal()
    let count = 0
    for (const list of this.#waiting) count += list.length
    return count
  }

  /** Whether any order that has begun is not built. */
  get building(): boolean {
    return this.#all.some(({ next, end }) => next < end)
  }

  push(row: number): void {
    const { touched } = this.#view
    if (touched.keepsOld()) {
      this.#hidden ??= new RowList()
      this.#hidden.push(row)
      return
    }
    this.#waiting[0]!.push(row)
  }

  #reveal(): void {
    if (this.#hidden === undefined || this.#view.touched.keepsOld()) return
    this.#waiting.push(this.#hidden)
    this.#hidden = undefined
  }

  /** Applies one row; false where none is left. */
  step(): boolean {
    this.#reveal()
    this.#buildNext = !this.#buildNext
    if (this.#buildNext) return this.#build() || this.#apply()
    return this.#apply() || this.#build()
  }

  #build(): boolean {
    for (const each of this.#all) {
      if (each.next >= each.end) continue
      this.#set(each, each.next++)
      return true
    }
    return false
  }

  #apply(): boolean {
    const list = this.#waiting.at(-1)!
    if (list.length === 0) return false
    const row = list.pop()
    if (list.length === 0) {
      list.clear()
      if (this.#waiting.length > 1) this.#waiting.pop()
    }
    for (const each of this.#all) this.#set(each, row)
    // It goes on waiting: readers do not see yet what it has become.
    if (this.#view.touched.keepsOld(row)) {
      this.#hidden ??= new RowList()
      this.#hidden.push(row)
    } else this.#view.changes.indexed(row)
    return true
  }

  #set(each: Kept, row: number): void {
    if (each.error) return
    try {
      each.index.set(row, this.#view.touched.readable(row))
    } catch (error) {
      // Never into the fold: what an index cannot take is its own trouble.
      this.#fail(each, error)
    }
  }

  #fail(each: Kept, error: unknown): void {
    const known = asMainstemError(error)
    each.error = known.code === 'KEY_INVALID' ? fail('STATE_INVALID', known.message, { cause: known }) : known
    each.index.drop()
    each.next = each.end
  }

  /** The view lets its rows go. */
  drop(): void {
    for (const each of this.#all) {
      each.index.drop()
      each.next = each.end = 0
    }
    this.#waiting = [new RowList()]
    this.#hidden = undefined
  }

  /** Of the declared ones, in their order. */
  facts(): readonly IndexFacts[] {
    return this.#declared.map(({ error, index }, n) => ({
      progress: error ? null : (this.progress(n) ?? null),
      bytes: index.bytes,
      error: error ? reportOf(error) : null,
    }))
  }

  /** Bytes that all orders take. */
  get bytes(): number {
    return this.#all.reduce((sum, { index }) => sum + index.bytes, 0)
  }
}

const kept = (index: RowIndex): Kept => ({ index, next: 0, end: 0, error: undefined })
