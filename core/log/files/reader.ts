// Reads files one after the other, in chunks, two of them ahead. Chunks stand at multiples of their size, and a block is the records
// that end in a chunk: so where blocks, and with them transactions, end is a matter of the file and not of where reading began.
import { JsonText, TEXT_PADDING } from '../../contract/index.ts'
import { fail } from '../../errors.ts'
import type { LogBlock, LogReader, ReadOptions } from '../log.ts'
import { FileBlock } from './block.ts'
import { refusalAt } from './format.ts'
import type { InputFile } from './input.ts'

/** Before what is read: room for the beginning of a record that ends in it. A longer one is copied together. */
const ROOM_BEFORE = 16 * 1024
/** Behind it: for texts without their escapes. Records that need more go through JSON.parse. */
const roomBehind = (bytes: number): number => 1024 + Math.min(64 * 1024, bytes)
const CHUNKS_AHEAD = 2

interface Chunk {
  readonly file: InputFile
  /** Its place in the file. */
  readonly at: number
  readonly bytes: number
  /** Room before, the chunk, room behind. */
  readonly buffer: Buffer
  readonly before: number
  readonly filled: Promise<void>
}

interface FileReaderOptions extends ReadOptions {
  readonly lineBytesMax: number
  readonly forget: (reader: FileReader) => void
}

export class FileReader implements LogReader {
  readonly generation = 0
  readonly #files: readonly InputFile[]
  readonly #lineBytesMax: number
  readonly #forget: (reader: FileReader) => void
  #after: number
  /** The file from which the next chunk is read, and the place in it. */
  #ahead: { file: number; at: number }
  readonly #chunks: Chunk[] = []
  /** The beginning of a record that ends in a later chunk; undefined where it has to be found. */
  #carry: Buffer | undefined
  /** A line is longer than allowed, and is passed over. */
  #dropping = false
  /** The last block of the file at hand, or how many lines there are before the next chunk. */
  #before: FileBlock | number = 0
  readonly #lends: boolean
  /** The last block, where blocks are lent. */
  #lent: FileBlock | undefined
  #closed = false
  readonly #end = Promise.withResolvers<void>()
  #tail: Promise<unknown> = Promise.resolve()

  constructor(files: readonly InputFile[], after: number, { lineBytesMax, forget, lent = false }: FileReaderOptions) {
    this.#lends = lent
    this.#files = files
    this.#lineBytesMax = lineBytesMax
    this.#forget = forget
    this.#after = after
    const n = files.findIndex(file => file.end > after)
    const first = files[n]
    const within = first ? Math.max(0, after - first.base) : 0
    this.#ahead = { file: n < 0 ? files.length : n, at: first ? within - (within % first.chunkBytes) : 0 }
  }

  get position(): number {
    return this.#after
  }

  /** At the end of the last file it waits: a log could go on. */
  async next(): Promise<readonly LogBlock[] | undefined> {
    const blocks = await this.ready()
    if (blocks.length > 0) return blocks
    await this.#end.promise
    return undefined
  }

  ready(): Promise<readonly LogBlock[]> {
    const read = this.#tail.then(() => this.#ready())
    this.#tail = read.catch(() => {})
    return read
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#end.resolve()
    this.#forget(this)
  }

