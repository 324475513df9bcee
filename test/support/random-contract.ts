// Random contracts as people write them (refinements, formats, defaults, nesting), with values that are valid, nearly valid,
// or strange.
import { minorUnits } from 'mainstem'
import { z } from 'zod'
import type { RecordSchema } from '../../core/index.ts'
import type { Random } from './random.ts'
import { randomBigint, randomDate, randomFloat, randomInteger, randomText, type SchemaCase } from './random-schema.ts'

const uuid = (random: Random): string =>
  `3f2504e0-4f89-41d3-9a0c-0305e82c${random.int(0x10000).toString(16).padStart(4, '0')}`
const shortText = (random: Random): string =>
  Array.from({ length: random.int(6) }, () => random.pick(['a', 'é', '👋🏽', '\ud83d', '\udc4b'])).join('')
const decimal = (random: Random): string => (random.int(1e6) / 100).toFixed(random.int(4))

const LEAVES: readonly ((random: Random) => SchemaCase)[] = [
  () => ({ schema: z.int32(), value: random => randomInteger(random) | 0 }),
  () => ({ schema: z.int(), value: randomInteger }),
  () => ({ schema: z.number(), value: randomFloat }),
  () => ({ schema: z.uint32(), value: random => randomInteger(random) >>> 0 }),
  () => ({ schema: z.float32(), value: randomFloat }),
  () => ({ schema: z.number().int().nonnegative(), value: random => Math.abs(randomInteger(random)) }),
  of => {
    const [min, max] = [randomInteger(of), randomInteger(of)].sort((a, b) => a - b) as [number, number]
    return { schema: z.int().min(min).max(max), value: random => random.pick([min, max, min + random.int(5), max + 1]) }
  },
  () => ({ schema: z.number().gt(0).lt(1), value: random => random.next() }),
  () => ({ schema: z.int().positive().multipleOf(5), value: random => 5 * random.int(1000) }),
  () => ({ schema: z.number().multipleOf(0.01), value: random => random.int(1000) / 100 }),
  () => ({ schema: z.number().refine(n => n % 2 === 0), value: random => 2 * random.int(10) }),
  () => ({ schema: z.bigint(), value: randomBigint }),
  () => ({ schema: z.int64().nonnegative(), value: random => BigInt(random.int(1000)) ** 7n }),
  () => ({ schema: z.bigint().multipleOf(3n).max(900n), value: random => 3n * BigInt(random.int(310)) }),
  () => ({ schema: z.boolean(), value: random => random.next() < 0.5 }),
  () => ({ schema: z.date(), value: randomDate }),
  () => ({ schema: z.date().min(new Date(0)).max(new Date(1e12)), value: random => new Date(random.int(1.1e12)) }),
  () => ({ schema: z.string(), value: randomText }),
  of => ({ schema: z.string().min(of.int(5)).max(of.int(6)), value: shortText }),
  of => ({ schema: z.string().length(of.int(5)), value: shortText }),
  () => ({ schema: z.string().nonempty(), value: shortText }),
  () => ({ schema: z.string().trim().toLowerCase(), value: random => `  A${randomText(random)} ` }),
  () => ({ schema: z.string().regex(/^a/), value: shortText }),
  () => ({ schema: z.string().startsWith('a'), value: shortText }),
  () => ({ schema: z.uuid(), value: uuid }),
  () => ({ schema: z.iso.datetime(), value: random => randomDate(random).toISOString() }),
  () => ({ schema: z.email(), value: random => `a${random.int(99)}@example.org` }),
  () => ({ schema: z.enum(['red', 'green', "bl'ue"]), value: random => random.pick(['red', 'green', "bl'ue"]) }),
  () => ({ schema: z.enum('abcdefghijkl'.split('')), value: random => random.pick('abcdefghijkl'.split('')) }),
  () => ({ schema: z.literal('one'), value: () => 'one' }),
  () => ({ schema: z.literal([1, null, 'x']), value: random => random.pick([1, null, 'x']) }),
  () => ({ schema: z.instanceof(Uint8Array), value: random => Uint8Array.of(random.int(256)) }),
  () => ({ schema: z.json(), value: random => random.pick([null, 1, [{ a: 'b' }], 's']) }),
  () => ({ schema: z.unknown(), value: random => random.pick([null, 1, {}]) }),
  () => ({ schema: z.union([z.string(), z.int()]), value: random => random.pick(['s', 5]) }),
  () => ({ schema: minorUnits(2), value: decimal }),
  () => ({ schema: minorUnits(2, { bigint: true }), value: decimal }),
  () => ({ schema: z.coerce.number(), value: random => String(random.int(99)) }),
  () => ({ schema: z.string().transform(text => text.length), value: randomText }),
  () => ({ schema: z.int().catch(7), value: randomInteger }),
  () => ({ schema: z.string().transform(text => (text === '' ? undefined : text)), value: shortText }),
]

