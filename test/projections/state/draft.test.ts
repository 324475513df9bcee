import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type AnyRow, describeFields, KeyCodec } from '../../../core/index.ts'
import { StateMemory } from '../../../projections/state/memory.ts'
import { StateTable } from '../../../projections/state/state-table.ts'
import { zeroOf } from '../../../projections/state/zero.ts'

const schema = z.object({
  n: z.int32(),
  big: z.int(),
  share: z.number(),
  huge: z.bigint(),
  on: z.boolean(),
  status: z.enum(['placed', 'paid']).default('placed'),
  name: z.string().nullable(),
  since: z.date().nullable(),
  note: z.string().optional(),
  by: z.record(z.enum(['placed', 'paid']), z.int32()),
  address: z.object({ city: z.string(), zip: z.int32().nullable() }).nullable(),
  tags: z.array(z.object({ at: z.int() })),
  open: z.record(z.string(), z.int()),
  doc: z.json().default({ a: [1] }),
  bytes: z.instanceof(Uint8Array).nullable(),
  seen: z.map(z.string(), z.int()),
})

function open(): { rows: StateTable; draft: AnyRow; row: number } {
  const type = describeFields(schema, 'output', 'state')
  const key = new KeyCodec([{ name: 'key', type: { kind: 'int' } }], true, 'v')
  const rows = new StateTable({ name: 'v' }, type, [], key, zeroOf(schema, 'v'), new StateMemory())
  const row = rows.findOrAdd(1)
  rows.open(row)
  return { rows, draft: rows.draft, row }
}

const ZERO = {
  n: 0,
  big: 0,
  share: 0,
  huge: 0n,
  on: false,
  status: 'placed',
  name: null,
  since: null,
  note: undefined,
  by: { placed: 0, paid: 0 },
  address: null,
  tags: [],
  open: {},
  doc: { a: [1] },
  bytes: null,
  seen: new Map(),
}

