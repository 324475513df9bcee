// Ids of keys to and from the keys' bytes, without the key in between: integers of 32 bits and texts of ASCII, which nearly all
// keys are, byte by byte; what is left goes through the codec. The bytes are those of `KeyCodec.encode`.
import type { ByteWriter, KeyCodec } from '../../core/index.ts'
import type { KeyId, Keys } from './keys.ts'

/** Appends a key's bytes. */
export function writeKey(writer: ByteWriter, keys: Keys, id: KeyId): void {
  if (keys.own === 'integer' && id === ((id as number) | 0) && id !== -0x80000000) writeInteger(writer, id)
  else if (keys.own !== 'string' || !writeAscii(writer, id as string)) writer.raw(keys.bytesOf(id))
}

function writeInteger(writer: ByteWriter, value: number): void {
  writer.reserve(5)
  const { buffer } = writer
  const magnitude = value < 0 ? -value : value
  const bytes = magnitude === 0 ? 0 : magnitude < 0x100 ? 1 : magnitude < 0x10000 ? 2 : magnitude < 0x1000000 ? 3 : 4
  buffer[writer.at++] = value < 0 ? 0x80 - bytes : 0x80 + bytes
  const sign = value < 0 ? 0xff : 0
  for (let n = bytes - 1; n >= 0; n--) buffer[writer.at++] = ((magnitude >>> (n * 8)) & 0xff) ^ sign
}

/** False, with nothing written, where the text is not of ASCII letters alone. */
export function writeAscii(writer: ByteWriter, text: string): boolean {
  writer.reserve(text.length + 2)
  const { buffer, at } = writer
  for (let n = 0; n < text.length; n++) {
    const code = text.charCodeAt(n)
    if (code === 0 || code >= 0x80) return false
    buffer[at + n] = code
  }
  buffer[at + text.length] = buffer[at + text.length + 1] = 0
  writer.at = at + text.length + 2
  return true
}

/** The id of the key whose bytes stand there. */
export function readKey(keys: Keys, codec: KeyCodec, bytes: Buffer, from: number, to: number): KeyId {
  if (keys.own === 'integer' && to - from <= 5) return readInteger(bytes, from, to)
  if (keys.own === 'string' && isAscii(bytes, from, to - 2)) return bytes.toString('latin1', from, to - 2)
  return keys.idOf(codec.decode(bytes.subarray(from, to)))
}

/** Of an integer of at most 4 bytes. */
export function readInteger(bytes: Buffer, from: number, to: number): number {
  const negative = bytes[from]! < 0x80
  const sign = negative ? 0xff : 0
  let magnitude = 0
  for (let at = from + 1; at < to; at++) magnitude = magnitude * 0x100 + (bytes[at]! ^ sign)
  return negative ? -magnitude : magnitude
}

function isAscii(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!
    if (byte === 0 || byte >= 0x80) return false
  }
  return true
}
