// The generated validator against zod itself: the same accepted, the same refused, the same output.
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileParser, isMainstemError, minorUnits, type RecordSchema } from '../../../core/index.ts'
import { Random } from '../../support/random.ts'
import { disturbed, randomRecord, strangeCases } from '../../support/random-contract.ts'

/** Stricter than toEqual: order of keys, absent against undefined, -0, prototypes, frozen or not. */
function difference(left: unknown, right: unknown, path = ''): string | undefined {
  if (Object.is(left, right)) return undefined
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null)
    return `${path}: ${String(left)} and ${String(right)}`
  if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return `${path}: prototypes`
  if (Object.isFrozen(left) !== Object.isFrozen(right)) return `${path}: frozen`
  if (left instanceof Date) return Object.is(left.getTime(), (right as Date).getTime()) ? undefined : `${path}: dates`
  if (left instanceof Map) return difference([...left], [...(right as typeof left)], `${path} entries`)
  const [names, others] = [Reflect.ownKeys(left), Reflect.ownKeys(right)]
  if (names.length !== others.length || names.some((name, n) => name !== others[n]))
    return `${path}: keys ${names.map(String).join()} and ${others.map(String).join()}`
  for (const name of names) {
    const found = difference(Reflect.get(left, name), Reflect.get(right, name), `${path}.${String(name)}`)
    if (found) return found
  }
  return undefined
}

type Outcome = { readonly value: unknown } | { readonly refused: string } | { readonly threw: string }

function outcome(parse: () => unknown): Outcome {
  try {
    return { value: parse() }
  } catch (error) {
    if (isMainstemError(error) && error.code === 'RECORD_REFUSED') return { refused: error.detail ?? '' }
    return { threw: String(error) }
  }
}

function compare(schema: RecordSchema, parse: (input: unknown) => unknown, input: unknown): 'accepted' | 'refused' {
  const byZod = outcome(() => schema.parse(input))
  const ours = outcome(() => parse(input))
  if ('value' in byZod !== 'value' in ours) throw new Error(`zod ${Object.keys(byZod)}, we ${JSON.stringify(ours)}`)
  if (!('value' in byZod && 'value' in ours)) return 'refused'
  const found = difference(ours.value, byZod.value)
  if (found) throw new Error(found)
  return 'accepted'
}

const SEED = Number(process.env['MAINSTEM_SEED'] ?? 20_261)
const SCHEMAS = Number(process.env['MAINSTEM_CASES'] ?? 200)
const VALUES = 15

/** Text, so that a failing case can be read. */
const shown = (input: unknown): string =>
  JSON.stringify(input, (_, value) => (typeof value === 'bigint' ? `${value}n` : value)) ?? String(input)

