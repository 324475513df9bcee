// Which sources' snapshots were complete at a cut, by what the log's control records say.
import type { AnyRow, Log } from '../../core/index.ts'
import { Completeness } from '../shards/completeness.ts'
import type { Pace } from './pace.ts'
import { readRecordsAt } from './records-at.ts'
import { CONTROL_HASH, CONTROL_TOUCHES, type TouchIndex } from './touch-index.ts'

/** A source writes three for each of its snapshots. */
const CONTROL_RECORDS_MAX = 10_000
const WANTED = new Map([[CONTROL_TOUCHES, new Set([CONTROL_HASH])]])

export class CompleteAt {
  readonly #log: Log
  readonly #index: TouchIndex
  /** Control records that have been read, by position. */
  readonly #values = new Map<number, AnyRow | null>()

  constructor(log: Log, index: TouchIndex) {
    this.#log = log
    this.#index = index
  }

  async of(sources: readonly string[], cut: number, pace: Pace): Promise<boolean> {
    if (sources.length === 0) return true
    const range = { after: 0, upTo: cut, most: CONTROL_RECORDS_MAX }
    const positions = await this.#index.positions(WANTED, range, pace)
    const unknown = positions.filter(position => !this.#values.has(position))
    const visitor = {
      record: (cursor: { readonly position: number; after(): AnyRow | null }) =>
        void this.#values.set(cursor.position, cursor.after()),
      endTransaction: () => {},
    }
    await readRecordsAt(this.#log, unknown, visitor, pace)
    const complete = new Completeness()
    for (const position of positions) complete.fold(this.#values.get(position) ?? null, position)
    complete.endTransaction(Number.POSITIVE_INFINITY)
    return sources.every(source => complete.has(source))
  }
}
