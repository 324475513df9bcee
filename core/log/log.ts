// The port of the log: what everything else knows of it. Laws: positions are dense and start at 1; a reader sees a batch
// only after its fdatasync, whole or not at all; each batch stores, atomically with its records, how far its source was read.
import type { AnyRow, Contract, RowView, Span, TagValue } from '../contract/index.ts'

/** How far a source has been read, and by which of its transactions. Stored in each block of the batch. */
export interface SourceMark {
  /** The source's name. */
  readonly source: string
  /** Its own position (an LSN, a GTID) after the batch: all up to it is in the log. */
  readonly position: string
  /** The source's transaction, where the batch is one. */
  readonly transaction?: string
  /** When the source committed it: microseconds since 1970, a safe integer. */
  readonly commitTimeUs?: number
  /** The batch is a chunk of a snapshot, not a transaction. */
  readonly snapshot?: boolean
}

/** A row that its contract refused, kept at its place in the log. */
export interface ParkedRow {
  readonly op: 'insert' | 'update' | 'delete'
  /** The row's key as text (column values, comma-separated). */
  readonly key: string
  /** Column name → the database's text, null for NULL. */
  readonly raw: Readonly<Record<string, string | null>>
  /** What the contract said. */
  readonly error: string
  /** With `delete`: position of the parked record that is mended by the accepted one that follows it in the same batch. */
  readonly redriveOf?: number | undefined
}

export type RecordOp = 'event' | 'insert' | 'update' | 'delete' | 'parked'

/** A topic as it stands in the log. */
export interface LogTopic {
  readonly id: number
  readonly name: string
  readonly contract: Contract
}

export interface Appended {
  /** Position of the first record; the position before it plus one where the batch has none. */
  readonly first: number
  /** Position of the last record: the log's end as of this batch. */
  readonly last: number
}

/** Records to be appended as one atomic unit. Encodes at once, so that a refused record throws here and is not kept. */
export interface Batch {
  readonly count: number
  readonly bytes: number
  /** What of it is in memory. */
  readonly memoryBytes: number
  /** @throws RECORD_REFUSED, RECORD_TOO_LARGE; the batch then stands as before the call */
  event(topic: LogTopic, value: AnyRow): void
  insert(topic: LogTopic, after: AnyRow): void
  update(topic: LogTopic, before: AnyRow, after: AnyRow): void
  delete(topic: LogTopic, before: AnyRow): void
  /**
   * An insert, an update or a delete of a table's row, given as the codec of its contract writes rows. The bytes are copied.
   * @throws as the calls above
   */
  change(topic: LogTopic, before: Span | undefined, after: Span | undefined): void
  parked(topic: LogTopic, row: ParkedRow): void
  /**
   * Moves what is in memory, but for about 1 MiB, to a file of the log's: for batches larger than memory should hold. Nothing may be
   * added before it resolves. @throws LOG_FULL, LOG_FAILED: the batch can then only be discarded
   */
  spill(): Promise<void>
  /** Gives up a batch that will not be committed. Only needed after `spill`. */
  discard(): Promise<void>
  /**
   * Appends. Batches get their positions in the order of these calls. Resolves when all of it is durable.
   * A batch without records records a mark only (a heartbeat).
   * @throws LOG_FULL (nothing of it is kept; may be tried again), LOG_FAILED, LOG_CLOSED
   */
  commit(mark?: SourceMark): Promise<Appended>
}

/** Walks the records of one block; one object for all of them. */
export interface RecordCursor {
  /** Steps to the next record; false at the end. */
  next(): boolean
  readonly position: number
  readonly topic: LogTopic
  readonly op: RecordOp
  /** The row before (update, delete), decoded anew at each call, in the shape of the topic's current contract. */
  before(): AnyRow | null
  /** The row after (insert, update), or the event. */
  after(): AnyRow | null
  /**
   * The same rows without a copy: an object with an own accessor per field, good until `recall` or the next record is lent;
   * one object for all records of a layout. A row that needs an upcast is a copy like that of `before` and `after`.
   */
  lendBefore(): AnyRow | null
  lendAfter(): AnyRow | null
  /** Ends the use of what was lent: its accessors throw CURSOR_EXPIRED. */
  recall(): void
  /** What lends rows like the one at hand in runs: events, and inserted rows, that need no upcast. */
  readonly lender: RowView | undefined
  /**
   * Adds the record at hand to the run of its lender, and those that follow it with the same layout and operation, while there is
   * room (RUN_ROWS_MAX); the cursor then stands at the last one. Gives how many they are: 0 where they cannot be in one run with
   * those that it has. Who lends begins and ends runs:
   * the count is his to set to 0, and he closes the source.
   */
  lendRun(): number
  parked(): ParkedRow | null
}

