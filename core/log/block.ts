// The stored form of a segment and its blocks. All integers little-endian; u64 never exceeds 2^53 − 1.
//
// Segment file = segment header, then blocks without gaps.
// Segment header, 64 bytes: 0 u32 magic "MSSG" · 4 u32 CRC-32 of bytes 8..63 · 8 u32 format version (1) · 12 u32 header bytes (64) ·
//   16 log id (the UUID's 16 bytes) · 32 u64 first position · 40 u64 epoch · 48 zeros.
// Block = header, records, mark.
// Block header, 72 bytes: 0 u32 magic "MSBK" · 4 u32 CRC-32 of bytes 8..end of block, begun with the CRC-32 of the 64 bytes of the
//   segment header (so a block copied elsewhere is no block) · 8 u32 bytes of the block, all three parts · 12 u32 flags (1 last of its
//   batch, 2 has a mark, 4 the mark is of a snapshot) · 16 u32 bytes of the mark · 20 u32 records · 24 u64 offset of the block in its
//   file · 32 u64 position of the first record (of the next record, where it has none) · 40 u64 durable end (position) and
//   48 u64 durable bytes of this file, both before the write that wrote this block: whoever reads it knows that all before was
//   durable once · 56 u64 append time, ms since 1970, monotone · 64 u32 number of the block in its batch, from 0 · 68 zeros.
// Record = varint bytes of the rest · varint layout (topics.json: which topic, which shape) · u8 op (0 event, 1 insert, 2 update,
//   3 delete, 4 parked) · event, insert: row after · update: varint bytes of row before, row before, row after ·
//   delete: row before · parked: JSON text. Rows as core/contract/row-codec.ts says, by the layout's fields.
// Mark = string source · string position · u8 (1 has transaction, 2 has commit time) · string transaction · int commit time in µs;
//   strings and ints as core/contract/bytes.ts says.
import { crc32 } from 'node:zlib'
import { ByteReader, type ByteWriter } from '../contract/index.ts'
import { BLOCK_BYTES_MAX } from './limits.ts'
import type { SourceMark } from './log.ts'

export const FORMAT = 1
export const SEGMENT_HEADER_BYTES = 64
export const BLOCK_HEADER_BYTES = 72

const SEGMENT_MAGIC = 0x4753534d
const BLOCK_MAGIC = 0x4b42534d
/** The bytes of a block's magic, to search for. */
export const BLOCK_MAGIC_BYTES = Buffer.from('MSBK')

const FLAG_LAST = 1
const FLAG_MARK = 2
const FLAG_SNAPSHOT = 4

const HIGH = 0x1_0000_0000
/** Length, layout and op: a block that claims more records than it has room for is none. */
const RECORD_BYTES_MIN = 3

export function writeU64(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32LE(value % HIGH, at)
  buffer.writeUInt32LE(Math.floor(value / HIGH), at + 4)
}

export const readU64 = (buffer: Buffer, at: number): number =>
  buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * HIGH

/** Hot and sealed segments begin alike, with a magic number and a format of their own. */
export interface SegmentKind {
  readonly magic: number
  readonly format: number
  readonly name: string
}

export const HOT_SEGMENT: SegmentKind = { magic: SEGMENT_MAGIC, format: FORMAT, name: 'a segment' }

/** @param generation of a sealed segment: the cleaning that wrote it */
export function segmentHeader(kind: SegmentKind, logId: string, first: number, epoch: number, generation = 0): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  header.writeUInt32LE(kind.magic, 0)
  header.writeUInt32LE(kind.format, 8)
  header.writeUInt32LE(SEGMENT_HEADER_BYTES, 12)
  Buffer.from(logId.replaceAll('-', ''), 'hex').copy(header, 16)
  writeU64(header, first, 32)
  writeU64(header, epoch, 40)
  writeU64(header, generation, 48)
  header.writeUInt32LE(crc32(header.subarray(8)), 4)
  return header
}

/** Says what is wrong with a segment's header, or undefined; `format` tells one that is only newer. */
export function checkSegmentHeader(
  kind: SegmentKind,
  header: Buffer,
  logId: string,
  first: number,
): { reason: string; format?: number } | undefined {
  if (header.length < SEGMENT_HEADER_BYTES) return { reason: 'the header is cut short' }
  if (header.readUInt32LE(0) !== kind.magic) return { reason: `it does not begin as ${kind.name}` }
  if (header.readUInt32LE(4) !== crc32(header.subarray(8, SEGMENT_HEADER_BYTES)))
    return { reason: 'the header’s checksum is wrong' }
  const format = header.readUInt32LE(8)
  if (format > kind.format) return { reason: `its format is ${format}`, format }
  if (header.toString('hex', 16, 32) !== logId.replaceAll('-', '')) return { reason: 'it belongs to another log' }
  if (readU64(header, 32) !== first) return { reason: `it begins at position ${readU64(header, 32)}, not at ${first}` }
  return undefined
}

/** With what the CRC of a segment's blocks begins. */
export const segmentSeed = (header: Buffer): number => crc32(header.subarray(0, SEGMENT_HEADER_BYTES))

/** What is known of a block only when it is written. */
export interface BlockStamp {
  readonly seed: number
  readonly offset: number
  readonly first: number
  readonly count: number
  readonly part: number
  readonly last: boolean
  readonly mark: SourceMark | undefined
  readonly markBytes: number
  readonly durableEnd: number
  readonly durableBytes: number
  readonly appendTimeMs: number
}

