// A sealed segment as the running log knows it. Its footer is read when first needed.
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { asMainstemError, fail, isMainstemError } from '../../errors.ts'
import { checkSegmentHeader, readU64, SEGMENT_HEADER_BYTES, segmentSeed } from '../block.ts'
import type { File } from '../file-system.ts'
import { Holds } from '../holds.ts'
import { corrupt } from '../records.ts'
import type { Topics } from '../topics.ts'
import type { BlockEntry } from './block-writer.ts'
import { SEALED_BLOCK_BYTES_MAX } from './bounds.ts'
import type { ColumnUse } from './column-use.ts'
import { type Footer, readFooter, readTrailer, SEALED_SEGMENT, TRAILER_BYTES } from './format.ts'
import { SealedBlock } from './sealed-block.ts'
import type { SealedFiles } from './sealed-files.ts'
import { unpack } from './sections.ts'

const NAME_DIGITS = 20
const NAME = /^(\d{20})(?:\.([1-9]\d{0,8}))?\.sealed$/

/** What a sealed file's name says. */
export interface SealedName {
  readonly first: number
  /** The cleaning that wrote it; 0 where it stands for one hot segment. */
  readonly generation: number
}

export const sealedName = ({ first, generation }: SealedName): string =>
  `${String(first).padStart(NAME_DIGITS, '0')}${generation > 0 ? `.${generation}` : ''}.sealed`

/** What is removed at start: a sealed segment that was not finished. */
export const isSealedTemporary = (name: string): boolean => /^\d{20}(\.\d+)?\.sealed\.tmp$/.test(name)

/** What the name of a sealed file says; undefined for other files. */
export function parseSealedName(name: string): SealedName | undefined {
  const [, digits, generation = '0'] = NAME.exec(name) ?? []
  const first = digits === undefined ? Number.NaN : Number(digits)
  return Number.isSafeInteger(first) && first > 0 ? { first, generation: Number(generation) } : undefined
}

/** Any bytes stored with a length, a CRC and perhaps packed. */
export interface StoredPiece {
  readonly offset: number
  readonly bytes: number
  readonly rawBytes: number
  readonly crc: number
}

export class SealedSegment extends Holds {
  readonly first: number
  /** The cleaning that wrote it; 0 where it stands for one hot segment. */
  readonly generation: number
  readonly name: string
  readonly path: string
  /** The file's format; known once it was opened. */
  format = 0
  bytes = 0
  last: number
  /** With what its CRCs begin. */
  seed = 0
  readonly #files: SealedFiles
  readonly #logId: string
  #footer: Promise<Footer> | undefined

  constructor(files: SealedFiles, folder: string, logId: string, { first, generation }: SealedName) {
    super()
    this.#files = files
    this.#logId = logId
    this.first = first
    this.generation = generation
    this.name = sealedName({ first, generation })
    this.path = join(folder, this.name)
    this.last = first - 1
  }

