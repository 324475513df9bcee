// What a declared index serves, as types: `.index('city', 'open_cents')` takes `{ city }`, `{ city: range }` and `{ city, open_cents }`
// with a range on the last field only. Anything else does not compile, and the message names the field that no index has.
import type { Show } from '../../core/index.ts'

/** Bounds of a field; null is in no range. */
export interface FieldRange<T> {
  readonly gte?: T
  readonly gt?: T
  readonly lte?: T
  readonly lt?: T
}

declare const missing: unique symbol
/** The type of a condition that no declared index serves. */
export interface NoIndexFor<F> {
  readonly [missing]: F
}

type Scalar = string | number | bigint | boolean | Date

/** Fields of a row of which an index can be. */
export type IndexableField<R> = { [F in keyof R & string]: NonNullable<R[F]> extends Scalar ? F : never }[keyof R &
  string]

/** What fields may be indexed of: those of the state, and those of a key of several fields. */
export type Indexed<K, V> = K extends Scalar | Uint8Array ? V : Show<V & Omit<K, keyof V>>

type Only<R, T> = Show<T & { readonly [F in Exclude<keyof R, keyof T>]?: NoIndexFor<F> }>

/** For the index (a, b): a or a range of a; or a, and b or a range of b. */
type Served<R, X extends readonly unknown[], T = unknown> = X extends readonly [infer A extends keyof R, ...infer Rest]
  ?
      | Only<R, T & { readonly [F in A]: R[F] | FieldRange<NonNullable<R[F]>> }>
      | Served<R, Rest, T & { readonly [F in A]: R[F] }>
  : never

/** Of conditions those that are equal values. */
export type Equal<W> = W extends unknown ? { readonly [F in keyof W]: Exclude<W[F], FieldRange<unknown>> } : never

/** The conditions that the declared indexes `X` of rows `R` serve. */
export type Where<R, X> = [X] extends [never] ? Only<R, unknown> : X extends readonly unknown[] ? Served<R, X> : never
