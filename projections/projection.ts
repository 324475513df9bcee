// How an application declares a view: data first (name, key, state), functions after, one `.on` per input.
import type { z } from 'zod'
import {
  type AnyInput,
  type AnyRow,
  type AnyTopic,
  type Atom,
  type CheckState,
  checkName,
  type Draft,
  discriminatorOf,
  fail,
  type Input,
  isDecider,
  type Position,
  type RecordSchema,
  type Row,
  type Show,
  type Sync,
  shapeOf,
  type TableInput,
  type TopicInput,
} from '../core/index.ts'
import { type Aggregate, type Aggregates, areAggregates } from './aggregate.ts'
import { checkIndex } from './indexes/index-shape.ts'
import type { IndexableField, Indexed, Where } from './indexes/where.ts'
import type { Migration } from './migrate.ts'
import { declarePolicy, type Policy } from './policy.ts'

type Columns<R, V> = { [C in keyof R & string]: NonNullable<R[C]> extends V ? C : never }[keyof R & string]
type Scalar<V> = V extends Atom ? true : false
/** Where a record goes: a column (or a column per key field). */
type ByColumn<R, V> = true extends Scalar<V> ? Columns<R, V> : { readonly [F in keyof V]: Columns<R, V[F]> }
/** Where a record goes: a function; null goes nowhere, an array to several keys. */
type ByFunction<I extends AnyInput, V> = (row: Row<I['row']>, key: I['key']) => V | null | readonly V[]

/** A function for each variant of a union; events of a variant without one go nowhere. */
type VariantHandlers<R, D, S, X> = D extends keyof R & string
  ? { readonly [N in R[D] & string]?: (state: S, event: Row<Extract<R, Readonly<Record<D, N>>>>, ctx: X) => Sync }
  : never

/** What to do with an input's records: a pair for tables, a function for events, or one for each variant of them. */
export type Handlers<I extends AnyInput, S, X> =
  I extends TableInput<infer R, unknown>
    ? {
        add(state: S, row: Row<R>, ctx: X): Sync
        remove(state: S, row: Row<R>, ctx: X): Sync
        /** Instead of remove + add, where the row stays at its key. */
        update?(state: S, before: Row<R>, after: Row<R>, ctx: X): Sync
      }
    : I extends TopicInput<infer R, unknown, infer D>
      ? ((state: S, event: Row<R>, ctx: X) => Sync) | ([D] extends [never] ? never : VariantHandlers<R, D, S, X>)
      : never

export interface ProjectionSpec {
  /** One scalar, or an object of scalars for a composite key. */
  readonly key: z.ZodType
  /** A row of the view. A new row starts at zero, null, false, empty, or the field's `.default()`. */
  readonly state: z.ZodObject
  /**
   * Topics to which its handlers emit events by `ctx.emit`. They are published as ordinary records: once each, whatever is killed,
   * restarted or folded anew, in the order of the records that caused them. Default none.
   */
  readonly emits?: readonly AnyTopic[]
  /**
   * Milliseconds after which a row goes that no event has touched, by append times: `minutes(10)`. For views that fold events only.
   * An event that comes later starts the row anew. Default: rows stay.
   */
  readonly ttl?: number
  /**
   * What an error in a handler does, or one of a record's key. `stop`, the default: the view stops there. `skip`: the call has no
   * effect, becomes a dead letter that can be called again (`mainstem dead-letters`), and the view goes on.
   */
  readonly onError?: 'stop' | 'skip'
  /** Dead letters that the view may have at a time, at least 1; with one more it stops. Default 10,000. */
  readonly deadLettersMax?: number
}

type Emits<P extends ProjectionSpec> = P['emits'] extends readonly AnyTopic[] ? P['emits'][number] : never

