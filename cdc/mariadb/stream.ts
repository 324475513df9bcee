// The dump of the binary log as a feed. Transactions are those of the log's GTIDs; rows are brought to the sink by the columns
// that their own table maps name. Statements that change whole tables are followed, and those that change rows without row
// events stop the source.
import type { Socket } from 'node:net'
import { fail } from '../../core/index.ts'
import { Image, isSame, UNCHANGED } from '../connector/image.ts'
import { earlyTopics } from '../connector/outbox-table.ts'
import { repair } from '../connector/start.ts'
import type { Feed, FeedSink } from '../connector/technology.ts'
import { BinlogDecoder, type BinlogHandler, type RowsEvent } from './binlog.ts'
import type { CapturedTables, Followed } from './captured-tables.ts'
import { type Client, connect } from './connection.ts'
import { readStatement, type Statement } from './ddl.ts'
import { dumpPacket, prepareDump, registerPacket } from './dump.ts'
import type { Gtid, GtidPosition, GtidPositions } from './gtid.ts'
import { ImageReader } from './images.ts'
import { lostByDump } from './lost.ts'
import { isEnd, PacketReader } from './packets.ts'
import { throwServerError } from './server-error.ts'
import type { Setup } from './setup.ts'
import { readTableMap } from './table-map.ts'
import { type RowsMeaning, type XaRows, XaTransactions } from './xa.ts'

/** A payload of the dump; or what was left of one, when something in it took time. */
export interface DumpMessage {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly rest?: () => void
}

/** A table as the last table map of its number has it. */
interface Mapped {
  readonly map: Buffer
  readonly name: string
  /** Undefined where its rows mean nothing. */
  readonly rows: RowsMeaning | undefined
  readonly followed: Followed | undefined
}

/** Numbers of tables that are known at once; a server that opens tables anew gives new ones. */
const MAPPED_MAX = 10_000
/** What MariaDB calls a table map that closes a statement and maps nothing. */
const NO_TABLE = 0xff_ffff
const EMPTY = Buffer.alloc(0)

export interface BinlogFeedOptions {
  readonly setup: Setup
  readonly positions: GtidPositions
  readonly start: GtidPosition
  readonly sink: FeedSink<GtidPosition>
  readonly tables: CapturedTables
  /** Outboxes that came later → where their events begin. */
  readonly begins: ReadonlyMap<string, GtidPosition>
}

export class BinlogFeed implements Feed<GtidPosition, DumpMessage>, BinlogHandler {
  readonly #options: BinlogFeedOptions
  readonly #packets: PacketReader
  readonly #mapped = new Map<number, Mapped>()
  readonly #before = new Image()
  readonly #after = new Image()
  #decoder: BinlogDecoder
  #client: Client | undefined
  #socket: Socket | undefined
  #registered = false
  #closed = false
  #position: GtidPosition
  #gtid: Gtid | undefined
  #standalone = false
  #skip = false
  /** Outboxes that do not begin before the transaction at hand. */
  #early: ReadonlySet<string> = new Set()
  #rowsSeen = false
  readonly #xa: XaTransactions
  #reject: (error: unknown) => void = () => {}

  constructor(options: BinlogFeedOptions) {
    this.#options = options
    this.#position = options.start
    this.#packets = new PacketReader(options.setup.messageBytesMax)
    this.#decoder = new BinlogDecoder(this, false)
    this.#xa = new XaTransactions(options.setup.source, options.setup.messageBytesMax)
  }

