// The embedded log: one folder, one process, one writer. This file opens and closes it and puts its parts together:
// recovery finds the durable end, the writer appends, readers tail, topics name the shapes of records.
import type { AnyRow, Contract, Retain, TagValue } from '../contract/index.ts'
import { fail } from '../errors.ts'
import { type Background, backgroundFor } from './background.ts'
import { Cleaner, removeReplaced } from './base/cleaner.ts'
import { Leases } from './base/leases.ts'
import { Retention } from './base/retention.ts'
import { LogBatch, WriterPool } from './batch.ts'
import { blocksOf } from './cut.ts'
import { type FileSystem, type FolderLock, nodeFileSystem } from './file-system.ts'
import { folderError, takeFolder } from './folder-lock.ts'
import { Followers, type Following } from './follow/followers.ts'
import type { FollowChannel } from './follow/messages.ts'
import { type LogIdentity, noteNewest, readIdentity } from './identity.ts'
import { CLEAN_KEYS_BYTES_MAX, ROOM_CHECK_MS, segmentBytesFor } from './limits.ts'
import type {
  CleanReport,
  CleanRequest,
  ColumnBatch,
  Log,
  LogBase,
  LogHold,
  LogReader,
  LogStatus,
  LogTopic,
  ReadOptions,
  RecordAccessor,
  ScanOptions,
  Scans,
  SourceMark,
  StreamOptions,
  StreamRecord,
  Streams,
  TaggedOptions,
  TaggedRecord,
} from './log.ts'
import { type Marks, readMarks } from './marks.ts'
import { Readers } from './reader.ts'
import { type AnySegment, type LogEvent, type Recovery, recover } from './recovery.ts'
import { Room } from './room.ts'
import { Accessor } from './sealed/column-batch.ts'
import { scan } from './sealed/scan.ts'
import { ScanBlocks } from './sealed/scan-blocks.ts'
import type { SealedFiles } from './sealed/sealed-files.ts'
import { Sealer } from './sealed/sealer.ts'
import { Streams as KeyStreams } from './sealed/streams.ts'
import { Spills } from './spill.ts'
import { Tail } from './tail.ts'
import { Topics } from './topics.ts'
import { Turns } from './turns.ts'
import { closedError, Writer } from './writer.ts'

export interface EmbeddedLogOptions {
  /** The log's folder; made where missing. Nothing else may be in it. */
  readonly path: string
  /** Default: Node's own. */
  readonly fileSystem?: FileSystem
  /** Milliseconds since 1970; append times come from it and never go back. Default: `Date.now`. */
  readonly clock?: () => number
  /** A segment file ends after so many bytes (default 64 MiB, or a 16th of a smaller limit, at least 1 MiB); smaller ones open and compact sooner, larger ones are fewer. */
  readonly segmentBytesMax?: number
  /** What the segments may have together, in bytes: what would pass it is refused with LOG_FULL. Default: no limit. */
  readonly bytesMax?: number
  /**
   * Bytes of the volume that appends leave free, so that the log does not take the last of them from what seals and compacts it,
   * nor from databases beside it. Default 256 MiB, or a twentieth of a smaller volume; 0: none.
   */
  readonly freeBytesMin?: number
  /** While there is no room, milliseconds between two looks whether there is some again (default 1,000). */
  readonly roomCheckMs?: number
  /** Closed segments are rewritten in columns, in the background (default true). False leaves them as they were appended. */
  readonly seal?: boolean
  /** Of what is sealed (default `zstd`, where it saves a fifth); `none` takes about twice the space. */
  readonly compression?: 'zstd' | 'none'
  /** Memory for keys while a cleaning looks for the newest record of each (default 128 MiB); with less it reads the log more often. */
  readonly cleanMemoryBytesMax?: number
  /** Told what happened: a tail cut off at start, no room, an I/O error, all well again. */
  readonly onEvent?: (event: LogEvent) => void
}

