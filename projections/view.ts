// One view: its rows in memory, folded record by record; a transaction's effects become visible to other views, and to
// checkpoints, at its end. A row exists while its support count (+1 for each table row added or event, −1 for each removed) is above 0.

import type { Position } from '../core/index.ts'
import {
  type AnyRow,
  asMainstemError,
  createRowCodec,
  describe,
  enterHandlers,
  fail,
  type HandlerOwner,
  KeyCodec,
  leaveHandlers,
  type MainstemError,
  type RowCodec,
} from '../core/index.ts'
import type { Context, On, ProjectionDefinition, TableHandlers } from './projection.ts'
import { createStateCode, type StateCode } from './state-code.ts'
import { variantHandlersOf } from './variant-handlers.ts'

/** A key as a Map can find it: the scalar itself, or the key bytes as latin1 text. */
export type KeyId = string | number | bigint | boolean

export interface Entry {
  readonly key: unknown
  readonly id: KeyId
  readonly keyBytes: Buffer
  state: AnyRow
  support: number
  /** The row before the running transaction: undefined when untouched, null when it did not exist. */
  before: AnyRow | null | undefined
  /** It belongs into a checkpoint as it is: to be written before it changes. */
  saving: boolean
}

/** What a handler call is about: set by the shard for each record. */
export interface RecordInfo {
  position: number
  timeMs: number
}

type Handler = (state: AnyRow, ...rest: unknown[]) => unknown

/** One `.on`, compiled. */
export interface Route {
  readonly view: FoldedView
  readonly input: string
  /** True where rows come and go; false for events. */
  readonly table: boolean
  readonly keysOf: (row: AnyRow, inputKey: () => unknown) => unknown
  readonly many: boolean
  readonly add: Handler
  readonly remove: Handler | undefined
  readonly update: Handler | undefined
}

export class FoldedView implements HandlerOwner {
  readonly name: string
  readonly definition: ProjectionDefinition
  readonly key: KeyCodec
  readonly code: StateCode
  readonly codec: RowCodec
  readonly routes: readonly Route[]
  /** Routes of other views that fold this one. */
  readonly consumers: Route[] = []
  readonly rows = new Map<KeyId, Entry>()
  /** Rows changed since the last checkpoint; support 0 means removed. */
  dirty = new Set<Entry>()
  /** Writes a row into the checkpoint that is being made. */
  save: (entry: Entry) => void = () => {}
  error: MainstemError | undefined
  /** Position up to which this view is folded: records at or below it are skipped. */
  position = 0
  readonly #touched: Entry[] = []
  /** Rows without support that no checkpoint has taken out yet. */
  readonly #gone = new Map<KeyId, Entry>()
  #route: Route | undefined
  #step = ''
  readonly #context: HandlerContext
  readonly #invertible: boolean
  readonly #idOf: (key: unknown) => KeyId

  constructor(definition: ProjectionDefinition, info: RecordInfo) {
    this.name = definition.name
    this.definition = definition
    this.key = keyCodecOf(definition)
    this.#idOf = idFunction(this.key)
    this.code = createStateCode(definition.spec.state, definition.name)
    this.codec = createRowCodec(this.code.type)
    this.#context = new HandlerContext(info)
    this.routes = definition.ons.map(on => this.#compile(on))
    this.#invertible = this.routes.every(route => route.table)
  }

  #compile(on: On): Route {
    const table = on.input.kind === 'table' || on.input.kind === 'projection'
    const variants = variantHandlersOf(on)
    const handlers = variants?.handler ?? on.handlers
    const [add, remove, update] =
      typeof handlers === 'function'
        ? [handlers, undefined, undefined]
        : [(handlers as TableHandlers).add, handlers.remove, handlers.update]
    const { by } = on
    const keysOf =
      typeof by === 'function'
        ? (row: AnyRow, inputKey: () => unknown) => by(row, by.length > 1 ? inputKey() : undefined)
        : this.#columnsOf(by)
    return {
      view: this,
      input: on.input.name,
      table,
      keysOf: variants ? (row, inputKey) => (variants.handles(row) ? keysOf(row, inputKey) : null) : keysOf,
      many: typeof by === 'function',
      add: add as Handler,
      remove: remove as Handler | undefined,
      update: update as Handler | undefined,
    }
  }