  async run(): Promise<void> {
    const { setup, positions, start } = this.#options
    const client = await connect(setup.target)
    this.#client = client
    const resume = positions.resumeText(start)
    const checksums = await prepareDump(client, setup.flavour, resume, start.prepared.length === 0)
    this.#decoder = new BinlogDecoder(this, checksums)
    if (this.#closed) return
    const socket = client.takeOver()
    this.#socket = socket
    await new Promise<void>((resolve, reject) => {
      this.#reject = reject
      socket.on('data', chunk => this.#onData(chunk))
      socket.on('error', reject)
      socket.on('close', () => resolve())
      socket.write(registerPacket(setup.serverId))
    })
  }

  #onData(chunk: Buffer): void {
    if (this.#closed) return
    try {
      this.#packets.push(chunk)
      while (!this.#closed && this.#packets.next()) {
        if (this.#registered) this.#options.sink.deliver(this.#packets)
        else this.#onRegistered()
      }
    } catch (error) {
      this.#reject(error)
    }
  }

  #onRegistered(): void {
    const { bytes, start, end } = this.#packets
    throwServerError(bytes, start, end)
    this.#registered = true
    const { setup, positions, sink } = this.#options
    this.#socket?.write(dumpPacket(setup.flavour, setup.serverId, positions.resumeText(this.#options.start)))
    sink.started()
  }

  keep(message: DumpMessage): DumpMessage {
    if (message.rest) return message
    const copy = Buffer.from(message.bytes.subarray(message.start, message.end))
    return { bytes: copy, start: 0, end: copy.length }
  }

  take({ bytes, start, end, rest }: DumpMessage): void {
    const { setup, positions } = this.#options
    if (rest) {
      rest()
      return
    }
    if (bytes[start] === 0) {
      this.#decoder.take(bytes, start + 1, end)
      return
    }
    if (isEnd(bytes, start, end)) throw fail('SOURCE_UNREACHABLE', `source ${setup.source} ended the binary log's dump`)
    try {
      throwServerError(bytes, start, end)
    } catch (error) {
      throw lostByDump(setup.source, error, positions.format(this.#options.start)) ?? error
    }
    throw fail('SOURCE_PROTOCOL', 'the dump of the binary log is not understood', { detail: `byte ${bytes[start]}` })
  }

  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  /** The server keeps its binary log as long as it is set to, whoever reads it. */
  confirm(): void {}

  async close(): Promise<void> {
    this.#closed = true
    this.#client?.end()
  }

  // -- events

  begin(gtid: Gtid, _timeS: number, kind: 'transaction' | 'standalone' | 'prepared' | 'completed'): void {
    const { positions, sink, setup } = this.#options
    if (this.#gtid) {
      throw fail('SOURCE_PROTOCOL', `transaction ${positions.formatGtid(this.#gtid)} of ${setup.source} has no end`)
    }
    this.#gtid = gtid
    this.#standalone = kind === 'standalone' || kind === 'completed'
    this.#skip = this.#position.has(gtid)
    this.#early = earlyTopics(this.#options.begins, begin => begin.has(gtid))
    this.#rowsSeen = false
    if (kind === 'prepared') this.#xa.begin()
    sink.begin(positions.formatGtid(gtid), this.#skip)
  }

  xid(timeS: number): void {
    this.#commit(timeS)
  }

  /** What it did waits until it is known whether it is committed. */
  prepared(timeS: number): void {
    if (this.#gtid) this.#xa.prepared(this.#gtid, !this.#skip || this.#isOpen(this.#gtid))
    this.#commit(timeS)
  }

  #isOpen({ origin, sequence }: Gtid): boolean {
    return this.#options.start.prepared.some(each => each.origin === origin && each.sequence === sequence)
  }

  #completed(xid: string, isCommitted: boolean, timeS: number): void {
    const taken = this.#skip ? [] : this.#xa.take(xid)
    this.#playRows(isCommitted ? taken : [], timeS)
  }

  #playRows(taken: readonly XaRows[], timeS: number): void {
    for (const [n, { meaning, event }] of taken.entries()) {
      if (this.isHeld) {
        this.later(() => this.#playRows(taken.slice(n), timeS))
        return
      }
      this.#takeRows(meaning, event)
    }
    this.later(() => this.#commit(timeS))
  }

  #commit(timeS: number): void {
    const gtid = this.#gtid
    if (!gtid) return
    this.#gtid = undefined
    if (!this.#skip) this.#position = this.#options.positions.add(this.#position, gtid).withPrepared(this.#xa.open)
    this.#options.sink.commit(this.#position, timeS * 1_000_000)
  }

  query(sql: string, database: string, timeS: number): void {
    const statement = readStatement(sql, database)
    switch (statement.kind) {
      case 'begin':
        return
      case 'xa-start':
        this.#xa.begin()
        return
      case 'xa-end':
        this.#xa.end(statement.xid)
        return
      case 'savepoint':
        // Behind it something may have been undone that row events already said.
        if (this.#rowsSeen && /^\W*ROLLBACK/i.test(sql)) throw this.#undone()
        return
      case 'rollback':
        if (this.#rowsSeen) throw this.#undone()
        this.#commit(timeS)
        return
      case 'commit':
        this.#commit(timeS)
        return
      case 'xa-commit':
      case 'xa-rollback':
        this.#completed(statement.xid, statement.kind === 'xa-commit', timeS)
        return
      case 'written':
        this.#checkWritten(sql, database)
        break
      default:
        if (!this.#skip) this.#follow(statement)
    }
    if (this.#endsHere(sql)) this.later(() => this.#commit(timeS))
  }

  /** MariaDB says so before it; to MySQL a statement is a transaction, but for CREATE TABLE … SELECT. */
  #endsHere(sql: string): boolean {
    return this.#options.setup.flavour === 'mariadb' ? this.#standalone : !/START TRANSACTION\s*$/i.test(sql)
  }

  #undone() {
    const { setup } = this.#options
    return fail('SOURCE_CHANGES_LOST', `source ${setup.source} has undone a part of what it logged`, {
      detail: 'a transaction over tables of different engines was rolled back after its rows were logged',
      hint: `do not mix tables without transactions with captured ones; ${repair(setup.source)}`,
    })
  }

  #checkWritten(sql: string, database: string): void {
    const { tables, setup } = this.#options
    const named = tables.namedIn(sql, database)
    if (this.#skip || named === undefined) return
    throw fail(
      'SOURCE_BINLOG_SETTINGS',
      `a statement changed rows of ${named} of ${setup.source} without logging them`,
      {
        detail: 'a session has set binlog_format to STATEMENT or MIXED',
        hint: `write with binlog_format = ROW, and ${repair(setup.source)}`,
      },
    )
  }

  /** What a statement does to captured tables. */
  #follow(statement: Statement): void {
    const { tables, sink, setup } = this.#options
    const emptied = tables.emptiedBy(statement)
    if (emptied.length > 0) sink.truncate(emptied.map(table => sink.mirrored(table.setup.contract.name)))
    const replaced = tables.replacedBy(statement)
    if (replaced) {
      throw fail('SOURCE_TABLE_REPLACED', `rows of ${replaced.table} were changed without being logged`, {
        detail: replaced.how,
        hint: repair(setup.source),
      })
    }
    tables.follow(statement)
    if (!tables.isAlteredBy(statement)) return
    this.#mapped.clear()
    sink.hold(() => tables.readAgain())
  }

  tableMap(tableId: number, bytes: Buffer, at: number, end: number): void {
    const known = this.#mapped.get(tableId)
    if (known && known.map.length === end - at && known.map.compare(bytes, at, end) === 0) return
    const map = readTableMap(bytes, at, end)
    const { tables, sink } = this.#options
    const name = `${map.database}.${map.table}`
    const table = tables.find(map)
    if (this.#mapped.size >= MAPPED_MAX) this.#mapped.clear()
    const streamed = table && tables.streamed(table, map)
    const topic = table?.setup.contract.name
    if (topic !== undefined && streamed) sink.schema(topic, streamed.columns, tables.renamed(topic))
    const captured = table &&
      streamed && { mirrored: sink.mirrored(table.setup.contract.name), reader: streamed.reader }
    const outbox = tables.outbox(map)
    this.#mapped.set(tableId, {
      map: Buffer.from(bytes.subarray(at, end)),
      name,
      followed: tables.followed(map),
      rows: captured || outbox ? { images: new ImageReader(map.table, map.columns), captured, outbox } : undefined,
    })
  }

  get isHeld(): boolean {
    return this.#options.sink.isHeld
  }

  later(rest: () => void): void {
    this.#options.sink.deliver({ bytes: EMPTY, start: 0, end: 0, rest })
  }

  rows(event: RowsEvent): void {
    const { tableId, columns } = event
    const mapped = this.#mapped.get(tableId)
    if (!mapped) {
      if (tableId === NO_TABLE) return
      throw fail('SOURCE_PROTOCOL', 'the binary log is not understood', {
        detail: `rows of table ${tableId}, which has no map`,
      })
    }
    const { rows: meaning, followed } = mapped
    if (followed && event.op === 'update' && !this.#skip) this.#checkFollowed(followed, mapped.name, event)
    if (!meaning) return
    if (columns !== meaning.images.count) {
      throw fail('SOURCE_PROTOCOL', 'the binary log is not understood', {
        detail: `rows of ${mapped.name} have ${columns} columns, their table map has ${meaning.images.count}`,
      })
    }
    this.#rowsSeen = true
    if (this.#xa.isCollecting) this.#xa.add({ meaning, event: restOf(event, event.start) })
    else this.#takeRows(meaning, event)
  }

  /** What a foreign key with ON UPDATE CASCADE does is in no log. */
  #checkFollowed({ images, places, child }: Followed, parent: string, event: RowsEvent): void {
    const [before, after] = [this.#before, this.#after]
    for (let at = event.start; at < event.end; ) {
      at = images.read(event.bytes, at, event.present, before)
      at = images.read(event.bytes, at, event.presentAfter, after)
      if (places.every(place => after.kinds[place] === UNCHANGED || isSame(before, after, place))) continue
      const { source } = this.#options.setup
      throw fail('SOURCE_CASCADE_UNLOGGED', `rows of ${child} were changed by a foreign key, which is not logged`, {
        detail: `a key of ${parent} was changed, and ${child} follows it (ON UPDATE)`,
        hint: `do not change keys that others follow, or write ON UPDATE RESTRICT; ${repair(source)}`,
      })
    }
  }

  #takeRows(meaning: RowsMeaning, event: RowsEvent): void {
    const { images, captured, outbox } = meaning
    const { op, bytes, present, presentAfter, start, end } = event
    const { sink } = this.#options
    // Of an outbox only what is inserted means something.
    if (!captured && op !== 'insert') return
    const [before, after] = [this.#before, this.#after]
    for (let at = start; at < end; ) {
      if (sink.isHeld) {
        const rest = restOf(event, at)
        this.later(() => this.#takeRows(meaning, rest))
        return
      }
      if (op === 'insert') {
        at = images.read(bytes, at, present, after)
        if (captured) sink.insert(captured, after)
        if (outbox && !this.#early.has(outbox.topic)) sink.event(outbox.topic, outbox.read(after))
      } else if (captured) {
        at = images.read(bytes, at, present, before)
        if (op === 'delete') sink.delete(captured, before)
        else {
          at = images.read(bytes, at, presentAfter, after)
          sink.update(captured, images.isWhole(bytes, present) ? 'full' : 'key', before, after)
        }
      }
    }
  }

  rotate(): void {}

  incident(text: string): void {
    const { setup } = this.#options
    throw fail('SOURCE_CHANGES_LOST', `source ${setup.source} has lost changes of its own`, {
      detail: `an incident is in its binary log: ${text || 'LOST_EVENTS'}`,
      hint: repair(setup.source),
    })
  }
}

/** A copy of the rows from `at` on: the event's own bytes do not stay. */
function restOf(event: RowsEvent, at: number): RowsEvent {
  const from = event.present
  const bytes = Buffer.from(event.bytes.subarray(from, event.end))
  return {
    ...event,
    bytes,
    present: 0,
    presentAfter: event.presentAfter - from,
    start: at - from,
    end: bytes.length,
  }
}