/** A log that also closes at the end of an `await using`. */
export interface EmbeddedLog extends Log, Streams, Scans, AsyncDisposable {
  /** Resolves when no closed segment waits to be sealed (or sealing failed: see `onEvent`). */
  sealed(): Promise<void>
  /** Removes history by itself from now on, where it pays: topic → how much is kept of it. Default: all of every topic. */
  retain(policies: Readonly<Record<string, Retain>>): void
  /** Resolves when all history is removed that `retain` lets go and that it now pays to remove. */
  retained(): Promise<void>
  /**
   * Lets another thread read the log: what `followLog` gives at the other end of the channel has all that is durable here, a
   * moment later. Files that it may have open are not removed. Ends when either side closes, or its thread ends.
   * @throws LOG_CLOSED
   */
  follow(channel: FollowChannel): Following
}

/**
 * Opens the log in a folder, or begins one. Cuts off what was never acknowledged.
 * @throws DATA_DIR_IN_USE naming the process, DATA_DIR_INVALID, LOG_CORRUPT naming file and byte, LOG_FORMAT_NEWER, LOG_FULL
 */
export const openEmbeddedLog = async (options: EmbeddedLogOptions): Promise<EmbeddedLog> =>
  (await openParts(options, false)).log

/** A log that is filled from another one. */
export interface FilledLog {
  readonly log: EmbeddedLog
  /** Each layout is a topic of its own: see `Topics.open`. */
  readonly topics: Topics
  /** Its commit takes the append time of the batch in the other log. */
  batch(): LogBatch
}

/** The same, to be filled with what another log holds. @throws as `openEmbeddedLog` */
export const openFilledLog = (options: EmbeddedLogOptions): Promise<FilledLog> => openParts(options, true)

async function openParts(options: EmbeddedLogOptions, asStored: boolean): Promise<FilledLog> {
  checkNumbers(options)
  const { path: folder, fileSystem: fs = nodeFileSystem, onEvent = () => {} } = options
  const lock = await takeFolder(fs, folder)
  try {
    const identity = await readIdentity(fs, folder)
    const recovery: Recovery = { fs, folder, identity, onEvent }
    const topics = await Topics.open(fs, folder, asStored)
    const recovered = await recover(recovery)
    const { active, segments, files } = recovered
    if (active.last > 0 && topics.empty) throw topicsLost(folder)
    await noteNewest(recovery, active.first)
    const file = await fs.open(active.path, 'write')
    const tail = new Tail()
    const pool = new WriterPool()
    const turns = new Turns()
    const removals = new Map<AnySegment, Promise<void>>()
    const leases = new Leases(segments, recovered.base.generation, segment => {
      const removed = removeReplaced(recovery, files, segment).finally(() => removals.delete(segment))
      removals.set(segment, removed)
    })
    const followers = new Followers({ identity, folder, topics, tail, segments, base: () => cleaner.base })
    const readers = new Readers({ fs, topics, tail, leases })
    const { segmentBytesMax = segmentBytesFor(options.bytesMax) } = options
    const room = new Room({
      fs,
      folder,
      bytesMax: options.bytesMax,
      freeBytesMin: options.freeBytesMin,
      segmentBytesMax,
      checkMs: options.roomCheckMs,
      usedBytes: () => bytesOf(segments),
      onEvent,
    })
    await room.look()
    const spills = new Spills({ fs, folder, room })
    const { clock = Date.now, seal = true, compression = 'zstd' } = options
    const background = backgroundFor(fs)
    const onSealed = () => followers.tell()
    const sealer = new Sealer({ recovery, topics, files, segments, compression, background, turns, onSealed })
    const streams = new KeyStreams({ fs, topics, tail, leases })
    const onDurable = () => {
      readers.durable()
      streams.durable()
      followers.tell()
    }
    const writer = new Writer({
      recovery,
      recovered,
      file,
      tail,
      pool,
      clock,
      segmentBytesMax,
      room,
      onDurable,
      onClosed: () => {
        if (seal) sealer.wake()
        retention.wake()
      },
    })
    const blocks = new ScanBlocks({ fs, topics, tail, leases })
    const { base } = recovered
    const { cleanMemoryBytesMax: memoryBytesMax = CLEAN_KEYS_BYTES_MAX } = options
    const limits = { segmentBytesMax, memoryBytesMax }
    const parts = { recovery, topics, files, leases, turns, background, room, base, compression }
    const onReplace = () => followers.tell(true)
    const cleaner = new Cleaner({ ...parts, ...limits, onReplace })
    const retention = new Retention({
      fs,
      topics,
      cleaner,
      clock,
      segmentBytesMax,
      pressedIntervalMs: options.roomCheckMs ?? ROOM_CHECK_MS,
      active: () => writer.active,
      endSegment: first => writer.endSegment(first),
      sealed: () => sealer.idle(),
    })
    retention.pressed(room.pressure !== null)
    room.onPressure(pressure => retention.pressed(pressure !== null))
    if (seal) sealer.wake()
    const log = new OpenLog({
      identity,
      topics,
      pool,
      spills,
      writer,
      room,
      readers,
      lock,
      sealer,
      background,
      cleaner,
      retention,
      removals,
      files,
      streams,
      blocks,
      followers,
    })
    return { log, topics, batch: () => log.batch() }
  } catch (error) {
    await lock.release()
    throw folderError(error, folder)
  }
}

