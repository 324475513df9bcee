// Events of the binary log, from the bytes of a dump: headers, checksums, compressed events, transactions. What a row event
// holds is read elsewhere (images.ts). https://mariadb.com/kb/en/2-binlog-event-header/ and MySQL's libbinlogevents.
import { crc32, inflateSync, zstdDecompressSync } from 'node:zlib'
import { fail } from '../../core/index.ts'
import type { Gtid } from './gtid.ts'
import { lengthSize, readLength } from './packets.ts'
import { tableIdOf } from './table-map.ts'

const HEADER = 19
const CHECKSUM = 4

export const E = {
  QUERY: 2,
  ROTATE: 4,
  FORMAT: 15,
  XID: 16,
  TABLE_MAP: 19,
  WRITE_V1: 23,
  UPDATE_V1: 24,
  DELETE_V1: 25,
  INCIDENT: 26,
  HEARTBEAT: 27,
  WRITE: 30,
  UPDATE: 31,
  DELETE: 32,
  MYSQL_GTID: 33,
  ANONYMOUS_GTID: 34,
  XA_PREPARE: 38,
  PARTIAL_UPDATE: 39,
  TRANSACTION_PAYLOAD: 40,
  MYSQL_TAGGED_GTID: 42,
  GTID: 162,
  QUERY_COMPRESSED: 165,
  WRITE_COMPRESSED_V1: 166,
  UPDATE_COMPRESSED_V1: 167,
  DELETE_COMPRESSED_V1: 168,
  WRITE_COMPRESSED: 169,
  UPDATE_COMPRESSED: 170,
  DELETE_COMPRESSED: 171,
} as const

/** Flags of MariaDB's GTID event. */
const STANDALONE = 1
const PREPARED_XA = 64
const COMPLETED_XA = 128

export type RowOp = 'insert' | 'update' | 'delete'

/** The rows of an event; valid until the next one. */
export interface RowsEvent {
  readonly op: RowOp
  readonly tableId: number
  readonly columns: number
  readonly bytes: Buffer
  /** Bit per column: it has a value in the (old, for updates and deletes) image. */
  readonly present: number
  /** For updates: the same for the new image. */
  readonly presentAfter: number
  readonly start: number
  readonly end: number
}

export interface BinlogHandler {
  /** A transaction begins. `standalone`: one statement without an end of its own. */
  begin(gtid: Gtid, timeS: number, kind: 'transaction' | 'standalone' | 'prepared' | 'completed'): void
  /** A statement: BEGIN, COMMIT, DDL … */
  query(sql: string, database: string, timeS: number): void
  /** It ends, committed. */
  xid(timeS: number): void
  /** It ends, and is neither committed nor rolled back. */
  prepared(timeS: number): void
  /** `at` is where the event's body begins. */
  tableMap(tableId: number, bytes: Buffer, at: number, end: number): void
  rows(event: RowsEvent): void
  /** The server is alive, and sends what stands in this file next. */
  rotate(file: string): void
  /** The server has lost events. @throws SOURCE_CHANGES_LOST */
  incident(text: string): void
  /** Nothing more may be handed over now; what is left goes to `later`. */
  readonly isHeld: boolean
  later(rest: () => void): void
}

interface MutableRows {
  op: RowOp
  tableId: number
  columns: number
  bytes: Buffer
  present: number
  presentAfter: number
  start: number
  end: number
}

const protocolError = (detail: string) => fail('SOURCE_PROTOCOL', 'the binary log is not understood', { detail })

