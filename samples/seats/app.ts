// Seats of shows: held, booked, released. A decider takes commands on each seat; a view counts what is booked per show.
import { application, decider, projection } from 'mainstem'
import { z } from 'zod'

export const seats = decider('seats', {
  key: z.object({ show: z.string(), seat: z.string() }),
  state: z.object({ status: z.enum(['free', 'held', 'booked']).default('free'), holder: z.string().nullable() }),
  events: {
    SeatHeld: z.object({ holder: z.string() }),
    SeatBooked: z.object({ holder: z.string(), price_cents: z.int() }),
    SeatReleased: z.object({}),
  },
  commands: {
    hold: z.object({ holder: z.string().min(1) }),
    book: z.object({ holder: z.string().min(1), price_cents: z.int().positive() }),
    release: z.object({}),
  },
  refusals: {
    'seat-taken': 'the seat is held or booked by someone else',
    'not-held': 'hold the seat before you book it',
  },
})
  .evolve({
    SeatHeld: (seat, event) => {
      seat.status = 'held'
      seat.holder = event.holder
    },
    SeatBooked: seat => {
      seat.status = 'booked'
    },
    SeatReleased: seat => {
      seat.status = 'free'
      seat.holder = null
    },
  })
  .decide({
    hold: (seat, command, { refuse }) =>
      seat.status === 'free' ? { type: 'SeatHeld', holder: command.holder } : refuse('seat-taken'),
    book: (seat, command, { refuse }) =>
      seat.status !== 'held'
        ? refuse('not-held')
        : seat.holder !== command.holder
          ? refuse('seat-taken')
          : { type: 'SeatBooked', ...command },
    release: seat => (seat.status === 'held' ? { type: 'SeatReleased' } : []),
  })

export const shows = projection('shows', {
  key: z.string(),
  state: z.object({ booked: z.int32(), revenue_cents: z.int() }),
}).on(seats, 'show', {
  SeatBooked: (show, event) => {
    show.booked++
    show.revenue_cents += event.price_cents
  },
})

export default application('seat-booking', { deciders: [seats], views: [shows] })
