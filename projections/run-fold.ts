// A route over runs of records: first the rows of all keys, then the fold, so that the waits for memory overlap.
import { type AnyRow, fail, type RowView, RUN_ROWS_MAX, type TextColumn } from '../core/index.ts'
import type { InputKey, Route } from './route.ts'
import { type FoldRun, type RunParts, runCode } from './run-code.ts'
import { NO_ROW, type RunRows } from './state/row-places.ts'
import type { StateTable } from './state/state-table.ts'

export class RunFold {
  readonly #route: Route
  readonly #table: StateTable
  readonly #parts: RunParts
  /** The lender of the last run, and what was made for it. */
  #lent: RowView | undefined
  #fold: FoldRun = () => {}
  /** Where the keys of a run, or where their texts stand, are among its words; −1 where they must be asked for. */
  #numbersFrom = -1
  #textsFrom = -1
  readonly #keyOf: (row: AnyRow, inputKey: InputKey) => unknown

  constructor(route: Route, table: StateTable, parts: RunParts) {
    this.#route = route
    this.#table = table
    this.#parts = parts
    this.#keyOf = route.keysOf
  }

  /** Finds the row of each record; `run.count` says of how many, also where it throws. */
  resolve(lent: RowView, inputKey: InputKey, run: RunRows): void {
    if (lent !== this.#lent) this.#open(lent)
    const { source } = lent
    if (this.#numbersFrom >= 0) this.#table.findOrAddNumbers(source.words, this.#numbersFrom, source.count, run)
    else if (this.#textsFrom < 0) this.#resolveEach(lent, inputKey, run)
    else if (source.buffer !== undefined) this.#resolveTexts(lent, source.buffer, run)
    else this.#resolveColumn(lent, source.columns[source.words[this.#textsFrom]!]!, run)
  }

  #resolveEach(lent: RowView, inputKey: InputKey, run: RunRows): void {
    const { source } = lent
    const table = this.#table
    for (run.count = 0; run.count < source.count; run.count++) {
      source.at = run.count
      const key = this.#keyOf(lent.row, inputKey)
      run.rows[run.count] = key === null || key === undefined ? NO_ROW : table.findOrAdd(table.keys.idOf(key))
    }
  }

  /** Keys as they stand in a block's bytes: only those not seen before are made strings. */
  #resolveTexts({ source }: RowView, bytes: Buffer, run: RunRows): void {
    const { words } = source
    const at = this.#textsFrom
    for (run.count = 0; run.count < source.count; run.count++) {
      const from = words[at + run.count]!
      run.rows[run.count] = this.#rowOf(bytes, from, from + words[at + RUN_ROWS_MAX + run.count]!)
    }
  }

  /** The same of a sealed block's column. */
  #resolveColumn({ source }: RowView, { heap, offsets, entries }: TextColumn, run: RunRows): void {
    const at = this.#textsFrom + RUN_ROWS_MAX
    for (run.count = 0; run.count < source.count; run.count++) {
      const index = source.words[at + run.count]!
      const entry = entries === undefined ? index : entries[index]!
      run.rows[run.count] = this.#rowOf(heap as Buffer, offsets[entry]!, offsets[entry + 1]!)
    }
  }

  #rowOf(bytes: Buffer, from: number, to: number): number {
    const table = this.#table
    const row = table.findBytes(bytes, from, to)
    return row >= 0 ? row : table.findOrAdd(table.keys.idOf(bytes.toString('utf8', from, to)))
  }

  /** Folds the records whose rows are known. */
  fold(run: RunRows, timeMs: number): void {
    this.#fold(run.rows, run.count, timeMs)
  }

  #open(lent: RowView): void {
    this.#lent = lent
    this.#fold = runCode(this.#route, lent, this.#parts)
    const slot = lent.fields.find(field => field.name === this.#route.column)?.slot
    const { own } = this.#table.keys
    const isNumber = slot?.kind === 'word' && (slot.type.kind === 'int' || slot.type.kind === 'int32')
    this.#numbersFrom = isNumber && own === 'integer' ? slot.word * RUN_ROWS_MAX : -1
    this.#textsFrom = slot?.kind === 'text' && own === 'string' ? slot.word * RUN_ROWS_MAX : -1
  }
}

/** Takes what a handler returned. @throws HANDLER_ASYNC */
export function checkResult(result: unknown): void {
  if (typeof result === 'object' && result !== null && 'then' in result)
    throw fail('HANDLER_ASYNC', 'a handler returned a promise')
}
