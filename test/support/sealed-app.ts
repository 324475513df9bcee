// An application that shards in threads load from this file: one rank of views, whose rows keep values of every form that sealed
// columns have.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, count, projection, sum } from '../../projections/index.ts'

export const visits = topic('visits', {
  key: 'id',
  value: z.object({
    id: z.int(),
    customer: z.string(),
    page: z.int(),
    seconds: z.number(),
    note: z.string().nullable(),
    words: z.array(z.string()),
    total: z.bigint(),
  }),
})

export const customers = projection('customers', {
  key: z.string(),
  state: z.object({
    visits: z.int(),
    seconds: z.number(),
    notes: z.int(),
    note: z.string().default(''),
    words: z.array(z.string()),
    total: z.bigint(),
  }),
}).on(visits, 'customer', (customer, { seconds, note, words, total }) => {
  customer.visits++
  customer.seconds += seconds
  if (note !== null) {
    customer.notes++
    customer.note = note
  }
  customer.words = words
  if (total > customer.total) customer.total = total
})

export const pages = projection('pages', {
  key: z.int(),
  state: z.object({ visits: z.int(), seconds: z.number() }),
}).on(visits, 'page', { visits: count(), seconds: sum('seconds') })

export default application('sealed', { views: [customers, pages], topics: [visits] })
