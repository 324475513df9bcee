// The code of docs/contracts.md, compiled: test/contracts-page.test.ts compares, and runs it.
import { projection, topic } from 'mainstem'
import { z } from 'zod'

export const purchases = topic('purchases', {
  key: 'customer',
  value: z.object({ customer: z.string(), cents: z.int(), at: z.date().default(() => new Date()) }),
})

const seat = z.object({ show: z.string(), seat: z.int() })
const Held = seat.extend({ type: z.literal('Held'), holder: z.string() })
const Booked = seat.extend({ type: z.literal('Booked'), holder: z.string(), cents: z.int() })
const Released = seat.extend({ type: z.literal('Released') })

export const bookings = topic('bookings', {
  key: ['show', 'seat'],
  value: z.discriminatedUnion('type', [Held, Booked, Released]),
})

export const takings = projection('takings', {
  key: z.string(),
  state: z.object({ seats: z.int32(), cents: z.int() }),
}).on(bookings, 'show', (show, event) => {
  if (event.type !== 'Booked') return
  show.seats++
  show.cents += event.cents
})

export const holders = projection('holders', {
  key: z.string(),
  state: z.object({ held: z.int32(), cents: z.int() }),
}).on(bookings, event => ('holder' in event ? event.holder : null), {
  Held: holder => {
    holder.held++
  },
  Booked: (holder, event) => {
    holder.held--
    holder.cents += event.cents
  },
})

export const first = z.object({ show: z.string(), seat: z.int(), who: z.string(), euros: z.number().nullable() })
export const second = first.omit({ who: true }).extend({ holder: z.string() })

export const bookingsOfThreeVersions = topic('bookings', {
  key: ['show', 'seat'],
  value: z.discriminatedUnion('type', [Held, Booked, Released]),
})
  .upcast(2, second, ({ show, seat, holder, euros }) =>
    euros === null
      ? { type: 'Held', show, seat, holder }
      : { type: 'Booked', show, seat, holder, cents: Math.round(euros * 100) },
  )
  .upcast(1, first, { renamed: { who: 'holder' } })