const some = (random: Random, chance: number): boolean => random.next() < chance

function wrapped(random: Random, inner: SchemaCase): SchemaCase {
  const { schema, value } = inner
  const fallback = value(random)
  const orAbsent = (of: Random) => (some(of, 0.3) ? undefined : value(of))
  switch (random.int(8)) {
    case 0:
      return { schema: schema.nullable(), value: of => (some(of, 0.3) ? null : value(of)) }
    case 1:
      return { schema: schema.optional(), value: orAbsent }
    case 2:
      return { schema: schema.nullish(), value: of => (some(of, 0.3) ? null : orAbsent(of)) }
    case 3:
      // A default is not checked by zod: an input serves where it is not transformed, and else shows that it is not.
      return { schema: schema.default(fallback as never), value: orAbsent }
    case 4:
      return { schema: schema.default(() => fallback as never), value: orAbsent }
    case 5:
      return { schema: z.exactOptional(schema), value }
    case 6:
      return { schema: schema.readonly(), value }
    default:
      return { schema: schema.nullish().refine(given => given !== null), value: orAbsent }
  }
}

const many = <T>(random: Random, make: () => T): T[] => Array.from({ length: random.int(4) }, make)

function container(random: Random, depth: number): SchemaCase {
  const inner = randomField(random, depth - 1)
  switch (random.int(8)) {
    case 7:
      return randomUnion(random, depth - 1)
    case 0:
      return { schema: z.array(inner.schema), value: of => many(of, () => inner.value(of)) }
    case 1:
      return {
        schema: z.array(inner.schema).min(random.int(2)).max(2),
        value: of => many(of, () => inner.value(of)),
      }
    case 2:
      return {
        schema: z.record(z.string(), inner.schema),
        value: of => Object.fromEntries(many(of, () => [randomText(of), inner.value(of)])),
      }
    case 3:
      return {
        schema: z.record(z.enum(['p', 'q']), inner.schema),
        value: of => ({ q: inner.value(of), p: inner.value(of) }),
      }
    case 4: {
      const key = randomField(random, 0)
      return {
        schema: z.map(key.schema, inner.schema),
        value: of => new Map(many(of, () => [key.value(of), inner.value(of)])),
      }
    }
    default:
      return randomContract(random, depth - 1)
  }
}

export function randomField(random: Random, depth: number): SchemaCase {
  const field = depth > 0 && some(random, 0.35) ? container(random, depth) : random.pick(LEAVES)(random)
  const once = some(random, 0.4) ? wrapped(random, field) : field
  return some(random, 0.1) ? wrapped(random, once) : once
}

const NAMES = ['id', 'name', '7', "it's", 'ünï', 'constructor', 'toString', 'a-b', '0', 'return']

interface ContractCase<S> {
  readonly schema: S
  readonly value: SchemaCase['value']
}

/** A union of contracts; now and then with a variant of several names, of an absent one, or a union in it. */
export function randomUnion(random: Random, depth = 3): ContractCase<z.ZodDiscriminatedUnion> {
  const variants = [...VARIANTS].slice(0, 1 + random.int(VARIANTS.length)).map(name => {
    const { schema, value } = randomContract(random, depth)
    const [other, rare] = [`${name}2`, random.int(20)]
    const type = rare === 0 ? z.enum([name, other]) : rare === 1 ? z.literal(name).default(name) : z.literal(name)
    const named = (of: Random) => (rare === 0 ? of.pick([name, other]) : name)
    return {
      schema: schema.safeExtend({ type }),
      value: (of: Random) => ({ type: named(of), ...(value(of) as object) }),
    }
  })
  const options = variants.map(({ schema }) => schema) as unknown as [z.ZodObject, ...z.ZodObject[]]
  const union = z.discriminatedUnion('type', options)
  const schemas = [
    union.refine(row => Object.keys(row).length !== 3),
    z.discriminatedUnion('type', [union, z.object({ type: z.literal('last'), n: z.int() })]),
    z.discriminatedUnion('type', [z.object({ type: z.literal(1), n: z.int() }), ...options]),
  ]
  return {
    schema: (some(random, 0.2) ? random.pick(schemas) : union) as unknown as z.ZodDiscriminatedUnion,
    value: of => (some(of, 0.05) ? { type: of.pick(['last', 1, 'other', null]), n: 1 } : of.pick(variants).value(of)),
  }
}

