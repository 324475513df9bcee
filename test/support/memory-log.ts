// The port `Log` in memory, as plainly as it can be said: an array of blocks, rows kept as values, nothing durable. What the
// embedded log does is compared with what this does.
import { setImmediate as immediate } from 'node:timers/promises'
import {
  type AnyRow,
  type Appended,
  type Batch,
  ByteReader,
  ByteWriter,
  type CleanReport,
  type CleanRequest,
  type Contract,
  emitterOf,
  fail,
  type Log,
  type LogBase,
  type LogHold,
  type LogReader,
  type LogStatus,
  type LogTopic,
  type ObjectContract,
  type ParkedRow,
  type RecordOp,
  type SourceMark,
  type Span,
  type StreamOptions,
  type StreamRecord,
  type Streams,
  type TaggedOptions,
  type TaggedRecord,
  type TagValue,
} from '../../core/index.ts'
import { type Kept, MemoryReader } from './memory-reader.ts'
import { cleanBlocks, type KeptBlock, MemoryTopic, type NewRecord, streamName } from './memory-records.ts'
import { migrate, sameShape } from './migration.ts'

const RECORD_BYTES_MAX = 16 * 1024 * 1024
const BLOCK_BYTES = 1_000_000

interface Queued {
  readonly records: readonly NewRecord[]
  readonly mark: SourceMark | undefined
  readonly resolve: (appended: Appended) => void
}

export class MemoryLog implements Log, Streams {
  readonly #kept: Kept
  readonly #clock: () => number
  readonly #readers = new Set<MemoryReader>()
  readonly #holds = new Set<{ readonly name: string; position: number }>()
  #queue: Queued[] = []
  #closed = false

