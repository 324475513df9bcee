// Look-ups in the key index of a sealed segment (its form: key-writer.ts). Chunks and pages are kept unpacked in a bounded cache.
import { ByteReader } from '../../contract/index.ts'
import { asMainstemError, isMainstemError } from '../../errors.ts'
import { corrupt } from '../records.ts'
import { KEY_CACHE_BYTES_MAX } from './bounds.ts'
import { type ChunkEntry, SPARSE_FORMAT } from './format.ts'
import { type Page, readPage } from './key-page.ts'
import type { SealedSegment, StoredPiece } from './sealed-segment.ts'
import { readU32 } from './sections.ts'

interface PageEntry extends StoredPiece {
  readonly firstGroup: number
}

interface Chunk {
  readonly bytes: number
  /** The run's first position, to which the positions in it are relative. */
  readonly first: number
  readonly pages: readonly PageEntry[]
  readonly hashes: Uint32Array
  readonly counts: Uint32Array
  readonly goesOn: Uint8Array
  /** Events that stood before a group's first and were removed. */
  readonly removed: Float64Array | undefined
}

/** One group of a stream. */
interface Part {
  readonly chunk: Chunk
  readonly group: number
  readonly count: number
  /** Events of the stream that stood before these and were removed. */
  readonly removed: number
}

/** How many events of a stream were removed. */
export interface RemovedEvents {
  /** varint topic, key bytes. */
  readonly name: Buffer
  readonly hash: number
  readonly events: number
}

/** A stream's events in one segment. */
export interface Found {
  readonly count: number
  readonly parts: readonly Part[]
}

/** A stored event of a stream. */
export interface StoredEvent {
  readonly position: number
  readonly layout: number
  readonly buffer: Buffer
  /** Where its row begins. */
  readonly at: number
}

/** What was unpacked last, up to a number of bytes. */
class Cache {
  readonly #kept = new Map<string, { readonly bytes: number }>()
  #bytes = 0

  async get<T extends { readonly bytes: number }>(name: string, load: () => Promise<T>): Promise<T> {
    const known = this.#kept.get(name) as T | undefined
    if (known) {
      this.#kept.delete(name)
      this.#kept.set(name, known)
      return known
    }
    const loaded = await load()
    if (!this.#kept.has(name)) this.#bytes += loaded.bytes
    this.#kept.set(name, loaded)
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#bytes <= KEY_CACHE_BYTES_MAX) break
      this.#kept.delete(oldest)
      this.#bytes -= bytes
    }
    return loaded
  }
}

export class KeyReader {
  readonly #cache = new Cache()

  /** @param name varint topic, key bytes · @param hash of the key bytes · @throws LOG_CORRUPT */
  async find(segment: SealedSegment, name: Buffer, hash: number): Promise<Found | undefined> {
    const parts: Part[] = []
    for (const chunks of (await segment.footer()).runs) {
      let n = chunks.findIndex(chunk => chunk.hash >= hash)
      n = Math.max(0, (n < 0 ? chunks.length : n) - 1)
      let ours = false
      for (; n < chunks.length && chunks[n]!.hash <= hash; n++) {
        const chunk = await this.#chunk(segment, chunks[n]!)
        for (let group = lowerBound(chunk.hashes, hash); chunk.hashes[group] === hash; group++) {
          if (chunk.goesOn[group] === 0) ours = await this.#isOf(segment, chunk, group, name)
          if (ours) parts.push({ chunk, group, count: chunk.counts[group]!, removed: chunk.removed?.[group] ?? 0 })
        }
      }
    }
    if (parts.length === 0) return undefined
    return { parts, count: parts.reduce((sum, part) => sum + part.count, 0) }
  }

  /** The events of a group. @throws LOG_CORRUPT */
  async events(segment: SealedSegment, { chunk, group, count }: Part): Promise<StoredEvent[]> {
    const { page, offset } = await this.#page(segment, chunk, group)
    return guarded(segment, offset, () => {
      const at = group - offsetOf(chunk, group)
      const from = page.firsts[at]!
      if (page.firsts[at + 1]! - from !== count)
        throw new RangeError('a stream has another number of events than its directory says')
      const events: StoredEvent[] = []
      let position = chunk.first
      for (let n = from; n < from + count; n++) {
        position += page.steps[n]!
        events.push({ position, layout: page.layouts[n]!, buffer: page.rows, at: page.starts[n]! })
      }
      return events
    })
  }

