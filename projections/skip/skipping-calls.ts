// The handler calls of a view with `onError: 'skip'`: one that throws has no effect, becomes a dead letter, and the rest goes on.
// What is skipped is a function of the log and the code, so that a replay skips the same. Errors that are not of a record (memory,
// a handler that is async, our own) stop the view as everywhere.
import { type AnyRow, type ErrorCode, type MainstemError, reportOf } from '../../core/index.ts'
import type { HandlerContext } from '../handler-context.ts'
import type { Emissions } from '../publish/emissions.ts'
import type { Handler, InputKey, Route } from '../route.ts'
import type { Lent } from '../run-chain.ts'
import { NO_ROW } from '../state/row-places.ts'
import type { StateTable } from '../state/state-table.ts'
import { type DeadLetter, type DeadLetters, recordOf, type Skipped } from './dead-letters.ts'
import { RowUndo } from './row-undo.ts'

/** What a record can be the reason of. */
const OF_A_RECORD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'HANDLER_FAILED',
  'HANDLER_IMPURE',
  'STATE_INVALID',
  'KEY_INVALID',
  'CURSOR_EXPIRED',
  'RECORD_REFUSED',
  'RECORD_TOO_LARGE',
])

/** The key itself could not be had. */
const NO_CALL = -1

/** What it uses of its view. */
export interface SkippingHost {
  readonly routes: readonly Route[]
  readonly table: StateTable
  readonly context: HandlerContext
  readonly emissions: Emissions
  readonly letters: DeadLetters
  /** Says what runs next, for errors. */
  begin(route: Route, step: 'add' | 'remove' | 'update'): void
  /** Steps to the row of a key, which is about to change. @throws KEY_INVALID, STATE_TOO_LARGE */
  open(key: unknown): number
  /** Ends a handler's call. @throws HANDLER_ASYNC, STATE_TOO_LARGE */
  close(row: number, result: unknown, weight: number): void
  /** An error as its view tells it. */
  failure(error: unknown): MainstemError
  formatKey(key: unknown): string
}

/** A record on its way to a handler. */
interface Folding {
  readonly route: Route
  readonly before: AnyRow | null
  readonly after: AnyRow | null
  readonly inputKey: InputKey
}

export class SkippingCalls {
  readonly #host: SkippingHost
  readonly #undo: RowUndo
  readonly #numbers: ReadonlyMap<Route, number>
  #lent: Lent | undefined
  #lentRoute: Route | undefined

  constructor(host: SkippingHost) {
    this.#host = host
    this.#undo = new RowUndo(host.table, host.context, host.emissions)
    this.#numbers = new Map(host.routes.map((route, n) => [route, n]))
  }

  /** As `FoldedView.fold`. @throws what cannot be skipped */
  fold(route: Route, before: AnyRow | null, after: AnyRow | null, inputKey: InputKey): void {
    const folding = { route, before, after, inputKey }
    if (before !== null && after !== null && route.update && this.#updateInPlace(folding, before, after)) return
    if (before !== null && route.remove) this.#each(folding, 'remove', route.remove, before)
    if (after !== null) this.#each(folding, 'add', route.add, after)
  }

  /** False where the row is to be removed and added instead: also where `update` throws, so that the one that fails is known. */
  #updateInPlace({ route, inputKey }: Folding, before: AnyRow, after: AnyRow): boolean {
    const host = this.#host
    const { letters, table, context } = host
    const update = route.update!
    host.begin(route, 'update')
    let row = NO_ROW
    try {
      const from = route.keysOf(before, inputKey)
      const to = route.keysOf(after, inputKey)
      if (from === null || from === undefined || to === null || to === undefined) return false
      if (Array.isArray(from) || Array.isArray(to)) return false
      const id = table.keys.idOf(from)
      if (id !== table.keys.idOf(to)) return false
      if (letters.hasAbsent && id !== undefined) {
        const keyHash = table.keys.hashOf(id)
        if (letters.isAbsent(this.#numberOf(route), inputKey.fromRow(before), keyHash)) return false
      }
      row = host.open(to)
      if (row === NO_ROW) return true
      this.#undo.save(row)
      host.close(row, update(table.draft, before, after, context), 0)
      return true
    } catch (error) {
      this.#error(error)
      if (row !== NO_ROW) this.#undo.undo(row)
      table.close()
      return false
    }
  }

  #each(folding: Folding, step: 'add' | 'remove', handler: Handler, row: AnyRow): void {
    const { route, inputKey } = folding
    const host = this.#host
    host.begin(route, step)
    host.context.row = -1
    let keys: unknown
    try {
      keys = route.keysOf(row, inputKey)
    } catch (error) {
      const known = this.#error(error)
      // What had no key when it came has none when it leaves either. All shards find that, and the first one has the letter.
      if (step === 'remove' && this.#leaves(folding, row, NO_CALL, undefined)) return
      this.#skip(folding, step, row, NO_CALL, known)
      return
    }
    if (keys === null || keys === undefined) return
    if (!route.many || !Array.isArray(keys)) this.#call(folding, step, handler, row, keys, 0)
    else for (const [call, key] of keys.entries()) this.#call(folding, step, handler, row, key, call)
  }

  #call(folding: Folding, step: 'add' | 'remove', handler: Handler, row: AnyRow, key: unknown, call: number): void {
    if (step === 'remove' && this.#leaves(folding, row, call, key)) return
    const error = this.#try(handler, row, key, step === 'add' ? 1 : -1)
    if (error) this.#skip(folding, step, row, call, error)
  }

  /** Whether a row that leaves had not come in by this call. */
  #leaves({ route, inputKey }: Folding, row: AnyRow, call: number, key: unknown): boolean {
    const { letters } = this.#host
    if (!letters.hasAbsent) return false
    return letters.leave(this.#numberOf(route), inputKey.fromRow(row), call, this.#hashOf(key))
  }

  /** As a letter of a call for that key has it: 0 where it is no key of the view. */
  #hashOf(key: unknown): number {
    const { keys } = this.#host.table
    try {
      const id = key === undefined ? undefined : keys.idOf(key)
      return id === undefined ? 0 : keys.hashOf(id)
    } catch {
      return 0
    }
  }

  /** Calls a handler; gives the error for which it had no effect. @throws what cannot be skipped */
  #try(handler: Handler, value: AnyRow, key: unknown, weight: number): MainstemError | undefined {
    const host = this.#host
    const { table, context } = host
    context.row = -1
    let row = NO_ROW
    try {
      row = host.open(key)
      if (row === NO_ROW) return undefined
      this.#undo.save(row)
      host.close(row, handler(table.draft, value, context), weight)
      return undefined
    } catch (error) {
      const known = this.#error(error)
      if (row !== NO_ROW) this.#undo.undo(row)
      table.close()
      return known
    }
  }

