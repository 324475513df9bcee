// Transactions of the stream → batches of the log, whole. Relation messages are checked against the contracts; rows go
// through the recorder, which knows what stood there before.
import {
  fail,
  type Log,
  type Mirror,
  type PlacedParked,
  placeParked,
  Recorder,
  type SourceEvent,
} from '../../core/index.ts'
import { type Captured, Changes, type OldKind } from '../connector/changes.ts'
import type { Pipeline } from '../connector/pipeline.ts'
import { createRowReader } from './columns.ts'
import { formatLsn } from './lsn.ts'
import type { PgoutputHandler, Relation, Tuple } from './pgoutput.ts'
import type { CheckedTable } from './preflight.ts'

import type { PgType } from './types.ts'

export interface TransactionsOptions {
  readonly source: string
  readonly log: Log
  readonly mirror: Mirror
  readonly pipeline: Pipeline<bigint>
  readonly tables: readonly CheckedTable[]
  /** Transactions that end at or before it are in the log already. */
  readonly start: bigint
  readonly onEvent: (event: SourceEvent) => void
}

export class Transactions implements PgoutputHandler {
  readonly #options: TransactionsOptions
  readonly #recorder: Recorder
  readonly #rows: Changes
  readonly #relations = new Map<number, Captured>()
  #batch: ReturnType<Log['batch']> | undefined
  #transaction = 0
  #skip = false
  inTransaction = false
  changes = 0
  lastCommit: bigint

  constructor(options: TransactionsOptions) {
    this.#options = options
    this.#recorder = new Recorder(options.mirror, options.log.batch())
    this.#rows = new Changes(this.#recorder)
    this.lastCommit = options.start
  }

  begin(finalLsn: bigint, _commitTimeUs: number, transaction: number): void {
    this.inTransaction = true
    this.#transaction = transaction
    // A commit record that begins before the log's mark also ends there: marks are ends of records.
    this.#skip = finalLsn < this.#options.start
    this.#batch = undefined
  }

  commit(endLsn: bigint, commitTimeUs: number): void {
    const { source, pipeline } = this.#options
    const batch = this.#batch
    this.inTransaction = false
    this.#batch = undefined
    this.lastCommit = endLsn
    if (!batch || batch.count === 0) {
      if (!this.#skip) pipeline.passed(endLsn)
      return
    }
    const position = formatLsn(endLsn)
    const parked = this.#recorder.takeParked()
    const mark = { source, position, transaction: String(this.#transaction), commitTimeUs }
    pipeline.append(
      batch,
      mark,
      endLsn,
      parked.length === 0 ? undefined : appended => this.#announce(parked, position, appended.first),
    )
  }

  #announce(parked: readonly PlacedParked[], position: string, first: number): void {
    placeParked(parked, position, first)
    announceParked(this.#options.source, parked, position, this.#options.onEvent)
  }

  /** The table that a relation message means, if it is captured. */
  capturedBy(relation: Relation): CheckedTable | undefined {
    return this.#options.tables.find(
      ({ setup }) => setup.pg.schema === relation.schema && setup.pg.name === relation.table,
    )
  }

  /** Whether the relation is of a captured table and its columns are no longer those that were checked. */
  isChanged(relation: Relation): boolean {
    const table = this.capturedBy(relation)
    if (!table) return false
    return relation.columns.some(column => {
      const known = table.catalog.columns.find(candidate => candidate.name === column.name)
      return !known || known.typeId !== column.typeId || known.typeModifier !== column.typeModifier
    })
  }

  relation(relation: Relation): void {
    const table = this.capturedBy(relation)
    if (!table) return
    const types = new Map(table.catalog.columns.map(column => [column.name, column.type]))
    this.useRelation(
      relation,
      table,
      relation.columns.map(column => types.get(column.name) ?? UNKNOWN),
    )
  }

  /** @throws CONTRACT_COLUMN_MISSING, CONTRACT_KEY_MISMATCH: the table was altered so that its contract no longer holds */
  useRelation(relation: Relation, table: CheckedTable, types: readonly PgType[]): void {
    const { contract, table: input } = table.setup
    for (const name of Object.keys(contract.schema.shape)) {
      if (relation.columns.some(column => column.name === name)) continue
      throw fail('CONTRACT_COLUMN_MISSING', `${input.name} has no column '${name}' any more`, {
        detail: `it has ${relation.columns.map(column => column.name).join(', ')}`,
        hint: 'bring the contract up to date, or undo the change of the table',
      })
    }
    const columns = relation.columns.map((column, n) => ({ name: column.name, type: types[n] ?? UNKNOWN }))
    const mirrored = this.#options.mirror.table(contract.name)
    this.#relations.set(relation.id, { mirrored, reader: createRowReader(contract, columns) })
  }

  #begun(relationId: number): Captured | undefined {
    if (this.#skip) return undefined
    const captured = this.#relations.get(relationId)
    if (!captured) return undefined
    this.changes++
    if (!this.#batch) {
      this.#batch = this.#options.log.batch()
      this.#recorder.use(this.#batch)
    }
    return captured
  }

  insert(relationId: number, after: Tuple): void {
    const captured = this.#begun(relationId)
    if (captured) this.#rows.insert(captured, after)
  }

  update(relationId: number, oldKind: OldKind, before: Tuple, after: Tuple): void {
    const captured = this.#begun(relationId)
    if (captured) this.#rows.update(captured, oldKind, before, after)
  }

  delete(relationId: number, _oldKind: OldKind, before: Tuple): void {
    const captured = this.#begun(relationId)
    if (captured) this.#rows.delete(captured, before)
  }

  /** Truncation: every row of the mirror is deleted. Yields between slices, so nothing else may be decoded meanwhile. */
  async truncateTables(relationIds: readonly number[], nextSlice: () => Promise<void>): Promise<void> {
    for (const id of relationIds) {
      const captured = this.#begun(id)
      if (captured) await this.#rows.truncate(captured.mirrored, nextSlice)
    }
  }
}

const UNKNOWN: PgType = { class: 'other', name: 'unknown' }

export function announceParked(
  source: string,
  parked: readonly PlacedParked[],
  position: string,
  onEvent: (event: SourceEvent) => void,
): void {
  for (const { table, row } of parked) {
    onEvent({ event: 'parked', source, topic: table.name, key: row.key, position, error: row.error })
  }
}
