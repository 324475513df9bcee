// The application whose rows are put in order: a million accounts, each as the last event of its key says. With indexes, or without.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'

export const ROW = z.object({ id: z.int(), city: z.string(), cents: z.int() })
export const moves = topic('moves', { key: 'id', value: ROW })

const accounts = projection('accounts', {
  key: z.int(),
  state: z.object({ city: z.string().default(''), cents: z.int() }),
}).on(moves, 'id', (account, { city, cents }) => {
  account.city = city
  account.cents = cents
})

export const plain = application('ranges', { views: [accounts] })
export const indexed = application('ranges', { views: [accounts.index('city', 'cents')] })