describe('a generated validator', () => {
  it('takes, refuses and gives what zod does, over random contracts and values', () => {
    const counts = { accepted: 0, refused: 0 }
    for (let n = 0; n < SCHEMAS; n++) {
      const random = new Random(SEED + n)
      const { schema, value } = randomRecord(random)
      const parse = compileParser(schema, 'random')
      for (let m = 0; m < VALUES; m++) {
        let input = value(random)
        for (let changes = m % 3; changes > 0; changes--) input = disturbed(random, input)
        try {
          counts[compare(schema, parse, input)]++
        } catch (error) {
          throw new Error(`MAINSTEM_SEED=${SEED + n} MAINSTEM_CASES=1, value ${m} ${shown(input)}`, { cause: error })
        }
      }
    }
    // Both happen often enough to mean something.
    expect(counts.accepted).toBeGreaterThan(SCHEMAS * VALUES * 0.2)
    expect(counts.refused).toBeGreaterThan(SCHEMAS * VALUES * 0.2)
  })

  it('does so for every kind of schema and every strange value', () => {
    let count = 0
    for (const [schema, inputs] of strangeCases(new Random(SEED))) {
      const parse = compileParser(schema, 'strange')
      for (const [n, input] of inputs.entries()) {
        try {
          compare(schema, parse, input)
          count++
        } catch (error) {
          throw new Error(`${JSON.stringify(z.toJSONSchema(schema, { unrepresentable: 'any' }))}, value ${n}`, {
            cause: error,
          })
        }
      }
    }
    expect(count).toBeGreaterThan(5000)
  })

  it('does without zod where the contract has none but types and simple bounds', () => {
    const schema = z.object({
      id: z.int().positive(),
      kind: z.enum(['a', 'b']),
      at: z.date().min(new Date(0)),
      name: z.string().min(1).max(20).nullable(),
      price: minorUnits(2),
      size: z.number().default(1),
      note: z.string().optional(),
      lines: z.array(z.object({ sku: z.string(), count: z.int32().min(1) })),
      tags: z.record(z.string(), z.boolean()),
      sums: z.map(z.string(), z.bigint()),
    })
    const parse = compileParser(schema, 'orders')
    Object.defineProperty(schema, 'safeParse', {
      value: () => {
        throw new Error('zod was asked')
      },
    })
    const at = new Date()
    const row = {
      id: 1,
      kind: 'a',
      at,
      name: 'é',
      price: '12.5',
      lines: [{ sku: 's', count: 2, more: 1 }],
      tags: { x: true },
    }
    expect(parse({ ...row, sums: new Map([['k', 1n]]) })).toStrictEqual({
      ...row,
      price: 1250,
      size: 1,
      lines: [{ sku: 's', count: 2 }],
      sums: new Map([['k', 1n]]),
    })
    expect(() => parse({ ...row, sums: new Map([['k', 1]]) })).toThrow('zod was asked')
  })

  it('goes by the discriminator of a union without zod, in the contract and in its fields', () => {
    const place = z.discriminatedUnion('at', [
      z.object({ at: z.literal('shop'), nr: z.int() }),
      z.object({ at: z.literal('home'), street: z.string() }),
    ])
    const schema = z.discriminatedUnion('type', [
      z.object({ type: z.literal('Held'), seat: z.int(), place }),
      z.object({ type: z.literal('Booked'), seat: z.int(), price: minorUnits(2) }),
    ])
    const parse = compileParser(schema, 'bookings')
    const { safeParse } = schema
    const asked = () => {
      throw new Error('zod was asked')
    }
    Object.defineProperty(schema, 'safeParse', { value: asked, configurable: true })
    Object.defineProperty(place, 'safeParse', { value: asked })
    const held = { type: 'Held', seat: 1, place: { at: 'home', street: 's' } }
    expect(parse({ ...held, more: 1 })).toStrictEqual(held)
    expect(parse({ type: 'Booked', seat: 2, price: '1.50' })).toStrictEqual({ type: 'Booked', seat: 2, price: 150 })
    expect(() => parse({ ...held, type: 'Sold' })).toThrow('zod was asked')
    Object.defineProperty(schema, 'safeParse', { value: safeParse })
    const refused = (input: unknown, detail: string) =>
      expect(() => parse(input)).toThrow(expect.objectContaining({ code: 'RECORD_REFUSED', detail }))
    refused({ ...held, type: 'Sold' }, "type: invalid discriminator value. Expected 'Held' | 'Booked'")
    refused({ type: 'Booked', seat: 1.5, price: '1' }, 'seat: expected int, received number')
  })

  it('gives each record its own default', () => {
    const parse = compileParser(z.object({ tags: z.array(z.string()).default([]) }), 'things')
    expect(parse({})['tags']).not.toBe(parse({})['tags'])
  })

  it('says what zod says of every wrong field', () => {
    const parse = compileParser(z.object({ id: z.int().min(5), inner: z.object({ name: z.string() }) }), 'things')
    expect(() => parse({ id: 1, inner: { name: null } })).toThrow(
      expect.objectContaining({
        code: 'RECORD_REFUSED',
        detail: 'id: too small: expected number to be >=5; inner.name: expected string, received null',
      }),
    )
  })

  it('asks zod for objects with refinements of their own, strict ones, and what is no object', () => {
    const strict = compileParser(z.strictObject({ id: z.int() }), 'strict')
    expect(strict({ id: 1 })).toEqual({ id: 1 })
    expect(() => strict({ id: 1, more: 2 })).toThrow(expect.objectContaining({ code: 'RECORD_REFUSED' }))
    const pair = compileParser(
      z.object({ a: z.int(), b: z.int() }).refine(row => row.a < row.b, 'a before b'),
      'pair',
    )
    expect(() => pair({ a: 2, b: 1 })).toThrow(expect.objectContaining({ detail: 'a before b' }))
    for (const input of [null, undefined, [], 'text', 5])
      expect(() => pair(input)).toThrow(expect.objectContaining({ code: 'RECORD_REFUSED' }))
  })
})
