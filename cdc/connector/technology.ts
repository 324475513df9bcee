// The port that a kind of database implements to be a source. What is the same for all of them is around it: the life of
// the connector, attempts and pauses, batches in flight, the mirror, chunks, waiting readers, status.
//
// To plug one in: a `Technology` (a folder beside this one, cdc/postgres is the example) and a definition whose `open`
// calls `openConnector(technology, context)`. `P` is its position (an LSN, a set of GTIDs); rows go around as an `Image`
// together with the `RowReader` that the technology made for their table.
import type {
  CapturedTable,
  CapturedTopic,
  ControlState,
  DropReport,
  EventInput,
  MainstemError,
  MirrorTable,
  RawValues,
  SchemaColumn,
  SourceEvent,
} from '../../core/index.ts'
import type { Captured, OldKind } from './changes.ts'
import type { EventReader } from './events.ts'
import type { Image } from './image.ts'
import type { Positions } from './positions.ts'
import type { RowReader } from './rows.ts'

/** One source of one kind of database, as an application has declared it. Making it opens nothing. */
export interface Technology<P> {
  /** `postgres`, `mariadb`: shown in the status. */
  readonly name: string
  readonly source: string
  readonly tables: readonly CapturedTable[]
  /** Topics whose events it brings: outbox tables, messages. */
  readonly topics?: readonly CapturedTopic[]
  readonly positions: Positions<P>
  /** What the server keeps for the source, where it has such a thing. */
  readonly slot: string | null
  readonly publication: string | null
  /** What of its log the server may keep for the source; undefined where it keeps it whether it is read or not. */
  readonly retention?: Retention
  readonly onEvent: (event: SourceEvent) => void
  /** Connects for one attempt. @throws SOURCE_UNREACHABLE, SOURCE_AUTHENTICATION, SOURCE_SETTING_MISSING */
  connect(options: SessionOptions): Promise<Session<P>>
  /** A second way to the server, for the questions of status and waiting readers. It connects when first asked. */
  openProbe(): Probe<P>
  /** What ended an attempt, as an error that says what to do. Typed errors come back as they are. */
  explain(cause: unknown): MainstemError
  /** Removes what the source keeps on the server. @throws SOURCE_… */
  drop(): Promise<DropReport>
}

export interface SessionOptions {
  readonly signal: AbortSignal
  /** To be told what holds the session up (locks of others, running transactions), and null when nothing does any more. */
  readonly onWaiting: (reason: string | null) => void
}

export interface Retention {
  /** From here on an event tells. */
  readonly alarmBytes: number
  /** Beyond it the server is told to forget; null: never. */
  readonly bytesMax: number | null
}

/** The connections of one attempt. Nothing of it outlives `close`. */
export interface Session<P> {
  /**
   * Checks all that can be checked, without any effect: server, rights, tables against their contracts; and whether
   * streaming could go on from `known.logged` without a loss.
   * @throws SOURCE_…, CONTRACT_…: the first problem; `data.problems` holds all of them
   */
  check(known: Known<P>): Promise<Preflight>
  /** Waits until no other connection reads this source's changes in its name. @throws SOURCE_SLOT_IN_USE */
  waitUntilFree(): Promise<void>
  /**
   * Prepares the server for a snapshot of all tables, after `check`: makes what streaming needs (a publication), and removes
   * what kept the server's log for an earlier one.
   * @param before `none`: there was no earlier one · `unfinished`: what may still use it is a process of ours that was
   * killed, and is ended · `finished`: it is waited for until it is free
   */
  clear(before: 'none' | 'unfinished' | 'finished'): Promise<void>
  /** From here on the server keeps its log for the source; what stood in the tables at that place can be read. */
  openSnapshot(): Promise<Snapshot<P>>
  /** Reads a checked table's rows as the server's catalog now has their columns. */
  rowReader(table: CheckedTable): RowReader
  /** Has the server stream these tables and outboxes too, from some place in its log on. */
  publish(tables: readonly CheckedTable[], topics: readonly CheckedTopic[]): Promise<void>
  /**
   * Resolves when all transactions that wrote when it was called are over: what a reading then does not show, the stream brings.
   */
  settle(signal: AbortSignal): Promise<void>
  /** A connection that reads tables while their changes are streamed. */
  openLiveReader(): Promise<LiveReader<P>>
  /** Checks a condition on the rows of a table. @throws SNAPSHOT_INVALID */
  checkCondition(table: CheckedTable, where: string): Promise<void>
  /** What stands in the tables at one exact position, for as long as it is open; the server keeps nothing for it afterwards. */
  openExactSnapshot(): Promise<Snapshot<P>>
  /**
   * The changes after `from`, of tables that were checked. Nothing comes before `run`.
   * @param begins outboxes that came later → the position behind which their events begin
   */
  openFeed(from: P, sink: FeedSink<P>, begins: ReadonlyMap<string, P>): Feed<P>
  /** Where the technology has outbox tables. */
  readonly outbox?: OutboxTables<P>
  /** Ends all connections; does not wait and does not throw. */
  close(): void
}

