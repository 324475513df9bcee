// One replication connection, from START_REPLICATION to its end. Transactions that the server sends while they run wait in a spool
// for their commit.

import { fail } from '../../core/index.ts'
import type { Feed, FeedSink } from '../connector/technology.ts'
import { readTables } from './catalog.ts'
import { type Client, clientConfig, connect, prepareSession, processIdOf, quoteName, socketOf } from './connection.ts'
import { takeCopyData } from './copy-data.ts'
import { formatLsn } from './lsn.ts'
import type { PgMessages } from './messages.ts'
import type { PgOutbox } from './outbox.ts'
import {
  decodePgoutput,
  isStreaming,
  isTruncate,
  ORIGIN,
  protocolError,
  RELATION,
  type Relation,
  readRelation,
  readStreamedCommit,
  readTruncate,
  STREAM_ABORT,
  STREAM_START,
  STREAM_STOP,
  type StreamedCommit,
} from './pgoutput.ts'
import { checkTable, type PgTable, publishedOf } from './preflight.ts'
import type { Setup } from './setup.ts'
import { Spool } from './spool.ts'
import { StandbyWatch } from './standby-watch.ts'
import { identify } from './successor.ts'
import { TableWatch } from './table-watch.ts'
import { type KnownColumn, Transactions } from './transactions.ts'
import { loadTypes } from './types.ts'

/** Of the replication stream: a part of the server's log, with where it is and when it was sent; or where that log ends. */
const WAL_DATA = 0x77
const WAL_DATA_HEADER_BYTES = 25
const KEEPALIVE = 0x6b
/** For the server to answer the goodbye. */
const CLOSE_PATIENCE_MS = 500

export interface StreamOptions {
  readonly setup: Setup
  /** For questions beside the stream. */
  readonly sql: Client
  /** The server that was checked. */
  readonly identity: Readonly<Record<string, string>>
  readonly tables: readonly PgTable[]
  readonly outboxes: readonly PgOutbox[]
  readonly messages: readonly PgMessages[]
  readonly start: bigint
  readonly sink: FeedSink<bigint>
  /** Outboxes that came later → where their events begin. */
  readonly begins: ReadonlyMap<string, bigint>
}

/** The part of pg-logical-replication's service that is used. */
type Service = InstanceType<typeof import('pg-logical-replication').LogicalReplicationService>

/** A message of pgoutput, the end of the server's log that a keepalive told, or the end of a transaction from the spool. */
type Message = Buffer | bigint | StreamedCommit

export class ReplicationStream implements Feed<bigint, Message> {
  readonly #options: StreamOptions
  readonly #transactions: Transactions
  readonly #watch: TableWatch
  readonly #standby: StandbyWatch
  #spool: Spool | undefined
  #service: Service | undefined
  #client: Client | undefined
  #closed = false
  #reject: (error: unknown) => void = () => {}

  constructor(options: StreamOptions) {
    this.#options = options
    this.#transactions = new Transactions(options)
    const { setup, sql, tables, outboxes } = options
    this.#watch = new TableWatch(setup, sql, publishedOf(tables, outboxes), error => this.#reject(error))
    this.#standby = new StandbyWatch(sql)
  }

  async run(): Promise<void> {
    const { LogicalReplicationService } = await import('pg-logical-replication')
    const { setup, start, sink } = this.#options
    const service = new LogicalReplicationService(clientConfig(setup.target), {
      acknowledge: { auto: false, timeoutSeconds: 0 },
    })
    this.#service = service
    this.#spool = await Spool.open(setup.source, setup.spoolPath)
    const failed = new Promise<never>((_, reject) => {
      this.#reject = reject
    })
    service.on('error', error => this.#reject(error))
    service.on('start', () => {
      this.#standby.start(processIdOf(this.#client))
      sink.started()
    })
    const subscribed = service.subscribe(this.#plugin(), setup.slot, formatLsn(start))
    subscribed.catch(() => {})
    this.#watch.start()
    await Promise.race([subscribed, failed])
  }

  /** What the service asks of an output plugin. It starts and confirms; what the server sends is taken from the socket here. */
  #plugin() {
    const { setup } = this.#options
    const publication = quoteName(setup.publication).replaceAll("'", "''")
    // While it runs a transaction's messages do not say of which subtransaction they are: one that is rolled back could not be told.
    const streaming = this.#options.messages.length > 0 ? 'off' : 'on'
    return {
      options: {},
      name: 'pgoutput',
      start: async (client: Client, slot: string, lsn: string): Promise<unknown> => {
        this.#client = client
        await prepareSession(client)
        await this.#checkServer(client)
        takeCopyData(client, setup.target.messageBytesMax, (bytes, from, to) => this.#onCopyData(bytes, from, to))
        return client.query(
          `START_REPLICATION SLOT ${quoteName(slot)} LOGICAL ${lsn} (proto_version '2', publication_names '${publication}', messages 'true', streaming '${streaming}')`,
        )
      },
      parse: (): void => {},
    }
  }

  /** Behind an address there may be another server by now, whose slot would silently move on to where it can begin. */
  async #checkServer(client: Client): Promise<void> {
    const { setup, identity } = this.#options
    const now = await identify(client)
    if (now.system === identity['system'] && now.timeline === identity['timeline']) return
    throw fail('SOURCE_UNREACHABLE', `source ${setup.source} became another server while it was connected to`)
  }

  #onCopyData(bytes: Buffer, from: number, to: number): void {
    if (bytes[from] === WAL_DATA) this.#options.sink.deliver(bytes.subarray(from + WAL_DATA_HEADER_BYTES, to))
    else if (bytes[from] === KEEPALIVE) this.#onKeepalive(bytes.readBigUInt64BE(from + 1), bytes[from + 17] !== 0)
    else this.#reject(protocolError(`unknown message '${String.fromCharCode(bytes[from] ?? 0)}'`))
  }

