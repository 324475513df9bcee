// Makes a sealed block of hot blocks: each record's row is taken apart into the columns of its group. A group holds the records
// of one layout and one kind of change; which record is of which group, and so the order among groups, is a column of its own.
import { setImmediate as immediate } from 'node:timers/promises'
import { ByteReader, type ByteWriter } from '../../contract/index.ts'
import { type StoredBlock, writeMark } from '../block.ts'
import type { SourceMark } from '../log.ts'
import { OP_EVENT, OP_PARKED, OP_UPDATE } from '../records.ts'
import type { Layout, Topics } from '../topics.ts'
import { BigintBuilder, type ColumnBuilder, HeapBuilder, hashBytes, NumberBuilder } from './builders.ts'
import { numbersOf, sameColumn, writeColumn, writeNumbers, writeSame, type Zone } from './columns.ts'
import { blockHead } from './format.ts'
import { type ColumnPlan, planColumns } from './plan.ts'
import { type Compression, newWriter, SectionWriter } from './sections.ts'

/** One zone of the directory: image 0 is the row itself (after), 1 the row before an update. */
export interface ZoneEntry extends Zone {
  readonly image: number
  readonly column: number
}

export interface GroupEntry {
  readonly layout: number
  readonly op: number
  readonly count: number
  readonly zones: readonly ZoneEntry[]
}

/** A block as the footer's directory has it. */
export interface BlockEntry {
  readonly offset: number
  readonly bytes: number
  readonly first: number
  /** Position of the last record or, after a cleaning, of the last that was there. Without holes: first + count − 1. */
  readonly last: number
  readonly count: number
  readonly minTimeMs: number
  readonly maxTimeMs: number
  readonly groups: readonly GroupEntry[]
}

/** True where not all positions from the first to the last have a record: then the block has a column of them. */
export const isSparse = ({ first, last, count }: Pick<BlockEntry, 'first' | 'last' | 'count'>): boolean =>
  last - first + 1 !== count

/** A hot block, or what a cleaning left of one: its records' positions, where they are not consecutive. */
export interface PlacedBlock extends StoredBlock {
  readonly positions?: Float64Array
}

export const endOf = ({ first, count, positions }: PlacedBlock): number =>
  positions && count > 0 ? positions[count - 1]! : first + count - 1

/** Takes an event for the key index: its row stands in `payload` from `start` to `end`. `key` is good during the call only. */
export type KeyedRow = (
  topic: number,
  key: KeyBuffer,
  payload: Buffer,
  position: number,
  layout: number,
  start: number,
  end: number,
) => void

/** Collects a row's key bytes. */
export class KeyBuffer {
  bytes = Buffer.allocUnsafeSlow(256)
  length = 0

  begin(): void {
    this.length = 0
  }

  add(from: Buffer, start: number, end: number): void {
    if (this.length + end - start > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow((this.length + end - start) * 2)
      this.bytes.copy(larger, 0, 0, this.length)
      this.bytes = larger
    }
    for (let n = start; n < end; n++) this.bytes[this.length++] = from[n]!
  }

  get hash(): number {
    return hashBytes(0, this.bytes, 0, this.length)
  }
}

const plans = new WeakMap<Layout, ColumnPlan>()

/** The columns of a layout; planned once. */
export function planOf(layout: Layout): ColumnPlan {
  let plan = plans.get(layout)
  if (!plan) {
    plan = planColumns(layout.codec.type, layout.topic.stored.key)
    plans.set(layout, plan)
  }
  return plan
}

/** The columns of one image of a group, the key hashes after the others. */
class Image {
  readonly columns: readonly ColumnBuilder[]
  readonly hashes = new NumberBuilder()
  readonly #key: KeyBuffer
  readonly #shred: (reader: ByteReader) => void

  constructor(plan: ColumnPlan, key: KeyBuffer) {
    this.columns = plan.columns.map(({ kind }) =>
      kind === 'bigint'
        ? new BigintBuilder()
        : kind === 'text' || kind === 'raw'
          ? new HeapBuilder()
          : new NumberBuilder(),
    )
    this.#key = key
    this.#shred = plan.shredder(this.columns, key)
  }

