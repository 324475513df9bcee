// A log that another thread has open, for reading: its list of segments is kept as that thread tells (messages.ts), and all
// reading is that of the log itself. A reader sees what a reader over there sees, a moment later: blocks that are durable,
// whole batches, a base that goes on under it when the log is cleaned.
import type { Contract } from '../../contract/index.ts'
import { fail } from '../../errors.ts'
import { Leases } from '../base/leases.ts'
import { NO_BASE } from '../base/manifest.ts'
import { parseBlock } from '../block.ts'
import { type FileSystem, nodeFileSystem } from '../file-system.ts'
import { FOLLOW_SEEN_EVERY } from '../limits.ts'
import type { LogBase, LogReader, LogTopic, ReadableLog, ReadOptions } from '../log.ts'
import { Readers } from '../reader.ts'
import { corrupt } from '../records.ts'
import type { AnySegment } from '../recovery.ts'
import { SealedFiles } from '../sealed/sealed-files.ts'
import { SealedSegment } from '../sealed/sealed-segment.ts'
import { type SharedBlockMemory, SharedBlocks } from '../sealed/shared-blocks.ts'
import { Segment } from '../segment.ts'
import { Tail } from '../tail.ts'
import { readOnly } from '../tools/offline.ts'
import { Topics } from '../topics.ts'
import { closedError } from '../writer.ts'
import type { FollowerChannel, FollowerNews, Growth, LogChanges, SegmentFacts } from './messages.ts'

type Identity = NonNullable<LogChanges['log']>

export interface FollowOptions {
  /** By which the log's folder is read. Default: Node's own. */
  readonly fileSystem?: FileSystem | undefined
  /** What its first reader that is lent blocks shares with those of other threads. Default: nothing. */
  readonly shared?: { readonly memory: SharedBlockMemory; readonly reader: number } | undefined
}

/**
 * The log at the other end of a channel (`EmbeddedLog.follow`), once that has said what there is.
 * @throws LOG_CLOSED where the other end is closed
 */
export function followLog(channel: FollowerChannel, options: FollowOptions = {}): Promise<FollowedLog> {
  return new Promise((resolve, reject) => {
    let log: FollowedLog | undefined
    channel.listen(
      changes => {
        if (log) log.apply(changes)
        else if (changes.log) {
          log = new FollowedLog(channel, options, changes.log)
          log.apply(changes)
          resolve(log)
        }
      },
      () => {
        if (log) void log.close()
        else reject(closedError())
      },
    )
  })
}

export class FollowedLog implements ReadableLog, AsyncDisposable {
  readonly id: string
  readonly #channel: FollowerChannel
  readonly #identity: Identity
  readonly #files: SealedFiles
  readonly #topics: Topics
  readonly #tail = new Tail()
  readonly #segments: AnySegment[] = []
  /** By name, until they are let go. */
  readonly #told = new Map<string, AnySegment>()
  readonly #leases: Leases
  readonly #readers: Readers
  #base: LogBase = NO_BASE
  /** Messages that were not said to be seen. */
  #seen = 0
  #asked = 0
  readonly #asking = new Map<number, () => void>()
  #closing: Promise<void> | undefined
  readonly #closed = Promise.withResolvers<void>()

