// `mainstem run --dry-run`, as a user has it: what a start would do, and not a byte of the data folder is another one.
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { mainstem, RunningApplication } from '../support/mainstem-process.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-dry-run-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

const appOf = ({ cents = 'purchase.cents', state = '', purchase = '' } = {}) => `
import { application, projection, topic } from 'mainstem'
import { z } from 'zod'
const purchases = topic('purchases', { key: 'customer', value: z.object({ customer: z.string(), cents: z.int()${purchase} }) })
const spending = projection('spending', { key: z.string(), state: z.object({ cents: z.int()${state} }) })
  .on(purchases, 'customer', (spent, purchase) => {
    spent.cents += ${cents}
  })
const visits = projection('visits', { key: z.string(), state: z.object({ count: z.int32() }) })
  .on(purchases, 'customer', visit => {
    visit.count++
  })
export default application('hello', { views: [spending, visits] })
`
const file = () => join(folder, 'app.ts')
const data = () => join(folder, 'data')

/** Every file of the data folder, with a hash of what is in it. */
async function contents(): Promise<Record<string, string>> {
  if (!existsSync(data())) return {}
  const files = (await readdir(data(), { withFileTypes: true, recursive: true })).filter(each => each.isFile())
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).sort()
  const hashed = paths.map(async path => [
    path,
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex'),
  ])
  return Object.fromEntries(await Promise.all(hashed))
}

async function dryRun(...args: string[]) {
  const before = await contents()
  const { code, stdout, stderr } = await mainstem(['run', file(), '--data-dir', data(), '--dry-run', ...args])
  expect(await contents()).toEqual(before)
  return { code, stdout, stderr }
}

async function plans(...args: string[]) {
  const { code, stdout, stderr } = await dryRun('--json', ...args)
  expect(code, stderr).toBe(0)
  const events = stdout
    .trim()
    .split('\n')
    .map(text => JSON.parse(text) as { event: string; views: { view: string; plan: string }[] })
  const plan = events.find(({ event }) => event === 'start-plan')!
  return { ...plan, plans: plan.views.map(each => `${each.view} ${each.plan}`) }
}

const buy = (url: string) =>
  fetch(`${url}/v1/topics/purchases`, { method: 'POST', body: JSON.stringify({ customer: 'ada', cents: 5 }) })

it('says what a start would do with each view, and does nothing', { timeout: 90_000 }, async () => {
  await writeFile(file(), appOf())
  expect(await plans()).toMatchObject({ plans: ['spending new', 'visits new'], records: 0 })
  expect(existsSync(data())).toBe(false)

  const app = new RunningApplication(file(), ['--data-dir', data()], { cwd: folder })
  const url = await app.url()
  for (let n = 0; n < 3; n++) await buy(url)
  // The application has the folder's lock; a dry run needs none.
  const { code, stdout } = await mainstem(['run', file(), '--data-dir', data(), '--dry-run'])
  expect([code, stdout]).toEqual([0, expect.stringMatching(/spending +(new|unchanged)/)])
  // That it was asked for is a record, too.
  await mainstem(['savepoint', 'create', 'before', '--url', url])
  await app.stop()
  expect(await plans()).toMatchObject({ plans: ['spending unchanged', 'visits unchanged'], records: 0 })

  await writeFile(file(), appOf({ cents: '2 * purchase.cents' }))
  expect(await plans()).toMatchObject({ plans: ['spending rebuild', 'visits rebuild'], records: 4 })
  const lines = await dryRun('--continue', 'spending')
  expect(lines.stdout).toMatch(/spending +continue from 4 +its definition changed/)
  expect(lines.stdout).toMatch(/visits +rebuild +4 records/)
  expect(lines.stdout).toMatch(/to read: 4 records/)
  expect(await plans('--continue', 'spending', 'visits', '--from-savepoint', 'before')).toMatchObject({
    plans: ['spending savepoint', 'visits savepoint'],
  })
  await writeFile(file(), appOf({ purchase: ', note: z.string()' }))
  expect(await dryRun()).toMatchObject({ code: 1, stderr: expect.stringContaining('CONTRACT_CHANGED') })
  await writeFile(file(), appOf({ state: ', more: z.int()' }))
  const refused = await dryRun('--continue', 'spending')
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('VIEW_CANNOT_CONTINUE') })
})
