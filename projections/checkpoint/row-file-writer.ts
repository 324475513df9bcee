// Appends to a file of rows. Rows are taken at once, in any order and of any view, into the view's open chunk; full chunks go to
// disk behind it. Buffers are used again; there are more of them only while a disk is slower than rows come.
import { join } from 'node:path'
import { ByteWriter, type File, type FileSystem } from '../../core/index.ts'
import {
  CHUNK_ROW_BYTES,
  CHUNK_ROWS_MAX,
  type Chunk,
  chunkPieces,
  END,
  fileHeader,
  HEADER_BYTES,
  ROWS,
  type SegmentView,
  segmentColumns,
} from './row-file.ts'

/** Buffers that are kept for the next chunks: one written, one encoded, one for each of a few views. */
const POOLED_BUFFERS_MAX = 8
/** Bytes that may wait for the disk before the encoding of further rows waits, too. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024
/** A chunk's rows end before this, unless one alone is larger: the buffer need not grow for the row at hand. */
const BUFFER_BYTES = CHUNK_ROW_BYTES + 8 * 1024

/** A view's chunk under way. */
export class OpenChunk {
  readonly file: RowFileWriter
  readonly name: string
  readonly view: number
  #writer: ByteWriter | undefined
  readonly #hashes = new Uint32Array(CHUNK_ROWS_MAX)
  readonly #ends = new Uint32Array(CHUNK_ROWS_MAX)
  readonly #columns = new ByteWriter()
  readonly written: [number, number][] = []
  #rows = 0

  constructor(file: RowFileWriter, name: string, view: number) {
    this.file = file
    this.name = name
    this.view = view
  }

  /** Where the next row is to be written. */
  get writer(): ByteWriter {
    this.#writer ??= this.file.takeBuffer()
    return this.#writer
  }