  /** For `followLog`. */
  constructor(channel: FollowerChannel, { fileSystem = nodeFileSystem, shared }: FollowOptions, identity: Identity) {
    const fs = readOnly(fileSystem)
    this.id = identity.id
    this.#channel = channel
    this.#identity = identity
    this.#files = new SealedFiles(fs)
    this.#topics = Topics.of(fs, identity.folder, [])
    this.#leases = new Leases(this.#segments, 0, segment => void this.#letGo(segment))
    this.#readers = new Readers({
      fs,
      topics: this.#topics,
      tail: this.#tail,
      leases: this.#leases,
      shared: shared && new SharedBlocks(shared.memory, shared.reader),
    })
  }

  get end(): number {
    return this.#segments[this.#segments.length - 1]?.last ?? 0
  }

  get base(): LogBase {
    return this.#base
  }

  topics(): readonly LogTopic[] {
    return this.#topics.entries()
  }

  findTopic(name: string): LogTopic | undefined {
    return this.#topics.find(name)
  }

  contractChanged(contract: Contract): boolean {
    return this.#topics.changed(contract)
  }

  /**
   * The topic of a contract that the thread of the log has registered: its records are read by this contract from now on.
   * @throws TOPIC_UNKNOWN where it has not, CONTRACT_CHANGED where it has registered another one, LOG_CLOSED
   */
  async topic(contract: Contract): Promise<LogTopic> {
    if (this.#closing) throw closedError()
    // It may have been registered a moment ago.
    if (!this.#topics.has(contract)) await this.refresh()
    return this.#topics.bind(contract)
  }

  read(after: number, options?: ReadOptions): LogReader {
    if (this.#closing) throw closedError()
    if (!Number.isSafeInteger(after) || after < 0) throw fail('REQUEST_INVALID', `${after} is not a position`)
    return this.#readers.read(after, options)
  }

  /** Resolves when all is known here that was durable over there at the time of the call. @throws LOG_CLOSED */
  refresh(): Promise<void> {
    if (this.#closing) return Promise.reject(closedError())
    return new Promise((resolve, reject) => {
      const asks = ++this.#asked
      this.#asking.set(asks, () => (this.#closing ? reject(closedError()) : resolve()))
      this.#say({ asks })
    })
  }

  /** Resolves when it is closed, by whichever side. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** Ends its readers, and lets go all files. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await this.#readers.close()
    await this.#files.close()
    // Only now: the other side may remove what was read here.
    this.#channel.close()
    for (const answer of this.#asking.values()) answer()
    this.#asking.clear()
    this.#closed.resolve()
  }

  /** For `followLog`: takes over what the log says. */
  apply({ topics, grown, base, segments = [], answers }: LogChanges): void {
    if (this.#closing) return
    if (topics) this.#topics.follow(topics)
    if (grown) this.#grow(grown)
    if (base) {
      const { segments: facts, ...known } = base
      this.#base = known
      this.#leases.replace(
        known.generation,
        known.to,
        facts.map(each => this.#known(each)),
      )
    }
    for (const facts of segments) this.#add(this.#known(facts))
    if (grown || segments.length > 0) this.#readers.durable()
    if (answers !== undefined) {
      this.#asking.get(answers)?.()
      this.#asking.delete(answers)
    }
    if (++this.#seen >= FOLLOW_SEEN_EVERY) this.#say({})
  }

  #grow({ last, bytes, index, blocks }: Growth): void {
    const segment = this.#segments.at(-1)
    if (!segment || segment instanceof SealedSegment) return
    if (blocks) this.#keep(segment, Buffer.from(blocks.buffer, blocks.byteOffset, blocks.byteLength))
    segment.grow(last, bytes, index)
  }

  #keep(segment: Segment, blocks: Buffer): void {
    for (let at = 0; at < blocks.length; ) {
      const offset = segment.bytes + at
      const block = parseBlock(blocks, at, offset, segment.seed)
      if ('bad' in block) throw corrupt(segment.path, offset, block.bad)
      this.#tail.push(segment, block)
      at += block.bytes
    }
  }

  #known(facts: SegmentFacts): AnySegment {
    const segment = this.#segmentOf(facts)
    const known = this.#told.get(segment.name)
    if (!known) this.#told.set(segment.name, segment)
    return known ?? segment
  }

  #segmentOf(facts: SegmentFacts): AnySegment {
    const { id, epoch, folder } = this.#identity
    if (facts.kind === 'sealed') return new SealedSegment(this.#files, folder, id, facts).adopt(facts)
    const segment = new Segment(folder, id, facts.first, epoch)
    segment.adopt(Buffer.from(facts.header))
    return segment.grow(facts.last, facts.bytes, facts.index)
  }

  #add(segment: AnySegment): void {
    const n = this.#segments.findLastIndex(({ first }) => first <= segment.first)
    const before = this.#segments[n]
    if (before?.first !== segment.first) {
      this.#segments.push(segment)
      return
    }
    this.#segments[n] = segment
    void this.#letGo(before)
  }

  async #letGo(segment: AnySegment): Promise<void> {
    if (segment instanceof SealedSegment) this.#files.drop(segment.path)
    await segment.freed()
    this.#told.delete(segment.name)
    this.#say({ released: [segment.name] })
  }

  #say(news: FollowerNews): void {
    const seen = this.#seen
    this.#seen = 0
    this.#channel.post({ ...news, seen })
  }
}