  /** An error that can be skipped, as the view tells it. @throws the error, where it cannot */
  #error(error: unknown): MainstemError {
    const failure = this.#host.failure(error)
    if (OF_A_RECORD.has(failure.code)) return failure
    throw error
  }

  #skip(folding: Folding, step: 'add' | 'remove', row: AnyRow, call: number, error: MainstemError): void {
    const { route, before, after, inputKey } = folding
    const op = !route.table ? 'event' : before === null ? 'insert' : after === null ? 'delete' : 'update'
    this.#note({ route, step, op, row, call, inputKey }, error)
  }

  #note(
    call: Pick<Skipped, 'step' | 'op' | 'call'> & { route: Route; row: AnyRow; inputKey: InputKey },
    error: MainstemError,
  ): void {
    const { route, row, inputKey, ...rest } = call
    const { context, table, letters, formatKey } = this.#host
    const { position, timeMs, appendTimeMs = 0 } = context.info
    const at = context.row
    // What has no key is noted by one of several shards.
    if (at < 0 && !table.ownsFirst) return
    const skipped: Skipped = {
      ...rest,
      position,
      timeMs,
      appendTimeMs,
      route: this.#numberOf(route),
      topic: route.input,
      keyHash: at >= 0 ? table.hashOf(at) : 0,
      keyText: at >= 0 ? formatKey(table.keyOf(at)) : null,
    }
    letters.add(skipped, row, route.table ? inputKey.fromRow(row) : undefined, route.table, reportOf(error))
  }

  #numberOf(route: Route): number {
    return this.#numbers.get(route) ?? -1
  }

  /** Says whose run is folded next. */
  lends(lent: Lent, route: Route): void {
    this.#lent = lent
    this.#lentRoute = route
  }

  /** Before a handler is called in a run. */
  save(row: number): void {
    this.#undo.save(row)
  }

  /** A handler threw in a run: at its row. @throws what cannot be skipped */
  failedInRun(error: unknown, row: number): void {
    const known = this.#error(error)
    this.#undo.undo(row)
    this.#noteInRun(known)
  }

  /** A record of a run has no row, for its key was refused. @throws what cannot be skipped */
  refusedInRun(error: unknown, timeMs: number): void {
    const { context } = this.#host
    const { source } = this.#lent!.view
    context.row = -1
    context.info.position = source.positions[source.at]!
    context.info.timeMs = timeMs
    this.#noteInRun(this.#error(error))
  }

  #noteInRun(error: MainstemError): void {
    const route = this.#lentRoute!
    const { view, key } = this.#lent!
    const op = route.table ? 'insert' : 'event'
    this.#note({ route, step: 'add', op, row: view.row, call: 0, inputKey: key }, error)
  }

  /** Calls again what was skipped at these positions; what succeeds is a dead letter no more. @throws what cannot be skipped */
  redrive(positions: readonly number[]): void {
    const { letters } = this.#host
    for (const letter of letters.list()) if (positions.includes(letter.position)) this.#redriveOne(letter)
  }

  #redriveOne(letter: DeadLetter): void {
    const host = this.#host
    const { letters, context } = host
    const route = host.routes[letter.route]
    if (route === undefined) return
    const handler = letter.step === 'add' ? route.add : route.remove!
    const { record, inputKey } = recordOf(letter)
    context.info.timeMs = letter.timeMs
    host.begin(route, letter.step)
    context.row = -1
    let keys: unknown
    try {
      keys = route.keysOf(record, { fromRow: () => inputKey })
    } catch (error) {
      letters.failedAgain(letter, reportOf(this.#error(error)))
      return
    }
    const weight = letter.step === 'add' ? 1 : -1
    const all = keys === null || keys === undefined ? [] : route.many && Array.isArray(keys) ? keys : [keys]
    const chosen = letter.call === NO_CALL ? [...all.entries()] : [...all.entries()].filter(([n]) => n === letter.call)
    letters.resolved(letter)
    for (const [call, key] of chosen) {
      const error = this.#try(handler, record, key, weight)
      if (error) letters.failedAgain({ ...letter, call }, reportOf(error))
    }
  }
}
