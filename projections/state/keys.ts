// Keys of rows as the table knows them. An integer or a date is a number; a string or an enum is itself; a bigint is a number
// up to 2^53 and its decimal text beyond; everything else is its key bytes as latin1 text.
import type { KeyCodec } from '../../core/index.ts'

/** A key by which a row is found. */
export type KeyId = number | string

export interface Keys {
  /** Whether an id may be a text. */
  readonly texts: boolean
  /** Whether ids are always the keys themselves: integers, or strings. */
  readonly own: 'integer' | 'string' | undefined
  /** @throws KEY_INVALID when the key is not of its type, or too long */
  idOf(key: unknown): KeyId
  keyOf(id: KeyId): unknown
  /** The key's bytes, a fresh copy. */
  bytesOf(id: KeyId): Buffer
  /** A total order, the same on every replay. */
  compare(a: KeyId, b: KeyId): number
}

/** Longer texts are encoded once, so that one beyond the limit of keys is refused. */
const SHORT_TEXT = 200

const byValue = (a: KeyId, b: KeyId): number => (a < b ? -1 : a > b ? 1 : 0)

/** Taken before the purity guards wrap the global one. */
const RealDate = Date

export function keysOf(codec: KeyCodec): Keys {
  const bytesOf = (key: unknown) => codec.encode(key)
  switch (codec.single ? codec.columns[0]?.type.kind : undefined) {
    case 'int32':
    case 'int':
      return {
        texts: false,
        own: 'integer',
        idOf: key => (Number.isSafeInteger(key) ? (key as number) + 0 : refused(codec, key)),
        keyOf: id => id,
        bytesOf,
        compare: byValue,
      }
    case 'date':
      return {
        texts: false,
        own: undefined,
        idOf: key => (key instanceof RealDate && !Number.isNaN(key.getTime()) ? key.getTime() : refused(codec, key)),
        keyOf: id => new RealDate(id as number),
        bytesOf: id => codec.encode(new RealDate(id as number)),
        compare: byValue,
      }
    case 'string':
    case 'enum':
      return {
        texts: true,
        own: 'string',
        idOf: key => {
          if (typeof key !== 'string' || key.length > SHORT_TEXT || !key.isWellFormed()) codec.encode(key)
          return key as string
        },
        keyOf: id => id,
        bytesOf,
        compare: byValue,
      }
    case 'bigint':
      return {
        texts: true,
        own: undefined,
        idOf: key => {
          if (typeof key !== 'bigint') return refused(codec, key)
          const number = Number(key)
          if (Number.isSafeInteger(number)) return number
          codec.encode(key)
          return key.toString()
        },
        keyOf: id => BigInt(id),
        bytesOf: id => codec.encode(BigInt(id)),
        compare: (a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : BigInt(a) < BigInt(b) ? -1 : 1),
      }
    default:
      return {
        texts: true,
        own: undefined,
        idOf: key => codec.encode(key).toString('latin1'),
        keyOf: id => codec.decode(Buffer.from(id as string, 'latin1')),
        bytesOf: id => Buffer.from(id as string, 'latin1'),
        compare: byValue,
      }
  }
}

/** The codec says what is wrong with a key. */
function refused(codec: KeyCodec, key: unknown): never {
  codec.encode(key)
  throw new RangeError('a key that its codec takes has no number')
}

/** What `hashOf` gives of a text of ASCII bytes; −1 of any other. */
export function hashOfBytes(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5
  let all = 0
  for (let n = from; n < to; n++) {
    const byte = bytes[n]!
    all |= byte
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  return all < 0x80 ? mix(hash) : -1
}

function hashOfText(text: string): number {
  let hash = 0x811c9dc5
  for (let n = 0; n < text.length; n++) hash = Math.imul(hash ^ text.charCodeAt(n), 0x01000193)
  return hash
}

/** Mixes all bits of a key into 32. */
export const hashOf = (id: KeyId): number => (typeof id === 'number' ? hashOfNumber(id) : mix(hashOfText(id)))

/** Integers of 32 bits have a hash each. */
export const hashOfNumber = (id: number): number =>
  mix(id === (id | 0) ? id : (id | 0) ^ Math.imul((id / 0x100000000) | 0, 0x9e3779b1))

function mix(bits: number): number {
  let hash = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