/** Fills in the header, at the front of a buffer that holds exactly the block. */
export function stampBlock(block: Buffer, stamp: BlockStamp): void {
  const marked = stamp.mark ? FLAG_MARK | (stamp.mark.snapshot ? FLAG_SNAPSHOT : 0) : 0
  block.writeUInt32LE(BLOCK_MAGIC, 0)
  block.writeUInt32LE(block.length, 8)
  block.writeUInt32LE(marked | (stamp.last ? FLAG_LAST : 0), 12)
  block.writeUInt32LE(stamp.markBytes, 16)
  block.writeUInt32LE(stamp.count, 20)
  writeU64(block, stamp.offset, 24)
  writeU64(block, stamp.first, 32)
  writeU64(block, stamp.durableEnd, 40)
  writeU64(block, stamp.durableBytes, 48)
  writeU64(block, stamp.appendTimeMs, 56)
  block.writeUInt32LE(stamp.part, 64)
  block.writeUInt32LE(0, 68)
  block.writeUInt32LE(crc32(block.subarray(8), stamp.seed), 4)
}

/** A block as it stands in a buffer: checked, its records not yet read. */
export interface StoredBlock {
  readonly offset: number
  readonly bytes: number
  readonly first: number
  readonly count: number
  readonly part: number
  readonly last: boolean
  readonly mark: SourceMark | undefined
  readonly durableBytes: number
  readonly appendTimeMs: number
  readonly payload: Buffer
}

/** The whole block as it is stored: its payload is a view into that. */
export const storedBytes = ({ payload, bytes }: StoredBlock): Buffer =>
  Buffer.from(payload.buffer, payload.byteOffset - BLOCK_HEADER_BYTES, bytes)

/** What stands where a block should. `bytes` is how many it needs, where it only ends early. */
export interface BadBlock {
  readonly bad: string
  readonly bytes?: number
}

/** Reads the block at `at` in `buffer`, which is `offset` in its file. Any bytes give an answer, never an exception. */
export function parseBlock(buffer: Buffer, at: number, offset: number, seed: number): StoredBlock | BadBlock {
  if (at + BLOCK_HEADER_BYTES > buffer.length) return { bad: 'a block is cut short', bytes: BLOCK_HEADER_BYTES }
  if (buffer.readUInt32LE(at) !== BLOCK_MAGIC) return { bad: 'no block begins here' }
  const bytes = buffer.readUInt32LE(at + 8)
  if (bytes < BLOCK_HEADER_BYTES || bytes > BLOCK_BYTES_MAX) return { bad: `a block claims to have ${bytes} bytes` }
  if (at + bytes > buffer.length) return { bad: 'a block is cut short', bytes }
  const end = at + bytes
  if (buffer.readUInt32LE(at + 4) !== crc32(buffer.subarray(at + 8, end), seed))
    return { bad: 'a block’s checksum is wrong' }
  const flags = buffer.readUInt32LE(at + 12)
  const markBytes = buffer.readUInt32LE(at + 16)
  const count = buffer.readUInt32LE(at + 20)
  const payload = bytes - BLOCK_HEADER_BYTES - markBytes
  if (
    readU64(buffer, at + 24) !== offset ||
    payload < count * RECORD_BYTES_MIN ||
    (count === 0 && payload > 0) ||
    !Number.isSafeInteger(readU64(buffer, at + 32) + count)
  )
    return { bad: 'a block’s header is wrong' }
  const mark =
    flags & FLAG_MARK ? wholeMark(buffer.subarray(end - markBytes, end), (flags & FLAG_SNAPSHOT) !== 0) : undefined
  if (mark === null) return { bad: 'a block’s mark is wrong' }
  return {
    offset,
    bytes,
    first: readU64(buffer, at + 32),
    count,
    part: buffer.readUInt32LE(at + 64),
    last: (flags & FLAG_LAST) !== 0,
    mark,
    durableBytes: readU64(buffer, at + 48),
    appendTimeMs: readU64(buffer, at + 56),
    payload: buffer.subarray(at + BLOCK_HEADER_BYTES, end - markBytes),
  }
}

export function writeMark(writer: ByteWriter, mark: SourceMark): void {
  writer.string(mark.source)
  writer.string(mark.position)
  writer.u8((mark.transaction === undefined ? 0 : 1) | (mark.commitTimeUs === undefined ? 0 : 2))
  if (mark.transaction !== undefined) writer.string(mark.transaction)
  if (mark.commitTimeUs !== undefined) writer.int(mark.commitTimeUs)
}

/** Null where the bytes are not a mark, the whole of them. */
function wholeMark(bytes: Buffer, snapshot: boolean): SourceMark | null {
  try {
    const reader = new ByteReader(bytes)
    const mark = readMark(reader, snapshot)
    return reader.at === bytes.length ? mark : null
  } catch {
    return null
  }
}

/** @throws RangeError where the bytes are not a mark */
export function readMark(reader: ByteReader, snapshot: boolean): SourceMark {
  const source = reader.string()
  const position = reader.string()
  const has = reader.tag(3)
  return {
    source,
    position,
    ...(has & 1 ? { transaction: reader.string() } : {}),
    ...(has & 2 ? { commitTimeUs: reader.int() } : {}),
    ...(snapshot ? { snapshot: true } : {}),
  }
}
