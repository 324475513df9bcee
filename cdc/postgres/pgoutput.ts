// Decodes the bytes of PostgreSQL's `pgoutput` plugin (protocol version 2, text format), message by message, without
// building an object per change: a tuple is one reusable cursor over the message's bytes.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
import { fail } from '../../core/index.ts'
import type { OldKind } from '../connector/changes.ts'
import { Image, NULL, UNCHANGED, VALUE } from '../connector/image.ts'

/** 2000-01-01 in microseconds since 1970. */
const POSTGRES_EPOCH_US = 946_684_800_000_000

export interface RelationColumn {
  readonly name: string
  readonly typeId: number
  readonly typeModifier: number
  /** Part of the replica identity. */
  readonly isKey: boolean
}

export interface Relation {
  readonly id: number
  readonly schema: string
  readonly table: string
  /** d(efault), n(othing), f(ull), i(ndex). */
  readonly replicaIdentity: string
  readonly columns: readonly RelationColumn[]
}

/** The columns of a TupleData part. */
export class Tuple extends Image {
  /** Reads a TupleData part and gives the place after it. */
  read(bytes: Buffer, from: number): number {
    let at = from + 2
    const count = (bytes[from]! << 8) | bytes[from + 1]!
    this.reserve(count)
    this.bytes = bytes
    this.count = count
    for (let n = 0; n < count; n++) {
      const kind = bytes[at++]!
      this.kinds[n] = kind
      if (kind === NULL || kind === UNCHANGED) continue
      if (kind !== VALUE) throw protocolError(`a column is sent as '${String.fromCharCode(kind)}'`)
      const length = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
      this.starts[n] = at + 4
      at += 4 + length
      this.ends[n] = at
    }
    return at
  }
}

export interface PgoutputHandler {
  begin(finalLsn: bigint, commitTimeUs: number, transaction: number): void
  commit(endLsn: bigint, commitTimeUs: number): void
  relation(relation: Relation): void
  /** @param content valid until the next message */
  message(transactional: boolean, lsn: bigint, prefix: string, content: Buffer): void
  insert(relationId: number, after: Tuple): void
  update(relationId: number, oldKind: OldKind, before: Tuple, after: Tuple): void
  delete(relationId: number, oldKind: OldKind, before: Tuple): void
}

const before = new Tuple()
const after = new Tuple()

/** Calls the handler for one message, other than a truncation, which takes time. @throws SOURCE_PROTOCOL */
export function decodePgoutput(bytes: Buffer, handler: PgoutputHandler): void {
  switch (bytes[0]) {
    case 0x49: // I
      after.read(bytes, 6)
      handler.insert(bytes.readUInt32BE(1), after)
      break
    case 0x55: // U
      decodeUpdate(bytes, handler)
      break
    case 0x44: // D
      before.read(bytes, 6)
      handler.delete(bytes.readUInt32BE(1), oldKind(bytes[5]), before)
      break
    case 0x42: // B
      handler.begin(bytes.readBigUInt64BE(1), readTimeUs(bytes, 9), bytes.readUInt32BE(17))
      break
    case 0x43: // C
      handler.commit(bytes.readBigUInt64BE(10), readTimeUs(bytes, 18))
      break
    case 0x52: // R
      handler.relation(readRelation(bytes))
      break
    case 0x4f: // O(rigin)
    case 0x59: // Y: a type's name
      return
    case 0x4d: // M
      decodeMessage(bytes, handler)
      break
    default:
      throw protocolError(`unknown message '${String.fromCharCode(bytes[0] ?? 0)}'`)
  }
}

/** Of a transaction that was sent while it ran. */
export interface StreamedCommit {
  readonly transaction: number
  readonly commitLsn: bigint
  readonly endLsn: bigint
  readonly commitTimeUs: number
}

export const RELATION = 0x52
export const ORIGIN = 0x4f
export const STREAM_START = 0x53
export const STREAM_STOP = 0x45
const STREAM_COMMIT = 0x63
export const STREAM_ABORT = 0x41

/** A message about transactions that are sent while they run, outside of their parts. */
export const isStreaming = ({ 0: type }: Buffer): boolean =>
  type === STREAM_START || type === STREAM_COMMIT || type === STREAM_ABORT

export const readStreamedCommit = (bytes: Buffer): StreamedCommit => ({
  transaction: bytes.readUInt32BE(1),
  commitLsn: bytes.readBigUInt64BE(6),
  endLsn: bytes.readBigUInt64BE(14),
  commitTimeUs: readTimeUs(bytes, 22),
})

export const isTruncate = (bytes: Buffer): boolean => bytes[0] === 0x54

export const protocolError = (detail: string) =>
  fail('SOURCE_PROTOCOL', 'the replication stream is not understood', { detail })

const oldKind = (tag: number | undefined): OldKind => (tag === 0x4b ? 'key' : tag === 0x4f ? 'full' : undefined)

function decodeMessage(bytes: Buffer, handler: PgoutputHandler): void {
  const end = bytes.indexOf(0, 10)
  const from = end + 5
  const content = bytes.subarray(from, from + bytes.readUInt32BE(end + 1))
  handler.message((bytes[1]! & 1) === 1, bytes.readBigUInt64BE(2), bytes.toString('utf8', 10, end), content)
}

function decodeUpdate(bytes: Buffer, handler: PgoutputHandler): void {
  const kind = oldKind(bytes[5])
  let at = 5
  if (kind) at = before.read(bytes, 6)
  if (bytes[at] !== 0x4e) throw protocolError('an update has no new row')
  after.read(bytes, at + 1)
  handler.update(bytes.readUInt32BE(1), kind, before, after)
}

function readTimeUs(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4) + POSTGRES_EPOCH_US
}

export function readRelation(bytes: Buffer): Relation {
  let at = 5
  const text = (): string => {
    const end = bytes.indexOf(0, at)
    const value = bytes.toString('utf8', at, end)
    at = end + 1
    return value
  }
  const id = bytes.readUInt32BE(1)
  // pg_catalog's name is sent as nothing.
  const schema = text() || 'pg_catalog'
  const table = text()
  const replicaIdentity = String.fromCharCode(bytes[at++] ?? 0)
  const count = bytes.readUInt16BE(at)
  at += 2
  const columns: RelationColumn[] = []
  for (let n = 0; n < count; n++) {
    const isKey = (bytes[at++]! & 1) === 1
    const name = text()
    columns.push({ name, typeId: bytes.readUInt32BE(at), typeModifier: bytes.readInt32BE(at + 4), isKey })
    at += 8
  }
  return { id, schema, table, replicaIdentity, columns }
}

export function readTruncate(bytes: Buffer): number[] {
  const count = bytes.readUInt32BE(1)
  return Array.from({ length: count }, (_, n) => bytes.readUInt32BE(6 + n * 4))
}