/** What a handler knows besides its state and record. One object per projection: it is valid during the call only. */
export interface Context<P extends ProjectionSpec = ProjectionSpec> {
  readonly key: z.output<P['key']>
  /** The record's place in the log. */
  readonly position: Position
  /** Event time of the record (its source's commit time, or append time), epoch milliseconds. */
  readonly timeMs: number
  /** In [0, 1), seeded by position and key: the same on every replay. */
  random(): number
  /**
   * Publishes an event, once, when the transaction at hand has been folded; it gets a position of its own in the log.
   * @param topic one of the projection's `emits`
   * @param value of the topic's input type, checked at once
   * @throws RECORD_REFUSED, RECORD_TOO_LARGE
   */
  emit<T extends Emits<P>>(topic: T, value: z.input<T['value']>): void
  /** Takes this key's row out of the view; a later record starts it anew. For event streams; table rows leave by `remove`. */
  delete(): void
}

type Value<P extends ProjectionSpec> = z.output<P['state']>
type Key<P extends ProjectionSpec> = z.output<P['key']>

/** A view as the application and the client see it. `'~view'` exists for the type checker only. */
export interface View<N extends string = string, K = unknown, V = unknown, W = unknown> {
  readonly name: N
  /** A decider is a view of its streams' states. */
  readonly kind: 'projection' | 'decider'
  readonly '~view': { key: K; value: V; where: W }
}

/** A projection is a view, and a table that other projections can fold. `X` has the fields of each declared index. */
export interface Projection<N extends string, P extends ProjectionSpec, X = never>
  extends View<N, Key<P>, Show<Value<P>>, Where<Indexed<Key<P>, Value<P>>, X>>,
    Input<TableInput<Value<P>, Key<P>>> {
  readonly kind: 'projection'
  readonly name: N
  readonly spec: P
  /**
   * Folds the rows of a table (or view), or the events of a topic, into the state of one key.
   * @param by a column, a column per key field, or a function giving a key, null (nowhere) or several keys
   * @param handlers of a table `{ add, remove }`; of a topic a function, or where its contract is a union a function for each
   * variant that matters: `{ Held: (state, event) => … }`; events of the others do not touch a row
   * Or, for fields of the state, what to compute: `{ orders: count(), cents: sum('amount_cents') }`
   * @throws HANDLER_ASYNC, DEFINITION_INVALID
   */
  on<C extends Input>(
    input: C,
    by: ByColumn<C['~input']['row'], Key<P>> | ByFunction<C['~input'], Key<P>>,
    handlers: Handlers<C['~input'], Draft<Value<P>>, Context<P>> | Aggregates<C['~input']['row'], Value<P>>,
  ): Projection<N, P, X>
  /**
   * Keeps the rows in the order of these fields, and of their keys where those are equal, so that they can be asked for by the
   * first fields and a range of the next: `.index('city', 'open_cents')` serves `{ city }` and `{ city, open_cents: { gte: 100 } }`.
   * It is built from the rows in the background at each start; a view may have several.
   * @param fields scalar fields of the state, or of a key of several fields; nulls come last
   * @throws DEFINITION_INVALID
   */
  index<
    const F extends readonly [
      IndexableField<Indexed<Key<P>, Value<P>>>,
      ...IndexableField<Indexed<Key<P>, Value<P>>>[],
    ],
  >(...fields: F): Projection<N, P, X | F>
  /**
   * Takes rows over that were stored by another state schema, instead of folding the log anew: at a start after the change, each
   * row of the newest checkpoint (or savepoint) goes through the function. Further calls are for further former schemas.
   * @param from the state's schema as it was; the key's must be what it is now
   * @param to gives the row in its new form; pure, as handlers are
   * @throws HANDLER_ASYNC, DEFINITION_INVALID; at a start MIGRATION_FAILED naming the key, and the checkpoint stays as it was
   */
  migrate<Z extends z.ZodObject>(from: Z, to: (old: z.output<Z>) => Value<P>): Projection<N, P, X>
  /**
   * Which rows a client may see, as a function of what its API key or JWT says of it. Every way to read rows goes through it; a row that
   * may not be seen is answered as one that is absent. Where nobody is asked who they are, and in this process, all rows are seen.
   * @param claims the claims it needs; a client whose claims are others is refused
   * @param sees at once, true or false
   * @throws HANDLER_ASYNC, DEFINITION_INVALID
   * @example accounts.policy(z.object({ city: z.string() }), ({ city }, account) => account.city === city)
   */
  policy<Z extends z.ZodObject>(
    claims: Z,
    sees: (claims: z.output<Z>, row: Show<Value<P>>, key: Key<P>) => boolean,
  ): Projection<N, P, X>
}

