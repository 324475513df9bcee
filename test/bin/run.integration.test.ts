import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { mainstem, RunningApplication } from '../support/mainstem-process.ts'
import {
  createDatabase,
  createLimitedRole,
  openTestPostgres,
  type PostgresServer,
  withClient,
} from '../support/postgres.ts'

const root = resolve(import.meta.dirname, '../..')
const HELLO = join(root, 'samples/hello/hello.ts')
let server: PostgresServer
let folder: string
let running: RunningApplication[] = []

beforeAll(async () => {
  server = await openTestPostgres()
})
afterAll(() => server.stop())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mainstem-run-'))
})
afterEach(async () => {
  await Promise.all(running.map(app => app.stop()))
  running = []
  await rm(folder, { recursive: true, force: true })
})

function run(app: string, args: readonly string[] = [], env: Record<string, string> = {}): RunningApplication {
  const started = new RunningApplication(app, ['--data-dir', join(folder, 'data'), ...args], { cwd: folder, env })
  running.push(started)
  return started
}

const getJson = async (url: string): Promise<Record<string, unknown>> =>
  (await (await fetch(url)).json()) as Record<string, unknown>

/** A table of odd names and types, filled, owned by a role that is not superuser. */
async function oddDatabase(): Promise<string> {
  const admin = await createDatabase(server, 'odd')
  const role = await createLimitedRole(admin)
  await withClient(role.url, async client => {
    await client.query(`create type mood as enum ('so so', 'fine')`)
    await client.query(`create table "Odd Table" (
      "the id" bigint primary key, "Mood" mood, amount numeric(12,2) not null, huge numeric(38,10), free numeric,
      at timestamptz, day date, tags text[], doc jsonb, raw bytea, who uuid, ok boolean, small smallint, real_ real)`)
    await client.query(`insert into "Odd Table" values
      (9007199254740993, 'so so', 12.34, 12345678901234567890.0123456789, 1e-20, '2026-01-02 03:04:05.678901+00', '2026-02-03',
       '{a,NULL,"q\\"uote"}', '{"a": [1, null]}', '\\x00ff', '7d2c6f3a-5b1e-4f0a-9c3d-2b8a1e6f4d10', true, -1, 1.5)`)
    await client.query('create table lines (order_id int, line_no int, sku text, primary key (order_id, line_no))')
    await client.query(`insert into lines values (1, 2, 'x')`)
    await client.query('create table keyless (n int)')
  })
  return role.url
}

