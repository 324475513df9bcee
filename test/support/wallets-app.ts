// An application for tests of commands: what is decided says on which version of its stream it was, and the order of events shows.
import { application, decider, projection } from 'mainstem'
import { z } from 'zod'

export const wallets = decider('wallets', {
  key: z.string(),
  state: z.object({ cents: z.int(), events: z.int32(), digest: z.int(), ids: z.array(z.string()) }),
  events: {
    Paid: z.object({ id: z.string(), cents: z.int(), seen: z.int32() }),
    Drawn: z.object({ id: z.string(), cents: z.int(), seen: z.int32() }),
  },
  commands: {
    pay: z.object({ id: z.string(), cents: z.int().positive() }),
    draw: z.object({ id: z.string(), cents: z.int().positive() }),
    /** All there is, by two events or more. */
    empty: z.object({ id: z.string() }),
    touch: z.object({ id: z.string() }),
  },
  refusals: { overdrawn: 'there is not so much in it' },
})
  .evolve({
    Paid: (wallet, event) => {
      wallet.cents += event.cents
      wallet.events++
      wallet.digest = (wallet.digest * 31 + event.cents) % 1_000_003
      wallet.ids = [...wallet.ids.slice(-3), event.id]
    },
    Drawn: (wallet, event) => {
      wallet.cents -= event.cents
      wallet.events++
      wallet.digest = (wallet.digest * 37 + event.cents) % 1_000_003
      wallet.ids = [...wallet.ids.slice(-3), event.id]
    },
  })
  .decide({
    pay: ({ events: seen }, { id, cents }) => ({ type: 'Paid', id, cents, seen }),
    draw: (wallet, { id, cents }, { refuse }) =>
      wallet.cents < cents ? refuse('overdrawn') : { type: 'Drawn', id, cents, seen: wallet.events },
    empty: (wallet, { id }) => {
      const half = Math.floor(wallet.cents / 2)
      return [half, wallet.cents - half]
        .filter(cents => cents > 0)
        .map(cents => ({ type: 'Drawn' as const, id, cents, seen: wallet.events }))
    },
    touch: () => [],
  })

/** Over all wallets: what was paid into each less what was drawn. */
export const totals = projection('totals', {
  key: z.string(),
  state: z.object({ cents: z.int(), events: z.int32() }),
}).on(wallets, () => 'all', {
  Paid: (total, event) => {
    total.cents += event.cents
    total.events++
  },
  Drawn: (total, event) => {
    total.cents -= event.cents
    total.events++
  },
})

export default application('wallets', { deciders: [wallets], views: [totals] })
