// What the log in memory keeps, and what a cleaning leaves of it, as plainly as it can be said.
import {
  type AnyRow,
  ByteReader,
  type ByteWriter,
  type Contract,
  type LogTopic,
  type ParkedRow,
  type RecordOp,
  type SourceMark,
} from '../../core/index.ts'
import type { Migration } from './migration.ts'
import { codecOf } from './row-codecs.ts'

/** A row and which of its topic's shapes it has. */
export interface KeptRow {
  readonly row: AnyRow
  readonly shape: number
}

export interface NewRecord {
  readonly topic: MemoryTopic
  readonly op: RecordOp
  readonly before: KeptRow | undefined
  readonly after: KeptRow | undefined
  readonly parked: ParkedRow | undefined
  readonly bytes: number
}

export interface KeptRecord extends NewRecord {
  readonly position: number
}

export interface KeptBlock {
  /** Counts the blocks as they were appended. */
  readonly serial: number
  readonly first: number
  readonly end: number
  readonly records: readonly KeptRecord[]
  readonly last: boolean
  readonly mark: SourceMark | undefined
  readonly appendTimeMs: number
}

export class MemoryTopic implements LogTopic {
  readonly id: number
  readonly name: string
  contract: Contract
  /** How a row of shape n becomes one of shape n + 1. */
  readonly migrations: Migration[] = []

  constructor(id: number, contract: Contract) {
    this.id = id
    this.name = contract.name
    this.contract = contract
  }

  keep(row: AnyRow, writer: ByteWriter): KeptRow {
    const start = writer.at
    const codec = codecOf(this.contract, row)
    codec.encode(writer, row)
    // What comes back from the codec is what a log keeps: no unknown fields, nothing that the caller may still change.
    return { row: codec.decode(new ByteReader(writer.buffer, start)), shape: this.migrations.length }
  }

  read(kept: KeptRow | undefined): AnyRow | null {
    if (!kept) return null
    return this.migrations.slice(kept.shape).reduce<AnyRow>((row, step) => step(row), structuredClone(kept.row))
  }
}

export const streamName = (topic: LogTopic, key: Buffer): string => `${topic.id} ${key.toString('hex')}`

export type Horizons = ReadonlyMap<string, number>

interface Cleaned {
  readonly blocks: readonly KeptBlock[]
  readonly changed: boolean
  /** Streams of the events that went, once for each. */
  readonly removed: readonly string[]
  /** Records that went. */
  readonly gone: number
}

/** What a cleaning up to `to` leaves of blocks. */
export function cleanBlocks(blocks: readonly KeptBlock[], to: number, trim: Horizons, compact: Horizons): Cleaned {
  const compacted = ({ topic, position }: KeptRecord) => position <= Math.min(compact.get(topic.name) ?? 0, to)
  const newest = newestOf(blocks.flatMap(({ records }) => records).filter(compacted))
  const removed: string[] = []
  let gone = 0
  let changed = false
  const left: KeptBlock[] = []
  for (const block of blocks) {
    if (block.records.length === 0) {
      if (block.mark) left.push(block)
      continue
    }
    const records: KeptRecord[] = []
    for (const record of block.records) {
      const trimmed = record.position <= Math.min(trim.get(record.topic.name) ?? 0, to)
      if (trimmed && record.op === 'event')
        removed.push(
          streamName(record.topic, record.topic.contract.key.encodeFromRow(record.topic.read(record.after)!)),
        )
      if (trimmed || (compacted(record) && !newest.has(record))) gone++
      else if (compacted(record) && record.op === 'update') {
        changed = true
        records.push({ ...record, op: 'insert', before: undefined })
      } else records.push(record)
    }
    const first = records[0]?.position ?? block.first
    const rest = { ...block, first, records, end: records.at(-1)?.position ?? block.end }
    if (records.length > 0) left.push(rest)
    // What is left of a batch ends with its last block that is left.
    const before = left.at(-1)
    if (block.last && before && before !== rest && !before.last) left[left.length - 1] = { ...before, last: true }
  }
  changed ||= gone > 0
  const end = left.at(-1)?.end ?? 0
  const { serial = 0, appendTimeMs = 0 } = blocks.at(-1) ?? {}
  if (end < to) left.push({ serial, first: to + 1, end: to, records: [], last: true, mark: undefined, appendTimeMs })
  return { blocks: left, changed, removed, gone }
}

/** The newest record of each key, unless it ends the key; the newest parked row of each text, unless it is mended since. */
function newestOf(records: readonly KeptRecord[]): ReadonlySet<KeptRecord> {
  const rows = new Map<string, KeptRecord>()
  const parked = new Map<string, KeptRecord>()
  for (const record of records) {
    const { topic, op } = record
    const { key } = topic.contract
    if (record.parked) {
      if (record.parked.op === 'delete') parked.delete(`${topic.id} ${record.parked.key}`)
      else parked.set(`${topic.id} ${record.parked.key}`, record)
      continue
    }
    const [before, after] = [
      op === 'insert' ? null : topic.read(record.before),
      op === 'delete' ? null : topic.read(record.after),
    ]
    for (const row of [before, after]) if (row) parked.delete(`${topic.id} ${key.format(key.fromRow(row))}`)
    if (before) rows.delete(streamName(topic, key.encodeFromRow(before)))
    if (after) rows.set(streamName(topic, key.encodeFromRow(after)), record)
  }
  return new Set([...rows.values(), ...parked.values()])
}