  take(reader: ByteReader): void {
    this.#shred(reader)
    this.hashes.push(this.#key.hash)
  }

  reset(): void {
    for (const column of this.columns) column.reset()
    this.hashes.reset()
  }
}

/** Columns of fewer values are written without a pause. */
const PAUSED_FROM = 4096

class Group {
  readonly layout: Layout
  readonly op: number
  readonly images: readonly Image[]
  /** Of parked rows: their JSON. */
  readonly parked = new HeapBuilder()
  count = 0

  constructor(layout: Layout, op: number, key: KeyBuffer) {
    this.layout = layout
    this.op = op
    const plan = planOf(layout)
    const images = op === OP_PARKED ? 0 : op === OP_UPDATE ? 2 : 1
    this.images = Array.from({ length: images }, () => new Image(plan, key))
  }

  /** Pauses after each column: one of 65,000 values takes about a millisecond. */
  async write(head: ByteWriter, sections: SectionWriter): Promise<GroupEntry> {
    const sink = { head, sections }
    head.varint(this.layout.id)
    head.u8(this.op)
    head.varint(this.count)
    const zones: ZoneEntry[] = []
    if (this.op === OP_PARKED) writeColumn(sink, this.parked)
    const [after, before] = this.images
    const same = before && after ? before.columns.map((column, n) => sameColumn(column, after.columns[n]!)) : []
    const sameHash = before && after ? sameColumn(before.hashes, after.hashes) : false
    for (const [image, { columns, hashes }] of this.images.entries()) {
      for (const [column, builder] of columns.entries()) {
        if (this.count > PAUSED_FROM) await immediate()
        const zone = image === 1 && same[column] ? writeSame(sink) : writeColumn(sink, builder)
        if (zone && this.#hasZone(column)) zones.push({ image, column, ...zone })
      }
      if (image === 1 && sameHash) writeSame(sink)
      else writeColumn(sink, hashes)
    }
    return { layout: this.layout.id, op: this.op, count: this.count, zones }
  }

  #hasZone(column: number): boolean {
    const { kind, type } = planOf(this.layout).columns[column]!
    return (kind === 'int' && type.kind !== 'enum') || kind === 'float' || kind === 'bigint'
  }

  reset(): void {
    this.count = 0
    this.parked.reset()
    for (const image of this.images) image.reset()
  }
}

/** A hot block as the block that it goes into says it. */
interface Span {
  readonly first: number
  readonly end: number
  readonly count: number
  readonly last: boolean
  readonly mark: SourceMark | undefined
  readonly appendTimeMs: number
}

/** What a block that is finished has: its bytes in pieces, and its entry of the directory. */
export interface FinishedBlock {
  readonly pieces: readonly Uint8Array[]
  readonly entry: BlockEntry
}

export class BlockWriter {
  readonly #topics: Topics
  readonly #key = new KeyBuffer()
  readonly #groups = new Map<number, Group>()
  readonly #numbers = new Map<Group, number>()
  #used: Group[] = []
  #of = new NumberBuilder()
  #positions = new NumberBuilder()
  #spans: Span[] = []
  #first = 0
  #last = 0
  #count = 0
  #minTimeMs = 0
  #maxTimeMs = 0
  /** Records since the last pause, over all blocks: hot ones may be small. */
  #sinceTurn = 0
  payloadBytes = 0

  constructor(topics: Topics) {
    this.#topics = topics
  }

  get count(): number {
    return this.#count
  }

  /** True where not even a heartbeat is in it. */
  get empty(): boolean {
    return this.#spans.length === 0
  }

