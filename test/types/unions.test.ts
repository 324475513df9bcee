// What the types promise of topics whose contract is a union, checked by tsc: each `@ts-expect-error` is a mistake that must not
// compile. The functions are never called.
import { application, projection, type Running, topic } from 'mainstem'
import { postgres } from 'mainstem/postgres'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'

const Held = z.object({ type: z.literal('Held'), show: z.string(), seat: z.int(), holder: z.string() })
const Booked = z.object({
  type: z.literal('Booked'),
  show: z.string(),
  seat: z.int(),
  cents: z.int().default(0),
  at: z.date(),
})
const bookings = topic('bookings', {
  key: ['show', 'seat'],
  value: z.discriminatedUnion('type', [Held, Booked]),
})
const clicks = topic('clicks', { key: 'page', value: z.object({ page: z.string(), ms: z.int32() }) })
const state = z.object({ n: z.int() })
const shows = projection('shows', { key: z.string(), state })

function rightUses() {
  expectTypeOf<(typeof bookings)['~input']['key']>().toEqualTypeOf<{ show: string; seat: number }>()
  shows.on(bookings, 'show', (show, event) => {
    expectTypeOf(event.type).toEqualTypeOf<'Held' | 'Booked'>()
    if (event.type === 'Booked') show.n += event.cents
    else expectTypeOf(event).toEqualTypeOf<Readonly<z.output<typeof Held>>>()
  })
  shows.on(bookings, 'show', {
    Held: (show, event, ctx) => {
      expectTypeOf(event).toEqualTypeOf<Readonly<z.output<typeof Held>>>()
      expectTypeOf(ctx.key).toEqualTypeOf<string>()
      show.n += event.seat
    },
    Booked: (show, event) => {
      expectTypeOf(event.at).toEqualTypeOf<Date>()
      show.n += event.cents
    },
  })
  shows.on(bookings, 'show', { Booked: show => void show.n++ })
  shows.on(bookings, event => (event.type === 'Held' ? event.holder : null), { Held: show => void show.n++ })
  projection('seats', {
    key: z.object({ show: z.string(), seat: z.int() }),
    state: z.object({ tags: z.map(z.string(), z.int()) }),
  }).on(bookings, { show: 'show', seat: 'seat' }, (seat, event) => void seat.tags.set(event.type, event.seat))
  application('seat-booking', { views: [shows], topics: [bookings] })
}

function wrongUses(app: Running) {
  // @ts-expect-error Booked has no holder
  shows.on(bookings, 'holder', show => void show.n++)
  // @ts-expect-error only a held one has a holder
  shows.on(bookings, 'show', (_show, event) => void event.holder)
  // @ts-expect-error there is no such variant
  shows.on(bookings, 'show', { Held: show => void show.n++, Sold: (show: { n: number }) => void show.n++ })
  // @ts-expect-error a held one has no cents
  shows.on(bookings, 'show', { Held: (_show, event) => void event.cents })
  // @ts-expect-error a handler is synchronous
  shows.on(bookings, 'show', { Held: async show => void show.n++ })
  // @ts-expect-error the events of this topic have no variants
  shows.on(clicks, 'page', { Held: (show: { n: number }) => void show.n++ })
  // @ts-expect-error the key is a column of every variant
  topic('t', { key: 'holder', value: z.discriminatedUnion('type', [Held, Booked]) })
  // @ts-expect-error a table's rows are of one object
  postgres('shop', { url: '' }).table('t', { key: 'show', row: z.discriminatedUnion('type', [Held, Booked]) })
  const at = new Date(0)
  void app.append(bookings, [{ type: 'Booked', show: 'hamlet', seat: 1, at }])
  // @ts-expect-error a held seat has a holder
  void app.append(bookings, [{ type: 'Held', show: 'hamlet', seat: 1 }])
  // @ts-expect-error there is no such variant
  void app.append(bookings, [{ type: 'Sold', show: 'hamlet', seat: 1 }])
}

