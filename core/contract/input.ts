// What a projection can fold: tables (rows come and go), and topics (events are facts). The types carry what inference needs.
import type { z } from 'zod'
import type { Retain } from './retain.ts'
import type { Upcast, Upcaster } from './upcast.ts'
import type { Show } from './values.ts'
import type { RecordSchema } from './variants.ts'

export type TableInput<R, K> = { kind: 'table'; row: R; key: K }
/** `D`: the field by which the variants of a union are told apart. */
export type TopicInput<R, K, D = never> = { kind: 'topic'; row: R; key: K; discriminator: D }
export type AnyInput = TableInput<unknown, unknown> | TopicInput<unknown, unknown, unknown>

/** Anything with a name that a projection can be `on`. `'~input'` exists for the type checker only. */
export interface Input<I extends AnyInput = AnyInput> {
  readonly name: string
  readonly kind: InputKind
  readonly '~input': I
}
export type InputKind = 'table' | 'topic' | 'changes' | 'projection' | 'decider'

export type KeyOf<R, K> = K extends readonly (keyof R)[] ? Show<Pick<R, K[number]>> : K extends keyof R ? R[K] : never
export type KeyColumns<R> = (keyof R & string) | readonly [keyof R & string, ...(keyof R & string)[]]

/** A change record as an event. */
export interface Change<R> {
  readonly op: 'insert' | 'update' | 'delete'
  readonly before: R | null
  readonly after: R | null
}

/** A captured table: made by a source, `postgres('shop', …).table('orders', …)`. */
export interface Table<N extends string = string, Z extends z.ZodObject = z.ZodObject, K = unknown>
  extends Input<TableInput<z.output<Z>, KeyOf<z.output<Z>, K>>> {
  readonly kind: 'table'
  /** `<source>.<table>`: also the name of its topic in the log. */
  readonly name: N
  readonly row: Z
  readonly key: K
  /** The change records themselves, as events: `{ op, before, after }`. */
  readonly changes: Input<TopicInput<Change<z.output<Z>>, KeyOf<z.output<Z>, K>>>
}

type DiscriminatorOf<Z> = Z extends { readonly def: { readonly discriminator: infer D } } ? D : never

/** A topic of the application's own events. `Next` is what its next `.upcast` has to give, `Tags` its tags. */
export interface Topic<
  N extends string = string,
  Z extends RecordSchema = RecordSchema,
  K = unknown,
  Next = z.output<Z>,
  Tags extends string = string,
> extends Input<TopicInput<z.output<Z>, KeyOf<z.output<Z>, K>, DiscriminatorOf<Z>>> {
  readonly kind: 'topic'
  readonly name: N
  readonly value: Z
  readonly key: K
  readonly tags?: readonly Tags[]
  readonly upcasts?: readonly Upcast[]
  /**
   * Says how records written under an older version of the contract are read. Versions count from 1, the topic's own is the
   * one after its last upcast. Calls stand newest first, each giving the version after its own: a new one is put in front,
   * the older ones stay as they are.
   * @param schema the contract's `value` as it was, an object or a union
   * @param how a pure function of the old record, of whichever variant; or, between two plain objects,
   * `{ renamed: { old: 'new' }, added: { field: value } }`, which costs nothing per record; records are as stored (the schemas'
   * outputs). Keys keep their names and values.
   * @throws DEFINITION_INVALID
   * @example
   * topic('orders', { key: 'id', value: z.object({ id: z.int(), cents: z.int() }) })
   *   .upcast(1, z.object({ id: z.int(), euros: z.number() }), old => ({ id: old.id, cents: Math.round(old.euros * 100) }))
   */
  upcast<Old extends RecordSchema>(
    version: number,
    schema: Old,
    how: Upcaster<z.output<Old>, Next>,
  ): Topic<N, Z, K, z.output<Old>, Tags>
}

/** Any topic, where its contract's type does not matter. */
export interface AnyTopic {
  readonly kind: 'topic'
  readonly name: string
  readonly value: RecordSchema
  readonly tags?: readonly string[]
  readonly retain?: Retain
  readonly upcasts?: readonly Upcast[]
}

/** Any table, where its contract's type does not matter. */
export interface AnyTable {
  readonly kind: 'table'
  readonly name: string
  readonly row: z.ZodObject
  readonly key: unknown
  readonly retain?: Retain
  readonly upcasts?: readonly Upcast[]
}
