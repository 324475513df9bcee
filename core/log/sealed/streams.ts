// The streams of an event topic: all events of one key, numbered from 1 in the order of the log. Each segment says how many
// events of the key it has, so a version is found, and the last one counted, without reading the others.
import { ByteReader, ByteWriter, createRowCodec, type KeyColumn, type TagValue } from '../../contract/index.ts'
import { fail, isMainstemError } from '../../errors.ts'
import type { Leases } from '../base/leases.ts'
import type { LogTopic, StreamOptions, StreamRecord, TaggedOptions, TaggedRecord } from '../log.ts'
import { corrupt } from '../records.ts'
import type { AnySegment } from '../recovery.ts'
import type { Segment } from '../segment.ts'
import { HotKeys, type HotKeysParts } from './hot-keys.ts'
import { KeyReader, type StoredEvent } from './key-reader.ts'
import { StreamName } from './key-table.ts'
import { SealedSegment } from './sealed-segment.ts'
import { tagged } from './tagged.ts'

interface StreamsParts extends HotKeysParts {
  readonly leases: Leases
}

type Name = ReturnType<StreamName['take']>

/** Some events of a stream that are read at once. */
interface Portion {
  readonly count: number
  /** Events of the stream that stood before these and were removed: they keep their versions. */
  readonly removed: number
  readonly file: string
  read(): Promise<readonly StoredEvent[]>
}

export class Streams {
  readonly #parts: StreamsParts
  readonly #keys = new KeyReader()
  readonly #hot = new WeakMap<Segment, HotKeys>()
  #asked = false
  readonly #columns = new Map<number, (key: unknown) => Buffer>()

  constructor(parts: StreamsParts) {
    this.#parts = parts
  }

  /** Something became durable: where streams are asked for, their index goes along. */
  durable(): void {
    const active = this.#parts.leases.live.at(-1)
    if (this.#asked && active && !(active instanceof SealedSegment)) this.#hotKeys(active).follow()
  }

  async *tagged(
    topic: LogTopic,
    field: string,
    value: TagValue,
    options?: TaggedOptions,
  ): AsyncGenerator<TaggedRecord> {
    this.#asked = true
    const lease = this.#parts.leases.acquire()
    try {
      const { topics } = this.#parts
      const hotKeys = (segment: Segment) => this.#hotKeys(segment)
      const parts = { topics, segments: [...lease.segments], keys: this.#keys, hotKeys }
      yield* tagged(parts, topic, { field, value }, options)
    } finally {
      lease.release()
    }
  }

  async lastVersion(topic: LogTopic, key: unknown): Promise<number> {
    const lease = this.#parts.leases.acquire()
    try {
      return versionsIn(await this.#portions(lease.segments, topic, key))
    } finally {
      lease.release()
    }
  }

  async *stream(topic: LogTopic, key: unknown, options: StreamOptions = {}): AsyncGenerator<StreamRecord> {
    const lease = this.#parts.leases.acquire()
    try {
      const portions = await this.#portions(lease.segments, topic, key)
      yield* this.#events(portions, topic, options)
    } finally {
      lease.release()
    }
  }

  async *#events(portions: Portion[], topic: LogTopic, options: StreamOptions): AsyncGenerator<StreamRecord> {
    const { backwards = false, limit = Number.POSITIVE_INFINITY } = options
    const wanted = wantedOf(portions, backwards, options.from, limit)
    let left = limit
    // Several are on their way at a time: each is a read of its own, and a short stream may have one in every segment.
    const reads: Promise<readonly StoredEvent[]>[] = []
    for (const [n, { portion, first, begin }] of wanted.entries()) {
      for (const ahead of wanted.slice(reads.length, n + PORTIONS_AHEAD)) reads.push(readOf(ahead.portion))
      const events = await reads[n]!
      for (let version = begin; left > 0; version += backwards ? -1 : 1) {
        const event = events[version - first]
        if (!event) break
        left--
        yield this.#record(topic, version, event, portion.file)
      }
      delete reads[n]
    }
  }

  #record(topic: LogTopic, version: number, { position, layout: id, buffer, at }: StoredEvent, file: string) {
    const layout = this.#parts.topics.layout(id)
    if (!layout) throw corrupt(file, 0, `layout ${id} of record ${position} is not in topics.json`)
    return { topic, position, version, event: layout.decode(new ByteReader(buffer, at)) }
  }

  async #portions(all: readonly AnySegment[], topic: LogTopic, key: unknown): Promise<Portion[]> {
    this.#asked = true
    const name = this.#name(topic, key)
    const segments = [...all]
    // Kept until their index is up to date: they may be sealed meanwhile.
    const held = segments.filter(segment => !(segment instanceof SealedSegment)) as Segment[]
    for (const segment of held) segment.hold()
    try {
      return await this.#portionsOf(segments, name)
    } finally {
      for (const segment of held) segment.release()
    }
  }

