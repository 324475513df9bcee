// A route over runs of records: first the rows of all keys, then the fold, so that the waits for memory overlap.
import { type AnyRow, fail, type RowView, RUN_ROWS_MAX } from '../core/index.ts'
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
  /** Where the keys of a run stand among its words; −1 where they must be asked for. */
  #keysFrom = -1
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
    if (this.#keysFrom >= 0) {
      this.#table.findOrAddNumbers(source.words, this.#keysFrom, source.count, run)
      return
    }
    const table = this.#table
    for (run.count = 0; run.count < source.count; run.count++) {
      source.at = run.count
      const key = this.#keyOf(lent.row, inputKey)
      run.rows[run.count] = key === null || key === undefined ? NO_ROW : table.findOrAdd(table.keys.idOf(key))
    }
  }

  /** Folds the records whose rows are known. */
  fold(run: RunRows, timeMs: number): void {
    this.#fold(run.rows, run.count, timeMs)
  }

  #open(lent: RowView): void {
    this.#lent = lent
    this.#fold = runCode(this.#route, lent, this.#parts)
    const slot = lent.fields.find(field => field.name === this.#route.column)?.slot
    const isNumber = slot?.kind === 'word' && (slot.type.kind === 'int' || slot.type.kind === 'int32')
    this.#keysFrom = isNumber && this.#table.keys.integers ? slot.word * RUN_ROWS_MAX : -1
  }
}

/** Takes what a handler returned. @throws HANDLER_ASYNC */
export function checkResult(result: unknown): void {
  if (typeof result === 'object' && result !== null && 'then' in result)
    throw fail('HANDLER_ASYNC', 'a handler returned a promise')
}