  #columnsOf(by: string | Readonly<Record<string, string>>): (row: AnyRow) => unknown {
    if (typeof by === 'string') return row => row[by]
    const pairs = Object.entries(by)
    return row => {
      const key: AnyRow = {}
      for (const [field, column] of pairs) {
        const value = row[column]
        if (value === null || value === undefined) return null
        key[field] = value
      }
      return key
    }
  }

  find(key: unknown): Entry | undefined {
    return this.rows.get(this.#idOf(key))
  }

  /** Puts a row read from a checkpoint. */
  restore(keyBytes: Buffer, support: number, state: AnyRow): void {
    const key = this.key.decode(keyBytes)
    const id = this.#idOf(key)
    this.rows.set(id, { key, id, keyBytes, state, support, before: undefined, saving: false })
  }

  /** Folds one change of a row (or an event, as `after` alone) through a route. Stops the view when a handler fails. */
  fold(route: Route, before: AnyRow | null, after: AnyRow | null, inputKey: (row: AnyRow) => unknown): void {
    if (this.error) return
    this.#route = route
    this.#step = 'update'
    enterHandlers(this)
    try {
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
      this.stop(this.#failure(error))
    } finally {
      leaveHandlers()
    }
  }

  /** The handler that runs, or ran last: `accounts.on(shop.orders).add`. */
  describeHandler(): string {
    return `${this.name}.on(${this.#route?.input})${this.#route?.table ? `.${this.#step}` : ''}`
  }

  #updateInPlace(route: Route, before: AnyRow, after: AnyRow, inputKey: (row: AnyRow) => unknown): boolean {
    const from = route.keysOf(before, () => inputKey(before))
    const to = route.keysOf(after, () => inputKey(after))
    if (from === null || from === undefined || to === null || to === undefined) return false
    if (Array.isArray(from) || Array.isArray(to) || this.#idOf(from) !== this.#idOf(to)) return false
    const entry = this.#touch(to)
    this.#context.entry = entry
    this.#after(entry, route.update?.(entry.state, before, after, this.#context), 0)
    return true
  }

  #each(route: Route, handler: Handler, row: AnyRow, weight: number, inputKey: (row: AnyRow) => unknown): void {
    const keys = route.keysOf(row, () => inputKey(row))
    if (keys === null || keys === undefined) return
    if (route.many && Array.isArray(keys)) {
      for (const key of keys) this.#call(handler, key, row, weight)
    } else this.#call(handler, keys, row, weight)
  }

  #call(handler: Handler, key: unknown, row: AnyRow, weight: number): void {
    const entry = this.#touch(key)
    this.#context.entry = entry
    this.#after(entry, handler(entry.state, row, this.#context), weight)
  }

  #after(entry: Entry, result: unknown, weight: number): void {
    if (typeof result === 'object' && result !== null && 'then' in result) {
      throw fail('HANDLER_ASYNC', 'a handler returned a promise')
    }
    const problem = this.code.problem(entry.state)
    if (problem !== undefined)
      throw fail('STATE_INVALID', `a handler left a value that is not of the state's type`, { detail: problem })
    if (this.#context.takeDeleted()) {
      entry.state = this.code.zero()
      entry.support = 0
    } else entry.support += weight
  }

  #touch(key: unknown): Entry {
    const id = this.#idOf(key)
    let entry = this.rows.get(id)
    if (entry === undefined) {
      entry = this.#returned(id) ?? this.#made(key, id)
      this.rows.set(id, entry)
      this.#touched.push(entry)
    } else if (entry.before === undefined) {
      if (entry.saving) this.save(entry)
      entry.before = this.consumers.length > 0 ? this.code.clone(entry.state) : UNKEPT
      this.#touched.push(entry)
    }
    return entry
  }

  #made(key: unknown, id: KeyId): Entry {
    return { key, id, keyBytes: this.key.encode(key), state: this.code.zero(), support: 0, before: null, saving: false }
  }

  /** A row that left since the last checkpoint and comes back: one entry per key, so that a checkpoint has one word on it. */
  #returned(id: KeyId): Entry | undefined {
    const entry = this.#gone.get(id)
    if (entry === undefined) return undefined
    if (entry.saving) this.save(entry)
    this.#gone.delete(id)
    entry.state = this.code.zero()
    entry.support = 0
    entry.before = null
    return entry
  }

  /** A checkpoint has taken the row out. */
  forget(entry: Entry): void {
    this.#gone.delete(entry.id)
  }

  #failure(error: unknown): MainstemError {
    const cause = asMainstemError(error, 'HANDLER_FAILED', 'a handler threw')
    const entry = this.#context.entry
    const where = `${this.describeHandler()}, position ${this.#context.info.position}`
    return fail(cause.code, cause.message, {
      detail: `${where}${entry ? `, key ${this.key.format(entry.key)}` : ''}${cause.detail ? `: ${cause.detail}` : ''}`,
      hint: cause.hint ?? 'mend the projection and start again: it is rebuilt then',
      cause: error,
    })
  }

  /** Ends a transaction: rows that lost their support go, and what changed on balance reaches the views that fold this one. */
  endTransaction(position: number): void {
    const touched = this.#touched
    if (this.error) {
      touched.length = 0
      return
    }
    // A canonical order, so that what folds these changes does not depend on how records interleaved.
    if (this.consumers.length > 0 && touched.length > 1) touched.sort(byId)
    for (const entry of touched) {
      const { before } = entry
      entry.before = undefined
      if (entry.support <= 0 && !this.#leave(entry)) return
      this.dirty.add(entry)
      if (this.consumers.length === 0) continue
      const existed = before ?? null
      const exists = entry.support > 0 ? this.code.clone(entry.state) : null
      if (existed === null && exists === null) continue
      if (existed !== null && exists !== null && this.code.equal(existed, exists)) continue
      for (const route of this.consumers) route.view.fold(route, existed, exists, () => entry.key)
    }
    touched.length = 0
    this.position = position
  }

  /** Takes out a row without support; false when that shows a broken projection, which stops the view. */
  #leave(entry: Entry): boolean {
    if (this.#invertible && (entry.support < 0 || !this.code.isZero(entry.state))) {
      this.stop(
        fail(
          'PROJECTION_REMOVE_NOT_INVERSE',
          `${this.name}[${this.key.format(entry.key)}] did not return to its initial value`,
          {
            detail:
              entry.support < 0
                ? `more rows left than came, at position ${this.#context.info.position}`
                : `its last row left at position ${this.#context.info.position} and it holds ${preview(entry.state)}`,
          },
        ),
      )
      return false
    }
    this.rows.delete(entry.id)
    this.#gone.set(entry.id, entry)
    return true
  }

  /** Stops this view, and those that fold it; the others go on. Its rows are let go: the last checkpoint is what stands. */
  stop(error: MainstemError): void {
    if (this.error) return
    this.error = error
    this.#touched.length = 0
    this.rows.clear()
    this.#gone.clear()
    this.dirty.clear()
    for (const route of this.consumers) {
      route.view.stop(
        fail(error.code, `view '${this.name}', which this one folds, has stopped: ${error.message}`, {
          ...(error.detail ? { detail: error.detail } : {}),
        }),
      )
    }
  }
}