  async #portionsOf(segments: readonly AnySegment[], name: Name): Promise<Portion[]> {
    const portions: Portion[] = []
    for (const segment of segments) {
      if (segment instanceof SealedSegment) {
        const found = await this.#keys.find(segment, name.bytes, name.hash)
        for (const part of found?.parts ?? []) {
          const read = () => this.#keys.events(segment, part)
          portions.push({ count: part.count, removed: part.removed, file: segment.path, read })
        }
        continue
      }
      const { count, events } = await this.#hotKeys(segment).find(name)
      if (count > 0) portions.push({ count, removed: 0, file: segment.path, read: async () => events() })
    }
    return portions
  }

  #hotKeys(segment: Segment): HotKeys {
    let keys = this.#hot.get(segment)
    if (keys?.tagsVersion !== this.#parts.topics.tagsVersion) {
      keys = new HotKeys(this.#parts, segment)
      this.#hot.set(segment, keys)
    }
    return keys
  }

  #name(topic: LogTopic, key: unknown): Name {
    const entry = this.#parts.topics.entry(topic.id)
    if (!entry) throw fail('TOPIC_UNKNOWN', `topic ${topic.name} is not of this log`)
    let bytesOf = this.#columns.get(topic.id)
    if (!bytesOf) {
      const { columns, single } = topic.contract.key
      const encode = keyEncoder(columns)
      bytesOf = key => encode(single ? { [columns[0]!.name]: key } : (key as Record<string, unknown>))
      this.#columns.set(topic.id, bytesOf)
    }
    const bytes = bytesOf(key)
    return new StreamName().of(topic.id).add(bytes, 0, bytes.length).take()
  }
}

/** A portion of which events are asked for. */
interface Wanted {
  readonly portion: Portion
  /** Version of its first event. */
  readonly first: number
  /** Version of the first that is asked for. */
  readonly begin: number
}

/** The portions to read, in the order in which to read them. */
function wantedOf(portions: readonly Portion[], backwards: boolean, from: number | undefined, limit: number): Wanted[] {
  let before = 0
  const placed = portions.map(portion => {
    const first = before + portion.removed + 1
    before = first + portion.count - 1
    return { portion, first, last: before }
  })
  const at = from ?? (backwards ? before : 1)
  const wanted: Wanted[] = []
  let found = 0
  for (const { portion, first, last } of backwards ? placed.reverse() : placed) {
    if (found >= limit) break
    if (portion.count === 0 || (backwards ? first > at : last < at)) continue
    const begin = backwards ? Math.min(last, at) : Math.max(first, at)
    found += backwards ? begin - first + 1 : last - begin + 1
    wanted.push({ portion, first, begin })
  }
  return wanted
}

/** Begins to read. Who ends early never asks what came of it. */
function readOf(portion: Portion): Promise<readonly StoredEvent[]> {
  const read = portion.read()
  read.catch(() => {})
  return read
}

/** Portions of a stream that are read at a time: of at most 512 events each. */
const PORTIONS_AHEAD = 4

const versionsIn = (portions: readonly Portion[]): number =>
  portions.reduce((sum, { count, removed }) => sum + count + removed, 0)

/** The key's bytes as the key index has them (plan.ts). */
function keyEncoder(columns: readonly KeyColumn[]): (key: Record<string, unknown>) => Buffer {
  const writer = new ByteWriter(64)
  const parts = columns.map(column => {
    if (column.type.kind === 'enum') {
      return (key: Record<string, unknown>) => writer.raw(Buffer.from(`${key[column.name]}\0`))
    }
    const codec = createRowCodec({ kind: 'object', fields: [column] })
    return (key: Record<string, unknown>) => codec.encode(writer, key)
  })
  return key => {
    writer.at = 0
    if (typeof key !== 'object' || key === null) throw fail('KEY_INVALID', 'key: expected an object of the key columns')
    try {
      for (const part of parts) part(key)
    } catch (error) {
      // The codec is that of rows.
      throw isMainstemError(error) ? fail('KEY_INVALID', error.message) : error
    }
    return writer.copy()
  }
}