function checkNumbers(options: EmbeddedLogOptions): void {
  const { segmentBytesMax, bytesMax, freeBytesMin, roomCheckMs, cleanMemoryBytesMax } = options
  for (const [name, value] of Object.entries({
    segmentBytesMax,
    bytesMax,
    freeBytesMin,
    roomCheckMs,
    cleanMemoryBytesMax,
  }))
    if (value !== undefined && !(value >= 0))
      throw fail('REQUEST_INVALID', `${name} of a log: expected a number of at least 0, received ${value}`)
}

const bytesOf = (segments: readonly { readonly bytes: number }[]): number =>
  segments.reduce((sum, segment) => sum + segment.bytes, 0)

const topicsLost = (folder: string) =>
  fail('LOG_CORRUPT', 'the log has records but no topics.json', {
    detail: `${folder} lacks the file that says how its records are stored`,
    hint: 'restore topics.json from a backup',
  })

interface Parts {
  readonly identity: LogIdentity
  readonly topics: Topics
  readonly pool: WriterPool
  readonly spills: Spills
  readonly writer: Writer
  readonly room: Room
  readonly readers: Readers
  readonly lock: FolderLock
  readonly sealer: Sealer
  readonly background: Background
  readonly cleaner: Cleaner
  readonly retention: Retention
  /** Files of replaced segments on their way out. */
  readonly removals: ReadonlyMap<AnySegment, Promise<void>>
  readonly files: SealedFiles
  readonly streams: KeyStreams
  readonly blocks: ScanBlocks
  readonly followers: Followers
}

class OpenLog implements EmbeddedLog {
  readonly #parts: Parts
  #closing: Promise<void> | undefined

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get id(): string {
    return this.#parts.identity.id
  }

  get end(): number {
    return this.#parts.writer.end
  }

