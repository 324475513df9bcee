// Encodes the records of a batch at once, into blocks of about 1 MiB that leave room for their header in front and take the
// mark behind, so that a block is one piece of memory from the first record to the disk.
import { type AnyRow, ByteReader, ByteWriter, type RowCodec, type Span } from '../contract/index.ts'
import { fail } from '../errors.ts'
import { BLOCK_HEADER_BYTES, writeMark } from './block.ts'
import {
  BLOCK_PAYLOAD_BYTES_FULL,
  BLOCK_PAYLOAD_BYTES_MAX,
  MARK_BYTES_MAX,
  POOLED_WRITERS_MAX,
  RECORD_BYTES_MAX,
  SMALL_BLOCK_BYTES_MAX,
} from './limits.ts'
import type { Appended, Batch, LogTopic, ParkedRow, SourceMark } from './log.ts'
import { OP_DELETE, OP_EVENT, OP_INSERT, OP_PARKED, OP_UPDATE } from './records.ts'
import type { Spill, Spills } from './spill.ts'
import type { Layout, Topics } from './topics.ts'

/** A block of a batch: header still blank, mark in place. */
export interface BatchBlock {
  readonly writer: ByteWriter
  readonly count: number
}

/** A batch on its way to the disk. */
export interface EncodedBatch {
  readonly blocks: readonly BatchBlock[]
  readonly count: number
  readonly bytes: number
  /** Blocks that come before these, in a file. */
  readonly spill: Spill | undefined
  readonly mark: SourceMark | undefined
  /** The mark as it stands behind each block. */
  readonly markText: Buffer | undefined
  readonly markBytes: number
  /** When it was appended to the log that it comes from; undefined: now. */
  readonly appendTimeMs: number | undefined
}

/** Keeps the buffers of small batches for the next ones. */
export class WriterPool {
  readonly #free: ByteWriter[] = []

  take(): ByteWriter {
    const writer = this.#free.pop() ?? new ByteWriter(4096)
    writer.at = BLOCK_HEADER_BYTES
    return writer
  }

  give(writer: ByteWriter): void {
    if (writer.buffer.length <= 2 * SMALL_BLOCK_BYTES_MAX && this.#free.length < POOLED_WRITERS_MAX)
      this.#free.push(writer)
  }
}

export class LogBatch implements Batch {
  readonly #topics: Topics
  readonly #pool: WriterPool
  readonly #submit: (batch: EncodedBatch) => Promise<Appended>
  readonly #spills: Spills
  #full: BatchBlock[] = []
  #fullBytes = 0
  #spill: Spill | undefined
  #spilledBytes = 0
  /** Of blocks that were spilled: the next ones need no new memory. */
  #spare: ByteWriter[] = []
  #writer: ByteWriter
  /** Records in `#writer`. */
  #open = 0
  #count = 0
  #committed = false

  constructor(topics: Topics, pool: WriterPool, spills: Spills, submit: (batch: EncodedBatch) => Promise<Appended>) {
    this.#topics = topics
    this.#pool = pool
    this.#spills = spills
    this.#submit = submit
    this.#writer = pool.take()
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#spilledBytes + this.memoryBytes
  }

  get memoryBytes(): number {
    return this.#fullBytes + this.#writer.at - BLOCK_HEADER_BYTES
  }

  async spill(): Promise<void> {
    if (this.#committed) throw fail('INTERNAL', 'a batch was spilled after its commit')
    const full = this.#full
    if (full.length === 0) return
    this.#spill ??= this.#spills.create()
    this.#full = []
    await this.#spill.add(full)
    this.#spilledBytes += this.#fullBytes
    this.#fullBytes = 0
    this.#spare = full.map(({ writer }) => writer)
  }

  async discard(): Promise<void> {
    if (this.#committed) return
    this.#committed = true
    await this.#spill?.remove()
  }

  event(topic: LogTopic, value: AnyRow): void {
    this.#row(OP_EVENT, topic, value)
  }

  insert(topic: LogTopic, after: AnyRow): void {
    this.#row(OP_INSERT, topic, after)
  }

  delete(topic: LogTopic, before: AnyRow): void {
    this.#row(OP_DELETE, topic, before)
  }

  update(topic: LogTopic, before: AnyRow, after: AnyRow): void {
    const writer = this.#writer
    const start = writer.at
    try {
      const layout = this.#begin(OP_UPDATE, topic, after)
      const place = writer.at
      writer.at++
      layout.codec.encode(writer, before)
      placeLength(writer, place)
      layout.codec.encode(writer, after)
      this.#end(start, topic)
    } catch (error) {
      writer.at = start
      throw error
    }
  }

  change(topic: LogTopic, before: Span | undefined, after: Span | undefined): void {
    const entry = this.#topics.writing(topic)
    if (entry?.contractCodec) {
      this.#decoded(topic, entry.contractCodec, before, after)
      return
    }
    const writer = this.#writer
    const start = writer.at
    try {
      this.#begin(before ? (after ? OP_UPDATE : OP_DELETE) : OP_INSERT, topic)
      if (before && after) writer.varint(before.length)
      if (before) writer.span(before.buffer, before.from, before.to)
      if (after) writer.span(after.buffer, after.from, after.to)
      this.#end(start, topic)
    } catch (error) {
      writer.at = start
      throw error
    }
  }

  /** The topic stores its rows in another order of fields than its contract has. */
  #decoded(topic: LogTopic, codec: RowCodec, before: Span | undefined, after: Span | undefined): void {
    const rowOf = ({ buffer, from, to }: Span) => codec.decode(new ByteReader(buffer.subarray(from, to)))
    if (before && after) this.update(topic, rowOf(before), rowOf(after))
    else if (before) this.delete(topic, rowOf(before))
    else if (after) this.insert(topic, rowOf(after))
  }

  parked(topic: LogTopic, row: ParkedRow): void {
    const writer = this.#writer
    const start = writer.at
    try {
      this.#begin(OP_PARKED, topic)
      writer.raw(Buffer.from(JSON.stringify(row)))
      this.#end(start, topic)
    } catch (error) {
      writer.at = start
      throw error
    }
  }

  #row(op: number, topic: LogTopic, row: AnyRow): void {
    const writer = this.#writer
    const start = writer.at
    try {
      this.#begin(op, topic, row).codec.encode(writer, row)
      this.#end(start, topic)
    } catch (error) {
      writer.at = start
      throw error
    }
  }

