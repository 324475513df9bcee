// One page of a topic's records. The log is walked block by block from a position on; a topic may be sparse, so a page
// ends at its limit, at the log's end, or when its time is up, and always says where the next one begins.
import {
  blocksOf,
  emitterOf,
  fail,
  type Log,
  type LogBlock,
  type LogTopic,
  type ParkedRow,
  type RecordCursor,
  type RecordOp,
  Sequence,
  type SourceMark,
  toWire,
} from '../core/index.ts'
import { compileRecordWriter, type JsonWriter } from './json-writer.ts'
import { LOG_PAGE_CHARS_MAX, LOG_SCAN_MS_MAX, SLICE_MS } from './limits.ts'

export interface LogPage {
  /** Each record as JSON text. */
  readonly records: readonly string[]
  /** From where to go on: `from` of the next page. */
  readonly next: number
  /** The log's end when the page was read; the page is level with it when `next` is beyond. */
  readonly end: number
  /** Position up to which the topic's history was removed: there are none, or of a table only the newest rows, before it. */
  readonly horizon: number | null
}

/** A record as the page's JSON carries it. */
export interface LogRecordWire {
  readonly position: string
  readonly topic: string
  readonly op: RecordOp
  readonly key?: unknown
  /** The event. */
  readonly value?: unknown
  readonly before?: unknown
  readonly after?: unknown
  readonly parked?: ParkedRow
  /** ISO 8601. */
  readonly appendTime: string
  readonly source: {
    readonly source: string
    readonly position: string
    readonly transaction: string | null
    /** ISO 8601 with microseconds. */
    readonly commitTime: string | null
    readonly snapshot: boolean
    /** Place in its transaction, from 1; null of a snapshot, and where history was removed. */
    readonly sequence: number | null
  } | null
  /** The projection that published it; null where it came otherwise. */
  readonly emittedBy: string | null
}

const writers = new WeakMap<object, JsonWriter>()

/** Writes a topic's rows or events. */
export function writerOf({ contract }: LogTopic): JsonWriter {
  let writer = writers.get(contract)
  if (!writer) {
    writer = compileRecordWriter(contract.type)
    writers.set(contract, writer)
  }
  return writer
}

/** @throws TOPIC_UNKNOWN, LOG_CORRUPT */
export async function readLogPage(log: Log, name: string, from: number, limit: number): Promise<LogPage> {
  if (!log.findTopic(name)) throw fail('TOPIC_UNKNOWN', `the log has no topic '${name.slice(0, 100)}'`)
  const { trimmedTo, compactedTo } = log.base.topics.get(name) ?? {}
  return { ...(await readPage(log, name, from, limit)), horizon: trimmedTo ?? compactedTo ?? null }
}

async function readPage(log: Log, name: string, from: number, limit: number): Promise<Omit<LogPage, 'horizon'>> {
  const end = log.end
  const page = { records: [] as string[], chars: 0, next: Math.max(from, 1) }
  if (page.next > end) return { records: [], next: page.next, end }
  const startedMs = performance.now()
  let sliceMs = startedMs
  const sequence = await Sequence.from(blocksOf(log), page.next, log.base.changedTo)
  const reader = log.read(page.next - 1)
  try {
    for (;;) {
      const blocks = await reader.ready()
      if (blocks.length === 0) break
      for (const block of blocks) {
        if (readBlock(block, { name, limit, sequence }, page)) return { records: page.records, next: page.next, end }
        const nowMs = performance.now()
        if (nowMs - startedMs > LOG_SCAN_MS_MAX) return { records: page.records, next: page.next, end }
        if (nowMs - sliceMs > SLICE_MS) {
          await new Promise(resolve => setImmediate(resolve))
          sliceMs = performance.now()
        }
      }
    }
    return { records: page.records, next: page.next, end: Math.max(end, page.next - 1) }
  } finally {
    reader.close()
  }
}

/** Adds a block's records; true when the page is full. */
function readBlock(
  block: LogBlock,
  { name, limit, sequence }: { name: string; limit: number; sequence: Sequence },
  page: { records: string[]; chars: number; next: number },
): boolean {
  sequence.enter(block)
  const cursor = block.records()
  while (cursor.next()) {
    if (cursor.position < page.next) continue
    page.next = cursor.position + 1
    if (cursor.topic.name !== name) continue
    const text = recordJson(cursor, block, sequence.of(cursor.position))
    page.records.push(text)
    page.chars += text.length
    if (page.records.length >= limit || page.chars >= LOG_PAGE_CHARS_MAX) return true
  }
  // Behind its last record some may have been removed.
  page.next = Math.max(page.next, block.end + 1)
  return false
}

/**
 * The record at which a cursor stands, as JSON text of a `LogRecordWire`.
 * @param sequence its place in its transaction, where that is known
 */
export function recordJson(cursor: RecordCursor, block: LogBlock, sequence: number | null): string {
  const { topic, op } = cursor
  const write = writerOf(topic)
  const row = (value: unknown) => (value === null ? 'null' : write(value))
  const body =
    op === 'event'
      ? `"key":${keyJson(topic, cursor.after())},"value":${row(cursor.after())}`
      : op === 'parked'
        ? `"parked":${JSON.stringify(cursor.parked())}`
        : `"key":${keyJson(topic, cursor.after() ?? cursor.before())},"before":${row(cursor.before())},"after":${row(cursor.after())}`
  const head = `{"position":"${cursor.position}","topic":${JSON.stringify(topic.name)},"op":"${op}"`
  return `${head},${body},"appendTime":"${new Date(block.appendTimeMs).toISOString()}","source":${markJson(block.mark, sequence)},"emittedBy":${JSON.stringify(emitterOf(block.mark?.source ?? '') ?? null)}}`
}

export function keyJson({ contract: { key } }: LogTopic, row: Record<string, unknown> | null): string {
  if (!row) return 'null'
  const first = key.columns[0]
  if (key.single && first) return JSON.stringify(toWire(first.type, row[first.name])) ?? 'null'
  return JSON.stringify(toWire({ kind: 'object', fields: key.columns }, row))
}

export function markJson(mark: SourceMark | undefined, sequence: number | null): string {
  // A publisher's mark is no source's.
  if (!mark || emitterOf(mark.source) !== undefined) return 'null'
  return JSON.stringify({
    source: mark.source,
    position: mark.position,
    transaction: mark.transaction ?? null,
    commitTime: mark.commitTimeUs === undefined ? null : microsecondsIso(mark.commitTimeUs),
    snapshot: mark.snapshot ?? false,
    sequence: mark.snapshot ? null : sequence,
  })
}

/** Microseconds since 1970 as ISO 8601 with all six digits. */
export function microsecondsIso(us: number): string {
  const ms = Math.floor(us / 1000)
  const rest = String(us - ms * 1000).padStart(3, '0')
  return new Date(ms).toISOString().replace('Z', `${rest}Z`)
}
