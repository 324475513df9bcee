// `mainstem log …` on the files of a log, as a user runs it: with an application on them and without.
import { spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { compileContract, type EmbeddedLog, openEmbeddedLog } from '../../../core/index.ts'
import { openWorld } from '../../query-api/support.ts'
import { mainstem, RunningApplication } from '../../support/mainstem-process.ts'

const launcher = resolve(import.meta.dirname, '../../../bin/mainstem.mjs')
const purchases = compileContract('purchases', 'topic', z.object({ customer: z.string(), cents: z.int() }), 'customer')
const orders = compileContract('shop.orders', 'table', z.object({ id: z.int(), total: z.bigint() }), 'id')
const T0 = Date.parse('2026-03-01T12:00:00Z')

let root: string
let data: string
let log: EmbeddedLog

/** One purchase and one order a batch, a second apart; ten batches a segment, the first two of them sealed. */
async function fill(batches: number): Promise<void> {
  const [events, table] = [await log.topic(purchases), await log.topic(orders)]
  for (let n = 0; n < batches; n++) {
    const batch = log.batch()
    batch.event(events, { customer: `c${n % 3}`, cents: n })
    batch.insert(table, { id: n, total: BigInt(n) })
    await batch.commit({ source: 'shop', position: `0/${n}` })
  }
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'mainstem-log-'))
  data = join(root, 'data')
  let now = T0 - 1_000
  log = await openEmbeddedLog({ path: join(data, 'log'), segmentBytesMax: 1_500, clock: () => (now += 1_000) })
  await fill(40)
  await log.sealed()
})
afterAll(async () => {
  await log.close()
  await rm(root, { recursive: true, force: true })
})

const run = (...args: string[]) => mainstem(['log', ...args])
const at = (...args: string[]) => run(...args, '--data-dir', data)
const json = (text: string): Record<string, unknown> => JSON.parse(text.trimEnd().split('\n').at(-1) ?? '')

/** All files but the lock, which must not be opened twice in the process that holds it. */
const segmentFiles = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter(name => !name.startsWith('lock')).map(name => join(folder, name))

/** A copy of the folder, without an application. */
async function copy(name: string): Promise<string> {
  const to = join(root, name, 'log')
  await mkdir(to, { recursive: true })
  for (const path of await segmentFiles(join(data, 'log'))) await copyFile(path, join(to, basename(path)))
  return join(root, name)
}

describe.concurrent('on the files of a log that an application has open', () => {
  test('topics say how much there is of each', async () => {
    const { code, stdout } = await at('topics')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ {2}purchases {5}topic {3}key customer {3}40 records {3}about [\d.]+ k?B {3}1 – 79$/m)
    expect(stdout).toMatch(/^ {2}shop\.orders {3}table {3}key id .*2 – 80 {3}40 insert$/m)
    expect(json((await at('topics', '--json')).stdout)).toMatchObject({
      id: log.id,
      end: '80',
      topics: [{ name: 'purchases', records: 40, first: 1, last: 79, ops: { event: 40 } }, { records: 40 }],
    })
  })

  test('tail gives records of a topic or of all, from a position or a time', async () => {
    const one = await at('tail', 'shop.orders', '--from', '75', '--limit', '2')
    expect(one.stdout).toBe(
      '  76   shop 0/37   insert   {"id":37,"total":"37"}\n  78   shop 0/38   insert   {"id":38,"total":"38"}\n',
    )
    const all = await at('tail', '--since', '2026-03-01T12:00:39Z')
    expect(all.stdout.split('\n').map(each => each.trim().split(/ {3,}/)[1])).toEqual([
      'purchases',
      'shop.orders',
      undefined,
    ])
    expect(await at('tail', 'none')).toMatchObject({ code: 1, stderr: expect.stringContaining('TOPIC_UNKNOWN') })
  })

  test('inspect shows the segments, and what is in one', async () => {
    const table = await at('inspect')
    expect(table.stdout).toMatch(
      /^ {2}0{19}1\.sealed +1 – \d+ .* sealed, format \d {3}epoch 1 {3}2026-03-01T12:00:00\.000Z – /,
    )
    expect(table.stdout).toMatch(/\.segment .*active, format 1/)
    const one = json((await at('inspect', '3', '--blocks', '--records', '--json')).stdout)
    expect(one).toMatchObject({
      form: 'sealed',
      first: 1,
      keyIndex: [{ streams: 3 }],
      blocks: [
        {
          first: 1,
          offset: 64,
          groups: [{ topic: 'purchases', op: 'event' }, { zones: [{ column: 'id', min: 0 }, {}] }],
        },
      ],
    })
    expect((one['records'] as unknown[]).length).toBe(one['last'])
    const text = await at('inspect', '80', '--blocks', '--records')
    expect(text.stdout).toMatch(/block at byte 64 .*shop 0\/\d+\n {4}purchases {3}layout 1 {3}event {3}1 records/)
    expect(text.stdout).toContain('shop read up to 0/39')
    expect(await at('inspect', '99')).toMatchObject({ code: 1, stderr: expect.stringContaining('no segment 99') })
  })

  test('verify finds it whole, and writes nothing', async () => {
    const files = async () =>
      Promise.all((await segmentFiles(join(data, 'log'))).map(async path => [path, await readFile(path)]))
    const before = await files()
    const { code, stdout } = await at('verify')
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/80 records, .*\n {2}no damage\n$/),
    })
    expect(await files()).toEqual(before)
  })

  test('verify names each damage with its file and byte: exit code 1', async () => {
    const folder = await copy('damaged')
    const names = (await readdir(join(folder, 'log'))).filter(name => name.endsWith('.sealed')).slice(0, 2)
    for (const name of names) {
      const bytes = await readFile(join(folder, 'log', name))
      bytes[200]! ^= 1
      await writeFile(join(folder, 'log', name), bytes)
    }
    const { code, stdout } = await run('verify', '--data-dir', folder)
    expect(code).toBe(1)
    for (const name of names) expect(stdout).toContain(`damaged: ${name} at byte 64: `)
    expect(stdout).toContain('  2 damaged: restore')
    const report = json((await run('verify', '--json', '--data-dir', folder)).stdout)
    expect(report).toMatchObject({ damaged: 2, damages: [{ offset: 64 }, { offset: 64 }] })
  })

  test('export and import carry a whole log, packed or not', async () => {
    const out = join(root, 'all.ndjson.zst')
    const told = await at('export', '--out', out)
    expect(told.stdout).toBe(`  80 records in 40 batches → ${out}\n`)
    expect(await at('export', '--out', out)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there already'),
    })
    const folder = join(root, 'again')
    const done = await run('import', out, '--data-dir', folder, '--json')
    expect(json(done.stdout)).toEqual({ batches: 40, records: 80, end: 80 })
    const lines = async (dataDir: string) => (await run('export', '--data-dir', dataDir)).stdout.split('\n').slice(1)
    expect(await lines(folder)).toEqual(await lines(data))
    expect((await readdir(folder)).sort()).toEqual(['log'])
    expect(await run('import', out, '--data-dir', data)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('DATA_DIR_IN_USE'),
    })
  })

  test('an import that is not right leaves no new log, and in an old one says where to go on', async () => {
    const text = (await at('export')).stdout.split('\n')
    const file = join(root, 'broken.ndjson')
    await writeFile(file, text.with(6, '{').join('\n'))
    const fresh = await run('import', file, '--data-dir', join(root, 'fresh'))
    expect(fresh).toMatchObject({ code: 1, stderr: expect.stringContaining('line 7 of the import is not JSON') })
    expect(await readdir(join(root, 'fresh'))).toEqual([])
    const old = await copy('old')
    const refused = await run('import', file, '--data-dir', old)
    expect(refused.stderr).toContain('2 batches are in the log: go on with --skip 2')
    await writeFile(file, text.join('\n'))
    expect((await run('import', file, '--skip', '2', '--data-dir', old)).stdout).toContain('the log ends at 160')
    expect(await run('import', join(root, 'none'), '--data-dir', old)).toMatchObject({ code: 1 })
  })

  test('a folder without a log is refused', async () => {
    for (const command of ['verify', 'tail'])
      expect(await run(command, '--data-dir', root)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('DATA_DIR_INVALID there is no log in'),
      })
  })

  test.each(['topics', 'tail', 'inspect', 'verify', 'export', 'import'])(
    'log %s --help shows an example',
    async name => {
      expect(await run(name, '--help')).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/Examples?:\n {2}mainstem log /),
      })
    },
  )
})