  /** Resolves when it reads nothing any more. */
  async ended(): Promise<void> {
    this.close()
    await this.#tail
    await Promise.all(this.#chunks.map(({ filled }) => filled.catch(() => {})))
  }

  async #ready(): Promise<readonly LogBlock[]> {
    this.#recall()
    while (!this.#closed) {
      this.#readAhead()
      const chunk = this.#chunks[0]
      if (!chunk) return []
      await chunk.filled
      if (this.#carry === undefined) await this.#enter(chunk)
      this.#chunks.shift()
      this.#readAhead()
      const block = this.#blockOf(chunk)
      if (!block) continue
      this.#after = block.end
      if (this.#lends) this.#lent = block
      return [block]
    }
    return []
  }

  /** Lets the last block go, but for the beginning of a record that ends in the next one. */
  #recall(): void {
    if (this.#lent === undefined) return
    this.#carry = this.#carry && Buffer.from(this.#carry)
    this.#lent.letGo()
    this.#lent = undefined
  }

  #readAhead(): void {
    while (this.#chunks.length < CHUNKS_AHEAD && !this.#closed) {
      const file = this.#files[this.#ahead.file]
      if (!file) return
      const { at } = this.#ahead
      const bytes = Math.min(file.chunkBytes, file.bytes - at)
      if (bytes <= 0) {
        this.#ahead = { file: this.#ahead.file + 1, at: 0 }
        continue
      }
      const before = Math.min(ROOM_BEFORE, bytes)
      const buffer = Buffer.allocUnsafeSlow(before + bytes + roomBehind(bytes) + TEXT_PADDING)
      const filled = file.read(buffer.subarray(before, before + bytes), at)
      // Whoever waits for it hears of it.
      filled.catch(() => {})
      this.#chunks.push({ file, at, bytes, buffer, before, filled })
      this.#ahead = { file: this.#ahead.file, at: at + bytes }
    }
  }

  /** The first chunk that is read of a file. */
  async #enter({ file, at }: Chunk): Promise<void> {
    // Its beginning is in memory for a moment even where it is too long.
    this.#carry = at > 0 ? await file.recordBefore(at) : Buffer.alloc(0)
    this.#before = at > 0 ? await file.linesBefore(at - this.#carry.length) : 0
    this.#dropping = this.#carry.length > this.#lineBytesMax
    if (!this.#dropping) return
    this.#carry = Buffer.alloc(0)
    this.#before += 1
  }

  /** The records that end in a chunk; undefined where none does. */
  #blockOf(chunk: Chunk): FileBlock | undefined {
    const { file, at, bytes } = chunk
    const isLast = at + bytes === file.bytes
    const isText = file.format.strideBytes === undefined
    const buffer = withBefore(chunk, this.#carry!)
    const room = buffer.length - roomBehind(bytes) - TEXT_PADDING
    const offset = at + bytes - room
    let from = room - bytes - this.#carry!.length
    const to = isLast || !isText ? room : Math.max(from, buffer.lastIndexOf(LINE_FEED, room - 1) + 1)
    this.#carry = isLast ? undefined : buffer.subarray(to, room)
    // What ends the last line where nothing does; the room behind begins after it.
    buffer[room] = LINE_FEED
    if (isText) {
      from = this.#passLong(file, buffer, from, to, offset)
      if (offset + from === 0 && buffer.subarray(from, to).indexOf(BYTE_ORDER_MARK) === 0)
        from += BYTE_ORDER_MARK.length
      if (this.#carry !== undefined && this.#carry.length > this.#lineBytesMax) this.#drop(file, at + bytes)
    }
    if (from >= to && !isLast) return undefined
    const text = new JsonText(buffer, room + 1)
    const end = isLast ? file.end : file.base + offset + to
    const block = new FileBlock({ file, text, from, to, offset, end, after: this.#after, before: this.#before })
    this.#before = block
    return end > this.#after ? block : undefined
  }

  /** Passes over a first line that is too long, and what is left of one; only the first is longer than a chunk. */
  #passLong(file: InputFile, buffer: Buffer, from: number, to: number, offset: number): number {
    const feed = buffer.indexOf(LINE_FEED, from)
    const next = feed < 0 || feed >= to ? to : feed + 1
    if (this.#dropping) {
      if (next === to && buffer[to - 1] !== LINE_FEED) this.#carry = this.#carry && Buffer.alloc(0)
      else this.#dropping = false
    } else if (next - from > this.#lineBytesMax) this.#refuseLong(file, offset + next)
    else return from
    return next
  }

  #drop(file: InputFile, byte: number): void {
    if (!this.#dropping) this.#refuseLong(file, byte)
    this.#dropping = true
    this.#carry = Buffer.alloc(0)
  }

  /** @throws RECORD_TOO_LARGE where that is not to be passed over */
  #refuseLong(file: InputFile, byte: number): void {
    const before = this.#before
    const lines = typeof before === 'number' ? before : before.linesThrough
    this.#before = lines + 1
    const error = fail('RECORD_TOO_LARGE', `a line of ${file.topic.name} is too long`, {
      detail: `expected at most ${this.#lineBytesMax} bytes`,
    })
    file.refuse(file.base + byte, refusalAt(error, { file: file.path, byte, line: lines + 1 }))
  }
}

const LINE_FEED = 10
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])

/** What a chunk was read into, with what belongs before it. */
function withBefore({ buffer, bytes, before }: Chunk, carry: Buffer): Buffer {
  if (carry.length <= before) {
    carry.copy(buffer, before - carry.length)
    return buffer
  }
  const larger = Buffer.allocUnsafeSlow(carry.length + bytes + roomBehind(bytes) + TEXT_PADDING)
  carry.copy(larger)
  buffer.copy(larger, carry.length, before, before + bytes)
  return larger
}
