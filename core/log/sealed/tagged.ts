// The events of a topic with a tag, in the order of the log. Where a segment's key index has the tag, its pages are read; where
// it was sealed before the tag was declared, or holds records of a contract in which the field was another, its events are
// looked through, passing over blocks whose columns cannot hold the value.
import { setImmediate as immediate } from 'node:timers/promises'
import { type AnyRow, ByteReader, isTagged, type TagValue, tagBytes, tagTypeIn } from '../../contract/index.ts'
import { fail } from '../../errors.ts'
import type { LogTopic, TaggedOptions, TaggedRecord } from '../log.ts'
import { corrupt, OP_EVENT } from '../records.ts'
import type { AnySegment } from '../recovery.ts'
import type { Segment } from '../segment.ts'
import { type Layout, type TopicEntry, type Topics, tagsOf } from '../topics.ts'
import { planOf } from './block-writer.ts'
import { SEAL_RECORDS_PER_TURN } from './bounds.ts'
import type { HotKeys } from './hot-keys.ts'
import type { Found, KeyReader, StoredEvent } from './key-reader.ts'
import type { GroupData, SealedBlock } from './sealed-block.ts'
import { SealedSegment } from './sealed-segment.ts'
import { type TagName, tagName } from './tags.ts'
import { isAsStored, mayHold } from './zones.ts'

export interface TaggedParts {
  readonly topics: Topics
  readonly segments: readonly AnySegment[]
  readonly keys: KeyReader
  hotKeys(segment: Segment): HotKeys
}

/** What is looked for, and in which part of the log. */
interface Search {
  readonly topic: TopicEntry
  readonly field: string
  readonly value: TagValue
  readonly name: TagName
  readonly from: number
  readonly to: number
  readonly backwards: boolean
}

type Hit = Omit<TaggedRecord, 'topic'>

export async function* tagged(
  parts: TaggedParts,
  topic: LogTopic,
  tag: { readonly field: string; readonly value: TagValue },
  options: TaggedOptions = {},
): AsyncGenerator<TaggedRecord> {
  const { from, backwards = false, limit = Number.POSITIVE_INFINITY } = options
  const { segments } = parts
  const end = segments.at(-1)?.last ?? 0
  const within = backwards ? { from: 1, to: Math.min(end, from ?? end) } : { from: from ?? 1, to: end }
  const search = { ...searchOf(parts.topics, topic, tag), ...within, backwards }
  // Kept until the end: they may be sealed meanwhile.
  const held = segments.filter(segment => !(segment instanceof SealedSegment)) as Segment[]
  for (const segment of held) segment.hold()
  try {
    let left = limit
    for (const segment of backwards ? segments.toReversed() : segments) {
      if (left <= 0) return
      if (segment.last < search.from || segment.first > search.to) continue
      for await (const hit of hits(parts, segment, search)) {
        if (left-- <= 0) return
        yield { topic: search.topic, ...hit }
      }
    }
  } finally {
    for (const segment of held) segment.release()
  }
}

function searchOf(topics: Topics, topic: LogTopic, tag: { readonly field: string; readonly value: TagValue }) {
  const { field } = tag
  // As it comes out of a row.
  const value = typeof tag.value === 'string' ? tag.value.toWellFormed() : tag.value
  const entry = topics.entry(topic.id)
  if (!entry) throw fail('TOPIC_UNKNOWN', `topic ${topic.name} is not of this log`)
  const tags = tagsOf(entry.stored)
  const of = tags.includes(field) ? tagTypeIn(entry.contract, field) : undefined
  if (!of) {
    throw fail('TAG_UNKNOWN', `${topic.name} has no tag '${field}'`, {
      detail: `it has ${tags.join(', ') || 'none'}`,
      hint: `declare it: topic('${topic.name}', { …, tags: ['${field}'] })`,
    })
  }
  const bytes = tagBytes(field, of, value)
  return { topic: entry, field, value, name: tagName(entry.id, field, bytes) }
}

const inRange = ({ from, to }: Search, position: number): boolean => position >= from && position <= to

async function* hits(parts: TaggedParts, segment: AnySegment, search: Search): AsyncGenerator<Hit> {
  if (!(segment instanceof SealedSegment)) {
    yield* hotHits(parts, segment, search)
    return
  }
  const { tags, blocks } = await segment.footer()
  const ids = new Set(
    blocks.flatMap(block => block.groups.flatMap(each => (each.op === OP_EVENT ? [each.layout] : []))),
  )
  const layouts = layoutsOf(parts.topics, search, ids)
  if (layouts.length === 0) return
  const indexed = tags.some(({ topic, field }) => topic === search.topic.id && field === search.field)
  if (!indexed || !layouts.every(layout => isAsStored(layout, search.field))) {
    yield* sealedScan(parts, segment, search)
    return
  }
  const found = await parts.keys.find(segment, search.name.bytes, search.name.hash)
  if (found) yield* sealedHits(parts, segment, found, search)
}

const layoutsOf = (topics: Topics, search: Search, ids: Iterable<number>): Layout[] =>
  [...ids].flatMap(id => {
    const layout = topics.layout(id)
    return layout && layout.topic.id === search.topic.id ? [layout] : []
  })

