// Which records go to which keys of a view, for a part of the log: collected in memory while the part grows, then a file that is
// looked up by key. A key is its hash: what is found may be of another key too, and is left out where it is folded.
//
// File: head of 64 bytes (magic, identity, first position, last position, touches, bits), then for each of 2^bits buckets, by the
// upper bits of the hash, where it ends and its CRC; then the buckets: for each hash the difference to the one before, how many
// records, their differences in position. All of it is a cache: what is damaged is made anew.
import { crc32 } from 'node:zlib'
import { ByteReader, ByteWriter, type FileSystem } from '../../core/index.ts'
import type { Pace } from './pace.ts'

/** Positions that one part covers at most: an offset of 20 bits beside a hash of 32 is a float exactly. */
export const PART_POSITIONS_MAX = 2 ** 20
/** Records that go to a key, over all keys, after which a part is full although its positions are not: 8 MiB of memory. */
export const PART_TOUCHES_FULL = 2 ** 20

const MAGIC = 'MSTOUCH1'
const HEAD_BYTES = 64
const IDENTITY_BYTES = 16
const BUCKET_BITS_MAX = 12
/** Touches per bucket, about: what one look-up reads and decodes. */
const BUCKET_TOUCHES = 256
const ENTRY_BYTES = 8
const FIRST_CAPACITY = 1_024

/** The part that is still growing. */
export class OpenPart {
  /** The position after which it begins. */
  readonly after: number
  readonly #positionsMax: number
  #packed = new Float64Array(FIRST_CAPACITY)
  #count = 0

  /** @param positionsMax that it covers at most; tests make it small */
  constructor(after: number, positionsMax: number = PART_POSITIONS_MAX) {
    this.after = after
    this.#positionsMax = positionsMax
  }

  get count(): number {
    return this.#count
  }

  /** Whether the next position belongs into a part of its own. */
  isFull(position: number): boolean {
    return position - this.after > this.#positionsMax || this.#count >= PART_TOUCHES_FULL
  }

