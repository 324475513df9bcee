// The key index of a segment that is not sealed yet: in memory, made when a stream is first asked for, brought up to date at each
// look-up. It keeps the segment's blocks in memory, so it is bounded by the segments that are not sealed: mostly one.
import { setImmediate as immediate } from 'node:timers/promises'
import { ByteReader } from '../../contract/index.ts'
import { SEGMENT_HEADER_BYTES, type StoredBlock } from '../block.ts'
import type { FileSystem } from '../file-system.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import { corrupt, OP_EVENT } from '../records.ts'
import { readBlocks, type Segment } from '../segment.ts'
import type { Tail } from '../tail.ts'
import type { Topics } from '../topics.ts'
import { KeyBuffer, planOf } from './block-writer.ts'
import { SEAL_RECORDS_PER_TURN } from './bounds.ts'
import type { StoredEvent } from './key-reader.ts'

export interface HotKeysParts {
  readonly fs: FileSystem
  readonly topics: Topics
  readonly tail: Tail
}

export class HotKeys {
  readonly #parts: HotKeysParts
  readonly #segment: Segment
  readonly #streams = new Map<string, StoredEvent[]>()
  readonly #key = new KeyBuffer()
  readonly #keyers = new Map<number, (reader: ByteReader) => void>()
  #offset = SEGMENT_HEADER_BYTES
  #updating: Promise<void> | undefined

  constructor(parts: HotKeysParts, segment: Segment) {
    this.#parts = parts
    this.#segment = segment
  }

  /** A stream's events that are durable now. @throws LOG_CORRUPT */
  async find(name: Buffer): Promise<readonly StoredEvent[]> {
    while (this.#offset < this.#segment.bytes) {
      this.#updating ??= this.#update().finally(() => {
        this.#updating = undefined
      })
      await this.#updating
    }
    return this.#streams.get(name.toString('latin1')) ?? []
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
    for (let n = 0; n < block.count; n++) {
      const length = reader.varint()
      const end = reader.at + length
      const layout = reader.varint()
      if (reader.u8() === OP_EVENT) {
        const at = reader.at
        const name = this.#name(layout, reader)
        const event = { position: block.first + n, layout, buffer: block.payload, at }
        const events = this.#streams.get(name)
        if (events) events.push(event)
        else this.#streams.set(name, [event])
      }
      reader.at = end
      if (n % SEAL_RECORDS_PER_TURN === SEAL_RECORDS_PER_TURN - 1) await immediate()
    }
    this.#offset = block.offset + block.bytes
  }

  #name(id: number, reader: ByteReader): string {
    const layout = this.#parts.topics.layout(id)
    if (!layout) throw new RangeError(`layout ${id} of a record is not in topics.json`)
    let keyer = this.#keyers.get(id)
    if (!keyer) {
      keyer = planOf(layout).keyer(this.#key)
      this.#keyers.set(id, keyer)
    }
    keyer(reader)
    return streamName(layout.topic.id, this.#key.bytes, this.#key.length).toString('latin1')
  }
}

/** What names a stream in the key index: varint topic, key bytes. */
export function streamName(topic: number, key: Uint8Array, length: number): Buffer {
  const name = Buffer.allocUnsafe(length + 8)
  let at = 0
  for (let rest = topic; ; rest = Math.floor(rest / 0x80)) {
    name[at++] = rest >= 0x80 ? (rest % 0x80) | 0x80 : rest
    if (rest < 0x80) break
  }
  name.set(key.subarray(0, length), at)
  return name.subarray(0, at + length)
}
