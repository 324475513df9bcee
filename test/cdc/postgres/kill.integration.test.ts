import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { expect, test } from 'vitest'
import { createDatabase, openTestPostgres, withClient } from '../../support/postgres.ts'
import { Random } from '../../support/random.ts'
import { kill } from './kill-tables.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

/** Changes of every kind, until stopped: transfers over two tables, new and moved accounts, deletions. */
async function work(url: string, random: Random, isStopped: () => boolean): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  let transactions = 0
  for (; !isStopped(); transactions++) {
    // In one order, so that two workers never wait for each other.
    const first = random.int(59_000) + 1
    const [a, b] = [first, first + 1 + random.int(1_000)]
    await client.query('begin')
    await client.query('insert into transfers (source, target, amount) values ($1, $2, $3)', [a, b, transactions])
    await client.query('update accounts set balance = balance - $2 where id = $1', [a, transactions])
    await client.query('update accounts set balance = balance + $2 where id = $1', [b, transactions])
    if (transactions % 7 === 0)
      await client.query('delete from transfers where id = $1', [random.int(transactions + 1)])
    if (transactions % 11 === 0) await client.query('update accounts set id = id + 100000 where id = $1', [a])
    await client.query(transactions % 13 === 0 ? 'rollback' : 'commit')
  }
  await client.end()
  return transactions
}

/** Runs the capturing process until it says `event`, and kills it some milliseconds later. */
async function runAndKill(url: string, folder: string, event: string, afterMs: number): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'capture-child.ts'), url, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  for await (const line of createInterface({ input: child.stdout })) if (line === event) break
  await wait(afterMs)
  child.kill('SIGKILL')
  const [, signal] = await exited
  expect(signal).toBe('SIGKILL')
}

test(`a process killed in snapshot, hand-over and stream loses and doubles nothing (SEED=${SEED})`, async () => {
  await using server = await openTestPostgres()
  const url = await createDatabase(server)
  const captured = kill.captured(url)
  const random = new Random(SEED)
  let stopped = false
  try {
    await captured.run(...kill.setup)
    const working = [work(url, new Random(SEED + 1), () => stopped), work(url, new Random(SEED + 2), () => stopped)]
    for (const [event, withinMs] of [
      ['snapshot-started', 60],
      ['snapshot-started', 250],
      ['snapshot-ended', 5],
      ['streaming', 400],
      ['streaming', 20],
      ['streaming', 200],
    ] as const) {
      await runAndKill(url, captured.folder, event, random.int(withinMs))
    }
    await captured.start()
    await expect.poll(() => captured.connector.status().state, { timeout: 30_000 }).toBe('streaming')
    await wait(200)
    stopped = true
    const transactions = (await Promise.all(working)).reduce((sum, count) => sum + count, 0)
    await captured.level()
    const tables = await captured.fold()
    await withClient(url, async client => {
      const accounts = await client.query('select id, balance::text, note from accounts order by id')
      const held = [...(tables.get('db.accounts')?.values() ?? [])].sort((a, b) => Number(a['id']) - Number(b['id']))
      expect(held.length).toBe(accounts.rows.length)
      expect(held.map(row => ({ ...row, balance: String(row['balance']) }))).toEqual(accounts.rows)
      const transfers = await client.query('select id, source, target, amount::int from transfers order by id')
      const kept = [...(tables.get('db.transfers')?.values() ?? [])].sort((a, b) => Number(a['id']) - Number(b['id']))
      expect(kept).toEqual(transfers.rows)
    })
    expect(transactions).toBeGreaterThan(100)
    const whole = new Map<string, number>()
    for (const { transaction, position } of await captured.records()) {
      if (transaction === undefined) continue
      const last = whole.get(transaction)
      expect(last === undefined || position === last + 1, `transaction ${transaction} is in one piece`).toBe(true)
      whole.set(transaction, position)
    }
  } finally {
    stopped = true
    await captured.close()
  }
})