function checkTtl(name: string, { ttl }: ProjectionSpec): void {
  if (ttl === undefined || (Number.isSafeInteger(ttl) && ttl > 0)) return
  throw fail('DEFINITION_INVALID', `${name}: ttl is a number of milliseconds above 0`, {
    detail: `it is ${String(ttl)}`,
    hint: 'say minutes(10)',
  })
}

function checkSkipping(name: string, { onError, deadLettersMax }: ProjectionSpec): void {
  if (onError !== undefined && onError !== 'stop' && onError !== 'skip')
    throw fail('DEFINITION_INVALID', `${name}: onError is 'stop' or 'skip'`, { detail: `it is ${String(onError)}` })
  if (deadLettersMax === undefined) return
  if (onError === 'skip' && Number.isSafeInteger(deadLettersMax) && deadLettersMax > 0) return
  throw fail('DEFINITION_INVALID', `${name}: deadLettersMax is a number of dead letters, with onError: 'skip'`, {
    detail: `it is ${String(deadLettersMax)}, onError is '${onError ?? 'stop'}'`,
  })
}

type AnyHandler = (...args: never[]) => unknown
export interface TableHandlers {
  readonly add: AnyHandler
  readonly remove: AnyHandler
  readonly update?: AnyHandler
}

/** By variant of a union. */
export type EventHandlers = Readonly<Record<string, AnyHandler>>

export type DeclaredHandlers = AnyHandler | TableHandlers | EventHandlers

/** One `.on`, as declared. */
export interface On {
  readonly input: Input & { readonly key?: unknown; readonly value?: RecordSchema }
  readonly by: string | Readonly<Record<string, string>> | ((row: AnyRow, key: unknown) => unknown)
  readonly handlers: DeclaredHandlers | Readonly<Record<string, Aggregate>>
}

interface DefinitionParts {
  readonly ons?: readonly On[]
  readonly migrations?: readonly Migration[]
  readonly indexes?: readonly (readonly string[])[]
  readonly rowPolicy?: Policy | undefined
}

/** A projection as the runtime sees it. */
export class ProjectionDefinition {
  readonly kind = 'projection'
  readonly name: string
  readonly spec: ProjectionSpec
  readonly ons: readonly On[]
  /** The definition of which this one is a restricted form; otherwise itself. */
  readonly origin: ProjectionDefinition
  readonly migrations: readonly Migration[]
  /** The fields of each declared index. */
  readonly indexes: readonly (readonly string[])[]
  /** Who may see which rows; undefined: everybody all. */
  readonly rowPolicy: Policy | undefined

  constructor(name: string, spec: ProjectionSpec, parts: DefinitionParts = {}, origin?: ProjectionDefinition) {
    this.name = name
    this.spec = spec
    this.ons = parts.ons ?? []
    this.migrations = parts.migrations ?? []
    this.indexes = parts.indexes ?? []
    this.rowPolicy = parts.rowPolicy
    this.origin = origin ?? this
  }

