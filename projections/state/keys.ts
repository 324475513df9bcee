// Keys of rows as the table knows them. An integer or a date is a number; a string or an enum is itself; a bigint is a number
// up to 2^53 and its decimal text beyond; everything else is its key bytes as latin1 text. The table keeps texts as bytes.
import { KEY_BYTES_MAX, type KeyCodec } from '../../core/index.ts'
import { hashOfBytes, KeySource } from './key-heap.ts'

/** A key by which a row is found. */
export type KeyId = number | string

export interface Keys {
  /** Of which kind the keys are, where an id is what a column of that kind holds. */
  readonly own: 'integer' | 'date' | 'bigint' | 'string' | undefined
  /** How a text id is kept as bytes. */
  readonly encoding: 'utf8' | 'latin1'
  /** @throws KEY_INVALID when the key is not of its type, or too long */
  idOf(key: unknown): KeyId
  keyOf(id: KeyId): unknown
  /** Writes the bytes as which a text id is kept, and gives how many they are. */
  write(id: string, into: Buffer): number
  /** 32 bits; the upper 7 of them are its key group. Equal for equal keys, however a key is found. */
  hashOf(id: KeyId): number
  /** The key's bytes, a fresh copy. */
  bytesOf(id: KeyId): Buffer
}

/** Longer texts are encoded once, so that one beyond the limit of keys is refused. */
export const SHORT_TEXT = 200

/** Taken before the purity guards wrap the global one. */
const RealDate = Date

export function keysOf(codec: KeyCodec): Keys {
  const keys = kindOf(codec)
  const text = new KeySource(Buffer.allocUnsafeSlow(4 * KEY_BYTES_MAX))
  const write = (id: string, into: Buffer) => writeText(id, keys.encoding, into)
  return {
    ...keys,
    write,
    hashOf: id => (typeof id === 'number' ? hashOfNumber(id) : hashOfBytes(text, 0, write(id, text.bytes))),
  }
}

/** Writes the bytes of a text, and gives how many they are. */
function writeText(id: string, encoding: Keys['encoding'], into: Buffer): number {
  if (id.length > SHORT_TEXT) return into.write(id, 0, encoding)
  for (let n = 0; n < id.length; n++) {
    const code = id.charCodeAt(n)
    if (code >= 0x80) return into.write(id, 0, encoding)
    into[n] = code
  }
  return id.length
}

function kindOf(codec: KeyCodec): Omit<Keys, 'write' | 'hashOf'> {
  const bytesOf = (key: unknown) => codec.encode(key)
  switch (codec.single ? codec.columns[0]?.type.kind : undefined) {
    case 'int32':
    case 'int':
      return {
        own: 'integer',
        encoding: 'latin1',
        idOf: key => (Number.isSafeInteger(key) ? (key as number) + 0 : refused(codec, key)),
        keyOf: id => id,
        bytesOf,
      }
    case 'date':
      return {
        own: 'date',
        encoding: 'latin1',
        idOf: key => (key instanceof RealDate && !Number.isNaN(key.getTime()) ? key.getTime() : refused(codec, key)),
        keyOf: id => new RealDate(id as number),
        bytesOf: id => codec.encode(new RealDate(id as number)),
      }
    case 'string':
    case 'enum':
      return {
        own: 'string',
        encoding: 'utf8',
        idOf: key => {
          if (typeof key !== 'string' || key.length > SHORT_TEXT || !key.isWellFormed()) codec.encode(key)
          return key as string
        },
        keyOf: id => id,
        bytesOf,
      }
    case 'bigint':
      return {
        own: 'bigint',
        encoding: 'latin1',
        idOf: key => {
          if (typeof key !== 'bigint') return refused(codec, key)
          const number = Number(key)
          if (Number.isSafeInteger(number)) return number
          codec.encode(key)
          return key.toString()
        },
        keyOf: id => BigInt(id),
        bytesOf: id => codec.encode(BigInt(id)),
      }
    default:
      return {
        own: undefined,
        encoding: 'latin1',
        idOf: key => codec.encode(key).toString('latin1'),
        keyOf: id => codec.decode(Buffer.from(id as string, 'latin1')),
        bytesOf: id => Buffer.from(id as string, 'latin1'),
      }
  }
}

/** The codec says what is wrong with a key. */
function refused(codec: KeyCodec, key: unknown): never {
  codec.encode(key)
  throw new RangeError('a key that its codec takes has no number')
}

/** Two keys, hashed: where another version hashes them in another way, what was stored by hash is of no use. */
export const hashProbe = (): number => {
  const text = new KeySource(Buffer.from('mainstem'))
  return (hashOfBytes(text, 0, text.bytes.length) ^ hashOfNumber(2_654_435_769)) >>> 0
}

/** Mixes all bits of a key into 32. Integers of 32 bits have a hash each. */
export const hashOfNumber = (id: number): number =>
  mix(id === (id | 0) ? id : (id | 0) ^ Math.imul((id / 0x100000000) | 0, 0x9e3779b1))

function mix(bits: number): number {
  let hash = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
