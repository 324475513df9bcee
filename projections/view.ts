// One view: its rows in memory, folded record by record; a transaction's effects become visible to other views, and to
// checkpoints, at its end. A row exists while its support count (+1 for each table row added or event, −1 for each removed) is above 0.
import {
  type AnyRow,
  asMainstemError,
  createRowCodec,
  describe,
  describeFields,
  enterHandlers,
  type Field,
  fail,
  type HandlerOwner,
  isMainstemError,
  KeyCodec,
  leaveHandlers,
  type MainstemError,
  type ObjectType,
  type RowCodec,
} from '../core/index.ts'
import { areAggregates } from './aggregate.ts'
import { aggregateHandlers, hiddenFields } from './aggregate-code.ts'
import { Expiry, TOUCHED_AT } from './expiry/expiry.ts'
import { HandlerContext, type RecordInfo } from './handler-context.ts'
import type { DeclaredHandlers, ProjectionDefinition } from './projection.ts'
import { Emissions } from './publish/emissions.ts'
import { compileRoute, type Handler, type InputKey, type Route } from './route.ts'
import type { Lent, Segment } from './run-chain.ts'
import { checkResult, type RunFold, RunFolds } from './run-fold.ts'
import { DEAD_LETTERS_MAX, DeadLetters } from './skip/dead-letters.ts'
import { SkippingCalls } from './skip/skipping-calls.ts'
import { Changes, LIVE, TOUCHED } from './state/changes.ts'
import { ALL_GROUPS, type KeyGroups } from './state/key-groups.ts'
import { KeyOrder } from './state/key-order.ts'
import type { KeyId } from './state/keys.ts'
import { FLAGS } from './state/layout.ts'
import type { StateMemory } from './state/memory.ts'
import { RowList } from './state/row-list.ts'
import { NO_ROW, type RunRows } from './state/row-places.ts'
import { sortInTurns } from './state/sort-in-turns.ts'
import { StateTable } from './state/state-table.ts'
import { zeroOf } from './state/zero.ts'

/** Takes the net change of a row at a transaction's end: null where it was not, or is not there. */
export type ChangeOutlet = (view: FoldedView, id: KeyId, before: AnyRow | null, after: AnyRow | null) => void

/** About what an entry of a Map takes. */
const OLD_ENTRY_BYTES = 40
/** Rows between two yields of a transaction's end that goes in turns. */
const ROWS_PER_TURN = 64

/** A record whose key cannot be one. */
interface Refusal {
  readonly route: Route
  readonly position: number
  readonly error: unknown
}

export class FoldedView implements HandlerOwner {
  readonly name: string
  readonly definition: ProjectionDefinition
  readonly key: KeyCodec
  readonly value: ObjectType
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
  error: MainstemError | undefined
  /** Position up to which this view is folded: records at or below it are skipped. */
  position = 0
  /** Number of rows that are there. */
  size = 0
  readonly #touched = new RowList()
  readonly #order: KeyOrder
  /** Copies of the touched rows as they were, plus one; 0 where there was none. Kept for views that fold this one, and for reads. */
  #before = new RowList()
  /** Touched row → its entry of `#before`, while reads are to see rows as they were before the running transaction. */
  #old: Map<number, number> | undefined
  /** Copies that nobody wants any more, plus one. */
  #obsolete = new RowList()
  /** By how much the running transaction has changed `size`. */
  #grown = 0
  #route: Route | undefined
  #step = ''
  readonly #context: HandlerContext
  readonly #invertible: boolean
  readonly #runs: ReadonlyMap<Route, RunFolds>

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
    this.#order = new KeyOrder(this.table)
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
    const parts = {
      places: table,
      draft: table.draft,
      context: this.#context,
      checkResult,
      endCall: (row: number) => this.#endCall(row),
      checkHeap: () => table.checkHeap(),
      skipping: this.#skipping,
    }
    this.#runs = new Map(this.routes.map(route => [route, new RunFolds(route, table, parts)]))
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
    if (row < 0) return undefined
    const old = this.#old?.get(row)
    if (old !== undefined) return old > 0 ? this.table.toObject(old - 1) : undefined
    return (this.table.flags(row) & LIVE) !== 0 ? this.table.toObject(row) : undefined
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
      const refusal = this.#resolveRuns(lents, timeMs)
      for (let n = 0; n < count && !this.error; n++) this.#foldSegment(segments[n]!, timeMs, refusal?.position)
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

