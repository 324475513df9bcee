// Topics whose contract is a discriminated union: append, order, streams, evolution of each variant, upcasts over all of them.
import { topic } from 'mainstem'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type AnyRow,
  type AnyTopic,
  compileContract,
  type EmbeddedLog,
  isMainstemError,
  openEmbeddedLog,
} from '../../../core/index.ts'
import { planOf } from '../../../core/log/sealed/block-writer.ts'
import { readStored } from '../../../core/log/stored-file.ts'
import { topicsFault } from '../../../core/log/stored-type.ts'
import type { Layout } from '../../../core/log/topics.ts'
import type { StoredTopic } from '../../../core/log/versions.ts'
import { allRecords } from '../../support/log-records.ts'
import { SimulatedDisk } from '../../support/simulated-disk.ts'

type Declared = AnyTopic & { readonly key: unknown }
const contractOf = ({ name, value, key, upcasts }: Declared) => compileContract(name, 'topic', value, key, upcasts)

const seat = z.object({ show: z.string(), seat: z.int() })
const Held = seat.extend({ type: z.literal('Held'), holder: z.string() })
const Booked = seat.extend({ type: z.literal('Booked'), cents: z.int(), at: z.date() })
const Released = seat.extend({ type: z.literal('Released') })
const union = z.discriminatedUnion('type', [Held, Booked, Released])
const bookings = topic('bookings', { key: ['show', 'seat'], value: union })

const at = new Date(5)
const held = (n: number, holder = 'ada') => ({ show: 'hamlet', seat: n, type: 'Held', holder })
const booked = (n: number, cents = 100) => ({ show: 'hamlet', seat: n, type: 'Booked', cents, at })
const released = (n: number) => ({ show: 'hamlet', seat: n, type: 'Released' })

/** A log that is closed and opened again for each contract. */
class Reopened {
  readonly fileSystem = new SimulatedDisk()

  open(): Promise<EmbeddedLog> {
    return openEmbeddedLog({ path: '/log', fileSystem: this.fileSystem, segmentBytesMax: 200 })
  }

  async write(declared: Declared, ...rows: readonly unknown[]): Promise<void> {
    await using log = await this.open()
    const contract = contractOf(declared)
    const known = await log.topic(contract)
    for (const row of rows) {
      const batch = log.batch()
      batch.event(known, contract.parse(row))
      await batch.commit()
    }
  }

  /** What the contract of now makes of all records, hot and then sealed, by records, by columns and as streams. */
  async read(declared?: Declared): Promise<(AnyRow | null)[]> {
    await using log = await this.open()
    if (declared) await log.topic(contractOf(declared))
    const hot = (await allRecords(log)).map(record => record.after)
    await log.sealed()
    expect((await allRecords(log)).map(record => record.after)).toEqual(hot)
    expect(await scanned(log)).toEqual(hot)
    return hot
  }
}

/** All events of the topic as its accessor has them: with all fields of all variants, what a variant lacks being undefined. */
async function scanned(log: EmbeddedLog): Promise<AnyRow[]> {
  const known = log.findTopic('bookings')!
  const { variants, discriminator } = known.contract
  const fields = [...new Set(variants.flatMap(({ type }) => type.fields.map(({ name }) => name)))]
  const accessor = log.accessor()
  const rows: AnyRow[] = []
  for await (const batch of log.scan(known)) {
    accessor.reset(batch)
    for (const { variant, variantName } of batch.parts) expect(variants[variant]!.name).toBe(variantName)
    while (accessor.next()) {
      const { record } = accessor
      rows.push(Object.fromEntries(fields.flatMap(name => (record[name] === undefined ? [] : [[name, record[name]]]))))
      if (discriminator !== undefined) expect(variants[accessor.variant]!.name).toBe(record[discriminator])
    }
  }
  return rows
}

const refusal = (log: Reopened, declared: Declared, what: object) =>
  expect(log.read(declared)).rejects.toMatchObject({ code: 'CONTRACT_CHANGED', ...what })

