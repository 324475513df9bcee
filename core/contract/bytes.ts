// A growing byte buffer and its reader: the primitives of every stored form.
// Integers are sign-and-magnitude varints (6 bits and the sign in the first byte, 7 in each further one), exact to ±2^53.
import { isUtf8 } from 'node:buffer'
import { fail } from '../errors.ts'

const INITIAL_BYTES = 1024
const NOTHING = Buffer.alloc(0)
/** A call into the runtime costs as much as some tens of bytes one by one. */
const ONE_BY_ONE_MAX = 64

/** Copies a part of a buffer to a place in another one. */
export function copyBytes(source: Buffer, from: number, to: number, target: Uint8Array, at: number): void {
  if (to - from > ONE_BY_ONE_MAX) source.copy(target, at, from, to)
  else for (let n = from; n < to; n++) target[at + n - from] = source[n]!
}

/** Whether so many bytes are the same from a place in each on. */
export function sameBytes(a: Uint8Array, from: number, b: Uint8Array, other: number, length: number): boolean {
  for (let n = 0; n < length; n++) if (a[from + n] !== b[other + n]) return false
  return true
}

/** Bytes in a buffer that may be somebody else's: valid for as long as he says. */
export class Span {
  buffer: Buffer = NOTHING
  from = 0
  to = 0

  set(buffer: Buffer, from: number, to: number): this {
    this.buffer = buffer
    this.from = from
    this.to = to
    return this
  }

  get length(): number {
    return this.to - this.from
  }

  copy(): Buffer {
    return Buffer.from(this.buffer.subarray(this.from, this.to))
  }

  equals({ buffer, from, to }: Span): boolean {
    return this.length === to - from && sameBytes(this.buffer, this.from, buffer, from, to - from)
  }
}

export class ByteWriter {
  buffer: Buffer
  at = 0

  constructor(bytes: number = INITIAL_BYTES) {
    this.buffer = Buffer.allocUnsafeSlow(bytes)
  }

  reserve(bytes: number): void {
    if (this.at + bytes > this.buffer.length) this.grow(bytes)
  }

  private grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.at + bytes))
    this.buffer.copy(larger, 0, 0, this.at)
    this.buffer = larger
  }

  u8(value: number): void {
    this.reserve(1)
    this.buffer[this.at++] = value
  }

  /** An unsigned integer up to 2^53. */
  varint(value: number): void {
    this.reserve(8)
    let rest = value
    const buffer = this.buffer
    while (rest >= 0x80) {
      buffer[this.at++] = (rest % 0x80) | 0x80
      rest = rest < 0x80000000 ? rest >>> 7 : Math.floor(rest / 0x80)
    }
    buffer[this.at++] = rest
  }

  /** A signed integer within ±2^53. */
  int(value: number): void {
    this.reserve(9)
    const buffer = this.buffer
    let rest = value
    let sign = 0
    if (value < 0) {
      rest = -value
      sign = 0x40
    }
    if (rest < 0x40) {
      buffer[this.at++] = rest | sign
      return
    }
    buffer[this.at++] = (rest % 0x40) | sign | 0x80
    rest = rest < 0x80000000 ? rest >>> 6 : Math.floor(rest / 0x40)
    while (rest >= 0x80) {
      buffer[this.at++] = (rest % 0x80) | 0x80
      rest = rest < 0x80000000 ? rest >>> 7 : Math.floor(rest / 0x80)
    }
    buffer[this.at++] = rest
  }

  f64(value: number): void {
    this.reserve(8)
    this.at = this.buffer.writeDoubleLE(value, this.at)
  }

  /** Any bigint: the common ones as an int, the others as decimal text. */
  bigint(value: bigint): void {
    if (value >= MIN_SAFE && value <= MAX_SAFE) {
      this.u8(0)
      this.int(Number(value))
    } else {
      this.u8(1)
      this.string(value.toString())
    }
  }

  /**
   * @param path names the text in errors
   * @throws RECORD_REFUSED for half of a surrogate pair: it has no UTF-8 and would come back as another string
   */
  string(text: string, path = 'text'): void {
    const most = text.length * 3
    if (most < 0x80) {
      this.reserve(most + 1)
      let written = text.length
      if (!this.ascii(text)) {
        if (!text.isWellFormed()) throw halfPair(path)
        written = this.buffer.write(text, this.at + 1, most, 'utf8')
      }
      this.buffer[this.at] = written
      this.at += written + 1
      return
    }
    if (!text.isWellFormed()) throw halfPair(path)
    const bytes = Buffer.byteLength(text)
    this.varint(bytes)
    this.reserve(bytes)
    this.at += this.buffer.write(text, this.at, bytes, 'utf8')
  }

  /** Writes a short text one byte in from here, a quarter of the price of a call into the runtime; false if it is not ASCII. */
  private ascii(text: string): boolean {
    const buffer = this.buffer
    const from = this.at + 1
    for (let n = 0; n < text.length; n++) {
      const code = text.charCodeAt(n)
      if (code >= 0x80) return false
      buffer[from + n] = code
    }
    return true
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length)
    this.raw(value)
  }

  raw(value: Uint8Array): void {
    this.reserve(value.length)
    this.buffer.set(value, this.at)
    this.at += value.length
  }

  /** A part of a buffer. */
  span(value: Buffer, from: number, to: number): void {
    const length = to - from
    this.reserve(length)
    copyBytes(value, from, to, this.buffer, this.at)
    this.at += length
  }

  /** A text as `string` writes it, from its UTF-8. What is none becomes U+FFFD, as it does in a string. */
  utf8(value: Buffer, from: number, to: number): void {
    const length = to - from
    if (length < 0x80 && this.asciiOf(value, from, to)) return
    if (!isUtf8(value.subarray(from, to))) {
      this.string(value.toString('utf8', from, to))
      return
    }
    this.varint(length)
    this.span(value, from, to)
  }

  /** A short text; false, and nothing is written, if it is not ASCII. */
  private asciiOf(value: Buffer, from: number, to: number): boolean {
    this.reserve(to - from + 1)
    const { buffer } = this
    let at = this.at
    buffer[at++] = to - from
    for (let n = from; n < to; n++) {
      const byte = value[n]!
      if (byte >= 0x80) return false
      buffer[at++] = byte
    }
    this.at = at
    return true
  }

  /** A copy of what has been written. */
  copy(): Buffer {
    return Buffer.from(this.buffer.subarray(0, this.at))
  }
}

