// The connections of one attempt: what PostgreSQL does at each step of it.
import { randomUUID } from 'node:crypto'

import type { RawValues } from '../../core/index.ts'
import type { RowReader } from '../connector/rows.ts'
import type {
  CheckedTable,
  CheckedTopic,
  ChunkReader,
  Feed,
  FeedSink,
  Known,
  LiveReader,
  Preflight,
  Session,
  SessionOptions,
  Snapshot,
} from '../connector/technology.ts'
import { createRowReader } from './columns.ts'
import type { Client } from './connection.ts'
import { connect } from './connection.ts'
import { checkCondition, LiveCopyReader, settle } from './live-snapshot.ts'
import { watchLocks } from './lock-watch.ts'
import { findLost } from './lost.ts'
import { messagesOf } from './messages.ts'
import { type PgOutbox, PgOutboxTables, readOutbox } from './outbox.ts'
import { type Checked, type PgTable, preflight, publishedOf } from './preflight.ts'
import { ensurePublication, unpublishedTables } from './publication.ts'
import type { Setup } from './setup.ts'
import { createSlot, dropSlot, keepOnStandbys, readSlot, type SlotKind, waitUntilFree } from './slot.ts'
import { CopyReader, ofPostgres } from './snapshot.ts'
import { ReplicationStream } from './stream.ts'
import { findSuccessor } from './successor.ts'

export class PostgresSession implements Session<bigint> {
  readonly #setup: Setup
  readonly #options: SessionOptions
  readonly #sql: Client
  #identity: Checked['identity'] = {}
  #tables: readonly PgTable[] = []
  #outboxes: readonly PgOutbox[] = []
  readonly outbox: PgOutboxTables

  constructor(setup: Setup, sql: Client, options: SessionOptions) {
    this.#setup = setup
    this.#sql = sql
    this.#options = options
    this.outbox = new PgOutboxTables(sql, topic => this.#outboxes.find(({ captured }) => captured === topic))
  }

  #watched<T>(work: () => Promise<T>): Promise<T> {
    return watchLocks(this.#setup.target, this.#sql, this.#options.onWaiting, work)
  }

  check(known: Known<bigint>): Promise<Preflight> {
    return this.#watched(async () => {
      const setup = this.#setup
      const { identity, timelines, tables, outboxes } = await preflight(setup, this.#sql)
      this.#identity = identity
      this.#tables = tables
      this.#outboxes = outboxes
      const slot = await readSlot(this.#sql, setup.slot)
      const successor = findSuccessor(setup, known, identity, timelines, slot)
      const unpublished = await unpublishedTables(setup, this.#sql, publishedOf(tables, outboxes))
      return {
        identity,
        ...(successor ? { successor } : {}),
        tables,
        topics: [...outboxes, ...messagesOf(setup.topics)],
        lost: findLost(setup, known, slot, unpublished),
      }
    })
  }

  #untilFree(): Promise<void> {
    const { source, slot } = this.#setup
    const { onWaiting, signal } = this.#options
    return waitUntilFree(this.#sql, source, slot, onWaiting, signal)
  }

  async waitUntilFree(): Promise<void> {
    const { slot, failover, target } = this.#setup
    await this.#untilFree()
    if (!failover || (await readSlot(this.#sql, slot))?.failover !== false) return
    const replication = await connect(target, 'replication')
    await keepOnStandbys(replication, slot).finally(() => replication.end().catch(() => {}))
  }

  async clear(before: 'none' | 'unfinished' | 'finished'): Promise<void> {
    const { source, slot } = this.#setup
    const tables = publishedOf(this.#tables, this.#outboxes)
    await this.#watched(() => ensurePublication(this.#setup, this.#sql, tables))
    if (before === 'none') return
    if (before === 'finished') await this.#untilFree()
    await dropSlot(this.#sql, source, slot, before === 'unfinished')
  }

  openSnapshot(): Promise<Snapshot<bigint>> {
    const { slot, failover } = this.#setup
    return this.#openSnapshot(slot, failover ? 'kept on standbys' : 'lasting')
  }

  openExactSnapshot(): Promise<Snapshot<bigint>> {
    return this.#openSnapshot(`mainstem_exact_${randomUUID().replaceAll('-', '')}`, 'of the connection')
  }

  /** Only a slot's creation says at which LSN a snapshot is. */
  async #openSnapshot(slot: string, kind: SlotKind): Promise<Snapshot<bigint>> {
    const { target } = this.#setup
    const { onWaiting, signal } = this.#options
    const replication = await connect(target, 'replication')
    try {
      const created = await createSlot(replication, this.#sql, slot, onWaiting, signal, kind)
      return {
        position: created.consistentPoint,
        openReader: () => this.#openReader(created.snapshot),
        readOutbox: topic => this.#readOutbox(created.snapshot, topic),
        close: () => replication.end().catch(() => {}),
      }
    } catch (error) {
      await replication.end().catch(() => {})
      throw error
    }
  }

  async #openReader(snapshot: string): Promise<ChunkReader> {
    const { target } = this.#setup
    return new CopyReader(target, await this.#connectIn(snapshot), this.#options.onWaiting)
  }

  async *#readOutbox(snapshot: string, topic: CheckedTopic): AsyncGenerator<readonly RawValues[]> {
    const outbox = this.#outboxes.find(({ captured }) => captured === topic.captured)
    if (!outbox) return
    const client = await this.#connectIn(snapshot)
    try {
      yield* readOutbox(client, outbox)
    } finally {
      await client.end().catch(() => {})
    }
  }

  /** A connection that sees what the snapshot saw. */
  async #connectIn(snapshot: string): Promise<Client> {
    const client = await connect(this.#setup.target)
    await client.query('begin transaction isolation level repeatable read, read only')
    await client.query(`set transaction snapshot '${snapshot.replaceAll("'", "''")}'`)
    return client
  }

  rowReader(table: CheckedTable): RowReader {
    const found = this.#tables.find(each => each.setup === table.setup)
    return createRowReader(table.setup.contract, found?.catalog.columns ?? [])
  }

  publish(tables: readonly CheckedTable[], topics: readonly CheckedTopic[]): Promise<void> {
    const outboxes = this.#outboxes.filter(({ captured }) => topics.some(topic => topic.captured === captured))
    const published = publishedOf(tables.map(ofPostgres), outboxes)
    return this.#watched(() => ensurePublication(this.#setup, this.#sql, published))
  }

  settle(signal: AbortSignal): Promise<void> {
    return settle(this.#setup.target, this.#options.onWaiting, signal)
  }

  async openLiveReader(): Promise<LiveReader<bigint>> {
    const { target } = this.#setup
    return new LiveCopyReader(target, await connect(target), this.#options.onWaiting)
  }

  checkCondition(table: CheckedTable, where: string): Promise<void> {
    return checkCondition(this.#setup.target, table, where)
  }

  openFeed(start: bigint, sink: FeedSink<bigint>, begins: ReadonlyMap<string, bigint>): Feed<bigint> {
    return new ReplicationStream({
      setup: this.#setup,
      sql: this.#sql,
      identity: this.#identity,
      tables: this.#tables,
      outboxes: this.#outboxes,
      messages: messagesOf(this.#setup.topics),
      start,
      sink,
      begins,
    })
  }

  close(): void {
    void this.#sql.end().catch(() => {})
  }
}