describe('a topic whose contract is a union', () => {
  it('gives back records of all variants in their order, also sealed, scanned, and without the application', async () => {
    const log = new Reopened()
    const rows = [held(1), booked(1), held(2, 'bob'), released(2), held(2, 'eve'), booked(2, -5)]
    await log.write(bookings, ...rows)
    expect(await log.read(bookings)).toEqual(rows)
    expect(await log.read()).toEqual(rows)
    await using open = await log.open()
    expect(open.findTopic('bookings')!.contract.type).toEqual(contractOf(bookings).type)
  })

  it('raises the format of topics.json, which a version without variants would misread, and no sooner', async () => {
    const log = new Reopened()
    const stored = async () =>
      (await readStored(log.fileSystem, '/log', 'topics.json')) as { format: number; topics: readonly StoredTopic[] }
    await log.write(topic('plain', { key: 'seat', value: seat }), { show: 'hamlet', seat: 1 })
    expect((await stored()).format).toBe(1)
    await log.write(bookings, held(1))
    const { format, topics } = await stored()
    expect(format).toBe(2)
    expect(topics[1]!.layouts.map(({ variant }) => variant)).toEqual(
      ['Held', 'Booked', 'Released'].map(name => ({ by: 'type', name })),
    )
  })

  it('has one column group per variant in a sealed block, the discriminator a column of one value', async () => {
    const log = new Reopened()
    await log.write(bookings, ...Array.from({ length: 30 }, (_, n) => [held(n), booked(n), released(n)][n % 3]))
    await using open = await log.open()
    const known = await open.topic(contractOf(bookings))
    await open.sealed()
    const [layout] = (known as unknown as { layouts: readonly Layout[] }).layouts
    expect(planOf(layout!).columns.map(({ name }) => name)).toEqual(['show', 'seat', 'type', 'holder'])
    for await (const batch of open.scan(known)) {
      for (const part of batch.parts) {
        expect(part.column('type')).toMatchObject({ kind: 'codes', dictionary: [part.variantName] })
        if (part.variantName === 'Booked') expect(part.column('cents')).toMatchObject({ kind: 'numbers' })
        else expect(() => part.column('cents')).toThrow(RangeError)
      }
    }
  })

  it('gives the stream of a key with all its variants, hot and sealed', async () => {
    const log = new Reopened()
    await log.write(bookings, held(1), held(2), booked(1), released(2), held(2, 'eve'))
    await using open = await log.open()
    const known = await open.topic(contractOf(bookings))
    const stream = async () => {
      const events: AnyRow[] = []
      for await (const { event } of open.stream(known, { show: 'hamlet', seat: 2 })) events.push(event)
      return events
    }
    const expected = [held(2), released(2), held(2, 'eve')]
    expect(await stream()).toEqual(expected)
    await open.sealed()
    expect(await stream()).toEqual(expected)
    expect(await open.lastVersion(known, { show: 'hamlet', seat: 2 })).toBe(3)
  })

  it('refuses records of no variant, and of another than they say, naming what there is', async () => {
    await using log = await new Reopened().open()
    const known = await log.topic(contractOf(bookings))
    const batch = log.batch()
    for (const [type, said] of [
      ['Sold', "'Sold'"],
      [undefined, 'undefined'],
      [null, 'null'],
      [5, 'number'],
    ])
      expect(() => batch.event(known, { ...held(1), type })).toThrow(
        expect.objectContaining({
          code: 'RECORD_REFUSED',
          detail: `type: expected one of Held, Booked, Released, received ${said}`,
        }),
      )
    expect(() => batch.event(known, { ...held(1), type: 'Booked' })).toThrow(
      expect.objectContaining({ code: 'RECORD_REFUSED' }),
    )
    batch.event(known, held(1))
    await batch.commit()
    expect((await allRecords(log)).map(({ after }) => after)).toEqual([held(1)])
  })

  it('changes variant by variant: fields come and go, types widen, variants are added', async () => {
    const log = new Reopened()
    await log.write(bookings, held(1), booked(1), released(1))
    const wider = z.discriminatedUnion('type', [
      Released.extend({ why: z.enum(['late', 'changed']).default('late') }),
      seat.extend({ type: z.literal('Sold'), price: z.number() }),
      Booked.omit({ at: true }).extend({ note: z.string().nullable() }),
      Held,
    ])
    const declared = topic('bookings', { key: ['show', 'seat'], value: wider })
    const sold = { show: 'hamlet', seat: 4, type: 'Sold', price: 1.5 }
    await log.write(declared, sold)
    const { at: _, ...rest } = booked(1)
    const rows = [held(1), { ...rest, note: null }, { ...released(1), why: 'late' }, sold]
    expect(await log.read(declared)).toEqual(rows)
    // By columns, so also without the application.
    expect(await log.read()).toEqual(rows)
    // In another order it is the same contract.
    await using open = await log.open()
    const turned = z.discriminatedUnion('type', [...wider.options].reverse() as unknown as typeof wider.options)
    expect(open.contractChanged(contractOf(topic('bookings', { key: ['show', 'seat'], value: turned })))).toBe(false)
  })

  it('refuses at start what stored records cannot be read by, naming variant and field', async () => {
    const log = new Reopened()
    await log.write(bookings, held(1), booked(1))
    const key = ['show', 'seat'] as const
    const value = (...options: z.ZodObject[]) => z.discriminatedUnion('type', options as [z.ZodObject])
    const declare = (schema: ReturnType<typeof value> | z.ZodObject) =>
      ({ kind: 'topic', name: 'bookings', key, value: schema }) as const
    await refusal(log, declare(value(Held, Booked)), {
      message: expect.stringContaining("variant 'Released'"),
      hint: expect.stringContaining("topic('bookings', …).upcast(1, oldSchema"),
      data: { topic: 'bookings', variant: 'Released' },
    })
    await refusal(log, declare(value(Held, Booked.extend({ cents: z.string() }), Released)), {
      data: { topic: 'bookings', variant: 'Booked', field: 'cents' },
      message: expect.stringContaining('of variant Booked'),
    })
    await refusal(log, declare(value(Held, Booked, Released.extend({ why: z.string() }))), {
      data: { topic: 'bookings', variant: 'Released', field: 'why' },
    })
    await refusal(log, declare(seat), { detail: expect.stringContaining('now it is one object') })
    const kind = (name: string) => seat.extend({ kind: z.literal(name), type: z.string() })
    await refusal(log, declare(z.discriminatedUnion('kind', [kind('Held')]) as never), {
      detail: expect.stringContaining("now it is a union by 'kind' of Held"),
    })
    // Nothing was stored of the attempts.
    expect(await log.read(bookings)).toEqual([held(1), booked(1)])
  })
})