const halfPair = (path: string) =>
  fail('RECORD_REFUSED', `${path.replace(/^\./, '')}: expected whole characters, received half of a surrogate pair`)

const TIME_MAX = 8.64e15
/** Items without any field have no bytes of their own. */
const EMPTY_ITEMS_MAX = 16 * 1024 * 1024
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER)
const MIN_SAFE = BigInt(Number.MIN_SAFE_INTEGER)

export class ByteReader {
  buffer: Buffer
  at: number

  constructor(buffer: Buffer, at = 0) {
    this.buffer = buffer
    this.at = at
  }

  u8(): number {
    const value = this.buffer[this.at++]
    if (value === undefined) throw new RangeError('bytes end early')
    return value
  }

  varint(): number {
    let byte = this.u8()
    if (byte < 0x80) return byte
    let value = byte & 0x7f
    let scale = 0x80
    do {
      byte = this.u8()
      value += (byte & 0x7f) * scale
      scale *= 0x80
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('integer beyond 2^53')
    } while (byte >= 0x80)
    return value
  }

  int(): number {
    let byte = this.u8()
    const negative = (byte & 0x40) !== 0
    let value = byte & 0x3f
    let scale = 0x40
    while (byte >= 0x80) {
      byte = this.u8()
      value += (byte & 0x7f) * scale
      scale *= 0x80
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('integer beyond 2^53')
    }
    return negative ? -value : value
  }

  f64(): number {
    const value = this.buffer.readDoubleLE(this.at)
    if (!Number.isFinite(value)) throw new RangeError('a number is not finite')
    this.at += 8
    return value
  }

  int32(): number {
    const value = this.int()
    if (value !== (value | 0)) throw new RangeError('integer beyond 2^31')
    return value
  }

  /** Milliseconds that a date can hold. */
  time(): number {
    const value = this.int()
    if (value > TIME_MAX || value < -TIME_MAX) throw new RangeError('a date out of range')
    return value
  }

  /** One byte, no greater than `most`: which of a few forms follows. */
  tag(most: number): number {
    const value = this.u8()
    if (value > most) throw new RangeError(`${value} is not a tag`)
    return value
  }

  /** How many items follow, each of at least so many bytes: nothing is allocated for more than there can be. */
  count(itemBytesMin: number): number {
    const count = this.varint()
    const most = itemBytesMin > 0 ? (this.buffer.length - this.at) / itemBytesMin : EMPTY_ITEMS_MAX
    if (count > most) throw new RangeError('bytes end early')
    return count
  }

  /** One of a list, by its index. */
  pick<T>(values: readonly T[]): T {
    const value = values[this.varint()]
    if (value === undefined) throw new RangeError('not one of the values')
    return value
  }

  /** An index below `most`. */
  below(most: number): number {
    const value = this.varint()
    if (value >= most) throw new RangeError('not one of the values')
    return value
  }

  /** Passes over a text and gives its length in bytes. */
  length(): number {
    return this.skip(this.varint())
  }

  bigint(): bigint {
    return this.tag(1) === 0 ? BigInt(this.int()) : BigInt(this.string())
  }

  string(): string {
    const end = this.skip(this.varint())
    return this.buffer.toString('utf8', this.at - end, this.at)
  }

  /** A copy: what is read may outlive the block it came from. */
  bytes(): Uint8Array {
    const length = this.skip(this.varint())
    return new Uint8Array(this.buffer.subarray(this.at - length, this.at))
  }

  private skip(length: number): number {
    if (this.at + length > this.buffer.length) throw new RangeError('bytes end early')
    this.at += length
    return length
  }
}
