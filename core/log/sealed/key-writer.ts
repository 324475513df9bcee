// The key index of a sealed segment, as it is made. All events of one stream stand together as row bytes, so that loading a
// stream reads one page of a segment and unpacks no block. A run covers a part of the segment; in it streams are in order of
// their hash, then of their first event.
//
// A stream of many events has several groups, one after the other. Page (key-page.ts) = whole groups, about 16 KiB. Chunk = varint
// groups · varint pages · varint first position of the run · of each page: varint first group, offset, bytes, raw bytes, u32 CRC-32 of
// what is stored, begun with the seed · of each group varint hash less that of the one before · of each group varint events × 2 + 1 if it
// goes on with the group before · of each group varint events of its stream that stood before its first and were removed. A stream
// of which all were removed has a group without events: so versions never change.
import { setImmediate as immediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import type { KeyedRow } from './block-writer.ts'
import { KEYS_PER_CHUNK, PAGE_BYTES_FULL, RUN_KEYS_MAX, SEAL_RECORDS_PER_TURN } from './bounds.ts'
import type { ChunkEntry } from './format.ts'
import { PageWriter } from './key-page.ts'
import { hashOfName, KeyTable, StreamName } from './key-table.ts'
import { type Compression, newWriter, pack, writeU32 } from './sections.ts'

/** Appends bytes to the file and says where they begin. */
export type Put = (pieces: readonly Uint8Array[]) => Promise<number>

interface PageEntry {
  readonly firstGroup: number
  readonly offset: number
  readonly bytes: number
  readonly rawBytes: number
  readonly crc: number
}

const CHUNK_BITS = 16
const CHUNK = 1 << CHUNK_BITS
/** Numbers of a record: layout, payload, start, end, position relative to the first. Side by side, for they are read together. */
const STRIDE = 5

/** The records of a run. In chunks, so that growing copies nothing. */
class Rows {
  count = 0
  readonly keys: Uint32Array[] = []
  readonly numbers: Uint32Array[] = []

  add(key: number, layout: number, payload: number, start: number, end: number, position: number): void {
    const n = this.count++
    if ((n & (CHUNK - 1)) === 0) {
      this.keys.push(new Uint32Array(CHUNK))
      this.numbers.push(new Uint32Array(CHUNK * STRIDE))
    }
    const chunk = n >>> CHUNK_BITS
    this.keys[chunk]![n & (CHUNK - 1)] = key
    const numbers = this.numbers[chunk]!
    const at = (n & (CHUNK - 1)) * STRIDE
    numbers[at] = layout
    numbers[at + 1] = payload
    numbers[at + 2] = start
    numbers[at + 3] = end
    numbers[at + 4] = position
  }
}

export class KeyRun {
  #rows = new Rows()
  readonly #keys: KeyTable
  #payloads: Buffer[] = []
  #payloadBytes = 0
  #first = 0
  readonly #name = new StreamName()
  /** Of each stream, by its number: events that were removed. */
  readonly #removed: number[] = []

  /** @param payloadBytes what the run may come to cover: room for so many streams is made at once */
  constructor(payloadBytes: number) {
    const most = Math.min(RUN_KEYS_MAX, payloadBytes / 32)
    this.#keys = new KeyTable(2 ** Math.max(9, Math.ceil(Math.log2(most))))
  }

  get empty(): boolean {
    return this.#keys.size === 0
  }

  get payloadBytes(): number {
    return this.#payloadBytes
  }

  /** True where the next block should begin a new run. */
  get full(): boolean {
    return this.#keys.size >= RUN_KEYS_MAX
  }

  /** Events of a stream that were here before those that are left. @param name varint topic, key bytes */
  removed(name: Uint8Array, hash: number, events: number): void {
    const of = this.#keys.add(hash, name, 0, name.length)
    this.#removed[of] = (this.#removed[of] ?? 0) + events
  }

  readonly add: KeyedRow = (topic, key, payload, position, layout, start, end) => {
    const name = this.#name.of(topic).add(key.bytes, 0, key.length)
    const of = this.#keys.add(name.hash, name.bytes, 0, name.length)
    if (this.#payloads[this.#payloads.length - 1] !== payload) {
      this.#payloads.push(payload)
      this.#payloadBytes += payload.length
    }
    if (this.#rows.count === 0) this.#first = position
    this.#rows.add(of, layout, this.#payloads.length - 1, start, end, position - this.#first)
  }

  /** Writes pages and chunks. */
  async write(put: Put, compression: Compression, seed: number): Promise<ChunkEntry[]> {
    const order = await orderKeys(this.#keys)
    const { starts, records } = await recordsByKey(this.#rows, this.#keys.size)
    const writer = new RunWriter(put, compression, seed, this.#first)
    let sinceTurn = 0
    for (const key of order) {
      const from = starts[key]!
      const to = starts[key + 1]!
      const name = this.#keys.entry(key)
      let at = from
      do {
        const [begin, end] = [at, Math.min(to, at + RECORDS_PER_GROUP)]
        const group = {
          name,
          goesOn: begin > from,
          count: end - begin,
          removed: begin > from ? 0 : this.#removedOf(key),
        }
        await writer.group(group, page => this.#group(page, records, begin, end))
        at = end
        sinceTurn += end - begin + 1
        if (sinceTurn > SEAL_RECORDS_PER_TURN) {
          sinceTurn = 0
          await immediate()
        }
      } while (at < to)
    }
    return writer.finish()
  }

  #removedOf(key: number): number {
    return this.#removed[key] ?? 0
  }

  #group(page: PageWriter, records: Uint32Array, from: number, to: number): void {
    const rows = this.#rows
    let before = 0
    for (let place = from; place < to; place++) {
      const n = records[place]!
      const numbers = rows.numbers[n >>> CHUNK_BITS]!
      const at = (n & (CHUNK - 1)) * STRIDE
      const position = numbers[at + 4]!
      const payload = this.#payloads[numbers[at + 1]!]!
      page.event(position - before, numbers[at]!, payload, numbers[at + 2]!, numbers[at + 3]!)
      before = position
    }
  }
}

/** A group is never longer, so that reading a part of a long stream unpacks a part. */
const RECORDS_PER_GROUP = 512

const BUCKET_BITS = 12

/** Numbers of the keys in order of hash, then of number. Sorted in buckets of the upper bits, with a pause now and then. */
async function orderKeys(keys: KeyTable): Promise<Uint32Array> {
  const { size: entries } = keys
  const hashes = new Uint32Array(entries)
  const buckets = new Uint32Array((1 << BUCKET_BITS) + 1)
  for (let key = 0; key < entries; key++) {
    hashes[key] = hashOfName(keys.entry(key))
    buckets[(hashes[key]! >>> (32 - BUCKET_BITS)) + 1]!++
    if (key % 8_192 === 8_191) await immediate()
  }
  for (let n = 1; n < buckets.length; n++) buckets[n]! += buckets[n - 1]!
  const next = buckets.slice()
  // Hash and number in one float: 32 bits and 21.
  const sorted = new Float64Array(entries)
  for (let key = 0; key < entries; key++) {
    sorted[next[hashes[key]! >>> (32 - BUCKET_BITS)]!++] = hashes[key]! * RUN_KEYS_MAX * 2 + key
    if (key % 65_536 === 65_535) await immediate()
  }
  const order = new Uint32Array(entries)
  for (let n = 0; n + 1 < buckets.length; n++) {
    const from = buckets[n]!
    const to = buckets[n + 1]!
    sorted.subarray(from, to).sort()
    for (let at = from; at < to; at++) order[at] = sorted[at]! % (RUN_KEYS_MAX * 2)
    if (n % 64 === 63) await immediate()
  }
  return order
}

/** The records of each key, in order: those of key k stand from `starts[k]` to `starts[k + 1]`. */
async function recordsByKey(rows: Rows, keys: number): Promise<{ starts: Uint32Array; records: Uint32Array }> {
  const starts = new Uint32Array(keys + 1)
  for (const [chunk, of] of rows.keys.entries()) {
    const count = Math.min(CHUNK, rows.count - chunk * CHUNK)
    for (let n = 0; n < count; n++) starts[of[n]! + 1]!++
    await immediate()
  }
  for (let key = 0; key < keys; key++) starts[key + 1]! += starts[key]!
  const next = starts.slice()
  const records = new Uint32Array(rows.count)
  for (const [chunk, of] of rows.keys.entries()) {
    const first = chunk * CHUNK
    const count = Math.min(CHUNK, rows.count - first)
    for (let n = 0; n < count; n++) records[next[of[n]!]!++] = first + n
    await immediate()
  }
  return { starts, records }
}

interface Group {
  readonly name: Buffer
  /** It continues the stream of the group before. */
  readonly goesOn: boolean
  readonly count: number
  readonly removed: number
}

class RunWriter {
  readonly #put: Put
  readonly #compression: Compression
  readonly #seed: number
  readonly #first: number
  readonly #page = new PageWriter()
  #pages: PageEntry[] = []
  #hashes: number[] = []
  #counts: number[] = []
  #removed: number[] = []
  /** First group of the open page. */
  #from = 0
  #chunks: ChunkEntry[] = []

  constructor(put: Put, compression: Compression, seed: number, first: number) {
    this.#put = put
    this.#compression = compression
    this.#seed = seed
    this.#first = first
  }

  async group({ name, goesOn, count, removed }: Group, rows: (page: PageWriter) => void): Promise<void> {
    const page = this.#page
    page.group(name, count)
    rows(page)
    this.#hashes.push(hashOfName(name))
    this.#counts.push(count * 2 + (goesOn ? 1 : 0))
    this.#removed.push(removed)
    if (page.bytes >= PAGE_BYTES_FULL) await this.#closePage()
    if (this.#hashes.length >= KEYS_PER_CHUNK) await this.#closeChunk()
  }

  async finish(): Promise<ChunkEntry[]> {
    await this.#closeChunk()
    return this.#chunks
  }

  async #closePage(): Promise<void> {
    if (this.#page.bytes === 0) return
    this.#pages.push({ firstGroup: this.#from, ...(await this.#store(this.#page.take())) })
    this.#from = this.#hashes.length
  }

  async #store(raw: Buffer): Promise<Omit<PageEntry, 'firstGroup'>> {
    const { bytes, rawBytes } = await pack(raw, this.#compression)
    return { offset: await this.#put([bytes]), bytes: bytes.length, rawBytes, crc: crc32(bytes, this.#seed) }
  }

  async #closeChunk(): Promise<void> {
    await this.#closePage()
    if (this.#hashes.length === 0) return
    const chunk = newWriter(64 * 1024)
    chunk.varint(this.#hashes.length)
    chunk.varint(this.#pages.length)
    chunk.varint(this.#first)
    for (const page of this.#pages) {
      for (const value of [page.firstGroup, page.offset, page.bytes, page.rawBytes]) chunk.varint(value)
      writeU32(chunk, page.crc)
    }
    let before = 0
    for (const hash of this.#hashes) {
      chunk.varint(hash - before)
      before = hash
    }
    for (const count of this.#counts) chunk.varint(count)
    for (const removed of this.#removed) chunk.varint(removed)
    this.#chunks.push({ ...(await this.#store(chunk.copy())), hash: this.#hashes[0]! })
    this.#pages = []
    this.#hashes = []
    this.#counts = []
    this.#removed = []
    this.#from = 0
  }
}
