// The code of docs/contracts.md, compiled: test/contracts-page.test.ts compares, and runs it.
import { projection, type Running, topic } from 'mainstem'
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

export const orders = topic('orders', {
  key: 'customer',
  value: z.object({ customer: z.string(), status: z.enum(['placed', 'paid']), labels: z.array(z.string()) }),
  tags: ['status', 'labels'],
})

export async function history(app: Running): Promise<string[]> {
  const lines: string[] = []
  const newest = app.stream(bookings, { show: 'hamlet', seat: 1 }, { backwards: true, limit: 10 })
  for await (const { version, event } of newest)
    lines.push(`${version}: ${event.type === 'Booked' ? `${event.holder} pays ${event.cents}` : event.type}`)
  for await (const { position, event } of app.tagged(orders, 'labels', 'gift'))
    lines.push(`${position}: ${event.customer}, ${event.status}`)
  return [...lines, `next: ${(await app.lastVersion(orders, 'ada')) + 1}`]
}

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
