// What is measured in `bench replay`: the events of a work, the views that fold them, and what must come out.
import { crc32 } from 'node:zlib'
import type { AnyRow, AnyTopic } from '../../core/index.ts'
import type { Application, Engine } from '../../projections/index.ts'

export type Event = Record<string, unknown>
export type Id = number | string
/** A row as engines are compared by it: its key first, then its numbers. */
export type ComparedRow = readonly Id[]

export interface Work {
  /** Its events go to these in turn. */
  readonly topics: readonly (AnyTopic & { readonly key: unknown })[]
  /** The application, by the way in which its views are declared. */
  readonly apps: Readonly<Record<string, Application>>
  /** Its events from the first one on, the same ones each time. */
  source(): () => Event
  /** The rows that the first `count` events come to, by a plain loop. @param app where its applications have different views: which one */
  expected(count: number, app?: string): Iterable<ComparedRow>
  readonly views: readonly ComparedView[]
}

/** A view whose rows are compared. */
export interface ComparedView {
  readonly name: string
  /** Its rows have some of the first so many keys. */
  readonly keys: number
  keyOf(n: number): Id
  /** What is compared beside the key. */
  numbers(row: AnyRow): readonly number[]
}

/** Fields of a row, in this order. */
export const numbersOf =
  (...fields: readonly string[]): ComparedView['numbers'] =>
  row =>
    fields.map(field => Number(row[field]))

const KEYS_PER_READ = 10_000

/** The rows of those of a work's views that an engine has, read by their keys. */
export async function* rowsOf(work: Work, engine: Engine): AsyncIterable<ComparedRow> {
  for (const { name: view, keys, keyOf, numbers } of work.views) {
    if (!engine.views.has(view)) continue
    for (let from = 0; from < keys; from += KEYS_PER_READ) {
      const requests = Array.from({ length: Math.min(KEYS_PER_READ, keys - from) }, (_, n) => ({
        view,
        key: keyOf(from + n),
      }))
      // Rows are valid up to the next yield to the event loop.
      const { rows } = await engine.read(requests)
      yield* rows.flatMap((row, n) => (row ? [[requests[n]!.key, ...numbers(row)]] : []))
    }
  }
}

export interface Result {
  readonly rows: number
  readonly hash: number
}

/**
 * An order-independent hash of rows: the sum of the CRC-32 of each one's values in decimal, joined by `|`. Below 2^53 for up
 * to 2^21 rows. The peers have the same (bench/peers, Result.java).
 */
export async function resultOf(rows: Iterable<ComparedRow> | AsyncIterable<ComparedRow>): Promise<Result> {
  let [count, hash] = [0, 0]
  for await (const row of rows) {
    count++
    hash += crc32(row.join('|'))
  }
  return { rows: count, hash }
}
