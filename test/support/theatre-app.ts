// An application that shards in threads load from this file, for what is read of rows that come and go: with indexes, keys of one
// field and of several, a policy.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'

export const moves = topic('moves', {
  key: ['show', 'seat'],
  value: z.object({
    show: z.string(),
    seat: z.int(),
    city: z.string().nullable(),
    cents: z.int(),
    tenant: z.string().default('a'),
    note: z.string().default(''),
    leaves: z.boolean().default(false),
  }),
})

export const places = projection('places', {
  key: z.object({ show: z.string(), seat: z.int() }),
  state: z.object({
    city: z.string().nullable(),
    cents: z.int(),
    tenant: z.string().default(''),
    note: z.string().default(''),
  }),
})
  .on(moves, { show: 'show', seat: 'seat' }, (place, { city, cents, tenant, note, leaves }, ctx) => {
    Object.assign(place, { city, cents, tenant, note })
    if (leaves) ctx.delete()
  })
  .index('city', 'cents')
  .index('tenant')
  .policy(z.object({ tenant: z.string() }), (claims, row) => row.tenant === claims.tenant)

/** Which shows there are. */
export const shows = projection('shows', { key: z.string(), state: z.object({ moves: z.int() }) }).on(
  moves,
  'show',
  show => {
    show.moves++
  },
)

export default application('theatre', { views: [places, shows] })
