// The port `Log` in memory, as plainly as it can be said: an array of blocks, rows kept as values, nothing durable. What the
// embedded log does is compared with what this does.
import { setImmediate as immediate } from 'node:timers/promises'
import {
  type AnyRow,
  type Appended,
  type Batch,
  ByteReader,
  ByteWriter,
  type Contract,
  fail,
  type Log,
  type LogBlock,
  type LogReader,
  type LogStatus,
  type LogTopic,
  type ParkedRow,
  type RecordCursor,
  type RecordOp,
  type SourceMark,
  type StreamOptions,
  type StreamRecord,
  type Streams,
  type TaggedOptions,
  type TaggedRecord,
  type TagValue,
} from '../../core/index.ts'
import { type Migration, migrate, sameShape } from './migration.ts'
import { codecOf } from './row-codecs.ts'

const RECORD_BYTES_MAX = 16 * 1024 * 1024
const BLOCK_BYTES = 1_000_000

/** A row and which of its topic's shapes it has. */
interface KeptRow {
  readonly row: AnyRow
  readonly shape: number
}

interface KeptRecord {
  readonly topic: MemoryTopic
  readonly op: RecordOp
  readonly before: KeptRow | undefined
  readonly after: KeptRow | undefined
  readonly parked: ParkedRow | undefined
  readonly bytes: number
}

interface KeptBlock {
  readonly first: number
  readonly records: readonly KeptRecord[]
  readonly last: boolean
  readonly mark: SourceMark | undefined
  readonly appendTimeMs: number
}

class MemoryTopic implements LogTopic {
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

/** What outlives a close. */
interface Kept {
  readonly id: string
  readonly topics: Map<string, MemoryTopic>
  blocks: KeptBlock[]
}

interface Queued {
  readonly records: readonly KeptRecord[]
  readonly mark: SourceMark | undefined
  readonly resolve: (appended: Appended) => void
}

export class MemoryLog implements Log, Streams {
  readonly #kept: Kept
  readonly #clock: () => number
  readonly #readers = new Set<MemoryReader>()
  #queue: Queued[] = []
  #closed = false

  constructor(clock: () => number = Date.now, kept?: Kept) {
    this.#clock = clock
    this.#kept = kept ?? { id: crypto.randomUUID(), topics: new Map(), blocks: [] }
  }

  get id(): string {
    return this.#kept.id
  }

  get end(): number {
    return this.#kept.blocks.reduce((end, block) => Math.max(end, block.first + block.records.length - 1), 0)
  }

