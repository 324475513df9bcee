// Folding a topic of variants: one function for all, or one for each that matters.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { application, openApplication, projection, topic } from 'mainstem'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mainstem-variants-'))
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

const seat = z.object({ show: z.string(), seat: z.int() })
const bookings = topic('bookings', {
  key: ['show', 'seat'],
  value: z.discriminatedUnion('type', [
    seat.extend({ type: z.literal('Held'), holder: z.string() }),
    seat.extend({ type: z.literal('Booked'), cents: z.int() }),
    seat.extend({ type: z.literal('add'), more: z.int() }),
  ]),
})
const state = z.object({ held: z.int(), cents: z.int() })
const declare = () => projection('shows', { key: z.string(), state })
const at = { show: 'hamlet', seat: 1 }

describe('the handlers of a topic with variants', () => {
  it('get the events of their variant; the others touch no row', async () => {
    const shows = declare().on(bookings, 'show', {
      Held: show => void show.held++,
      Booked: (show, event) => {
        show.cents += event.cents
      },
    })
    const all = projection('all', { key: z.string(), state }).on(bookings, 'show', (show, event) => {
      if (event.type === 'Held') show.held++
      else show.cents += event.type === 'Booked' ? event.cents : event.more
    })
    const adds = projection('adds', { key: z.int(), state }).on(bookings, event => [event.seat, event.seat + 1], {
      add: (row, event) => {
        row.cents += event.more
      },
    })
    await using app = await openApplication(application('app', { views: [shows, all, adds] }), { dataDir })
    const token = await app.append(bookings, [
      { type: 'Held', ...at, holder: 'ada' },
      { type: 'Booked', ...at, cents: 5 },
      { type: 'add', ...at, more: 7 },
      { type: 'add', show: 'macbeth', seat: 1, more: 1 },
    ])
    const { views } = app.client
    expect((await views.shows.lookup(['hamlet', 'macbeth'], { after: token })).value).toEqual([
      { held: 1, cents: 5 },
      undefined,
    ])
    expect((await views.all.lookup(['hamlet', 'macbeth'])).value).toEqual([
      { held: 1, cents: 12 },
      { held: 0, cents: 1 },
    ])
    expect((await views.adds.lookup([1, 2, 3])).value).toEqual([
      { held: 0, cents: 8 },
      { held: 0, cents: 8 },
      undefined,
    ])
  })

  it('are for variants that there are, functions, and synchronous', () => {
    const plain = topic('clicks', { key: 'page', value: z.object({ page: z.string() }) })
    const invalid = (input: unknown, handlers: unknown, code = 'DEFINITION_INVALID') =>
      expect(() => declare().on(input as typeof bookings, 'show', handlers as never)).toThrow(
        expect.objectContaining({ code }),
      )
    invalid(bookings, { Sold: () => {} })
    invalid(bookings, {})
    invalid(bookings, null)
    invalid(bookings, { Held: 5 })
    invalid(plain, { Held: () => {} })
    invalid(bookings, { Held: async () => {} }, 'HANDLER_ASYNC')
    expect(() => declare().on(bookings, 'show', { Sold: () => {} } as never)).toThrow(
      "shows.on(bookings) handles 'Sold', which is no variant of bookings",
    )
  })

  it('count as code: other names for the same functions rebuild the view', async () => {
    const handle = (show: { held: number }) => void show.held++
    const events: string[] = []
    const open = (handlers: object) =>
      openApplication(application('app', { views: [declare().on(bookings, 'show', handlers)] }), {
        dataDir,
        onEvent: ({ event }) => events.push(event),
      })
    await using first = await open({ Held: handle })
    const token = await first.append(bookings, [
      { type: 'Held', ...at, holder: 'ada' },
      { type: 'Booked', ...at, cents: 5 },
      { type: 'Booked', ...at, cents: 5 },
    ])
    expect((await first.client.views.shows.get('hamlet', { after: token })).value).toEqual({ held: 1, cents: 0 })
    await first.close()
    await using second = await open({ Booked: handle })
    await expect.poll(() => events).toContain('rebuild-ended')
    expect((await second.client.views.shows.get('hamlet')).value).toEqual({ held: 2, cents: 0 })
  })
})
