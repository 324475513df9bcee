// What stands in a log's folder, counted: segments, the blocks of one, topics. Sealed segments say most of it in their footers;
// hot ones are read. For tools: nothing here is needed to run a log.
import { join } from 'node:path'
import { fail } from '../../errors.ts'
import { readU64, SEGMENT_HEADER_BYTES } from '../block.ts'
import { NEXT_BYTES_MAX } from '../limits.ts'
import type { LogTopic, RecordOp, SourceMark } from '../log.ts'
import { Block, corrupt, OPS } from '../records.ts'
import type { AnySegment } from '../recovery.ts'
import { planOf } from '../sealed/block-writer.ts'
import { type KeyIndexSize, keyIndexSize } from '../sealed/key-index.ts'
import { SealedSegment } from '../sealed/sealed-segment.ts'
import { readBlocks, type Segment } from '../segment.ts'
import type { SegmentEnd } from '../sidecar.ts'
import { type Layout, TopicEntry, type Topics } from '../topics.ts'
import type { LogFolder } from './offline.ts'

export interface SegmentSummary {
  readonly file: string
  readonly form: 'hot' | 'sealed'
  /** True for the one that is appended to. */
  readonly active: boolean
  readonly format: number
  readonly epoch: number
  readonly first: number
  /** `first − 1` where it has no records. */
  readonly last: number
  readonly records: number
  readonly bytes: number
  /** Milliseconds since 1970; null where it has no blocks. */
  readonly firstTimeMs: number | null
  readonly lastTimeMs: number | null
  /** The newest of each source, in this segment or before. */
  readonly marks: readonly SourceMark[]
}

export async function summarizeSegment(folder: LogFolder, segment: AnySegment): Promise<SegmentSummary> {
  const active = folder.active.segment === segment
  const { format, epoch } = await headerOf(folder, segment)
  const { first, last, bytes, name: file } = segment
  const common = { file, active, format, epoch, first, last, bytes }
  if (segment instanceof SealedSegment) {
    const { blocks, marks } = await segment.footer()
    return {
      ...common,
      form: 'sealed',
      records: blocks.reduce((sum, block) => sum + block.count, 0),
      firstTimeMs: blocks[0]?.minTimeMs ?? null,
      lastTimeMs: blocks.at(-1)?.maxTimeMs ?? null,
      marks,
    }
  }
  const end = endOf(folder, segment)
  const firstTimeMs = await firstTime(folder, segment)
  return {
    ...common,
    form: 'hot',
    records: last - first + 1,
    firstTimeMs,
    lastTimeMs: firstTimeMs === null ? null : end.appendTimeMs,
    marks: [...end.marks.values()],
  }
}

const endOf = (folder: LogFolder, segment: Segment): SegmentEnd => segment.end ?? folder.active

async function headerOf(folder: LogFolder, segment: AnySegment): Promise<{ format: number; epoch: number }> {
  const { active, identity } = folder
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  // The one that the next append would make is not there yet.
  if (segment === active.segment && segment.bytes === SEGMENT_HEADER_BYTES) active.segment.header.copy(header)
  else await withFile(folder, segment, file => file.read(header, 0))
  return { format: header.readUInt32LE(8), epoch: readU64(header, 40) || identity.epoch }
}

async function firstTime(folder: LogFolder, segment: Segment): Promise<number | null> {
  if (segment.bytes === SEGMENT_HEADER_BYTES) return null
  const [block] = await withFile(folder, segment, async file => {
    const { blocks, bad } = await readBlocks(file, segment.seed, SEGMENT_HEADER_BYTES, segment.bytes, 1)
    if (bad !== undefined) throw corrupt(segment.path, SEGMENT_HEADER_BYTES, bad)
    return blocks
  })
  return block?.appendTimeMs ?? null
}

type OpenFile = Awaited<ReturnType<LogFolder['fileSystem']['open']>>

async function withFile<T>(folder: LogFolder, segment: AnySegment, use: (file: OpenFile) => Promise<T>): Promise<T> {
  const file = await folder.fileSystem.open(join(folder.path, segment.name), 'read')
  return use(file).finally(() => file.close())
}

/** The records of one layout and one kind of change in a block. */
export interface GroupSummary {
  readonly topic: string
  readonly layout: number
  readonly op: RecordOp
  readonly records: number
  /** Least and greatest value of columns; of sealed blocks. */
  readonly zones: readonly { readonly column: string; readonly before: boolean; min: number; max: number }[]
}