/** A part (≤ about 1 MiB) of a batch. */
export interface LogBlock {
  /** Position of the first record; of the next one, where it has none. */
  readonly first: number
  /**
   * Records; their positions are consecutive but in the base (`Log.base`), where some were removed, and in files of records, where it is
   * the most that there can be.
   */
  readonly count: number
  /** Position of the last record; the one before `first` where there is none. All up to it has been read then. */
  readonly end: number
  /** True on the last block of its batch: the place where a cut may be. */
  readonly last: boolean
  /** Monotone, milliseconds since 1970. */
  readonly appendTimeMs: number
  readonly mark: SourceMark | undefined
  records(): RecordCursor
}

/** Tails the log: durable blocks in order. */
export interface LogReader {
  /** Of the base that it reads: a cleaning changes nothing for a reader that is in the base already. */
  readonly generation: number
  /** The position after which the next block begins. */
  readonly position: number
  /** The next blocks (one or more, ≤ about 4 MiB); waits where there is none yet; undefined after close. @throws LOG_CORRUPT */
  next(): Promise<readonly LogBlock[] | undefined>
  /** The next blocks that need no waiting, [] at the durable end. */
  ready(): Promise<readonly LogBlock[]>
  close(): void
}

export interface StreamOptions {
  /** The version to begin with. Default: the first, or backwards the last. */
  readonly from?: number
  /** From the newest to the oldest. Default false. */
  readonly backwards?: boolean
  /** Events at most. Default: all. */
  readonly limit?: number
}

/** One event of a stream. */
export interface StreamRecord {
  readonly topic: LogTopic
  readonly position: number
  /** Its number within its stream, from 1. */
  readonly version: number
  readonly event: AnyRow
}

export interface TaggedOptions {
  /** Position to begin with. Default: the first, or backwards the last. */
  readonly from?: number
  /** From the newest to the oldest. Default false. */
  readonly backwards?: boolean
  /** Events at most. Default: all. */
  readonly limit?: number
}

/** An event that has a tag. */
export interface TaggedRecord {
  readonly topic: LogTopic
  readonly position: number
  readonly event: AnyRow
}

/** The log as an event store: a stream is all events of one key of a topic, in order. */
export interface Streams {
  /** The durable events of a key that were not removed; each keeps its version. @throws LOG_CORRUPT, KEY_INVALID, TOPIC_UNKNOWN */
  stream(topic: LogTopic, key: unknown, options?: StreamOptions): AsyncIterable<StreamRecord>
  /** The version of a stream's newest event, removed or not; 0 where it never had one; its cost does not grow with the stream. */
  lastVersion(topic: LogTopic, key: unknown): Promise<number>
  /**
   * The durable events of a topic that have a value of one of its tags (`topic(…, { tags })`), in the order of the log; of an array,
   * each element is a value. Segments sealed before the tag was declared are searched column by column: all events are found,
   * more slowly. @throws TAG_UNKNOWN, KEY_INVALID where the value is not of the tag's type, TOPIC_UNKNOWN, LOG_CORRUPT
   */
  tagged(topic: LogTopic, field: string, value: TagValue, options?: TaggedOptions): AsyncIterable<TaggedRecord>
}

/** A column of some records: a value for each, and, where the field may be null, whether it has one. */
export type Column = { readonly present?: Uint8Array } & (
  | { readonly kind: 'numbers'; readonly values: Float64Array }
  | { readonly kind: 'codes'; readonly codes: Uint32Array; readonly dictionary: readonly string[] }
  | { readonly kind: 'texts'; text(index: number): string }
  | { readonly kind: 'bigints'; bigint(index: number): bigint }
  | { readonly kind: 'bytes'; bytes(index: number): Uint8Array }
)

