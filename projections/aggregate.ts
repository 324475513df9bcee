// Aggregates by declaration: where a handler would only count and sum, `.on` takes what is to be computed instead of functions.
// Rows of tables are taken out again as they leave. A null in a column is left out, as SQL does.

/** Number of records. */
export interface Count {
  readonly aggregate: 'count'
}
/** Sum of a column. */
export interface Sum<F extends string = string> {
  readonly aggregate: 'sum'
  readonly field: F
}
/** Number of records for each value of an enum column. */
export interface CountBy<B extends string = string> {
  readonly aggregate: 'countBy'
  readonly by: B
}
/** Sum of a column for each value of an enum column. */
export interface SumBy<B extends string = string, F extends string = string> {
  readonly aggregate: 'sumBy'
  readonly by: B
  readonly field: F
}
/** The least, or the greatest, value of a column; null where there is none. */
export interface Extreme<F extends string = string> {
  readonly aggregate: 'min' | 'max'
  readonly field: F
}
/** The value of a column in the newest event that has one. */
export interface Last<F extends string = string> {
  readonly aggregate: 'last'
  readonly field: F
}

export type Aggregate = Count | Sum | CountBy | SumBy | Extreme | Last

/**
 * Counts records, into a numeric field.
 * @example
 * projection('customers', { key: z.int(), state: z.object({ orders: z.int32(), cents: z.int() }) })
 *   .on(orders, 'customer_id', { orders: count(), cents: sum('amount_cents') })
 */
export const count = (): Count => ({ aggregate: 'count' })

/** Sums a column of numbers or bigints, into a field of the same kind. Sums of floats drift where rows leave. */
export const sum = <const F extends string>(field: F): Sum<F> => ({ aggregate: 'sum', field })

/** Counts records by an enum column, into a record over the enum's values. */
export const countBy = <const B extends string>(by: B): CountBy<B> => ({ aggregate: 'countBy', by })

/** Sums a column of numbers by an enum column, into a record over the enum's values. */
export const sumBy = <const B extends string, const F extends string>(by: B, field: F): SumBy<B, F> => ({
  aggregate: 'sumBy',
  by,
  field,
})

/** Keeps the least value of a column, in a nullable field. Over tables each row keeps its values, to find the next when the least leaves. */
export const min = <const F extends string>(field: F): Extreme<F> => ({ aggregate: 'min', field })

/** Keeps the greatest value of a column, in a nullable field; see `min`. */
export const max = <const F extends string>(field: F): Extreme<F> => ({ aggregate: 'max', field })

/** Keeps the newest event's value of a column, in a nullable field. For topics; of a table's rows take `max` of a time column. */
export const last = <const F extends string>(field: F): Last<F> => ({ aggregate: 'last', field })

type Columns<R, V> = { [C in keyof R & string]: NonNullable<R[C]> extends V ? C : never }[keyof R & string]

type AggregateInto<R, T> =
  | ([T] extends [number] ? Count | Sum<Columns<R, number>> : never)
  | ([T] extends [bigint] ? Sum<Columns<R, bigint>> : never)
  | ([T] extends [Readonly<Record<infer K, number>>]
      ? string extends K
        ? never
        : CountBy<Columns<R, K>> | SumBy<Columns<R, K>, Columns<R, number>>
      : never)
  | (null extends T ? Extreme<Columns<R, NonNullable<T>>> | Last<Columns<R, NonNullable<T>>> : never)

/** For fields of the state, what to compute of an input's rows. */
export type Aggregates<R, S> = { readonly [F in keyof S]?: AggregateInto<R, S[F]> }

export const isAggregate = (value: unknown): value is Aggregate =>
  typeof value === 'object' && value !== null && 'aggregate' in value

/** True where `.on` was given aggregates, and not handlers. */
export function areAggregates(handlers: unknown): handlers is Readonly<Record<string, Aggregate>> {
  if (typeof handlers !== 'object' || handlers === null) return false
  const values = Object.values(handlers)
  return values.length > 0 && values.every(isAggregate)
}
