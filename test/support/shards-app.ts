// An application that shards in threads load from this file: two ranks of views, one of them with handlers that misbehave where an
// event says so.
import { z } from 'zod'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'

export const moves = topic('moves', {
  key: 'id',
  value: z.object({ id: z.int(), from: z.string(), to: z.string(), cents: z.int(), on: z.string() }),
})

/** What an event tells the handler of `oddities` to do. */
const odd: Readonly<Record<string, () => void>> = {
  exit: () => process.exit(5),
  spin: () => {
    for (;;);
  },
  throw: () => {
    throw new Error('refused')
  },
}

export const accounts = projection('accounts', {
  key: z.string(),
  state: z.object({ cents: z.int(), moves: z.int(), on: z.string().default('') }),
})
  .on(moves, 'from', (account, { cents, on }) => {
    account.cents -= cents
    account.moves++
    account.on = on
  })
  .on(moves, 'to', (account, { cents, on }) => {
    account.cents += cents
    account.moves++
    account.on = on
  })

export const days = projection('days', {
  key: z.string(),
  state: z.object({ accounts: z.int(), cents: z.int() }),
}).on(accounts, 'on', {
  add: (day, account) => {
    day.accounts++
    day.cents += account.cents
  },
  remove: (day, account) => {
    day.accounts--
    day.cents -= account.cents
  },
})

export const oddities = projection('oddities', {
  key: z.string(),
  state: z.object({ count: z.int() }),
}).on(moves, 'to', (oddity, { on }) => {
  odd[on]?.()
  oddity.count++
})

export default application('shards', { views: [accounts, days, oddities], topics: [moves] })
