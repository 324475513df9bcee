// The form of a file of rows. One shard appends to it, checkpoint after checkpoint: the first has all rows, each later one those
// that changed since. A checkpoint is the file up to some byte, so that what is appended later does not touch it.
//
// File = header · chunks. Header, 64 bytes: 0 "MSCK" · 4 u32 format · 8 u32 CRC-32 of bytes 12..64 · 12 u32 probe of the hash of keys ·
//   16 u16 length and 18 text of the log's id. Chunk = head · columns · rows · u32 bytes of the chunk, so that files can be read from
//   their end, newest rows first. Head, 20 bytes: 0 u32 bytes of the chunk · 4 u32 CRC-32 of bytes 8.. of the chunk without its last
//   four · 8 u8 kind · 9 u8 form of the rows: 0 as they are, 1 zstd · 10 u16 number of the view in its segment · 12 u32 rows · 16 u32 bytes of the columns.
// Chunk of rows: columns = u32 hash of each key, then the varint length of each row; row = varint length of key, key, varint support,
//   fields by the row codec; a row of support 0 and no fields says that the key left. One key stands once in a segment.
// End of segment: no rows; its columns name what the checkpoint added: varint first byte of the segment, then views (`SegmentView`).
// A savepoint is such a file of one segment, with a last chunk that describes it: JSON, in place of the columns.
import { crc32, zstdDecompressSync } from 'node:zlib'
import { ByteReader, ByteWriter } from '../../core/index.ts'
import { hashProbe } from '../state/keys.ts'

export const ROW_FILE_FORMAT = 1
const MAGIC = 0x4b43534d
export const HEADER_BYTES = 64
const LOG_ID_BYTES_MAX = HEADER_BYTES - 18
export const HEAD_BYTES = 20
const TAIL_BYTES = 4
/** What a chunk without rows and columns takes. */
export const CHUNK_BYTES_MIN = HEAD_BYTES + TAIL_BYTES
/** Rows of a chunk, about, in bytes: what is encoded, checked and read at a time. */
export const CHUNK_ROW_BYTES = 64 * 1024
export const CHUNK_ROWS_MAX = 4_096
/** Larger than any chunk: one row may be as large as memory lets it. */
const CHUNK_BYTES_MAX = 0x7fffffff

export const ROWS = 1
export const END = 2
export const DESCRIPTION = 3

/** Forms of a chunk's rows. */
const PLAIN = 0
export const ZSTD = 1

/** Where another version hashes keys in another way, rows are in other groups than files say. */
const PROBE = hashProbe()

export function fileHeader(logId: string): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  const id = Buffer.from(logId).subarray(0, LOG_ID_BYTES_MAX)
  header.writeUInt32LE(MAGIC, 0)
  header.writeUInt32LE(ROW_FILE_FORMAT, 4)
  header.writeUInt32LE(PROBE, 12)
  header.writeUInt16LE(id.length, 16)
  header.set(id, 18)
  header.writeUInt32LE(crc32(header.subarray(12)), 8)
  return header
}

/** Why the bytes are not the header of a file of rows; undefined where they are. @param logId the log of which it is to be, if that matters */
export function headerFault(header: Buffer, logId?: string): string | undefined {
  if (header.length < HEADER_BYTES || header.readUInt32LE(0) !== MAGIC) return 'it is not a file of rows'
  if (header.readUInt32LE(4) !== ROW_FILE_FORMAT) return `its format is ${header.readUInt32LE(4)}`
  if (header.readUInt32LE(8) !== crc32(header.subarray(12))) return 'the checksum of its header is wrong'
  if (header.readUInt32LE(12) !== PROBE) return 'its keys are hashed in another way'
  return logId === undefined || header.equals(fileHeader(logId)) ? undefined : 'it is of another log'
}

/** The log's id in a header without fault. */
export const headerLogId = (header: Buffer): string => header.toString('utf8', 18, 18 + header.readUInt16LE(16))