/** Marks a touched row whose former value nobody needs. */
const UNKEPT: AnyRow = Object.freeze({})

const byId = (a: Entry, b: Entry): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

const preview = (state: AnyRow): string =>
  JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)).slice(0, 200)

function keyCodecOf(definition: ProjectionDefinition): KeyCodec {
  const type = describe(definition.spec.key, 'output', `${definition.name}.key`)
  return type.kind === 'object'
    ? new KeyCodec(type.fields, false, definition.name)
    : new KeyCodec([{ name: 'key', type }], true, definition.name)
}

/** Key → Map key. Numbers, strings and bigints are themselves; what is not of the key's type fails when its row is made. */
function idFunction(codec: KeyCodec): (key: unknown) => KeyId {
  const kind = codec.single ? codec.columns[0]?.type.kind : undefined
  if (kind && ['int32', 'int', 'string', 'enum', 'bigint', 'boolean'].includes(kind)) return key => key as KeyId
  return key => codec.encode(key).toString('latin1')
}

/** The `ctx` of all handlers of one view. */
class HandlerContext implements Context {
  entry: Entry | undefined
  readonly info: RecordInfo
  #deleted = false
  #draws = 0

  constructor(info: RecordInfo) {
    this.info = info
  }

  get key(): unknown {
    return this.entry?.key
  }

  get position(): Position {
    return String(this.info.position) as Position
  }

  get timeMs(): number {
    return this.info.timeMs
  }

  /** Mixes (position, key, how many draws before this one in the handler's call), as MurmurHash3 ends. */
  random(): number {
    let seed = (this.info.position ^ hashBytes(this.entry?.keyBytes)) >>> 0
    seed = Math.imul(seed ^ Math.floor(this.info.position / 0x100000000), 0x9e3779b1) + ++this.#draws
    seed = Math.imul(seed ^ (seed >>> 16), 0x85ebca6b)
    seed = Math.imul(seed ^ (seed >>> 13), 0xc2b2ae35)
    return ((seed ^ (seed >>> 16)) >>> 0) / 0x100000000
  }

  delete(): void {
    this.#deleted = true
  }

  /** Ends a handler's call: whether it deleted its row. */
  takeDeleted(): boolean {
    const deleted = this.#deleted
    this.#deleted = false
    this.#draws = 0
    return deleted
  }
}

function hashBytes(bytes: Buffer | undefined): number {
  let hash = 0x811c9dc5
  for (const byte of bytes ?? []) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash
}
