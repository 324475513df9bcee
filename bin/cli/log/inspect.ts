// `mainstem log inspect`: the segments of a log; of one of them its blocks, groups, zones, key index and records.
import type { Command } from 'commander'
import {
  type BlockSummary,
  emitterOf,
  fail,
  type LogFolder,
  type SegmentSummary,
  Sequence,
  summarizeBlocks,
  summarizeKeyIndex,
  summarizeSegment,
} from '../../../core/index.ts'
import { type LogRecordWire, recordJson } from '../../../query-api/index.ts'
import { wholeNumber } from '../arguments.ts'
import { byteSize, formatTable, grouped, line } from '../table.ts'
import { type FolderFlags, inFolder, timeText, withFolderOptions } from './folder.ts'
import { recordLines } from './tail.ts'

interface InspectFlags extends FolderFlags {
  readonly blocks?: boolean
  readonly records?: boolean
  readonly limit: number
}

export function addInspect(log: Command): void {
  withFolderOptions(log.command('inspect').description('show the segments of the log, or what is in one of them'))
    .argument('[segment]', "a segment's file, or a position in it (default: a table of all segments)")
    .option('--blocks', 'each block: place, time, topics, zones')
    .option('--records', 'each record')
    .option('--limit <count>', 'most blocks and records to print', wholeNumber(1, 1e9), 100)
    .addHelpText(
      'after',
      '\nExamples:\n  mainstem log inspect --data-dir .mainstem/truth\n  mainstem log inspect 1042 --blocks --data-dir .mainstem/truth',
    )
    .action((segment: string | undefined, flags: InspectFlags) =>
      inFolder(flags.dataDir, folder => (segment === undefined ? table(folder, flags) : one(folder, segment, flags))),
    )
}

async function table(folder: LogFolder, { json }: InspectFlags): Promise<void> {
  const segments = await folder.settled(all => Promise.all(all.map(each => summarizeSegment(folder, each))))
  const { id, epoch } = folder.identity
  if (json) return line(JSON.stringify({ id, epoch, end: folder.end, tailBytes: folder.tailBytes, segments }))
  formatTable(segments, [
    { text: ({ file }) => file },
    { text: ({ first, last }) => (last < first ? 'empty' : `${grouped(first)} – ${grouped(last)}`) },
    { text: ({ records }) => `${grouped(records)} records`, align: 'right' },
    { text: ({ bytes }) => byteSize(bytes), align: 'right' },
    { text: formText },
    { text: ({ epoch }) => `epoch ${epoch}` },
    { text: timesText },
    { text: ({ marks }) => marks.map(({ source, position }) => `${source} ${position}`).join(', ') },
  ]).forEach(line)
  if (folder.tailBytes > 0) line(`  ${grouped(folder.tailBytes)} bytes after the last whole batch`)
}

const formText = ({ form, active, format }: SegmentSummary): string => `${active ? 'active' : form}, format ${format}`

const timesText = ({ firstTimeMs, lastTimeMs }: { firstTimeMs: number | null; lastTimeMs: number | null }): string =>
  firstTimeMs === null
    ? ''
    : firstTimeMs === lastTimeMs
      ? timeText(firstTimeMs)
      : `${timeText(firstTimeMs)} – ${timeText(lastTimeMs)}`

interface Inspected {
  readonly segment: SegmentSummary
  readonly blocks: readonly BlockSummary[]
  readonly keyIndex: Awaited<ReturnType<typeof summarizeKeyIndex>>
}

async function one(folder: LogFolder, wanted: string, flags: InspectFlags): Promise<void> {
  const { segment, blocks, keyIndex } = await folder.settled(async (): Promise<Inspected> => {
    const found = findSegment(folder, wanted)
    const blocks: BlockSummary[] = []
    for await (const block of summarizeBlocks(folder, found)) blocks.push(block)
    return { segment: await summarizeSegment(folder, found), blocks, keyIndex: await summarizeKeyIndex(found) }
  })
  const records = flags.records ? await recordsOf(folder, segment, flags.limit) : []
  const totals = totalsOf(blocks)
  if (flags.json) {
    const more = { ...(flags.blocks ? { blocks } : {}), ...(flags.records ? { records } : {}) }
    return line(JSON.stringify({ ...segment, ...totals, keyIndex, ...more }))
  }
  summaryLines({ segment, blocks, keyIndex }).forEach(line)
  if (flags.blocks) blocks.slice(0, flags.limit).flatMap(blockLines).forEach(line)
  if (flags.blocks && blocks.length > flags.limit) line(`  … and ${grouped(blocks.length - flags.limit)} more blocks`)
  if (flags.records) recordLines(records).forEach(line)
}