export interface BlockSummary {
  readonly offset: number
  readonly bytes: number
  /** Before compression, where it is compressed. */
  readonly rawBytes: number
  readonly first: number
  readonly records: number
  readonly firstTimeMs: number
  readonly lastTimeMs: number
  /** How many hot blocks it was made of; 1 where it is one. */
  readonly hotBlocks: number
  /** Of a hot block. */
  readonly mark: SourceMark | null
  readonly groups: readonly GroupSummary[]
}

/** The blocks of a segment, in order. @throws LOG_CORRUPT */
export async function* summarizeBlocks(folder: LogFolder, segment: AnySegment): AsyncGenerator<BlockSummary> {
  if (segment instanceof SealedSegment) yield* sealedBlocks(folder.topics, segment)
  else yield* hotBlocks(folder, segment)
}

async function* sealedBlocks(topics: Topics, segment: SealedSegment): AsyncGenerator<BlockSummary> {
  const { blocks } = await segment.footer()
  for (const [n, entry] of blocks.entries()) {
    const block = (await segment.block(n, topics))!
    const packed = block.size
    yield {
      offset: entry.offset,
      bytes: entry.bytes,
      rawBytes: entry.bytes - packed.bytes + packed.rawBytes,
      first: entry.first,
      records: entry.count,
      firstTimeMs: entry.minTimeMs,
      lastTimeMs: entry.maxTimeMs,
      hotBlocks: block.blocks(0).length,
      mark: null,
      groups: entry.groups.map(({ layout: id, op, count, zones }) => {
        const layout = topics.layout(id)
        const columns = layout ? planOf(layout).columns : []
        return {
          topic: layout?.topic.name ?? '?',
          layout: id,
          op: OPS[op] ?? 'event',
          records: count,
          zones: zones.map(({ column, image, min, max }) => ({
            column: columns[column]?.name ?? String(column),
            before: image === 1,
            min,
            max,
          })),
        }
      }),
    }
  }
}

async function* hotBlocks(folder: LogFolder, segment: Segment): AsyncGenerator<BlockSummary> {
  if (segment.bytes === SEGMENT_HEADER_BYTES) return
  const file = await folder.fileSystem.open(segment.path, 'read')
  const place = { topics: folder.topics, file: segment.path }
  try {
    for (let offset = SEGMENT_HEADER_BYTES; offset < segment.bytes; ) {
      const read = await readBlocks(file, segment.seed, offset, segment.bytes, NEXT_BYTES_MAX)
      if (read.bad !== undefined) throw corrupt(segment.path, offset, read.bad)
      for (const stored of read.blocks) {
        const { bytes, first, count, appendTimeMs, mark } = stored
        yield {
          offset: stored.offset,
          bytes,
          rawBytes: bytes,
          first,
          records: count,
          firstTimeMs: appendTimeMs,
          lastTimeMs: appendTimeMs,
          hotBlocks: 1,
          mark: mark ?? null,
          groups: groupsOf(new Block(stored, place)),
        }
      }
      offset = read.offset
    }
  } finally {
    await file.close()
  }
}

function groupsOf(block: Block): GroupSummary[] {
  const groups = new Map<string, { topic: string; layout: number; op: RecordOp; records: number; zones: [] }>()
  for (const cursor = block.records(); cursor.next(); ) {
    const { topic, op } = cursor
    const layout = layoutOf(topic).id
    const known = groups.get(`${layout} ${op}`)
    if (known) known.records++
    else groups.set(`${layout} ${op}`, { topic: topic.name, layout, op, records: 1, zones: [] })
  }
  return [...groups.values()]
}

/** The key index of a sealed segment, one entry per run. */
export async function summarizeKeyIndex(segment: AnySegment): Promise<readonly KeyIndexSize[]> {
  return segment instanceof SealedSegment ? keyIndexSize(segment) : []
}

/** A topic, and how much of it the log has. */
export interface TopicSummary {
  readonly name: string
  readonly kind: 'topic' | 'table'
  readonly key: readonly string[]
  /** How many shapes its records have. */
  readonly layouts: number
  readonly version: number
  readonly records: number
  /** Its part of the segments' bytes, as if all records of a block were alike. */
  readonly bytesAbout: number
  readonly ops: Readonly<Partial<Record<RecordOp, number>>>
  /** Positions; null where the log has no record of it. */
  readonly first: number | null
  readonly last: number | null
}