/** The records of one variant of a topic, and one kind of change, in a batch. */
export interface ScanPart {
  readonly topic: LogTopic
  /** The variants of a scan are numbered from 0: those of its first topic as its contract has them, then the next one's. */
  readonly variant: number
  /** The value of the contract's discriminator; undefined of a topic whose records are of one object. */
  readonly variantName: string | undefined
  readonly op: RecordOp
  readonly count: number
  positions(): Float64Array
  /** The mixing hash of each record's key. */
  keyHashes(): Float64Array
  /**
   * int, float and date (ms), boolean (0, 1) are numbers; enums, and strings that repeat, are codes; nested objects have columns
   * `a.b`; arrays, records, maps, JSON and bytes are bytes. @throws LOG_CORRUPT
   */
  column(name: string, image?: 'after' | 'before'): Column
}

/** Up to about 65,000 records that stand together. Good until the next one is asked for. */
export interface ColumnBatch {
  /** Position from which it was looked. */
  readonly first: number
  readonly count: number
  readonly parts: readonly ScanPart[]
}

export interface ScanOptions {
  /** First position; default 1. */
  readonly from?: number
  /** Last position; default: the durable end as of the call. */
  readonly to?: number
  /**
   * Only records with a value within are of interest, both ends included: field (nested ones as `a.b`) → least and greatest.
   * Blocks that hold none are passed over unread, by what the log knows of them (numbers, dates, bigints; other fields pass
   * over nothing). What comes may hold others: the caller tests them. An update counts with its row before, too.
   */
  readonly within?: Readonly<Record<string, readonly [least: RangeValue, greatest: RangeValue]>>
}

export type RangeValue = number | bigint | Date

/** Steps over the records of batches, in the order of the log; parked ones are left out. One object for all of them. */
export interface RecordAccessor<R> {
  reset(batch: ColumnBatch): void
  next(): boolean
  /** The record's variant, numbered as in `ScanPart`: the topic's place among those of the scan, where none is a union. */
  readonly variant: number
  /**
   * A getter for each field of the record's variant that is a number, boolean, date, string, enum or bigint; other fields are
   * undefined. One object per variant: to be read anew for each record, fastest in a `switch (variant)`.
   */
  readonly record: R
}

/** The log by columns, for analytic reading. */
export interface Scans {
  /** The records of one topic or several up to the durable end. @throws LOG_CORRUPT, REQUEST_INVALID where `within` names no field */
  scan(topics: LogTopic | readonly LogTopic[], options?: ScanOptions): AsyncIterable<ColumnBatch>
  /** @param fields only these are unpacked; default all */
  accessor<R = AnyRow>(fields?: readonly string[], image?: 'after' | 'before'): RecordAccessor<R>
}

/** Up to where a topic's history was removed. */
export interface TopicHorizon {
  /** Of events: those up to this position are gone. */
  readonly trimmedTo?: number
  /** Of a table: up to this position only the newest row of each key is left, as an insert. */
  readonly compactedTo?: number
}

/** The cleaned beginning of a log. */
export interface LogBase {
  /** How often it was cleaned; 0: never. */
  readonly generation: number
  /** Position up to which it goes; 0: nothing of the log was cleaned. */
  readonly to: number
  /**
   * The greatest horizon of a topic, 0 where there is none. A cached value of the log (a checkpoint, a mirror) at a position below
   * it is good only for the generation that it was made from.
   */
  readonly changedTo: number
  /** By topic. */
  readonly topics: ReadonlyMap<string, TopicHorizon>
}

/** Says that somebody still needs the records after a position as they are. */
export interface LogHold {
  readonly name: string
  readonly position: number
  /** Moves it forward. */
  move(position: number): void
  release(): void
}

/** What to remove. Positions beyond what can be cleaned now stand for that: `Infinity` for as much as possible. */
export interface CleanRequest {
  /** Topic of events → position up to which its events go. */
  readonly trim?: Readonly<Record<string, number>>
  /** Table → position up to which only the newest row of each key stays, as an insert. */
  readonly compact?: Readonly<Record<string, number>>
  /** Nothing after this position changes. Default: the end of the newest segment that is not appended to any more. */
  readonly to?: number
  /** Pass over holds: views and mirrors that stand before `to` are then made again at their next start. Default false. */
  readonly force?: boolean
  /** Only says what would come of it: records exactly, bytes about. It reads as much, and writes nothing. Default false. */
  readonly dryRun?: boolean
}

