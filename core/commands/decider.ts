// How an application declares the write side of one kind of stream: data first (key, state, events, commands, refusals), functions
// after. What is declared is also an input that projections fold by its events, and a view of its streams' states.
import type { z } from 'zod'
import type { AnyTopic, Atom, CheckState, Draft, Input, Row, Show, Sync, TopicInput } from '../contract/index.ts'
import { DeciderDefinition } from './definition.ts'

export type Schemas = Readonly<Record<string, z.ZodObject>>

export interface DeciderSpec {
  /** One scalar, or an object of scalars: which stream a command is for. Its fields are columns of the events; a scalar is their column `key`. */
  readonly key: z.ZodType
  /** What of a stream's events decisions are made on. A new stream starts at zero, null, false, empty, or the field's `.default()`. */
  readonly state: z.ZodObject
  /** What may happen, in the past tense: by name, without `type` and the key's fields. */
  readonly events: Schemas
  /** What may be asked for: by name. */
  readonly commands: Schemas
  /** Why a command may be refused: by name, with a text for people. */
  readonly refusals?: Readonly<Record<string, string>>
}

/** `z.object({})` infers as Record<string, never>, which no tagged object satisfies. */
type NoFields = Record<never, never>
type Payload<Z extends z.ZodObject, Way> = keyof Z['shape'] extends never
  ? NoFields
  : Way extends 'input'
    ? z.input<Z>
    : z.output<Z>
type Tagged<M extends Schemas, Way> = { [T in keyof M & string]: Show<{ type: T } & Payload<M[T], Way>> }[keyof M &
  string]
type KeyFields<K> = K extends Atom ? { key: K } : K
type Stored<P extends DeciderSpec, T extends keyof P['events'] & string> = Show<
  { type: T } & KeyFields<z.output<P['key']>> & Payload<P['events'][T], 'output'>
>
/** An event as the log has it: with the fields of its stream's key. */
type StoredEvents<P extends DeciderSpec> = { [T in keyof P['events'] & string]: Stored<P, T> }[keyof P['events'] &
  string]
type State<P extends DeciderSpec> = z.output<P['state']>
type Reasons<P extends DeciderSpec> =
  P['refusals'] extends Readonly<Record<string, string>> ? keyof P['refusals'] & string : never

/** What `refuse` gives, to be returned. */
export interface Refusal<R extends string = string> {
  readonly refused: R
}

/** What a command comes to: an event, several that are appended as one unit, none, or a refusal. */
type Decision<P extends DeciderSpec> =
  | Tagged<P['events'], 'input'>
  | readonly Tagged<P['events'], 'input'>[]
  | Refusal<Reasons<P>>

/** What `decide` knows besides state and command. */
export interface DecideContext<P extends DeciderSpec> {
  readonly key: Row<z.output<P['key']>>
  /** The clock, milliseconds since 1970: what is decided by it goes into the events. */
  readonly nowMs: number
  /** To be returned: the command has no effect, and whoever sent it is told why. */
  refuse<R extends Reasons<P>>(reason: R): Refusal<R>
}

/** What commands of a decider are. `'~commands'` exists for the type checker only. */
export interface CommandsOf<K = unknown, C = unknown, E = unknown, R = unknown> {
  readonly '~commands': { key: K; commands: C; event: E; refusal: R }
}

/** The write side of a kind of stream, a view of its states, and an input by its events. */
export interface Decider<N extends string = string, P extends DeciderSpec = DeciderSpec>
  extends Input<TopicInput<StoredEvents<P>, z.output<P['key']>, 'type'>>,
    CommandsOf<
      z.output<P['key']>,
      { [C in keyof P['commands'] & string]: Payload<P['commands'][C], 'input'> },
      Tagged<P['events'], 'output'>,
      Reasons<P>
    > {
  readonly kind: 'decider'
  readonly name: N
  readonly spec: P
  readonly '~view': { key: z.output<P['key']>; value: Show<State<P>>; where: never }
}

/** Any decider, where its types do not matter. */
export interface AnyDecider extends CommandsOf {
  readonly kind: 'decider'
  readonly name: string
  /** Of its events: of the same name, appended to by commands only. */
  readonly topic?: AnyTopic
}

/** A decider without its functions. */
export interface DeciderEvolve<N extends string, P extends DeciderSpec> {
  /**
   * What each event makes of the state, in the order of the stream. Pure, as the handlers of projections are.
   * @throws HANDLER_ASYNC, DEFINITION_INVALID where an event lacks its function
   */
  evolve(
    handlers: {
      [T in keyof P['events'] & string]: (state: Draft<State<P>>, event: Row<Stored<P, T>>) => Sync
    },
  ): DeciderDecide<N, P>
}

/** A decider that lacks its decisions. */
export interface DeciderDecide<N extends string, P extends DeciderSpec> {
  /**
   * What each command comes to, given the state after the stream's newest event. Pure: the clock is `ctx.nowMs`.
   * @throws HANDLER_ASYNC, DEFINITION_INVALID where a command lacks its function
   */
  decide(
    handlers: {
      [C in keyof P['commands'] & string]: (
        state: Row<State<P>>,
        command: Row<Payload<P['commands'][C], 'output'>>,
        ctx: DecideContext<P>,
      ) => Decision<P>
    },
  ): Decider<N, P>
}

/**
 * Declares a decider: commands on streams of events, each decided on its stream's newest version, one after the other.
 * @param name durable: the events in the log, the view of states, URLs and clients know it by it
 * @throws DEFINITION_INVALID, CONTRACT_UNSUPPORTED
 * @example
 * const counters = decider('counters', {
 *   key: z.string(), state: z.object({ n: z.int() }), events: { Added: z.object({ n: z.int() }) },
 *   commands: { add: z.object({ n: z.int() }) }, refusals: { 'too-large': 'a counter goes up to 1,000' },
 * })
 *   .evolve({ Added: (counter, event) => { counter.n += event.n } })
 *   .decide({ add: (counter, { n }, { refuse }) => counter.n + n > 1_000 ? refuse('too-large') : { type: 'Added', n } })
 */
export function decider<const N extends string, const P extends DeciderSpec>(
  name: N,
  spec: P & CheckState<P['state']>,
): DeciderEvolve<N, P> {
  return new DeciderDefinition(name, spec) as unknown as DeciderEvolve<N, P>
}
