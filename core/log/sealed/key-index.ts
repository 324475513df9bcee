// The key index of a sealed segment as a whole, for tools: what it holds, and whether it is what the blocks say.
import { ByteReader } from '../../contract/index.ts'
import type { Topics } from '../topics.ts'
import type { ChunkEntry, IndexedTag } from './format.ts'
import { type Page, readPage } from './key-page.ts'
import { type PageEntry, readChunk } from './key-reader.ts'
import { hashOfName } from './key-table.ts'
import type { SealedSegment } from './sealed-segment.ts'
import { TAGS } from './tags.ts'

/** One run. */
export interface KeyIndexSize {
  readonly chunks: number
  readonly pages: number
  readonly streams: number
  readonly events: number
  readonly bytes: number
  readonly rawBytes: number
}

/** @throws LOG_CORRUPT */
export async function keyIndexSize(segment: SealedSegment): Promise<KeyIndexSize[]> {
  const { runs } = await segment.footer()
  const sizes: KeyIndexSize[] = []
  for (const chunks of runs) {
    const size = { chunks: chunks.length, pages: 0, streams: 0, events: 0, bytes: 0, rawBytes: 0 }
    for (const entry of chunks) {
      const { pages, counts, goesOn } = readChunk(await segment.piece(entry), segment.format)
      size.pages += pages.length
      size.streams += goesOn.reduce((sum, on) => sum + 1 - on, 0)
      size.events += counts.reduce((sum, count) => sum + count, 0)
      for (const piece of [entry, ...pages]) {
        size.bytes += piece.bytes
        size.rawBytes += piece.rawBytes
      }
    }
    sizes.push(size)
  }
  return sizes
}

interface Told {
  /** A piece of the file that the index takes. */
  readonly piece: (offset: number, bytes: number) => void
  /** A damage, and where it is. */
  readonly damage: (offset: number, error: unknown) => void
}

/** How many events stand under what: the key of a stream, or a tag. */
export class KeyTally {
  readonly #events = new Map<string, number>()

  /** @param name as in the index */
  add(name: Buffer, events: number): void {
    const reader = new ByteReader(name)
    const under = reader.varint() === TAGS ? tagText(reader.varint(), reader.string()) : STREAMS
    this.#events.set(under, (this.#events.get(under) ?? 0) + events)
  }

  get streams(): number {
    return this.#events.get(STREAMS) ?? 0
  }

  tag({ topic, field }: IndexedTag): number {
    return this.#events.get(tagText(topic, field)) ?? 0
  }
}

const STREAMS = ''
const tagText = (topic: number, field: string): string => `${topic} ${field}`

/** Reads all of it; gives how many events it holds. */
export async function verifyKeyIndex(segment: SealedSegment, topics: Topics, told: Told): Promise<KeyTally> {
  const tally = new KeyTally()
  for (const chunks of (await segment.footer()).runs)
    for (const entry of chunks) await verifyChunk(segment, topics, entry, told, tally)
  return tally
}

async function verifyChunk(
  segment: SealedSegment,
  topics: Topics,
  entry: ChunkEntry,
  told: Told,
  tally: KeyTally,
): Promise<void> {
  told.piece(entry.offset, entry.bytes)
  try {
    const chunk = readChunk(await segment.piece(entry), segment.format)
    if (chunk.hashes[0] !== entry.hash) throw new RangeError('a chunk begins with another stream than the footer says')
    for (const [n, page] of chunk.pages.entries()) {
      told.piece(page.offset, page.bytes)
      const to = chunk.pages[n + 1]?.firstGroup ?? chunk.hashes.length
      try {
        const read = readPage(await segment.piece(page))
        checkGroups(read, page, to, chunk)
        checkRows(read, topics)
        checkPositions(read, chunk.first, segment)
        for (const [group, name] of read.names.entries()) tally.add(name, chunk.counts[page.firstGroup + group]!)
      } catch (error) {
        told.damage(page.offset, error)
      }
    }
  } catch (error) {
    told.damage(entry.offset, error)
  }
}

type Chunk = ReturnType<typeof readChunk>

function checkGroups(page: Page, { firstGroup }: PageEntry, to: number, { hashes, counts }: Chunk): void {
  if (page.names.length !== to - firstGroup) throw new RangeError('a page has another number of streams than its chunk')
  for (const [n, name] of page.names.entries()) {
    if (hashOfName(name) !== hashes[firstGroup + n])
      throw new RangeError('a stream stands under a hash that is not its own')
    if (page.firsts[n + 1]! - page.firsts[n]! !== counts[firstGroup + n])
      throw new RangeError('a stream has another number of events than its chunk says')
  }
}

function checkRows(page: Page, topics: Topics): void {
  for (let n = 0; n < page.starts.length; n++) {
    const id = page.layouts[n]!
    const layout = topics.layout(id)
    if (!layout) throw new RangeError(`layout ${id} of an event is not in topics.json`)
    const reader = new ByteReader(page.rows, page.starts[n]!)
    layout.codec.decode(reader)
    if (reader.at !== (page.starts[n + 1] ?? page.rows.length))
      throw new RangeError('an event has another length than its row')
  }
}

function checkPositions(page: Page, first: number, segment: SealedSegment): void {
  for (let group = 0; group + 1 < page.firsts.length; group++) {
    let position = first
    for (let n = page.firsts[group]!; n < page.firsts[group + 1]!; n++) {
      position += page.steps[n]!
      if (position > segment.last || (n > page.firsts[group]! && page.steps[n] === 0))
        throw new RangeError('the positions of a stream do not rise within the segment')
    }
  }
}
