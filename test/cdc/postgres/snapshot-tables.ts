// The tables of the tests of snapshots beside the stream, for the process that is killed and the one that checks.
import { z } from 'zod'
import { Captured, source } from './support.ts'

const BODY = `(select string_agg(md5(random()::text || i || n), '') from generate_series(1, 80) i)`

export const beside = {
  setup: [
    'create table accounts (id int primary key, balance int8 not null)',
    'create table docs (id int primary key, title text not null, body text)',
    // Its values are left out of updates that do not change them.
    'alter table docs alter body set storage external',
    'create table items (owner text, line int, amount numeric(10, 2) not null, primary key (owner, line)) partition by hash (owner)',
    'create table items_0 partition of items for values with (modulus 2, remainder 0)',
    'create table items_1 partition of items for values with (modulus 2, remainder 1)',
    'create table notes (id int primary key, note text)',
    'insert into accounts select n, 1000 from generate_series(1, 20000) n',
    `insert into docs select n, 'title ' || n, ${BODY} from generate_series(1, 2000) n`,
    `insert into items select 'Owner ' || n % 997, n, n from generate_series(1, 15000) n`,
    `insert into notes select n, 'note ' || n from generate_series(1, 500) n`,
  ],
  names: ['accounts', 'docs', 'items', 'notes'],
  /** @param names of the tables to capture */
  captured(url: string, names: readonly string[], folder?: string): Captured {
    const db = source(url)
    const tables = {
      accounts: db.table('accounts', { key: 'id', row: z.object({ id: z.int32(), balance: z.bigint() }) }),
      docs: db.table('docs', {
        key: 'id',
        row: z.object({ id: z.int32(), title: z.string(), body: z.string().nullable() }),
      }),
      items: db.table('items', {
        key: ['owner', 'line'],
        row: z.object({ owner: z.string(), line: z.int32(), amount: z.string() }),
      }),
      notes: db.table('notes', { key: 'id', row: z.object({ id: z.int32(), note: z.string().nullable() }) }),
    }
    const wanted = Object.entries(tables).flatMap(([name, table]) => (names.includes(name) ? [table] : []))
    return new Captured(db, url, wanted, folder)
  },
}
