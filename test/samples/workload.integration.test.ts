import pg from 'pg'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createBilling, createShop } from '../../samples/single-source-of-truth/schema.ts'
import { Workload } from '../../samples/single-source-of-truth/workload.ts'
import { createDatabase, openTestPostgres, type PostgresServer } from '../support/postgres.ts'

const sizes = { customers: 1000, orders: 4000, skus: 50, invoices: 3000, payments: 1000, seed: 7 }
let server: PostgresServer

beforeAll(async () => {
  server = await openTestPostgres()
})
afterAll(() => server?.stop())

async function openDatabases() {
  const shop = new pg.Pool({ connectionString: await createDatabase(server, 'shop') })
  const billing = new pg.Pool({ connectionString: await createDatabase(server, 'billing') })
  await Promise.all([createShop(shop, sizes), createBilling(billing, sizes)])
  const close = async () => {
    await Promise.all([shop.end(), billing.end()])
  }
  return { shop, billing, [Symbol.asyncDispose]: close }
}

const TABLES = {
  shop: ['customers', 'orders', 'order_lines'],
  billing: ['invoices', 'payments'],
} as const

/** A digest and the number of the rows of each table. */
async function digest({ shop, billing }: { shop: pg.Pool; billing: pg.Pool }) {
  const pools = { shop, billing }
  const found: { table: string; rows: number; hash: string | null }[] = []
  for (const name of ['shop', 'billing'] as const) {
    for (const table of TABLES[name]) {
      const { rows } = await pools[name].query<{ table: string; rows: number; hash: string | null }>(
        `select '${table}' as table, count(*)::int as rows, md5(string_agg(t::text, ';' order by t::text)) as hash
          from ${table} t`,
      )
      found.push(...rows)
    }
  }
  return found
}

test('the sample’s rows depend on the seed only', async () => {
  await using one = await openDatabases()
  await using other = await openDatabases()
  const rows = await digest(one)
  expect(rows).toEqual(await digest(other))
  expect(rows.map(row => row.rows)).toEqual([1000, 4000, expect.closeTo(4000, -3), 3000, 1000])
})

test('the workload makes changes of every kind, and its counts are what the databases hold', async () => {
  await using databases = await openDatabases()
  const rowsOf = async () => (await digest(databases)).reduce((sum, table) => sum + table.rows, 0)
  const rowsBefore = await rowsOf()
  const workload = new Workload(databases)
  await workload.start()
  await vi.waitFor(
    () => {
      expect(workload.failure).toBeUndefined()
      for (const count of Object.values(workload.counts)) expect(count).toBeGreaterThan(20)
    },
    { timeout: 60_000 },
  )
  await workload.stop()
  const { inserts, deletes } = workload.counts
  expect(await rowsOf()).toBe(rowsBefore + inserts - deletes)
})

test('the workload holds nothing after it stopped, and can be started again', async () => {
  await using databases = await openDatabases()
  const workload = new Workload({ ...databases, ratePerSecond: 500 })
  await workload.start()
  await vi.waitFor(() => expect(workload.changes).toBeGreaterThan(0), { timeout: 30_000 })
  await workload.stop()
  const stopped = workload.changes
  const { rows } = await databases.shop.query(
    `select count(*)::int as busy from pg_stat_activity
      where backend_type = 'client backend' and state <> 'idle' and pid <> pg_backend_pid()`,
  )
  expect(rows).toEqual([{ busy: 0 }])
  expect([databases.shop.idleCount, databases.billing.idleCount]).toEqual([
    databases.shop.totalCount,
    databases.billing.totalCount,
  ])
  expect(workload.changes).toBe(stopped)
  await workload.start()
  await vi.waitFor(() => expect(workload.changes).toBeGreaterThan(stopped), { timeout: 30_000 })
  await workload.stop()
})

test('a database that goes away ends the workload with its error', async () => {
  await using databases = await openDatabases()
  databases.shop.on('error', () => undefined)
  const workload = new Workload(databases)
  await workload.start()
  await databases.billing.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
  )
  await vi.waitFor(() => expect(workload.failure).toBeDefined(), { timeout: 30_000 })
  await expect(workload.stop()).rejects.toThrow()
})
