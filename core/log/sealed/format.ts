// The frame of a sealed segment. All integers little-endian; u64 never exceeds 2^53 − 1. docs/log-format.md has the whole of it.
//
// File = header (64 bytes, as a hot segment's, with magic "MSSL", format version 3, and at 48 u64 generation) · blocks, pages and chunks of the key index,
//   each begun at a multiple of 8 · footer · trailer.
// Block = fixed head, 64 bytes: 0 u32 magic "MSCB" · 4 u32 CRC-32 of bytes 8..64+n, begun with the seed · 8 u32 n, bytes of the head ·
//   12 u32 bytes of the block · 16 u64 offset in the file · 24 u64 first position · 32 u32 records · 36 zeros · 40 u64 earliest and
//   48 u64 latest append time · 56 zeros; then the head, zeros up to a multiple of 8, and the sections.
// Trailer, 40 bytes: 0 u64 offset of the footer · 8 u32 its bytes · 12 u32 CRC-32 of the footer, begun with the seed · 16 u64 bytes of
//   the file · 24 u64 last position · 32 u32 CRC-32 of bytes 0..31 of the trailer, begun with the seed · 36 u32 magic "MSSE".
import { crc32 } from 'node:zlib'
import { ByteReader } from '../../contract/index.ts'
import { readMark, readU64, type SegmentKind, writeMark, writeU64 } from '../block.ts'
import type { SourceMark } from '../log.ts'
import type { BlockEntry, GroupEntry, ZoneEntry } from './block-writer.ts'
import { checkZeros, newWriter, readU32, writeU32 } from './sections.ts'

export const SEALED_FORMAT = 3
/** From this format on blocks may be sparse, and streams say how many of their events were removed. */
export const SPARSE_FORMAT = 3
export const SEALED_MAGIC = 0x4c53534d
export const TRAILER_BYTES = 40
export const BLOCK_FIXED_BYTES = 64
export const BLOCK_MAGIC = 0x4243534d
const TRAILER_MAGIC = 0x4553534d

export const SEALED_SEGMENT: SegmentKind = { magic: SEALED_MAGIC, format: SEALED_FORMAT, name: 'a sealed segment' }

type BlockStamp = Omit<BlockEntry, 'bytes' | 'groups'>

/** The block's pieces: fixed head and head, then the sections. */
export function blockHead(stamp: BlockStamp, head: Uint8Array, body: readonly Uint8Array[], seed: number) {
  const headBytes = (BLOCK_FIXED_BYTES + head.length + 7) & ~7
  const front = Buffer.alloc(headBytes)
  const bytes = body.reduce((sum, piece) => sum + piece.length, headBytes)
  front.writeUInt32LE(BLOCK_MAGIC, 0)
  front.writeUInt32LE(head.length, 8)
  front.writeUInt32LE(bytes, 12)
  writeU64(front, stamp.offset, 16)
  writeU64(front, stamp.first, 24)
  front.writeUInt32LE(stamp.count, 32)
  writeU64(front, stamp.minTimeMs, 40)
  writeU64(front, stamp.maxTimeMs, 48)
  front.set(head, BLOCK_FIXED_BYTES)
  front.writeUInt32LE(crc32(front.subarray(8, BLOCK_FIXED_BYTES + head.length), seed), 4)
  return { bytes, pieces: [front, ...body] }
}

/** A block's head, and the sections after it, of a buffer that holds the block. @throws RangeError */
export function openBlock(block: Buffer, entry: BlockStamp, seed: number): { head: ByteReader; body: Buffer } {
  if (block.length < BLOCK_FIXED_BYTES || block.readUInt32LE(0) !== BLOCK_MAGIC)
    throw new RangeError('no block begins here')
  const end = BLOCK_FIXED_BYTES + block.readUInt32LE(8)
  if (end > block.length || block.readUInt32LE(12) !== block.length) throw new RangeError('a block is cut short')
  if (block.readUInt32LE(4) !== crc32(block.subarray(8, end), seed)) throw new RangeError('a block’s checksum is wrong')
  if (
    readU64(block, 16) !== entry.offset ||
    readU64(block, 24) !== entry.first ||
    block.readUInt32LE(32) !== entry.count
  )
    throw new RangeError('a block’s head is not that of the directory')
  checkZeros(block, end, (end + 7) & ~7)
  return { head: new ByteReader(block.subarray(0, end), BLOCK_FIXED_BYTES), body: block.subarray((end + 7) & ~7) }
}

/** Up to 8,192 streams of the key index, in order of their hash. */
export interface ChunkEntry {
  readonly offset: number
  readonly bytes: number
  readonly rawBytes: number
  readonly crc: number
  /** Least hash in it. */
  readonly hash: number
}

/** What a sealed segment says of itself. */
export interface Footer {
  readonly last: number
  readonly appendTimeMs: number
  /** The newest mark of each source, in this segment or before. */
  readonly marks: readonly SourceMark[]
  readonly blocks: readonly BlockEntry[]
  /** The key index, in runs: each covers a part of the segment, in order. */
  readonly runs: readonly (readonly ChunkEntry[])[]
  /** The tags that the key index has too. */
  readonly tags: readonly IndexedTag[]
}

export interface IndexedTag {
  readonly topic: number
  readonly field: string
}

