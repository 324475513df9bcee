// Snapshots beside the stream, under transactions of every kind: exact at any time, after any kill.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyRow } from '../../../core/index.ts'
import { createDatabase, isMissing, openTestPostgres, type PostgresServer, withClient } from '../../support/postgres.ts'
import { Random } from '../../support/random.ts'
import { beside } from './snapshot-tables.ts'
import { type Captured, until } from './support.ts'

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

/** One transaction of some statements; in one order of tables and keys, so that two workers seldom wait for each other. */
function statements(random: Random): string[] {
  const id = random.int(20_000) + 1
  const doc = random.int(2_200) + 1
  const line = random.int(15_000) + 1
  const note = random.int(500) + 1
  const kinds = [
    `update accounts set balance = balance + ${random.int(100)} where id between ${id} and ${id + random.int(20)}`,
    `update accounts set id = id + 100000 where id = ${id}`,
    `update accounts set id = id - 100000 where id = ${id + 100_000}`,
    `delete from accounts where id = ${id}`,
    `insert into accounts values (${id}, 7) on conflict do nothing`,
    `update docs set title = 'now ${random.int(1_000)}' where id between ${doc} and ${doc + random.int(5)}`,
    `update docs set body = repeat('${random.int(10)}', 3000) where id = ${doc}`,
    `update docs set id = id + 10000, title = 'moved' where id = ${doc}`,
    `delete from docs where id = ${doc}`,
    `insert into docs values (${doc}, 'new', null) on conflict do nothing`,
    `update items set amount = amount + 1 where line between ${line} and ${line + random.int(5)}`,
    `update items set owner = 'Moved ' || line where line = ${line}`,
    `delete from items where line = ${line}`,
    `insert into items values ('new', ${line}, 1) on conflict do nothing`,
    `update notes set note = 'changed' where id = ${note}`,
    ...(random.int(40) === 0 ? ['truncate notes'] : []),
    `insert into notes values (${note}, null) on conflict do nothing`,
  ]
  return kinds.filter(() => random.int(4) === 0)
}

async function work(url: string, random: Random, isStopped: () => boolean): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  let transactions = 0
  for (; !isStopped(); transactions++) {
    const end = random.int(10) === 0 ? 'rollback' : 'commit'
    try {
      await client.query('begin')
      for (const each of statements(random)) await client.query(each)
      await client.query(end)
    } catch {
      // A deadlock, or a key that is taken.
      await client.query('rollback')
    }
    if (random.int(3) === 0) await wait(random.int(8))
  }
  await client.end()
  return transactions
}

/** Runs a capturing process until it says `event`, and kills it some milliseconds later. */
async function runAndKill(args: readonly string[], event: string, afterMs: number): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'snapshot-child.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  for await (const line of createInterface({ input: child.stdout })) if (line === event) break
  await wait(afterMs)
  child.kill('SIGKILL')
  await exited
}

const streams = (captured: Captured) =>
  until(() => {
    const { state, snapshot } = captured.connector.status()
    return state === 'streaming' && snapshot === null
  }, 60_000)

const QUERIES: Readonly<Record<string, string>> = {
  accounts: 'select id, balance::text from accounts',
  docs: 'select id, title, body from docs',
  items: 'select owner, line, amount::text from items',
  notes: 'select id, note from notes',
}

/** Log and mirror hold what the tables do, and each change begins where the one before of its key ended. */
async function expectEqual(captured: Captured, names: readonly string[]): Promise<void> {
  await captured.level()
  expect(captured.connector.parked(10)).toEqual([])
  const folded = await captured.fold()
  for (const name of names) {
    const rows = await withClient(captured.url, async client => (await client.query<AnyRow>(QUERIES[name] ?? '')).rows)
    const inTable = rows.map(row => JSON.stringify(row)).sort()
    const text = (row: AnyRow) => JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? String(value) : value))
    expect([...(folded.get(`db.${name}`)?.values() ?? [])].map(text).sort(), name).toEqual(inTable)
    expect((await captured.mirrorRows(name)).map(text).sort(), `mirror of ${name}`).toEqual(inTable)
  }
}

describe.each(['embedded', 'system'] as const)('snapshots beside the stream of the %s PostgreSQL', version => {
  let server: PostgresServer
  beforeAll(async () => {
    if (!isMissing(version)) server = await openTestPostgres({ version })
  })
  afterAll(() => server?.stop())

  test.skipIf(isMissing(version))(
    `are exact under random transactions and kills (SEED=${SEED})`,
    async () => {
      const url = await createDatabase(server)
      const captured = beside.captured(url, beside.names)
      const random = new Random(SEED)
      let stopped = false
      let working: Promise<number>[] = []
      try {
        await captured.run(...beside.setup)
        working = [1, 2].map(n => work(url, new Random(SEED + n), () => stopped))
        const run = (names: string, event: string, withinMs: number, snapshot = '') =>
          runAndKill([url, captured.folder, names, snapshot], event, random.int(withinMs))
        await run('accounts,notes', 'streaming', 50)
        const all = beside.names.join(',')
        // The tables that come later, then everything anew.
        await run(all, 'streaming', 300)
        await run(all, 'snapshot-started', 400)
        await run(all, 'streaming', 500)
        await run(all, 'streaming', 1_500, 'snapshot')
        await run(all, 'streaming', 1_500)
        await captured.start()
        await streams(captured)
        await captured.connector.snapshot({ do: 'start', tables: ['accounts', 'db.items'] })
        await captured.connector.snapshot({ do: 'start', tables: ['docs'], where: `title like 'now%' -- some` })
        await streams(captured)
        stopped = true
        const transactions = (await Promise.all(working)).reduce((sum, count) => sum + count, 0)
        expect(transactions).toBeGreaterThan(50)
        await expectEqual(captured, beside.names)
      } finally {
        stopped = true
        await Promise.allSettled(working)
        await captured.close()
      }
    },
    180_000,
  )
})