describe('mainstem run', () => {
  it('serves, stops at SIGTERM, and goes on where it was', async () => {
    const app = run(HELLO)
    const url = await app.url()
    const answer = await fetch(`${url}/v1/topics/purchases`, { method: 'POST', body: '{"customer":"ada","cents":5}' })
    const { token } = (await answer.json()) as { token: string }
    expect(await getJson(`${url}/v1/views/spending/rows/ada?after=${token}`)).toMatchObject({
      value: { count: 1, cents: 5 },
    })
    expect(await app.stop()).toBe(0)
    const again = run(HELLO)
    expect(await getJson(`${await again.url()}/v1/views/spending/rows/ada`)).toMatchObject({
      value: { count: 1, cents: 5 },
    })
    expect(await again.stop('SIGINT')).toBe(0)
  })

  it('loses nothing that was acknowledged to kill -9', async () => {
    const app = run(HELLO)
    const url = await app.url()
    const append = () => fetch(`${url}/v1/topics/purchases`, { method: 'POST', body: '{"customer":"ada","cents":1}' })
    await Promise.all(Array.from({ length: 50 }, append))
    await app.stop('SIGKILL')
    const again = run(HELLO)
    const cents = async () => (await getJson(`${await again.url()}/v1/views/spending/rows/ada`))['value']
    await expect.poll(cents).toEqual({ count: 50, cents: 50 })
  })

  it('refuses a port that is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise(listening => other.on('listening', listening))
    const { port } = other.address() as { port: number }
    const { code, stderr } = await mainstem(['run', HELLO, '--port', String(port), '--data-dir', join(folder, 'data')])
    other.close()
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('ADDRESS_IN_USE') })
    expect(stderr).toContain('give another --port')
  })

  it('refuses a data folder that is in use, naming the process', async () => {
    const app = run(HELLO)
    await app.url()
    const { code, stderr } = await mainstem(['run', HELLO, '--port', '0', '--data-dir', join(folder, 'data')])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/DATA_DIR_IN_USE[\s\S]*\d+/) })
  })

  it('refuses a log with a damaged block, naming file and place', async () => {
    const app = run(HELLO)
    const url = await app.url()
    for (let n = 0; n < 3; n++)
      await fetch(`${url}/v1/topics/purchases`, { method: 'POST', body: '{"customer":"ada","cents":1}' })
    await app.stop()
    const segment = join(folder, 'data/log/00000000000000000001.segment')
    const bytes = await readFile(segment)
    const at = Math.floor(bytes.length / 2)
    bytes[at] = (bytes[at] ?? 0) ^ 0xff
    await writeFile(segment, bytes)
    const { code, stderr } = await mainstem(['run', HELLO, '--port', '0', '--data-dir', join(folder, 'data')])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('LOG_CORRUPT') })
    expect(stderr).toContain('00000000000000000001.segment')
  })

  it.each([
    ['a file that is not there', 'nothing.ts', undefined, 'there is no file'],
    ['a file without an application', 'empty.ts', 'export default 1\n', 'default export'],
    ['a file that is not TypeScript', 'bad.ts', 'const = 1\n', 'cannot be loaded'],
    ['an async handler', 'async.ts', ASYNC_HANDLER(), 'HANDLER_ASYNC'],
  ])('refuses %s', async (_, name, text, message) => {
    const file = join(folder, name)
    if (text !== undefined) await writeFile(file, text)
    const { code, stderr } = await mainstem(['run', file, '--port', '0', '--data-dir', join(folder, 'data')])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(message) })
  })

  it('says which setting is missing, and keeps passwords to itself', async () => {
    const sample = join(root, 'samples/single-source-of-truth/app.ts')
    const missing = await mainstem(['run', sample, '--port', '0', '--data-dir', join(folder, 'data')])
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('SHOP_URL is not set') })
    const wrong = server.url().replace(/:[^:@]+@/, ':s3cret-w0rd@')
    const env = { SHOP_URL: wrong, BILLING_URL: wrong }
    const refused = await mainstem(['run', sample, '--port', '0', '--data-dir', join(folder, 'data')], { env })
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('SOURCE_AUTHENTICATION') })
    expect(refused.stderr + refused.stdout).not.toContain('s3cret-w0rd')
  })
})

function ASYNC_HANDLER(): string {
  return `import { application, projection, topic } from 'mainstem'
import { z } from 'zod'
const t = topic('t', { key: 'id', value: z.object({ id: z.string() }) })
const v = projection('v', { key: z.string(), state: z.object({ n: z.int32() }) }).on(t, 'id', (async s => { s.n++ }) as never)
export default application('a', { views: [v] })
`
}

