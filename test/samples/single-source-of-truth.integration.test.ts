// The demo as its users run it, only smaller; what it leaves behind (nothing); and the audit's SQL on rows made by hand.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFailed, test, vi } from 'vitest'
import { recomputeViews } from '../../samples/single-source-of-truth/audit.ts'
import { PHASES } from '../../samples/single-source-of-truth/chaos.ts'
import { createBilling, createShop } from '../../samples/single-source-of-truth/schema.ts'
import { createDatabase, openTestPostgres, type PostgresServer } from '../support/postgres.ts'

const root = path.resolve(import.meta.dirname, '../..')
/** A kill in each phase, and what follows it: 60 s on two slow cores with nothing beside it. */
const CHAOS_TIMEOUT_MS = 240_000
const SMALL = ['--customers', '2000', '--orders', '10000', '--port', '0']

interface DemoRun {
  readonly child: ChildProcess
  stdout: string
  stderr: string
  ended(): Promise<number | null>
}

/** Starts the demo; its progress is in `stderr`. */
function startDemo(...args: string[]): DemoRun {
  const demo = path.join(root, 'samples/single-source-of-truth/demo.ts')
  const child = spawn(process.execPath, [demo, ...SMALL, ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const run: DemoRun = {
    child,
    stdout: '',
    stderr: '',
    ended: async () => {
      await closed
      return child.exitCode
    },
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    run.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    run.stderr += text
  })
  onTestFailed(() => {
    process.stderr.write(run.stderr)
    child.kill('SIGTERM')
  })
  return run
}

/** The demo says on which ports its servers listen; whoever still listens there was left running. */
const portsOf = (run: DemoRun) =>
  [...run.stderr.matchAll(/on port (\d+)|127\.0\.0\.1:(\d+)/g)].map(m => Number(m[1] ?? m[2]))

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function expectNothingLeft(run: DemoRun): Promise<void> {
  const ports = new Set(portsOf(run))
  expect(ports.size).toBeGreaterThanOrEqual(2)
  await vi.waitFor(
    async () => {
      for (const port of ports) expect([port, await listens(port)]).toEqual([port, false])
    },
    { timeout: 20_000, interval: 100 },
  )
}

const says = (run: DemoRun, text: string) =>
  vi.waitFor(() => expect(run.stderr).toContain(text), { timeout: 60_000, interval: 50 })

const KEYS = [
  'rowsCompared',
  'differences',
  'corruptedRowFound',
  'inserts',
  'updates',
  'deletes',
  'keyChanges',
  'multiTableTransactions',
  'kills',
  'snapshotRowsPerSecond',
  'lagP50Ms',
  'lagP99Ms',
]

/** The last line of stdout, and nothing before it. */
function reportOf(run: DemoRun): Record<string, unknown> {
  expect(run.stdout.trimEnd().split('\n')).toHaveLength(1)
  const report: Record<string, unknown> = JSON.parse(run.stdout)
  expect(Object.keys(report).slice(0, KEYS.length)).toEqual(KEYS)
  return report
}

function expectGood(report: Record<string, unknown>): void {
  expect(report).toMatchObject({ differences: 0, corruptedRowFound: true })
  for (const key of [
    'inserts',
    'updates',
    'deletes',
    'keyChanges',
    'multiTableTransactions',
    'snapshotRowsPerSecond',
  ]) {
    expect([key, report[key]]).toEqual([key, expect.any(Number)])
    expect(report[key], key).toBeGreaterThan(0)
  }
  expect(report['rowsCompared']).toBeGreaterThan(8000)
}

describe('the demo', () => {
  test('ends with an audit that finds no difference, and one JSON line', async () => {
    const run = startDemo('--seconds', '4')
    expect(await run.ended()).toBe(0)
    const report = reportOf(run)
    expectGood(report)
    expect(existsSync(/data folder: (\S+)/.exec(run.stderr)?.[1] ?? '/')).toBe(false)
    expect(report).toMatchObject({ kills: 0, lagP50Ms: expect.any(Number), secondsToFirstAnswer: expect.any(Number) })
    await expectNothingLeft(run)
  })

  test('comes to the same audit when the application is killed in every phase', {
    timeout: CHAOS_TIMEOUT_MS,
  }, async () => {
    const run = startDemo('--seconds', '5', '--chaos')
    expect(await run.ended()).toBe(0)
    const report = reportOf(run)
    expectGood(report)
    expect(report['kills']).toBeGreaterThanOrEqual(8)
    expect(Object.keys(report['killsByPhase'] ?? {})).toEqual([...PHASES])
    await expectNothingLeft(run)
  })

  test('goes from Ctrl-C, however often it arrives at once, to the audit', async () => {
    const run = startDemo()
    await says(run, 'the views are level')
    run.child.kill('SIGINT')
    run.child.kill('SIGINT')
    expect(await run.ended()).toBe(0)
    expectGood(reportOf(run))
    await expectNothingLeft(run)
  })

  test.each(['filling shop and billing', 'try:'])(
    'leaves nothing behind when it is interrupted after it said “%s”',
    async text => {
      const run = startDemo('--seconds', '60')
      await says(run, text)
      run.child.kill('SIGINT')
      expect(await run.ended()).toBe(130)
      expect(run.stdout).toBe('')
      if (text === 'try:') await expectNothingLeft(run)
    },
  )

  test('leaves nothing running when it is killed itself', async () => {
    const run = startDemo('--seconds', '60')
    await says(run, 'the views are level')
    run.child.kill('SIGKILL')
    await run.ended()
    await expectNothingLeft(run)
    // Its folder stays, which is all that nobody is left to remove.
    const folder = /data folder: (\S+)/.exec(run.stderr)?.[1] ?? ''
    expect(existsSync(folder)).toBe(true)
    await rm(folder, { recursive: true })
  })
})

describe('the audit’s SQL', () => {
  let server: PostgresServer
  let shop: pg.Pool
  let billing: pg.Pool

  beforeAll(async () => {
    server = await openTestPostgres()
    shop = new pg.Pool({ connectionString: await createDatabase(server, 'shop') })
    billing = new pg.Pool({ connectionString: await createDatabase(server, 'billing') })
    // Connections that the server ends while they are idle are no news.
    for (const pool of [shop, billing]) pool.on('error', () => undefined)
    const sizes = { customers: 0, orders: 0, skus: 1, invoices: 0, payments: 0, seed: 1 }
    await Promise.all([createShop(shop, sizes), createBilling(billing, sizes)])
  })
  afterAll(async () => {
    await Promise.all([shop?.end(), billing?.end()])
    await server?.stop()
  })

  test('gives a row for whatever supports one, with nulls, dates and large ids exact', async () => {
    await shop.query(`
      insert into customers values (1, 'Ada', null, '2024-03-01 09:00:00.007+00');
      insert into orders values (10, 1, 'paid'), (11, 1, 'paid'), (12, 2, 'placed');
      insert into order_lines values (10, 1, 'a', 1.10), (10, 2, 'a', 2.20), (11, 1, 'b', 0.01)`)
    await billing.query(`
      insert into invoices values (9007199254740993, 1, '2026-12-01', 25.00), (7, 3, '2026-01-31', 0.30);
      insert into payments values
        ('00000000-0000-0000-0000-000000000001', 9007199254740993, 10.00),
        ('00000000-0000-0000-0000-000000000002', 8, 5.05)`)
    const views = await recomputeViews(shop, billing)
    const noOrders = { 'orders.placed': 0, 'orders.paid': 0, 'orders.shipped': 0, 'orders.cancelled': 0 }
    const nobody = { name: null, city: null, since: null }
    expect(views.get('accounts')).toEqual(
      new Map([
        [
          '1',
          {
            name: 'Ada',
            city: null,
            since: '2024-03-01T09:00:00.007Z',
            ...noOrders,
            'orders.paid': 2,
            open_cents: 1500,
          },
        ],
        // Of an order whose customer is not there, and of an invoice's.
        ['2', { ...nobody, ...noOrders, 'orders.placed': 1, open_cents: 0 }],
        ['3', { ...nobody, ...noOrders, open_cents: 30 }],
      ]),
    )
    expect(views.get('bills')).toEqual(
      new Map([
        ['9007199254740993', { customer_id: 1, due: '2026-12-01', open_cents: 1500 }],
        ['7', { customer_id: 3, due: '2026-01-31', open_cents: 30 }],
        // A payment without an invoice is owed by nobody.
        ['8', { customer_id: null, due: null, open_cents: -505 }],
      ]),
    )
    expect(views.get('products')).toEqual(
      new Map([
        ['a', { lines: 2, sold_cents: 330 }],
        ['b', { lines: 1, sold_cents: 1 }],
      ]),
    )
  })
})
