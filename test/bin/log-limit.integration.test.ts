// `mainstem run --log-limit`: the source pauses before the log is full, the application has the rest, then appends are refused
// over HTTP while views answer, and a start with a larger limit brings all changes, once each.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type ApplicationEvent, openApplication, type Running } from '../../bin/open-application.ts'
import { postgres } from '../../cdc/index.ts'
import { topic } from '../../core/index.ts'
import { application, projection } from '../../projections/index.ts'
import { until } from '../cdc/postgres/support.ts'
import { createDatabase, openTestPostgres, type PostgresServer, withClient } from '../support/postgres.ts'

interface Body {
  readonly state?: string
  readonly waitingFor?: string | null
  readonly detail?: string
  readonly value?: { readonly count: number }
}

let server: PostgresServer
const folder = mkdtempSync(join(tmpdir(), 'mainstem-limit-'))
beforeAll(async () => {
  server = await openTestPostgres()
})
afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('a log at its limit: sources pause, then appends are refused with 507, views answer, and all comes when there is room', async () => {
  const url = await createDatabase(server)
  const run = (...statements: string[]) =>
    withClient(url, async client => {
      for (const statement of statements) await client.query(statement)
    })
  await run('create table items (id int primary key, note text not null)')
  const db = postgres('db', { url })
  const items = db.table('items', { key: 'id', row: z.object({ id: z.int(), note: z.string() }) })
  const notes = topic('notes', { key: 'id', value: z.object({ id: z.string(), text: z.string() }) })
  const all = projection('all', { key: z.string(), state: z.object({ count: z.int() }) }).on(items, () => 'all', {
    add: state => {
      state.count++
    },
    remove: state => {
      state.count--
    },
  })
  const app = application('limited', { views: [all], topics: [notes] })
  const events: ApplicationEvent[] = []
  const start = (logBytesMax: number) =>
    openApplication(app, {
      dataDir: join(folder, 'data'),
      listen: { port: 0 },
      logBytesMax,
      // What is sealed takes so little here that the limit would not be reached.
      seal: false,
      onEvent: event => events.push(event),
    })
  const post = async (running: Running, bytes: number) => {
    const body = JSON.stringify({ id: 'a', text: 'y'.repeat(bytes) })
    const answer = await fetch(`${running.url}/v1/topics/notes`, { method: 'POST', body })
    return { status: answer.status, type: answer.headers.get('content-type'), body: (await answer.json()) as Body }
  }
  const get = async (running: Running, path: string) => {
    const answer = await fetch(`${running.url}${path}`)
    return { status: answer.status, body: (await answer.json()) as Body }
  }

  const running = await start(5_000_000)
  try {
    await until(async () => (await get(running, '/health/ready')).status === 200)
    for (let n = 0; n < 80; n++)
      await run(
        `insert into items select n, repeat('x', 1000) from generate_series(${n * 100 + 1}, ${n * 100 + 100}) n`,
      )
    const source = await until(async () => {
      const { body } = await get(running, '/v1/sources/db')
      return body.state === 'paused' && body
    })
    expect(source.waitingFor).toMatch(/^room in the log: 4\.\d of 5 MB$/)
    expect(await post(running, 1_000)).toMatchObject({ status: 200 })
    let refused = await post(running, 100_000)
    while (refused.status === 200) refused = await post(running, 100_000)
    expect(refused).toMatchObject({
      status: 507,
      type: expect.stringMatching(/^application\/problem\+json/),
      body: { code: 'LOG_FULL', retriable: true, hint: expect.stringContaining('--log-limit') },
    })
    expect((await get(running, '/health/live')).status).toBe(200)
    const ready = await get(running, '/health/ready')
    expect(ready).toMatchObject({ status: 503, body: { code: 'NOT_READY' } })
    expect(ready.body.detail).toMatch(/source db is paused \(room in the log: \d(\.\d)? of 5 MB\)/)
    const row = await get(running, '/v1/views/all/rows/all')
    expect(row.status).toBe(200)
    expect(row.body.value?.count).toBeGreaterThan(3_000)
    expect(events.filter(({ event }) => event === 'source-retrying' || event === 'source-failed')).toEqual([])
    expect(events.flatMap(event => (event.event === 'log' ? [event.what] : []))).toEqual(
      expect.arrayContaining(['log-nearly-full']),
    )
  } finally {
    await running.close()
  }
  const again = await start(50_000_000)
  try {
    await until(async () => (await get(again, '/v1/views/all/rows/all')).body.value?.count === 8_000)
    expect((await post(again, 100_000)).status).toBe(200)
    expect((await get(again, '/health/ready')).status).toBe(200)
  } finally {
    await again.close()
    await db.drop('limited')
  }
})
