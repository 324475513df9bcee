// One replication connection, from START_REPLICATION to its end. It confirms to the server only what the log itself holds
// (heartbeat batches record progress without changes first), pauses the socket while too much is un-durable or the log has no
// room (telling the server that it lives, so that the connection stays), and holds messages back where something needs time: a mirror commit, a truncation, an altered table.
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  fail,
  type Log,
  MIRROR_COMMIT_ROWS,
  MIRROR_COMMITS_MAX,
  type Mirror,
  type SourceEvent,
} from '../../core/index.ts'
import { Pipeline } from '../connector/pipeline.ts'
import { Slice } from '../connector/slice.ts'
import { type Client, clientConfig, prepareSession, quoteName, socketOf } from './connection.ts'
import { formatLsn, lsnPositions, parseLsn } from './lsn.ts'
import { decodePgoutput, isTruncate, type Relation, readRelation, readTruncate } from './pgoutput.ts'
import type { CheckedTable } from './preflight.ts'
import type { Setup } from './setup.ts'
import { Transactions } from './transactions.ts'
import type { PgType } from './types.ts'

const TICK_MS = 50
const ACK_EVERY_MS = 100
const ACK_BYTES = 1024n * 1024n
const PING_EVERY_MS = 1_000
/** While the socket is paused for room the server hears so often: no answer is asked for, since it could not be read. */
const ALIVE_EVERY_MS = 250
const HEARTBEAT_EVERY_MS = 1_000
const HEARTBEAT_BYTES = 16n * 1024n * 1024n
const MIRROR_COMMIT_EVERY_MS = 250
/** Each commit of the mirror waits for the log's disk once, so they are larger here than they need to be. */
const HOLD_ROWS = 2 * MIRROR_COMMIT_ROWS
const IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024
const IN_FLIGHT_MAX = 10_000
/** The server answers a ping each second; after so long without a word the connection is taken for dead. */
const SILENCE_MAX_MS = 30_000
/** For the server to answer the goodbye. */
const CLOSE_PATIENCE_MS = 500

export interface StreamOptions {
  readonly setup: Setup
  readonly log: Log
  readonly mirror: Mirror
  readonly tables: readonly CheckedTable[]
  readonly start: bigint
  /** Reads the types of an altered table. */
  readonly recheck: (relation: Relation, table: CheckedTable) => Promise<readonly PgType[]>
  readonly onStreaming: () => void
  /** Everything up to `complete` is durable; `position` is the log's then. */
  readonly onComplete: (complete: bigint, position: number) => void
  readonly onServer: (lsn: bigint) => void
  /** Reading pauses for want of room in the log, and goes on. */
  readonly onPaused: (paused: boolean) => void
  readonly onEvent: (event: SourceEvent) => void
}

/** The part of pg-logical-replication's service that is used. */
type Service = InstanceType<typeof import('pg-logical-replication').LogicalReplicationService>

interface Keepalive {
  readonly lsn: bigint
}

export class ReplicationStream {
  readonly #options: StreamOptions
  readonly #pipeline: Pipeline<bigint>
  readonly #transactions: Transactions
  #service: Service | undefined
  #client: Client | undefined
  #timer: NodeJS.Timeout | undefined
  #held = false
  #paused = false
  /** The log has no room for what the socket would bring. */
  #noRoom = false
  #unwatch: () => void = () => {}
  readonly #slice = new Slice()
  #resting = false
  #waiting: (Buffer | Keepalive)[] = []
  #ended = false
  #reject: (error: unknown) => void = () => {}
  #acked: bigint
  #ackedMs = 0
  #pingedMs = 0
  #heartbeatMs = 0
  #mirroredMs = performance.now()
  #heardMs = performance.now()