  /** @param row says of which variant the record is; what has none, a parked row, goes under any */
  #begin(op: number, topic: LogTopic, row?: AnyRow): Layout {
    if (this.#committed) throw fail('INTERNAL', 'a record was added to a batch after its commit')
    const entry = this.#topics.writing(topic)
    if (!entry) throw fail('TOPIC_UNKNOWN', `topic ${topic.name} is not of this log`)
    if ((op === OP_EVENT) !== (entry.stored.kind === 'topic') && op !== OP_PARKED)
      throw fail(
        'RECORD_REFUSED',
        op === OP_EVENT
          ? `${topic.name} is a table: it has changes, no events`
          : `${topic.name} is a topic of events: it has no rows that change`,
      )
    const layout = row ? entry.layoutOf(row) : entry.layouts[0]!
    const writer = this.#writer
    writer.reserve(32)
    // One byte for the length, which most records need no more than; `placeLength` moves the rare longer one.
    writer.at++
    writer.varint(layout.id)
    writer.u8(op)
    return layout
  }

  #end(start: number, topic: LogTopic): void {
    const writer = this.#writer
    const bytes = writer.at - start
    if (bytes > RECORD_BYTES_MAX) {
      throw fail('RECORD_TOO_LARGE', `a record of ${topic.name} is too large`, {
        detail: `it has ${bytes} bytes, the limit is ${RECORD_BYTES_MAX}`,
      })
    }
    placeLength(writer, start)
    if (writer.at > BLOCK_PAYLOAD_BYTES_MAX && this.#open > 0) this.#move(start)
    this.#open++
    this.#count++
    if (this.#writer.at >= BLOCK_PAYLOAD_BYTES_FULL) this.#close()
  }

  /** The newest record made the block too large: it begins the next one. */
  #move(start: number): void {
    const from = this.#writer
    const end = from.at
    from.at = start
    this.#close()
    this.#writer.raw(from.buffer.subarray(start, end))
  }

  #close(): void {
    this.#full.push({ writer: this.#writer, count: this.#open })
    this.#fullBytes += this.#writer.at - BLOCK_HEADER_BYTES
    this.#writer = this.#spare.pop() ?? this.#pool.take()
    this.#writer.at = BLOCK_HEADER_BYTES
    this.#open = 0
  }

  async commit(mark?: SourceMark, appendTimeMs?: number): Promise<Appended> {
    if (this.#committed) throw fail('INTERNAL', 'a batch was committed twice')
    const markBytes = mark ? encodeMark(mark) : undefined
    this.#committed = true
    // A heartbeat is a block without records; a batch with neither records nor a mark writes nothing and waits its turn.
    const spill = this.#spill
    if (this.#open > 0 || (mark && this.#full.length === 0 && !spill))
      this.#full.push({ writer: this.#writer, count: this.#open })
    else this.#pool.give(this.#writer)
    let bytes = this.#spilledBytes + (spill?.blocks.length ?? 0) * (BLOCK_HEADER_BYTES + (markBytes?.length ?? 0))
    for (const { writer } of this.#full) {
      if (markBytes) writer.raw(markBytes)
      bytes += writer.at
    }
    const marked = { mark, markText: markBytes, markBytes: markBytes?.length ?? 0 }
    const encoded = { blocks: this.#full, spill, count: this.#count, bytes, ...marked, appendTimeMs }
    if (!spill) return this.#submit(encoded)
    try {
      return await this.#submit(encoded)
    } finally {
      await spill.remove()
    }
  }
}

function encodeMark(mark: SourceMark): Buffer {
  const writer = new ByteWriter(128)
  writeMark(writer, mark)
  if (writer.at > MARK_BYTES_MAX) {
    throw fail('RECORD_TOO_LARGE', `the position of source ${mark.source} is too large`, {
      detail: `it has ${writer.at} bytes`,
    })
  }
  return writer.buffer.subarray(0, writer.at)
}

/** Puts the number of bytes since `start + 1` as a varint at `start`, moving them where one byte is not enough. */
function placeLength(writer: ByteWriter, start: number): void {
  const bytes = writer.at - start - 1
  if (bytes < 0x80) {
    writer.buffer[start] = bytes
    return
  }
  let extra = 0
  for (let rest = bytes; rest >= 0x80; rest = Math.floor(rest / 0x80)) extra++
  writer.reserve(extra)
  const end = writer.at + extra
  writer.buffer.copyWithin(start + 1 + extra, start + 1, writer.at)
  writer.at = start
  writer.varint(bytes)
  writer.at = end
}
