// Runs of records on their way into a view's rows: first the rows of all keys, for all lenders, then segment by segment in the order
// of the log.
import { enterHandlers } from '../core/index.ts'
import type { HandlerContext } from './handler-context.ts'
import type { Route } from './route.ts'
import type { Lent, Segment } from './run-chain.ts'
import type { RunParts } from './run-code.ts'
import { type RunFold, RunFolds } from './run-fold.ts'
import type { SkippingCalls } from './skip/skipping-calls.ts'
import { TOUCHED } from './state/changes.ts'
import type { RunRows } from './state/row-places.ts'
import type { TouchedRows } from './touched-rows.ts'
import type { FoldedView } from './view.ts'

/** A record whose key cannot be one. */
export interface Refusal {
  readonly route: Route
  readonly position: number
  readonly error: unknown
}

export interface ViewRunsParts {
  readonly run: RunParts
  readonly context: HandlerContext
  readonly touched: TouchedRows
  readonly skipping: SkippingCalls | undefined
  /** Says what runs next, for errors. */
  begin(route: Route): void
}

export class ViewRuns {
  readonly #view: FoldedView
  readonly #parts: ViewRunsParts
  readonly #runs: ReadonlyMap<Route, RunFolds>

  constructor(view: FoldedView, parts: ViewRunsParts) {
    this.#view = view
    this.#parts = parts
    this.#runs = new Map(view.routes.map(route => [route, new RunFolds(route, view.table, parts.run)]))
  }

  #routeOf({ routes }: Lent): Route | undefined {
    for (let n = 0; n < routes.length; n++) if (routes[n]!.view === this.#view) return routes[n]
    return undefined
  }

  /** Finds the rows of all records; gives the first record whose key is refused. */
  resolve(lents: readonly Lent[], timeMs: number): Refusal | undefined {
    const { context, begin } = this.#parts
    let first: Refusal | undefined
    for (let n = 0; n < lents.length; n++) {
      const lent = lents[n]!
      const route = this.#routeOf(lent)
      if (route === undefined || route.many) continue
      const run = this.#runs.get(route)!.of(lent.view)
      context.row = -1
      begin(route)
      try {
        this.#resolveRun(run, lent, route, timeMs)
      } catch (error) {
        const position = lent.view.source.positions[run.rows.count]!
        if (first === undefined || position < first.position) first = { route, position, error }
      }
      this.#meet(run.rows)
    }
    return first
  }

  #resolveRun(run: RunFold, lent: Lent, route: Route, timeMs: number): void {
    const { skipping } = this.#parts
    if (skipping === undefined) {
      run.resolve(lent.key)
      return
    }
    try {
      run.resolve(lent.key)
    } catch {
      skipping.lends(lent, route)
      run.resolveRest(lent.key, error => skipping.refusedInRun(error, timeMs))
    }
  }

  /**
   * Meets the rows of a run, from their first word to their last: in a loop of its own that needs nothing of what it meets, so that
   * the waits for memory overlap as far as they can.
   */
  #meet(run: RunRows): void {
    const { rows, found } = run
    const { pages, shift, mask, layout } = this.#view.table
    const { words } = layout
    const last = words * 2 - 1
    let met = 0
    for (let k = 0; k < found; k++) {
      const row = rows[k]!
      const { halves } = pages[row >>> shift]!
      const at = (row & mask) * words * 2
      met ^= halves[at]! ^ halves[at + last]!
    }
    run.met = met
  }

  /** Folds records whose rows are found. @param before position of a record that is not folded, and none after it */
  fold({ lent, from, to }: Segment, timeMs: number, before = Number.POSITIVE_INFINITY): void {
    const { context, touched, skipping, begin } = this.#parts
    const route = this.#routeOf(lent)
    if (route === undefined) return
    const { positions } = lent.view.source
    let end = to
    while (end > from && positions[end - 1]! >= before) end--
    begin(route)
    if (route.many) {
      this.#foldEach(route, lent, from, end, timeMs)
      return
    }
    const { rows, fold } = this.#runs.get(route)!.of(lent.view)
    context.info.timeMs = timeMs
    skipping?.lends(lent, route)
    const settled = this.#settled
    for (let row = fold(rows, end, timeMs, settled); row >= 0; row = fold(rows, end, timeMs, settled))
      touched.touch(row)
  }

  /** Flags of rows that need not be touched before they change. */
  get #settled(): number {
    const { touched } = this.#parts
    const { changes, expires } = this.#view
    return touched.copies || expires ? TOUCHED : changes.settled
  }

  #foldEach(route: Route, { view: lent, key }: Lent, from: number, to: number, timeMs: number): void {
    const { row, source } = lent
    const { info } = this.#parts.context
    const view = this.#view
    for (let n = from; n < to && !view.error; n++) {
      source.at = n
      info.position = source.positions[n]!
      const time = route.time === undefined ? undefined : row[route.time]
      info.timeMs = time instanceof Date ? time.getTime() : timeMs
      view.fold(route, null, row, key)
    }
    enterHandlers(view)
  }
}
