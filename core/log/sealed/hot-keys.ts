// The key index of a segment that is not sealed yet: in memory, made when a stream is first asked for (about 0.12 s per million
// events, in slices of a millisecond), then kept up with what is appended, and brought up to date at each look-up. It keeps the segment's blocks in memory, so it is bounded by the segments that are not sealed: mostly one.
import { setImmediate as immediate } from 'node:timers/promises'
import { ByteReader } from '../../contract/index.ts'
import { SEGMENT_HEADER_BYTES, type StoredBlock } from '../block.ts'
import type { FileSystem } from '../file-system.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import { corrupt, OP_EVENT } from '../records.ts'
import { readBlocks, type Segment } from '../segment.ts'
import type { Tail } from '../tail.ts'
import type { Topics } from '../topics.ts'
import { planOf } from './block-writer.ts'
import { HOT_KEYS_BEHIND_BYTES_MAX, SEAL_RECORDS_PER_TURN } from './bounds.ts'
import type { StoredEvent } from './key-reader.ts'
import { KeyTable, StreamName } from './key-table.ts'
import { TAGS, TagReader } from './tags.ts'

export interface HotKeysParts {
  readonly fs: FileSystem
  readonly topics: Topics
  readonly tail: Tail
}

export class HotKeys {
  readonly #parts: HotKeysParts
  readonly #segment: Segment
  readonly #streams = new KeyTable()
  readonly #name = new StreamName()
  readonly #payloads: Buffer[] = []
  /** Of each stream: its newest event and how many it has; of each event: the one before. */
  #newest = new Int32Array(1024)
  #counts = new Uint32Array(1024)
  #before = new Int32Array(1024)
  #position = new Float64Array(1024)
  #layout = new Uint32Array(1024)
  #payload = new Uint32Array(1024)
  #at = new Uint32Array(1024)
  #events = 0
  #sinceTurn = 0
  readonly #keyers: (Keyer | undefined)[] = []
  readonly #tags: TagReader
  /** Of the topics' tags, by which events are indexed here. */
  readonly tagsVersion: number
  #offset = SEGMENT_HEADER_BYTES
  #updating: Promise<void> | undefined

  constructor(parts: HotKeysParts, segment: Segment) {
    this.#parts = parts
    this.#segment = segment
    this.#tags = new TagReader(parts.topics)
    this.tagsVersion = parts.topics.tagsVersion
  }

  /** True where every event stands under the values of a tag. */
  hasTag(topic: number, field: string): boolean {
    return this.#tags.indexed().some(tag => tag.topic === topic && tag.field === field)
  }

  /** Layouts of the events that are in it. */
  get layouts(): number[] {
    return this.#keyers.flatMap((keyer, id) => (keyer ? [id] : []))
  }

  /** All events up to a position, in order or the other way round. Asked after a look-up, which brings them in. */
  *events(to: number, backwards: boolean): Generator<StoredEvent> {
    let before = 0
    for (let n = 0; n < this.#events; n++) {
      const event = this.#event(backwards ? this.#events - 1 - n : n)
      // An event stands there once for its key and once for each tag.
      if (event.position === before || event.position > to) continue
      before = event.position
      yield event
    }
  }

  #event(n: number): StoredEvent {
    const buffer = this.#payloads[this.#payload[n]!]!
    return { position: this.#position[n]!, layout: this.#layout[n]!, buffer, at: this.#at[n]! }
  }

  /** A stream's events that are durable now. @throws LOG_CORRUPT */
  async find(name: { readonly bytes: Buffer; readonly hash: number }): Promise<HotStream> {
    while (this.#offset < this.#segment.bytes) await this.#caughtUp()
    const stream = this.#streams.find(name.hash, name.bytes, 0, name.bytes.length)
    const count = stream < 0 ? 0 : this.#counts[stream]!
    const newest = stream < 0 ? -1 : this.#newest[stream]!
    return { count, events: () => this.#chain(newest, count) }
  }

  /** Takes in what became durable, if it is enough to be worth it: so that the next look-up finds little left to do. */
  follow(): void {
    // What fails is said by the look-up that meets it again.
    if (this.#segment.bytes - this.#offset >= HOT_KEYS_BEHIND_BYTES_MAX) void this.#caughtUp().catch(() => {})
  }

  #caughtUp(): Promise<void> {
    this.#updating ??= this.#update().finally(() => {
      this.#updating = undefined
    })
    return this.#updating
  }