  async topic(contract: Contract): Promise<LogTopic> {
    if (this.#closing) throw closedError()
    const topic = await this.#parts.topics.register(contract)
    this.#parts.followers.tell()
    return topic
  }

  topics(): readonly LogTopic[] {
    return this.#parts.topics.entries()
  }

  findTopic(name: string): LogTopic | undefined {
    return this.#parts.topics.find(name)
  }

  contractChanged(contract: Contract): boolean {
    return this.#parts.topics.changed(contract)
  }

  batch(): LogBatch {
    const { topics, pool, spills, writer } = this.#parts
    return new LogBatch(topics, pool, spills, batch => writer.submit(batch))
  }

  mark(source: string): SourceMark | undefined {
    return this.#parts.writer.marks.get(source)
  }

  async marksAt(position: number): Promise<Marks> {
    if (this.#closing) throw closedError()
    const { writer } = this.#parts
    return writer.history.recent(position) ?? readMarks(writer.segments, blocksOf(this), position)
  }

  read(after: number, options?: ReadOptions): LogReader {
    if (this.#closing) throw closedError()
    if (!Number.isSafeInteger(after) || after < 0) throw fail('REQUEST_INVALID', `${after} is not a position`)
    return this.#parts.readers.read(after, options)
  }

  async positionAt(timeMs: number): Promise<number> {
    if (this.#closing) throw closedError()
    return this.#parts.blocks.positionAt(timeMs)
  }

  stream(topic: LogTopic, key: unknown, options?: StreamOptions): AsyncIterable<StreamRecord> {
    if (this.#closing) throw closedError()
    return this.#parts.streams.stream(topic, key, options)
  }

  tagged(topic: LogTopic, field: string, value: TagValue, options?: TaggedOptions): AsyncIterable<TaggedRecord> {
    if (this.#closing) throw closedError()
    return this.#parts.streams.tagged(topic, field, value, options)
  }

  lastVersion(topic: LogTopic, key: unknown): Promise<number> {
    if (this.#closing) return Promise.reject(closedError())
    return this.#parts.streams.lastVersion(topic, key)
  }

  scan(topics: LogTopic | readonly LogTopic[], options: ScanOptions = {}): AsyncIterable<ColumnBatch> {
    if (this.#closing) throw closedError()
    const wanted = 'id' in topics ? [topics] : topics
    return scan(this.#parts.blocks, wanted, { ...options, to: Math.min(this.end, options.to ?? this.end) })
  }

  accessor<R = AnyRow>(fields?: readonly string[], image?: 'after' | 'before'): RecordAccessor<R> {
    return new Accessor(fields, image)
  }

  sealed(): Promise<void> {
    return this.#parts.sealer.idle()
  }

  retain(policies: Readonly<Record<string, Retain>>): void {
    this.#parts.retention.set(policies)
  }

  retained(): Promise<void> {
    return this.#parts.retention.idle()
  }

  get base(): LogBase {
    return this.#parts.cleaner.base
  }

  hold(name: string, position: number): LogHold {
    return this.#parts.cleaner.hold(name, position)
  }

  clean(request: CleanRequest): Promise<CleanReport> {
    if (this.#closing) return Promise.reject(closedError())
    return this.#parts.cleaner.clean(request)
  }

  follow(channel: FollowChannel): Following {
    if (this.#closing) throw closedError()
    return this.#parts.followers.follow(channel)
  }

  status(): LogStatus {
    const { writer, room } = this.#parts
    const { state, end, segments } = writer
    return { state, end, bytes: bytesOf(segments), segments: segments.length, ...room.status() }
  }

  get pressure(): string | null {
    return this.#parts.room.pressure
  }

  onPressure(listener: (pressure: string | null) => void): () => void {
    return this.#parts.room.onPressure(listener)
  }

  room({ bytes = 0, signal }: { readonly bytes?: number; readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#parts.room.wait(bytes, signal)
  }

  /** Writes what was committed, then closes; readers end. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { cleaner, removals, retention } = this.#parts
    const working = [this.#parts.sealer.stop(), cleaner.stop(), retention.stop()]
    await this.#parts.background.close()
    await Promise.all(working)
    await this.#parts.writer.close()
    this.#parts.followers.close()
    await this.#parts.readers.close()
    // Those that a reader in the midst of them, or a follower, keeps from it go at the next start.
    await Promise.all([...removals].flatMap(([{ held }, removed]) => (held ? [] : [removed])))
    await this.#parts.files.close()
    await this.#parts.lock.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
