// A sealed block's bytes: a head, then sections, each begun at a multiple of 8 so that typed arrays can view it where it lies.
// Each section has its own CRC, so that a reader of three columns checks and unpacks these alone.
import { setImmediate as immediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { crc32, zstdCompress, zstdDecompress, zstdDecompressSync } from 'node:zlib'
import { type ByteReader, ByteWriter } from '../../contract/index.ts'
import { letGo } from '../let-go.ts'
import {
  COMPRESSED_FROM_BYTES,
  COMPRESSED_RATIO_MAX,
  SEALED_BLOCK_BYTES_MAX,
  UNPACKED_AT_ONCE_BYTES_MAX,
  UNPACKED_BYTES_PER_TURN,
} from './bounds.ts'

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

export type Compression = 'zstd' | 'none'

/** Bytes as they are stored: packed where that pays. */
export interface Packed {
  readonly bytes: Uint8Array
  readonly rawBytes: number
}

export async function pack(raw: Uint8Array, compression: Compression): Promise<Packed> {
  if (compression === 'zstd' && raw.length >= COMPRESSED_FROM_BYTES) {
    const packed = await compress(raw)
    if (packed.length <= raw.length * COMPRESSED_RATIO_MAX) return { bytes: packed, rawBytes: raw.length }
  }
  return { bytes: raw, rawBytes: raw.length }
}

/** The raw bytes; begun at a multiple of 8 in their memory where they were packed. @throws RangeError */
export function unpack(stored: Buffer, rawBytes: number): Buffer {
  return stored.length === rawBytes ? stored : whole(zstdDecompressSync(stored, bounds(rawBytes)), rawBytes)
}

/** The same by zlib's threads where it takes longer than going there. @throws RangeError */
async function unpackAside(stored: Buffer, rawBytes: number): Promise<Buffer> {
  if (stored.length === rawBytes || rawBytes <= UNPACKED_AT_ONCE_BYTES_MAX) return unpack(stored, rawBytes)
  return whole(await decompress(stored, bounds(rawBytes)), rawBytes)
}

function bounds(rawBytes: number) {
  if (rawBytes > SEALED_BLOCK_BYTES_MAX) throw new RangeError(`a section claims to have ${rawBytes} bytes`)
  return { chunkSize: Math.max(64, rawBytes + 8), maxOutputLength: rawBytes + 8 }
}

function whole(raw: Buffer, rawBytes: number): Buffer {
  if (raw.length !== rawBytes) throw new RangeError('a section unpacks to another length')
  return raw
}

const aligned = (at: number): number => (at + 7) & ~7

/** What fills up to a multiple of 8 has no checksum, but is known. @throws RangeError */
export function checkZeros(bytes: Buffer, from: number, to: number): void {
  for (let at = from; at < Math.min(to, bytes.length); at++)
    if (bytes[at] !== 0) throw new RangeError('the bytes that fill up a section are not zero')
}

export class SectionWriter {
  readonly #raw: Uint8Array[] = []

  /** Takes the bytes as they are now: a view must not change until `finish`. */
  add(bytes: Uint8Array): number {
    return this.#raw.push(bytes) - 1
  }

  /** The table and the sections after it. */
  async finish(table: ByteWriter, compression: Compression, seed: number): Promise<readonly Uint8Array[]> {
    const out: Uint8Array[] = []
    let at = 0
    table.varint(this.#raw.length)
    for (const raw of this.#raw) {
      const { bytes, rawBytes } = await pack(raw, compression)
      table.varint(bytes.length)
      table.varint(rawBytes)
      writeU32(table, crc32(bytes, seed))
      out.push(bytes)
      const gap = aligned(at + bytes.length) - at - bytes.length
      if (gap > 0) out.push(new Uint8Array(gap))
      at = aligned(at + bytes.length)
    }
    return out
  }
}

interface Section {
  readonly at: number
  readonly bytes: number
  readonly rawBytes: number
  readonly crc: number
}

/** The sections of a block that is in memory; unpacked when asked for. */
export class Sections {
  readonly #body: Buffer
  readonly #seed: number
  readonly #sections: Section[] = []
  readonly #raw: (Buffer | undefined)[] = []
  #sound = false

  constructor(body: Buffer, seed: number) {
    this.#body = body
    this.#seed = seed
  }

  /** Reads the table. @throws RangeError where it does not fit the body */
  open(table: ByteReader): void {
    const body = this.#body
    let at = 0
    for (let left = table.varint(); left > 0; left--) {
      const bytes = table.varint()
      const rawBytes = table.varint()
      this.#sections.push({ at, bytes, rawBytes, crc: readU32(table) })
      at = aligned(at + bytes)
      if (at > aligned(body.length)) throw new RangeError('the sections of a block are longer than it')
    }
  }

  /** @throws RangeError where the section's checksum is wrong */
  get(n: number): Buffer {
    const known = this.#raw[n]
    if (known) return known
    const raw = unpack(...(this.#sound ? this.#stored(n) : this.#checked(n)))
    this.#raw[n] = raw
    return raw
  }

  /**
   * Moves what is unpacked to memory behind that of the body, where others find it, too (`adopt`); false where there is not
   * enough. All have been checked.
   * @param from where that memory begins
   */
  share(memory: Buffer, from: number): boolean {
    const count = this.#sections.length
    let at = aligned(from + 4 * count)
    if (at > memory.length) return false
    for (let n = 0; n < count; n++) {
      const raw = this.#raw[n]
      // What is not packed lies in the body, which others have as well.
      const moves = raw && raw.buffer !== memory.buffer
      memory.writeUInt32LE(moves ? at : 0, from + 4 * n)
      if (!moves) continue
      if (at + raw.length > memory.length) return false
      raw.copy(memory, at)
      this.#raw[n] = memory.subarray(at, at + raw.length)
      at = aligned(at + raw.length)
    }
    return true
  }

  /** Takes over what another has checked and unpacked. */
  adopt(memory: Buffer, from: number): void {
    for (const [n, { rawBytes }] of this.#sections.entries()) {
      const at = memory.readUInt32LE(from + 4 * n)
      if (at > 0) this.#raw[n] = memory.subarray(at, at + rawBytes)
    }
    this.#sound = true
  }

  /** Checks all of them as they are stored, with pauses: none is checked again. @throws RangeError */
  async check(): Promise<void> {
    if (this.#sound) return
    let bytes = 0
    for (let n = 0; n < this.#sections.length; n++) {
      bytes += this.#checked(n)[0].length
      if (bytes < UNPACKED_BYTES_PER_TURN) continue
      bytes = 0
      await immediate()
    }
    this.#sound = true
  }

  /** Unpacks some of them, once checked, with pauses. @throws RangeError */
  async unpack(numbers: Iterable<number> = this.#sections.keys()): Promise<void> {
    let bytes = 0
    for (const n of numbers) {
      const [stored, rawBytes] = this.#stored(n)
      this.#raw[n] ??= await unpackAside(stored, rawBytes)
      bytes += rawBytes
      if (bytes < UNPACKED_BYTES_PER_TURN) continue
      bytes = 0
      await immediate()
    }
  }

  /** A section as it is stored, and its bytes when unpacked. @throws RangeError where its checksum is wrong */
  #checked(n: number): [stored: Buffer, rawBytes: number] {
    const found = this.#stored(n)
    const { at, bytes, crc } = this.#sections[n]!
    if (crc32(found[0], this.#seed) !== crc) throw new RangeError(`the checksum of section ${n} is wrong`)
    checkZeros(this.#body, at + bytes, aligned(at + bytes))
    return found
  }

  /** @throws RangeError where the block is too short for it */
  #stored(n: number): [stored: Buffer, rawBytes: number] {
    const section = this.#sections[n]
    if (!section) throw new RangeError(`a block has no section ${n}`)
    const stored = this.#body.subarray(section.at, section.at + section.bytes)
    if (stored.length < section.bytes) throw new RangeError(`section ${n} of a block is cut short`)
    return [stored, section.rawBytes]
  }

  /** Gives their memory back: none of them can be read any more. */
  letGo(): void {
    for (const raw of this.#raw) if (raw !== undefined && raw.buffer !== this.#body.buffer) letGo(raw)
    this.#raw.length = 0
  }

  /** Bytes of all of them as they are stored, and unpacked. */
  get size(): { readonly bytes: number; readonly rawBytes: number } {
    const sum = (of: 'bytes' | 'rawBytes') => this.#sections.reduce((total, section) => total + section[of], 0)
    return { bytes: sum('bytes'), rawBytes: sum('rawBytes') }
  }
}

export function writeU32(writer: ByteWriter, value: number): void {
  writer.reserve(4)
  writer.at = writer.buffer.writeUInt32LE(value, writer.at)
}

export function readU32(reader: ByteReader): number {
  const value = reader.buffer.readUInt32LE(reader.at)
  reader.at += 4
  return value
}

/** The bytes as 8-byte aligned memory: as they lie where they are so, else copied. */
export function alignedView(bytes: Uint8Array): Uint8Array {
  if (bytes.byteOffset % 8 === 0) return bytes
  const copy = new Uint8Array(bytes.length)
  copy.set(bytes)
  return copy
}

export const newWriter = (bytes = 4096): ByteWriter => new ByteWriter(bytes)