describe('the accessors of a row', () => {
  it('are copied by a spread, by JSON and by structuredClone', () => {
    const { draft, rows, row } = open()
    draft['n'] = 5
    draft['name'] = 'Ada'
    draft['since'] = new Date(7)
    const expected = { ...ZERO, n: 5, name: 'Ada', since: new Date(7) }
    const copy = { ...draft }
    expect(Object.keys(copy)).toEqual(Object.keys(ZERO))
    expect(copy).toMatchObject({ n: 5, name: 'Ada', since: new Date(7), note: undefined })
    expect({ ...(copy['by'] as AnyRow) }).toEqual({ placed: 0, paid: 0 })
    expect(structuredClone(draft)).toEqual(expected)
    expect(JSON.parse(JSON.stringify({ ...draft, huge: 0 }))).toMatchObject({ n: 5, since: '1970-01-01T00:00:00.007Z' })
    expect(rows.toObject(row)).toEqual(expected)
    expect(Object.keys(draft)).toEqual(Object.keys(ZERO))
  })

  it.each([
    ['n', 2 ** 31, 'n: expected an int32, received 2147483648'],
    ['n', 'x', 'n: expected an int32, received a string'],
    ['big', 2 ** 53, 'big: expected a safe integer, received 9007199254740992'],
    ['share', Number.NaN, 'share: expected a finite number, received NaN'],
    ['huge', 5, 'huge: expected a bigint, received 5'],
    ['on', 1, 'on: expected a boolean, received 1'],
    ['status', 'lost', 'status: expected one of placed, paid, received a string'],
    ['name', undefined, 'name: expected a string, received undefined'],
    ['name', '\ud800', 'name: expected whole characters, received a string'],
    ['since', new Date(Number.NaN), 'since: expected a valid date, received Date'],
    ['by', { placed: 1 }, 'by.paid: expected an int32, received undefined'],
    ['address', { city: 'Bern', zip: 'x' }, 'address.zip: expected an int32, received a string'],
    ['tags', [{ at: 0.5 }], 'tags[].at: expected a safe integer, received 0.5'],
    ['open', { x: null }, 'open[]: expected a safe integer, received null'],
    ['doc', 5n, 'doc: expected a JSON value, received 5'],
    ['bytes', 'x', 'bytes: expected a Uint8Array, received a string'],
    ['seen', {}, 'seen: expected a Map, received Object'],
  ])('refuse for %s what is not of its type', (name, value, detail) => {
    const { draft } = open()
    expect(() => {
      draft[name] = value
    }).toThrow(expect.objectContaining({ code: 'STATE_INVALID', detail }))
  })

  it('keep every value exactly', () => {
    const { draft, rows, row } = open()
    const value = {
      n: -(2 ** 31),
      big: 2 ** 53 - 1,
      share: -1e-300,
      huge: 10n ** 40n,
      on: true,
      status: 'paid',
      name: '',
      since: new Date(-8.64e15),
      note: 'x',
      by: { placed: -1, paid: 3 },
      address: { city: 'Bern', zip: null },
      tags: [{ at: 1 }],
      open: { a: 1, constructor: 2 },
      doc: [null, { b: 'c' }],
      bytes: Uint8Array.of(1, 2),
      seen: new Map([['a', 1]]),
    }
    Object.assign(draft, value)
    expect(rows.toObject(row)).toEqual(value)
    expect(rows.isZero(row)).toBe(false)
    Object.assign(draft, ZERO)
    expect(rows.toObject(row)).toEqual(ZERO)
    expect(rows.isZero(row)).toBe(true)
  })

  it('let fixed fields be written one by one, and nested values only whole', () => {
    const { draft, rows, row } = open()
    const by = draft['by'] as Record<string, number>
    by['paid']!++
    by['paid']!++
    draft['address'] = { city: 'Bern', zip: 3000 }
    ;(draft['address'] as AnyRow)['zip'] = 3001
    const tags = [{ at: 1 }]
    draft['tags'] = tags
    tags.push({ at: 2 })
    tags[0]!.at = 9
    expect(() => (draft['tags'] as unknown[]).push({ at: 3 })).toThrow(TypeError)
    expect(() => {
      ;(draft['tags'] as { at: number }[])[0]!.at = 3
    }).toThrow(TypeError)
    draft['tags'] = [...(draft['tags'] as unknown[]), { at: 4 }]
    const bytes = Uint8Array.of(1)
    draft['bytes'] = bytes
    bytes[0] = 9
    ;(draft['bytes'] as Uint8Array)[0] = 8
    expect(rows.toObject(row)).toMatchObject({
      by: { placed: 0, paid: 2 },
      address: { city: 'Bern', zip: 3001 },
      tags: [{ at: 1 }, { at: 4 }],
      bytes: Uint8Array.of(1),
    })
    draft['address'] = null
    expect(draft['address']).toBe(null)
    expect(rows.toObject(row)['address']).toBe(null)
  })

  it('throw after the handler has returned, maps too', () => {
    const { draft, rows, row } = open()
    const by = draft['by'] as AnyRow
    const seen = draft['seen'] as Map<string, number>
    seen.set('a', 1)
    expect(() => seen.set('b', 0.5)).toThrow(expect.objectContaining({ code: 'STATE_INVALID' }))
    rows.close()
    const expired = expect.objectContaining({
      code: 'CURSOR_EXPIRED',
      message: `a row of 'v' was used after its handler returned`,
    })
    expect(() => draft['n']).toThrow(expired)
    expect(() => {
      draft['n'] = 1
    }).toThrow(expired)
    expect(() => by['paid']).toThrow(expired)
    expect(() => seen.set('b', 2)).toThrow(expired)
    expect(() => seen.clear()).toThrow(expired)
    expect(seen.get('a')).toBe(1)
    // A map that was kept is not that of the next row.
    rows.open(rows.findOrAdd(2))
    expect(() => seen.delete('a')).toThrow(expired)
    rows.close()
    expect(rows.toObject(row)['seen']).toEqual(new Map([['a', 1]]))
  })
})