const plain = seat.extend({ holder: z.string(), cents: z.int().nullable() })
const flat = topic('bookings', { key: ['show', 'seat'], value: plain })
const toUnion = (old: z.output<typeof plain>): z.output<typeof union> => {
  const { show, seat, holder, cents } = old
  return cents === null ? { show, seat, type: 'Held', holder } : { show, seat, type: 'Booked', cents, at }
}
const toPlain = (old: z.output<typeof union>): z.output<typeof plain> => ({
  show: old.show,
  seat: old.seat,
  holder: old.type === 'Held' ? old.holder : '?',
  cents: old.type === 'Booked' ? old.cents : null,
})

describe('an upcast over a union', () => {
  const row = (n: number, cents: number | null) => ({ show: 'hamlet', seat: n, holder: 'ada', cents })

  it('makes variants of plain objects, and plain objects of variants, over several versions', async () => {
    const log = new Reopened()
    await log.write(flat, row(1, null), row(2, 7))
    const second = topic('bookings', { key: ['show', 'seat'], value: union }).upcast(1, plain, toUnion)
    await log.write(second, released(3))
    expect(await log.read(second)).toEqual([held(1), booked(2, 7), released(3)])
    const back = topic('bookings', { key: ['show', 'seat'], value: plain })
      .upcast(2, union, toPlain)
      .upcast(1, plain, toUnion)
    await log.write(back, row(4, 1))
    const rows = [row(1, null), { ...row(2, 7), holder: '?' }, { ...row(3, null), holder: '?' }, row(4, 1)]
    expect(await log.read(back)).toEqual(rows)
    // By column on from there.
    const named = plain.omit({ cents: true }).extend({ paid: z.int().nullable() })
    const last = topic('bookings', { key: ['show', 'seat'], value: named })
      .upcast(3, plain, { renamed: { cents: 'paid' } })
      .upcast(2, union, toPlain)
      .upcast(1, plain, toUnion)
    expect(await log.read(last)).toEqual(rows.map(({ cents, ...rest }) => ({ ...rest, paid: cents })))
  })

  it('handles variants that are gone, and such as turn into others', async () => {
    const log = new Reopened()
    await log.write(bookings, held(1), booked(1, 9), released(1))
    const Sold = seat.extend({ kind: z.literal('Sold'), cents: z.int() })
    const Free = seat.extend({ kind: z.literal('Free') })
    const now = topic('bookings', {
      key: ['show', 'seat'],
      value: z.discriminatedUnion('kind', [Sold, Free]),
    }).upcast(1, union, old => {
      const { show, seat } = old
      return old.type === 'Booked'
        ? { show, seat, kind: 'Sold' as const, cents: old.cents }
        : { show, seat, kind: 'Free' as const }
    })
    const free = { show: 'hamlet', seat: 1, kind: 'Free' }
    expect(await log.read(now)).toEqual([free, { show: 'hamlet', seat: 1, kind: 'Sold', cents: 9 }, free])
    await expect(log.read()).rejects.toMatchObject({ code: 'CONTRACT_UPCAST_MISSING', data: { version: 1 } })
  })

  it('may be of a union that had grown where this log never was', async () => {
    const log = new Reopened()
    const small = z.discriminatedUnion('type', [Held])
    await log.write(topic('bookings', { key: ['show', 'seat'], value: small }), held(1))
    const grown = z.discriminatedUnion('type', [Held.extend({ vip: z.boolean().default(false) }), Booked])
    const now = topic('bookings', { key: ['show', 'seat'], value: plain }).upcast(1, grown, old => ({
      show: old.show,
      seat: old.seat,
      holder: old.type === 'Held' ? `${old.holder} ${old.vip}` : '?',
      cents: null,
    }))
    expect(await log.read(now)).toEqual([{ ...row(1, null), holder: 'ada false' }])
    expect(await log.read(now)).toHaveLength(1)
  })

  it('of another union than the stored one is refused', async () => {
    const log = new Reopened()
    await log.write(bookings, held(1), booked(1, 9), released(1))
    const declare = (schema: typeof plain | typeof union, how: (old: never) => unknown = () => row(1, null)) => ({
      ...flat,
      upcasts: [{ version: 1, schema, how }],
    })
    const less = z.discriminatedUnion('type', [Held, Booked]) as unknown as typeof union
    await refusal(log, declare(less), { data: { topic: 'bookings', variant: 'Released' } })
    await refusal(log, declare(plain), { detail: expect.stringContaining('they are of a union by') })
    const other = z.discriminatedUnion('type', [Held.extend({ holder: z.int() }), Booked, Released])
    await refusal(log, declare(other as never), { data: { topic: 'bookings', variant: 'Held', field: 'holder' } })
    expect(await log.read(declare(union, toPlain as never))).toHaveLength(3)
    // Once version 2 has begun, version 1 is what it was.
    const more = z.discriminatedUnion('type', [Held, Booked, Released, seat.extend({ type: z.literal('X') })])
    await refusal(log, declare(more as never), { data: { topic: 'bookings', variant: 'X' } })
  })
})

