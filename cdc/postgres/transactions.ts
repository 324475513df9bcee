// Messages of pgoutput → the changes they mean. Relation messages are checked against the contracts.
import { fail } from '../../core/index.ts'
import type { Captured, OldKind } from '../connector/changes.ts'
import type { OutboxReader } from '../connector/events.ts'
import { earlyTopics, placesOf } from '../connector/outbox-table.ts'
import type { FeedSink } from '../connector/technology.ts'
import { createRowReader } from './columns.ts'
import type { PgMessages } from './messages.ts'
import type { PgOutbox } from './outbox.ts'
import type { PgoutputHandler, Relation, Tuple } from './pgoutput.ts'
import type { PgTable } from './preflight.ts'
import type { PgType } from './types.ts'

interface CapturedOutbox {
  readonly topic: string
  readonly reader: OutboxReader
  readonly places: ReadonlyMap<string, number>
}

export interface TransactionsOptions {
  readonly tables: readonly PgTable[]
  readonly outboxes: readonly PgOutbox[]
  readonly messages: readonly PgMessages[]
  /** Transactions that end at or before it are in the log already. */
  readonly start: bigint
  readonly sink: FeedSink<bigint>
  /** Outboxes that came later → where their events begin. */
  readonly begins: ReadonlyMap<string, bigint>
}

/** What a relation message does not say of a column. */
export interface KnownColumn {
  readonly type: PgType
  readonly number: number | null
}

export class Transactions implements PgoutputHandler {
  readonly #options: TransactionsOptions
  readonly #sink: FeedSink<bigint>
  readonly #captured = new Map<number, Captured>()
  readonly #messages: ReadonlyMap<string, PgMessages>
  readonly #outboxes = new Map<number, CapturedOutbox>()
  /** Outboxes that do not begin before the transaction at hand. */
  #early: ReadonlySet<string> = new Set()

  constructor(options: TransactionsOptions) {
    this.#options = options
    this.#messages = new Map(options.messages.map(messages => [messages.prefix, messages]))
    this.#sink = options.sink
  }

  begin(finalLsn: bigint, _commitTimeUs: number, transaction: number): void {
    this.#early = earlyTopics(this.#options.begins, begin => finalLsn < begin)
    // A commit record that begins before the log's mark also ends there: marks are ends of records.
    this.#sink.begin(String(transaction), finalLsn < this.#options.start)
  }

  commit(endLsn: bigint, commitTimeUs: number): void {
    this.#sink.commit(endLsn, commitTimeUs)
  }

  message(transactional: boolean, lsn: bigint, prefix: string, content: Buffer): void {
    const to = this.#messages.get(prefix)
    if (!to) return
    const sink = this.#sink
    // `lsn` is where its record ends.
    if (!transactional) sink.begin('', lsn <= this.#options.start)
    sink.event(to.captured.topic.name, to.reader.read(content.toString()))
    if (!transactional) sink.commit(lsn)
  }

  /** The table that a relation message means, if it is captured. */
  capturedBy(relation: Relation): PgTable | undefined {
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
    this.#outboxRelation(relation)
    const table = this.capturedBy(relation)
    if (!table) return
    const known = new Map(table.catalog.columns.map(column => [column.name, column]))
    this.useRelation(
      relation,
      table,
      relation.columns.map(({ name }) => ({
        type: known.get(name)?.type ?? UNKNOWN,
        number: known.get(name)?.number ?? null,
      })),
    )
  }

  /**
   * @param known of each column of the relation
   * @throws CONTRACT_COLUMN_MISSING: the table was altered so that its contract no longer holds
   */
  useRelation(relation: Relation, table: PgTable, known: readonly KnownColumn[]): void {
    const { contract, table: input } = table.setup
    const missing = Object.keys(contract.schema.shape).filter(
      name => !relation.columns.some(column => column.name === name),
    )
    if (missing.length > 0) {
      const which = missing.map(name => `'${name}'`).join(', ')
      throw fail('CONTRACT_COLUMN_MISSING', `${input.name} has no column ${which} any more`, {
        detail: `it has ${relation.columns.map(column => column.name).join(', ')}`,
        hint: 'bring the contract up to date, or undo the change of the table',
        data: { table: input.name, columns: missing },
      })
    }
    const columns = relation.columns.map(({ name }, n) => ({ name, ...known[n]! }))
    this.#sink.schema(
      contract.name,
      columns.map(({ name, type, number }) => ({ name, type: type.name, number })),
    )
    const mirrored = this.#sink.mirrored(contract.name)
    this.#captured.set(relation.id, { mirrored, reader: createRowReader(contract, columns) })
  }

  insert(relationId: number, after: Tuple): void {
    const captured = this.#captured.get(relationId)
    if (captured) this.#sink.insert(captured, after)
    const outbox = this.#outboxes.get(relationId)
    if (outbox && !this.#early.has(outbox.topic)) {
      const text = (_place: number, start: number, end: number) => after.bytes.toString('utf8', start, end)
      this.#sink.event(outbox.topic, outbox.reader.read(after, outbox.places, text))
    }
  }

  /** Only what is inserted into an outbox means something. */
  #outboxRelation({ id, schema, table, columns }: Relation): void {
    const outbox = this.#options.outboxes.find(({ setup: { pg } }) => pg.schema === schema && pg.name === table)
    if (!outbox) return
    const places = placesOf(
      outbox,
      columns.map(({ name }) => name),
    )
    this.#outboxes.set(id, { topic: outbox.captured.topic.name, reader: outbox.reader, places })
  }

  update(relationId: number, oldKind: OldKind, before: Tuple, after: Tuple): void {
    const captured = this.#captured.get(relationId)
    if (captured) this.#sink.update(captured, oldKind, before, after)
  }

  delete(relationId: number, _oldKind: OldKind, before: Tuple): void {
    const captured = this.#captured.get(relationId)
    if (captured) this.#sink.delete(captured, before)
  }

  truncate(relationIds: readonly number[]): void {
    this.#sink.truncate(relationIds.flatMap(id => this.#captured.get(id)?.mirrored ?? []))
  }
}

const UNKNOWN: PgType = { class: 'other', name: 'unknown' }
