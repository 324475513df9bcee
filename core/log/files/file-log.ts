// Files of records as a log that is complete: what is folded over a log is folded over them by the same engine. Positions are bytes
// (input.ts); the files stand one after the other in the order given; every block is a transaction. Nothing is appended.
import { createHash } from 'node:crypto'
import type { Contract } from '../../contract/index.ts'
import { fail, type MainstemError } from '../../errors.ts'
import { emitterOf } from '../emit-mark.ts'
import { type FileSystem, nodeFileSystem } from '../file-system.ts'
import { RECORD_BYTES_MAX } from '../limits.ts'
import type {
  Batch,
  CleanReport,
  Log,
  LogBase,
  LogHold,
  LogReader,
  LogStatus,
  LogTopic,
  ReadOptions,
  SourceMark,
} from '../log.ts'
import { CHUNK_BYTES, type FileInput, InputFile } from './input.ts'
import { FileReader } from './reader.ts'

export interface FileLogOptions {
  /** In the order in which they are folded. Of a topic there may be several; of a table, its rows, each key once. */
  readonly inputs: readonly (FileInput & { readonly contract: Contract })[]
  /**
   * A record that is none, or not of its contract: `stop` is an error with its file, line and byte, which stops what folds; `skip`
   * leaves it out and counts it. Default `stop`.
   */
  readonly onInvalid?: 'stop' | 'skip'
  /** Is told of each record that is left out, once. */
  readonly onSkipped?: (error: MainstemError) => void
  /** Longest line, in bytes, at least `chunkBytes`. Default 16 MiB. */
  readonly lineBytesMax?: number
  /** Bytes read at a time, and so about those of a transaction. Default 256 KiB. */
  readonly chunkBytes?: number
  /** Default: Node's own files. */
  readonly fileSystem?: FileSystem
}

/** A log whose records stand in files. */
export interface FileLog extends Log {
  /** Records read since it was opened; those left out are not among them. */
  readonly records: number
  /** Records left out since then. */
  readonly skipped: number
  /** The files, and the position of the last byte of each. */
  readonly files: readonly { readonly path: string; readonly topic: string; readonly end: number }[]
}

/**
 * Opens files of records as a log, to be folded by an engine as any log is: `openEngine({ log, … })`, then
 * `engine.waitFor(log.end, signal)`. A position is a byte, so progress is in bytes, and a restart goes on where a checkpoint stands. Its
 * `id` is made of each file's topic, length, time of change and first and last bytes: another file is another log. A file that grows is
 * read as far as it went when it was opened.
 * @throws REQUEST_INVALID where a file cannot be read or is not of whole records, DEFINITION_INVALID for a layout that does not fit
 * @example
 * const log = await openFileLog({ inputs: [{ contract, path: 'orders.ndjson' }] })
 * const binary = { fields: [{ field: 'order_id', type: 'u32' }, { field: 'amount', type: 'f64' }] } as const
 * const other = await openFileLog({ inputs: [{ contract, path: 'orders.bin', format: binary }] })
 */
export async function openFileLog(options: FileLogOptions): Promise<FileLog> {
  const log = new FilesAsLog(options)
  try {
    await log.open(options)
    return log
  } catch (error) {
    await log.close()
    throw error
  }
}

/** Of each end of a file, for the log's id. */
const SAMPLE_BYTES = 64 * 1024

class FilesAsLog implements FileLog {
  readonly #inputs: InputFile[] = []
  readonly #topics = new Map<string, LogTopic>()
  readonly #readers = new Set<FileReader>()
  readonly #skip: boolean
  readonly #onSkipped: (error: MainstemError) => void
  readonly #lineBytesMax: number
  /** Of the last record that was left out: it is met again by whoever reads the file again. */
  #skippedTo = 0
  #walkedTo = 0
  #closed = false
  records = 0
  skipped = 0
  id = ''
  readonly base: LogBase = { generation: 0, to: 0, changedTo: 0, topics: new Map() }
  readonly pressure = null

  constructor({
    onInvalid = 'stop',
    onSkipped = () => {},
    lineBytesMax = RECORD_BYTES_MAX,
    chunkBytes = CHUNK_BYTES,
  }: FileLogOptions) {
    this.#skip = onInvalid === 'skip'
    this.#onSkipped = onSkipped
    this.#lineBytesMax = Math.max(lineBytesMax, chunkBytes)
  }