function findSegment(folder: LogFolder, wanted: string) {
  const position = /^\d{1,16}$/.test(wanted) ? Number(wanted) : undefined
  const found = folder.segments.find(({ name, first, last }) =>
    position === undefined
      ? name === wanted || name.replace(/\.\w+$/, '') === wanted
      : first <= position && position <= last,
  )
  if (found) return found
  throw fail('REQUEST_INVALID', `the log has no segment ${wanted}`, {
    detail: `it has positions ${folder.segments[0]?.first ?? 1} to ${folder.end}`,
    hint: '`mainstem log inspect` without a segment lists them',
  })
}

interface Totals {
  readonly blockCount: number
  readonly rawBytes: number
  /** Topic → records by kind of change. */
  readonly topics: Readonly<Record<string, Readonly<Record<string, number>>>>
}

function totalsOf(blocks: readonly BlockSummary[]): Totals {
  const topics: Record<string, Record<string, number>> = {}
  for (const { topic, op, records } of blocks.flatMap(({ groups }) => groups)) {
    topics[topic] ??= {}
    topics[topic][op] = (topics[topic][op] ?? 0) + records
  }
  return { blockCount: blocks.length, rawBytes: blocks.reduce((sum, { rawBytes }) => sum + rawBytes, 0), topics }
}

function summaryLines({ segment, blocks, keyIndex }: Inspected): string[] {
  const { topics, rawBytes } = totalsOf(blocks)
  const { first, last, records, bytes, epoch, marks } = segment
  const blockBytes = blocks.reduce((sum, block) => sum + block.bytes, 0)
  const sum = (of: 'streams' | 'events' | 'pages' | 'bytes') => keyIndex.reduce((total, run) => total + run[of], 0)
  return [
    `  ${segment.file}: ${formText(segment)}, epoch ${epoch}, ${byteSize(bytes)}`,
    `  ${grouped(records)} records, positions ${grouped(first)} – ${grouped(last)}${segment.firstTimeMs === null ? '' : `, appended ${timesText(segment)}`}`,
    `  ${grouped(blocks.length)} blocks, ${byteSize(blockBytes)}${rawBytes > blockBytes ? `, packed ${(rawBytes / blockBytes).toFixed(1)} : 1` : ''}`,
    ...Object.entries(topics).map(
      ([name, ops]) =>
        `    ${name}: ${Object.entries(ops)
          .map(([op, count]) => `${grouped(count)} ${op}`)
          .join(', ')}`,
    ),
    ...(keyIndex.length === 0
      ? []
      : [
          `  key index: ${grouped(sum('events'))} events of ${grouped(sum('streams'))} streams in ${grouped(sum('pages'))} pages, ${byteSize(sum('bytes'))}, ${keyIndex.length === 1 ? '1 run' : `${grouped(keyIndex.length)} runs`}`,
        ]),
    ...marks.map(mark => `  ${markText(mark)}`),
  ]
}

function markText({ source, position }: { readonly source: string; readonly position: string }): string {
  const projection = emitterOf(source)
  return projection === undefined ? `${source} read up to ${position}` : `${projection} published up to ${position}`
}

function blockLines(block: BlockSummary): string[] {
  const { offset, bytes, first, records, mark, hotBlocks } = block
  const end = first + records - 1
  const head = [
    `at byte ${grouped(offset)}`,
    byteSize(bytes),
    records === 0 ? 'no records' : `${grouped(first)} – ${grouped(end)}`,
    timesText(block),
    ...(hotBlocks > 1 ? [`of ${grouped(hotBlocks)} hot blocks`] : []),
    ...(mark ? [emitterOf(mark.source) === undefined ? `${mark.source} ${mark.position}` : markText(mark)] : []),
  ]
  return [
    `  block ${head.join('   ')}`,
    ...block.groups.flatMap(({ topic, layout, op, records, zones }) => [
      `    ${topic}   layout ${layout}   ${op}   ${grouped(records)} records`,
      ...zones.map(({ column, before, min, max }) => `      ${column}${before ? ' before' : ''}: ${min} … ${max}`),
    ]),
  ]
}

async function recordsOf(folder: LogFolder, { first, last }: SegmentSummary, limit: number): Promise<LogRecordWire[]> {
  const records: LogRecordWire[] = []
  const sequence = await Sequence.from(after => folder.blocks(after), first, folder.base.changedTo)
  for await (const block of folder.blocks(first - 1)) {
    sequence.enter(block)
    for (const cursor = block.records(); cursor.next(); ) {
      if (cursor.position > last || records.length >= limit) return records
      records.push(JSON.parse(recordJson(cursor, block, sequence.of(cursor.position))) as LogRecordWire)
    }
  }
  return records
}
