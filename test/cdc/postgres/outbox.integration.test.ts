// What only PostgreSQL has of outboxes: who may delete; and an application that folds one. The rest is in test/cdc/conformance.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { openApplication } from '../../../bin/open-application.ts'
import { postgres, writeToken } from '../../../cdc/index.ts'
import { isMainstemError } from '../../../core/index.ts'
import { application, projection } from '../../../projections/index.ts'
import {
  createDatabase,
  createLimitedRole,
  openTestPostgres,
  type PostgresServer,
  withClient,
} from '../../support/postgres.ts'
import { orders, paid, placed, union } from '../conformance/outboxes.ts'
import { Captured, source } from './support.ts'

const TABLE =
  'create table outbox (id bigint generated always as identity primary key, aggregateid int not null, type text, payload jsonb)'

let server: PostgresServer
beforeAll(async () => {
  server = await openTestPostgres()
})
afterAll(() => server?.stop())

test('an outbox whose rows are to go wants the right to delete them; another one wants to be read', async () => {
  const url = await createDatabase(server)
  await withClient(url, client => client.query(TABLE))
  const role = await createLimitedRole(url)
  await withClient(url, client =>
    client.query(`grant select on outbox to "${role.name}"; create publication mainstem_test_db for table outbox`),
  )
  const db = source(role.url)
  const captured = new Captured(db, url, [])
  try {
    captured.topics = [orders(db, { keep: false })]
    await expect(captured.open()).rejects.toSatisfy(
      error => isMainstemError(error) && error.code === 'SOURCE_PERMISSION',
    )
    captured.topics = [orders(db)]
    await captured.open()
  } finally {
    await captured.close()
  }
})

test('an application folds an outbox by its variants; nobody else appends to it', async () => {
  const url = await createDatabase(server)
  await withClient(url, client => client.query(TABLE))
  const shop = postgres('shop', { url })
  const events = shop.outbox('outbox', {
    key: 'order_id',
    value: union,
    columns: { order_id: 'aggregateid' },
    payload: 'payload',
    tags: ['type'],
  })
  const sales = projection('sales', { key: z.int(), state: z.object({ cents: z.bigint(), paid: z.boolean() }) }).on(
    events,
    'order_id',
    {
      Placed: (sale, event) => {
        sale.cents += event.cents
      },
      Paid: sale => {
        sale.paid = true
      },
    },
  )
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-outbox-'))
  try {
    await using app = await openApplication(application('outboxes', { views: [sales] }), {
      dataDir: folder,
      listen: { port: 0 },
    })
    const token = await withClient(url, async client => {
      await client.query(placed(1, 'Ada', '7'))
      await client.query(paid(1, 'cash'))
      return writeToken(client, shop)
    })
    const { value, sources } = await app.client.views.sales.get(1, { after: token, timeoutMs: 30_000, sources: true })
    expect(value).toEqual({ cents: 7n, paid: true })
    expect(sources).toHaveProperty('shop')
    const found = []
    for await (const { event } of app.tagged(events, 'type', 'Paid')) found.push(event)
    expect(found).toEqual([{ order_id: 1, type: 'Paid', note: 'cash' }])
    const body = JSON.stringify({ order_id: 1, type: 'Paid', note: null })
    const refused = await fetch(`${app.url}/v1/topics/shop.outbox`, { method: 'POST', body })
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([405, 'TOPIC_READ_ONLY'])
    await app.sources.get('shop')?.drop()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, 120_000)