  /** A new definition with one input more: declarations are never changed. */
  on(declared: On['input'], by: On['by'], handlers: On['handlers']): ProjectionDefinition {
    const input = isDecider(declared) ? declared.topic : declared
    if (this.spec.ttl !== undefined && (input.kind === 'table' || input.kind === 'projection'))
      throw fail('DEFINITION_INVALID', `${this.name} has a ttl and folds ${input.name}, whose rows go by themselves`, {
        hint: 'a ttl is for views that fold topics of events, or the changes of tables as events (table.changes)',
      })
    if (!areAggregates(handlers)) checkHandlers(`${this.name}.on(${input.name})`, input, handlers)
    return this.#with({ ons: [...this.ons, { input, by, handlers }] })
  }

  #with(parts: DefinitionParts): ProjectionDefinition {
    return new ProjectionDefinition(this.name, this.spec, { ...this, ...parts })
  }

  index(...fields: readonly string[]): ProjectionDefinition {
    checkIndex(this, fields)
    return this.#with({ indexes: [...this.indexes, fields] })
  }

  migrate(from: z.ZodObject, to: Migration['to']): ProjectionDefinition {
    if (typeof to !== 'function') throw fail('DEFINITION_INVALID', `${this.name}.migrate needs a function`)
    if (to.constructor.name === 'AsyncFunction') throw fail('HANDLER_ASYNC', `${this.name}.migrate is async`)
    return this.#with({ migrations: [...this.migrations, { from, to }] })
  }

  policy(claims: z.ZodObject, sees: Policy['sees']): ProjectionDefinition {
    return this.#with({ rowPolicy: declarePolicy(this.name, claims, sees, this.rowPolicy) })
  }
}

function checkHandlers(where: string, input: On['input'], handlers: DeclaredHandlers): void {
  if (input.kind === 'table' || input.kind === 'projection') checkTableHandlers(where, handlers)
  else if (typeof handlers !== 'function') checkEventHandlers(where, input, handlers)
  for (const handler of typeof handlers === 'function' ? [handlers] : Object.values(handlers)) {
    if (handler?.constructor.name === 'AsyncFunction') throw fail('HANDLER_ASYNC', `a handler of ${where} is async`)
  }
}

function checkTableHandlers(where: string, handlers: DeclaredHandlers): void {
  if (typeof handlers === 'object' && typeof handlers['add'] === 'function' && typeof handlers['remove'] === 'function')
    return
  throw fail('DEFINITION_INVALID', `${where} needs add and remove`, {
    hint: 'a row of a table comes and goes: { add, remove }',
  })
}

function checkEventHandlers(where: string, { name, value }: On['input'], handlers: object): void {
  const variants = value && discriminatorOf(value) !== undefined ? shapeOf(value, name).variants : []
  if (variants.length === 0 || typeof handlers !== 'object' || handlers === null) {
    throw fail('DEFINITION_INVALID', `${where} needs one function`, {
      hint: 'an event is a fact: (state, event) => { … }',
    })
  }
  const names = variants.map(variant => variant.name)
  const unknown = Object.keys(handlers).find(each => !names.includes(each))
  if (unknown !== undefined)
    throw fail('DEFINITION_INVALID', `${where} handles '${unknown}', which is no variant of ${name}`, {
      detail: `its variants are ${names.join(', ')}`,
    })
  const functions: unknown[] = Object.values(handlers)
  if (functions.length === 0 || functions.some(handler => typeof handler !== 'function'))
    throw fail('DEFINITION_INVALID', `${where} needs a function for each variant that it names, and one at least`)
}

/**
 * Declares a view: a fold of tables and topics by key.
 * @param name durable: checkpoints, URLs and clients know the view by it
 * @throws DEFINITION_INVALID
 * @example
 * const spending = projection('spending', { key: z.string(), state: z.object({ cents: z.int() }) })
 *   .on(purchases, 'customer', (spent, purchase) => { spent.cents += purchase.cents })
 */
export function projection<const N extends string, const P extends ProjectionSpec>(
  name: N,
  spec: P & CheckState<P['state']>,
): Projection<N, P> {
  checkName('projection', name)
  checkSkipping(name, spec)
  checkTtl(name, spec)
  return new ProjectionDefinition(name, spec) as unknown as Projection<N, P>
}