describe('the declaration of a union', () => {
  const key = ['show', 'seat'] as const
  const declared = (value: z.ZodType, how?: { version: number; schema: never; how: never }[]) => () =>
    compileContract('bookings', 'topic', value as z.ZodDiscriminatedUnion, key, how)
  const codeOf = (call: () => unknown) => {
    try {
      call()
    } catch (error) {
      if (isMainstemError(error)) return [error.code, `${error.message} ${error.detail ?? ''} ${error.hint ?? ''}`]
      throw error
    }
    return undefined
  }

  it.each([
    ['a key column lacks', z.discriminatedUnion('type', [Held, z.object({ type: z.literal('X') })]), 'variant X'],
    [
      'a key column has another type',
      z.discriminatedUnion('type', [Held, seat.extend({ type: z.literal('X'), seat: z.string() })]),
      'int in Held, string in X',
    ],
    ['two variants of one name', z.discriminatedUnion('type', [Held, Held]), "two variants 'Held'"],
  ])('is refused where %s', (_, schema, said) => {
    expect(codeOf(declared(schema))).toEqual(['DEFINITION_INVALID', expect.stringContaining(said)])
  })

  it.each([
    ['two names', z.discriminatedUnion('type', [seat.extend({ type: z.enum(['a', 'b']) })]), 'one string literal'],
    ['a number', z.discriminatedUnion('type', [seat.extend({ type: z.literal(1) })]), 'one string literal'],
    ['no object', z.discriminatedUnion('type', [Held.readonly()]), 'not an object schema'],
    [
      'another discriminator',
      z.discriminatedUnion('type', [
        z.discriminatedUnion('kind', [seat.extend({ type: z.literal('a'), kind: z.literal('b') })]),
      ]),
      "by 'kind'",
    ],
    ['what cannot be stored', z.discriminatedUnion('type', [Held.extend({ x: z.symbol() })]), 'bookings Held.x'],
  ])('is unsupported where a variant is of %s', (_, schema, said) => {
    expect(codeOf(declared(schema))).toEqual(['CONTRACT_UNSUPPORTED', expect.stringContaining(said)])
  })

  it('takes a union in a union as one, and none for a table', () => {
    const nested = z.discriminatedUnion('type', [z.discriminatedUnion('type', [Held, Booked]), Released])
    expect(declared(nested)().variants.map(({ name }) => name)).toEqual(['Held', 'Booked', 'Released'])
    expect(codeOf(() => compileContract('shop.seats', 'table', union, key))?.[0]).toBe('CONTRACT_UNSUPPORTED')
  })

  it('has no upcast by column', () => {
    for (const [value, schema] of [
      [union, plain],
      [plain, union],
    ]) {
      const upcasts = [{ version: 1, schema: schema!, how: { renamed: {} } }]
      expect(codeOf(() => compileContract('bookings', 'topic', value!, key, upcasts))).toEqual([
        'DEFINITION_INVALID',
        expect.stringContaining('goes by column from or to a union'),
      ])
    }
  })
})

