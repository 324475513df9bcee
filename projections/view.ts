// One view: its rows in memory, folded record by record; a transaction's effects become visible to other views, and to
// checkpoints, at its end. A row exists while its support count (+1 for each table row added or event, −1 for each removed) is above 0.
import {
  type AnyRow,
  asMainstemError,
  createRowCodec,
  describeFields,
  enterHandlers,
  type Field,
  type HandlerOwner,
  isMainstemError,
  type KeyCodec,
  leaveHandlers,
  type MainstemError,
  type ObjectType,
  type RowCodec,
} from '../core/index.ts'
import { areAggregates } from './aggregate.ts'
import { aggregateHandlers, hiddenFields } from './aggregate-code.ts'
import { Expiry, TOUCHED_AT } from './expiry/expiry.ts'
import { passOn } from './feed/net-change.ts'
import { HandlerContext, type RecordInfo } from './handler-context.ts'
import { type IndexShape, indexShapes } from './indexes/index-shape.ts'
import { keyCodecOf } from './key-codec.ts'
import type { DeclaredHandlers, ProjectionDefinition } from './projection.ts'
import { Emissions } from './publish/emissions.ts'
import { compileRoute, type Handler, type InputKey, NOWHERE, type Route } from './route.ts'
import type { Lent, Segment } from './run-chain.ts'
import { checkResult } from './run-fold.ts'
import { DEAD_LETTERS_MAX, DeadLetters } from './skip/dead-letters.ts'
import { SkippingCalls } from './skip/skipping-calls.ts'
import { Changes, TOUCHED } from './state/changes.ts'
import { ALL_GROUPS, type KeyGroups } from './state/key-groups.ts'
import type { KeyId } from './state/keys.ts'
import type { StateMemory } from './state/memory.ts'
import { NO_ROW } from './state/row-places.ts'
import { StateTable } from './state/state-table.ts'
import { zeroOf } from './state/zero.ts'
import { TouchedRows, type TouchingView } from './touched-rows.ts'
import { failureOf, notInverse, stoppedBelow } from './view-errors.ts'
import { ViewRuns } from './view-runs.ts'

/** Takes the net change of a row at a transaction's end: null where it was not, or is not there. */
export type ChangeOutlet = (view: FoldedView, id: KeyId, before: AnyRow | null, after: AnyRow | null) => void

export class FoldedView implements HandlerOwner {
  readonly name: string
  readonly definition: ProjectionDefinition
  readonly key: KeyCodec
  readonly value: ObjectType
  readonly indexes: readonly IndexShape[]
  /** Fields as stored, those that nobody is shown too. */
  readonly storedFields: readonly Field[]
  readonly codec: RowCodec
  readonly table: StateTable
  /** Rows for the next checkpoint. */
  readonly changes: Changes
  /** What its handlers emit. */
  readonly emissions: Emissions
  /** Calls that were skipped; undefined where the first one stops the view. */
  readonly deadLetters: DeadLetters | undefined
  readonly #skipping: SkippingCalls | undefined
  readonly #expiry: Expiry | undefined
  readonly routes: readonly Route[]
  /** Routes of other views that fold this one. */
  readonly consumers: Route[] = []
  /** Who takes what is passed on; undefined where the views that fold this one get it at once. */
  outlet: ChangeOutlet | undefined
  /** Takes the same for those who follow this view; set and unset at a cut. */
  feed: ChangeOutlet | undefined
  error: MainstemError | undefined
  /** Position up to which this view is folded: records at or below it are skipped. */
  position = 0
  /** Number of rows that are there. */
  size = 0
  readonly touched: TouchedRows
  #route: Route | undefined
  #step = ''
  readonly #context: HandlerContext
  readonly #invertible: boolean
  readonly #runs: ViewRuns