/** Rows of outbox tables that are to go. */
export interface OutboxTables<P> {
  /** Keys of some rows, in the form that `remove` takes, and a position of the server that includes their inserts. */
  rows(topic: CheckedTopic, most: number): Promise<{ readonly keys: readonly (readonly string[])[]; readonly at: P }>
  remove(topic: CheckedTopic, keys: readonly (readonly string[])[]): Promise<void>
}

/** A captured topic of which all that it needs is there. */
export interface CheckedTopic {
  readonly captured: CapturedTopic
  readonly reader: EventReader
}

/** What the log knows of the source. */
export interface Known<P> {
  readonly control: ControlState
  /** The position up to which the log has it; `positions.origin` where it has nothing. */
  readonly logged: P
}

export interface Preflight {
  /** Which server this is: a change of any of them means that changes may have been lost, if `successor` does not say otherwise. */
  readonly identity: Readonly<Record<string, string>>
  /** Of a server that took the place of the one that the log knows: whether it goes on from there, or what was lost. */
  readonly successor?: 'continues' | MainstemError
  /** In the order of `Technology.tables`. */
  readonly tables: readonly CheckedTable[]
  /** In the order of `Technology.topics`. */
  readonly topics?: readonly CheckedTopic[]
  /** Why the changes after `logged` cannot be had from this server any more; tables that `control` does not know do not matter. */
  readonly lost: MainstemError | undefined
}

/** A captured table that exists and fits its contract. A technology adds what it knows of it. */
export interface CheckedTable {
  readonly setup: CapturedTable
  readonly rowsEstimated: number
  /** The server itself sees to it that no key comes twice in a reading of the table. */
  readonly isKeyUnique: boolean
}

/** What the tables held at one exact position, for as long as it is open. */
export interface Snapshot<P> {
  /** The changes after it are all that the snapshot does not show. */
  readonly position: P
  /** Another connection that sees it. Several may read at once. */
  openReader(): Promise<ChunkReader>
  /** The rows of an outbox, in the order of its key, as raw texts of the columns that its reader reads. */
  readOutbox?(topic: CheckedTopic): AsyncIterable<readonly RawValues[]>
  close(): Promise<void>
}

/** Reads rows of tables. One reading at a time. */
export interface ChunkReader {
  /**
   * Reads rows, in an order of the technology's choice that does not change, and calls `onRow` for each of them. What
   * `onRow` throws ends the reading. It does not return before the rows have all been given.
   */
  read(chunk: Chunk, onRow: OnRow): Promise<ChunkEnd>
  /** No more rows come until `resume`; those already received still may. */
  pause(): void
  resume(): void
  /** A reading under way fails. */
  destroy(): void
  /** Does not wait and does not throw. */
  close(): void
}

export interface Chunk {
  readonly table: CheckedTable
  /** Where the chunk before it ended; null: at the beginning. */
  readonly after: string | null
  /** About so many. */
  readonly rowsWanted: number
  /** In the database's own language: only these rows. */
  readonly where: string | null
}

export interface ChunkEnd {
  /** Where the next one begins, a text that the log keeps; null where the table has no more. */
  readonly until: string | null
}

/**
 * Reads tables while their changes are streamed: `begin`, one reading, `end`. All that is read in between is seen as of one
 * place in the stream.
 */