  async topic(contract: Contract): Promise<LogTopic> {
    if (this.#closed) throw closed()
    const known = this.#kept.topics.get(contract.name)
    if (!known) {
      const topic = new MemoryTopic(this.#kept.topics.size + 1, contract)
      this.#kept.topics.set(contract.name, topic)
      return topic
    }
    const step = migrate(known.contract, contract)
    if (step) known.migrations.push(step)
    known.contract = contract
    return known
  }

  findTopic(name: string): LogTopic | undefined {
    return this.#kept.topics.get(name)
  }

  contractChanged(contract: Contract): boolean {
    const known = this.#kept.topics.get(contract.name)
    return known !== undefined && !sameShape(known.contract, contract)
  }

  batch(): Batch {
    const find = (topic: LogTopic) => [...this.#kept.topics.values()].find(({ id }) => id === topic.id)
    return new MemoryBatch(find, (records, mark) => this.#append(records, mark))
  }

  #append(records: readonly KeptRecord[], mark: SourceMark | undefined): Promise<Appended> {
    if (this.#closed) return Promise.reject(closed())
    return new Promise(resolve => {
      this.#queue.push({ records, mark, resolve })
      void immediate().then(() => this.#flush())
    })
  }

  #flush(): void {
    for (const { records, mark, resolve } of this.#queue.splice(0)) {
      const first = this.end + 1
      const parts = cut(records)
      if (parts.length === 0 && mark) parts.push([])
      const appendTimeMs = Math.max(this.#kept.blocks.at(-1)?.appendTimeMs ?? 0, Math.floor(this.#clock()))
      let next = first
      for (const [n, part] of parts.entries()) {
        this.#kept.blocks.push({ first: next, records: part, last: n === parts.length - 1, mark, appendTimeMs })
        next += part.length
      }
      resolve({ first, last: first + records.length - 1 })
    }
    for (const reader of this.#readers) reader.wake()
  }

  mark(source: string): SourceMark | undefined {
    return this.#kept.blocks.findLast(({ mark }) => mark?.source === source)?.mark
  }

  read(after: number): LogReader {
    if (this.#closed) throw closed()
    const reader = new MemoryReader(this.#kept, after, () => this.#readers.delete(reader))
    this.#readers.add(reader)
    return reader
  }

  async positionAt(timeMs: number): Promise<number> {
    const last = this.#kept.blocks.findLast(block => block.appendTimeMs <= timeMs)
    return last ? last.first + last.records.length - 1 : 0
  }

  async *stream(topic: LogTopic, key: unknown, options: StreamOptions = {}): AsyncIterable<StreamRecord> {
    const { backwards = false, limit = Number.POSITIVE_INFINITY } = options
    const all = this.#eventsOf(topic, key)
    const { from = backwards ? all.length : 1 } = options
    const asked = all.filter(({ version }) => (backwards ? version <= from : version >= from))
    if (backwards) asked.reverse()
    yield* asked.slice(0, limit)
  }

  async *tagged(
    topic: LogTopic,
    field: string,
    value: TagValue,
    { from, backwards = false, limit = Number.POSITIVE_INFINITY }: TaggedOptions = {},
  ): AsyncIterable<TaggedRecord> {
    const found = this.#events(topic).filter(({ event }) => [event[field]].flat().includes(value))
    const { end } = this
    const asked = found.filter(({ position }) => (backwards ? position <= (from ?? end) : position >= (from ?? 1)))
    if (backwards) asked.reverse()
    yield* asked.slice(0, limit)
  }

  async lastVersion(topic: LogTopic, key: unknown): Promise<number> {
    return this.#eventsOf(topic, key).length
  }

  #events(topic: LogTopic): TaggedRecord[] {
    return this.#kept.blocks.flatMap(({ first, records }) =>
      records.flatMap(({ topic: of, op, after }, n) =>
        of.id === topic.id && op === 'event' ? [{ topic: of, position: first + n, event: of.read(after)! }] : [],
      ),
    )
  }

  #eventsOf(topic: LogTopic, key: unknown): StreamRecord[] {
    const codec = topic.contract.key
    const wanted = codec.encode(key)
    return this.#events(topic)
      .filter(({ event }) => codec.encodeFromRow(event).equals(wanted))
      .map((record, n) => ({ ...record, version: n + 1 }))
  }

  status(): LogStatus {
    const room = { bytesMax: null, bytesLeft: null, waitingFor: null }
    return { state: this.#closed ? 'closed' : 'open', end: this.end, bytes: 0, segments: 1, ...room }
  }

  readonly pressure = null

  onPressure(): () => void {
    return () => {}
  }

  async room(): Promise<void> {}

  async close(): Promise<void> {
    this.#closed = true
    this.#flush()
    for (const reader of this.#readers) reader.close()
  }

  /** The log as the next process finds it. */
  async reopen(): Promise<MemoryLog> {
    await this.close()
    return new MemoryLog(this.#clock, this.#kept)
  }

  /** The same after a crash that left the first so many batches. What was not acknowledged never happened. */
  crash(batches: number): MemoryLog {
    this.#closed = true
    this.#queue = []
    for (const reader of this.#readers) reader.close()
    let left = batches
    const blocks = this.#kept.blocks.filter(block => (block.last ? left-- : left) > 0)
    return new MemoryLog(this.#clock, { ...this.#kept, blocks })
  }

  /** Makes all that is queued part of the log at once, as if acknowledged. */
  settle(): void {
    this.#flush()
  }

  get batches(): number {
    return this.#kept.blocks.filter(({ last }) => last).length
  }
}

const closed = () => fail('LOG_CLOSED', 'the log is closed')

/** Records as blocks of about 1 MiB. */
function cut(records: readonly KeptRecord[]): KeptRecord[][] {
  const parts: KeptRecord[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const record of records) {
    if (bytes >= BLOCK_BYTES) {
      parts.push([])
      bytes = 0
    }
    parts.at(-1)?.push(record)
    bytes += record.bytes
  }
  return parts
}

class MemoryBatch implements Batch {
  readonly #find: (topic: LogTopic) => MemoryTopic | undefined
  readonly #append: (records: readonly KeptRecord[], mark: SourceMark | undefined) => Promise<Appended>
  readonly #records: KeptRecord[] = []
  #committed = false

  constructor(
    find: (topic: LogTopic) => MemoryTopic | undefined,
    append: (records: readonly KeptRecord[], mark: SourceMark | undefined) => Promise<Appended>,
  ) {
    this.#find = find
    this.#append = append
  }

  get count(): number {
    return this.#records.length
  }

  get bytes(): number {
    return this.#records.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  event(topic: LogTopic, value: AnyRow): void {
    this.#add(topic, 'event', undefined, value)
  }

  insert(topic: LogTopic, after: AnyRow): void {
    this.#add(topic, 'insert', undefined, after)
  }

  update(topic: LogTopic, before: AnyRow, after: AnyRow): void {
    this.#add(topic, 'update', before, after)
  }

  delete(topic: LogTopic, before: AnyRow): void {
    this.#add(topic, 'delete', before, undefined)
  }

  parked(topic: LogTopic, row: ParkedRow): void {
    this.#add(topic, 'parked', undefined, undefined, structuredClone(row))
  }

  #add(to: LogTopic, op: RecordOp, before?: AnyRow, after?: AnyRow, parked?: ParkedRow): void {
    if (this.#committed) throw fail('INTERNAL', 'a record was added to a batch after its commit')
    const topic = this.#find(to)
    if (!topic) throw fail('TOPIC_UNKNOWN', `topic ${to.name} is not of this log`)
    const writer = new ByteWriter()
    const keep = (row: AnyRow | undefined) => row && topic.keep(row, writer)
    const rows = { before: keep(before), after: keep(after) }
    if (parked) writer.string(JSON.stringify(parked))
    if (writer.at > RECORD_BYTES_MAX) throw fail('RECORD_TOO_LARGE', `a record of ${topic.name} is too large`)
    this.#records.push({ topic, op, ...rows, parked, bytes: writer.at + 3 })
  }

  async commit(mark?: SourceMark): Promise<Appended> {
    if (this.#committed) throw fail('INTERNAL', 'a batch was committed twice')
    this.#committed = true
    return this.#append(this.#records, mark)
  }
}

class MemoryReader implements LogReader {
  readonly #kept: Kept
  readonly #forget: () => void
  #after: number
  #at = 0
  #closed = false
  #wakes: (() => void)[] = []

  constructor(kept: Kept, after: number, forget: () => void) {
    this.#kept = kept
    this.#after = after
    this.#forget = forget
  }

  get position(): number {
    return this.#after
  }

  async next(): Promise<readonly LogBlock[] | undefined> {
    for (;;) {
      const blocks = await this.ready()
      if (blocks.length > 0) return blocks
      if (this.#closed) return undefined
      await new Promise<void>(resolve => this.#wakes.push(resolve))
    }
  }

  async ready(): Promise<readonly LogBlock[]> {
    const blocks: LogBlock[] = []
    while (!this.#closed && this.#at < this.#kept.blocks.length) {
      const block = this.#kept.blocks[this.#at++]!
      const end = block.first + block.records.length - 1
      if (block.records.length > 0 ? end <= this.#after : block.first <= this.#after) continue
      blocks.push(new MemoryBlock(block, Math.max(block.first, this.#after + 1)))
      this.#after = Math.max(this.#after, end)
    }
    return blocks
  }

  wake(): void {
    for (const resolve of this.#wakes.splice(0)) resolve()
  }

  close(): void {
    this.#closed = true
    this.#forget()
    this.wake()
  }
}

class MemoryBlock implements LogBlock {
  readonly #block: KeptBlock
  readonly first: number
  readonly count: number

  constructor(block: KeptBlock, first: number) {
    this.#block = block
    this.first = first
    this.count = block.first + block.records.length - first
  }

  get end(): number {
    return this.first + this.count - 1
  }

  get last(): boolean {
    return this.#block.last
  }

  get appendTimeMs(): number {
    return this.#block.appendTimeMs
  }

  get mark(): SourceMark | undefined {
    return this.#block.mark
  }

  records(): RecordCursor {
    const { records, first } = this.#block
    let at = this.first - first - 1
    return {
      next: () => ++at < records.length,
      get position() {
        return first + at
      },
      get topic() {
        return records[at]!.topic
      },
      get op() {
        return records[at]!.op
      },
      before: () => records[at]!.topic.read(records[at]!.before),
      after: () => records[at]!.topic.read(records[at]!.after),
      lendBefore: () => records[at]!.topic.read(records[at]!.before),
      lendAfter: () => records[at]!.topic.read(records[at]!.after),
      recall: () => {},
      parked: () => structuredClone(records[at]!.parked ?? null),
    }
  }
}