  async open({ inputs, fileSystem = nodeFileSystem, chunkBytes }: FileLogOptions): Promise<void> {
    const refuse = (position: number, error: MainstemError) => this.#refuse(position, error)
    const walked = (end: number, records: number) => this.#walked(end, records)
    const identity = createHash('sha256')
    for (const { contract, ...input } of inputs) {
      const topic = await this.topic(contract)
      const timeMs = this.#inputs.at(-1)?.timeMs ?? 0
      const file = await InputFile.open(fileSystem, input, {
        topic,
        base: this.end,
        timeMs,
        refuse,
        walked,
        chunkBytes,
      })
      this.#inputs.push(file)
      identity.update(JSON.stringify([topic.name, input.format ?? 'ndjson', file.bytes, file.timeMs]))
      for (const at of [0, Math.max(0, file.bytes - SAMPLE_BYTES)]) {
        const sample = Buffer.alloc(Math.min(SAMPLE_BYTES, file.bytes))
        await file.read(sample, at)
        identity.update(sample)
      }
    }
    this.id = `files-${identity.digest('hex').slice(0, 32)}`
  }

  #refuse(position: number, error: MainstemError): void {
    if (!this.#skip || !SKIPPABLE.has(error.code)) throw error
    if (position <= this.#skippedTo) return
    this.#skippedTo = position
    this.skipped++
    this.#onSkipped(error)
  }

  /** A second reader is not counted. */
  #walked(end: number, records: number): void {
    if (end <= this.#walkedTo) return
    this.#walkedTo = end
    this.records += records
  }

  get files(): FileLog['files'] {
    return this.#inputs.map(({ path, topic, end }) => ({ path, topic: topic.name, end }))
  }

  get end(): number {
    return this.#inputs.at(-1)?.end ?? 0
  }

  /** A topic of which there is no file has no records. */
  async topic(contract: Contract): Promise<LogTopic> {
    const known = this.#topics.get(contract.name)
    if (known) return known
    const topic = { id: this.#topics.size + 1, name: contract.name, contract }
    this.#topics.set(contract.name, topic)
    return topic
  }

  topics(): readonly LogTopic[] {
    return [...this.#topics.values()]
  }

  findTopic(name: string): LogTopic | undefined {
    return this.#topics.get(name)
  }

  contractChanged(): boolean {
    return false
  }

  batch(): Batch {
    throw fail('TOPIC_READ_ONLY', 'a log of files takes no appends', {
      detail: this.#inputs.map(({ path }) => path).join(', '),
    })
  }

  /** What projections emit has nowhere to go: it counts as published. */
  mark(source: string): SourceMark | undefined {
    return emitterOf(source) === undefined ? undefined : { source, position: String(Number.MAX_SAFE_INTEGER) }
  }

  async marksAt(): Promise<ReadonlyMap<string, SourceMark>> {
    return new Map()
  }

  read(after: number, options: ReadOptions = {}): LogReader {
    if (this.#closed) throw fail('LOG_CLOSED', 'the log is closed')
    const reader = new FileReader(this.#inputs, after, {
      ...options,
      lineBytesMax: this.#lineBytesMax,
      forget: ended => void this.#readers.delete(ended),
    })
    this.#readers.add(reader)
    return reader
  }

  /** A file was appended when it was written last. */
  async positionAt(timeMs: number): Promise<number> {
    const later = this.#inputs.find(file => file.timeMs > timeMs)
    return later ? later.base : this.end
  }

  /** Nothing is ever cleaned away. */
  hold(name: string, position: number): LogHold {
    return {
      name,
      position,
      move: () => {},
      release: () => {},
    }
  }

  async clean(): Promise<CleanReport> {
    throw fail('REQUEST_INVALID', 'a log of files is not cleaned')
  }

  status(): LogStatus {
    const state = this.#closed ? 'closed' : 'open'
    const segments = this.#inputs.length
    return { state, end: this.end, bytes: this.end, segments, bytesMax: null, bytesLeft: null, waitingFor: null }
  }

  onPressure(): () => void {
    return () => {}
  }

  async room(): Promise<void> {}

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([...this.#readers].map(reader => reader.ended()))
    await Promise.all(this.#inputs.map(file => file.close()))
  }
}

/** What may be left out: faults of a record, not of the contract's code. */
const SKIPPABLE: ReadonlySet<string> = new Set(['RECORD_REFUSED', 'RECORD_TOO_LARGE'])
