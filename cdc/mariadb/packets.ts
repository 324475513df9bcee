// The client/server protocol below its commands: packets of up to 16 MiB − 1 with a length and a number, longer payloads in
// several of them. https://mariadb.com/kb/en/0-packet/
import { valueTooLarge } from '../connector/message-limit.ts'

const HEADER = 4
const PACKET_MAX = 0xff_ffff

const EMPTY = Buffer.alloc(0)

/** Bytes as they come from a socket → payloads. `bytes`, `start`, `end` name the one at hand, until the next call. */
export class PacketReader {
  bytes: Buffer = EMPTY
  start = 0
  end = 0
  #buffer: Buffer = EMPTY
  #at = 0
  /** Chunks behind `#buffer`, joined only when a packet is whole: a large one comes in thousands of them. */
  #chunks: Buffer[] = []
  #chunkBytes = 0
  /** Payloads of full packets before the last one of a long payload. */
  #parts: Buffer[] = []
  #partBytes = 0
  readonly #bytesMax: number

  /** @param bytesMax a longer payload is refused */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  push(chunk: Buffer): void {
    if (this.#at === this.#buffer.length && this.#chunkBytes === 0) {
      this.#buffer = chunk
      this.#at = 0
      return
    }
    this.#chunks.push(chunk)
    this.#chunkBytes += chunk.length
  }

  /** Steps to the next payload; false where it is not whole yet. @throws SOURCE_VALUE_TOO_LARGE */
  next(): boolean {
    for (;;) {
      if (!this.#has(HEADER)) return false
      const length = this.#buffer.readUIntLE(this.#at, 3)
      if (this.#partBytes + length > this.#bytesMax) throw valueTooLarge(this.#bytesMax)
      if (!this.#has(HEADER + length)) return false
      const start = this.#at + HEADER
      this.#at = start + length
      if (length === PACKET_MAX) {
        this.#parts.push(this.#buffer.subarray(start, this.#at))
        this.#partBytes += length
        continue
      }
      if (this.#parts.length === 0) {
        this.bytes = this.#buffer
        this.start = start
        this.end = this.#at
        return true
      }
      this.bytes = Buffer.concat([...this.#parts, this.#buffer.subarray(start, this.#at)])
      this.start = 0
      this.end = this.bytes.length
      this.#parts = []
      this.#partBytes = 0
      return true
    }
  }

  #has(bytes: number): boolean {
    const held = this.#buffer.length - this.#at
    if (held >= bytes) return true
    if (held + this.#chunkBytes < bytes) return false
    this.#buffer = Buffer.concat([this.#buffer.subarray(this.#at), ...this.#chunks])
    this.#at = 0
    this.#chunks = []
    this.#chunkBytes = 0
    return true
  }
}

/** A payload in packets. @param number of its first packet */
export function packetsOf(payload: Buffer, number = 0): Buffer {
  const packets: Buffer[] = []
  let sequence = number
  for (let at = 0; ; at += PACKET_MAX) {
    const part = payload.subarray(at, at + PACKET_MAX)
    const header = Buffer.alloc(HEADER)
    header.writeUIntLE(part.length, 0, 3)
    header[3] = sequence++ & 0xff
    packets.push(header, part)
    if (part.length < PACKET_MAX) return Buffer.concat(packets)
  }
}

export interface ServerError {
  readonly code: number
  readonly state: string
  readonly text: string
}

/** What an ERR packet says; undefined where the payload is none. */
export function errorIn(bytes: Buffer, start: number, end: number): ServerError | undefined {
  if (bytes[start] !== 0xff) return undefined
  const hasState = bytes[start + 3] === 0x23
  return {
    code: bytes.readUInt16LE(start + 1),
    state: hasState ? bytes.toString('latin1', start + 4, start + 9) : '',
    text: bytes.toString('utf8', start + (hasState ? 9 : 3), end),
  }
}

/** EOF, or OK in its place. */
export const isEnd = (bytes: Buffer, start: number, end: number): boolean => bytes[start] === 0xfe && end - start < 9

/** A length-encoded integer's size in bytes, by its first byte. */
export const lengthSize = (first: number): number => (first < 0xfb ? 1 : first === 0xfc ? 3 : first === 0xfd ? 4 : 9)

export function readLength(bytes: Buffer, at: number): number {
  const first = bytes[at]!
  if (first < 0xfb) return first
  if (first === 0xfc) return bytes.readUInt16LE(at + 1)
  if (first === 0xfd) return bytes.readUIntLE(at + 1, 3)
  return Number(bytes.readBigUInt64LE(at + 1))
}
