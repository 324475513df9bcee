import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { application, openApplication, projection, topic } from 'mainstem'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mainstem-upcast-'))
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

const old = z.object({ page: z.string(), seconds: z.int() })
const value = z.object({ page: z.string(), ms: z.int() })
const state = z.object({ n: z.int() })
const logins = topic('logins', { key: 'user', value: z.object({ user: z.string() }) })
const perUser = projection('per_user', { key: z.string(), state }).on(logins, 'user', s => void s.n++)

describe('a topic whose contract has changed', () => {
  it('is folded in its new shape, from the first record on', async () => {
    const before = topic('clicks', { key: 'page', value: old })
    await using first = await openApplication(application('app', { topics: [before] }), { dataDir })
    await first.append(before, [{ page: 'home', seconds: 2 }])
    await first.close()
    const clicks = topic('clicks', { key: 'page', value }).upcast(1, old, ({ page, seconds }) => ({
      page,
      ms: seconds * 1000,
    }))
    const perPage = projection('per_page', { key: z.string(), state }).on(clicks, 'page', (s, click) => {
      s.n += click.ms
    })
    await using second = await openApplication(application('app', { views: [perPage] }), { dataDir })
    const token = await second.append(clicks, [{ page: 'home', ms: 500 }])
    expect((await second.client.views.per_page.get('home', { after: token })).value).toEqual({ n: 2500 })
  })

  it('stops the views that fold it when an upcast throws, and no others', async () => {
    const before = topic('clicks', { key: 'page', value: old })
    await using first = await openApplication(application('app', { topics: [before] }), { dataDir })
    await first.append(before, [{ page: 'home', seconds: 2 }])
    await first.close()
    const clicks = topic('clicks', { key: 'page', value }).upcast(1, old, () => {
      throw new Error('no idea')
    })
    const perPage = projection('per_page', { key: z.string(), state }).on(clicks, 'page', s => void s.n++)
    await using second = await openApplication(application('app', { views: [perPage, perUser] }), { dataDir })
    const token = await second.append(logins, [{ user: 'ada' }])
    expect((await second.client.views.per_user.get('ada', { after: token })).value).toEqual({ n: 1 })
    await expect(second.client.views.per_page.get('home')).rejects.toMatchObject({
      code: 'VIEW_STOPPED',
      detail: expect.stringContaining('CONTRACT_UPCAST_FAILED'),
    })
  })

  it.each([
    ['Date.now()', () => Date.now()],
    ['Math.random()', () => Math.random()],
    ['new Date()', () => new Date().getFullYear()],
  ])('stops them when an upcast calls %s: it is a function of the record alone', async (what, call) => {
    const before = topic('clicks', { key: 'page', value: old })
    await using first = await openApplication(application('app', { topics: [before] }), { dataDir })
    await first.append(before, [{ page: 'home', seconds: 2 }])
    await first.close()
    const clicks = topic('clicks', { key: 'page', value }).upcast(1, old, ({ page }) => ({ page, ms: call() }))
    const perPage = projection('per_page', { key: z.string(), state }).on(clicks, 'page', s => void s.n++)
    await using second = await openApplication(application('app', { views: [perPage, perUser] }), { dataDir })
    const token = await second.append(logins, [{ user: 'ada' }])
    expect((await second.client.views.per_user.get('ada', { after: token })).value).toEqual({ n: 1 })
    expect(second.engine.views.get('per_page')?.status().error).toMatchObject({
      code: 'HANDLER_IMPURE',
      message: `${what} called in upcast(1, …) of clicks`,
      detail: expect.stringContaining('position 1: '),
    })
    // The guard is not left on.
    expect(call()).toBeTypeOf('number')
  })
})