  /** Of each stream, how many of its events an earlier cleaning took out of a segment. @throws LOG_CORRUPT */
  async *removed(segment: SealedSegment): AsyncGenerator<RemovedEvents> {
    for (const chunks of (await segment.footer()).runs) {
      for (const entry of chunks) {
        const chunk = await this.#chunk(segment, entry)
        for (const [group, events] of (chunk.removed ?? []).entries()) {
          if (events === 0) continue
          const { page } = await this.#page(segment, chunk, group)
          const name = page.names[group - offsetOf(chunk, group)]
          if (name) yield { name, hash: chunk.hashes[group]!, events }
        }
      }
    }
  }

  async #isOf(segment: SealedSegment, chunk: Chunk, group: number, name: Buffer): Promise<boolean> {
    const { page } = await this.#page(segment, chunk, group)
    return page.names[group - offsetOf(chunk, group)]?.equals(name) ?? false
  }

  #chunk(segment: SealedSegment, entry: ChunkEntry): Promise<Chunk> {
    return this.#cache.get(`${segment.name}:${entry.offset}`, async () => {
      const raw = await segment.piece(entry)
      return guarded(segment, entry.offset, () => readChunk(raw, segment.format))
    })
  }

  async #page(segment: SealedSegment, chunk: Chunk, group: number): Promise<{ page: Page; offset: number }> {
    const entry = chunk.pages[pageOf(chunk, group)]!
    const page = await this.#cache.get(`${segment.name}:${entry.offset}`, async () => {
      const raw = await segment.piece(entry)
      return guarded(segment, entry.offset, () => readPage(raw))
    })
    return { page, offset: entry.offset }
  }
}

function guarded<T>(segment: SealedSegment, offset: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (isMainstemError(error)) throw error
    throw corrupt(segment.path, offset, asMainstemError(error).detail ?? 'the key index is damaged', error)
  }
}

/** The page with a group: the last that begins at it or before. */
function pageOf({ pages }: Chunk, group: number): number {
  let low = 0
  let high = pages.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (pages[middle]!.firstGroup <= group) low = middle + 1
    else high = middle
  }
  return low - 1
}

const offsetOf = (chunk: Chunk, group: number): number => chunk.pages[pageOf(chunk, group)]!.firstGroup

function lowerBound(values: Uint32Array, value: number): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

function readChunk(raw: Buffer, format: number): Chunk {
  const reader = new ByteReader(raw)
  const count = reader.varint()
  const pageCount = reader.varint()
  if (count > raw.length || pageCount > raw.length) throw new RangeError('a chunk claims more than it holds')
  const first = reader.varint()
  const pages: PageEntry[] = []
  for (let n = 0; n < pageCount; n++) {
    const [firstGroup, offset, bytes, rawBytes] = [reader.varint(), reader.varint(), reader.varint(), reader.varint()]
    pages.push({ firstGroup, offset, bytes, rawBytes, crc: readU32(reader) })
  }
  if (pages[0]?.firstGroup !== 0) throw new RangeError('a chunk has no first page')
  const hashes = new Uint32Array(count)
  let hash = 0
  for (let n = 0; n < count; n++) {
    hash += reader.varint()
    hashes[n] = hash
  }
  const counts = new Uint32Array(count)
  const goesOn = new Uint8Array(count)
  for (let n = 0; n < count; n++) {
    const value = reader.varint()
    counts[n] = value >>> 1
    goesOn[n] = value & 1
  }
  let removed: Float64Array | undefined
  for (let n = 0; format >= SPARSE_FORMAT && n < count; n++) {
    const events = reader.varint()
    if (events === 0) continue
    removed ??= new Float64Array(count)
    removed[n] = events
  }
  return { bytes: count * 17 + pages.length * 64, first, pages, hashes, counts, goesOn, removed }
}
