// A route over runs of records: first the rows of all keys, then the fold, so that the waits for memory overlap.
import { fail, type RowSource, type RowView, RUN_ROWS_MAX, type TextColumn } from '../core/index.ts'
import type { Handler, InputKey, Route } from './route.ts'
import { type FoldRun, type RunParts, runCode } from './run-code.ts'
import { NO_ROW, type RunRows } from './state/row-places.ts'
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
export class RunFold implements RunRows {
  readonly lent: RowView
  /** The row of each record of the run, and of how many it is known. */
  readonly rows = new Uint32Array(RUN_ROWS_MAX)
  count = 0
  /** Folds records whose rows are known. */
  readonly fold: FoldRun
  readonly #table: StateTable
  /** Where the keys of a run, or where their texts stand, are among its words; −1 where they must be asked for. */
  readonly #numbersFrom: number
  readonly #textsFrom: number
  /** False where the route takes none of the lender's records: they are of another variant. */
  readonly #taken: boolean
  readonly #keyOf: Route['keysOf']

  constructor(route: Route, lent: RowView, table: StateTable, parts: RunParts) {
    this.lent = lent
    this.#table = table
    const variant = variantOf(route, lent)
    const { by } = route.on
    this.#taken = variant !== null
    this.#keyOf = route.keysOf
    this.fold = runCode(route, variant ?? route.add, lent, parts)
    const slot = typeof by === 'string' ? lent.fields.find(field => field.name === by)?.slot : undefined
    const { own } = table.keys
    const isNumber = slot?.kind === 'word' && (slot.type.kind === 'int' || slot.type.kind === 'int32')
    this.#numbersFrom = isNumber && own === 'integer' ? slot.word * RUN_ROWS_MAX : -1
    this.#textsFrom = slot?.kind === 'text' && own === 'string' ? slot.word * RUN_ROWS_MAX : -1
  }

  /** Finds the row of each record; `count` says of how many, also where it throws. */
  resolve(inputKey: InputKey): void {
    const { source } = this.lent
    if (!this.#taken) {
      this.rows.fill(NO_ROW, 0, source.count)
      this.count = source.count
    } else if (this.#numbersFrom >= 0) this.#table.findOrAddNumbers(source.words, this.#numbersFrom, source.count, this)
    else if (this.#textsFrom < 0) this.#resolveEach(inputKey)
    else if (source.buffer !== undefined) this.#resolveTexts(source, source.buffer)
    else this.#resolveColumn(source, source.columns[source.words[this.#textsFrom]!]!)
  }

  #resolveEach(inputKey: InputKey): void {
    const { row, source } = this.lent
    const table = this.#table
    for (this.count = 0; this.count < source.count; this.count++) {
      source.at = this.count
      const key = this.#keyOf(row, inputKey)
      this.rows[this.count] = key === null || key === undefined ? NO_ROW : table.findOrAdd(table.keys.idOf(key))
    }
  }

  /** Keys as they stand in a block's bytes: only those not seen before are made strings. */
  #resolveTexts({ words, count }: RowSource, bytes: Buffer): void {
    const at = this.#textsFrom
    for (this.count = 0; this.count < count; this.count++) {
      const from = words[at + this.count]!
      this.rows[this.count] = this.#rowOf(bytes, from, from + words[at + RUN_ROWS_MAX + this.count]!)
    }
  }

  /** The same of a sealed block's column. */
  #resolveColumn({ words, count }: RowSource, { heap, offsets, entries }: TextColumn): void {
    const at = this.#textsFrom + RUN_ROWS_MAX
    for (this.count = 0; this.count < count; this.count++) {
      const index = words[at + this.count]!
      const entry = entries === undefined ? index : entries[index]!
      this.rows[this.count] = this.#rowOf(heap as Buffer, offsets[entry]!, offsets[entry + 1]!)
    }
  }

  #rowOf(bytes: Buffer, from: number, to: number): number {
    const table = this.#table
    const row = table.findBytes(bytes, from, to)
    return row >= 0 ? row : table.findOrAdd(table.keys.idOf(bytes.toString('utf8', from, to)))
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