export interface CleanReport {
  /** Of the base, now. */
  readonly generation: number
  /** Position up to which was looked; 0 where nothing could be. */
  readonly to: number
  /** The hold for which it did not go further. */
  readonly limitedBy: { readonly name: string; readonly position: number } | undefined
  /** Of positions up to `to`. */
  readonly recordsBefore: number
  readonly recordsAfter: number
  readonly bytesBefore: number
  readonly bytesAfter: number
  readonly ms: number
}

export interface LogStatus {
  /**
   * open: appends are taken; limited: its limit, or what must stay free on the volume, is reached; full: the disk took no more;
   * failed: after an I/O error, being reopened. Reads go on in all of them but closed; limited and full end by themselves.
   */
  readonly state: 'open' | 'limited' | 'full' | 'failed' | 'closed'
  readonly end: number
  readonly bytes: number
  readonly segments: number
  /** The limit, null where there is none. */
  readonly bytesMax: number | null
  /** What is still taken, by the limit and by the volume when last asked; null where nothing bounds it. */
  readonly bytesLeft: number | null
  /** Room, in words: while it is nearly full and sources pause, or takes nothing. */
  readonly waitingFor: string | null
}

export interface ReadOptions {
  /**
   * The reader is done with the blocks that it was given when it asks for the next ones: their memory is then given back, or used for
   * others, and their records are gone. Default false.
   */
  readonly lent?: boolean
}

export interface Log {
  /** UUID of this log's data folder. */
  readonly id: string
  /** Position of the last durable record, 0 when empty. */
  readonly end: number
  /**
   * Registers a contract's topic, or finds it again. A contract that differs from the stored one gets a new layout if all
   * stored records can be read by it: fields added that are nullable or have a default, fields removed, int32 → int, enum values
   * added, variants added.
   * @throws CONTRACT_CHANGED naming the field or variant otherwise
   */
  topic(contract: Contract): Promise<LogTopic>
  /** All topics there are, in the order in which they came. */
  topics(): readonly LogTopic[]
  findTopic(name: string): LogTopic | undefined
  /** True when the stored layout of the topic is not that of `contract` (asked before `topic()`). */
  contractChanged(contract: Contract): boolean
  batch(): Batch
  /** The durable mark of a source: how far it is in the log. */
  mark(source: string): SourceMark | undefined
  /**
   * How far each source had been read at a position, which is the end of a batch: the vector of a cut. At the log's end, and not far
   * before it, from memory; otherwise by reading at most a segment file. Source → its mark. @throws LOG_CORRUPT
   */
  marksAt(position: number): Promise<ReadonlyMap<string, SourceMark>>
  /** @param after the position after which to begin: 0 for all */
  read(after: number, options?: ReadOptions): LogReader
  /**
   * The last durable position that was appended at a time or before, 0 where none was: the log as it was then.
   * @param timeMs milliseconds since 1970, of append times · @throws LOG_CORRUPT
   */
  positionAt(timeMs: number): Promise<number>
  readonly base: LogBase
  /**
   * Keeps the records after a position from being cleaned away, until it is moved or released.
   * @param name for reports: `view accounts`
   */
  hold(name: string, position: number): LogHold
  /**
   * Removes history: events that are no longer wanted, and changes of table rows that later ones made void. Positions, append
   * times and stream versions of what is left stay. Whole or not at all: a crash, a full disk or `close` leave the log as it was.
   * Cleanings follow each other. @throws TOPIC_UNKNOWN, REQUEST_INVALID, LOG_FULL, LOG_FAILED, LOG_CORRUPT, LOG_CLOSED
   */
  clean(request: CleanRequest): Promise<CleanReport>
  status(): LogStatus
  /** In words, why sources should pause: the log is nearly full, or takes nothing. Null while there is room. */
  readonly pressure: string | null
  /** Tells when pressure begins (the words) and ends (null); what is returned ends that. */
  onPressure(listener: (pressure: string | null) => void): () => void
  /**
   * Resolves when a batch of so many bytes (default 0) would be taken, at once where it would be. The log looks about once a
   * second. Resolves on close too. Rejects with the signal's reason.
   */
  room(options?: { readonly bytes?: number; readonly signal?: AbortSignal }): Promise<void>
  close(): Promise<void>
}

/** The part of the port that reads from a position on, as a log that is followed from another thread has it too. */
export type ReadableLog = Pick<
  Log,
  'id' | 'end' | 'base' | 'topic' | 'topics' | 'findTopic' | 'contractChanged' | 'read'
>