  constructor(clock: () => number = Date.now, kept?: Kept) {
    this.#clock = clock
    this.#kept = kept ?? {
      id: crypto.randomUUID(),
      topics: new Map(),
      blocks: [],
      marks: [],
      base: { generation: 0, to: 0, changedTo: 0, topics: new Map() },
      baseSerial: 0,
      removed: new Map(),
    }
  }

  get id(): string {
    return this.#kept.id
  }

  get end(): number {
    return this.#kept.blocks.reduce((end, block) => Math.max(end, block.end), 0)
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

  topics(): readonly LogTopic[] {
    return [...this.#kept.topics.values()]
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

  #append(records: readonly NewRecord[], mark: SourceMark | undefined): Promise<Appended> {
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
        const serial = (this.#kept.blocks.at(-1)?.serial ?? this.#kept.baseSerial) + 1
        const placed = part.map((record, at) => ({ ...record, position: first + at + next - first }))
        const end = next + part.length - 1
        const last = n === parts.length - 1
        this.#kept.blocks.push({ serial, first: next, end, records: placed, last, mark, appendTimeMs })
        if (mark) this.#kept.marks.push({ serial, mark })
        next += part.length
      }
      resolve({ first, last: first + records.length - 1 })
    }
    for (const reader of this.#readers) reader.wake()
  }

  async marksAt(position: number): Promise<ReadonlyMap<string, SourceMark>> {
    const marks = new Map<string, SourceMark>()
    for (const { end, last, mark } of this.#kept.blocks)
      if (end <= position && last && mark && emitterOf(mark.source) === undefined) marks.set(mark.source, mark)
    return marks
  }

  mark(source: string): SourceMark | undefined {
    return this.#kept.marks.findLast(({ mark }) => mark.source === source)?.mark
  }

  read(after: number): LogReader {
    if (this.#closed) throw closed()
    const reader = new MemoryReader(this.#kept, after, () => this.#readers.delete(reader))
    this.#readers.add(reader)
    return reader
  }

  async positionAt(timeMs: number): Promise<number> {
    const last = this.#kept.blocks.findLast(block => block.appendTimeMs <= timeMs)
    return last?.end ?? 0
  }

  get base(): LogBase {
    return this.#kept.base
  }

  hold(name: string, position: number): LogHold {
    const hold = { name, position }
    this.#holds.add(hold)
    return {
      name,
      get position() {
        return hold.position
      },
      move: to => {
        hold.position = Math.max(hold.position, to)
      },
      release: () => this.#holds.delete(hold),
    }
  }

  /** As the embedded log's, but that it may go up to any end of a batch: the caller says which by `to`. */
  async clean(request: CleanRequest): Promise<CleanReport> {
    const { trim = {}, compact = {}, to: most = this.end, force = false, dryRun = false } = request
    const horizonOf = (asked: Readonly<Record<string, number>>, kind: Contract['kind'], name: string) => {
      const topic = this.#kept.topics.get(name)
      if (!topic) throw fail('TOPIC_UNKNOWN', `no topic ${name}`)
      if (topic.contract.kind !== kind) throw fail('REQUEST_INVALID', `${name} is not a ${kind}`)
      return asked[name]!
    }
    const trims = new Map(Object.keys(trim).map(name => [name, horizonOf(trim, 'topic', name)]))
    const compacts = new Map(Object.keys(compact).map(name => [name, horizonOf(compact, 'table', name)]))
    const held = [...this.#holds].filter(({ position }) => !force && position < most)
    const limitedBy = held.sort((a, b) => a.position - b.position)[0]
    const to = Math.min(most, limitedBy?.position ?? most, this.end)
    const figures = { bytesBefore: 0, bytesAfter: 0, ms: 0, limitedBy, to }
    if (to < this.base.to)
      return { ...figures, to: 0, generation: this.base.generation, recordsBefore: 0, recordsAfter: 0 }
    const kept = this.#kept
    if (!dryRun) for (const reader of this.#readers) reader.keep(to)
    const cleaned = cleanBlocks(
      kept.blocks.filter(({ first, records }) => (records.length > 0 ? first : first - 1) <= to),
      to,
      trims,
      compacts,
    )
    const count = (blocks: readonly KeptBlock[]) => blocks.reduce((sum, { records }) => sum + records.length, 0)
    const recordsAfter = count(cleaned.blocks)
    const counts = { recordsBefore: recordsAfter + cleaned.gone, recordsAfter }
    if (dryRun) return { ...figures, generation: kept.base.generation, ...counts }
    for (const stream of cleaned.removed) kept.removed.set(stream, (kept.removed.get(stream) ?? 0) + 1)
    if (cleaned.changed) {
      kept.baseSerial = Math.max(
        kept.baseSerial,
        ...kept.blocks.filter(({ end }) => end <= to).map(({ serial }) => serial),
      )
      const after = kept.blocks.filter(({ first, records }) => (records.length > 0 ? first : first - 1) > to)
      kept.blocks = [...cleaned.blocks, ...after]
      const topics = new Map(kept.base.topics)
      const raise = (name: string, field: 'trimmedTo' | 'compactedTo', at: number) => {
        const position = Math.max(topics.get(name)?.[field] ?? 0, Math.min(at, to))
        if (position > 0) topics.set(name, { ...topics.get(name), [field]: position })
      }
      for (const [name, at] of trims) raise(name, 'trimmedTo', at)
      for (const [name, at] of compacts) raise(name, 'compactedTo', at)
      const changedTo = Math.max(...[...topics.values()].flatMap(each => Object.values(each)))
      kept.base = { generation: kept.base.generation + 1, to, changedTo, topics }
    }
    return { ...figures, generation: kept.base.generation, ...counts }
  }

  async *stream(topic: LogTopic, key: unknown, options: StreamOptions = {}): AsyncIterable<StreamRecord> {
    const { backwards = false, limit = Number.POSITIVE_INFINITY } = options
    const all = this.#eventsOf(topic, key)
    const { from = backwards ? await this.lastVersion(topic, key) : 1 } = options
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
    const removed = this.#kept.removed.get(streamName(topic, topic.contract.key.encode(key))) ?? 0
    return removed + this.#eventsOf(topic, key).length
  }

  #events(topic: LogTopic): TaggedRecord[] {
    return this.#kept.blocks.flatMap(({ records }) =>
      records.flatMap(({ topic: of, op, after, position }) =>
        of.id === topic.id && op === 'event' ? [{ topic: of, position, event: of.read(after)! }] : [],
      ),
    )
  }

  #eventsOf(topic: LogTopic, key: unknown): StreamRecord[] {
    const codec = topic.contract.key
    const wanted = codec.encode(key)
    const removed = this.#kept.removed.get(streamName(topic, wanted)) ?? 0
    return this.#events(topic)
      .filter(({ event }) => codec.encodeFromRow(event).equals(wanted))
      .map((record, n) => ({ ...record, version: removed + n + 1 }))
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
    const blocks = this.#kept.blocks.filter(block => isEnd(block) || (block.last ? left-- : left) > 0)
    const newest = Math.max(this.#kept.baseSerial, blocks.at(-1)?.serial ?? 0)
    const marks = this.#kept.marks.filter(({ serial }) => serial <= newest)
    return new MemoryLog(this.#clock, { ...this.#kept, blocks, marks })
  }

  /** Makes all that is queued part of the log at once, as if acknowledged. */
  settle(): void {
    this.#flush()
  }

  get batches(): number {
    return this.#kept.blocks.filter(block => block.last && !isEnd(block)).length
  }
}

/** Says where a base ends: no batch. */
const isEnd = ({ records, mark }: KeptBlock): boolean => records.length === 0 && !mark

const closed = () => fail('LOG_CLOSED', 'the log is closed')

/** Records as blocks of about 1 MiB. */
function cut(records: readonly NewRecord[]): NewRecord[][] {
  const parts: NewRecord[][] = []
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
  readonly #append: (records: readonly NewRecord[], mark: SourceMark | undefined) => Promise<Appended>
  readonly #records: NewRecord[] = []
  #committed = false

  constructor(
    find: (topic: LogTopic) => MemoryTopic | undefined,
    append: (records: readonly NewRecord[], mark: SourceMark | undefined) => Promise<Appended>,
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

  get memoryBytes(): number {
    return this.bytes
  }

  async spill(): Promise<void> {}

  async discard(): Promise<void> {
    this.#committed = true
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

  change(topic: LogTopic, before: Span | undefined, after: Span | undefined): void {
    const { codec } = topic.contract as ObjectContract
    const rowOf = (span: Span | undefined) => span && codec.decode(new ByteReader(span.copy()))
    this.#add(topic, before ? (after ? 'update' : 'delete') : 'insert', rowOf(before), rowOf(after))
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