  /** Checks header, size and trailer: enough to know where it ends. @throws LOG_CORRUPT, LOG_FORMAT_NEWER */
  async open(): Promise<this> {
    await this.#using(0, async file => {
      await this.#readHeader(file)
      const size = await file.size()
      await this.#readTrailer(file, size)
    })
    return this
  }

  /** Takes over what another thread found by opening it. */
  adopt({ format, bytes, last, seed }: Pick<SealedSegment, 'format' | 'bytes' | 'last' | 'seed'>): this {
    this.format = format
    this.bytes = bytes
    this.last = last
    this.seed = seed
    return this
  }

  async #readTrailer(file: File, size: number) {
    const from = Math.max(0, size - TRAILER_BYTES)
    const trailer = readTrailer(await readExactly(file, from, size - from), size, this.seed)
    this.bytes = size
    this.last = trailer.last
    return trailer
  }

  /** Read when first asked for. @throws LOG_CORRUPT */
  footer(): Promise<Footer> {
    this.#footer ??= this.#using(0, file => this.#readFooter(file))
    this.#footer.catch(() => {
      this.#footer = undefined
    })
    return this.#footer
  }

  async #readFooter(file: File): Promise<Footer> {
    const { offset, bytes, crc, last } = await this.#readTrailer(file, await file.size())
    const footer = await readExactly(file, offset, bytes)
    if (crc32(footer, this.seed) !== crc) throw new RangeError('the footer’s checksum is wrong')
    const read = readFooter(footer, this.format)
    if (read.last !== last) throw new RangeError('footer and trailer name different ends')
    return read
  }

  async #readHeader(file: File): Promise<void> {
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    const read = await file.read(header, 0)
    const wrong = checkSegmentHeader(SEALED_SEGMENT, header.subarray(0, read), this.#logId, this.first)
    if (wrong?.format !== undefined) {
      throw fail('LOG_FORMAT_NEWER', 'the log was written by a newer version', {
        detail: `${this.path}: ${wrong.reason}`,
      })
    }
    if (wrong) throw new RangeError(wrong.reason)
    if (readU64(header, 48) !== this.generation)
      throw new RangeError(`it is of generation ${readU64(header, 48)}, not ${this.generation}`)
    this.format = header.readUInt32LE(8)
    this.seed = segmentSeed(header)
  }

  async #using<T>(offset: number, use: (file: File) => Promise<T>): Promise<T> {
    try {
      return await this.#files.use(this.path, use)
    } catch (error) {
      throw this.#damaged(offset, error)
    }
  }

  /** Number of the first block with a record after a position. */
  async blockAfter(after: number): Promise<number> {
    const { blocks } = await this.footer()
    let low = 0
    let high = blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const { last } = blocks[middle]!
      // A heartbeat at the block's end may be after the position although no record is.
      if (last < after) low = middle + 1
      else high = middle
    }
    return low
  }

  /**
   * @param use what is asked of its columns is noted there
   * @param memory where it is to stand as it is stored; default: in memory of its own · @throws LOG_CORRUPT
   */
  async block(n: number, topics: Topics, use?: ColumnUse, memory?: Buffer): Promise<SealedBlock | undefined> {
    const entry = (await this.footer()).blocks[n]
    if (!entry) return undefined
    const bytes = await this.#using(entry.offset, file => readExactly(file, entry.offset, entry.bytes, memory))
    return this.#blockIn(bytes, entry, topics, use)
  }

  /** The same, where another reader has brought it to memory that both have. @throws LOG_CORRUPT */
  shared(memory: Buffer, entry: BlockEntry, topics: Topics, use: ColumnUse): SealedBlock {
    return this.#blockIn(memory.subarray(0, entry.bytes), entry, topics, use).adopt(memory)
  }

  #blockIn(bytes: Buffer, entry: BlockEntry, topics: Topics, use: ColumnUse | undefined): SealedBlock {
    return new SealedBlock(bytes, entry, { topics, file: this.path }, this.seed, use)
  }

  /** A page or chunk of the key index, unpacked. @throws LOG_CORRUPT */
  piece({ offset, bytes, rawBytes, crc }: StoredPiece): Promise<Buffer> {
    return this.#using(offset, async file => {
      const stored = await readExactly(file, offset, bytes)
      if (crc32(stored, this.seed) !== crc) throw new RangeError('the checksum of a page is wrong')
      return unpack(stored, rawBytes)
    })
  }

  #damaged(offset: number, error: unknown): Error {
    if (isMainstemError(error)) return error
    // What the file system says is no damage: it may be well again later.
    if (error instanceof Error && 'code' in error && !(error instanceof RangeError) && !isZlib(error))
      return asMainstemError(error, 'LOG_FAILED', 'cannot read the log')
    return corrupt(this.path, offset, asMainstemError(error).detail ?? 'it cannot be read', error)
  }
}

const isZlib = (error: Error): boolean => 'code' in error && /^(Z|ERR_)/.test(String(error.code))

async function readExactly(file: File, offset: number, bytes: number, memory?: Buffer): Promise<Buffer> {
  if (bytes > SEALED_BLOCK_BYTES_MAX) throw new RangeError(`a part claims to have ${bytes} bytes`)
  const buffer = memory?.subarray(0, bytes) ?? Buffer.allocUnsafeSlow(bytes)
  if ((await file.read(buffer, offset)) < bytes) throw new RangeError('the file ends early')
  return buffer
}