describe('topics.json', () => {
  const text = { kind: 'string' } as const
  const variant = (name: string, by = 'type') => ({ by, name })
  const layout = (id: number, name: string, more: object = {}) => ({
    id,
    fields: [
      { name: 'id', type: text },
      { name: 'type', type: { kind: 'enum', values: [name] } as const },
    ],
    variant: variant(name),
    ...more,
  })
  const plain = { id: 9, fields: [{ name: 'id', type: text }] }
  const faults: [string, StoredTopic['layouts'][number][], string | undefined][] = [
    ['is right', [layout(1, 'a'), layout(2, 'b'), layout(3, 'a')], undefined],
    ['is right over versions', [plain, layout(1, 'a', { version: 2, upcast: 'record' })], undefined],
    ['mixes variants and none', [layout(1, 'a'), plain], 'two kinds of variants'],
    [
      'mixes discriminators',
      [layout(1, 'a'), layout(2, 'b', { variant: variant('b', 'id') })],
      'two kinds of variants',
    ],
    ['has a variant that is another', [layout(1, 'a', { variant: variant('b') })], 'do not say so'],
    ['goes back', [layout(1, 'a', { version: 2 }), layout(2, 'a')], 'follow each other'],
    ['leaves a version out', [plain, layout(1, 'a', { version: 3 })], 'follow each other'],
    ['has an upcast by column', [plain, layout(1, 'a', { version: 2, upcast: { renamed: {} } })], 'by column'],
    ['has an upcast in a version', [plain, { ...plain, id: 8, upcast: 'record' }], 'within a version'],
  ]
  it.each(faults)('that %s is judged so', (_, layouts, fault) => {
    const found = topicsFault([{ id: 1, name: 'things', key: ['id'], layouts }])
    if (fault === undefined) expect(found).toBeUndefined()
    else expect(found).toContain(fault)
  })
})