  #chain(newest: number, count: number): StoredEvent[] {
    const events = new Array<StoredEvent>(count)
    let event = newest
    for (let n = count - 1; n >= 0; n--) {
      events[n] = this.#event(event)
      event = this.#before[event]!
    }
    return events
  }

  async #update(): Promise<void> {
    const segment = this.#segment
    const end = segment.bytes
    const kept = this.#parts.tail.from(segment, this.#offset, NEXT_BYTES_MAX)
    if (kept) {
      for (const block of kept) await this.#add(block)
      return
    }
    segment.hold()
    try {
      const file = await this.#parts.fs.open(segment.path, 'read')
      try {
        while (this.#offset < end) {
          const read = await readBlocks(file, segment.seed, this.#offset, end)
          if (read.bad !== undefined) throw corrupt(segment.path, this.#offset, read.bad)
          for (const block of read.blocks) await this.#add(block)
        }
      } finally {
        await file.close()
      }
    } finally {
      segment.release()
    }
  }

  async #add(block: StoredBlock): Promise<void> {
    const reader = new ByteReader(block.payload)
    this.#payloads.push(block.payload)
    for (let n = 0; n < block.count; n++) {
      const length = reader.varint()
      const end = reader.at + length
      const layout = reader.varint()
      if (reader.u8() === OP_EVENT) {
        this.#take(block.first + n, layout, reader)
      }
      reader.at = end
      if (++this.#sinceTurn < SEAL_RECORDS_PER_TURN) continue
      this.#sinceTurn = 0
      await immediate()
    }
    this.#offset = block.offset + block.bytes
  }

  #take(position: number, id: number, reader: ByteReader): void {
    const { at } = reader
    const keyer = this.#keyers[id] ?? this.#keyer(id)
    const name = this.#name.of(keyer.topic)
    keyer.read(reader)
    this.#append(name, position, id, at)
    this.#tags.each(id, reader.buffer, at, tag => {
      this.#append(this.#name.of(TAGS).add(tag.bytes, 0, tag.length), position, id, at)
    })
  }

  #append(name: StreamName, position: number, id: number, at: number): void {
    const known = this.#streams.size
    const stream = this.#streams.add(name.hash, name.bytes, 0, name.length)
    this.#reserve()
    if (stream === known) this.#counts[stream] = 0
    const event = this.#events++
    this.#position[event] = position
    this.#layout[event] = id
    this.#payload[event] = this.#payloads.length - 1
    this.#at[event] = at
    this.#before[event] = this.#counts[stream] === 0 ? -1 : this.#newest[stream]!
    this.#newest[stream] = event
    this.#counts[stream]!++
  }

  #keyer(id: number): Keyer {
    const layout = this.#parts.topics.layout(id)
    if (!layout) throw new RangeError(`layout ${id} of a record is not in topics.json`)
    const keyer = { topic: layout.topic.id, read: planOf(layout).keyer(this.#name) }
    this.#keyers[id] = keyer
    return keyer
  }

  #reserve(): void {
    if (this.#streams.size >= this.#newest.length) {
      this.#newest = grown(this.#newest)
      this.#counts = grown(this.#counts)
    }
    if (this.#events < this.#at.length) return
    this.#before = grown(this.#before)
    this.#position = grown(this.#position)
    this.#layout = grown(this.#layout)
    this.#payload = grown(this.#payload)
    this.#at = grown(this.#at)
  }
}

/** Reads the key of a layout's rows into the name. */
interface Keyer {
  readonly topic: number
  readonly read: (reader: ByteReader) => void
}

/** A stream's events in a segment that is not sealed. */
export interface HotStream {
  readonly count: number
  events(): StoredEvent[]
}

function grown<T extends Int32Array | Uint32Array | Float64Array>(values: T): T {
  const larger = new (values.constructor as new (length: number) => T)(values.length * 2)
  larger.set(values)
  return larger
}
