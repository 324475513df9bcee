// A file of records, opened: what its blocks and readers need to know of it. Its positions are bytes: a record's is that of its last
// byte (its line feed), counted from 1 in the file, behind all files before it. So no index is needed to find a position again.
import { asMainstemError, fail, type MainstemError } from '../../errors.ts'
import type { File, FileSystem } from '../file-system.ts'
import type { LogTopic } from '../log.ts'
import type { BlockFile } from './block.ts'
import { type FileFormat, type RecordFormat, recordFormat } from './format.ts'

/** A file of records of one topic. */
export interface FileInput {
  readonly path: string
  /** Default `ndjson`. */
  readonly format?: FileFormat
}

/** Where a file stands among those of its log. */
interface InputPlace {
  readonly topic: LogTopic
  /** Position of what stands before it. */
  readonly base: number
  /** When it was written last: append times only grow. */
  readonly timeMs: number
  /** Takes a record that is none. */
  readonly refuse: (position: number, error: MainstemError) => void
  /** Is told of blocks that were read to their end. */
  readonly walked: (end: number, records: number) => void
  readonly chunkBytes: number | undefined
}

/** Read at a time, and about what a block, which is one transaction, holds: some thousand records, folded in a slice or two. */
export const CHUNK_BYTES = 256 * 1024
/** Counts lines in larger steps. */
const COUNT_BYTES = 1024 * 1024

export class InputFile implements BlockFile {
  readonly path: string
  readonly topic: LogTopic
  readonly format: RecordFormat
  readonly base: number
  readonly bytes: number
  readonly timeMs: number
  readonly chunkBytes: number
  readonly #file: File
  readonly walked: (end: number, records: number) => void
  readonly #refuse: (position: number, error: MainstemError) => void
  /** A place, and how many lines end before it. */
  #counted = { at: 0, lines: 0 }

  private constructor(
    file: File,
    facts: Pick<InputFile, 'path' | 'format' | 'bytes' | 'timeMs'>,
    { topic, base, timeMs, refuse, walked, chunkBytes = CHUNK_BYTES }: InputPlace,
  ) {
    this.#file = file
    this.#refuse = refuse
    this.walked = walked
    this.path = facts.path
    this.topic = topic
    this.format = facts.format
    this.base = base
    this.bytes = facts.bytes
    this.timeMs = Math.max(facts.timeMs, timeMs)
    const { strideBytes = 1 } = this.format
    this.chunkBytes = Math.max(1, Math.floor(chunkBytes / strideBytes)) * strideBytes
  }

  /** @throws REQUEST_INVALID where it cannot be read, or is not of whole records; DEFINITION_INVALID */
  static async open(fs: FileSystem, { path, format = 'ndjson' }: FileInput, place: InputPlace): Promise<InputFile> {
    const records = recordFormat(place.topic.contract, format)
    try {
      const file = await fs.open(path, 'read')
      const bytes = await file.size()
      const { strideBytes } = records
      if (strideBytes !== undefined && bytes % strideBytes !== 0) {
        await file.close()
        throw fail('REQUEST_INVALID', `${path} is not of whole records`, {
          detail: `its ${bytes} bytes are not a multiple of ${strideBytes}`,
        })
      }
      const timeMs = Math.floor(await file.modifiedMs())
      return new InputFile(file, { path, format: records, bytes, timeMs }, place)
    } catch (error) {
      throw asMainstemError(error, 'REQUEST_INVALID', `cannot read ${path}`)
    }
  }

  refuse(position: number, error: MainstemError): void {
    this.#refuse(position, error)
  }

  /** Position of its last byte. */
  get end(): number {
    return this.base + this.bytes
  }

  /** @throws LOG_FAILED, also where the file became shorter since it was opened */
  async read(into: Buffer, at: number): Promise<void> {
    try {
      if ((await this.#file.read(into, at)) === into.length) return
    } catch (error) {
      throw asMainstemError(error, 'LOG_FAILED', `cannot read ${this.path}`)
    }
    throw fail('LOG_FAILED', `${this.path} became shorter while it was read`, { detail: `it had ${this.bytes} bytes` })
  }

  /** The beginning of a record that ends after a place: what stands before the place of it. */
  async recordBefore(at: number): Promise<Buffer> {
    if (this.format.strideBytes !== undefined) return Buffer.alloc(0)
    let kept = Buffer.alloc(0)
    for (let from = at; from > 0; ) {
      const bytes = Math.min(CHUNK_BYTES, from)
      from -= bytes
      const chunk = Buffer.allocUnsafeSlow(bytes)
      await this.read(chunk, from)
      const feed = chunk.lastIndexOf(10)
      kept = Buffer.concat([chunk.subarray(feed + 1), kept])
      if (feed >= 0) break
    }
    return kept
  }

  /** Lines that end before a place. */
  async linesBefore(at: number): Promise<number> {
    if (this.format.strideBytes !== undefined) return 0
    let { at: from, lines } = this.#counted.at <= at ? this.#counted : { at: 0, lines: 0 }
    while (from < at) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(COUNT_BYTES, at - from))
      await this.read(chunk, from)
      for (let feed = chunk.indexOf(10); feed >= 0; feed = chunk.indexOf(10, feed + 1)) lines++
      from += chunk.length
    }
    this.#counted = { at, lines }
    return lines
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}