async function* hotHits(parts: TaggedParts, segment: Segment, search: Search): AsyncGenerator<Hit> {
  const keys = parts.hotKeys(segment)
  const { events } = await keys.find(search.name)
  const layouts = layoutsOf(parts.topics, search, keys.layouts)
  const { topic, field } = search
  if (keys.hasTag(topic.id, field) && layouts.every(layout => isAsStored(layout, field))) {
    const found = events()
    for (const event of search.backwards ? found.reverse() : found)
      if (inRange(search, event.position)) yield hitOf(parts, segment, event)
    return
  }
  let looked = 0
  for (const event of keys.events(search.to, search.backwards)) {
    if (++looked % SEAL_RECORDS_PER_TURN === 0) await immediate()
    const ours = parts.topics.layout(event.layout)?.topic.id === search.topic.id
    if (!ours || !inRange(search, event.position)) continue
    const hit = hitOf(parts, segment, event)
    if (isTagged(hit.event[search.field], search.value)) yield hit
  }
}

function hitOf({ topics }: TaggedParts, segment: AnySegment, { position, layout: id, buffer, at }: StoredEvent): Hit {
  const layout = topics.layout(id)
  if (!layout) throw corrupt(segment.path, 0, `layout ${id} of record ${position} is not in topics.json`)
  return { position, event: layout.decode(new ByteReader(buffer, at), position) }
}

async function* sealedHits(
  parts: TaggedParts,
  segment: SealedSegment,
  { parts: groups }: Found,
  search: Search,
): AsyncGenerator<Hit> {
  const read = (n: number) => parts.keys.events(segment, groups[n]!)
  const { backwards } = search
  const begin = await groupAt(groups.length, read, backwards ? search.to : search.from)
  for (let n = begin; n >= 0 && n < groups.length; n += backwards ? -1 : 1) {
    const events = await read(n)
    for (const event of backwards ? events.reverse() : events) {
      // What is out on the far side is followed by nothing that is in.
      if (backwards ? event.position < search.from : event.position > search.to) return
      if (inRange(search, event.position)) yield hitOf(parts, segment, event)
    }
  }
}

/** The last group that begins at a position or before, else the first: groups are in the order of the log. */
async function groupAt(
  count: number,
  read: (n: number) => Promise<readonly StoredEvent[]>,
  position: number,
): Promise<number> {
  let low = 1
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((await read(middle))[0]!.position <= position) low = middle + 1
    else high = middle
  }
  return low - 1
}

async function* sealedScan(parts: TaggedParts, segment: SealedSegment, search: Search): AsyncGenerator<Hit> {
  const { blocks } = await segment.footer()
  const { value } = search
  const ranges =
    typeof value === 'number' || typeof value === 'bigint' ? { [search.field]: [value, value] as const } : {}
  const numbers = [...blocks.keys()].filter(n => {
    const { first, last, groups } = blocks[n]!
    if (first > search.to || last < search.from) return false
    return groups.some(group => {
      const layout = parts.topics.layout(group.layout)
      return group.op === OP_EVENT && layout?.topic.id === search.topic.id && mayHold(group, layout, ranges)
    })
  })
  for (const n of search.backwards ? numbers.reverse() : numbers) {
    const block = await segment.block(n, parts.topics)
    if (!block) continue
    const records = candidatesOf(block, search)
    if (records.length > 0) await block.unpack()
    const { groupOf, localOf } = block
    for (const [n, record] of (search.backwards ? records.reverse() : records).entries()) {
      if (n % SEAL_RECORDS_PER_TURN === SEAL_RECORDS_PER_TURN - 1) await immediate()
      const position = positionOf(block, record)
      const { layout, images } = block.groups[groupOf[record]!]!
      const event: AnyRow = layout.adapt(images[0]!.row(localOf[record]!), position)
      if (isTagged(event[search.field], search.value)) yield { position, event }
    }
  }
}

const positionOf = ({ positions, entry }: SealedBlock, record: number): number =>
  positions?.[record] ?? entry.first + record

/** The records of a block that may have the value: where the field's column says so, no other is unpacked. @throws LOG_CORRUPT */
function candidatesOf(block: SealedBlock, search: Search): number[] {
  try {
    const tests = block.groups.map(group =>
      group.op === OP_EVENT && group.layout.topic.id === search.topic.id ? testOf(group, search) : undefined,
    )
    const { groupOf, localOf, entry } = block
    const records: number[] = []
    for (let record = 0; record < entry.count; record++) {
      if (tests[groupOf[record]!]?.(localOf[record]!) && inRange(search, positionOf(block, record)))
        records.push(record)
    }
    return records
  } catch (error) {
    throw block.damaged(error)
  }
}

/** Which rows of a group may have the value. */
function testOf({ layout, images }: GroupData, { field, value }: Search): (row: number) => boolean {
  const planned = planOf(layout).columns
  const n = isAsStored(layout, field) ? planned.findIndex(({ name, kind }) => name === field && kind !== 'tags') : -1
  const column = planned[n]
  const data = images[0]!.columns[n]
  if (!column || !data) return () => true
  if (column.type.kind === 'enum') {
    const code = column.type.values.indexOf(String(value))
    const codes = data.numbers()
    return row => codes[row] === code
  }
  if (column.kind === 'int' || column.kind === 'small') {
    const numbers = data.numbers()
    return row => numbers[row] === Number(value)
  }
  if (column.type.kind !== 'string') return () => true
  if (!data.isDictionary) {
    const text = Buffer.from(String(value))
    return row => data.bytes(row).equals(text)
  }
  const code = data.dictionary().indexOf(String(value))
  const codes = data.codes()
  return row => codes[row] === code
}