  #onKeepalive(lsn: bigint, shouldRespond: boolean): void {
    const { sink } = this.#options
    sink.serverAt(lsn)
    if (shouldRespond) sink.answer()
    sink.deliver(lsn)
  }

  keep(message: Message): Message {
    return Buffer.isBuffer(message) ? Buffer.from(message) : message
  }

  take(message: Message): void {
    const { sink } = this.#options
    if (typeof message === 'bigint') {
      // In the midst of a transaction it says nothing of what comes after that.
      if (!this.#spool?.isOpen) sink.passed(message)
    } else if (!Buffer.isBuffer(message)) {
      this.#transactions.commit(message.endLsn, message.commitTimeUs)
    } else if (this.#spool?.isOpen) {
      this.#keepAside(this.#spool, message)
    } else if (isStreaming(message)) {
      this.#takeStreaming(this.#spool!, message)
    } else if (isTruncate(message)) {
      this.#transactions.truncate(readTruncate(message))
    } else if (message[0] === RELATION) {
      this.#takeRelation(readRelation(message))
    } else {
      decodePgoutput(message, this.#transactions)
    }
  }

  /** A message of a transaction that still runs. */
  #keepAside(spool: Spool, message: Buffer): void {
    const { sink } = this.#options
    if (message[0] === STREAM_STOP) {
      sink.hold(() => spool.end())
      return
    }
    // An origin has no transaction id, and is of no use here.
    if (message[0] !== ORIGIN) spool.add(message)
    if (spool.isFull) sink.hold(() => spool.flush())
  }

  #takeStreaming(spool: Spool, message: Buffer): void {
    const { sink } = this.#options
    const transaction = message.readUInt32BE(1)
    if (message[0] === STREAM_START) {
      const begun = spool.begin(transaction)
      if (begun) sink.hold(() => begun)
    } else if (message[0] === STREAM_ABORT) {
      const sub = message.readUInt32BE(5)
      sink.hold(() => spool.abort(transaction, sub))
    } else {
      const commit = readStreamedCommit(message)
      this.#transactions.begin(commit.commitLsn, commit.commitTimeUs, transaction)
      sink.replay(this.#spooled(spool, commit))
    }
  }

  async *#spooled(spool: Spool, commit: StreamedCommit): AsyncGenerator<readonly Message[]> {
    yield* spool.messages(commit.transaction)
    yield [commit]
    await spool.remove(commit.transaction)
  }

  #takeRelation(relation: Relation): void {
    const table = this.#transactions.capturedBy(relation)
    if (!table || !this.#transactions.isChanged(relation)) {
      this.#transactions.relation(relation)
      return
    }
    const { setup, sink } = this.#options
    sink.hold(async () => {
      const known = await recheck(setup, relation, table)
      this.#transactions.useRelation(relation, table, known)
    })
  }

  pause(): void {
    if (this.#client) socketOf(this.#client).pause()
  }

  resume(): void {
    if (this.#client) socketOf(this.#client).resume()
  }

  get isSynchronous(): boolean {
    return this.#standby.isSynchronous
  }

  confirm(logged: bigint, ask: boolean): void {
    if (this.#closed) return
    // The service adds one to what it is given.
    void this.#service?.acknowledge(formatLsn(logged - 1n), ask).catch(error => this.#reject(error))
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#watch.stop()
    this.#standby.stop()
    const client = this.#client
    // A paused socket does not see its own end.
    if (client) socketOf(client).resume()
    const impatience = setTimeout(() => client && socketOf(client).destroy(), CLOSE_PATIENCE_MS)
    await this.#service?.stop().catch(() => {})
    clearTimeout(impatience)
    await this.#spool?.close()
  }
}

/** A table was altered: its contract is checked again, and the types that the stream names are read. */
async function recheck(setup: Setup, relation: Relation, table: PgTable): Promise<readonly KnownColumn[]> {
  const sql = await connect(setup.target)
  try {
    const [catalog] = await readTables(sql, [table.setup.pg])
    const problem = catalog && checkTable(table.setup, catalog)[0]
    if (problem) throw problem
    const { columns } = relation
    const resolve = await loadTypes(
      sql,
      columns.map(column => column.typeId),
    )
    const { rows } = await sql.query<{ name: string }>(
      'select format_type(id, modifier) as name from unnest($1::oid[], $2::int[]) with ordinality t(id, modifier, n) order by n',
      [columns.map(column => column.typeId), columns.map(column => column.typeModifier)],
    )
    return columns.map(({ name, typeId, typeModifier }, n) => ({
      type: resolve({ typeId, modifier: typeModifier, name: rows[n]?.name ?? 'unknown' }),
      number: catalog?.columns.find(column => column.name === name)?.number ?? null,
    }))
  } finally {
    await sql.end().catch(() => {})
  }
}