  constructor(options: StreamOptions) {
    this.#options = options
    this.#acked = options.start
    this.#pipeline = new Pipeline({
      positions: lsnPositions,
      logged: options.start,
      position: options.log.end,
      onDurable: () => this.#onDurable(),
      onError: error => this.#fail(error),
    })
    const { log, mirror, tables, start, onEvent } = options
    this.#transactions = new Transactions({
      source: options.setup.source,
      log,
      mirror,
      pipeline: this.#pipeline,
      tables,
      start,
      onEvent,
    })
  }

  get changes(): number {
    return this.#transactions.changes
  }

  get complete(): bigint {
    return this.#pipeline.complete
  }

  get position(): number {
    return this.#pipeline.position
  }

  /** True while nothing is on its way: what a reader waits for has not been sent yet. */
  get isIdle(): boolean {
    return this.#pipeline.count === 0 && !this.#held && !this.#transactions.inTransaction
  }

  /** Streams until `stop()`; rejects when the connection or the log fails. */
  async run(): Promise<void> {
    const { LogicalReplicationService } = await import('pg-logical-replication')
    const { setup, start } = this.#options
    const service = new LogicalReplicationService(clientConfig(setup.target), {
      acknowledge: { auto: false, timeoutSeconds: 0 },
    })
    this.#service = service
    const failed = new Promise<never>((_, reject) => {
      this.#reject = reject
    })
    service.on('error', error => this.#fail(error))
    service.on('start', () => this.#onStart())
    service.on('heartbeat', (lsn, _time, shouldRespond) => this.#onKeepalive(parseLsn(lsn), shouldRespond))
    const subscribed = service.subscribe(this.#plugin(), setup.slot, formatLsn(start)).then(() => {
      if (!this.#ended) throw fail('SOURCE_UNREACHABLE', `source ${setup.source} ended the replication stream`)
    })
    subscribed.catch(() => {})
    try {
      await Promise.race([subscribed, failed])
    } finally {
      await this.#close()
    }
  }

  /** What the service asks of an output plugin; the bytes are decoded here, whatever it returns is ignored. */
  #plugin() {
    const publication = quoteName(this.#options.setup.publication).replaceAll("'", "''")
    return {
      options: {},
      name: 'pgoutput',
      start: async (client: Client, slot: string, lsn: string): Promise<unknown> => {
        this.#client = client
        await prepareSession(client)
        return client.query(
          `START_REPLICATION SLOT ${quoteName(slot)} LOGICAL ${lsn} (proto_version '1', publication_names '${publication}', messages 'true')`,
        )
      },
      parse: (bytes: Buffer): void => this.#onMessage(bytes),
    }
  }

  #onStart(): void {
    this.#heardMs = performance.now()
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#ping()
    const { log, onStreaming } = this.#options
    onStreaming()
    this.#unwatch = log.onPressure(pressure => this.#setNoRoom(pressure !== null))
    this.#setNoRoom(log.pressure !== null)
  }

  // -- messages, in order; while held they wait

  #onMessage(bytes: Buffer): void {
    if (this.#ended) return
    this.#heardMs = performance.now()
    if (this.#held) {
      this.#waiting.push(Buffer.from(bytes))
      return
    }
    try {
      this.#take(bytes)
    } catch (error) {
      this.#fail(error)
    }
    if (this.#slice.isSpent && !this.#resting) this.#rest()
  }

  /** Lets others have the event loop, then reads on. */
  #rest(): void {
    const client = this.#client
    if (!client) return
    this.#resting = true
    socketOf(client).pause()
    setImmediate(() => {
      this.#resting = false
      this.#readOn()
    })
  }

  #take(bytes: Buffer): void {
    const first = bytes[0]
    if (isTruncate(bytes)) {
      const ids = readTruncate(bytes)
      this.#hold(() => this.#transactions.truncateTables(ids, nextTurn))
    } else if (first === 0x52) {
      this.#takeRelation(readRelation(bytes))
    } else {
      decodePgoutput(bytes, this.#transactions)
      if (first === 0x43) this.#afterCommit()
    }
  }

  #takeRelation(relation: Relation): void {
    const table = this.#transactions.capturedBy(relation)
    if (!table || !this.#transactions.isChanged(relation)) {
      this.#transactions.relation(relation)
      return
    }
    this.#hold(async () => {
      const types = await this.#options.recheck(relation, table)
      this.#transactions.useRelation(relation, table, types)
    })
  }

  #onKeepalive(lsn: bigint, shouldRespond: boolean): void {
    if (this.#ended) return
    this.#heardMs = performance.now()
    this.#options.onServer(lsn)
    if (shouldRespond) this.#acknowledge(false)
    if (this.#held) this.#waiting.push({ lsn })
    else this.#passed({ lsn })
  }

  #passed({ lsn }: Keepalive): void {
    if (!this.#transactions.inTransaction) this.#pipeline.passed(lsn)
  }

  #afterCommit(): void {
    const { mirror } = this.#options
    if (mirror.pending >= HOLD_ROWS) this.#hold(() => this.#commitMirror())
    else if (this.#pipeline.count > IN_FLIGHT_MAX || this.#pipeline.bytes > IN_FLIGHT_BYTES_MAX) this.#setPaused(true)
  }

  /** Nothing is decoded until `task` is done. */
  #hold(task: () => Promise<void>): void {
    this.#held = true
    this.#setPaused(true)
    task()
      .then(() => this.#release())
      .catch(error => this.#fail(error))
  }

  #release(): void {
    this.#held = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const [n, message] of waiting.entries()) {
      if (this.#ended) return
      if ('lsn' in message) this.#passed(message)
      else this.#take(message)
      if (this.#held) {
        this.#waiting = [...waiting.slice(n + 1), ...this.#waiting]
        return
      }
    }
    this.#setPaused(false)
  }

  /** What is in the overlay is durable once nothing is in flight; between transactions, so that none is cut. */
  async #commitMirror(): Promise<void> {
    const { mirror } = this.#options
    await this.#pipeline.drained()
    mirror.commit(this.#pipeline.position).catch(error => this.#fail(error))
    this.#mirroredMs = performance.now()
    if (mirror.commits >= MIRROR_COMMITS_MAX) await mirror.committed()
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused || !this.#client || this.#ended) return
    this.#paused = paused
    this.#readOn()
  }

  #setNoRoom(noRoom: boolean): void {
    if (this.#ended) return
    this.#noRoom = noRoom
    this.#readOn()
    this.#options.onPaused(noRoom)
  }

  /** Reads the socket, unless something is against it. */
  #readOn(): void {
    if (!this.#client || this.#ended) return
    this.#heardMs = performance.now()
    const socket = socketOf(this.#client)
    if (this.#paused || this.#noRoom || this.#resting) socket.pause()
    else socket.resume()
  }

  // -- durability, confirmation, time

  #onDurable(): void {
    if (this.#ended) return
    const { complete, position, logged, count, bytes } = this.#pipeline
    this.#options.onComplete(complete, position)
    if (logged - this.#acked >= ACK_BYTES) this.#acknowledge(false)
    if (this.#paused && !this.#held && count < IN_FLIGHT_MAX / 2 && bytes < IN_FLIGHT_BYTES_MAX / 2)
      this.#setPaused(false)
  }

  #tick(): void {
    if (this.#ended) return
    const now = performance.now()
    const { logged } = this.#pipeline
    if (logged > this.#acked && now - this.#ackedMs >= ACK_EVERY_MS) this.#acknowledge(false)
    if (this.#noRoom) {
      if (now - this.#ackedMs >= ALIVE_EVERY_MS) this.#acknowledge(false)
    } else if (now - this.#pingedMs >= PING_EVERY_MS) this.#ping()
    if (this.isIdle) {
      if (!this.#noRoom) this.#heartbeat(now)
      const { mirror } = this.#options
      if (mirror.pending > 0 && now - this.#mirroredMs >= MIRROR_COMMIT_EVERY_MS) this.#hold(() => this.#commitMirror())
    }
    if (!this.#paused && !this.#noRoom && now - this.#heardMs > SILENCE_MAX_MS) {
      this.#fail(fail('SOURCE_UNREACHABLE', `source ${this.#options.setup.source} has gone silent`))
    }
  }

  /** Progress without changes goes into the log before it is confirmed. */
  #heartbeat(now: number): void {
    const { complete, logged } = this.#pipeline
    if (complete <= logged) return
    if (now - this.#heartbeatMs < HEARTBEAT_EVERY_MS && complete - logged < HEARTBEAT_BYTES) return
    this.#heartbeatMs = now
    const { log, setup } = this.#options
    this.#pipeline.append(log.batch(), { source: setup.source, position: formatLsn(complete) }, complete)
  }

  #acknowledge(ping: boolean): void {
    const { logged } = this.#pipeline
    this.#acked = logged
    this.#ackedMs = performance.now()
    // The service adds one to what it is given.
    void this.#service?.acknowledge(formatLsn(logged - 1n), ping).catch(error => this.#fail(error))
  }

  #ping(): void {
    this.#pingedMs = performance.now()
    this.#acknowledge(true)
  }

  /** Asks the server how far it is. */
  ping(): void {
    if (!this.#ended && this.#timer && !this.#noRoom) this.#ping()
  }

  // -- the end

  #fail(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#reject(error)
  }

  /** Ends after what has been decoded is durable, mirrored and confirmed. */
  async stop(): Promise<void> {
    if (this.#ended) return
    this.#setPaused(true)
    const whole = !this.#held && !this.#transactions.inTransaction
    this.#ended = true
    await this.#pipeline.settled()
    if (whole && this.#pipeline.count === 0) await this.#options.mirror.commit(this.#pipeline.position)
    this.#acknowledge(false)
    this.#reject(STOPPED)
  }

  async #close(): Promise<void> {
    this.#ended = true
    this.#unwatch()
    clearInterval(this.#timer)
    const client = this.#client
    // A paused socket does not see its own end.
    if (client) socketOf(client).resume()
    const impatience = setTimeout(() => client && socketOf(client).destroy(), CLOSE_PATIENCE_MS)
    await this.#service?.stop().catch(() => {})
    clearTimeout(impatience)
    await this.#pipeline.settled()
  }
}

/** How `run` ends after `stop`. */
export const STOPPED = Symbol('stopped')
