// The tables of the kill test, for the process that is killed and the one that checks.
import { z } from 'zod'
import { Captured, source } from './support.ts'

export const kill = {
  setup: [
    'create table accounts (id int primary key, balance int8 not null, note text)',
    'create table transfers (id serial primary key, source int not null, target int not null, amount int8 not null)',
    `insert into accounts select n, 1000, repeat('x', n % 200) from generate_series(1, 60000) n`,
  ],
  captured(url: string, folder?: string): Captured {
    const db = source(url)
    const accounts = db.table('accounts', {
      key: 'id',
      row: z.object({ id: z.int32(), balance: z.bigint(), note: z.string().nullable() }),
    })
    const transfers = db.table('transfers', {
      key: 'id',
      row: z.object({ id: z.int32(), source: z.int32(), target: z.int32(), amount: z.int() }),
    })
    return new Captured(db, url, [accounts, transfers], folder)
  },
}