export class BinlogDecoder {
  readonly #handler: BinlogHandler
  #checksums: boolean
  readonly #rows: MutableRows = {
    op: 'insert',
    tableId: 0,
    columns: 0,
    bytes: Buffer.alloc(0),
    present: 0,
    presentAfter: 0,
    start: 0,
    end: 0,
  }

  /** @param checksums what the server has been told that we understand, and uses */
  constructor(handler: BinlogHandler, checksums: boolean) {
    this.#handler = handler
    this.#checksums = checksums
  }

  /** Takes one event. @throws SOURCE_PROTOCOL and what the handler throws */
  take(bytes: Buffer, start: number, end: number): void {
    const type = bytes[start + 4]!
    if (end - start < HEADER) throw protocolError('an event is shorter than its header')
    let to = end
    if (type === E.FORMAT) {
      this.#checksums = bytes[end - CHECKSUM - 1] === 1
      to -= CHECKSUM
    } else if (this.#checksums) {
      to -= CHECKSUM
      if (crc32(bytes.subarray(start, to)) !== bytes.readUInt32LE(to)) {
        throw protocolError(
          `the checksum of an event of type ${type} is wrong: it was damaged on the disk or on its way`,
        )
      }
    }
    this.#event(type, bytes, start, to)
  }

  #event(type: number, bytes: Buffer, start: number, end: number): void {
    const at = start + HEADER
    const timeS = bytes.readUInt32LE(start)
    switch (type) {
      case E.TABLE_MAP:
        this.#handler.tableMap(tableIdOf(bytes, at), bytes, at, end)
        return
      case E.WRITE_V1:
      case E.UPDATE_V1:
      case E.DELETE_V1:
      case E.WRITE:
      case E.UPDATE:
      case E.DELETE:
        this.#rowsEvent(type, bytes, at, end)
        return
      case E.WRITE_COMPRESSED_V1:
      case E.UPDATE_COMPRESSED_V1:
      case E.DELETE_COMPRESSED_V1:
      case E.WRITE_COMPRESSED:
      case E.UPDATE_COMPRESSED:
      case E.DELETE_COMPRESSED:
        this.#compressedRows(type, bytes, at, end)
        return
      case E.GTID:
        this.#gtid(bytes, start, timeS)
        return
      case E.MYSQL_GTID:
        this.#handler.begin(readMysqlGtid(bytes, at), timeS, 'transaction')
        return
      case E.XID:
        this.#handler.xid(timeS)
        return
      case E.XA_PREPARE:
        // `XA COMMIT … ONE PHASE` is written as one too.
        if (bytes[at] === 1) this.#handler.xid(timeS)
        else this.#handler.prepared(timeS)
        return
      case E.QUERY:
      case E.QUERY_COMPRESSED:
        this.#query(type, bytes, at, end, timeS)
        return
      case E.ROTATE:
        this.#handler.rotate(bytes.toString('utf8', at + 8, end))
        return
      case E.TRANSACTION_PAYLOAD:
        this.#payload(bytes, at, end)
        return
      case E.INCIDENT:
        this.#handler.incident(bytes.toString('utf8', at + 3, end))
        return
      case E.ANONYMOUS_GTID:
        throw fail('SOURCE_BINLOG_SETTINGS', 'a transaction in the binary log has no GTID', {
          hint: 'set gtid_mode = ON on the server, and read the source again (--resnapshot)',
        })
      case E.MYSQL_TAGGED_GTID:
        throw fail('SOURCE_BINLOG_SETTINGS', 'a transaction in the binary log has a tagged GTID', {
          hint: 'tags of GTIDs (MySQL 8.3) are not supported: write without gtid_next = AUTOMATIC:tag',
        })
      case E.PARTIAL_UPDATE:
        throw fail('SOURCE_BINLOG_SETTINGS', 'the binary log has parts of JSON values only', {
          hint: "set global binlog_row_value_options = '' on the server, and read the source again (--resnapshot)",
        })
      default:
        // Heartbeats, annotations, lists of GTIDs, checkpoints: nothing that changes a row.
        return
    }
  }

  #gtid(bytes: Buffer, start: number, timeS: number): void {
    const at = start + HEADER
    const flags = bytes[at + 12]!
    const gtid: Gtid = {
      origin: String(bytes.readUInt32LE(at + 8)),
      server: bytes.readUInt32LE(start + 5),
      sequence: readSafe(bytes, at),
    }
    const kind =
      flags & PREPARED_XA
        ? 'prepared'
        : flags & COMPLETED_XA
          ? 'completed'
          : flags & STANDALONE
            ? 'standalone'
            : 'transaction'
    this.#handler.begin(gtid, timeS, kind)
  }

  #query(type: number, bytes: Buffer, at: number, end: number, timeS: number): void {
    const databaseBytes = bytes[at + 8]!
    const databaseAt = at + 13 + bytes.readUInt16LE(at + 11)
    const sqlAt = databaseAt + databaseBytes + 1
    const sql = type === E.QUERY ? bytes.subarray(sqlAt, end) : inflateMariadb(bytes, sqlAt, end)
    this.#handler.query(sql.toString('utf8'), bytes.toString('utf8', databaseAt, databaseAt + databaseBytes), timeS)
  }

  /** Reads the event up to where its rows begin. */
  #rowsHead(type: number, bytes: Buffer, at: number): number {
    const rows = this.#rows
    const isOld = type <= E.DELETE_V1 || (type >= E.WRITE_COMPRESSED_V1 && type <= E.DELETE_COMPRESSED_V1)
    rows.op = OPS.get(type)!
    rows.tableId = tableIdOf(bytes, at)
    let place = at + 8
    if (!isOld) place += bytes.readUInt16LE(place)
    rows.columns = readLength(bytes, place)
    place += lengthSize(bytes[place]!)
    const bitmapBytes = (rows.columns + 7) >> 3
    rows.bytes = bytes
    rows.present = place
    place += bitmapBytes
    rows.presentAfter = place
    return rows.op === 'update' ? place + bitmapBytes : place
  }

  #rowsEvent(type: number, bytes: Buffer, at: number, end: number): void {
    const rows = this.#rows
    rows.start = this.#rowsHead(type, bytes, at)
    rows.end = end
    this.#handler.rows(rows)
  }

  #compressedRows(type: number, bytes: Buffer, at: number, end: number): void {
    const from = this.#rowsHead(type, bytes, at)
    const rows = this.#rows
    const head = bytes.subarray(at, from)
    rows.bytes = Buffer.concat([head, inflateMariadb(bytes, from, end)])
    rows.present -= at
    rows.presentAfter -= at
    rows.start = head.length
    rows.end = rows.bytes.length
    this.#handler.rows(rows)
  }

  /** MySQL's binlog_transaction_compression: a transaction's events in one, without checksums of their own. */
  #payload(bytes: Buffer, at: number, end: number): void {
    let place = at
    let compression = 255
    for (;;) {
      const kind = readLength(bytes, place)
      place += lengthSize(bytes[place]!)
      if (kind === 0) break
      const length = readLength(bytes, place)
      place += lengthSize(bytes[place]!)
      if (kind === 2) compression = readLength(bytes, place)
      place += length
    }
    const stored = bytes.subarray(place, end)
    if (compression !== 0 && compression !== 255) throw protocolError(`a transaction is compressed by ${compression}`)
    const events = compression === 0 ? zstdDecompressSync(stored) : stored
    this.#events(events, 0)
  }

  #events(events: Buffer, start: number): void {
    for (let from = start; from < events.length; ) {
      if (this.#handler.isHeld) {
        const rest = from
        this.#handler.later(() => this.#events(events, rest))
        return
      }
      const length = events.readUInt32LE(from + 9)
      if (length < HEADER || from + length > events.length) throw protocolError('a compressed transaction is cut short')
      this.#event(events[from + 4]!, events, from, from + length)
      from += length
    }
  }
}