test('events go into a running application, whole batches of one topic', async () => {
  await using world = await openWorld()
  const file = join(root, 'purchases.ndjson')
  await writeFile(file, (await at('export', 'purchases')).stdout)
  const done = await run('import', file, '--skip', '38', '--url', world.url, '--json')
  expect(json(done.stdout)).toEqual({ batches: 40, records: 2, end: 2 })
  expect((await mainstem(['log', 'tail', 'purchases', '--url', world.url])).stdout).toContain(
    '{"customer":"c0","cents":39}',
  )
  await writeFile(file, (await at('export')).stdout)
  const refused = await run('import', file, '--url', world.url)
  expect(refused.stderr).toMatch(/REQUEST_INVALID line 3 of the import is a change of shop.orders/)
  expect(world.log.end).toBe(2)
})

test('the folder of `mainstem run` is read while it runs, and cleaned through it or by force only', async () => {
  const folder = join(root, 'hello')
  const hello = resolve(import.meta.dirname, '../../../samples/hello/hello.ts')
  const app = new RunningApplication(hello, ['--data-dir', folder])
  try {
    const url = await app.url()
    await fetch(`${url}/v1/topics/purchases`, { method: 'POST', body: '{"customer":"ada","cents":5}' })
    const there = ['--data-dir', folder]
    expect((await run('tail', ...there)).stdout).toBe('  1   event   {"customer":"ada","cents":5}\n')
    expect(await run('verify', ...there)).toMatchObject({ code: 0, stdout: expect.stringContaining('1 records, ') })
    expect((await run('topics', '--url', url)).stdout).toContain(': open, ends at 1, ')
    expect((await run('trim', 'purchases', '--to', '1', '--url', url)).stdout).toContain('nothing to remove')
    expect((await run('trim', 'purchases', '--to', '1', '--force', ...there)).stderr).toContain('DATA_DIR_IN_USE')
  } finally {
    await app.stop()
  }
})

test('tail --follow sees what an application appends, through new segments', async () => {
  const child = spawn(process.execPath, [
    launcher,
    'log',
    'tail',
    'purchases',
    '--from',
    '81',
    '--follow',
    '--json',
    '--data-dir',
    data,
  ])
  let lines: string[] = []
  let wake = () => {}
  child.stdout.on('data', chunk => {
    lines = `${lines.join('\n')}${chunk}`.split('\n')
    wake()
  })
  const until = (count: number) =>
    new Promise<void>(resolve => {
      wake = () => lines.length > count && resolve()
      wake()
    })
  await fill(1)
  await until(1)
  await fill(30)
  await until(31)
  expect(lines.slice(0, 31).map(each => (JSON.parse(each) as { position: string }).position)).toEqual(
    Array.from({ length: 31 }, (_, n) => String(81 + 2 * n)),
  )
  const ended = new Promise(resolve => child.on('exit', resolve))
  child.kill('SIGINT')
  await ended
})
