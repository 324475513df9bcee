// Tables that scenarios share, with their contracts. Every database writes them alike but for a point in time.
import { z } from 'zod'
import { minorUnits, type SourceTopic } from '../../../core/index.ts'
import { Captured, type Dialect, type Source } from './databases.ts'

const account = z.object({
  id: z.int32(),
  owner: z.string().max(20),
  balance: minorUnits(2),
  note: z.string().nullable(),
  opened: z.date().nullable(),
})

const transfer = z.object({ id: z.bigint(), source: z.int32(), target: z.int32(), amount: minorUnits(2) })

export const setup = (dialect: Dialect): string[] => [
  `create table accounts (id int primary key, owner varchar(40) not null, balance numeric(14, 2) not null, note ${dialect.name.endsWith('PostgreSQL') ? 'text' : 'longtext'}, opened ${dialect.timestamp})`,
  'create table transfers (id bigint primary key, source int not null, target int not null, amount numeric(14, 2) not null)',
]

/** Fills `accounts` with rows 1 to `count`. */
export const fill = (dialect: Dialect, count: number): string =>
  `insert into accounts (id, owner, balance, note, opened)
   select n, concat('owner ', n), 1000 + n / 100.0, case when n % 3 = 0 then null else repeat('é', n % 200) end,
          case when n % 5 = 0 then null else '2024-02-29 12:34:56.789' end${dialect.name.endsWith('PostgreSQL') ? '::timestamptz' : ''}
     from ${dialect.series(count)}`

/** @param topics what is captured beside them */
export function capture(
  dialect: Dialect,
  url: string,
  folder?: string,
  topics: (db: Source) => SourceTopic[] = () => [],
): Captured {
  const db = dialect.source(url)
  const { accounts, transfers } = tablesOf(db)
  const captured = new Captured(dialect, db, url, [accounts, transfers], folder)
  captured.topics = topics(db)
  return captured
}

export const tablesOf = (db: Source) => ({
  accounts: db.table('accounts', { key: 'id', row: account }),
  transfers: db.table('transfers', { key: 'id', row: transfer }),
})

/** What the tables hold now, as the log's rows would be. */
export async function tablesNow(captured: Captured): Promise<{ accounts: unknown[]; transfers: unknown[] }> {
  const accounts = await captured.query(
    'select id, owner, cast(balance * 100 as decimal(20, 0)) as balance, note, opened from accounts order by id',
  )
  const transfers = await captured.query(
    'select id, source, target, cast(amount * 100 as decimal(20, 0)) as amount from transfers order by id',
  )
  return {
    accounts: accounts.map(row => ({ ...row, balance: Number(row['balance']) })),
    transfers: transfers.map(row => ({ ...row, id: BigInt(String(row['id'])), amount: Number(row['amount']) })),
  }
}

/** The same by the log, every record of which must fit what stands before it. */
export async function tablesByLog(captured: Captured): Promise<{ accounts: unknown[]; transfers: unknown[] }> {
  const tables = await captured.fold()
  const sorted = (name: string) =>
    [...(tables.get(`db.${name}`)?.values() ?? [])].sort((a, b) => (Number(a['id']) < Number(b['id']) ? -1 : 1))
  return { accounts: sorted('accounts'), transfers: sorted('transfers') }
}

/** Each transaction's records must be in one piece. */
export async function brokenTransactions(captured: Captured): Promise<string[]> {
  const last = new Map<string, number>()
  const broken: string[] = []
  for (const { transaction, position } of await captured.records()) {
    if (transaction === undefined) continue
    const before = last.get(transaction)
    if (before !== undefined && position !== before + 1) broken.push(transaction)
    last.set(transaction, position)
  }
  return broken
}