  /**
   * @param owned keys of other groups are passed over
   * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
   */
  constructor(definition: ProjectionDefinition, info: RecordInfo, memory: StateMemory, owned: KeyGroups = ALL_GROUPS) {
    const { name, spec } = definition
    this.name = name
    this.definition = definition
    this.key = keyCodecOf(definition)
    const zero = zeroOf(spec.state, name)
    this.value = describeFields(spec.state, 'output', `${name}.state`)
    this.indexes = indexShapes(definition)
    const hidden = hiddenFields(definition, this.value)
    for (const field of hidden) zero[field.name] = new Map()
    if (spec.ttl !== undefined) {
      hidden.push(TOUCHED_AT)
      zero[TOUCHED_AT.name] = 0
    }
    this.storedFields = [...this.value.fields, ...hidden]
    this.codec = createRowCodec({ kind: 'object', fields: this.storedFields })
    this.table = new StateTable(definition.origin, this.value, hidden, this.key, zero, memory, owned)
    this.changes = new Changes(this.table)
    this.touched = new TouchedRows(this.#touching())
    this.#expiry = spec.ttl === undefined ? undefined : new Expiry(spec.ttl, this.table, memory)
    this.emissions = new Emissions(name, spec.emits ?? [])
    this.#context = new HandlerContext(info, this.table, this.key, this.emissions)
    this.routes = definition.ons.map(on => {
      if (!areAggregates(on.handlers)) return compileRoute(this, on, on.handlers as DeclaredHandlers)
      const { add, remove } = aggregateHandlers(definition, on, this.value, hidden)
      const table = on.input.kind === 'table' || on.input.kind === 'projection'
      return compileRoute(this, on, table ? { add, remove } : (add as Handler))
    })
    this.#invertible = this.routes.every(route => route.table)
    const { table } = this
    this.deadLetters =
      spec.onError === 'skip' ? new DeadLetters(name, spec.deadLettersMax ?? DEAD_LETTERS_MAX, memory) : undefined
    this.#skipping = this.deadLetters && this.#skippingBy(this.deadLetters)
    this.#runs = new ViewRuns(this, {
      context: this.#context,
      touched: this.touched,
      skipping: this.#skipping,
      begin: route => {
        this.#route = route
      },
      run: {
        places: table,
        draft: table.draft,
        context: this.#context,
        checkResult,
        endCall: row => this.#endCall(row),
        checkHeap: () => table.checkHeap(),
        skipping: this.#skipping,
      },
    })
  }

  #touching(): TouchingView {
    const view = this
    return {
      table: this.table,
      changes: this.changes,
      get passesOn() {
        return view.consumers.length > 0 || view.feed !== undefined
      },
      get stopped() {
        return view.error !== undefined
      },
      ended: (row, lives) => (lives || this.#leave(row)) && this.#noteTouch(row, lives),
      passOn: (row, copy) => passOn(this, row, copy),
    }
  }

  #skippingBy(letters: DeadLetters): SkippingCalls {
    const { routes, table, emissions } = this
    return new SkippingCalls({
      routes,
      table,
      emissions,
      letters,
      context: this.#context,
      begin: (route, step) => {
        this.#route = route
        this.#step = step
      },
      open: key => this.#open(key),
      close: (row, result, weight) => this.#close(row, result, weight),
      failure: error => this.#failure(error),
      formatKey: key => this.key.format(key),
    })
  }

  /** The row of a key as of the last cut, as an object of the caller's own; undefined where there is none. */
  get(key: unknown): AnyRow | undefined {
    const id = this.idOf(key)
    return id === undefined ? undefined : this.getById(id)
  }

  /** A key's id; undefined of what cannot be a key, and so has no row. */
  idOf(key: unknown): KeyId | undefined {
    try {
      return this.table.keys.idOf(key)
    } catch (error) {
      if (isMainstemError(error) && error.code === 'KEY_INVALID') return undefined
      throw error
    }
  }

  getById(id: KeyId): AnyRow | undefined {
    const row = this.table.find(id)
    const place = row < 0 ? row : this.touched.readable(row)
    return place < 0 ? undefined : this.table.toObject(place)
  }

  /** Folds one change of a row (or an event, as `after` alone) through a route. Stops the view when a handler fails. */
  fold(route: Route, before: AnyRow | null, after: AnyRow | null, inputKey: InputKey): void {
    if (this.error) return
    this.#route = route
    this.#step = 'update'
    enterHandlers(this)
    try {
      if (this.#skipping !== undefined) {
        this.#skipping.fold(route, before, after, inputKey)
        return
      }
      if (before !== null && after !== null && route.update && this.#updateInPlace(route, before, after, inputKey))
        return
      if (before !== null && route.remove) {
        this.#step = 'remove'
        this.#each(route, route.remove, before, -1, inputKey)
      }
      if (after !== null) {
        this.#step = 'add'
        this.#each(route, route.add, after, 1, inputKey)
      }
    } catch (error) {
      leaveHandlers()
      this.stop(this.#failure(error))
    } finally {
      leaveHandlers()
    }
  }

  /** Calls handlers again that were skipped at these positions. */
  redrive(positions: readonly number[]): void {
    if (this.error || this.#skipping === undefined) return
    enterHandlers(this)
    try {
      this.#skipping.redrive(positions)
    } catch (error) {
      leaveHandlers()
      this.stop(this.#failure(error))
    } finally {
      leaveHandlers()
    }
  }

  /** Folds runs of events or of rows that came, as `fold` would one after the other. @param timeMs of those without an event time */
  foldRuns(lents: readonly Lent[], segments: readonly Segment[], count: number, timeMs: number): void {
    if (this.error) return
    this.#step = 'add'
    enterHandlers(this)
    try {
      const refusal = this.#runs.resolve(lents, timeMs)
      for (let n = 0; n < count && !this.error; n++) this.#runs.fold(segments[n]!, timeMs, refusal?.position)
      if (refusal === undefined || this.error) return
      // Those before it have been folded: had one of them failed, that would be the error.
      this.#route = refusal.route
      this.#context.row = -1
      this.#context.info.position = refusal.position
      throw refusal.error
    } catch (error) {
      leaveHandlers()
      this.stop(this.#failure(error))
    } finally {
      leaveHandlers()
      this.table.close()
    }
  }

  #endCall(row: number): void {
    if (!this.#context.takeDeleted()) return
    const { table } = this
    if ((table.flags(row) & TOUCHED) === 0) this.touched.touch(row)
    table.clear(row)
    table.setSupport(row, 0)
  }

  /** The handler that runs, or ran last: `accounts.on(shop.orders).add`. */
  describeHandler(): string {
    return `${this.name}.on(${this.#route?.input})${this.#route?.table ? `.${this.#step}` : ''}`
  }

  #updateInPlace(route: Route, before: AnyRow, after: AnyRow, inputKey: InputKey): boolean {
    const from = route.keysOf(before, inputKey)
    const to = route.keysOf(after, inputKey)
    if (from === null || from === undefined || to === null || to === undefined) return false
    if (Array.isArray(from) || Array.isArray(to)) return false
    const { keys } = this.table
    if (keys.idOf(from) !== keys.idOf(to)) return false
    const row = this.#open(to)
    if (row === NO_ROW) return true
    this.#close(row, route.update?.(this.table.draft, before, after, this.#context), 0)
    return true
  }

  #each(route: Route, handler: Handler, row: AnyRow, weight: number, inputKey: InputKey): void {
    const keys = route.keysOf(row, inputKey)
    if (keys === null || keys === undefined) return
    if (route.many && Array.isArray(keys)) {
      for (const key of keys) this.#call(handler, key, row, weight)
    } else this.#call(handler, keys, row, weight)
  }

  #call(handler: Handler, key: unknown, value: AnyRow, weight: number): void {
    const row = this.#open(key)
    if (row === NO_ROW) return
    this.#close(row, handler(this.table.draft, value, this.#context), weight)
  }

  /** Steps to the row of a key, which is about to change; NO_ROW where it is somebody else's, or nobody's. */
  #open(key: unknown): number {
    const { table } = this
    this.#context.row = -1
    if (key === NOWHERE) return NO_ROW
    const row = table.findOrAdd(table.keys.idOf(key))
    if (row === NO_ROW) return row
    this.#context.row = row
    table.open(row)
    if ((table.openFlags & TOUCHED) === 0) this.touched.touch(row)
    return row
  }

  /** Before a transaction that is read meanwhile: until `show`, reads see rows as they are now. */
  keepOld(): void {
    if (!this.error) this.touched.keepOld()
  }

  /** Ends a handler's call. */
  #close(row: number, result: unknown, weight: number): void {
    const { table } = this
    checkResult(result)
    table.closeWith(weight)
    if (this.#context.takeDeleted()) {
      table.clear(row)
      table.setSupport(row, 0)
    }
  }

  #failure(error: unknown): MainstemError {
    return failureOf(this, this.#context, error)
  }

  /** Whether rows go that nothing touches. */
  get expires(): boolean {
    return this.#expiry !== undefined
  }

  /** When the next row is due to go, by append time; Infinity where there is none. */
  get nextExpiryMs(): number {
    return this.error === undefined ? (this.#expiry?.nextMs ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
  }

  /** Rows were exchanged, and when they were touched with them. */
  touchesChanged(): void {
    this.#expiry?.drop()
  }

  /** Begins a transaction of this append time: rows that are due go, before anything is folded. */
  expire(nowMs: number): void {
    const expiry = this.#expiry
    if (expiry === undefined || this.error) return
    const { table } = this
    expiry.begin(nowMs)
    for (let row = expiry.due(); row >= 0; row = expiry.due()) {
      if ((table.flags(row) & TOUCHED) === 0) this.touched.touch(row)
      table.clear(row)
      table.setSupport(row, 0)
    }
  }

  /** Ends a transaction: rows that lost their support go, and what changed on balance reaches the views that fold this one. */
  endTransaction(position: number): void {
    if (this.error || !this.touched.end()) return
    this.show(position)
  }

  /** Ends a large transaction as `endTransaction` does, in turns: after the last one, `show` is called. */
  *endInTurns(): Generator<void> {
    if (!this.error) yield* this.touched.endInTurns()
  }

  /** Shows what has ended: from now on the view stands there. */
  show(position: number): void {
    if (this.error) return
    this.size += this.touched.show()
    this.position = position
  }

  /** Lets go, in turns, of what a large transaction kept; before the next one begins. */
  releaseInTurns(): Generator<void> {
    return this.touched.releaseInTurns()
  }

  /** False where that stops the view: there is no memory for it. */
  #noteTouch(row: number, lives: boolean): boolean {
    try {
      if (lives) this.#expiry?.touch(row)
      else this.#expiry?.leave(row)
      return true
    } catch (error) {
      this.stop(asMainstemError(error))
      return false
    }
  }

  /** Empties a row without support; false when that shows a broken projection, which stops the view. */
  #leave(row: number): boolean {
    const { table } = this
    const support = table.support(row)
    if (this.#invertible && (support < 0 || !table.isZero(row))) {
      this.stop(notInverse(this, row, this.#context.info.position))
      return false
    }
    table.clear(row)
    table.setSupport(row, 0)
    return true
  }

  /** Lets all rows go, and what stopped it: it begins anew. */
  reset(): void {
    this.#drop()
    this.deadLetters?.drop()
    this.error = undefined
    this.position = 0
  }

  #drop(): void {
    this.changes.end()
    this.emissions.drop()
    this.#expiry?.drop()
    this.table.drop()
    this.touched.drop()
    this.size = 0
  }

  /** Stops this view, and those that fold it; the others go on. Its rows are let go: the last checkpoint is what stands. */
  stop(error: MainstemError): void {
    if (this.error) return
    this.error = error
    this.#drop()
    for (const route of this.consumers) route.view.stop(stoppedBelow(this.name, error))
  }
}
