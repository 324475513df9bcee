// What the types promise of what a projection's spec says besides key and state: of events that it publishes, errors and time, checked by tsc: each `@ts-expect-error` is a mistake that must not
// compile. The functions are never called.
import { projection, topic } from 'mainstem'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

const payments = topic('payments', { key: 'card', value: z.object({ card: z.string(), cents: z.int() }) })
const models = topic('models', { key: 'name', value: z.object({ name: z.string() }) })
const verdicts = topic('verdicts', {
  key: 'card',
  value: z.object({ card: z.string(), declined: z.boolean(), hop: z.int().default(0) }),
})
const seats = topic('seats', {
  key: 'seat',
  value: z.discriminatedUnion('type', [
    z.object({ type: z.literal('Held'), seat: z.int(), holder: z.string() }),
    z.object({ type: z.literal('Freed'), seat: z.int() }),
  ]),
})
const state = z.object({ n: z.int() })
const cards = projection('cards', { key: z.string(), state, emits: [verdicts, seats] })
const silent = projection('silent', { key: z.string(), state })

function rightUses() {
  // What a schema has a default for need not be given.
  cards.on(payments, 'card', (_card, payment, ctx) => ctx.emit(verdicts, { card: payment.card, declined: false }))
  cards.on(payments, 'card', (_card, _payment, ctx) => ctx.emit(seats, { type: 'Held', seat: 1, holder: ctx.key }))
  // A projection may fold what it emits.
  cards.on(verdicts, 'card', (_card, verdict, ctx) => ctx.emit(verdicts, { ...verdict, hop: verdict.hop + 1 }))
}

function wrongUses() {
  // @ts-expect-error models is not among emits
  cards.on(payments, 'card', (_card, _payment, ctx) => ctx.emit(models, { name: 'x' }))
  // @ts-expect-error it emits nothing
  silent.on(payments, 'card', (_card, _payment, ctx) => ctx.emit(verdicts, { card: 'a', declined: false }))
  // @ts-expect-error a verdict says whether it was declined
  cards.on(payments, 'card', (_card, _payment, ctx) => ctx.emit(verdicts, { card: 'a' }))
  // @ts-expect-error a freed seat is not held
  cards.on(payments, 'card', (_card, _payment, ctx) => ctx.emit(seats, { type: 'Held', seat: 1 }))
  // @ts-expect-error an error stops a view or is skipped
  projection('bad', { key: z.string(), state, onError: 'ignore' })
  // @ts-expect-error a number of milliseconds: minutes(10)
  projection('bad', { key: z.string(), state, ttl: '10 minutes' })
  // @ts-expect-error topics are emitted to, views are not
  projection('bad', { key: z.string(), state, emits: [silent] })
}

describe('the types of published events', () => {
  it('are checked when this file is compiled', () => {
    expect([rightUses, wrongUses].every(check => typeof check === 'function')).toBe(true)
  })
})