const OPS: ReadonlyMap<number, RowOp> = new Map([
  [E.WRITE_V1, 'insert'],
  [E.WRITE, 'insert'],
  [E.WRITE_COMPRESSED_V1, 'insert'],
  [E.WRITE_COMPRESSED, 'insert'],
  [E.UPDATE_V1, 'update'],
  [E.UPDATE, 'update'],
  [E.UPDATE_COMPRESSED_V1, 'update'],
  [E.UPDATE_COMPRESSED, 'update'],
  [E.DELETE_V1, 'delete'],
  [E.DELETE, 'delete'],
  [E.DELETE_COMPRESSED_V1, 'delete'],
  [E.DELETE_COMPRESSED, 'delete'],
])

function readSafe(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at)
  if (!Number.isSafeInteger(value)) throw protocolError('a sequence number is beyond 2^53')
  return value
}

function readMysqlGtid(bytes: Buffer, at: number): Gtid {
  const hex = bytes.toString('hex', at + 1, at + 17)
  const origin = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return { origin, server: 0, sequence: readSafe(bytes, at + 17) }
}

/** MariaDB's log_bin_compress: a byte that says how, the length, deflated bytes. */
function inflateMariadb(bytes: Buffer, at: number, end: number): Buffer {
  const first = bytes[at]!
  const lengthBytes = first & 7
  if ((first & 0xf0) !== 0x80) throw protocolError(`an event is compressed in way ${first}`)
  return inflateSync(bytes.subarray(at + 1 + lengthBytes, end))
}