const VARIANTS = ['Held', "it's", 'constructor', 'Ün ï']

export const randomRecord = (random: Random): ContractCase<RecordSchema> =>
  some(random, 0.3) ? randomUnion(random) : randomContract(random)

export function randomContract(random: Random, depth = 3): ContractCase<z.ZodObject> {
  const names = NAMES.filter(() => some(random, 0.4))
  const fields = names.map(name => [name, randomField(random, depth)] as const)
  const plain = z.object(Object.fromEntries(fields.map(([name, field]) => [name, field.schema])))
  const schemas = [
    z.strictObject(plain.shape),
    z.looseObject(plain.shape),
    plain.refine(row => Object.keys(row).length !== 2),
    plain.catchall(z.int()),
  ]
  return {
    schema: some(random, 0.1) ? random.pick(schemas) : plain,
    value: of =>
      Object.fromEntries(
        fields
          .map(([name, field]) => [name, field.value(of)] as const)
          .filter(([, value]) => value !== undefined || some(of, 0.5)),
      ),
  }
}

class Odd {
  id = 1
  name = 'n'
}

const withHole = <T>(values: readonly T[]): T[] => {
  const copy = [...values]
  delete copy[0]
  return copy
}

const STRANGE: readonly unknown[] = [
  null,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  0,
  -0,
  1,
  -1,
  2 ** 31,
  2 ** 53,
  -(2 ** 60),
  1e308,
  0.5,
  2n ** 63n,
  '',
  '5',
  'one',
  '\ud800',
  '👋🏽👋🏽',
  '__proto__',
  true,
  new Date(Number.NaN),
  new Date(5),
  [],
  withHole([1, 2]),
  new Array(2),
  {},
  new Odd(),
  Object.create(null),
  Object.create({ id: 5, name: 'inherited', 7: 7 }),
  Object.assign(Object.create(null), { p: 1, q: 2 }),
  JSON.parse('{ "__proto__": { "id": 1 }, "p": 1, "q": 2 }'),
  { constructor: 1 },
  { constructor: undefined },
  { constructor: () => 1 },
  { [Symbol('s')]: 1 },
  { p: 1, q: 'x', r: 3 },
  { length: 1, 0: 'a' },
  new Map(),
  new Map<unknown, unknown>([[undefined, null]]),
  new Set([1]),
  new Uint8Array(1),
  Buffer.from('a'),
  () => 1,
  Symbol('x'),
  new Number(5),
  new String('one'),
]

/** The value with one place in it changed: something strange there, gone, more, or of another prototype. */
export function disturbed(random: Random, value: unknown, depth = 4): unknown {
  if (depth > 0 && some(random, 0.7)) {
    if (Array.isArray(value) && value.length > 0) {
      const at = random.int(value.length)
      if (some(random, 0.1)) return withHole(value)
      return value.map((item, n) => (n === at ? disturbed(random, item, depth - 1) : item))
    }
    if (value instanceof Map && value.size > 0) {
      const at = random.int(value.size)
      return new Map([...value].map(([k, v], n) => (n === at ? [k, disturbed(random, v, depth - 1)] : [k, v])))
    }
    if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
      return disturbedObject(random, value as Record<string, unknown>, depth)
  }
  return strange(random)
}

