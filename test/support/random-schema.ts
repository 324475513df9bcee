// Random schemas, and random values of them.
import { z } from 'zod'
import type { AnyRow } from '../../core/index.ts'
import type { Random } from './random.ts'

export interface SchemaCase {
  readonly schema: z.ZodType
  readonly value: (random: Random) => unknown
}

const TEXTS = ['', 'a', 'naïve', '日本語', '👋🏽', 'x'.repeat(43), 'é'.repeat(43), 'long '.repeat(200), '\u0000', '"\\']
const INTEGERS = [
  0,
  1,
  -1,
  63,
  64,
  -64,
  127,
  128,
  8191,
  8192,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  -(2 ** 53 - 1),
]
const FLOATS = [0, 0.1, -1.5, 1e300, -1e-300, 5e-324, Number.MAX_VALUE]
const BIGINTS = [0n, 1n, -1n, 2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n), 10n ** 40n]

export const randomText = (random: Random): string =>
  random.pick(TEXTS) + (random.next() < 0.3 ? String(random.int(1e6)) : '')

export const randomInteger = (random: Random): number =>
  random.next() < 0.5 ? random.pick(INTEGERS) : Math.floor((random.next() - 0.5) * 2 ** random.int(54))

export const randomBigint = (random: Random): bigint =>
  random.next() < 0.5 ? random.pick(BIGINTS) : BigInt(randomInteger(random)) ** BigInt(random.int(4))

export const randomFloat = (random: Random): number =>
  random.next() < 0.3 ? random.pick(FLOATS) : (random.next() - 0.5) * 10 ** random.int(20)

export const randomDate = (random: Random): Date =>
  new Date(random.next() < 0.2 ? random.pick([0, -8.64e15, 8.64e15]) : Math.floor((random.next() - 0.5) * 4e12))

export const randomBytes = (random: Random): Uint8Array =>
  Uint8Array.from({ length: random.int(300) }, () => random.pick([0, 255, random.int(256)]))

const NAMES = ['id', 'name', 'with space', "it's", 'ünï', 'constructor', 'toString', 'a-b', '0', '$x', 'return']

const SCALARS: readonly SchemaCase[] = [
  { schema: z.int32(), value: random => randomInteger(random) | 0 },
  { schema: z.int(), value: randomInteger },
  { schema: z.number(), value: randomFloat },
  { schema: z.bigint(), value: randomBigint },
  { schema: z.boolean(), value: random => random.next() < 0.5 },
  { schema: z.date(), value: randomDate },
  { schema: z.string(), value: randomText },
  { schema: z.enum(['red', 'green', "bl'ue"]), value: random => random.pick(['red', 'green', "bl'ue"]) },
  { schema: z.instanceof(Uint8Array), value: randomBytes },
  { schema: z.json(), value: random => random.pick([null, 1, 'x', [1, { a: null }], { k: ['v'] }, false]) },
  { schema: z.union([z.string(), z.int()]), value: random => random.pick(['s', 5]) },
]

const many = <T>(random: Random, make: () => T): T[] => Array.from({ length: random.int(4) }, make)

export function randomSchema(random: Random, depth = 3): SchemaCase {
  if (depth === 0 || random.next() < 0.5) return random.pick(SCALARS)
  const inner = randomSchema(random, depth - 1)
  switch (random.int(7)) {
    case 0:
      return { schema: inner.schema.nullable(), value: of => (of.next() < 0.3 ? null : inner.value(of)) }
    case 1:
      return { schema: inner.schema.optional(), value: of => (of.next() < 0.3 ? undefined : inner.value(of)) }
    case 2:
      return { schema: z.array(inner.schema), value: of => many(of, () => inner.value(of)) }
    case 3:
      return {
        schema: z.map(z.string(), inner.schema),
        value: of => new Map(many(of, () => [randomText(of), inner.value(of)])),
      }
    case 4:
      return {
        schema: z.record(z.string(), inner.schema),
        value: of => Object.fromEntries(many(of, () => [randomText(of), inner.value(of)])),
      }
    case 5:
      return {
        schema: z.record(z.enum(['p', 'q']), inner.schema),
        value: of => ({ p: inner.value(of), q: inner.value(of) }),
      }
    default:
      return randomObject(random, depth - 1)
  }
}

export function randomObject(random: Random, depth = 3): { schema: z.ZodObject; value: (random: Random) => AnyRow } {
  const names = NAMES.filter(() => random.next() < 0.4)
  const fields = (names.length > 0 ? names : ['id']).map(name => [name, randomSchema(random, depth)] as const)
  return {
    schema: z.object(Object.fromEntries(fields.map(([name, field]) => [name, field.schema]))),
    value: of => Object.fromEntries(fields.map(([name, field]) => [name, field.value(of)])),
  }
}