describe('mainstem init', () => {
  it('writes an application that runs', async () => {
    const made = await mainstem(['init', 'made', '--no-install'], { cwd: folder })
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining('npx mainstem run app.ts') })
    const app = run(join(folder, 'made/app.ts'))
    expect((await fetch(`${await app.url()}/v1/views/spending`)).status).toBe(200)
    expect(await mainstem(['init', 'made', '--no-install'], { cwd: folder })).toMatchObject({ code: 1 })
  })

  it('writes contracts from the tables that exist, which compile, run, and hold every value exactly', async () => {
    const url = await oddDatabase()
    const made = await mainstem(['init', 'odd', '--from', url, '--no-install'], { cwd: folder })
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining('contracts of 2 tables') })
    expect(made.stdout).toContain('without a key, left out')
    const project = join(folder, 'odd')
    expect(await readFile(join(project, 'app.ts'), 'utf8')).not.toContain(new URL(url).password)
    expect((await stat(join(project, '.env'))).mode & 0o777).toBe(0o600)
    await linkModules(project)
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    await promisify(execFile)(process.execPath, [tsc, '--noEmit', '--project', project])
    const app = run(join(project, 'app.ts'))
    const at = await app.url()
    await app.event('streaming')
    const view = async () => getJson(`${at}/v1/views/oddTable/rows/9007199254740993`)
    await expect.poll(view, { timeout: 20_000 }).toMatchObject({
      final: true,
      value: {
        Mood: 'so so',
        amount: 1234,
        huge: '123456789012345678900123456789',
        free: '0.00000000000000000001',
        at: '2026-01-02T03:04:05.678901Z',
        day: '2026-02-03',
        tags: ['a', null, 'q"uote'],
        doc: { a: [1, null] },
        raw: 'AP8=',
        who: '7d2c6f3a-5b1e-4f0a-9c3d-2b8a1e6f4d10',
        ok: true,
        small: -1,
        real_: 1.5,
      },
    })
    expect(await getJson(`${at}/v1/views/lines/rows/1,2`)).toMatchObject({ value: { sku: 'x' } })
    await withClient(url, client => client.query(`update lines set line_no = 3`))
    await expect.poll(async () => (await fetch(`${at}/v1/views/lines/rows/1,2`)).status, { timeout: 10_000 }).toBe(404)
    expect(await getJson(`${at}/v1/views/lines/rows/1,3`)).toMatchObject({ value: { sku: 'x' } })
  })
})

/** What `npm install` would have put there. */
async function linkModules(project: string): Promise<void> {
  await mkdir(join(project, 'node_modules'))
  await symlink(root, join(project, 'node_modules/mainstem'))
  for (const name of ['zod', '@types'])
    await symlink(join(root, 'node_modules', name), join(project, 'node_modules', name))
}

describe('mainstem sources drop', () => {
  it('removes slot and publication, while the application runs and when it does not', async () => {
    const url = await oddDatabase()
    await mainstem(['init', 'odd', '--from', url, '--no-install'], { cwd: folder })
    const file = join(folder, 'odd/app.ts')
    const count = (sql: string) =>
      withClient(url, async client => Number((await client.query<{ n: string }>(sql)).rows[0]?.n))
    const slots = () => count('select count(*) as n from pg_replication_slots where database = current_database()')
    const publications = () => count('select count(*) as n from pg_publication')
    const app = run(file)
    await app.event('streaming')
    expect([await slots(), await publications()]).toEqual([1, 1])
    const source = new URL(url).pathname.slice(1)
    const dropped = await mainstem(['sources', 'drop', source, '--url', await app.url(), '--json'])
    expect(dropped.code, dropped.stderr).toBe(0)
    expect(JSON.parse(dropped.stdout)).toMatchObject({
      source,
      dropped: [expect.stringContaining('slot'), expect.stringContaining('publication')],
    })
    expect([await slots(), await publications()]).toEqual([0, 0])
    await app.stop()
    // The log now knows of a slot that has vanished: that is said, and repaired when allowed.
    const refused = await mainstem(['run', file, '--port', '0', '--data-dir', join(folder, 'data')])
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('SOURCE_SLOT_LOST') })
    expect(refused.stderr).toContain(`--resnapshot ${source}`)
    const repaired = run(file, ['--resnapshot', source])
    await repaired.event('streaming')
    await repaired.stop('SIGKILL')
    await expect
      .poll(() => count('select count(*) as n from pg_replication_slots where active'), { timeout: 20_000 })
      .toBe(0)
    const offline = await mainstem(['sources', 'drop', source, '--app', file])
    expect(offline).toMatchObject({ code: 0, stdout: expect.stringContaining('dropped slot') })
    expect([await slots(), await publications()]).toEqual([0, 0])
  })
})