interface Counted {
  records: number
  bytes: number
  readonly ops: Partial<Record<RecordOp, number>>
  /** Where its first and its last record are: a position, or a sealed block that holds it. */
  first: number | Holder | undefined
  last: number | Holder | undefined
}

interface Holder {
  readonly segment: SealedSegment
  readonly block: number
}

/** All topics in the order in which they came. @throws LOG_CORRUPT */
export const summarizeTopics = (folder: LogFolder): Promise<TopicSummary[]> =>
  folder.settled(async segments => {
    const counted = new Map(folder.topics.stored.map(({ id }) => [id, newCount()]))
    for (const segment of segments) {
      if (segment instanceof SealedSegment) await countSealed(folder.topics, segment, counted)
      else await countHot(folder, segment, counted)
    }
    return Promise.all(
      folder.topics.stored.map(async ({ id, name, kind, key, layouts }) => {
        const count = counted.get(id) ?? newCount()
        return {
          name,
          kind,
          key,
          layouts: layouts.length,
          version: layouts.at(-1)?.version ?? 1,
          records: count.records,
          bytesAbout: Math.round(count.bytes),
          ops: count.ops,
          first: await placeOf(folder.topics, id, count.first, 'first'),
          last: await placeOf(folder.topics, id, count.last, 'last'),
        }
      }),
    )
  })

const newCount = (): Counted => ({ records: 0, bytes: 0, ops: {}, first: undefined, last: undefined })

function count(counted: Counted | undefined, op: RecordOp, records: number, bytes: number, place: number | Holder) {
  if (!counted || records === 0) return
  counted.records += records
  counted.bytes += bytes
  counted.ops[op] = (counted.ops[op] ?? 0) + records
  counted.first ??= place
  counted.last = place
}

async function countSealed(topics: Topics, segment: SealedSegment, counted: ReadonlyMap<number, Counted>) {
  const { blocks } = await segment.footer()
  for (const [block, { bytes, count: total, groups }] of blocks.entries())
    for (const { layout, op, count: records } of groups) {
      const of = counted.get(topics.layout(layout)?.topic.id ?? 0)
      count(of, OPS[op] ?? 'event', records, (bytes * records) / total, { segment, block })
    }
}

async function countHot(folder: LogFolder, segment: Segment, counted: ReadonlyMap<number, Counted>) {
  const records = segment.last - segment.first + 1
  if (records === 0) return
  const bytes = segment.bytes / records
  for await (const block of folder.blocks(segment.first - 1)) {
    if (block.first > segment.last) return
    for (const cursor = block.records(); cursor.next(); )
      count(counted.get(cursor.topic.id), cursor.op, 1, bytes, cursor.position)
  }
}

async function placeOf(
  topics: Topics,
  topic: number,
  place: number | Holder | undefined,
  which: 'first' | 'last',
): Promise<number | null> {
  if (typeof place !== 'object') return place ?? null
  const block = (await place.segment.block(place.block, topics))!
  const ours = block.groups.map(({ layout }) => layout.topic.id === topic)
  const of = block.groupOf
  const at =
    which === 'first' ? of.findIndex(group => ours[group] === true) : of.findLastIndex(group => ours[group] === true)
  return block.positions?.[at] ?? block.entry.first + at
}

/** The layout in which a record of an offline log is stored: each is a topic entry of its own. */
export function layoutOf(topic: LogTopic): Layout {
  if (topic instanceof TopicEntry) return topic.layouts[0]!
  throw fail('INTERNAL', `topic ${topic.name} is not of a log's folder`)
}

/** The position of the first record appended at a time or later; one after the end where there is none. */
export const positionAt = (folder: LogFolder, timeMs: number): Promise<number> =>
  folder.settled(async segments => {
    for (const segment of segments) {
      const end = segment instanceof SealedSegment ? await segment.footer() : endOf(folder, segment)
      if (end.appendTimeMs < timeMs || segment.last < segment.first) continue
      for await (const block of folder.blocks(segment.first - 1))
        if (block.count > 0 && block.appendTimeMs >= timeMs) return block.first
    }
    return folder.end + 1
  })
