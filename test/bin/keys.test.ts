// Keys on the command line, and an application that asks for them: what it tells, and what it does not.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { formatOf, openRunLog } from '../../bin/cli/run-log.ts'
import { mainstem, RunningApplication } from '../support/mainstem-process.ts'

const APP = `import { application, projection, topic } from 'mainstem'
import { z } from 'zod'
const purchases = topic('purchases', { key: 'customer', value: z.object({ customer: z.string(), city: z.string() }) })
const spending = projection('spending', { key: z.string(), state: z.object({ city: z.string().default('') }) })
  .on(purchases, 'customer', (spent, purchase) => { spent.city = purchase.city })
  .policy(z.object({ city: z.string() }), (claims, spent) => spent.city === claims.city)
export default application('hello', { views: [spending] })
`

let folder: string
const keys = () => ['--keys', join(folder, 'keys.json')]
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-keys-'))
  await writeFile(join(folder, 'app.ts'), APP)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('keys are made, used, listed and revoked; nothing that is told has one', async () => {
  const made = await mainstem([
    'keys',
    'create',
    'bern',
    '--scope',
    'view:*',
    'topic:*',
    'admin:*',
    '--claim',
    'city=Bern',
    ...keys(),
  ])
  expect(made, made.stderr).toMatchObject({ code: 0, stdout: expect.stringMatching(/^mk_[0-9a-f]{16}_[\w-]{43}\n$/) })
  const key = made.stdout.trim()
  const args = ['--data-dir', join(folder, 'data'), '--log-format', 'json', ...keys()]
  const app = new RunningApplication(join(folder, 'app.ts'), args, { cwd: folder })
  const url = await app.url()
  const write = (customer: string, city: string) =>
    fetch(`${url}/v1/topics/purchases`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'x-request-id': 'mine' },
      body: JSON.stringify({ customer, city }),
    })
  expect((await write('ada', 'Bern')).status).toBe(200)
  const { token } = (await (await write('eve', 'Basel')).json()) as { token: string }
  const as = (env: Record<string, string>, ...command: string[]) => mainstem([...command, '--url', url], { env })
  const [seen, hidden, unknown] = await Promise.all([
    as({ MAINSTEM_TOKEN: key }, 'get', 'spending', 'ada', '--after', token),
    as({ MAINSTEM_TOKEN: key }, 'get', 'spending', 'eve', '--after', token),
    as({}, 'views'),
  ])
  expect(JSON.parse(seen.stdout)).toMatchObject({ value: { city: 'Bern' } })
  expect(hidden.stderr).toContain('ROW_NOT_FOUND')
  expect(unknown.stderr).toMatch(/UNAUTHENTICATED[\s\S]*MAINSTEM_TOKEN/)
  const verified = await as({ MAINSTEM_TOKEN: key }, 'verify')
  expect(verified, verified.stderr).toMatchObject({ code: 0 })
  const [listed, actions] = await Promise.all([
    mainstem(['keys', 'list', ...keys()]),
    as({ MAINSTEM_TOKEN: key }, 'actions'),
  ])
  expect(listed.stdout).toMatch(/bern +\w{16} +view:\* topic:\* admin:\* +since \d{4}-\d\d-\d\d +does not expire/)
  expect(actions.stdout).toMatch(/key:bern +POST \/v1\/verify +done/)
  expect(await mainstem(['keys', 'revoke', 'bern', ...keys()])).toMatchObject({ code: 0 })
  await vi.waitFor(async () => expect((await write('ada', 'Bern')).status).toBe(401), 10_000)
  expect(await app.stop()).toBe(0)
  // Its log is lines of JSON, with the request that was refused.
  const logged = app.stderr
    .trim()
    .split('\n')
    .map(text => JSON.parse(text) as Record<string, unknown>)
  expect(logged).toContainEqual(
    expect.objectContaining({
      level: 'warn',
      code: 'UNAUTHENTICATED',
      call: 'POST /v1/topics/purchases',
      requestId: 'mine',
    }),
  )
  for (const text of [app.stderr, listed.stdout, actions.stdout, verified.stdout]) {
    expect(text).not.toContain(key)
    expect(text).not.toContain(key.slice(20))
  }
})

test('beyond this machine it asks, or ends', async () => {
  const args = ['run', join(folder, 'app.ts'), '--host', '0.0.0.0', '--port', '0', '--data-dir', join(folder, 'open')]
  expect(await mainstem(args, { cwd: folder })).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/ACCESS_UNGUARDED[\s\S]*--keys/),
  })
  const without = await mainstem([...args, '--jwt-audience', 'x'], { cwd: folder })
  expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining('ACCESS_INVALID') })
})

test('the log is for people on a terminal, for machines in production', () => {
  expect(formatOf({ isTTY: true }, { NODE_ENV: 'production' })).toBe('text')
  expect(formatOf({ isTTY: false }, { NODE_ENV: 'production' })).toBe('json')
  expect(formatOf({ isTTY: false }, {})).toBe('text')
  const lines: string[] = []
  const write = vi.spyOn(process.stderr, 'write').mockImplementation(text => lines.push(String(text)) > 0)
  try {
    const log = openRunLog('text', 'warn')
    log.show({ event: 'listening', url: 'http://x' })
    log.server.warn({}, 'GET /v1/views: refused')
    log.server.debug({}, 'quiet')
    log.server.error({ err: new Error('an inner error') }, 'GET /v1/views')
  } finally {
    write.mockRestore()
  }
  expect(lines.join('')).toMatch(
    /^ {2}warn: GET \/v1\/views: refused\n {2}error: GET \/v1\/views: Error: an inner error\n/,
  )
})