  #routeOf({ routes }: Lent): Route | undefined {
    for (let n = 0; n < routes.length; n++) if (routes[n]!.view === this) return routes[n]
    return undefined
  }

  /** Finds the rows of all records; gives the first whose key is refused. */
  #resolveRuns(lents: readonly Lent[], timeMs: number): Refusal | undefined {
    let first: Refusal | undefined
    for (let n = 0; n < lents.length; n++) {
      const lent = lents[n]!
      const route = this.#routeOf(lent)
      if (route === undefined || route.many) continue
      const run = this.#runs.get(route)!.of(lent.view)
      this.#context.row = -1
      this.#route = route
      try {
        this.#resolve(run, lent, route, timeMs)
      } catch (error) {
        const position = lent.view.source.positions[run.count]!
        if (first === undefined || position < first.position) first = { route, position, error }
      }
      this.#touchRun(run)
    }
    return first
  }

  #resolve(run: RunFold, lent: Lent, route: Route, timeMs: number): void {
    const skipping = this.#skipping
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

  /** @param before position of a record that is not folded, and none after it */
  #foldSegment({ lent, from, to }: Segment, timeMs: number, before = Number.POSITIVE_INFINITY): void {
    const route = this.#routeOf(lent)
    if (route === undefined) return
    const { positions } = lent.view.source
    let end = to
    while (end > from && positions[end - 1]! >= before) end--
    this.#route = route
    if (route.many) {
      this.#foldEach(route, lent, from, end, timeMs)
      return
    }
    const { rows, fold } = this.#runs.get(route)!.of(lent.view)
    this.#context.info.timeMs = timeMs
    this.#skipping?.lends(lent, route)
    fold(rows, from, end, timeMs)
  }

  #foldEach(route: Route, { view, key }: Lent, from: number, to: number, timeMs: number): void {
    const { row, source } = view
    const { info } = this.#context
    for (let n = from; n < to && !this.error; n++) {
      source.at = n
      info.position = source.positions[n]!
      const time = route.time === undefined ? undefined : row[route.time]
      info.timeMs = time instanceof Date ? time.getTime() : timeMs
      this.fold(route, null, row, key)
    }
    enterHandlers(this)
  }

  /** Notes which rows of a run are about to change. */
  #touchRun({ rows, count }: RunRows): void {
    const { pages, shift, mask, layout } = this.table
    const settled = this.#copies || this.#expiry !== undefined ? TOUCHED : this.changes.settled
    for (let n = 0; n < count; n++) {
      const row = rows[n]!
      if (row === NO_ROW) continue
      const flags = pages[row >>> shift]!.words[(row & mask) * layout.words + FLAGS]!
      if ((flags & TOUCHED) === 0 && (flags & settled) !== settled) this.#touch(row)
    }
  }

  #endCall(row: number): void {
    if (!this.#context.takeDeleted()) return
    const { table } = this
    if ((table.flags(row) & TOUCHED) === 0) this.#touch(row)
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

  /** Steps to the row of a key, which is about to change; NO_ROW where it is somebody else's. */
  #open(key: unknown): number {
    const { table } = this
    this.#context.row = -1
    const row = table.findOrAdd(table.keys.idOf(key))
    if (row === NO_ROW) return row
    this.#context.row = row
    table.open(row)
    if ((table.openFlags & TOUCHED) === 0) this.#touch(row)
    return row
  }

  #touch(row: number): void {
    const { table } = this
    this.changes.beforeWrite(row)
    const flags = table.flags(row)
    table.setFlags(row, flags | TOUCHED)
    this.#touched.push(row)
    if (!this.#copies) return
    const copy = (flags & LIVE) === 0 ? 0 : table.copy(row) + 1
    this.#before.push(copy)
    this.#old?.set(row, copy)
    if (this.#old) table.countHeap(OLD_ENTRY_BYTES)
  }

  /** Whether touched rows leave a copy. */
  get #copies(): boolean {
    return this.consumers.length > 0 || this.#old !== undefined
  }

  /** Before a transaction that is read meanwhile: until `show`, reads see rows as they are now. */
  keepOld(): void {
    if (!this.error) this.#old = new Map()
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
    const cause = asMainstemError(error, 'HANDLER_FAILED', 'a handler threw')
    const { row, key, info } = this.#context
    const where = `${this.describeHandler()}, position ${info.position}`
    return fail(cause.code, cause.message, {
      detail: `${where}${row >= 0 ? `, key ${this.key.format(key)}` : ''}${cause.detail ? `: ${cause.detail}` : ''}`,
      hint: cause.hint ?? 'mend the projection and start again: it is rebuilt then',
      cause: error,
    })
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
      if ((table.flags(row) & TOUCHED) === 0) this.#touch(row)
      table.clear(row)
      table.setSupport(row, 0)
    }
  }

  /** Ends a transaction: rows that lost their support go, and what changed on balance reaches the views that fold this one. */
  endTransaction(position: number): void {
    if (this.error) return
    const count = this.#touched.length
    if (this.consumers.length === 0) {
      for (let n = 0; n < count; n++) if (!this.#end(this.#touched.at(n))) return
    } else {
      // A canonical order, so that what folds these changes does not depend on how records interleaved.
      const order = this.#order.of(this.#touched)
      for (let at = 0; at < count; at++) {
        const n = order[at]!
        const row = this.#touched.at(n)
        if (!this.#end(row)) return
        this.#passOn(row, this.#before.at(n) - 1)
        this.#releaseCopy(this.#before.at(n))
      }
      this.#before.clear()
    }
    this.show(position)
  }

  /** Compares touched rows, by their numbers among them. */
  #byKey(): (a: number, b: number) => number {
    const { table } = this
    return (a, b) => table.compareKeys(this.#touched.at(a), this.#touched.at(b))
  }

  /** Ends a large transaction as `endTransaction` does, in turns: after the last one, `show` is called. */
  *endInTurns(): Generator<void> {
    if (this.error) return
    const order = Uint32Array.from({ length: this.#touched.length }, (_, n) => n)
    if (this.consumers.length > 0) yield* sortInTurns(order, this.#byKey())
    for (const [done, n] of order.entries()) {
      const row = this.#touched.at(n)
      if (!this.#end(row)) return
      if (this.consumers.length > 0) this.#passOn(row, this.#before.at(n) - 1)
      if (done % ROWS_PER_TURN === 0) yield
      if (this.error) return
    }
  }

  /** Shows what has ended: from now on the view stands there. */
  show(position: number): void {
    if (this.error) return
    this.size += this.#grown
    this.#grown = 0
    this.#touched.clear()
    this.position = position
    if (this.#old) this.table.countHeap(-OLD_ENTRY_BYTES * this.#old.size)
    this.#old = undefined
    if (this.#before.length === 0) return
    const copies = this.#before
    this.#before = this.#obsolete
    this.#obsolete = copies
  }

  /** Lets go, in turns, of what a large transaction kept; before the next one begins. */
  *releaseInTurns(): Generator<void> {
    while (this.#obsolete.length > 0) {
      this.#releaseCopy(this.#obsolete.pop())
      if (this.#obsolete.length % ROWS_PER_TURN === 0) yield
    }
    this.#obsolete.clear()
  }

  #releaseCopy(copyAndOne: number): void {
    if (copyAndOne > 0) this.table.releaseCopy(copyAndOne - 1)
  }

  /** Ends a row's transaction; false when that stops the view. */
  #end(row: number): boolean {
    const { table } = this
    const flags = table.flags(row) & ~TOUCHED
    const lives = table.support(row) > 0
    if (!lives && !this.#leave(row)) return false
    if (this.#expiry !== undefined && !this.#noteTouch(this.#expiry, row, lives)) return false
    if (lives !== ((flags & LIVE) !== 0)) this.#grown += lives ? 1 : -1
    this.changes.add(row, lives ? flags | LIVE : flags & ~LIVE)
    return true
  }

  /** False where that stops the view: there is no memory for it. */
  #noteTouch(expiry: Expiry, row: number, lives: boolean): boolean {
    try {
      if (lives) expiry.touch(row)
      else expiry.leave(row)
      return true
    } catch (error) {
      this.stop(asMainstemError(error))
      return false
    }
  }

  /** Passes a row's change on to the views that fold this one. @param copy the row as it was; −1 where it was not there */
  #passOn(row: number, copy: number): void {
    const { table } = this
    const exists = (table.flags(row) & LIVE) !== 0
    if ((copy >= 0 || exists) && !(copy >= 0 && exists && table.isEqual(copy, row))) {
      const before = copy >= 0 ? table.toObject(copy) : null
      const after = exists ? table.toObject(row) : null
      if (this.outlet !== undefined) {
        this.outlet(this, table.idOf(row), before, after)
        return
      }
      const inputKey = { fromRow: () => table.keyOf(row) }
      for (const route of this.consumers) route.view.fold(route, before, after, inputKey)
    }
  }

  /** Empties a row without support; false when that shows a broken projection, which stops the view. */
  #leave(row: number): boolean {
    const { table } = this
    const support = table.support(row)
    if (this.#invertible && (support < 0 || !table.isZero(row))) {
      const at = `at position ${this.#context.info.position}`
      const detail =
        support < 0
          ? `more rows left than came, ${at}`
          : `its last row left ${at} and it holds ${preview(table.toObject(row))}`
      const key = this.key.format(table.keyOf(row))
      this.stop(
        fail('PROJECTION_REMOVE_NOT_INVERSE', `${this.name}[${key}] did not return to its initial value`, { detail }),
      )
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
    this.#touched.clear()
    this.#before.clear()
    this.#obsolete.clear()
    this.#old = undefined
    this.size = this.#grown = 0
  }

  /** Stops this view, and those that fold it; the others go on. Its rows are let go: the last checkpoint is what stands. */
  stop(error: MainstemError): void {
    if (this.error) return
    this.error = error
    this.#drop()
    for (const route of this.consumers) {
      route.view.stop(
        fail(error.code, `view '${this.name}', which this one folds, has stopped: ${error.message}`, {
          ...(error.detail ? { detail: error.detail } : {}),
        }),
      )
    }
  }
}

const preview = (state: AnyRow): string =>
  JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)).slice(0, 200)

export function keyCodecOf(definition: ProjectionDefinition): KeyCodec {
  const type = describe(definition.spec.key, 'output', `${definition.name}.key`)
  return type.kind === 'object'
    ? new KeyCodec(type.fields, false, definition.name)
    : new KeyCodec([{ name: 'key', type }], true, definition.name)
}
