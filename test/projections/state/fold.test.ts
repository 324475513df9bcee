// Views over pages against views over plain objects: random schemas, random writes, rows that come and go, transactions, a
// view that folds this one, checkpoints that run meanwhile, and what they give back.
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, ByteReader, ByteWriter, MainstemError, topic } from '../../../core/index.ts'
import { type Context, projection } from '../../../projections/index.ts'
import type { ProjectionDefinition } from '../../../projections/projection.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { FoldedView } from '../../../projections/view.ts'
import { Random } from '../../support/random.ts'
import { randomObject, randomText, type SchemaCase } from '../../support/random-schema.ts'
import { restoreRow } from '../../support/restore-row.ts'
import { tableSource } from '../../support/table-source.ts'

const rows = tableSource().table('rows', { key: 'key', row: z.object({ key: z.int() }) })
const writes = topic('writes', { key: 'key', value: z.object({ key: z.int(), seed: z.int() }) })

const KEYS: readonly { readonly schema: z.ZodType; readonly make: (n: number) => unknown }[] = [
  { schema: z.int(), make: n => (n - 3) * 2 ** 40 },
  { schema: z.string(), make: n => `key ${n} ${'ü'.repeat(n)}` },
  { schema: z.bigint(), make: n => 10n ** BigInt(n * 3) },
  { schema: z.date(), make: n => new Date(n * 1e9) },
  { schema: z.number(), make: n => n / 3 },
  { schema: z.object({ a: z.string(), b: z.boolean() }), make: n => ({ a: `${n >> 1}`, b: n % 2 === 0 }) },
]

/** Writes that mean the same to a draft and to a plain object. */
function scribble(state: AnyRow, fields: readonly (readonly [string, SchemaCase])[], seed: number): void {
  const random = new Random(seed)
  for (let n = random.int(4); n >= 0; n--) {
    const [name, field] = random.pick(fields)
    const from = random.pick(fields)[0]
    const value = state[name]
    if (value instanceof Map && random.next() < 0.5) {
      const whole = field.value(random)
      if (whole instanceof Map) for (const [k, v] of whole) value.set(k, v)
      if (random.next() < 0.3) value.delete([...value.keys()][0])
    } else if (random.next() < 0.2 && from === name) state[name] = state[from]
    else state[name] = field.value(random)
  }
}

/** What a row reads as after it was stored: a JSON value as JSON gives it. */
const stored = (view: FoldedView, value: AnyRow): AnyRow => {
  const writer = new ByteWriter()
  view.codec.encode(writer, value)
  return view.codec.decode(new ByteReader(writer.copy()))
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'bigint' ? `${v}n` : v instanceof Map ? [...v] : v === undefined ? 'undefined' : v,
  ).toWellFormed()

class World {
  readonly random: Random
  readonly fields: readonly (readonly [string, SchemaCase])[]
  readonly key: (typeof KEYS)[number]
  readonly definition: ProjectionDefinition
  readonly view: FoldedView
  readonly reader: FoldedView
  readonly model = new Map<number, { state: AnyRow; support: number }>()
  readonly zero: AnyRow
  position = 0

  constructor(seed: number) {
    this.random = new Random(seed)
    const { random } = this
    const made = randomObject(random)
    const cases = Object.entries(made.schema.shape).map(([name, schema]) => {
      const value = (of: Random) => made.value(of)[name]
      return [name, { schema, value, zero: value(random) }] as const
    })
    this.fields = cases
    this.zero = Object.fromEntries(cases.map(([name, { zero }]) => [name, zero]))
    const shape = Object.fromEntries(
      cases.map(([name, { schema, zero }]) => [name, defaulted(schema as z.ZodType, zero)]),
    )
    this.key = random.pick(KEYS)
    const key = this.key
    const spec = { key: key.schema, state: z.object(shape) }
    this.definition = projection('random', spec as never)
      .on(rows, ((row: { key: number }) => key.make(row.key)) as never, { add: () => {}, remove: () => {} })
      .on(
        writes,
        ((row: { key: number }) => key.make(row.key)) as never,
        ((state: AnyRow, write: { seed: number }, ctx: Context) => {
          scribble(state, this.fields, write.seed)
          if (write.seed % 11 === 0) ctx.delete()
        }) as never,
      ) as unknown as ProjectionDefinition
    const reading = projection('reading', { key: z.string(), state: z.object({ row: z.string().nullable() }) }).on(
      this.definition as never,
      ((_: unknown, id: unknown) => text(id)) as never,
      {
        add: (s: { row: string | null }, row: AnyRow) => {
          s.row = text(row)
        },
        remove: (s: { row: string | null }) => {
          s.row = null
        },
      } as never,
    ) as unknown as ProjectionDefinition
    const info = { position: 1, timeMs: 0 }
    const memory = new StateMemory()
    this.view = new FoldedView(this.definition, info, memory)
    this.reader = new FoldedView(reading, info, memory)
    this.view.consumers.push(...this.reader.routes)
  }

  transaction(): void {
    const { random, view } = this
    for (let n = random.int(6); n >= 0; n--) {
      const key = random.int(8)
      const known = this.model.get(key)
      const entry = known ?? { state: stored(view, this.zero), support: 0 }
      this.model.set(key, entry)
      const row = { key }
      switch (random.int(3)) {
        case 0:
          view.fold(view.routes[0]!, null, row, { fromRow: () => key })
          entry.support++
          break
        case 1:
          if (entry.support === 0) break
          view.fold(view.routes[0]!, row, null, { fromRow: () => key })
          entry.support--
          break
        default: {
          const seed = random.int(1e6)
          view.fold(view.routes[1]!, null, { key, seed }, { fromRow: () => key })
          scribble(entry.state, this.fields, seed)
          entry.state = stored(view, entry.state)
          entry.support++
          if (seed % 11 === 0) Object.assign(entry, { state: stored(view, this.zero), support: 0 })
        }
      }
      if (view.error) throw view.error
    }
    view.endTransaction(++this.position)
    this.reader.endTransaction(this.position)
    for (const [key, { support }] of this.model) if (support <= 0) this.model.delete(key)
  }