  /** Ends the row that was written since the last one. */
  endRow(keyHash: number): void {
    const { at } = this.#writer!
    this.#hashes[this.#rows] = keyHash
    this.#ends[this.#rows++] = at
    if (at >= CHUNK_ROW_BYTES || this.#rows === CHUNK_ROWS_MAX) this.flush()
  }

  /** Appends a chunk of another file's rows. @param body its rows, in the form that is said */
  copy({ rows, columns }: Chunk, body: Buffer, form: number): void {
    const pieces = chunkPieces(ROWS, this.view, rows, Buffer.from(columns), body, form)
    this.written.push([this.file.append(pieces, undefined), rows])
  }

  flush(): void {
    const rows = this.#rows
    const writer = this.#writer
    if (rows === 0 || writer === undefined) return
    const columns = this.#columns
    columns.at = 0
    columns.reserve(rows * 4)
    for (let n = 0; n < rows; n++) columns.at = columns.buffer.writeUInt32LE(this.#hashes[n]!, columns.at)
    for (let n = 0, from = 0; n < rows; n++) {
      columns.varint(this.#ends[n]! - from)
      from = this.#ends[n]!
    }
    const pieces = chunkPieces(ROWS, this.view, rows, columns.copy(), writer.buffer.subarray(0, writer.at))
    this.written.push([this.file.append(pieces, writer), rows])
    this.#writer = undefined
    this.#rows = 0
  }
}

export class RowFileWriter {
  readonly name: string
  readonly #fs: FileSystem
  readonly #path: string
  readonly #logId: string
  readonly #pool: ByteWriter[] = []
  #file: File | undefined
  /** Where the next chunk comes to stand. */
  #at: number
  #segmentFrom = 0
  #chunks: OpenChunk[] = []
  #waiting: { pieces: Buffer[]; at: number; bytes: number; buffer: ByteWriter | undefined }[] = []
  #waitingBytes = 0
  #writing: Promise<void> | undefined
  /** Whoever waits for room. */
  #roomy: (() => void)[] = []
  #error: unknown

  /** @param bytes of an existing file, which is gone on with; undefined: a new one */
  constructor(fs: FileSystem, folder: string, name: string, logId: string, bytes?: number) {
    this.#fs = fs
    this.#path = join(folder, name)
    this.name = name
    this.#logId = logId
    this.#at = bytes ?? HEADER_BYTES
    this.#isNew = bytes === undefined
  }

  readonly #isNew: boolean

  get bytes(): number {
    return this.#at
  }

  /** Begins a segment of these views. */
  begin(views: readonly string[]): readonly OpenChunk[] {
    this.#segmentFrom = this.#at
    this.#chunks = views.map((name, n) => new OpenChunk(this, name, n))
    return this.#chunks
  }

  takeBuffer(): ByteWriter {
    return this.#pool.pop() ?? new ByteWriter(BUFFER_BYTES)
  }

  /** Puts a chunk into the queue; gives the byte at which it will stand. */
  append(pieces: Buffer[], buffer: ByteWriter | undefined): number {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const at = this.#at
    this.#at += bytes
    // A segment that lacks a chunk is no segment: `end` says so.
    if (this.#error !== undefined) return at
    this.#waiting.push({ pieces, at, bytes, buffer })
    this.#waitingBytes += bytes
    this.#writing ??= this.#write()
    return at
  }

  /** Resolves when the disk is not far behind; undefined where it is not now. */
  room(): Promise<void> | undefined {
    if (this.#waitingBytes <= WAITING_BYTES_MAX || this.#error !== undefined) return undefined
    return new Promise(resolve => this.#roomy.push(resolve))
  }

  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const file = await this.#opened()
        const batch = this.#waiting
        this.#waiting = []
        await file.write(
          batch.flatMap(({ pieces }) => pieces),
          batch[0]!.at,
        )
        for (const { bytes, buffer } of batch) this.#release(bytes, buffer)
      }
    } catch (error) {
      this.#error ??= error
      this.#waiting = []
      this.#waitingBytes = 0
    }
    this.#writing = undefined
    for (const resolve of this.#roomy.splice(0)) resolve()
  }

  #release(bytes: number, buffer: ByteWriter | undefined): void {
    this.#waitingBytes -= bytes
    if (buffer !== undefined && this.#pool.length < POOLED_BUFFERS_MAX && buffer.buffer.length === BUFFER_BYTES) {
      buffer.at = 0
      this.#pool.push(buffer)
    }
    if (this.#waitingBytes <= WAITING_BYTES_MAX) for (const resolve of this.#roomy.splice(0)) resolve()
  }

  async #opened(): Promise<File> {
    if (this.#file !== undefined) return this.#file
    this.#file = await this.#fs.open(this.#path, this.#isNew ? 'create' : 'write')
    if (this.#isNew) await this.#file.write([fileHeader(this.#logId)], 0)
    else await this.#file.truncate(this.#segmentFrom)
    return this.#file
  }

  /**
   * Ends the segment. On return it is on disk, but for the name of a new file. Gives its bytes.
   * @param last a chunk that stands behind it
   * @throws what the disk threw
   */
  async end(groupsOf: (view: string) => SegmentView['groups'], last?: Buffer[]): Promise<number> {
    for (const chunk of this.#chunks) chunk.flush()
    const views = this.#chunks.map(({ name, written }) => ({ name, chunks: written, groups: groupsOf(name) }))
    const from = this.#segmentFrom
    this.append(chunkPieces(END, 0, 0, segmentColumns({ from, views }), Buffer.alloc(0)), undefined)
    if (last !== undefined) this.append(last, undefined)
    this.#chunks = []
    while (this.#writing) await this.#writing
    if (this.#error !== undefined) throw this.#error
    await this.#file!.datasync()
    return this.#at - from
  }

  async close(): Promise<void> {
    while (this.#writing) await this.#writing
    await this.#file?.close()
    this.#file = undefined
  }
}