/** A chunk's pieces, to be written one after the other. */
export function chunkPieces(
  kind: number,
  view: number,
  rows: number,
  columns: Buffer,
  body: Buffer,
  form = PLAIN,
): Buffer[] {
  const head = Buffer.alloc(HEAD_BYTES)
  const bytes = CHUNK_BYTES_MIN + columns.length + body.length
  head.writeUInt32LE(bytes, 0)
  head.writeUInt8(kind, 8)
  head.writeUInt8(form, 9)
  head.writeUInt16LE(view, 10)
  head.writeUInt32LE(rows, 12)
  head.writeUInt32LE(columns.length, 16)
  head.writeUInt32LE(crc32(body, crc32(columns, crc32(head.subarray(8)))), 4)
  const tail = Buffer.allocUnsafe(TAIL_BYTES)
  tail.writeUInt32LE(bytes, 0)
  return [head, columns, body, tail]
}

/** The bytes of the chunk that ends where these do. @throws RangeError */
export function chunkBytesBefore(bytes: Buffer): number {
  const length = bytes.length < TAIL_BYTES ? 0 : bytes.readUInt32LE(bytes.length - TAIL_BYTES)
  if (length < CHUNK_BYTES_MIN || length > CHUNK_BYTES_MAX) throw new RangeError('no chunk ends there')
  return length
}

export interface Chunk {
  readonly kind: number
  /** Number of its view in the segment. */
  readonly view: number
  readonly rows: number
  readonly columns: Buffer
  readonly body: Buffer
}

/** @throws RangeError where the bytes are not a whole chunk */
export function openChunk(bytes: Buffer): Chunk {
  const end = bytes.length - TAIL_BYTES
  if (bytes.length < CHUNK_BYTES_MIN || bytes.readUInt32LE(0) !== bytes.length)
    throw new RangeError('a chunk is cut short')
  if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8, end))) throw new RangeError('the checksum of a chunk is wrong')
  const columnsEnd = HEAD_BYTES + bytes.readUInt32LE(16)
  const rows = bytes.readUInt32LE(12)
  if (columnsEnd > end || rows * 4 > columnsEnd - HEAD_BYTES)
    throw new RangeError('the columns of a chunk are cut short')
  const body = bytes.subarray(columnsEnd, end)
  const form = bytes.readUInt8(9)
  if (form > ZSTD) throw new RangeError(`${form} is not a form of rows`)
  return {
    kind: bytes.readUInt8(8),
    view: bytes.readUInt16LE(10),
    rows,
    columns: bytes.subarray(HEAD_BYTES, columnsEnd),
    body: form === ZSTD ? zstdDecompressSync(body) : body,
  }
}

/** One view's part of a segment. */
export interface SegmentView {
  readonly name: string
  /** Its chunks: first byte, rows. */
  readonly chunks: readonly (readonly [offset: number, rows: number])[]
  /** What the shard has of the view from here on: per key group its rows and the two lanes of their hash. */
  readonly groups: readonly (readonly [group: number, rows: number, low: number, high: number])[]
}

export interface Segment {
  /** First byte. */
  readonly from: number
  readonly views: readonly SegmentView[]
}

export function segmentColumns({ from, views }: Segment): Buffer {
  const writer = new ByteWriter()
  writer.varint(from)
  writer.varint(views.length)
  for (const { name, chunks, groups } of views) {
    writer.string(name)
    writer.varint(chunks.length)
    for (const numbers of chunks) for (const number of numbers) writer.varint(number)
    writer.varint(groups.length)
    for (const numbers of groups) for (const number of numbers) writer.varint(number)
  }
  return writer.copy()
}

/** @throws RangeError */
export function readSegment({ columns }: Chunk): Segment {
  const reader = new ByteReader(columns)
  const from = reader.varint()
  const views = Array.from({ length: reader.count(3) }, (): SegmentView => {
    const name = reader.string()
    const chunks = Array.from({ length: reader.count(2) }, () => [reader.varint(), reader.varint()] as const)
    const groups = Array.from(
      { length: reader.count(4) },
      () => [reader.varint(), reader.varint(), reader.varint(), reader.varint()] as const,
    )
    return { name, chunks, groups }
  })
  return { from, views }
}
