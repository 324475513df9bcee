// The tags of rows, as names of the key index: varint 0 (no topic has that number), varint topic, string field, value. Events stand
// under them as they stand under their key.
import { ByteReader, ByteWriter, type ValueType } from '../../contract/index.ts'
import { TAGS_OF_EVENT_MAX } from '../limits.ts'
import { type Layout, type Topics, tagsOf } from '../topics.ts'
import { KeyBuffer } from './block-writer.ts'
import type { IndexedTag } from './format.ts'
import { StreamName } from './key-table.ts'
import { planTags, type TagBytes } from './plan.ts'

/** In the place of a topic's number. */
export const TAGS = 0

/** What a tag's name has before its value. */
function tagPrefix(topic: number, field: string): Buffer {
  const writer = new ByteWriter(64)
  writer.varint(topic)
  writer.string(field)
  return writer.copy()
}

export type TagName = ReturnType<StreamName['take']>

export const tagName = (topic: number, field: string, value: Uint8Array): TagName => {
  const prefix = tagPrefix(topic, field)
  return new StreamName().of(TAGS).add(prefix, 0, prefix.length).add(value, 0, value.length).take()
}

/** Takes a tag's name, but for the number in front; good during the call only. */
export type TakeTag = (name: KeyBuffer) => void

/** Reads the tags of rows of any layout; says which of them it gave whole. */
export class TagReader {
  readonly #topics: Topics
  readonly #layouts: (LayoutTags | null | undefined)[] = []

  constructor(topics: Topics) {
    this.#topics = topics
  }

  /**
   * Gives each tag of the row of a layout that begins at a place, once. Where there are too many, those beyond are left out, and
   * the topic's tags do not count as indexed.
   */
  each(layout: number, payload: Buffer, at: number, take: TakeTag): void {
    let tags = this.#layouts[layout]
    if (tags === undefined) {
      tags = this.#tagsOf(this.#topics.layout(layout))
      this.#layouts[layout] = tags
    }
    tags?.each(payload, at, take)
  }

  #tagsOf(layout: Layout | undefined): LayoutTags | null {
    const fields = layout ? layout.codec.type.fields.map(field => field.name) : []
    const tags = layout ? tagsOf(layout.topic.stored).filter(tag => fields.includes(tag)) : []
    return layout && tags.length > 0 ? new LayoutTags(layout, tags) : null
  }

  /** The tags under which every event that was read stands. */
  indexed(): IndexedTag[] {
    const lacking = new Set(this.#layouts.flatMap(tags => (tags?.overflowed ? [tags.topic] : [])))
    return this.#topics.stored.flatMap(stored =>
      lacking.has(stored.id) ? [] : tagsOf(stored).map(field => ({ topic: stored.id, field })),
    )
  }
}

class LayoutTags implements TagBytes {
  readonly topic: number
  /** True where an event had too many of them. */
  overflowed = false
  readonly #prefixes: readonly Buffer[]
  readonly #read: (reader: ByteReader) => void
  readonly #name = new KeyBuffer()
  /** An array may have a value twice: then the event's names, one after the other, and where each ends. */
  readonly #several: boolean
  readonly #names = new KeyBuffer()
  #ends: number[] = []
  #count = 0
  #take: TakeTag = () => {}

  constructor(layout: Layout, tags: readonly string[]) {
    const { type } = layout.codec
    this.topic = layout.topic.id
    this.#prefixes = tags.map(tag => tagPrefix(this.topic, tag))
    this.#read = planTags(type, tags)(this)
    this.#several = type.fields.some(field => tags.includes(field.name) && isSeveral(field.type))
  }

  each(payload: Buffer, at: number, take: TakeTag): void {
    this.#names.begin()
    this.#ends = []
    this.#count = 0
    this.#take = take
    this.#read(new ByteReader(payload, at))
  }

  tag(n: number, from: Buffer, start: number, end: number): void {
    const prefix = this.#prefixes[n]!
    const name = this.#name
    name.begin()
    name.add(prefix, 0, prefix.length)
    name.add(from, start, end)
    if (this.#several && this.#isKnown()) return
    if (++this.#count > TAGS_OF_EVENT_MAX) {
      this.overflowed = true
      return
    }
    if (this.#several) {
      this.#names.add(name.bytes, 0, name.length)
      this.#ends.push(this.#names.length)
    }
    this.#take(name)
  }

  #isKnown(): boolean {
    const { bytes, length } = this.#name
    let start = 0
    for (const end of this.#ends) {
      if (end - start === length && bytes.compare(this.#names.bytes, start, end, 0, length) === 0) return true
      start = end
    }
    return false
  }
}

const isSeveral = (type: ValueType): boolean =>
  type.kind === 'array' || (type.kind === 'nullable' && isSeveral(type.inner))
