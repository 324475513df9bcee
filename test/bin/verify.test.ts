// `mainstem verify`, and what a start says, as a user has them: processes, real files, and a checkpoint that was tampered with.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { mainstem, RunningApplication } from '../support/mainstem-process.ts'
import { tamper } from '../support/tamper.ts'

let folder: string
let running: RunningApplication[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-verify-'))
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

const post = (url: string, path: string, body: unknown) =>
  fetch(url + path, { method: 'POST', body: JSON.stringify(body) })

it('finds views equal, and a row that nobody should have changed', async () => {
  await writeFile(file(), APP)
  const app = run()
  const url = await app.url()
  const ada = { customer: 'ada', cents: 5 }
  await post(url, '/v1/topics/purchases', [ada, { customer: 'bob', cents: 7 }, ada])
  const equal = await mainstem(['verify', '--url', url])
  expect(equal, equal.stderr).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/spending +2 rows +\w{16} +equal/),
  })
  await app.stop()

  await tamper(join(folder, 'data/views'), 'spending', ([ada, bob]) => [{ ...ada!, row: bob!.row }, bob!])
  const wrong = run()
  const at = await wrong.url()
  const found = await mainstem(['verify', 'spending', '--url', at])
  expect(found.code).toBe(1)
  expect(found.stdout).toContain('1 keys DIFFER')
  expect(found.stdout).toContain('first at key "ada"')
  expect(found.stdout).toContain('live      {"count":1,"cents":7} of 1')
  expect(found.stdout).toContain('the log   {"count":2,"cents":10} of 2')
  expect(found.stdout).toContain('last record of the key: position 3')
  const json = await mainstem(['verify', '--json', '--url', at])
  expect(json.code).toBe(1)
  expect(JSON.parse(json.stdout)).toMatchObject({
    // Both verifications before it are written down in the log.
    position: '5',
    records: 5,
    views: [{ view: 'spending', equal: false, rows: 2, first: { key: 'ada', lastRecord: '3' } }],
  })
  expect(await mainstem(['verify', 'nobody', '--url', at])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('VIEW_UNKNOWN'),
  })
  expect((await post(at, '/v1/verify', { view: 'spending' })).status).toBe(400)
})

it('says at a start what it does with each view, and continues one when told to', async () => {
  await writeFile(file(), APP)
  const app = run()
  await post(await app.url(), '/v1/topics/purchases', { customer: 'ada', cents: 5 })
  await app.stop()

  await writeFile(file(), APP.replace('spent.cents += purchase.cents', 'spent.cents += 2 * purchase.cents'))
  // Its port is taken: it says the plan, and ends.
  const other = createServer().listen(0, '127.0.0.1')
  await new Promise(listening => other.on('listening', listening))
  const { port } = other.address() as { port: number }
  const refused = await mainstem(['run', file(), '--port', String(port), '--continue', 'spending', ...data()], {
    cwd: folder,
  })
  other.close()
  expect(refused.stderr).toMatch(/spending +continue from 1 +its definition changed/)
  expect(refused.stderr).toContain('ADDRESS_IN_USE')

  const continued = run()
  const url = await continued.url()
  expect(await continued.event('start-plan')).toMatchObject({
    views: [{ view: 'spending', plan: 'unchanged', from: 1 }],
  })
  const view = (await (await fetch(`${url}/v1/views/spending`)).json()) as object
  expect(view).toMatchObject({
    plan: { plan: 'unchanged', from: '1', records: 0, why: null },
    continued: [{ position: '1', fingerprint: expect.stringMatching(/^\w{32}$/) }],
  })
  // What it holds is not what this code makes of the log: a verification says so.
  expect(await mainstem(['verify', '--url', url])).toMatchObject({ code: 1 })
  const unknown = await mainstem(['run', file(), '--continue', 'nobody', ...data()], { cwd: folder })
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('VIEW_UNKNOWN') })
})