export interface LiveReader<P> extends ChunkReader {
  begin(): Promise<Place<P>>
  /** Reads those rows of a table that have one of the keys. */
  readKeys(table: CheckedTable, keys: readonly Buffer[], onRow: OnRow): Promise<void>
  end(): Promise<void>
}

/** Where in the stream a reading stands. */
export interface Place<P> {
  /** A stream that is complete up to here has brought all that the reading has seen. */
  readonly watermark: P
  /** Whether the reading sees what a transaction of the stream did. */
  hasSeen(transaction: string): boolean
}

/** The image is valid during the call only. */
export type OnRow = (reader: RowReader, image: Image) => void

/**
 * The server's change log, as messages in order. It gives each message to `sink.deliver`, which gives it back to `take`
 * when its turn has come: at once, or after something that takes time (then a copy of it waits).
 */
export interface Feed<P, M = unknown> {
  /** Streams until `close`; rejects when the connection ends or fails. */
  run(): Promise<void>
  /** Decodes a message and tells the sink what happened. */
  take(message: M): void
  /** A copy of a message that stays valid. */
  keep(message: M): M
  pause(): void
  resume(): void
  /**
   * The log holds everything up to `logged`: the server may forget it.
   * @param ask for an answer that says how far the server is; otherwise it also only says that we live
   */
  confirm(logged: P, ask: boolean): void
  /** Commits of the server wait until what they did is confirmed. Undefined where no server does that. */
  readonly isSynchronous?: boolean
  close(): Promise<void>
}

/** A column that has another name. */
export interface ColumnRename {
  readonly from: string
  readonly to: string
}

/** Where a feed brings what it reads. A transaction is `begin`, its changes, `commit`; they follow each other. */
export interface FeedSink<P> {
  /** The connection streams. */
  started(): void
  /** Hands a message over, to be taken in order. */
  deliver(message: unknown): void
  /** The server itself is as far as this. */
  serverAt(position: P): void
  /** The server wants to hear of us. */
  answer(): void

  /** The mirror's part of a captured table, by its contract's name: for `Captured`. */
  mirrored(table: string): MirrorTable

  /**
   * The columns that a captured table has from here on, by its contract's name. What the log knows already is not said again.
   * @param renamed since it was last said, in order: where columns have no numbers, nothing else would say so
   */
  schema(table: string, columns: readonly SchemaColumn[], renamed?: readonly ColumnRename[]): void

  // -- of a message that is taken

  /**
   * @param transaction empty where there is none: a message by itself
   * @param skip what it says is in the log already
   */
  begin(transaction: string, skip: boolean): void
  insert(captured: Captured, after: Image): void
  update(captured: Captured, oldKind: OldKind, before: Image, after: Image): void
  delete(captured: Captured, before: Image): void
  /** An event of a captured topic. */
  event(topic: string, input: EventInput): void
  /** All rows are gone. */
  truncate(tables: readonly MirrorTable[]): void
  /** The source is complete up to `to` with this transaction. */
  commit(to: P, commitTimeUs?: number): void
  /** Outside of a transaction: up to `to` there is nothing of ours. */
  passed(to: P): void
  /** Nothing is taken until `task` is done. */
  hold(task: () => Promise<void>): void
  /** Something is held for: what is left of the message at hand is to be delivered as a message of its own, which comes next. */
  readonly isHeld: boolean
  /** Takes messages that were kept aside, before any that is delivered: of one transaction, between its `begin` and its `commit`. */
  replay(messages: AsyncIterable<readonly unknown[]>): void
}

/** Asks the server something now and then. Never throws: what fails is undefined, and the next question connects anew. */
export interface Probe<P> {
  /** The end of the server's log. */
  position(): Promise<P | undefined>
  /** Writes something that shows in the stream, so that an idle server shows how far it is. */
  nudge(): Promise<void>
  /** Bytes of its log that the server keeps because the source has not read them; undefined where it keeps none for it. */
  held?(): Promise<number | undefined>
  /** The server keeps nothing for the source any more; false where it could not be told. */
  release?(): Promise<boolean>
  /** Ends its connection; the next question opens another. */
  end(): Promise<void>
}
