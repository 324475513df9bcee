// An application whose declarations say how much history is kept: over real files, by HTTP, and at its next start.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { application, days, openApplication, projection, topic } from 'mainstem'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import { openEmbeddedLog } from '../../core/index.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mainstem-retention-'))
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

const value = z.object({ user: z.string(), filler: z.string() })
const clicks = topic('clicks', { key: 'user', value, retain: { ms: days(1) } })
const logins = topic('logins', { key: 'user', value: z.object({ user: z.string() }) })
const state = z.object({ n: z.int() })
const perUser = projection('per_user', { key: z.string(), state }).on(clicks, 'user', s => void s.n++)
const loginsOf = projection('logins_of', { key: z.string(), state }).on(logins, 'user', s => void s.n++)
const app = application('app', { views: [perUser, loginsOf] })

/** Appends as of some days ago, in small segments: the application's own are too large for a test. */
async function past(daysAgo: number, events: number): Promise<void> {
  const options = { segmentBytesMax: 20_000, compression: 'none' as const, clock: () => Date.now() - days(daysAgo) }
  const log = await openEmbeddedLog({ path: join(dataDir, 'log'), ...options })
  const known = log.findTopic('clicks')!
  const login = log.batch()
  login.event(log.findTopic('logins')!, { user: 'u0' })
  await login.commit()
  for (let n = 0; n < events; n += 50) {
    const batch = log.batch()
    for (let k = 0; k < 50; k++) batch.event(known, { user: `u${k % 2}`, filler: `${n + k}`.repeat(30) })
    await batch.commit()
  }
  await log.sealed()
  if (daysAgo === 0) {
    log.retain({ clicks: { ms: days(1) } })
    await log.retained()
  }
  await log.close()
}

it('keeps its views, says by HTTP what is gone, and makes a view anew only from what is left if that is accepted', async () => {
  const first = await openApplication(app, { dataDir })
  await first.close()
  await past(3, 2_000)
  const second = await openApplication(app, { dataDir, checkpointIntervalMs: 5 })
  await second.engine.waitFor(second.log.end, AbortSignal.timeout(10_000))
  await second.close()
  await past(0, 500)
  const third = await openApplication(app, { dataDir, listen: { port: 0 } })
  await third.engine.waitFor(third.log.end, AbortSignal.timeout(10_000))
  const { base } = third.log
  expect(base.topics.get('clicks')?.trimmedTo).toBeGreaterThan(1_000)
  expect((await third.client.views.per_user.get('u0')).value).toEqual({ n: 1_250 })
  const body: unknown = await (await fetch(`${third.url}/v1/log/clicks?limit=1`)).json()
  const page = body as { horizon: string; records: [{ position: string }] }
  expect(page).toMatchObject({ horizon: String(base.topics.get('clicks')?.trimmedTo) })
  expect(Number(page.records[0].position)).toBeGreaterThan(Number(page.horizon))
  expect(await (await fetch(`${third.url}/v1/log/logins`)).json()).toMatchObject({ horizon: null, records: [{}, {}] })
  await third.close()

  const changed = projection('per_user', { key: z.string(), state }).on(clicks, 'user', s => {
    s.n += 1
  })
  const next = application('app', { views: [changed, loginsOf] })
  const events: unknown[] = []
  const fourth = await openApplication(next, { dataDir, onEvent: event => events.push(event) })
  await fourth.engine.waitFor(fourth.log.end, AbortSignal.timeout(10_000))
  await expect(fourth.client.views.per_user.get('u0')).rejects.toMatchObject({
    code: 'VIEW_STOPPED',
    detail: expect.stringContaining('VIEW_HISTORY_GONE'),
    hint: expect.stringContaining('--accept-history-gone'),
  })
  expect((await fourth.client.views.logins_of.get('u0')).value).toEqual({ n: 2 })
  expect(events).toContainEqual(expect.objectContaining({ event: 'view-stopped', code: 'VIEW_HISTORY_GONE' }))
  await fourth.close()
  await expect(openApplication(next, { dataDir, acceptHistoryGone: ['per_users'] })).rejects.toMatchObject({
    code: 'VIEW_UNKNOWN',
  })
  const fifth = await openApplication(next, { dataDir, acceptHistoryGone: ['per_user'] })
  await fifth.engine.waitFor(fifth.log.end, AbortSignal.timeout(10_000))
  const left = (await fifth.client.views.per_user.get('u0')).value?.n ?? 0
  expect([left >= 250, left < 1_250]).toEqual([true, true])
  await fifth.close()
})