  /** @param position at or after those before */
  add(hash: number, position: number): void {
    const touch = hash * PART_POSITIONS_MAX + (position - this.after - 1)
    // An update whose key stays goes there once.
    if (this.#count > 0 && this.#packed[this.#count - 1] === touch) return
    if (this.#count === this.#packed.length) {
      const grown = new Float64Array(this.#count * 2)
      grown.set(this.#packed)
      this.#packed = grown
    }
    this.#packed[this.#count++] = touch
  }

  /** Adds to `into` the positions of records that go to one of the hashes. */
  collect(hashes: ReadonlySet<number>, into: number[]): void {
    if (hashes.size === 1) {
      for (const hash of hashes) this.#collectOne(hash, into)
      return
    }
    for (let n = 0; n < this.#count; n++) {
      const touch = this.#packed[n]!
      const hash = Math.floor(touch / PART_POSITIONS_MAX)
      if (hashes.has(hash)) into.push(this.after + 1 + (touch - hash * PART_POSITIONS_MAX))
    }
  }

  /** The common case, at a comparison each. */
  #collectOne(hash: number, into: number[]): void {
    const packed = this.#packed
    const least = hash * PART_POSITIONS_MAX
    const end = least + PART_POSITIONS_MAX
    for (let n = 0; n < this.#count; n++) {
      const touch = packed[n]!
      if (touch >= least && touch < end) into.push(this.after + 1 + (touch - least))
    }
  }

  /** As a file. @param to last position that it covers */
  async encode(to: number, identity: Buffer, pace: Pace): Promise<Buffer> {
    const bits = bitsFor(this.#count)
    const { sorted, ends } = await this.#scatter(bits, pace)
    const buckets = 1 << bits
    const directory = Buffer.alloc(buckets * ENTRY_BYTES)
    const writer = new ByteWriter(this.#count * 4 + 1_024)
    for (let bucket = 0, from = 0; bucket < buckets; bucket++) {
      const begin = writer.at
      writeBucket(writer, sorted.subarray(from, ends[bucket]!).sort(), bucket * 2 ** (32 - bits))
      from = ends[bucket]!
      directory.writeUInt32LE(writer.at, bucket * ENTRY_BYTES)
      directory.writeUInt32LE(crc32(writer.buffer.subarray(begin, writer.at)), bucket * ENTRY_BYTES + 4)
      if (pace.due) await pace.rest()
    }
    const head = Buffer.alloc(HEAD_BYTES)
    head.write(MAGIC, 0, 'latin1')
    identity.copy(head, 8, 0, IDENTITY_BYTES)
    head.writeDoubleLE(this.after, 24)
    head.writeDoubleLE(to, 32)
    head.writeUInt32LE(this.#count, 40)
    head.writeUInt32LE(bits, 44)
    head.writeUInt32LE(crc32(directory, crc32(head.subarray(0, 60))), 60)
    return Buffer.concat([head, directory, writer.buffer.subarray(0, writer.at)])
  }

  /** Puts touches into the buckets of their hashes, so that each can be sorted by itself. */
  async #scatter(bits: number, pace: Pace): Promise<{ sorted: Float64Array; ends: Uint32Array }> {
    const size = 2 ** (52 - bits)
    const ends = new Uint32Array(1 << bits)
    const sorted = new Float64Array(this.#count)
    const step = 16_384
    for (let from = 0; from < this.#count; from += step) {
      for (let n = from; n < Math.min(from + step, this.#count); n++) ends[Math.floor(this.#packed[n]! / size)]!++
      if (pace.due) await pace.rest()
    }
    let sum = 0
    for (let bucket = 0; bucket < ends.length; bucket++) {
      const count = ends[bucket]!
      ends[bucket] = sum
      sum += count
    }
    for (let from = 0; from < this.#count; from += step) {
      for (let n = from; n < Math.min(from + step, this.#count); n++) {
        const touch = this.#packed[n]!
        const bucket = Math.floor(touch / size)
        sorted[ends[bucket]!++] = touch
      }
      if (pace.due) await pace.rest()
    }
    return { sorted, ends }
  }
}

const bitsFor = (touches: number): number =>
  Math.min(BUCKET_BITS_MAX, Math.max(0, Math.ceil(Math.log2(Math.max(1, touches) / BUCKET_TOUCHES))))

function writeBucket(writer: ByteWriter, touches: Float64Array, base: number): void {
  let before = base
  for (let n = 0; n < touches.length; ) {
    const hash = Math.floor(touches[n]! / PART_POSITIONS_MAX)
    let end = n + 1
    while (end < touches.length && Math.floor(touches[end]! / PART_POSITIONS_MAX) === hash) end++
    writer.varint(hash - before)
    writer.varint(end - n)
    let offset = 0
    for (; n < end; n++) {
      const next = touches[n]! - hash * PART_POSITIONS_MAX
      writer.varint(next - offset)
      offset = next
    }
    before = hash
  }
}

/** A part as a file. */
export class StoredPart {
  readonly path: string
  readonly after: number
  readonly to: number
  readonly bytes: number
  readonly #fs: FileSystem
  readonly #bits: number
  readonly #directory: Buffer

  private constructor(fs: FileSystem, path: string, head: Buffer, directory: Buffer, bytes: number) {
    this.#fs = fs
    this.path = path
    this.after = head.readDoubleLE(24)
    this.to = head.readDoubleLE(32)
    this.#bits = head.readUInt32LE(44)
    this.#directory = directory
    this.bytes = bytes
  }

  /** Undefined where it is damaged, or of another identity. */
  static async open(fs: FileSystem, path: string, identity: Buffer): Promise<StoredPart | undefined> {
    const file = await fs.open(path, 'read')
    try {
      const head = Buffer.alloc(HEAD_BYTES)
      if ((await file.read(head, 0)) < HEAD_BYTES || head.toString('latin1', 0, 8) !== MAGIC) return undefined
      const bits = head.readUInt32LE(44)
      if (bits > BUCKET_BITS_MAX || !identity.equals(head.subarray(8, 24))) return undefined
      const directory = Buffer.alloc((1 << bits) * ENTRY_BYTES)
      if ((await file.read(directory, HEAD_BYTES)) < directory.length) return undefined
      if (crc32(directory, crc32(head.subarray(0, 60))) !== head.readUInt32LE(60)) return undefined
      return new StoredPart(fs, path, head, directory, await file.size())
    } finally {
      await file.close()
    }
  }

  /** Adds to `into` the positions of records that go to one of the hashes. @throws RangeError where it is damaged */
  async collect(hashes: ReadonlySet<number>, into: number[], pace: Pace): Promise<void> {
    const byBucket = new Map<number, number[]>()
    for (const hash of hashes) {
      const bucket = this.#bits === 0 ? 0 : hash >>> (32 - this.#bits)
      const known = byBucket.get(bucket)
      if (known) known.push(hash)
      else byBucket.set(bucket, [hash])
    }
    const file = await this.#fs.open(this.path, 'read')
    try {
      for (const bucket of byBucket.keys()) {
        const from = bucket === 0 ? 0 : this.#directory.readUInt32LE((bucket - 1) * ENTRY_BYTES)
        const bytes = Buffer.allocUnsafe(this.#directory.readUInt32LE(bucket * ENTRY_BYTES) - from)
        const at = HEAD_BYTES + this.#directory.length + from
        if ((await file.read(bytes, at)) < bytes.length) throw new RangeError('a file of touches ends early')
        if (crc32(bytes) !== this.#directory.readUInt32LE(bucket * ENTRY_BYTES + 4))
          throw new RangeError('the checksum of touches is wrong')
        this.#decode(bytes, bucket * 2 ** (32 - this.#bits), hashes, into)
        if (pace.due) await pace.rest()
      }
    } finally {
      await file.close()
    }
  }

  #decode(bytes: Buffer, base: number, hashes: ReadonlySet<number>, into: number[]): void {
    const reader = new ByteReader(bytes)
    let hash = base
    while (reader.at < bytes.length) {
      hash += reader.varint()
      const wanted = hashes.has(hash)
      let position = this.after + 1
      for (let left = reader.varint(); left > 0; left--) {
        position += reader.varint()
        if (wanted) into.push(position)
      }
    }
  }
}