  /**
   * Takes a hot block's records. Yields where to pause: after `each` records.
   * @throws RangeError where a record is not one
   */
  *add(block: PlacedBlock, each: number, keyed?: KeyedRow): Generator<void> {
    this.#span(block)
    const { payload, positions, first, count } = block
    const reader = new ByteReader(payload)
    for (let n = 0; n < count; n++) {
      const bytes = reader.varint()
      const end = reader.at + bytes
      if (end > payload.length) throw new RangeError('a record is longer than its block')
      this.#record(reader, end, positions ? positions[n]! : first + n, keyed)
      if (reader.at !== end) throw new RangeError('a record has another length than its row')
      if (++this.#sinceTurn < each) continue
      this.#sinceTurn = 0
      yield
    }
    this.payloadBytes += payload.length
  }

  #record(reader: ByteReader, end: number, position: number, keyed: KeyedRow | undefined): void {
    const id = reader.varint()
    const op = reader.u8()
    const group = this.#group(id, op)
    const start = reader.at
    if (op === OP_PARKED) {
      group.parked.push(reader.buffer, start, end)
      reader.at = end
    } else if (op === OP_UPDATE) {
      reader.varint()
      group.images[1]!.take(reader)
      group.images[0]!.take(reader)
    } else group.images[0]!.take(reader)
    group.count++
    this.#of.push(this.#numbers.get(group)!)
    this.#positions.push(position)
    this.#count++
    if (op === OP_EVENT && keyed) keyed(group.layout.topic.id, this.#key, reader.buffer, position, id, start, end)
  }

  #group(id: number, op: number): Group {
    let group = this.#groups.get(id * 8 + op)
    if (!group) {
      const layout = this.#topics.layout(id)
      if (!layout) throw new RangeError(`layout ${id} of a record is not in topics.json`)
      if (op > OP_PARKED) throw new RangeError(`a record has the unknown kind ${op}`)
      group = new Group(layout, op, this.#key)
      this.#groups.set(id * 8 + op, group)
    }
    if (!this.#numbers.has(group)) {
      this.#numbers.set(group, this.#used.length)
      this.#used.push(group)
    }
    return group
  }

  #span(block: PlacedBlock): void {
    const { first, count, last, mark, appendTimeMs } = block
    if (this.#spans.length === 0) {
      this.#first = first
      this.#minTimeMs = appendTimeMs
    }
    this.#last = endOf(block)
    this.#maxTimeMs = appendTimeMs
    this.#spans.push({ first, end: this.#last, count, last, mark, appendTimeMs })
  }

  #takeSpans(sparse: boolean): Uint8Array {
    const writer = newWriter()
    let next = this.#first
    let timeMs = this.#minTimeMs
    for (const { first, end, count, last, mark, appendTimeMs } of this.#spans) {
      if (sparse) writer.varint(first - next)
      writer.varint(count)
      writer.u8((last ? 1 : 0) | (mark ? 2 : 0) | (mark?.snapshot ? 4 : 0))
      writer.int(appendTimeMs - timeMs)
      if (mark) writeMark(writer, mark)
      next = end + 1
      timeMs = appendTimeMs
    }
    return writer.copy()
  }

  /** The block, to stand at an offset; the writer is empty then. */
  async finish(offset: number, seed: number, compression: Compression): Promise<FinishedBlock> {
    const head = newWriter()
    const sections = new SectionWriter()
    const place = { first: this.#first, last: this.#last, count: this.#count }
    const sparse = isSparse(place)
    head.varint(this.#spans.length)
    head.varint(sections.add(this.#takeSpans(sparse)))
    head.varint(this.#used.length)
    const groups: GroupEntry[] = []
    for (const group of this.#used) groups.push(await group.write(head, sections))
    if (groups.length > 1) {
      const { values } = this.#of.take()
      writeNumbers({ head, sections }, numbersOf(values))
    }
    if (sparse) writeNumbers({ head, sections }, numbersOf(this.#positions.take().values))
    const body = await sections.finish(head, compression, seed)
    const stamp = {
      ...place,
      offset,
      minTimeMs: this.#minTimeMs,
      maxTimeMs: this.#maxTimeMs,
    }
    const { bytes, pieces } = blockHead(stamp, head.buffer.subarray(0, head.at), body, seed)
    this.#reset()
    return { pieces, entry: { ...stamp, bytes, groups } }
  }

  #reset(): void {
    for (const group of this.#used) group.reset()
    this.#numbers.clear()
    this.#used = []
    this.#of.reset()
    this.#positions.reset()
    this.#spans = []
    this.#count = 0
    this.payloadBytes = 0
  }
}
