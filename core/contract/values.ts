// The types by which an application's schemas reach its handlers, answers and wire format. No code.
import type { z } from 'zod'

export type Atom = string | number | bigint | boolean | null | undefined | Date | Uint8Array

/** `z.json()`, `z.any()` and `z.unknown()` stay as they are: to walk into them would never end. */
type Open<T> = [z.core.util.JSONType] extends [T] ? true : false

/** What a handler reads: deeply readonly. `{ ...row }` keeps a copy. */
export type Row<T> = Open<T> extends true ? T : ClosedRow<T>
type ClosedRow<T> = T extends Atom
  ? T
  : T extends Map<infer K, infer V>
    ? ReadonlyMap<K, Row<V>>
    : { readonly [F in keyof T]: Row<T[F]> }

/** What a handler writes: fields assignable; arrays and open records are values (replace them); maps are live. */
export type Draft<T> = Open<T> extends true ? T : ClosedDraft<T>
type ClosedDraft<T> = T extends Atom
  ? T
  : T extends Map<infer K, infer V>
    ? Map<K, Row<V>>
    : T extends readonly unknown[]
      ? Row<T>
      : string extends keyof T
        ? Row<T>
        : { -readonly [F in keyof T]: Draft<T[F]> }

/** The same value in JSON: int64, dates and bytes (base64) as strings, maps as lists of pairs. */
export type Wire<T> = T extends bigint | Date | Uint8Array
  ? string
  : T extends Atom
    ? T
    : T extends Map<infer K, infer V>
      ? (readonly [Wire<K>, Wire<V>])[]
      : { [F in keyof T]: Wire<T[F]> }

/** What a synchronous handler may return: a Promise is not a `Sync`, so `async` does not compile. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement returns void
export type Sync = void | undefined | null | boolean | number | bigint | string

/** Spells out an intersection, so that hovers show fields. */
export type Show<T> = { [F in keyof T]: T[F] } & {}

declare const brand: unique symbol
/** A place in the log, opaque outside of it. */
export type Position = string & { readonly [brand]: 'position' }

/** Any row, where its contract is not known statically. */
export type AnyRow = Record<string, unknown>

type HasZero<T> = null extends T
  ? true
  : [T] extends [number | bigint | boolean | readonly unknown[] | Map<unknown, unknown>]
    ? true
    : [T] extends [Atom]
      ? false
      : string extends keyof T
        ? true
        : false extends { [F in keyof T]: HasZero<T[F]> }[keyof T]
          ? false
          : true
type Unstarted<Sh extends z.core.$ZodShape> = {
  [F in keyof Sh & string]: undefined extends z.input<Sh[F]> ? never : HasZero<z.output<Sh[F]>> extends true ? never : F
}[keyof Sh & string]
/** A state of which a row can begin; where it cannot, the message names the field. */
export type CheckState<Z extends z.ZodObject> = [Unstarted<Z['shape']>] extends [never]
  ? unknown
  : { state: `state field '${Unstarted<Z['shape']>}' needs .default(value) or .nullable()` }
