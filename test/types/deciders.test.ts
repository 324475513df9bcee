// What the types promise of deciders, checked by tsc: each `@ts-expect-error` is a mistake that must not compile. The functions that
// are never called need no application.
import { application, decider, projection, type Running } from 'mainstem'
import { createClient } from 'mainstem/client'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import type app from '../../samples/seats/app.ts'
import { seats } from '../../samples/seats/app.ts'

type Seating = typeof app
type Reason = 'seat-taken' | 'not-held'
const key = { show: 'hamlet', seat: 'A1' }
const spec = {
  key: z.string(),
  state: z.object({ n: z.int32(), tags: z.map(z.string(), z.int()) }),
  events: { Added: z.object({ n: z.int32().default(1), at: z.date().nullable() }), Cleared: z.object({}) },
  commands: { add: z.object({ n: z.int32().default(1) }), clear: z.object({}) },
  refusals: { full: 'it is full' },
} as const
const evolve = { Added: (s: { n: number }, e: { readonly n: number }) => void Object.assign(s, e), Cleared: () => {} }
const state = z.object({ n: z.int32() })

async function rightUses(running: Running<Seating>) {
  const client = createClient<Seating>('http://127.0.0.1:7070')
  const held = await client.commands.seats.hold(key, { holder: 'ada' }, { idempotencyKey: 'k1', expectedVersion: 0 })
  if (held.ok) {
    expectTypeOf<(typeof held.events)[number]['type']>().toEqualTypeOf<'SeatHeld' | 'SeatBooked' | 'SeatReleased'>()
    for (const event of held.events)
      if (event.type === 'SeatBooked') expectTypeOf(event.price_cents).toEqualTypeOf<number>()
    const { value } = await client.views.shows.get('hamlet', { after: held.token })
    expectTypeOf(value).toEqualTypeOf<{ booked: number; revenue_cents: number } | undefined>()
  } else expectTypeOf(held.refused).toEqualTypeOf<Reason>()
  const seat = await client.views.seats.get(key)
  expectTypeOf(seat.value).toEqualTypeOf<{ status: 'free' | 'held' | 'booked'; holder: string | null } | undefined>()
  client.views.seats.range({ prefix: { show: 'hamlet' } })
  await client.read({ seat: ['seats', key], show: ['shows', 'hamlet'] })
  await running.client.commands.seats.release(key, {})
  const counters = decider('counters', spec)
    .evolve({
      Added: (counter, event) => {
        expectTypeOf(event).toEqualTypeOf<{
          readonly type: 'Added'
          readonly key: string
          readonly n: number
          readonly at: Date | null
        }>()
        counter.n += event.n
        counter.tags.set(event.key, event.n)
      },
      Cleared: counter => {
        counter.n = 0
      },
    })
    .decide({
      add: (counter, command, ctx) => {
        expectTypeOf(command).toEqualTypeOf<{ readonly n: number }>()
        expectTypeOf(counter.tags).toEqualTypeOf<ReadonlyMap<string, number>>()
        return counter.n > 9 ? ctx.refuse('full') : [{ type: 'Added', n: command.n, at: new Date(ctx.nowMs) }]
      },
      clear: counter => (counter.n === 0 ? [] : { type: 'Cleared' }),
    })
  const names = projection('names', { key: z.string(), state }).on(counters, 'key', {
    Added: (name, event) => {
      expectTypeOf(event.at).toEqualTypeOf<Date | null>()
      name.n += event.n
    },
  })
  projection('all', { key: z.string(), state }).on(seats, event => (event.type === 'SeatHeld' ? event.holder : null), {
    SeatHeld: holder => void holder.n++,
  })
  const two = application('two', { deciders: [counters, seats], views: [names] })
  const both = createClient<typeof two>('http://127.0.0.1:7070')
  await both.commands.counters.add('a', {})
  await both.commands.seats.hold(key, { holder: 'ada' })
}

function wrongUses(client: Running<Seating>['client']) {
  // @ts-expect-error there is no such command
  client.commands.seats.steal
  // @ts-expect-error holder is missing
  client.commands.seats.hold(key, {})
  // @ts-expect-error the key is composite
  client.commands.seats.hold('A1', { holder: 'ada' })
  // @ts-expect-error there is no such decider
  client.commands.shows
  // @ts-expect-error a decider has no index
  client.views.seats.where({ holder: 'ada' })
  // @ts-expect-error evolve must name every event
  decider('x', spec).evolve({ Added: () => {} })
  // @ts-expect-error there is no such event
  decider('x', spec).evolve({ ...evolve, Removed: () => {} })
  // @ts-expect-error evolve is synchronous
  decider('x', spec).evolve({ ...evolve, Added: async () => {} })
  const half = decider('x', spec).evolve(evolve)
  // @ts-expect-error decide must name every command
  half.decide({ add: () => [] })
  // @ts-expect-error there is no such command
  half.decide({ add: () => [], clear: () => [], steal: () => [] })
  // @ts-expect-error there is no such event
  half.decide({ add: () => ({ type: 'Removed' }), clear: () => [] })
  // @ts-expect-error a wrong payload
  half.decide({ add: () => ({ type: 'Added', n: 'one', at: null }), clear: () => [] })
  // @ts-expect-error at is missing
  half.decide({ add: () => ({ type: 'Added', n: 1 }), clear: () => [] })
  // @ts-expect-error there is no such refusal
  half.decide({ add: (_state, _command, ctx) => ctx.refuse('empty'), clear: () => [] })
  half.decide({
    add: state => {
      // @ts-expect-error decide reads the state, it does not write it
      state.n = 1
      return []
    },
    clear: () => [],
  })
  // @ts-expect-error nor its maps
  half.decide({ add: state => state.tags.set('a', 1), clear: () => [] })
  // @ts-expect-error decide is synchronous
  half.decide({ add: async () => [], clear: () => [] })
  // @ts-expect-error a field without a value to start with
  decider('x', { ...spec, state: z.object({ name: z.string() }) })
  // @ts-expect-error half a decider is none
  application('x', { deciders: [half] })
  // @ts-expect-error nor is one without its functions
  application('x', { deciders: [decider('x', spec)] })
  const y = projection('y', { key: z.string(), state })
  // @ts-expect-error a projection takes no commands
  application('x', { deciders: [y] })
  // @ts-expect-error seats has no such event
  y.on(seats, 'show', { SeatSold: () => {} })
  // @ts-expect-error not every event has a holder, so it is the key of none
  y.on(seats, 'holder', { SeatHeld: () => {} })
  // @ts-expect-error events are emitted by commands only
  projection('z', { key: z.string(), state, emits: [seats] })
}

describe('the types of deciders', () => {
  it('are checked by the compiler', () => {
    expect([rightUses, wrongUses].map(uses => typeof uses)).toEqual(['function', 'function'])
  })
})