const OldHeld = z.object({ type: z.literal('Held'), show: z.string(), seat: z.int(), by: z.string() })
const plain = z.object({ show: z.string(), seat: z.int(), holder: z.string() })

function upcasts() {
  bookings
    .upcast(2, z.discriminatedUnion('type', [OldHeld, Booked]), old => {
      expectTypeOf(old.type).toEqualTypeOf<'Held' | 'Booked'>()
      return old.type === 'Held' ? { type: 'Held', show: old.show, seat: old.seat, holder: old.by } : old
    })
    .upcast(1, plain, old => ({ type: 'Held', show: old.show, seat: old.seat, by: old.holder }))
  topic('flat', { key: 'show', value: plain }).upcast(1, z.discriminatedUnion('type', [Held]), old => ({
    show: old.show,
    seat: old.seat,
    holder: old.holder,
  }))
  // @ts-expect-error a variant is missing
  bookings.upcast(1, plain, old => ({ show: old.show, seat: old.seat }))
  // @ts-expect-error columns are of one object
  bookings.upcast(1, plain, { renamed: { holder: 'show' } })
  // @ts-expect-error columns are of one object
  topic('t', { key: 'show', value: plain }).upcast(1, z.discriminatedUnion('type', [Held, Booked]), { renamed: {} })
}

const tagged = topic('tagged', {
  key: 'show',
  value: z.discriminatedUnion('type', [
    Held.extend({ labels: z.array(z.enum(['vip', 'press']).nullable()).nullable() }),
    Booked.extend({ code: z.bigint().nullable() }),
  ]),
  tags: ['holder', 'labels', 'code', 'type'],
})

async function eventStore(app: Running) {
  const key = { show: 'hamlet', seat: 1 }
  for await (const { version, position, event } of app.stream(bookings, key, { backwards: true, limit: 1 })) {
    expectTypeOf(version).toEqualTypeOf<number>()
    expectTypeOf(position).toEqualTypeOf<number>()
    expectTypeOf(event.type).toEqualTypeOf<'Held' | 'Booked'>()
    if (event.type === 'Booked') expectTypeOf(event.at).toEqualTypeOf<Date>()
    else expectTypeOf(event).toEqualTypeOf<Readonly<z.output<typeof Held>>>()
    // @ts-expect-error a held one has no cents
    void event.cents
    // @ts-expect-error what happened does not change
    event.seat = 1
  }
  for await (const { event } of app.tagged(tagged, 'labels', 'vip'))
    if (event.type === 'Held') expectTypeOf(event.labels).toEqualTypeOf<readonly ('vip' | 'press' | null)[] | null>()
  expectTypeOf(await app.lastVersion(clicks, 'home')).toEqualTypeOf<number>()
  void app.tagged(tagged, 'holder', 'ada')
  void app.tagged(tagged, 'code', 1n)
  void app.tagged(tagged, 'type', 'Booked')
  void app.stream(
    tagged.upcast(1, plain, old => ({ type: 'Booked', ...old, cents: 0, at: new Date(0), code: null })),
    'a',
  )
  // @ts-expect-error the key has two columns
  void app.stream(bookings, 'hamlet')
  // @ts-expect-error a page is a string
  void app.lastVersion(clicks, 1)
  // @ts-expect-error no such label
  void app.tagged(tagged, 'labels', 'staff')
  // @ts-expect-error null is no tag
  void app.tagged(tagged, 'code', null)
  // @ts-expect-error a field, but not declared as a tag
  void app.tagged(tagged, 'show', 'hamlet')
  // @ts-expect-error the topic has no tags
  void app.tagged(clicks, 'page', 'home')
  // @ts-expect-error a date is no tag
  topic('t', { key: 'show', value: z.object({ show: z.string(), at: z.date() }), tags: ['at'] })
  void app.log.scan
  void app.log.tagged
}

describe('the types of topics with variants', () => {
  it('compile with this file, mistakes included as errors that tsc expects', () => {
    expect([rightUses, wrongUses, upcasts, eventStore].map(uses => typeof uses)).toEqual(Array(4).fill('function'))
  })
})
