// What a client of an application is, in its own process and over HTTP: types only, inferred from the application's definition.
import type { AnyDecider, AnyTopic, Position, Show } from '../../core/index.ts'
import type { Application, Equal, View } from '../../projections/index.ts'
import type { AtOption } from '../at.ts'
import type { LineageEntry } from '../lineage.ts'
import type { SourcePositions } from '../reads.ts'
import type { KeyPrefix, KeyRange, Rows, RowsOptions } from '../rows.ts'

/** A value, and what is known of it. */
export interface Answer<T> {
  readonly value: T
  /** The place in the log that the value is of. */
  readonly position: Position
  /** Milliseconds for which changes may have happened that are not in it; null while not known, and of the past. */
  readonly ageMs: number | null
  /** False while a source's snapshot is not complete: rows may be missing. */
  readonly final: boolean
  /** Where asked for: of each source that reaches what was read, up to where it is in the cut (an LSN, a GTID). */
  readonly sources?: SourcePositions
}

export interface ReadOptions {
  /** Tokens to wait for: what `append` or `writeToken` gave. */
  readonly after?: string | readonly string[]
  /** How long to wait, milliseconds: for the tokens by default 5,000, for a younger answer (`maxAgeMs`) not at all. */
  readonly timeoutMs?: number
  /**
   * Read the past: a position, a time (of appending), or a savepoint. The answer is as of the last transaction that had ended
   * there. Not together with `after`. Default: the present.
   */
  readonly at?: AtOption
  /** The answer says up to where each source is in it. Default false. */
  readonly sources?: boolean
  /**
   * How old the answer may be, milliseconds; with `timeoutMs` an older one is waited for so long. Not together with `at`.
   * Default: as old as it is.
   */
  readonly maxAgeMs?: number
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface LineageQuery<V> {
  /** Most steps to give, 1 to 1,000. Default 100. */
  readonly limit?: number
  /** Only records before this position: that of the last step of the page before. */
  readonly before?: Position
  /** Only records that changed this field. */
  readonly field?: keyof V & string
  /** The last place in the log that is looked at. Default: the present. */
  readonly at?: AtOption
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal
}

/** What became of a row, or how far the view is. */
export type Change<K, V> =
  | { readonly type: 'row'; readonly key: K; readonly value: V; readonly position: Position }
  /** It is there no more. */
  | { readonly type: 'gone'; readonly key: K; readonly position: Position }
  /** All changes up to there have come: after the first rows, and about once a second while nothing else comes. */
  | ({ readonly type: 'progress' } & Omit<Answer<unknown>, 'value'>)

export type SubscribeHow = Pick<ReadOptions, 'after' | 'timeoutMs' | 'sources' | 'signal'>

/** Which rows, in one of these ways. */
export type Selecting<K, W> =
  /** At most 1,000. */
  | { readonly keys: readonly K[]; readonly prefix?: never; readonly where?: never }
  /** Those whose keys begin so: of a text its first characters, of a key of several fields its leading ones. */
  | { readonly prefix: KeyPrefix<K>; readonly keys?: never; readonly where?: never }
  /** Those with these values, of fields that a declared index serves. */
  | { readonly where: Equal<W>; readonly keys?: never; readonly prefix?: never }

export type SubscribeOptions<K, W> = SubscribeHow & Selecting<K, W>

export interface ViewClient<K, V, W = unknown> {
  /**
   * One row; `value` is undefined where it is absent. The value is a copy.
   * @throws NOT_REACHED when the time is up, VIEW_TOO_OLD; TOKEN_MALFORMED, TOKEN_OTHER_LOG, KEY_INVALID, VIEW_STOPPED, VIEW_REBUILDING; with
   * `at`: AT_MALFORMED, AT_AHEAD, AT_GONE where history was removed, AT_TOO_FAR, SAVEPOINT_UNKNOWN, STATE_TOO_LARGE
   */
  get(key: K, options?: ReadOptions): Promise<Answer<V | undefined>>
  /** Several rows at one cut, at most 1,000: a value or undefined for each key, in order. @throws as `get` */
  lookup(keys: readonly K[], options?: ReadOptions): Promise<Answer<readonly (V | undefined)[]>>
  /** Rows by their keys, in the order of keys: `range({ from: 1, to: 100 })`. */
  range(range?: KeyRange<K>, options?: RowsOptions): Rows<K, V>
  /**
   * Rows by what a declared index serves, in the order of its fields and then of keys:
   * `where({ city: 'Bern', open_cents: { gte: 100 } })`. Where several serve it, the one declared first does.
   */
  where(where: W, options?: RowsOptions): Rows<K, V>
  /**
   * Rows of some keys, of a prefix of keys, or with some values of fields, as they are, and then each change of them, in the order of
   * the log; it ends when it is left, or by its signal. A row that comes to have the values is a `row`, one that has them no more is
   * `gone`. Whoever takes changes too slowly gets the newest rows instead of each change.
   * @throws as `get`; INDEX_BUILDING; OVERLOADED where there are too many; SHUTTING_DOWN, VIEW_STOPPED when that happens
   * @example for await (const change of client.views.spending.subscribe({ keys: ['ada'] })) if (change.type === 'row') console.log(change.value)
   */
  subscribe(options: SubscribeOptions<K, W>): AsyncIterable<Change<K, V>>
  /** The records that made a row, through other views too, and what each did to it; newest first. @throws as `get` with `at` */
  lineage(key: K, query?: LineageQuery<V>): Promise<readonly LineageEntry<V>[]>
}

/** What came of a command: events, or why not. */
export type Outcome<E, R> =
  | {
      readonly ok: true
      /** What happened, without the fields of the key; none where nothing did. */
      readonly events: readonly E[]
      /** Of the stream, after them: how many events it has had. `expectedVersion` of the next command, where nobody else may come between. */
      readonly version: number
      /** Waits for them: `after` of a read. This client's own reads do by themselves. */
      readonly token: string
    }
  | {
      readonly ok: false
      /** Its name, as the decider declares it. */
      readonly refused: R
      readonly message: string
    }

export interface CommandOptions {
  /**
   * Of your choosing, for this command alone, 1 to 200 characters: under it the command is decided once within a week, whatever is sent
   * again, and what came of it is answered again. For another command it is IDEMPOTENCY_KEY_REUSED. Default: none.
   */
  readonly idempotencyKey?: string
  /** The version that the stream must have, 0 where it must have no events yet. Default: whichever it has. */
  readonly expectedVersion?: number
  /** Ends the call with the signal's reason; whether the command has been decided is then not known. */
  readonly signal?: AbortSignal
}

/**
 * Sends a command: its stream's key, and its fields. Resolves when what it came to is durable; a refusal is an answer.
 * @throws COMMAND_INVALID, KEY_MALFORMED; VERSION_CONFLICT with `data.version`; COMMAND_FAILED; IDEMPOTENCY_KEY_REUSED; FORBIDDEN; LOG_FULL,
 * LOG_FAILED; over HTTP APPLICATION_UNREACHABLE: with an `idempotencyKey` it is tried again before, otherwise it may have been decided
 */
export type SendCommand<K, C, E, R> = (key: K, command: C, options?: CommandOptions) => Promise<Outcome<E, R>>

type CommandsIn<D extends AnyDecider> = {
  readonly [C in keyof D['~commands']['commands']]: SendCommand<
    D['~commands']['key'],
    D['~commands']['commands'][C],
    D['~commands']['event'],
    D['~commands']['refusal']
  >
}

/** What a module exports: its default export is the application. */
type Module = { readonly default: unknown }
/** An application, or the module that exports it as its default. */
type ApplicationOf<A> = A extends Module ? A['default'] : A
export type ViewsOf<A> = ApplicationOf<A> extends Application<string, infer V, infer D> ? V[number] | D[number] : never
type DecidersOf<A> = ApplicationOf<A> extends Application<string, readonly View[], infer D> ? D[number] : never
export type Types<V extends View> = V['~view']
type Reading<A> = { [V in ViewsOf<A> as V['name']]: readonly [V['name'], Types<V>['key']] }[ViewsOf<A>['name']]
export type ReadsOf<A> = Readonly<Record<string, Reading<A>>>
type Read<A, T> = T extends readonly [infer N, unknown]
  ? Types<Extract<ViewsOf<A>, { name: N }>>['value'] | undefined
  : never
/** The topics that a module exports. */
export type TopicsOf<A> = A extends Module ? Extract<A[keyof A], AnyTopic> : never

/** The views and commands of an application, typed by its own definition, or by the module whose default export it is. */
export interface Client<A> {
  readonly views: {
    readonly [V in ViewsOf<A> as V['name']]: ViewClient<Types<V>['key'], Types<V>['value'], Types<V>['where']>
  }
  /** `client.commands.seats.hold({ show: 'hamlet', seat: 'A1' }, { holder: 'ada' })`. Later reads of this client wait for what came of it. */
  readonly commands: { readonly [D in DecidersOf<A> as D['name']]: CommandsIn<D> }
  /** Several rows of several views at one cut: `client.read({ account: ['accounts', 42], bill: ['bills', 7n] })`. @throws as `get` */
  read<const R extends ReadsOf<A>>(
    reads: R,
    options?: ReadOptions,
  ): Promise<Answer<Show<{ [N in keyof R]: Read<A, R[N]> }>>>
}