export function writeFooter(footer: Footer): Buffer {
  const writer = newWriter()
  writer.varint(footer.last)
  writer.varint(footer.appendTimeMs)
  writer.varint(footer.marks.length)
  for (const mark of footer.marks) {
    writer.u8(mark.snapshot ? 1 : 0)
    writeMark(writer, mark)
  }
  writer.varint(footer.blocks.length)
  for (const block of footer.blocks) {
    writer.varint(block.offset)
    writer.varint(block.bytes)
    writer.varint(block.first)
    writer.varint(block.last + 1 - block.first)
    for (const value of [block.count, block.minTimeMs, block.maxTimeMs]) writer.varint(value)
    writer.varint(block.groups.length)
    for (const group of block.groups) {
      for (const value of [group.layout, group.op, group.count, group.zones.length]) writer.varint(value)
      for (const zone of group.zones) {
        writer.varint(zone.column * 2 + zone.image)
        writer.f64(zone.min)
        writer.f64(zone.max)
      }
    }
  }
  writer.varint(footer.runs.length)
  for (const run of footer.runs) {
    writer.varint(run.length)
    for (const chunk of run) {
      for (const value of [chunk.offset, chunk.bytes, chunk.rawBytes]) writer.varint(value)
      writeU32(writer, chunk.crc)
      writeU32(writer, chunk.hash)
    }
  }
  writer.varint(footer.tags.length)
  for (const { topic, field } of footer.tags) {
    writer.varint(topic)
    writer.string(field)
  }
  return writer.copy()
}

const listOf = <T>(reader: ByteReader, read: () => T): T[] => {
  const list: T[] = []
  for (let left = reader.varint(); left > 0; left--) list.push(read())
  return list
}

/** @throws RangeError where the bytes are not a footer */
export function readFooter(bytes: Buffer, format: number): Footer {
  const reader = new ByteReader(bytes)
  return {
    last: reader.varint(),
    appendTimeMs: reader.varint(),
    marks: listOf(reader, () => {
      const snapshot = reader.u8() === 1
      return readMark(reader, snapshot)
    }),
    blocks: listOf(reader, () => readBlockEntry(reader, format)),
    runs: listOf(reader, () =>
      listOf(reader, () => ({
        offset: reader.varint(),
        bytes: reader.varint(),
        rawBytes: reader.varint(),
        crc: readU32(reader),
        hash: readU32(reader),
      })),
    ),
    // Footers of format 2 end here.
    tags: reader.at < bytes.length ? listOf(reader, () => ({ topic: reader.varint(), field: reader.string() })) : [],
  }
}

function readBlockEntry(reader: ByteReader, format: number): BlockEntry {
  const offset = reader.varint()
  const bytes = reader.varint()
  const first = reader.varint()
  const span = reader.varint()
  const count = format >= SPARSE_FORMAT ? reader.varint() : span
  if (count > span || !Number.isSafeInteger(first + span))
    throw new RangeError('a block has more records than positions')
  return {
    offset,
    bytes,
    first,
    last: first + span - 1,
    count,
    minTimeMs: reader.varint(),
    maxTimeMs: reader.varint(),
    groups: listOf(reader, () => readGroupEntry(reader)),
  }
}

function readGroupEntry(reader: ByteReader): GroupEntry {
  const layout = reader.varint()
  const op = reader.varint()
  const count = reader.varint()
  const zones: ZoneEntry[] = []
  for (let left = reader.varint(); left > 0; left--) {
    const of = reader.varint()
    zones.push({ image: of % 2, column: Math.floor(of / 2), min: reader.f64(), max: reader.f64() })
  }
  return { layout, op, count, zones }
}

export function writeTrailer(footerOffset: number, footer: Buffer, last: number, seed: number): Buffer {
  const trailer = Buffer.alloc(TRAILER_BYTES)
  writeU64(trailer, footerOffset, 0)
  trailer.writeUInt32LE(footer.length, 8)
  trailer.writeUInt32LE(crc32(footer, seed), 12)
  writeU64(trailer, footerOffset + footer.length + TRAILER_BYTES, 16)
  writeU64(trailer, last, 24)
  trailer.writeUInt32LE(crc32(trailer.subarray(0, 32), seed), 32)
  trailer.writeUInt32LE(TRAILER_MAGIC, 36)
  return trailer
}

export interface Trailer {
  /** Where the footer stands. */
  readonly offset: number
  readonly bytes: number
  readonly crc: number
  readonly last: number
}

/** @throws RangeError where the trailer is not that of a whole file of `size` bytes */
export function readTrailer(trailer: Buffer, size: number, seed: number): Trailer {
  if (trailer.length < TRAILER_BYTES || trailer.readUInt32LE(36) !== TRAILER_MAGIC)
    throw new RangeError('it does not end as a sealed segment')
  if (trailer.readUInt32LE(32) !== crc32(trailer.subarray(0, 32), seed))
    throw new RangeError('the trailer’s checksum is wrong')
  const offset = readU64(trailer, 0)
  const bytes = trailer.readUInt32LE(8)
  if (readU64(trailer, 16) !== size || offset + bytes + TRAILER_BYTES !== size)
    throw new RangeError(`it has ${size} bytes, and its trailer says ${readU64(trailer, 16)}`)
  return { offset, bytes, crc: trailer.readUInt32LE(12), last: readU64(trailer, 24) }
}
