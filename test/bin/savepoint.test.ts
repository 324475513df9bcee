// `mainstem savepoint` and `run --from-savepoint`, as a user has them: processes and real files.
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { mainstem, RunningApplication } from '../support/mainstem-process.ts'

let folder: string
let running: RunningApplication[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-savepoint-'))
})
afterEach(async () => {
  await Promise.all(running.splice(0).map(app => app.stop()))
  await rm(folder, { recursive: true, force: true })
})

const APP = `import { application, projection, topic } from 'mainstem'
import { z } from 'zod'
const purchases = topic('purchases', { key: 'customer', value: z.object({ customer: z.string(), cents: z.int() }) })
const spending = projection('spending', { key: z.string(), state: z.object({ count: z.int32(), cents: z.int() }) })
  .on(purchases, 'customer', (spent, purchase) => {
    spent.count++
    spent.cents += purchase.cents
  })
export default application('hello', { views: [spending] })
`
const file = () => join(folder, 'app.ts')
const data = () => ['--data-dir', join(folder, 'data')]

function run(args: readonly string[] = []): RunningApplication {
  const app = new RunningApplication(file(), [...data(), ...args], { cwd: folder })
  running = [...running, app]
  return app
}

const buy = (url: string, customer: string, cents: number) =>
  fetch(`${url}/v1/topics/purchases`, { method: 'POST', body: JSON.stringify({ customer, cents }) })
const cents = async (url: string) =>
  ((await (await fetch(`${url}/v1/views/spending/rows/ada?after=2`)).json()) as { value: { cents: number } }).value
    .cents

const call = async (url: string, path: string, init: RequestInit = {}) => {
  const response = await fetch(url + path, init)
  return { status: response.status, ...((await response.json()) as object) }
}

it('are made, listed, shown and deleted from the command line and over HTTP', async () => {
  await writeFile(file(), APP)
  const url = await run().url()
  const at = ['--url', url]
  await buy(url, 'ada', 5)
  const made = await mainstem(['savepoint', 'create', 'before', ...at])
  expect(made, made.stderr).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/before at 1, 1 rows, .*portable: /),
  })
  const path = join(folder, 'data/savepoints/before.savepoint')
  expect((await stat(path)).size).toBeLessThan(4_000)
  const taken = await mainstem(['savepoint', 'create', 'before', ...at])
  expect(taken).toMatchObject({ code: 1, stderr: expect.stringContaining('SAVEPOINT_EXISTS') })
  expect((await mainstem(['savepoint', 'list', ...at])).stdout).toMatch(/before +at 1 +1 rows/)
  const shown = await mainstem(['savepoint', 'show', 'before', '--json', ...at])
  expect(JSON.parse(shown.stdout)).toMatchObject({
    name: 'before',
    position: '1',
    path,
    views: { spending: { rows: 1 } },
  })

  const make = (body: unknown) => call(url, '/v1/savepoints', { method: 'POST', body: JSON.stringify(body) })
  expect(await make({ name: '../x' })).toMatchObject({ status: 400, code: 'SAVEPOINT_NAME_INVALID' })
  expect(await make({ name: 'before' })).toMatchObject({ status: 409, code: 'SAVEPOINT_EXISTS' })
  expect(await make({ named: 'x' })).toMatchObject({ status: 400, code: 'REQUEST_INVALID' })
  expect(await call(url, '/v1/savepoints/none')).toMatchObject({ status: 404, code: 'SAVEPOINT_UNKNOWN' })
  expect(await call(url, '/v1/savepoints/none', { method: 'DELETE' })).toMatchObject({ status: 404 })
  expect((await mainstem(['savepoint', 'delete', 'before', ...at])).stdout).toContain('before is deleted')
  expect(await call(url, '/v1/savepoints')).toMatchObject({ savepoints: [], running: null, last: { name: 'before' } })
})

it('are what a start goes back to, by name or by file', async () => {
  await writeFile(file(), APP)
  const app = run()
  const url = await app.url()
  await buy(url, 'ada', 5)
  const made = await mainstem(['savepoint', 'create', 'before', '--url', url])
  expect(made, made.stderr).toMatchObject({ code: 0 })
  await buy(url, 'ada', 7)
  await app.stop()
  await writeFile(file(), APP.replace('spent.cents += purchase.cents', 'spent.cents += 100 * purchase.cents'))
  const refused = await mainstem(['run', file(), '--from-savepoint', 'before', '--port', '0', ...data()], {
    cwd: folder,
  })
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("of other code than savepoint 'before'") })
  const none = await mainstem(['run', file(), '--from-savepoint', 'nobody', '--port', '0', ...data()], { cwd: folder })
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('SAVEPOINT_UNKNOWN') })

  const path = join(folder, 'data/savepoints/before.savepoint')
  const continued = run(['--from-savepoint', path, '--continue', 'spending'])
  expect(await continued.event('start-plan')).toMatchObject({ views: [{ plan: 'savepoint', from: 1, records: 2 }] })
  const other = await continued.url()
  await vi.waitFor(async () => expect(await cents(other)).toBe(705), 30_000)
  const view = await call(other, '/v1/views/spending')
  expect(view).toMatchObject({ plan: { plan: 'savepoint' }, continued: [{ position: '1', savepoint: 'before' }] })
  await continued.stop()

  await writeFile(file(), APP)
  const back = await run(['--from-savepoint', 'before']).url()
  await expect.poll(() => cents(back)).toBe(12)
})