const [ofA, ofB] = [z.object({ type: z.literal('a'), p: z.int() }), z.object({ type: z.literal('b') })]
const UNIONS: readonly z.ZodDiscriminatedUnion[] = [
  z.discriminatedUnion('type', [ofA, ofB]),
  z.discriminatedUnion('type', [ofA, ofB]).refine(row => row.type === 'a'),
  z.discriminatedUnion('type', [ofA, z.strictObject(ofB.shape)]),
  z.discriminatedUnion('type', [ofA.readonly(), ofB]),
  z.discriminatedUnion('type', [
    z.discriminatedUnion('type', [ofA, ofB]),
    z.object({ type: z.literal(['c', 1, null]) }),
  ]),
  z.discriminatedUnion('type', [ofA, z.object({ type: z.literal('b').optional() })]),
  z.discriminatedUnion('type', [ofA, z.object({ type: z.literal('b').default('b') })]),
  z.discriminatedUnion('type', [ofA, z.object({ type: z.enum(['b', 'constructor']) })], { unionFallback: true }),
  // Two variants of one name: zod says so at the first record.
  z.discriminatedUnion('type', [ofA, z.object({ type: z.literal('a') })]),
] as unknown as readonly z.ZodDiscriminatedUnion[]

const field = (schema: z.ZodType): z.ZodObject => z.object({ field: schema })

/** Each kind of schema by itself, bare and in what can hold it, with every strange value: what random ones rarely hit. */
export function* strangeCases(random: Random): Generator<readonly [RecordSchema, readonly unknown[]]> {
  const inField = STRANGE.map(value => ({ field: value }))
  for (const leaf of LEAVES) {
    const { schema, value } = leaf(random)
    const inputs = [
      ...inField,
      {},
      { field: undefined },
      { field: value(random) },
      Object.create({ field: value(random) }),
    ]
    yield [field(schema), inputs]
    yield [field(schema.optional()), inputs]
    yield [field(schema.default(value(random) as never)), inputs]
  }
  const many = [
    ...inField,
    ...STRANGE.map(value => ({ field: [value] })),
    ...STRANGE.map(value => ({ field: { p: value } })),
  ]
  const small = [z.int(), z.unknown(), z.string().optional(), z.object({})]
  for (const inner of small) {
    const maps = STRANGE.map(value => ({ field: new Map([[value, value]]) }))
    yield [field(z.array(inner)), many]
    yield [field(z.array(inner).min(1).max(1)), many]
    yield [field(z.record(z.string(), inner)), many]
    yield [field(z.record(z.enum(['p', 'q']), inner.optional())), many]
    yield [field(z.map(inner, inner)), [...many, ...maps]]
    yield [field(z.object({ p: inner.optional() })), [...many, ...STRANGE]]
    yield [z.object({ p: inner.optional() }), STRANGE]
    yield [field(z.object({ p: inner }).refine(row => row.p !== 1)), many]
    yield [field(z.array(inner).refine(items => items.length !== 1)), many]
    yield [field(z.object({ p: inner }).readonly()), many]
  }
  const variant = (type: unknown) => [{ type, p: 1 }, { type }, { p: 1, type }, Object.create({ type, p: 1 })]
  const variants = [...STRANGE, 'a', 'b', 'c', 'constructor'].flatMap(variant)
  for (const union of UNIONS) {
    yield [union, [...STRANGE, ...variants]]
    yield [field(union), [...STRANGE, ...variants].map(value => ({ field: value }))]
    yield [field(union.optional()), [{}, ...variants.map(value => ({ field: value }))]]
  }
}

const strange = (random: Random): unknown => (some(random, 0.1) ? undefined : random.pick(STRANGE))

function disturbedObject(random: Random, value: Record<string, unknown>, depth: number): unknown {
  const copy = { ...value }
  const names = Object.keys(copy)
  const name = names.length > 0 ? random.pick(names) : 'id'
  switch (random.int(8)) {
    case 0:
      delete copy[name]
      return copy
    case 1:
      return { extra: 1, ...copy, [random.pick(NAMES)]: strange(random) }
    case 2:
      return Object.create(value, some(random, 0.5) ? { [name]: { value: copy[name], enumerable: true } } : {})
    case 3:
      return Object.fromEntries(Object.entries(copy).reverse())
    case 4:
      return Object.assign(random.pick([new Odd(), Object.create(null), { [Symbol('s')]: 1 }]), copy)
    case 5:
      return {
        ...copy,
        get [name]() {
          return copy[name]
        },
      }
    default:
      copy[name] = disturbed(random, copy[name], depth - 1)
      return copy
  }
}