  expected(): Map<number, AnyRow> {
    return new Map([...this.model].map(([key, { state }]) => [key, structuredClone(state)]))
  }

  check(view: FoldedView, expected: ReadonlyMap<number, AnyRow>, what: string): void {
    for (let key = 0; key < 8; key++) {
      const row = view.get(this.key.make(key))
      if (!isDeepStrictEqual(row, expected.get(key))) expect(row, what).toEqual(expected.get(key))
    }
    expect(view.size, what).toBe(expected.size)
  }
}

function defaulted(schema: z.ZodType, zero: unknown): z.ZodType {
  return zero === undefined ? schema.optional() : schema.default(zero as never)
}

describe('a view over pages', () => {
  it.each([107, 264, ...Array.from({ length: 22 }, (_, n) => n + 1)])(
    'folds as one over plain objects (seed %i)',
    seed => {
      const world = new World(seed)
      const { view, reader, random } = world
      const disk = new Map<string, Buffer>()
      const writer = new ByteWriter()
      let cut: Map<number, AnyRow> | undefined
      for (let round = 0; round < 60; round++) {
        world.transaction()
        const now = world.expected()
        world.check(view, now, `seed ${seed}, round ${round}`)
        for (let key = 0; key < 8; key++) {
          const seen = reader.get(text(world.key.make(key)))?.['row'] ?? null
          const row = now.get(key)
          expect(seen, `what the other view sees, seed ${seed}, round ${round}`).toBe(row ? text(row) : null)
        }
        if (cut === undefined && random.next() < 0.3) {
          cut = now
          const all = random.next() < 0.4
          if (all) disk.clear()
          view.changes.begin(row => {
            const id = view.table.keys.bytesOf(view.table.idOf(row)).toString('latin1')
            if (view.table.support(row) <= 0) return void disk.delete(id)
            writer.at = 0
            writer.varint(view.table.support(row))
            const from = writer.at
            view.codec.encode(writer, view.table.toStored(row))
            const byCodec = writer.copy()
            writer.at = from
            view.table.writeStored(row, writer)
            expect(writer.copy(), `what is stored, seed ${seed}, round ${round}`).toEqual(byCodec)
            expect(all && disk.has(id), `a row stored twice, seed ${seed}, round ${round}`).toBe(false)
            disk.set(id, writer.copy())
          }, all)
        } else if (cut !== undefined) {
          let more = true
          for (let n = random.int(5); n > 0 && more; n--) more = view.changes.step()
          if (more) continue
          world.check(restored(world, disk), cut, `a checkpoint, seed ${seed}, round ${round}`)
          cut = undefined
        }
      }
      const { table } = view
      for (let key = 0; key < 8; key++) {
        const row = table.find(table.keys.idOf(world.key.make(key)))
        if (row >= 0) table.remove(row)
      }
      expect(table.heapBytes, `what is counted of no rows, seed ${seed}`).toBe(0)
      expect(table.bytes).toBeGreaterThan(0)
      table.drop()
      expect(table.bytes).toBe(0)
    },
  )
})

describe('a checkpoint under way', () => {
  it('is given up when its view stops', () => {
    const world = new World(5)
    const { view } = world
    for (let n = 0; n < 10; n++) world.transaction()
    for (const all of [false, true]) {
      const saved: number[] = []
      view.changes.begin(row => void saved.push(row), all)
      expect(view.changes.step()).toBe(true)
      view.stop(new MainstemError('HANDLER_FAILED', 'a test'))
      const { length } = saved
      expect([view.size, view.table.bytes, view.changes.step(), saved.length]).toEqual([0, 0, false, length])
      view.reset()
      for (let n = 0; n < 10; n++) world.transaction()
    }
  })
})

function restored({ definition }: World, disk: ReadonlyMap<string, Buffer>): FoldedView {
  const view = new FoldedView(definition, { position: 0, timeMs: 0 }, new StateMemory())
  for (const [id, bytes] of disk) {
    const reader = new ByteReader(bytes)
    restoreRow(view, Buffer.from(id, 'latin1'), reader.varint(), view.codec.decode(reader))
  }
  return view
}

describe('keys', () => {
  it.each(KEYS)('of $schema.def.type are found again', ({ schema, make }) => {
    const definition = projection('keys', { key: schema as z.ZodString, state: z.object({ n: z.int() }) })
    const info = { position: 1, timeMs: 0 }
    const view = new FoldedView(definition as unknown as ProjectionDefinition, info, new StateMemory())
    for (let n = 0; n < 20; n++) {
      const row = view.table.findOrAdd(view.table.keys.idOf(make(n)))
      expect(view.table.keyOf(row)).toEqual(make(n))
      expect(view.table.keys.bytesOf(view.table.idOf(row))).toEqual(view.key.encode(make(n)))
    }
    expect(() => view.table.keys.idOf(null)).toThrow(expect.objectContaining({ code: 'KEY_INVALID' }))
    expect(view.get(randomText(new Random(1)))).toBe(undefined)
  })
})
