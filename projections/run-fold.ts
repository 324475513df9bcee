// A route over runs of records: first the rows of all keys, then the fold, so that the waits for memory overlap.
import { fail, type RowView } from '../core/index.ts'
import type { Handler, InputKey, Route } from './route.ts'
import { type FoldRun, type RunParts, runCode } from './run-code.ts'
import { RunKeys } from './run-keys.ts'
import { RunRows } from './state/row-places.ts'
import type { StateTable } from './state/state-table.ts'

/** A route's folds, by lender. */
export class RunFolds {
  readonly #route: Route
  readonly #table: StateTable
  readonly #parts: RunParts
  readonly #folds = new Map<RowView, RunFold>()
  #last: RunFold | undefined

  constructor(route: Route, table: StateTable, parts: RunParts) {
    this.#route = route
    this.#table = table
    this.#parts = parts
  }

  of(lent: RowView): RunFold {
    let fold = this.#last
    if (fold?.lent === lent) return fold
    fold = this.#folds.get(lent) ?? new RunFold(this.#route, lent, this.#table, this.#parts)
    this.#folds.set(lent, fold)
    this.#last = fold
    return fold
  }
}

/** A route over the runs of one lender. */
export class RunFold {
  readonly lent: RowView
  readonly rows = new RunRows()
  /** Folds records whose rows are known. */
  readonly fold: FoldRun
  /** Undefined where the route takes none of the lender's records: they are of another variant. */
  readonly #keys: RunKeys | undefined
  readonly #keysOf: Route['keysOf']
  readonly #table: StateTable

  constructor(route: Route, lent: RowView, table: StateTable, parts: RunParts) {
    this.lent = lent
    this.#keysOf = route.keysOf
    this.#table = table
    const variant = variantOf(route, lent)
    this.fold = runCode(route, variant ?? route.add, lent, parts)
    this.#keys = variant === null ? undefined : new RunKeys(route, lent, table)
  }

  /** Finds the rows of the records; `rows.count` says of how many, also where it throws. */
  resolve(inputKey: InputKey): void {
    this.rows.begin()
    if (this.#keys !== undefined) this.#keys.resolve(inputKey, this.rows)
    else this.rows.count = this.lent.source.count
  }

  /** Goes on where `resolve` threw, one by one: what `refused` does not throw again has no row. */
  resolveRest(inputKey: InputKey, refused: (error: unknown) => void): void {
    const { row, source } = this.lent
    const table = this.#table
    for (const rows = this.rows; rows.count < source.count; rows.count++) {
      source.at = rows.count
      try {
        const key = this.#keysOf(row, inputKey)
        if (key !== null && key !== undefined) rows.add(rows.count, table.findOrAdd(table.keys.idOf(key)))
      } catch (error) {
        refused(error)
      }
    }
  }
}

/** The handler of a lender's variant, where the route has one for each: null where it has none for this one. */
function variantOf({ variants }: Route, { fields }: RowView): Handler | null | undefined {
  if (variants === undefined) return undefined
  const slot = fields.find(field => field.name === variants.by)?.slot
  const name =
    slot?.kind === 'word' && slot.type.kind === 'enum' && slot.type.values.length === 1
      ? slot.type.values[0]
      : undefined
  return name === undefined ? undefined : (variants.handlers.get(name) ?? null)
}

/** Takes what a handler returned. @throws HANDLER_ASYNC */
export function checkResult(result: unknown): void {
  if (typeof result === 'object' && result !== null && 'then' in result)
    throw fail('HANDLER_ASYNC', 'a handler returned a promise')
}
