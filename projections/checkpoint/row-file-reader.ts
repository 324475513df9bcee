// Reads a file of rows from some byte of it back to its beginning: the newest rows first, so that of each key only one row has to
// be decoded. Every chunk is checked; whatever is wrong is an error that names the file.
import { join } from 'node:path'
import { type File, type FileSystem, fail, isMainstemError, type MainstemError, textOf } from '../../core/index.ts'
import {
  CHUNK_BYTES_MIN,
  type Chunk,
  chunkBytesBefore,
  END,
  HEADER_BYTES,
  headerFault,
  headerLogId,
  openChunk,
  ROWS,
  readSegment,
  type Segment,
} from './row-file.ts'

/** Read at a time, unless one chunk is larger. */
const WINDOW_BYTES = 1024 * 1024

export const corrupt = (path: string, detail: string, cause?: unknown): MainstemError =>
  fail('CHECKPOINT_CORRUPT', 'a checkpoint cannot be read', {
    detail: `${path}: ${detail}`,
    cause,
    data: { file: path },
  })

export class RowFileReader {
  readonly path: string
  readonly logId: string
  readonly #file: File
  #window: Buffer = Buffer.alloc(0)
  /** The file's byte with which the window begins. */
  #windowFrom = 0

  private constructor(path: string, logId: string, file: File) {
    this.path = path
    this.logId = logId
    this.#file = file
  }

  /** @param logId the log of which it is to be, if that matters @throws CHECKPOINT_CORRUPT */
  static async open(fs: FileSystem, folder: string, name: string, logId?: string): Promise<RowFileReader> {
    const path = join(folder, name)
    let file: File | undefined
    try {
      file = await fs.open(path, 'read')
      const header = Buffer.alloc(HEADER_BYTES)
      const bytes = await file.read(header, 0)
      const fault = headerFault(header.subarray(0, bytes), logId)
      if (fault !== undefined) throw corrupt(path, fault)
      return new RowFileReader(path, headerLogId(header), file)
    } catch (error) {
      await file?.close()
      throw isMainstemError(error) ? error : corrupt(path, textOf(error), error)
    }
  }

  /**
   * The chunks of the first `bytes` bytes, last one first, each with its segment. One is good until the next is asked for.
   * @throws CHECKPOINT_CORRUPT
   */
  async *chunks(bytes: number): AsyncGenerator<{ readonly chunk: Chunk; readonly segment: Segment }> {
    let segment: Segment | undefined
    for (let end = bytes; end > HEADER_BYTES; ) {
      const { chunk, from } = await this.chunkBefore(end)
      if (chunk.kind === END) {
        if (segment !== undefined && segment.from !== end) throw corrupt(this.path, 'a segment ends within another one')
        segment = this.#segmentOf(chunk, from)
      } else {
        if (
          chunk.kind !== ROWS ||
          segment === undefined ||
          from < segment.from ||
          segment.views[chunk.view] === undefined
        )
          throw corrupt(this.path, 'a chunk belongs to no segment')
        yield { chunk, segment }
      }
      end = from
    }
  }

  /** The segment that ends there. @throws CHECKPOINT_CORRUPT */
  async segmentBefore(end: number): Promise<Segment> {
    const { chunk, from } = await this.chunkBefore(end)
    if (chunk.kind !== END) throw corrupt(this.path, 'no segment ends there')
    return this.#segmentOf(chunk, from)
  }

  #segmentOf(chunk: Chunk, at: number): Segment {
    const segment = this.#parsed(() => readSegment(chunk))
    if (segment.from > at || segment.from < HEADER_BYTES) throw corrupt(this.path, 'a segment begins nowhere')
    return segment
  }

  /** The chunk that begins there. @throws CHECKPOINT_CORRUPT */
  async chunkAt(offset: number, bytesMax: number): Promise<Chunk> {
    const head = await this.read(offset, 4)
    const bytes = head.readUInt32LE(0)
    if (bytes < CHUNK_BYTES_MIN || offset + bytes > bytesMax) throw corrupt(this.path, 'no chunk begins there')
    const whole = await this.read(offset, bytes)
    return this.#parsed(() => openChunk(whole))
  }

  /** @throws CHECKPOINT_CORRUPT where the file ends before */
  async read(offset: number, bytes: number): Promise<Buffer> {
    const into = Buffer.allocUnsafe(bytes)
    if ((await this.#file.read(into, offset)) < bytes) throw corrupt(this.path, `it ends before byte ${offset + bytes}`)
    return into
  }

  /** The chunk that ends there, and where it begins; it is good until the next one is asked for. @throws CHECKPOINT_CORRUPT */
  async chunkBefore(end: number): Promise<{ chunk: Chunk; from: number }> {
    if (this.#view(end, CHUNK_BYTES_MIN) === undefined) await this.#load(end, WINDOW_BYTES)
    const last = this.#view(end, CHUNK_BYTES_MIN)
    const bytes = this.#parsed(() => chunkBytesBefore(last ?? Buffer.alloc(0)))
    if (bytes > end - HEADER_BYTES) throw corrupt(this.path, 'a chunk is longer than the file')
    if (this.#view(end, bytes) === undefined) await this.#load(end, Math.max(bytes, WINDOW_BYTES))
    return { chunk: this.#parsed(() => openChunk(this.#view(end, bytes)!)), from: end - bytes }
  }

  /** The last `bytes` bytes before `end`, where the window has them. */
  #view(end: number, bytes: number): Buffer | undefined {
    const to = end - this.#windowFrom
    if (to - bytes < 0 || to > this.#window.length) return undefined
    return this.#window.subarray(to - bytes, to)
  }

  async #load(end: number, bytes: number): Promise<void> {
    const from = Math.max(HEADER_BYTES, end - bytes)
    this.#window = await this.read(from, end - from)
    this.#windowFrom = from
  }

  #parsed<T>(parse: () => T): T {
    try {
      return parse()
    } catch (error) {
      throw corrupt(this.path, textOf(error), error)
    }
  }

  size(): Promise<number> {
    return this.#file.size()
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}
